// SPDX-License-Identifier: MIT OR Apache-2.0
// TID: 64 bits as 13 letters of an alphabet that is in byte order, so the texts sort as the numbers
// do. 13 letters hold 65 bits: the first letter gives four, so it is one of the sixteen from 2 to
// j.
#include <fr/atproto.h>

static const char alphabet[33] = "234567abcdefghijklmnopqrstuvwxyz";

/* The value of a letter with bit 5 set; 0 for any other byte. */
enum { IS_LETTER = 32, VALUE = 31 };
#define L(v) (IS_LETTER | (v))
static const uint8_t letter_of[256] = {
    ['2'] = L(0),  ['3'] = L(1),  ['4'] = L(2),  ['5'] = L(3),  ['6'] = L(4),  ['7'] = L(5),
    ['a'] = L(6),  ['b'] = L(7),  ['c'] = L(8),  ['d'] = L(9),  ['e'] = L(10), ['f'] = L(11),
    ['g'] = L(12), ['h'] = L(13), ['i'] = L(14), ['j'] = L(15), ['k'] = L(16), ['l'] = L(17),
    ['m'] = L(18), ['n'] = L(19), ['o'] = L(20), ['p'] = L(21), ['q'] = L(22), ['r'] = L(23),
    ['s'] = L(24), ['t'] = L(25), ['u'] = L(26), ['v'] = L(27), ['w'] = L(28), ['x'] = L(29),
    ['y'] = L(30), ['z'] = L(31),
};

bool fr_tid_parse(fr_slice text, uint64_t *out)
{
    if (text.size != FR_TID_BYTES) {
        return false;
    }
    unsigned common = IS_LETTER;
    uint64_t tid = 0;
    for (size_t i = 0; i < FR_TID_BYTES; i++) {
        unsigned letter = letter_of[text.data[i]];
        common &= letter;
        tid = tid << 5 | (letter & VALUE);
    }
    if (common == 0 || (letter_of[text.data[0]] & 16) != 0) {
        return false;
    }
    *out = tid;
    return true;
}

bool fr_tid_valid(fr_slice text)
{
    uint64_t tid;
    return fr_tid_parse(text, &tid);
}

void fr_tid_format(uint64_t tid, char out[FR_TID_BYTES])
{
    for (size_t i = FR_TID_BYTES; i-- > 0; tid >>= 5) {
        out[i] = alphabet[tid & VALUE];
    }
}
