// SPDX-License-Identifier: MIT OR Apache-2.0
/** What only the resolver needs of a dictionary. */
#pragma once

#include <fr/ids.h>

/** Fetches the slot that a text of this hash (fr_xxh3_64) will look at; writer only. */
void fr_dict_prefetch(const fr_dict *dict, uint64_t hash);
