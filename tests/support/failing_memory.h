// SPDX-License-Identifier: MIT OR Apache-2.0
/** Memory that runs out on demand, for one test program: fail_memory(n, count) lets the n-th
 *  allocation of this thread from now on (0: the next), and those behind it, count of them, find
 *  none.
 *
 *  A program that includes this is linked with --wrap for these functions (cmake/module.cmake), so
 *  sanitizers see the real ones. Shared libraries have memory always. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static _Thread_local uint64_t failing_memory_asked, failing_memory_from = UINT64_MAX,
                                                    failing_memory_to;
/** While true allocations neither fail nor count. */
static _Thread_local bool failing_memory_spares;

static inline void fail_memory(uint64_t from, uint64_t count)
{
    failing_memory_asked = 0;
    failing_memory_from = from;
    failing_memory_to = count > UINT64_MAX - from ? UINT64_MAX : from + count;
}

/** There is enough again. The number of allocations that found none. */
static inline uint64_t mend_memory(void)
{
    uint64_t end =
        failing_memory_asked < failing_memory_to ? failing_memory_asked : failing_memory_to;
    uint64_t failed = end > failing_memory_from ? end - failing_memory_from : 0;
    failing_memory_from = UINT64_MAX;
    return failed;
}

static inline bool memory_fails(void)
{
    if (failing_memory_from == UINT64_MAX || failing_memory_spares) {
        return false;
    }
    uint64_t n = failing_memory_asked++;
    return n >= failing_memory_from && n < failing_memory_to;
}

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
int __real_posix_memalign(void **out, size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
    return memory_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return memory_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return memory_fails() ? NULL : __real_realloc(old, size);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size)
{
    return memory_fails() ? ENOMEM : __real_posix_memalign(out, alignment, size);
}
// NOLINTEND(bugprone-reserved-identifier)
