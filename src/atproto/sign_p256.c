// SPDX-License-Identifier: MIT OR Apache-2.0
// Signing on P-256. OpenSSL 3.0 draws a random nonce, and a file that is written twice would differ
// in its signature; so the nonce is that of RFC 6979 and the equation stands here, over OpenSSL's
// constant-time group and inversion:
//
//   r = x(k G) mod n,  s = k^-1 (z + r d) mod n,  and n - s where s is in the upper half
//
// r d is multiplied with a secret operand by BN_mod_mul, whose time may tell something about d to
// one who shares the machine: this is for generated and re-signed files, not for a server's key.
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/obj_mac.h>

#include "curve.h"

typedef struct {
    EC_GROUP *group;
    BN_CTX *context;
    EC_POINT *point;
    BIGNUM *order, *secret, *nonce, *x, *r, *s;
} p256_math;

static void math_done(p256_math *m)
{
    BIGNUM *numbers[] = {m->secret, m->nonce, m->x, m->r, m->s};
    for (size_t i = 0; i < FR_COUNT_OF(numbers); i++) {
        BN_clear_free(numbers[i]);
    }
    BN_free(m->order);
    EC_POINT_clear_free(m->point);
    BN_CTX_free(m->context);
    EC_GROUP_free(m->group);
    ERR_clear_error();
}

static fr_status math_init(p256_math *m, const uint8_t secret[SCALAR_BYTES], fr_error *err)
{
    const curve_order *range = curve_order_of(FR_CURVE_P256);
    static const uint8_t zero[SCALAR_BYTES];
    if (memcmp(secret, zero, SCALAR_BYTES) == 0 ||
        memcmp(secret, range->order, SCALAR_BYTES) >= 0) {
        return fr_fail(err, FR_INVALID, "key: the secret is 0 or not below the group order");
    }
    m->group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    m->context = BN_CTX_secure_new();
    m->point = m->group == NULL ? NULL : EC_POINT_new(m->group);
    m->order = BN_bin2bn(range->order, SCALAR_BYTES, NULL);
    m->secret = BN_bin2bn(secret, SCALAR_BYTES, NULL);
    m->nonce = BN_new();
    m->x = BN_new();
    m->r = BN_new();
    m->s = BN_new();
    if (m->context == NULL || m->point == NULL || m->order == NULL || m->secret == NULL ||
        m->nonce == NULL || m->x == NULL || m->r == NULL || m->s == NULL) {
        return fr_fail(err, FR_NOMEM, "key: OpenSSL gave no P-256");
    }
    BN_set_flags(m->secret, BN_FLG_CONSTTIME);
    BN_set_flags(m->nonce, BN_FLG_CONSTTIME);
    return FR_OK;
}

/* ---- the nonce: RFC 6979, 3.2 ---------------------------------------------------------------- */

typedef struct {
    uint8_t k[32], v[32];
} drbg;

static bool mac(drbg *d, const uint8_t *data, size_t size, uint8_t out[32])
{
    return HMAC(EVP_sha256(), d->k, sizeof d->k, data, size, out, NULL) != NULL;
}

/* K = HMAC(K, V || mark || seed), V = HMAC(K, V) */
static bool stir(drbg *d, uint8_t mark, const uint8_t *seed, size_t seed_size)
{
    uint8_t text[32 + 1 + 2 * SCALAR_BYTES];
    memcpy(text, d->v, 32);
    text[32] = mark;
    if (seed_size != 0) {
        memcpy(text + 33, seed, seed_size);
    }
    bool fine = mac(d, text, 33 + seed_size, d->k) && mac(d, d->v, 32, d->v);
    OPENSSL_cleanse(text, sizeof text);
    return fine;
}

/* z is the digest modulo the order, as bits2octets asks. */
static bool drbg_init(drbg *d, const uint8_t secret[SCALAR_BYTES], const uint8_t z[SCALAR_BYTES])
{
    uint8_t seed[2 * SCALAR_BYTES];
    memcpy(seed, secret, SCALAR_BYTES);
    memcpy(seed + SCALAR_BYTES, z, SCALAR_BYTES);
    memset(d->k, 0, sizeof d->k);
    memset(d->v, 1, sizeof d->v);
    bool fine = stir(d, 0, seed, sizeof seed) && stir(d, 1, seed, sizeof seed);
    OPENSSL_cleanse(seed, sizeof seed);
    return fine;
}

