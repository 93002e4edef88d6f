// SPDX-License-Identifier: MIT OR Apache-2.0
#include "census.h"

#include <stdlib.h>

#include <fr/codec.h>

#define HEAD_BYTES 64 /* of a section: its length and CID */

typedef struct {
    uint64_t cid_offset;
    uint64_t cid_print; /* its last bytes: other CIDs need not be looked at again */
    uint32_t cid_size, data_size;
} counted;

typedef struct {
    fr_slice input;
    repo_watch *watch;
    counted *list;
    size_t count, capacity;
} counting;

/* Bytes of any CID: version 0 (a bare sha2-256 multihash) or version, codec, hash code, digest
 * length, digest. */
static size_t cid_bytes(fr_slice section)
{
    uint64_t value = 0;
    size_t at = 0;
    if (fr_slice_starts_with(section, FR_SLICE("\x12\x20"))) {
        return 34;
    }
    for (int part = 0; part < 4; part++) {
        size_t size = fr_varint_decode(fr_slice_from(section, at), CAR_VARINT_BYTES_MAX, &value);
        if (size == 0 || (part == 0 && value != 1)) {
            return 0;
        }
        at += size;
    }
    return value > section.size - at ? 0 : at + (size_t)value;
}

static fr_status add_section(counting *c, uint64_t offset, uint64_t *next, fr_error *err)
{
    uint64_t size = 0;
    repo_watch_touch(c->watch, c->input.data + offset, HEAD_BYTES);
    size_t head =
        fr_varint_decode(fr_slice_from(c->input, (size_t)offset), CAR_VARINT_BYTES_MAX, &size);
    if (head == 0 || size == 0 || size > c->input.size - offset - head) {
        return fr_fail_code(err, FR_MALFORMED, offset, "car-section-length",
                            "car: the framing breaks here");
    }
    fr_slice section = fr_slice_sub(c->input, (size_t)offset + head, (size_t)size);
    size_t cid = cid_bytes(section);
    if (cid == 0 || cid > size || size - cid > UINT32_MAX) {
        return fr_fail_code(err, FR_MALFORMED, offset, "car-cid", "car: a section without a CID");
    }
    if (c->count == c->capacity) {
        size_t capacity = c->capacity == 0 ? 64 : c->capacity * 2;
        counted *list = realloc(c->list, capacity * sizeof *list);
        if (list == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "car: no memory for a census");
        }
        c->list = list;
        c->capacity = capacity;
    }
    uint64_t print = cid < sizeof print ? cid : fr_load_u64be(section.data + cid - sizeof print);
    c->list[c->count++] = (counted){offset + head, print, (uint32_t)cid, (uint32_t)(size - cid)};
    *next = offset + head + size;
    return FR_OK;
}

static int compare_sizes(const void *a, const void *b)
{
    uint32_t left = ((const counted *)a)->data_size, right = ((const counted *)b)->data_size;
    return (left > right) - (left < right);
}

static fr_slice cid_of(const counting *c, const counted *one)
{
    repo_watch_touch(c->watch, c->input.data + one->cid_offset, one->cid_size);
    return fr_slice_sub(c->input, (size_t)one->cid_offset, one->cid_size);
}

static fr_slice data_of(const counting *c, const counted *one)
{
    uint64_t offset = one->cid_offset + one->cid_size;
    repo_watch_touch(c->watch, c->input.data + offset, one->data_size);
    return fr_slice_sub(c->input, (size_t)offset, one->data_size);
}

static int compare_cids(const void *a, const void *b, void *context)
{
    const counting *c = context;
    const counted *one = a, *other = b;
    if (one->cid_print != other->cid_print) {
        return one->cid_print < other->cid_print ? -1 : 1;
    }
    int order = fr_slice_compare(cid_of(c, one), cid_of(c, other));
    uint64_t left = one->cid_offset, right = other->cid_offset;
    return order != 0 ? order : (left > right) - (left < right);
}

