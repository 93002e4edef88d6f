// SPDX-License-Identifier: MIT OR Apache-2.0
/** At which times the record keys of the store lie, one bit for each 8 seconds: most events make a
 *  record whose key names this moment, and where nothing is stored of it, nothing need be read.
 *
 *  The bits are those of the time modulo 17 years, so a set bit says "perhaps", and a clear one
 *  "no". A key that is no TID says "perhaps".
 *
 *  cost     a bit test; 8 MiB, of which only what is used is resident
 *  thread   one marks (the saver), any asks; loading, saving and forgetting: nobody else */
#pragma once

#include <fr/base.h>
#include <fr/store.h>

typedef struct fr_key_times fr_key_times;
FR_MUST_USE fr_status fr_key_times_new(fr_key_times **out, fr_error *err);
void fr_key_times_free(fr_key_times *times); /* NULL is fine */
void fr_key_times_add(fr_key_times *times, uint64_t rkey);
/** False: no key that was added lies there. */
bool fr_key_times_may_have(const fr_key_times *times, uint64_t rkey);
/** Puts the pages that changed since the last fr_key_times_saved; rows 'w', docs/format.md 4.2. */
FR_MUST_USE fr_status fr_key_times_save(const fr_key_times *times, fr_store_load *load,
                                        fr_error *err);
/** What was put is in the store. */
void fr_key_times_saved(fr_key_times *times);
FR_MUST_USE fr_status fr_key_times_load(fr_key_times *times, fr_store *store, fr_error *err);