/* ---- the equation ---------------------------------------------------------------------------- */

/* One try with the nonce in d->v. false: OpenSSL failed; *again: this nonce will not do. */
static bool sign_with(p256_math *m, const drbg *d, const BIGNUM *z, bool *again)
{
    *again = true;
    if (BN_bin2bn(d->v, sizeof d->v, m->nonce) == NULL) {
        return false;
    }
    if (BN_is_zero(m->nonce) || BN_cmp(m->nonce, m->order) >= 0) {
        return true;
    }
    bool fine = EC_POINT_mul(m->group, m->point, m->nonce, NULL, NULL, m->context) == 1 &&
                EC_POINT_get_affine_coordinates(m->group, m->point, m->x, NULL, m->context) == 1 &&
                BN_nnmod(m->r, m->x, m->order, m->context) == 1 &&
                BN_mod_mul(m->x, m->r, m->secret, m->order, m->context) == 1 &&
                BN_mod_add(m->x, m->x, z, m->order, m->context) == 1 &&
                BN_mod_inverse(m->nonce, m->nonce, m->order, m->context) != NULL &&
                BN_mod_mul(m->s, m->nonce, m->x, m->order, m->context) == 1;
    *again = fine && (BN_is_zero(m->r) || BN_is_zero(m->s));
    return fine;
}

static bool sign(p256_math *m, const uint8_t secret[SCALAR_BYTES], BIGNUM *z, uint8_t out[64])
{
    uint8_t digest[SCALAR_BYTES];
    drbg d;
    bool again = true;
    bool fine = BN_nnmod(z, z, m->order, m->context) == 1 &&
                BN_bn2binpad(z, digest, SCALAR_BYTES) == SCALAR_BYTES &&
                drbg_init(&d, secret, digest);
    while (fine && again) {
        fine = mac(&d, d.v, 32, d.v) && sign_with(m, &d, z, &again) &&
               (!again || stir(&d, 0, NULL, 0));
    }
    OPENSSL_cleanse(&d, sizeof d);
    if (!fine || BN_bn2binpad(m->s, out + SCALAR_BYTES, SCALAR_BYTES) != SCALAR_BYTES) {
        return false;
    }
    if (memcmp(out + SCALAR_BYTES, curve_order_of(FR_CURVE_P256)->half_order, SCALAR_BYTES) > 0) {
        fine = BN_sub(m->s, m->order, m->s) == 1;
    }
    return fine && BN_bn2binpad(m->r, out, SCALAR_BYTES) == SCALAR_BYTES &&
           BN_bn2binpad(m->s, out + SCALAR_BYTES, SCALAR_BYTES) == SCALAR_BYTES;
}

fr_status p256_sign(const uint8_t secret[SCALAR_BYTES], const uint8_t digest[32], uint8_t out[64],
                    fr_error *err)
{
    fr_cleanup(math_done) p256_math m = {0};
    FR_TRY(math_init(&m, secret, err));
    BIGNUM *z = BN_bin2bn(digest, 32, NULL);
    bool fine = z != NULL && sign(&m, secret, z, out);
    BN_free(z);
    return fine ? FR_OK : fr_fail(err, FR_NOMEM, "signature: OpenSSL failed on P-256");
}

fr_status p256_public_of_secret(const uint8_t secret[SCALAR_BYTES],
                                uint8_t point[POINT_UNCOMPRESSED_BYTES], fr_error *err)
{
    fr_cleanup(math_done) p256_math m = {0};
    FR_TRY(math_init(&m, secret, err));
    if (EC_POINT_mul(m.group, m.point, m.secret, NULL, NULL, m.context) != 1 ||
        EC_POINT_point2oct(m.group, m.point, POINT_CONVERSION_UNCOMPRESSED, point,
                           POINT_UNCOMPRESSED_BYTES, m.context) != POINT_UNCOMPRESSED_BYTES) {
        return fr_fail(err, FR_NOMEM, "key: OpenSSL failed on P-256");
    }
    return FR_OK;
}
