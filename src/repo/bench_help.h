// SPDX-License-Identifier: MIT OR Apache-2.0
// For benches of this module, a program each: a run again and again for two seconds, its times, how
// often it asked for memory, and whether each run saw what the first saw.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <fr/os.h>

#define RUNS_MAX 20000
#define RUN_NS UINT64_C(2000000000)

/* ---- allocations ----------------------------------------------------------------------------- */

static uint64_t allocations;

#if !defined(__GLIBC__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BENCH_COUNTS 0 /* a sanitizer's memory is its own */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BENCH_COUNTS 0
#endif
#endif

#ifndef BENCH_COUNTS

/* glibc's own, under the names that stay when a program defines malloc. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *at, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *at, size_t size)
{
    allocations++;
    return __libc_realloc(at, size);
}

#endif

/* ---- runs ------------------------------------------------------------------------------------ */

/* Of what a run saw; every run of one input sees the same. */
typedef struct {
    uint64_t count, bytes, mixed;
} totals;

static inline int compare_u64(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

typedef struct {
    size_t runs;
    uint64_t best_ns, p50_ns, p99_ns;
    uint64_t cpu_ns;      /* least of this process, whoever else wanted the processor */
    uint64_t allocations; /* of the last run */
} times;

static inline uint64_t cpu_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* One run into *seen, which is empty before; its time in *ns. The processor's clock is asked
 * outside of it: that is a system call. */
static inline bool run_once(bool (*run)(void *context), void *context, totals *seen, uint64_t *ns,
                            uint64_t *cpu_ns)
{
    *seen = (totals){0};
    uint64_t cpu_from = cpu_now_ns();
    uint64_t from = fr_os_monotonic_ns(fr_os_real());
    bool done = run(context);
    *ns = fr_os_monotonic_ns(fr_os_real()) - from;
    *cpu_ns = cpu_now_ns() - cpu_from;
    return done;
}

static inline bool same_totals(const totals *a, const totals *b)
{
    return a->count == b->count && a->bytes == b->bytes && a->mixed == b->mixed;
}

/* False: a run failed, or saw other totals than the first. *seen: those of the last. */
static inline bool run_times(bool (*run)(void *context), void *context, totals *seen,
                             size_t runs_max, times *out)
{
    uint64_t *ns = malloc(runs_max * sizeof *ns);
    uint64_t started = fr_os_monotonic_ns(fr_os_real());
    totals first = {0};
    bool done = ns != NULL;
    *out = (times){.cpu_ns = UINT64_MAX};
    while (done && out->runs < runs_max &&
           (out->runs < 3 || fr_os_monotonic_ns(fr_os_real()) - started < RUN_NS)) {
        uint64_t before = allocations, cpu_ns;
        done = run_once(run, context, seen, &ns[out->runs], &cpu_ns);
        out->allocations = allocations - before;
        out->cpu_ns = cpu_ns < out->cpu_ns ? cpu_ns : out->cpu_ns;
        first = out->runs == 0 ? *seen : first;
        if (done && !same_totals(&first, seen)) {
            fprintf(stderr, "run %zu saw other records than the first\n", out->runs + 1);
            done = false;
        }
        out->runs++;
    }
    if (!done) {
        free(ns);
        return false;
    }
    qsort(ns, out->runs, sizeof *ns, compare_u64);
    out->best_ns = ns[0];
    out->p50_ns = ns[out->runs / 2];
    out->p99_ns = ns[out->runs * 99 / 100];
    free(ns);
    return true;
}

static inline void print_times(const times *t)
{
    printf("\"runs\":%zu,\"best_ns\":%llu,\"p50_ns\":%llu,\"p99_ns\":%llu,\"cpu_ns\":%llu,"
           "\"allocations\":%llu}\n",
           t->runs, (unsigned long long)t->best_ns, (unsigned long long)t->p50_ns,
           (unsigned long long)t->p99_ns, (unsigned long long)t->cpu_ns,
           (unsigned long long)t->allocations);
}
