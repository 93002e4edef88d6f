// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fr/large.h>

#include <stdlib.h>
#include <sys/mman.h>

/* The whole huge pages inside; what stands at the edges stays in small ones. A refusal costs only
 * time. */
static void want_huge(void *at, size_t bytes)
{
    uintptr_t mask = FR_HUGE_PAGE_BYTES - 1;
    uintptr_t from = ((uintptr_t)at + mask) & ~mask;
    uintptr_t to = ((uintptr_t)at + bytes) & ~mask;
    if (from < to) {
        (void)madvise((void *)from, to - from, MADV_HUGEPAGE); // NOLINT(performance-no-int-to-ptr)
    }
}

void *fr_large_zeroed(size_t bytes)
{
    void *at = calloc(1, bytes);
    if (at != NULL && bytes >= FR_HUGE_PAGE_BYTES) {
        want_huge(at, bytes);
    }
    return at;
}

void *fr_large_page(void)
{
    void *at = aligned_alloc(FR_HUGE_PAGE_BYTES, FR_HUGE_PAGE_BYTES);
    if (at != NULL) {
        want_huge(at, FR_HUGE_PAGE_BYTES);
    }
    return at;
}
