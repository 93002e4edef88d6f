// SPDX-License-Identifier: MIT OR Apache-2.0
/** Memory that is met all over, in no order: tables, and rows that tables lead to.
 *
 *  A processor remembers where some thousand pages lie; of memory in pages of 4 KiB that is a few
 *  MiB, and beyond it every look costs a walk through the kernel's tables besides the miss itself.
 *  So what is large enough is asked for in huge pages, where the system grants them: a fault each
 *  2 MiB, too, in the place of 512. Smaller things are malloc's as ever. free() frees either.
 *
 *  thread   any */
#pragma once

#include <fr/base.h>

#define FR_HUGE_PAGE_BYTES ((size_t)2 << 20)

/** `bytes` of zeros; NULL when the system has none. cost: they are resident at once */
void *fr_large_zeroed(size_t bytes);
/** malloc, for what will be written all over before it is read. */
void *fr_large_alloc(size_t bytes);
