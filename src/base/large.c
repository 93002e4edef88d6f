// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fr/large.h>

#include <stdlib.h>
#include <sys/mman.h>

/* The whole huge pages inside; what stands at the edges stays in small ones. A refusal costs only
 * time. A page that is read before it is written is first the one of zeros that all share, and then
 * a second fault and a word to every processor: each is written here, for all will be. */
static void take_huge(void *at, size_t bytes)
{
    uint8_t *from = at;
    from += -(uintptr_t)at & (FR_HUGE_PAGE_BYTES - 1);
    uint8_t *end = (uint8_t *)at + bytes;
    if (from >= end || (size_t)(end - from) < FR_HUGE_PAGE_BYTES) {
        return;
    }
    size_t whole = (size_t)(end - from) & ~(FR_HUGE_PAGE_BYTES - 1);
    (void)madvise(from, whole, MADV_HUGEPAGE);
    for (size_t i = 0; i < whole; i += FR_HUGE_PAGE_BYTES) {
        *(volatile uint8_t *)(from + i) = 0;
    }
}

void *fr_large_zeroed(size_t bytes)
{
    void *at = calloc(1, bytes);
    if (at != NULL && bytes >= FR_HUGE_PAGE_BYTES) {
        take_huge(at, bytes);
    }
    return at;
}

void *fr_large_page(void)
{
    void *at = aligned_alloc(FR_HUGE_PAGE_BYTES, FR_HUGE_PAGE_BYTES);
    if (at != NULL) {
        take_huge(at, FR_HUGE_PAGE_BYTES);
    }
    return at;
}
