// SPDX-License-Identifier: MIT OR Apache-2.0
/** Which lists grow most: an estimate in fixed memory. thread: add and publish by the writer, read
 *  by any */
#pragma once

#include <fr/links.h>

typedef struct fr_top fr_top;
FR_MUST_USE fr_status fr_top_new(fr_top **out, fr_error *err);
void fr_top_free(fr_top *top);
void fr_top_add(fr_top *top, fr_target target, uint32_t source);
/** Makes what was added visible. */
void fr_top_publish(fr_top *top);
size_t fr_top_read(const fr_top *top, fr_links_top *out, size_t room);
