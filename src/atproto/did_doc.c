// SPDX-License-Identifier: MIT OR Apache-2.0
// What a data plane needs of a DID document: the repository signing key, the handle, the server. A
// document is its owner's to write, so what is optional and odd is left empty; only the key is
// insisted on.
#include <fr/atproto.h>
#include <fr/json.h>

static bool ends_with(fr_slice text, fr_slice tail)
{
    return text.size >= tail.size &&
           fr_slice_equal(fr_slice_from(text, text.size - tail.size), tail);
}

static bool has_id(fr_json_value object, fr_slice fragment)
{
    fr_slice id;
    return fr_json_get_string(object, "id", &id) && ends_with(id, fragment);
}

/** Into a field of `room` bytes with its NUL; left empty where it does not fit. */
static void copy_text(char *out, size_t room, fr_slice text)
{
    if (text.size < room) {
        memcpy(out, text.data, text.size);
        out[text.size] = '\0';
    }
}

static fr_status parse_method(fr_json_value method, fr_public_key *out, fr_error *err)
{
    fr_slice type;
    fr_slice text;
    if (!fr_json_get_string(method, "type", &type) ||
        !fr_json_get_string(method, "publicKeyMultibase", &text)) {
        return fr_fail_code(err, FR_MALFORMED, 0, "sig-key",
                            "did document: a method without type or key");
    }
    if (fr_slice_equal(type, FR_SLICE("Multikey"))) {
        return fr_public_key_parse(text, out, err);
    }
    if (fr_slice_equal(type, FR_SLICE("EcdsaSecp256k1VerificationKey2019"))) {
        return fr_public_key_parse_legacy(text, FR_CURVE_K256, out, err);
    }
    if (fr_slice_equal(type, FR_SLICE("EcdsaSecp256r1VerificationKey2019"))) {
        return fr_public_key_parse_legacy(text, FR_CURVE_P256, out, err);
    }
    return fr_fail_code(err, FR_MALFORMED, 0, "sig-key", "did document: a method of another type");
}

/** The first method named #atproto decides. */
static fr_status find_key(fr_json_value root, fr_public_key *out, fr_error *err)
{
    fr_json_value methods;
    fr_json_value method;
    if (fr_json_get(root, "verificationMethod", &methods)) {
        fr_json_iter it = fr_json_iterate(methods);
        while (fr_json_iter_element(&it, &method)) {
            if (has_id(method, FR_SLICE("#atproto"))) {
                fr_status status = parse_method(method, out, NULL);
                if (status != FR_MALFORMED) {
                    return status == FR_OK
                               ? FR_OK
                               : fr_fail(err, status, "did document: the key was not read");
                }
                break;
            }
        }
    }
    return fr_fail_code(err, FR_NOT_FOUND, 0, "sig-key", "did document: no usable #atproto key");
}

static void find_handle(fr_json_value root, fr_did_doc *doc)
{
    fr_json_value names;
    fr_json_value name;
    if (!fr_json_get(root, "alsoKnownAs", &names)) {
        return;
    }
    fr_json_iter it = fr_json_iterate(names);
    while (fr_json_iter_element(&it, &name)) {
        fr_slice text;
        if (fr_json_string(name, &text) && fr_slice_starts_with(text, FR_SLICE("at://"))) {
            fr_slice handle = fr_slice_from(text, 5);
            if (fr_handle_valid(handle)) {
                copy_text(doc->handle, sizeof doc->handle, handle);
            }
            return;
        }
    }
}

static void find_pds(fr_json_value root, fr_did_doc *doc)
{
    fr_json_value services;
    fr_json_value service;
    if (!fr_json_get(root, "service", &services)) {
        return;
    }
    fr_json_iter it = fr_json_iterate(services);
    while (fr_json_iter_element(&it, &service)) {
        fr_slice type;
        fr_slice url;
        if (has_id(service, FR_SLICE("#atproto_pds")) &&
            fr_json_get_string(service, "type", &type) &&
            fr_slice_equal(type, FR_SLICE("AtprotoPersonalDataServer"))) {
            if (fr_json_get_string(service, "serviceEndpoint", &url) && fr_uri_valid(url) &&
                (fr_slice_starts_with(url, FR_SLICE("https://")) ||
                 fr_slice_starts_with(url, FR_SLICE("http://")))) {
                copy_text(doc->pds, sizeof doc->pds, url);
            }
            return;
        }
    }
}

fr_status fr_did_doc_parse(fr_slice json, fr_did_doc *out, fr_error *err)
{
    fr_cleanup(fr_json_freep) fr_json *parser = NULL;
    fr_json_value root;
    FR_TRY(fr_json_new(&parser, err));
    FR_TRY(fr_json_parse(parser, json, false, &root, err));
    if (fr_json_type_of(root) != FR_JSON_OBJECT) {
        return fr_fail(err, FR_MALFORMED, "did document: not a JSON object");
    }
    fr_did_doc doc = {0};
    fr_slice id = {NULL, 0};
    if (!fr_json_get_string(root, "id", &id) || !fr_did_valid(id)) {
        return fr_fail(err, FR_MALFORMED, "did document: its id is not a DID");
    }
    copy_text(doc.did, sizeof doc.did, id);
    FR_TRY(find_key(root, &doc.key, err));
    find_handle(root, &doc);
    find_pds(root, &doc);
    *out = doc;
    return FR_OK;
}
