// SPDX-License-Identifier: MIT OR Apache-2.0
// A table of 2^(1-s) in 1/1024 is all that a power law needs here, so no result depends on a libm.
#include "random.h"

uint64_t fr_gen_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t fr_gen_next(fr_gen_rng *rng)
{
    rng->state += UINT64_C(0x9e3779b97f4a7c15);
    return fr_gen_mix(rng->state);
}

uint32_t fr_gen_below(fr_gen_rng *rng, uint32_t n)
{
    return (uint32_t)(((fr_gen_next(rng) >> 32) * n) >> 32);
}

uint32_t fr_gen_between(fr_gen_rng *rng, uint32_t low, uint32_t high)
{
    return low + fr_gen_below(rng, high - low + 1);
}

bool fr_gen_chance(fr_gen_rng *rng, uint32_t parts)
{
    return fr_gen_below(rng, 10000) < parts;
}

uint32_t fr_gen_skewed(fr_gen_rng *rng, uint32_t n)
{
    return fr_gen_below(rng, fr_gen_below(rng, n) + 1);
}

/* 2^(1-s) * 1024 for s = 0.6, 0.7 .. 1.2: how an octave's weight compares with the one before it.
 * */
static const uint32_t octave_growth[] = {1351, 1261, 1176, 1098, 1024, 955, 891};

void fr_gen_zipf_init(fr_gen_zipf *zipf, uint32_t count, uint32_t shift, uint32_t s_tenths)
{
    *zipf = (fr_gen_zipf){.count = count, .shift = shift};
    uint32_t growth = octave_growth[s_tenths - 6];
    uint64_t weight = UINT64_C(1) << 32, sum = 0;
    uint64_t start = shift, end = (uint64_t)shift + count;
    while (start < end && zipf->octave_count < FR_GEN_OCTAVES_MAX) {
        uint64_t width = FR_MIN(start, end - start);
        uint32_t i = zipf->octave_count++;
        zipf->start[i] = (uint32_t)(start - shift);
        zipf->width[i] = (uint32_t)width;
        sum += width == start ? weight : weight / start * width; /* the last octave may be cut */
        zipf->sum[i] = sum;
        start += width;
        weight = weight / 1024 * growth;
    }
}

uint32_t fr_gen_zipf_draw(const fr_gen_zipf *zipf, fr_gen_rng *rng)
{
    uint64_t total = zipf->sum[zipf->octave_count - 1];
    uint64_t at = (uint64_t)(((unsigned __int128)fr_gen_next(rng) * total) >> 64);
    uint32_t i = 0;
    while (zipf->sum[i] <= at) {
        i++;
    }
    return zipf->start[i] + fr_gen_below(rng, zipf->width[i]);
}
