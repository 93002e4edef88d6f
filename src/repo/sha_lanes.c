// SPDX-License-Identifier: MIT OR Apache-2.0
// SHA-256 with the SHA extensions of x86 (FIPS 180-4; Intel, "Intel SHA Extensions", 2013).
//
// One message leaves the unit idle: a round pair waits four cycles for the one before it. So up to
// four messages go side by side, and each keeps its own place, or lane:
//
//      lane 0   [ data of block 7 ............................... | tail ]  next: block 31
//      lane 1   [ data of block 2 ...................... | tail ]  next: block 12
//      lane 2   [ data of block 40 ..................... | tail ]
//      lane 3   [ data of block 3 ............... | tail tail ]
//               <---- steps ----------------------------->
//
// A step is one compression (64 bytes) in every lane. All lanes run until the first of them comes
// to the end of its tail; that lane takes the next message, and all run again. `data` is read in
// place; the last 0 to 63 bytes and the padding make a tail of one or two blocks, written when the
// lane is filled, long before it is read. Messages are taken in order of their count of
// compressions, most first: lanes that start together end together, and the last ones, when lanes
// stay empty, are the short ones.
//
// In a lane the state is two registers, as the instructions want it, high word first:
//
//      abef = a b e f        sha256rnds2(cdgh, abef, wk) = abef two rounds later
//      cdgh = c d g h        (and the old abef is the new cdgh)
//      w[0..3] = the last 16 words of the message schedule, four a register
//
// Measured (EPYC, GB/s by lanes, gcc 12): 1.58, 2.98, 3.25, 3.41. AVX is asked for beside SHA for
// its three-operand forms: without it four lanes make 3.0.
#include "sha_lanes.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define LANES 4
#define WINDOW_JOBS 256
#define BUCKETS 64
#define TARGET __attribute__((target("sha,avx")))
#define INLINE static inline __attribute__((always_inline, target("sha,avx")))
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

bool sha_lanes_supported(void)
{
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx") && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
           (b & bit_SHA) != 0;
}

typedef struct {
    __m128i abef, cdgh;
    const uint8_t *at; /* the next 64 bytes */
    size_t whole;      /* steps until the tail; wraps below 0 in it */
    size_t steps;      /* until the end, > 0 */
    hash_job *job;
    uint8_t
        room[64 + 128 + 64]; /* the tail is in the middle; what is around it may be overwritten */
} lane;

static const uint32_t ROUND_WORDS[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

INLINE __m128i load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

INLINE void store(uint8_t *at, __m128i value)
{
    _mm_storeu_si128((__m128i *)(void *)at, value);
}

INLINE __m128i first_abef(void)
{
    return _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c);
}

INLINE __m128i first_cdgh(void)
{
    return _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19);
}

/* ---- the compression ------------------------------------------------------------------------- */

/* One block in `count` lanes. The loops have constant bounds and vanish; what is left alternates
 * between the lanes every four rounds, close enough for the processor to overlap them. */
INLINE void compress(int count, __m128i *abef, __m128i *cdgh, const uint8_t *const *at)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i a[LANES], c[LANES], w[LANES][4];
    UNROLL
    for (int l = 0; l < count; l++) {
        a[l] = abef[l];
        c[l] = cdgh[l];
    }
    UNROLL
    for (int i = 0; i < 16; i++) {
        __m128i words = _mm_load_si128((const __m128i *)(const void *)&ROUND_WORDS[4 * i]);
        UNROLL
        for (int l = 0; l < count; l++) {
            __m128i *now = &w[l][i & 3];
            if (i < 4) {
                *now = _mm_shuffle_epi8(load(at[l] + 16 * i), big_endian);
            } else {
                __m128i before = w[l][(i + 3) & 3];
                __m128i sum = _mm_sha256msg1_epu32(*now, w[l][(i + 1) & 3]);
                sum = _mm_add_epi32(sum, _mm_alignr_epi8(before, w[l][(i + 2) & 3], 4));
                *now = _mm_sha256msg2_epu32(sum, before);
            }
            __m128i wk = _mm_add_epi32(*now, words);
            c[l] = _mm_sha256rnds2_epu32(c[l], a[l], wk);
            a[l] = _mm_sha256rnds2_epu32(a[l], c[l], _mm_shuffle_epi32(wk, 0x0e));
        }
    }
    UNROLL
    for (int l = 0; l < count; l++) {
        abef[l] = _mm_add_epi32(abef[l], a[l]);
        cdgh[l] = _mm_add_epi32(cdgh[l], c[l]);
    }
}

