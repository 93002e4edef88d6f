// SPDX-License-Identifier: MIT OR Apache-2.0
#include "char_class.h"

enum {
    EVERYWHERE = CLASS_RKEY | CLASS_DID | CLASS_CID | CLASS_GRAPH,
    MARK = CLASS_RKEY | CLASS_DID | CLASS_GRAPH,
};

/* The ranges do not overlap; a byte that is not named has no class. */
const uint8_t fr_atproto_class[256] = {
    ['!' ... '$'] = CLASS_GRAPH,
    ['%'] = CLASS_DID | CLASS_GRAPH,
    ['&' ... '*'] = CLASS_GRAPH,
    ['+'] = CLASS_CID | CLASS_GRAPH,
    [','] = CLASS_GRAPH,
    ['-'] = CLASS_HYPHEN | MARK,
    ['.'] = MARK,
    ['/'] = CLASS_GRAPH,
    ['0' ... '9'] = CLASS_DIGIT | EVERYWHERE,
    [':'] = MARK,
    [';' ... '<'] = CLASS_GRAPH,
    ['='] = CLASS_CID | CLASS_GRAPH,
    ['>' ... '@'] = CLASS_GRAPH,
    ['A' ... 'Z'] = CLASS_UPPER | EVERYWHERE,
    ['[' ... '^'] = CLASS_GRAPH,
    ['_'] = MARK,
    ['`'] = CLASS_GRAPH,
    ['a' ... 'z'] = CLASS_LOWER | EVERYWHERE,
    ['{' ... '}'] = CLASS_GRAPH,
    ['~'] = CLASS_RKEY | CLASS_GRAPH,
};
