// SPDX-License-Identifier: MIT OR Apache-2.0
// CIDs: 36 bytes, or the letter b and 58 letters of base32.
//
// Texts come by the million (JSON streams, listings), and the length is fixed: 7 groups of 8
// letters are 35 bytes, the last two letters a byte and two spare zero bits. So this has its own
// base32 of whole groups, without a bit buffer and without a branch a letter; the general one is in
// codec/.
#include <fr/atproto.h>
#include <fr/codec.h>

enum { GROUP_COUNT = 7, GROUP_LETTERS = 8, GROUP_BYTES = 5, IS_LETTER = 32, VALUE = 31 };

static const char alphabet[33] = "abcdefghijklmnopqrstuvwxyz234567";

/* The value of a letter with bit 5 set; 0 for any other byte. */
#define L(v) (IS_LETTER | (v))
static const uint8_t letter_of[256] = {
    ['a'] = L(0),  ['b'] = L(1),  ['c'] = L(2),  ['d'] = L(3),  ['e'] = L(4),  ['f'] = L(5),
    ['g'] = L(6),  ['h'] = L(7),  ['i'] = L(8),  ['j'] = L(9),  ['k'] = L(10), ['l'] = L(11),
    ['m'] = L(12), ['n'] = L(13), ['o'] = L(14), ['p'] = L(15), ['q'] = L(16), ['r'] = L(17),
    ['s'] = L(18), ['t'] = L(19), ['u'] = L(20), ['v'] = L(21), ['w'] = L(22), ['x'] = L(23),
    ['y'] = L(24), ['z'] = L(25), ['2'] = L(26), ['3'] = L(27), ['4'] = L(28), ['5'] = L(29),
    ['6'] = L(30), ['7'] = L(31),
};

bool fr_cid_from_bytes(fr_slice bytes, fr_cid *out)
{
    if (bytes.size != FR_CID_BYTES) {
        return false;
    }
    const uint8_t *b = bytes.data;
    if (b[0] != 0x01 || (b[1] != 0x71 && b[1] != 0x55) || b[2] != 0x12 || b[3] != 0x20) {
        return false;
    }
    memcpy(out->bytes, b, FR_CID_BYTES);
    return true;
}

/** 8 letters to 5 bytes; the return value has IS_LETTER where all were letters. */
static unsigned decode_group(const uint8_t *letters, uint8_t out[GROUP_BYTES])
{
    unsigned common = IS_LETTER;
    uint64_t bits = 0;
    for (size_t i = 0; i < GROUP_LETTERS; i++) {
        unsigned letter = letter_of[letters[i]];
        common &= letter;
        bits = bits << 5 | (letter & VALUE);
    }
    uint8_t bytes[8];
    fr_store_u64be(bytes, bits << 24);
    memcpy(out, bytes, GROUP_BYTES);
    return common;
}

static void encode_group(const uint8_t in[GROUP_BYTES], char *letters)
{
    uint8_t bytes[8] = {0};
    memcpy(bytes, in, GROUP_BYTES);
    uint64_t bits = fr_load_u64be(bytes);
    for (size_t i = 0; i < GROUP_LETTERS; i++, bits <<= 5) {
        letters[i] = alphabet[bits >> 59];
    }
}

bool fr_cid_parse(fr_slice text, fr_cid *out)
{
    if (text.size != FR_CID_TEXT_BYTES || text.data[0] != 'b') {
        return false;
    }
    const uint8_t *letters = text.data + 1;
    uint8_t bytes[FR_CID_BYTES];
    unsigned common = IS_LETTER;
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        common &= decode_group(letters + i * GROUP_LETTERS, bytes + i * GROUP_BYTES);
    }
    unsigned high = letter_of[letters[FR_CID_TEXT_BYTES - 3]];
    unsigned low = letter_of[letters[FR_CID_TEXT_BYTES - 2]];
    common &= high & low;
    bytes[FR_CID_BYTES - 1] = (uint8_t)((high & VALUE) << 3 | (low & VALUE) >> 2);
    return common != 0 && (low & 3) == 0 &&
           fr_cid_from_bytes(fr_slice_of(bytes, sizeof bytes), out);
}

void fr_cid_format(const fr_cid *cid, char out[FR_CID_TEXT_BYTES])
{
    out[0] = 'b';
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        encode_group(cid->bytes + i * GROUP_BYTES, out + 1 + i * GROUP_LETTERS);
    }
    unsigned last = cid->bytes[FR_CID_BYTES - 1];
    out[FR_CID_TEXT_BYTES - 2] = alphabet[last >> 3];
    out[FR_CID_TEXT_BYTES - 1] = alphabet[last << 2 & VALUE];
}

void fr_cid_of_block(fr_slice block, fr_cid *out)
{
    static const uint8_t head[4] = {0x01, 0x71, 0x12, 0x20};
    memcpy(out->bytes, head, sizeof head);
    fr_sha256(block, out->bytes + sizeof head);
}
