// SPDX-License-Identifier: MIT OR Apache-2.0
// The interoperability suite's signatures and did:keys, and the DID documents of real accounts.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fr/atproto.h>
#include <fr/codec.h>
#include <fr/json.h>

typedef struct {
    fr_json *json;
    char *text;
    fr_json_value root;
} document;

static bool document_open(document *doc, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    *doc = (document){.text = malloc(size + 1)};
    assert_non_null(doc->text);
    assert_int_equal(fread(doc->text, 1, size, file), size);
    fclose(file);
    assert_int_equal(fr_json_new(&doc->json, NULL), FR_OK);
    assert_int_equal(
        fr_json_parse(doc->json, fr_slice_of(doc->text, size), false, &doc->root, NULL), FR_OK);
    return true;
}

static void document_done(document *doc)
{
    fr_json_free(doc->json);
    free(doc->text);
}

static fr_slice member(fr_json_value object, const char *key)
{
    fr_slice text = {NULL, 0};
    assert_true(fr_json_get_string(object, key, &text));
    return text;
}

static fr_slice base64_member(fr_json_value object, const char *key, uint8_t *room,
                              size_t room_size)
{
    size_t size = 0;
    assert_int_equal(fr_base64_decode(member(object, key), false, room, room_size, &size, NULL),
                     FR_OK);
    return fr_slice_of(room, size);
}

static void signature_case(fr_json_value c)
{
    uint8_t message[256];
    uint8_t signature[256];
    uint8_t digest[32];
    fr_public_key key;
    fr_public_key legacy;
    bool valid = false;
    fr_sha256(base64_member(c, "messageBase64", message, sizeof message), digest);
    fr_slice sig = base64_member(c, "signatureBase64", signature, sizeof signature);
    assert_true(fr_json_get_bool(c, "validSignature", &valid));
    assert_int_equal(fr_public_key_parse(member(c, "publicKeyDid"), &key, NULL), FR_OK);
    bool k256 = fr_slice_equal(member(c, "algorithm"), FR_SLICE("ES256K"));
    assert_int_equal(key.curve, k256 ? FR_CURVE_K256 : FR_CURVE_P256);
    assert_int_equal(
        fr_public_key_parse_legacy(member(c, "publicKeyMultibase"), key.curve, &legacy, NULL),
        FR_OK);
    assert_memory_equal(legacy.point, key.point, sizeof key.point);

    fr_error err = {0};
    fr_status status = fr_signature_verify(&key, digest, sig, &err);
    assert_int_equal(status, valid ? FR_OK : FR_MALFORMED);
    if (!valid) {
        fr_json_value tags;
        fr_json_value tag;
        fr_slice text = {NULL, 0};
        assert_true(fr_json_get(c, "tags", &tags));
        fr_json_iter it = fr_json_iterate(tags);
        assert_true(fr_json_iter_element(&it, &tag));
        assert_true(fr_json_string(tag, &text));
        assert_string_equal(err.code,
                            fr_slice_equal(text, FR_SLICE("high-s")) ? "sig-high-s" : "sig-format");
    }
    digest[31] ^= 1;
    assert_int_equal(fr_signature_verify(&key, digest, sig, NULL), FR_MALFORMED);
}

static void signature_fixtures(void **state)
{
    (void)state;
    document doc;
    fr_json_value c;
    size_t count = 0;
    assert_true(document_open(&doc, FR_CORPUS "/interop/crypto/signature-fixtures.json"));
    for (fr_json_iter it = fr_json_iterate(doc.root); fr_json_iter_element(&it, &c); count++) {
        signature_case(c);
    }
    assert_int_equal(count, 6);
    document_done(&doc);
}

