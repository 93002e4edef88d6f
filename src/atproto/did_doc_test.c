// SPDX-License-Identifier: MIT OR Apache-2.0
// DID documents: the shapes met in the network, and everything a hostile one may leave out or
// twist.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <fr/atproto.h>

#define ID "\"id\":\"did:plc:abc\""
#define MULTIKEY "zQ3shVc2UkAfJCdc1TR8E66J85h48P43r93q8jGPkPpjF9Ef9" /* the generator of K-256 */
#define METHOD(id, type, key)                                                                      \
    "{\"id\":\"" id "\",\"type\":\"" type "\",\"publicKeyMultibase\":\"" key "\"}"
#define GOOD_METHOD METHOD("did:plc:abc#atproto", "Multikey", MULTIKEY)
#define METHODS(list) "\"verificationMethod\":[" list "]"
#define WITH(more) "{" ID "," METHODS(GOOD_METHOD) "," more "}"

static const char full[] =
    WITH("\"alsoKnownAs\":[\"https://x.test\",\"at://john.test\",\"at://second.test\"],"
         "\"service\":[{\"id\":\"#other\",\"type\":\"X\",\"serviceEndpoint\":\"https://o.test\"},"
         "{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\","
         "\"serviceEndpoint\":\"https://pds.test\"}]");

static fr_did_doc parsed(const char *json)
{
    fr_did_doc doc;
    fr_error err = {0};
    memset(&doc, 0x55, sizeof doc);
    assert_int_equal(fr_did_doc_parse(fr_slice_text(json), &doc, &err), FR_OK);
    return doc;
}

static void refused(const char *json, fr_status expected)
{
    fr_did_doc doc;
    fr_did_doc before;
    fr_error err = {0};
    memset(&doc, 0x55, sizeof doc);
    memset(&before, 0x55, sizeof before);
    assert_int_equal(fr_did_doc_parse(fr_slice_text(json), &doc, &err), expected);
    assert_int_equal(err.status, expected);
    assert_memory_equal(&doc, &before, sizeof doc);
}

static void a_full_document(void **state)
{
    (void)state;
    fr_did_doc doc = parsed(full);
    char text[FR_DID_KEY_MAX_BYTES];
    fr_public_key_format(&doc.key, text);
    assert_string_equal(text, "did:key:" MULTIKEY);
    assert_string_equal(doc.did, "did:plc:abc");
    assert_string_equal(doc.handle, "john.test");
    assert_string_equal(doc.pds, "https://pds.test");
}

static void what_is_optional_is_left_empty(void **state)
{
    (void)state;
    static const char *const documents[] = {
        "{" ID "," METHODS(GOOD_METHOD) "}",
        WITH("\"alsoKnownAs\":null,\"service\":7"),
        WITH("\"alsoKnownAs\":[7,\"john.test\"],\"service\":[null,\"#atproto_pds\",{}]"),
        WITH("\"alsoKnownAs\":[\"at://not_a_handle\",\"at://later.test\"]"),
        WITH("\"alsoKnownAs\":[\"at://john.test\\u0000\"]"),
        WITH("\"service\":[{\"id\":\"#atproto_pds\",\"type\":\"Other\",\"serviceEndpoint\":\"https:"
             "//pds.test\"}]"),
        WITH("\"service\":[{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\"}]"),
        WITH("\"service\":[{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\","
             "\"serviceEndpoint\":{\"uri\":\"https://pds.test\"}}]"),
        WITH("\"service\":[{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\","
             "\"serviceEndpoint\":\"file:///etc/passwd\"}]"),
        WITH("\"service\":[{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\","
             "\"serviceEndpoint\":\"https://pds.test/\\r\\nHost: x\"}]"),
    };
    for (size_t i = 0; i < FR_COUNT_OF(documents); i++) {
        fr_did_doc doc = parsed(documents[i]);
        assert_string_equal(doc.handle, "");
        assert_string_equal(doc.pds, "");
        assert_string_equal(doc.did, "did:plc:abc");
    }
}