INLINE void run(int count, lane *const *on, size_t steps, const uint8_t **ahead, const uint8_t *end)
{
    const uint8_t *line = *ahead;
    __m128i abef[LANES], cdgh[LANES];
    const uint8_t *at[LANES];
    UNROLL
    for (int l = 0; l < count; l++) {
        abef[l] = on[l]->abef;
        cdgh[l] = on[l]->cdgh;
        at[l] = on[l]->at;
    }
    for (size_t step = 0; step < steps; step++) {
        compress(count, abef, cdgh, at);
        UNROLL
        for (int l = 0; l < count; l++) {
            at[l] = --on[l]->whole == 0 ? on[l]->room + 64 : at[l] + 64;
            __builtin_prefetch(line);
            line = line < end ? line + 64 : line;
        }
    }
    *ahead = line;
    UNROLL
    for (int l = 0; l < count; l++) {
        on[l]->abef = abef[l];
        on[l]->cdgh = cdgh[l];
        on[l]->at = at[l];
        on[l]->steps -= steps;
    }
}

TARGET static void run_lanes(size_t count, lane *const *on, size_t steps, const uint8_t **ahead,
                             const uint8_t *end)
{
    switch (count) {
        case 1: run(1, on, steps, ahead, end); break;
        case 2: run(2, on, steps, ahead, end); break;
        case 3: run(3, on, steps, ahead, end); break;
        default: run(4, on, steps, ahead, end);
    }
}

/* The state's words as 32 bytes, big-endian. */
INLINE void store_digest(__m128i abef, __m128i cdgh, uint8_t *out)
{
    const __m128i turn = _mm_set_epi64x(0x08090a0b0c0d0e0f, 0x0001020304050607);
    store(out, _mm_shuffle_epi8(_mm_unpackhi_epi64(abef, cdgh), turn));
    store(out + 16, _mm_shuffle_epi8(_mm_unpacklo_epi64(abef, cdgh), turn));
}

/* ---- messages into lanes --------------------------------------------------------------------- */

static size_t step_count(size_t size)
{
    return size / 64 + 1 + (size % 64 >= 56);
}

/* The tail: what is left of the data, 80, zeros, the length in bits. A message of 64 bytes or more
 * gives its last 64 in one piece, laid so that the wanted ones fall into place: no branch on how
 * many they are, and no byte is read outside of the message. 64 zeros behind them reach the length
 * also where it is in the second block. */
INLINE uint8_t *write_tail(lane *l, const hash_job *job, size_t blocks)
{
    uint8_t *tail = l->room + 64;
    size_t left = job->size % 64;
    if (FR_LIKELY(job->size >= 64)) {
        const uint8_t *from = job->data + job->size - 64;
        UNROLL
        for (int i = 0; i < 64; i += 16) {
            store(tail + left - 64 + i, load(from + i));
        }
    } else if (left != 0) {
        memcpy(tail, job->data, left);
    }
    UNROLL
    for (int i = 0; i < 64; i += 16) {
        store(tail + left + i, _mm_setzero_si128());
    }
    tail[left] = 0x80;
    fr_store_u64be(tail + blocks * 64 - 8, (uint64_t)job->size * 8);
    return tail;
}

INLINE void fill(lane *l, hash_job *job)
{
    size_t whole = job->size / 64;
    size_t blocks = step_count(job->size) - whole;
    uint8_t *tail = write_tail(l, job, blocks);
    l->abef = first_abef();
    l->cdgh = first_cdgh();
    l->job = job;
    l->at = whole != 0 ? job->data : tail;
    l->whole = whole;
    l->steps = whole + blocks;
}