static void from_hex(fr_slice hex, uint8_t *out, size_t size)
{
    assert_int_equal(hex.size, 2 * size);
    for (size_t i = 0; i < size; i++) {
        char pair[3] = {(char)hex.data[2 * i], (char)hex.data[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

/** Each did:key round trips; the K-256 secrets give the keys that stand beside them. */
static void did_keys(void **state)
{
    (void)state;
    static const char *const files[] = {FR_CORPUS "/interop/crypto/w3c_didkey_K256.json",
                                        FR_CORPUS "/interop/crypto/w3c_didkey_P256.json"};
    size_t count = 0;
    for (size_t i = 0; i < FR_COUNT_OF(files); i++) {
        document doc;
        fr_json_value c;
        assert_true(document_open(&doc, files[i]));
        for (fr_json_iter it = fr_json_iterate(doc.root); fr_json_iter_element(&it, &c); count++) {
            fr_slice did = member(c, "publicDidKey");
            fr_public_key key;
            fr_public_key made;
            fr_slice hex;
            char text[FR_DID_KEY_MAX_BYTES];
            assert_int_equal(fr_public_key_parse(did, &key, NULL), FR_OK);
            fr_public_key_format(&key, text);
            assert_true(fr_slice_equal(fr_slice_text(text), did));
            assert_int_equal(key.curve, i == 0 ? FR_CURVE_K256 : FR_CURVE_P256);
            if (fr_json_get_string(c, "privateKeyBytesHex", &hex)) {
                uint8_t secret[32];
                from_hex(hex, secret, sizeof secret);
                assert_int_equal(fr_public_key_of_k256_secret(secret, &made, NULL), FR_OK);
                assert_memory_equal(made.point, key.point, sizeof key.point);
            }
        }
        document_done(&doc);
    }
    assert_int_equal(count, 6);
}

static void did_documents(void **state)
{
    (void)state;
    document doc;
    fr_slice did;
    fr_json_value value;
    size_t count = 0;
    assert_true(document_open(&doc, FR_CORPUS "/firehose/did_docs.json"));
    for (fr_json_iter it = fr_json_iterate(doc.root); fr_json_iter_member(&it, &did, &value);
         count++) {
        fr_buffer text;
        fr_did_doc parsed;
        char key[FR_DID_KEY_MAX_BYTES];
        fr_buffer_init(&text, 1 << 20);
        fr_json_print(value, &text);
        assert_int_equal(fr_buffer_status(&text, NULL), FR_OK);
        assert_int_equal(fr_did_doc_parse(fr_buffer_view(&text), &parsed, NULL), FR_OK);
        assert_true(fr_slice_equal(fr_slice_text(parsed.did), did));
        assert_true(fr_handle_valid(fr_slice_text(parsed.handle)));
        assert_true(fr_slice_starts_with(fr_slice_text(parsed.pds), FR_SLICE("https://")));
        /* the key is the one of the only method of these documents */
        fr_json_value methods;
        fr_json_value method;
        assert_true(fr_json_get(value, "verificationMethod", &methods));
        fr_json_iter method_it = fr_json_iterate(methods);
        assert_true(fr_json_iter_element(&method_it, &method));
        fr_public_key_format(&parsed.key, key);
        assert_true(fr_slice_equal(fr_slice_text(key + 8), member(method, "publicKeyMultibase")));
        fr_buffer_done(&text);
    }
    assert_int_equal(count, 60);
    document_done(&doc);
}

/** The hostile repositories are refused for what they are, so their keys and DIDs must be good. */
static void hostile_signing_keys(void **state)
{
    (void)state;
    document doc;
    fr_json_value c;
    size_t count = 0;
    assert_true(document_open(&doc, FR_CORPUS "/hostile/cases.json"));
    for (fr_json_iter it = fr_json_iterate(doc.root); fr_json_iter_element(&it, &c); count++) {
        fr_public_key key;
        assert_int_equal(fr_public_key_parse(member(c, "signing_key"), &key, NULL), FR_OK);
        assert_true(fr_did_valid(member(c, "did")));
    }
    assert_int_equal(count, 76);
    document_done(&doc);
}

int main(void)
{
    FILE *present = fopen(FR_CORPUS "/interop/crypto/signature-fixtures.json", "rb");
    if (present == NULL) {
        puts("SKIPPED: corpus data absent");
        return 0;
    }
    fclose(present);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature_fixtures),
        cmocka_unit_test(did_keys),
        cmocka_unit_test(did_documents),
        cmocka_unit_test(hostile_signing_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