static void judge_hashes(const counting *c, car_census *out)
{
    for (size_t i = 0; i < c->count; i++) {
        const uint8_t *cid = cid_of(c, &c->list[i]).data;
        uint8_t digest[32];
        if (c->list[i].cid_size != FR_CID_BYTES || !car_cid_known(cid)) {
            out->hash_unknown++;
            continue;
        }
        fr_sha256(data_of(c, &c->list[i]), digest);
        out->hash_bad += memcmp(digest, cid + 4, sizeof digest) != 0;
    }
    qsort_r(c->list, c->count, sizeof *c->list, compare_cids, (void *)c);
    for (size_t i = 1; i < c->count; i++) {
        if (c->list[i].cid_print == c->list[i - 1].cid_print &&
            fr_slice_equal(cid_of(c, &c->list[i]), cid_of(c, &c->list[i - 1]))) {
            out->duplicates++;
            out->conflicting +=
                !fr_slice_equal(data_of(c, &c->list[i]), data_of(c, &c->list[i - 1]));
        }
    }
}

/* Sizes below the first figure are counted; the few above it are listed, each paid for by as many
 * bytes. */
#define COUNTED_BYTES 65536u

typedef struct {
    uint64_t counts[COUNTED_BYTES];
    uint32_t *large;
    size_t large_count, large_capacity;
    uint64_t blocks, bytes;
} size_table;

static fr_status add_size(size_table *t, uint32_t size, fr_error *err)
{
    t->blocks++;
    t->bytes += size;
    if (size < COUNTED_BYTES) {
        t->counts[size]++;
        return FR_OK;
    }
    if (t->large_count == t->large_capacity) {
        size_t capacity = t->large_capacity == 0 ? 64 : t->large_capacity * 2;
        uint32_t *large = realloc(t->large, capacity * sizeof *large);
        if (large == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "car: no memory for a census");
        }
        t->large = large;
        t->large_capacity = capacity;
    }
    t->large[t->large_count++] = size;
    return FR_OK;
}

static int compare_large(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

/* The size of the block that has `rank` smaller ones before it. */
static uint32_t size_at(const size_table *t, uint64_t rank)
{
    for (uint32_t size = 0; size < COUNTED_BYTES; size++) {
        if (rank < t->counts[size]) {
            return size;
        }
        rank -= t->counts[size];
    }
    return t->large[rank];
}

static fr_status take_sizes(fr_slice input, uint64_t offset, repo_watch *watch, size_table *t,
                            fr_error *err)
{
    car_section section;
    while (offset < input.size) {
        repo_watch_touch(watch, input.data + offset, HEAD_BYTES);
        FR_TRY(car_section_read(input, offset, UINT32_MAX, &section, err));
        FR_TRY(add_size(t, section.data_size, err));
        offset = section.data_offset + section.data_size;
    }
    if (t->large_count != 0) {
        qsort(t->large, t->large_count, sizeof *t->large, compare_large);
    }
    return FR_OK;
}

static fr_status count_judged(fr_slice input, uint64_t offset, repo_watch *watch, car_census *out,
                              fr_error *err)
{
    size_table *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "car: no memory for a census");
    }
    fr_status status = take_sizes(input, offset, watch, t, err);
    if (status == FR_OK) {
        out->blocks = t->blocks;
        out->bytes = t->bytes;
        if (t->blocks != 0) {
            out->size_p50 = size_at(t, t->blocks / 2);
            out->size_p90 = size_at(t, t->blocks * 9 / 10);
            out->size_max = size_at(t, t->blocks - 1);
        }
    }
    free(t->large);
    free(t);
    return status;
}

static fr_status count_foreign(fr_slice input, uint64_t sections_offset, repo_watch *watch,
                               car_census *out, fr_error *err)
{
    counting c = {.input = input, .watch = watch};
    fr_status status = FR_OK;
    for (uint64_t offset = sections_offset; offset < input.size && status == FR_OK;) {
        status = add_section(&c, offset, &offset, err);
    }
    if (status == FR_OK && c.count != 0) {
        out->blocks = c.count;
        judge_hashes(&c, out);
        qsort(c.list, c.count, sizeof *c.list, compare_sizes);
        for (size_t i = 0; i < c.count; i++) {
            out->bytes += c.list[i].data_size;
        }
        out->size_p50 = c.list[c.count / 2].data_size;
        out->size_p90 = c.list[c.count * 9 / 10].data_size;
        out->size_max = c.list[c.count - 1].data_size;
    }
    free(c.list);
    return status;
}

fr_status car_census_take(fr_slice input, uint64_t sections_offset, bool judged,
                          uint64_t known_duplicates, repo_watch *watch, car_census *out,
                          fr_error *err)
{
    *out = (car_census){.duplicates = judged ? known_duplicates : 0};
    return judged ? count_judged(input, sections_offset, watch, out, err)
                  : count_foreign(input, sections_offset, watch, out, err);
}
