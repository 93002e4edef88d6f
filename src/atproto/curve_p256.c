// SPDX-License-Identifier: MIT OR Apache-2.0
// P-256 by OpenSSL 3, EVP only (ECDSA_do_verify is deprecated there).
//
// An EVP_PKEY built from parameters costs 60 us, as much as the verification, because it builds the
// group each time. So one key with the group is built once, and each call duplicates it and sets
// the point: 10 us, and 20 for the square root where a point is compressed. A key kept by each
// thread would save another 8 us and leak a key a thread. Failures leave entries in OpenSSL's
// per-thread queue, where a TLS connection of the same thread would find them: they are cleared
// here.
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "curve.h"

static void key_freep(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}
static void context_freep(EVP_PKEY_CTX **context)
{
    EVP_PKEY_CTX_free(*context);
}

static EVP_PKEY *group_key_new(void)
{
    char group[] = "prime256v1";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
                           OSSL_PARAM_construct_end()};
    fr_cleanup(context_freep) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;
    if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEY_PARAMETERS, params) != 1) {
        return NULL;
    }
    return key;
}

/** A key that is only the group. Regime: atomic pointer to an immutable object that lives as long
 * as the process. */
static EVP_PKEY *group_key(void)
{
    static EVP_PKEY *shared;
    /* acquire: pairs with the release of the exchange below, in whichever thread it was */
    EVP_PKEY *key = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);
    if (key != NULL) {
        return key;
    }
    EVP_PKEY *fresh = group_key_new();
    if (fresh == NULL) {
        return NULL;
    }
    if (__atomic_compare_exchange_n(&shared, &key, fresh, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
        return fresh;
    }
    EVP_PKEY_free(fresh);
    return key;
}

static fr_status key_of_point(fr_slice encoded, EVP_PKEY **out, fr_error *err)
{
    EVP_PKEY *group = group_key();
    fr_cleanup(key_freep) EVP_PKEY *key = group == NULL ? NULL : EVP_PKEY_dup(group);
    if (key == NULL) {
        ERR_clear_error();
        return fr_fail(err, FR_NOMEM, "key: OpenSSL gave no P-256 key");
    }
    if (EVP_PKEY_set1_encoded_public_key(key, encoded.data, encoded.size) != 1) {
        ERR_clear_error();
        return fr_fail_code(err, FR_MALFORMED, 0, "sig-key",
                            "key: the point is not on curve P-256");
    }
    *out = key;
    key = NULL;
    return FR_OK;
}

fr_status p256_point_read(fr_slice encoded, uint8_t out[POINT_UNCOMPRESSED_BYTES], fr_error *err)
{
    fr_cleanup(key_freep) EVP_PKEY *key = NULL;
    unsigned char *point = NULL;
    FR_TRY(key_of_point(encoded, &key, err));
    if (EVP_PKEY_get1_encoded_public_key(key, &point) != POINT_UNCOMPRESSED_BYTES) {
        OPENSSL_free(point);
        ERR_clear_error();
        return fr_fail(err, FR_NOMEM, "key: OpenSSL gave no P-256 point");
    }
    memcpy(out, point, POINT_UNCOMPRESSED_BYTES);
    OPENSSL_free(point);
    return FR_OK;
}

/** A DER INTEGER of a positive scalar: no leading zeros but one where the top bit is set. Returns
 * its size. */
static size_t put_der_integer(const uint8_t scalar[SCALAR_BYTES], uint8_t *out)
{
    size_t skip = 0;
    while (skip < SCALAR_BYTES - 1 && scalar[skip] == 0) {
        skip++;
    }
    size_t pad = scalar[skip] >> 7;
    size_t size = SCALAR_BYTES - skip;
    out[0] = 0x02;
    out[1] = (uint8_t)(pad + size);
    out[2] = 0;
    memcpy(out + 2 + pad, scalar + skip, size);
    return 2 + pad + size;
}

fr_status p256_verify(const fr_public_key *public, const uint8_t digest[32],
                      const uint8_t signature[64], fr_error *err)
{
    uint8_t encoded[POINT_UNCOMPRESSED_BYTES];
    fr_cleanup(key_freep) EVP_PKEY *key = NULL;
    FR_TRY(key_of_point(fr_slice_of(encoded, curve_point_write(public, encoded)), &key, err));
    uint8_t der[2 + 2 * (2 + 1 + SCALAR_BYTES)] = {0x30};
    size_t size = 2;
    size += put_der_integer(signature, der + size);
    size += put_der_integer(signature + SCALAR_BYTES, der + size);
    der[1] = (uint8_t)(size - 2);

    fr_cleanup(context_freep) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    if (context == NULL || EVP_PKEY_verify_init(context) != 1) {
        ERR_clear_error();
        return fr_fail(err, FR_NOMEM, "signature: OpenSSL gave no context");
    }
    /* Below zero is not only a lack of memory: a signature made to sum to the point at infinity
     * ends there too. */
    if (EVP_PKEY_verify(context, der, size, digest, 32) != 1) {
        ERR_clear_error();
        return fr_fail_code(err, FR_MALFORMED, 0, "sig-wrong",
                            "signature: does not verify with this key");
    }
    return FR_OK;
}
