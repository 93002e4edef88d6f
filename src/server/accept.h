// SPDX-License-Identifier: MIT OR Apache-2.0
/** Which of our two representations an Accept line asks for.
 *
 *  source  RFC 9110 section 12.5.1; media type parameters other than q do not narrow a match */
#pragma once

#include <fr/base.h>

typedef enum {
    FR_ACCEPT_JSON = 0,      /* also when the line is missing, empty, or matches neither */
    FR_ACCEPT_HTML = 1,      /* text/html is the better match; of equal q the one listed first */
    FR_ACCEPT_MALFORMED = 2, /* answer 400 */
} fr_accept_choice;

fr_accept_choice fr_accept_choose(fr_slice accept);
