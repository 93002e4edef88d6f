// SPDX-License-Identifier: MIT OR Apache-2.0
// Public keys as text. A multikey is z + base58btc(varint of the codec + compressed point): the two
// codecs give two fixed prefixes, 80 24 for P-256 and e7 01 for K-256. Legacy methods name the
// curve elsewhere and have no codec.
#include <fr/codec.h>

#include "curve.h"

enum { CODEC_BYTES = 2, MULTIKEY_BYTES = CODEC_BYTES + POINT_BYTES, LEGACY_TEXT_MAX_BYTES = 90 };

static const char did_key[] = "did:key:";

static const struct {
    fr_curve curve;
    uint8_t codec[CODEC_BYTES];
} codecs[] = {{FR_CURVE_P256, {0x80, 0x24}}, {FR_CURVE_K256, {0xe7, 0x01}}};

/** z + base58 into at most `room` bytes. */
static fr_status decode_multibase(fr_slice text, size_t text_bytes_max, uint8_t *out, size_t room,
                                  size_t *size, fr_error *err)
{
    if (text.size < 2 || text.size > text_bytes_max || text.data[0] != 'z' ||
        fr_base58_decode(fr_slice_from(text, 1), out, room, size, NULL) != FR_OK) {
        return fr_fail_code(err, FR_MALFORMED, 0, "sig-key",
                            "key: not base58btc of a key's length");
    }
    return FR_OK;
}

fr_public_key curve_key_of(fr_curve curve, const uint8_t point[POINT_UNCOMPRESSED_BYTES])
{
    fr_public_key key = {.curve = curve};
    key.point[0] = (uint8_t)(2 + (point[POINT_UNCOMPRESSED_BYTES - 1] & 1)); /* parity of y */
    memcpy(key.point + 1, point + 1, SCALAR_BYTES);
    memcpy(key.y, point + 1 + SCALAR_BYTES, SCALAR_BYTES);
    return key;
}

size_t curve_point_write(const fr_public_key *key, uint8_t out[POINT_UNCOMPRESSED_BYTES])
{
    static const uint8_t unknown[SCALAR_BYTES];
    memcpy(out, key->point, POINT_BYTES);
    if (memcmp(key->y, unknown, sizeof unknown) == 0 ||
        key->point[0] != 2 + (key->y[SCALAR_BYTES - 1] & 1)) {
        return POINT_BYTES;
    }
    out[0] = 4;
    memcpy(out + POINT_BYTES, key->y, SCALAR_BYTES);
    return POINT_UNCOMPRESSED_BYTES;
}

/** Fills *out only with a point that is on the curve. */
static fr_status key_of_point(fr_curve curve, fr_slice encoded, fr_public_key *out, fr_error *err)
{
    const uint8_t *p = encoded.data;
    uint8_t point[POINT_UNCOMPRESSED_BYTES];
    bool compressed = encoded.size == POINT_BYTES && (p[0] == 2 || p[0] == 3);
    bool uncompressed = encoded.size == POINT_UNCOMPRESSED_BYTES &&
                        p[0] == 4; /* hybrids, 6 and 7, are no form here */
    if ((!compressed && !uncompressed) || curve_order_of(curve) == NULL) {
        return fr_fail_code(err, FR_MALFORMED, 0, "sig-key", "key: not a point of either curve");
    }
    FR_TRY(curve == FR_CURVE_K256 ? k256_point_read(encoded, point, err)
                                  : p256_point_read(encoded, point, err));
    *out = curve_key_of(curve, point);
    return FR_OK;
}

fr_status fr_public_key_parse(fr_slice text, fr_public_key *out, fr_error *err)
{
    if (fr_slice_starts_with(text, fr_slice_of(did_key, sizeof did_key - 1))) {
        text = fr_slice_from(text, sizeof did_key - 1);
    }
    uint8_t bytes[MULTIKEY_BYTES];
    size_t size = 0;
    FR_TRY(decode_multibase(text, FR_DID_KEY_MAX_BYTES, bytes, sizeof bytes, &size, err));
    for (size_t i = 0; size == MULTIKEY_BYTES && i < FR_COUNT_OF(codecs); i++) {
        if (memcmp(bytes, codecs[i].codec, CODEC_BYTES) == 0) {
            fr_slice point = {bytes + CODEC_BYTES, POINT_BYTES};
            return key_of_point(codecs[i].curve, point, out, err);
        }
    }
    return fr_fail_code(err, FR_MALFORMED, 0, "sig-key", "key: not a P-256 or K-256 multikey");
}

fr_status fr_public_key_parse_legacy(fr_slice multibase, fr_curve curve, fr_public_key *out,
                                     fr_error *err)
{
    uint8_t bytes[POINT_UNCOMPRESSED_BYTES];
    size_t size = 0;
    FR_TRY(decode_multibase(multibase, LEGACY_TEXT_MAX_BYTES, bytes, sizeof bytes, &size, err));
    return key_of_point(curve, fr_slice_of(bytes, size), out, err);
}

void fr_public_key_format(const fr_public_key *key, char out[FR_DID_KEY_MAX_BYTES])
{
    uint8_t bytes[MULTIKEY_BYTES];
    memcpy(bytes, codecs[key->curve == FR_CURVE_K256].codec, CODEC_BYTES);
    memcpy(bytes + CODEC_BYTES, key->point, POINT_BYTES);
    size_t size = sizeof did_key - 1;
    memcpy(out, did_key, size);
    out[size++] = 'z';
    size += fr_base58_encode(fr_slice_of(bytes, sizeof bytes), out + size,
                             FR_DID_KEY_MAX_BYTES - size - 1);
    out[size] = '\0';
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

fr_status fr_secret_key_parse(fr_slice text, fr_secret_key *out, fr_error *err)
{
    static const fr_slice k256 = {(const uint8_t *)"k256:", 5},
                          p256 = {(const uint8_t *)"p256:", 5};
    bool is_p256 = fr_slice_starts_with(text, p256);
    fr_secret_key key = {.curve = is_p256 ? FR_CURVE_P256 : FR_CURVE_K256};
    fr_public_key public;
    if (is_p256 || fr_slice_starts_with(text, k256)) {
        text = fr_slice_from(text, k256.size);
    }
    bool is_hex = text.size == 2 * sizeof key.scalar;
    for (size_t i = 0; is_hex && i < sizeof key.scalar; i++) {
        int high = hex_digit(text.data[2 * i]), low = hex_digit(text.data[2 * i + 1]);
        is_hex = high >= 0 && low >= 0;
        key.scalar[i] = (uint8_t)((unsigned)high << 4 | (unsigned)low);
    }
    if (!is_hex) {
        return fr_fail(err, FR_INVALID, "key: a secret is 64 hexadecimal digits");
    }
    FR_TRY(fr_public_key_of_secret(&key, &public, err));
    *out = key;
    return FR_OK;
}
