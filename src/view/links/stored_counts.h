// SPDX-License-Identifier: MIT OR Apache-2.0
/** Counters of stored lists that were asked for lately. One belongs to one version of the view,
 *  whose store snapshot never changes: so an entry is right as long as it exists. thread: any */
#pragma once

#include <fr/links.h>

typedef struct fr_stored_counts fr_stored_counts;
FR_MUST_USE fr_status fr_stored_counts_new(fr_stored_counts **out, fr_error *err);
void fr_stored_counts_free(fr_stored_counts *counts);
bool fr_stored_counts_find(const fr_stored_counts *counts, fr_target target, uint32_t source,
                           fr_links_count *out);
void fr_stored_counts_add(fr_stored_counts *counts, fr_target target, uint32_t source,
                          fr_links_count count);
