// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fr/large.h>

#include <stdlib.h>
#include <sys/mman.h>

/* The whole huge pages inside, from the first of them on; what stands at the edges stays in small
 * ones. A refusal costs only time. */
static size_t ask_for_huge(uint8_t **at, size_t bytes)
{
    size_t before = -(uintptr_t)*at & (FR_HUGE_PAGE_BYTES - 1);
    if (bytes < before + FR_HUGE_PAGE_BYTES) {
        return 0;
    }
    size_t whole = (bytes - before) & ~(FR_HUGE_PAGE_BYTES - 1);
    *at += before;
    (void)madvise(*at, whole, MADV_HUGEPAGE);
    return whole;
}

/* A page that is read before it is written is first the one of zeros that all share, and then a
 * second fault and a word to every processor: each is written here, for all will be. */
void *fr_large_zeroed(size_t bytes)
{
    uint8_t *at = calloc(1, bytes);
    uint8_t *huge = at;
    size_t whole = at == NULL ? 0 : ask_for_huge(&huge, bytes);
    for (size_t i = 0; i < whole; i += FR_HUGE_PAGE_BYTES) {
        *(volatile uint8_t *)(huge + i) = 0;
    }
    return at;
}

void *fr_large_alloc(size_t bytes)
{
    void *at = NULL;
    if (bytes < FR_HUGE_PAGE_BYTES) {
        return malloc(bytes);
    }
    if (posix_memalign(&at, FR_HUGE_PAGE_BYTES, bytes) != 0) {
        return NULL;
    }
    (void)ask_for_huge(&(uint8_t *){at}, bytes);
    return at;
}