/** 511 bytes of endpoint fit with the NUL; one more leaves the field empty. */
static void a_long_endpoint(void **state)
{
    (void)state;
    for (int size = 511; size <= 512; size++) {
        char url[600] = "https://";
        char json[2000];
        memset(url + 8, 'x', (size_t)size - 8);
        url[size] = '\0';
        snprintf(
            json, sizeof json,
            WITH("\"service\":[{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\","
                 "\"serviceEndpoint\":\"%s\"}]"),
            url);
        fr_did_doc doc = parsed(json);
        assert_string_equal(doc.pds, size == 511 ? url : "");
    }
}

static void the_first_method_named_atproto_decides(void **state)
{
    (void)state;
    fr_did_doc doc =
        parsed("{" ID "," METHODS(METHOD("did:plc:abc#other", "Multikey", "zjunk") "," METHOD(
            "#atproto", "Multikey", MULTIKEY)) "}");
    assert_int_equal(doc.key.curve, FR_CURVE_K256);
    doc = parsed("{" ID "," METHODS(METHOD("#atproto", "EcdsaSecp256r1VerificationKey2019",
                                           "zxdM8dSstjrpZaRUwBmDvjGXweKuEMVN95A9oJBFjkWMh")) "}");
    assert_int_equal(doc.key.curve, FR_CURVE_P256);
    doc = parsed("{" ID "," METHODS(METHOD("#atproto", "EcdsaSecp256k1VerificationKey2019",
                                           "z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t")) "}");
    assert_int_equal(doc.key.curve, FR_CURVE_K256);
    refused("{" ID "," METHODS(METHOD("#atproto", "Multikey", "zjunk") "," GOOD_METHOD) "}",
            FR_NOT_FOUND);
}

static void documents_without_a_key(void **state)
{
    (void)state;
    refused("{" ID "}", FR_NOT_FOUND);
    refused("{" ID ",\"verificationMethod\":{}}", FR_NOT_FOUND);
    refused("{" ID "," METHODS("") "}", FR_NOT_FOUND);
    refused("{" ID "," METHODS("7,null,[],{}") "}", FR_NOT_FOUND);
    refused("{" ID "," METHODS(METHOD("did:plc:abc#atproto_label", "Multikey", MULTIKEY)) "}",
            FR_NOT_FOUND);
    refused("{" ID "," METHODS(METHOD("#atproto", "Ed25519VerificationKey2020", MULTIKEY)) "}",
            FR_NOT_FOUND);
    refused("{" ID "," METHODS("{\"id\":\"#atproto\",\"type\":\"Multikey\"}") "}", FR_NOT_FOUND);
    refused("{" ID "," METHODS("{\"id\":\"#atproto\",\"publicKeyMultibase\":\"" MULTIKEY "\"}") "}",
            FR_NOT_FOUND);
}

static void no_documents(void **state)
{
    (void)state;
    refused("", FR_MALFORMED);
    refused("[]", FR_MALFORMED);
    refused("7", FR_MALFORMED);
    refused("{", FR_MALFORMED);
    refused("{" METHODS(GOOD_METHOD) "}", FR_MALFORMED);
    refused("{\"id\":7," METHODS(GOOD_METHOD) "}", FR_MALFORMED);
    refused("{\"id\":\"john.test\"," METHODS(GOOD_METHOD) "}", FR_MALFORMED);
    for (size_t size = 0; size < sizeof full - 1; size++) {
        fr_did_doc doc;
        assert_int_equal(fr_did_doc_parse(fr_slice_of(full, size), &doc, NULL), FR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_document),
        cmocka_unit_test(what_is_optional_is_left_empty),
        cmocka_unit_test(a_long_endpoint),
        cmocka_unit_test(the_first_method_named_atproto_decides),
        cmocka_unit_test(documents_without_a_key),
        cmocka_unit_test(no_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