/* A window's jobs by count of compressions, most first: a list for each count, and all that have
 * BUCKETS or more are one. */
typedef struct {
    uint64_t lists; /* which are not empty, the longest jobs' lowest */
    uint16_t first[BUCKETS];
    uint16_t next[WINDOW_JOBS];
} job_queue;

static void queue_jobs(job_queue *q, const hash_job *jobs, size_t count)
{
    q->lists = 0;
    memset(q->first, 0xff, sizeof q->first);
    for (size_t i = count; i-- > 0;) {
        size_t list = BUCKETS - FR_MIN(step_count(jobs[i].size), (size_t)BUCKETS);
        q->next[i] = q->first[list];
        q->first[list] = (uint16_t)i;
        q->lists |= UINT64_C(1) << list;
    }
}

static size_t take_job(job_queue *q)
{
    unsigned list = (unsigned)__builtin_ctzll(q->lists);
    size_t job = q->first[list];
    q->first[list] = q->next[job];
    q->lists ^= (uint64_t)(q->next[job] == UINT16_MAX) << list;
    return job;
}

TARGET static void run_window(hash_job *jobs, size_t count, const uint8_t **ahead,
                              const uint8_t *end)
{
    job_queue queue;
    lane lanes[LANES];
    lane *on[LANES];
    size_t used = 0;
    queue_jobs(&queue, jobs, count);
    for (; used < FR_MIN(count, (size_t)LANES); used++) {
        on[used] = &lanes[used];
        fill(on[used], &jobs[take_job(&queue)]);
    }
    while (used != 0) {
        size_t steps = on[0]->steps;
        for (size_t i = 1; i < used; i++) {
            steps = FR_MIN(steps, on[i]->steps);
        }
        run_lanes(used, on, steps, ahead, end);
        for (size_t i = used; i-- > 0;) {
            lane *l = on[i];
            if (l->steps != 0) {
                continue;
            }
            store_digest(l->abef, l->cdgh, l->job->digest);
            if (queue.lists != 0) {
                fill(l, &jobs[take_job(&queue)]);
            } else {
                on[i] = on[--used];
            }
        }
    }
}

void sha_lanes_blocks(hash_job *jobs, size_t count, const uint8_t **ahead, const uint8_t *end)
{
    for (size_t from = 0; from < count; from += WINDOW_JOBS) {
        run_window(jobs + from, FR_MIN(count - from, (size_t)WINDOW_JOBS), ahead, end);
    }
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* `count` keys side by side: one compression each, and of the digest the first two words. */
INLINE void run_keys(int count, const hash_key *keys, uint64_t *heads)
{
    __m128i abef[LANES], cdgh[LANES];
    const uint8_t *at[LANES];
    UNROLL
    for (int l = 0; l < count; l++) {
        abef[l] = first_abef();
        cdgh[l] = first_cdgh();
        at[l] = keys[l].block;
    }
    compress(count, abef, cdgh, at);
    UNROLL
    for (int l = 0; l < count; l++) {
        heads[l] = (uint64_t)_mm_extract_epi64(abef[l], 1); /* a in its upper half, then b */
    }
}

TARGET void sha_lanes_keys(const hash_key *keys, size_t count, uint64_t *heads)
{
    for (; count >= LANES; count -= LANES, keys += LANES, heads += LANES) {
        run_keys(LANES, keys, heads);
    }
    switch (count) {
        case 3: run_keys(3, keys, heads); break;
        case 2: run_keys(2, keys, heads); break;
        case 1: run_keys(1, keys, heads); break;
        default: break;
    }
}

#else

bool sha_lanes_supported(void)
{
    return false;
}

void sha_lanes_blocks(hash_job *jobs, size_t count, const uint8_t **ahead, const uint8_t *end)
{
    (void)jobs;
    (void)count;
    (void)ahead;
    (void)end;
}

void sha_lanes_keys(const hash_key *keys, size_t count, uint64_t *heads)
{
    (void)keys;
    (void)count;
    (void)heads;
}

#endif
