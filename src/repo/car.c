// SPDX-License-Identifier: MIT OR Apache-2.0
// One pass over the file. Sections are gathered in a window; a full window is hashed (level full)
// and then put into the index, its slots asked for ahead, so that neither hashing nor a cache miss
// interrupts the chain of lengths. A framing error behind the window waits until the window is
// settled: errors come out in file order.
#include "car.h"

#include <fr/cbor.h>
#include <fr/codec.h>

#include "hash.h"

#define WINDOW_BLOCKS 128
#define PREFETCH_BYTES 8192

/* ---- header ---------------------------------------------------------------------------------- */

static fr_status header_fail(fr_error *err, uint64_t offset, const char *text)
{
    return fr_fail_code(err, FR_MALFORMED, offset, "car-header", text);
}

static fr_status read_version(fr_slice map, uint64_t base, fr_error *err)
{
    fr_slice value;
    int64_t version = 0;
    if (fr_cbor_map_get(map, "version", &value) != FR_OK) {
        return header_fail(err, base, "car: the header has no version");
    }
    uint64_t at = base + (uint64_t)(value.data - map.data);
    if (fr_cbor_get_int(map, "version", &version) != FR_OK) {
        return header_fail(err, at, "car: version is not an integer");
    }
    if (version == 2) {
        return fr_fail_code(err, FR_MALFORMED, at, "car-version",
                            "car: this is CAR version 2; only version 1 is read");
    }
    if (version != 1) {
        return fr_fail_code(err, FR_MALFORMED, at, "car-version", "car: the version is not 1");
    }
    return FR_OK;
}

static fr_status read_roots(fr_slice map, uint64_t base, car_header *out, fr_error *err)
{
    fr_slice roots;
    if (fr_cbor_map_get(map, "roots", &roots) != FR_OK) {
        return header_fail(err, base, "car: the header has no roots");
    }
    uint64_t at = base + (uint64_t)(roots.data - map.data);
    fr_cbor_reader reader;
    fr_cbor_reader_init(&reader, roots);
    fr_cbor_item item;
    if (fr_cbor_next(&reader, &item, NULL) != FR_OK || item.type != FR_CBOR_ARRAY ||
        item.count == 0) {
        return header_fail(err, at, "car: roots is not an array of at least one link");
    }
    out->root_count = item.count;
    out->roots_offset = at + (uint64_t)(reader.at - reader.start);
    out->root_offset = out->roots_offset;
    for (uint64_t i = 0; i < out->root_count; i++) {
        uint64_t here = at + (uint64_t)(reader.at - reader.start);
        if (fr_cbor_next(&reader, &item, NULL) != FR_OK || item.type != FR_CBOR_LINK) {
            return header_fail(err, here, "car: a root is not a link");
        }
        if (i == 0 && item.bytes.size == FR_CID_BYTES && car_cid_is_cbor(item.bytes.data)) {
            memcpy(out->root.bytes, item.bytes.data, FR_CID_BYTES);
        }
    }
    return FR_OK;
}

/* The header that nearly every file has, one root of dag-cbor, sha2-256. */
static bool read_usual_header(fr_slice input, uint32_t bytes_max, car_header *out)
{
    static const char before[] = "\x3a\xa2\x65roots\x81\xd8\x2a\x58\x25\x00\x01\x71\x12\x20";
    static const char after[] = "\x67version\x01";
    enum { LINK_AT = 9, CID_AT = 14, SIZE = 1 + 58 };
    if (input.size < SIZE || bytes_max < SIZE - 1 ||
        memcmp(input.data, before, sizeof before - 1) != 0 ||
        memcmp(input.data + CID_AT + FR_CID_BYTES, after, sizeof after - 1) != 0) {
        return false;
    }
    *out = (car_header){
        .root_count = 1, .roots_offset = LINK_AT, .root_offset = LINK_AT, .sections_offset = SIZE};
    memcpy(out->root.bytes, input.data + CID_AT, FR_CID_BYTES);
    return true;
}

fr_status car_header_read(fr_slice input, uint32_t bytes_max, car_header *out, fr_error *err)
{
    uint64_t size = 0;
    if (FR_LIKELY(read_usual_header(input, bytes_max, out))) {
        return FR_OK;
    }
    if (input.size == 0) {
        return fr_fail_code(err, FR_MALFORMED, 0, "car-empty", "car: no bytes");
    }
    size_t head = fr_varint_decode(input, CAR_VARINT_BYTES_MAX, &size);
    if (head == 0) {
        return fr_fail_code(err, FR_MALFORMED, 0, "car-varint",
                            "car: the header's length is not a varint");
    }
    if (size == 0 || size > input.size - head) {
        return fr_fail_code(err, FR_MALFORMED, 0, "car-header-length",
                            "car: the header is empty or longer than the file");
    }
    if (size > bytes_max) {
        return fr_fail_code(err, FR_LIMIT, 0, "limit-header", "car: the header is over its limit");
    }
    fr_slice map = fr_slice_sub(input, head, (size_t)size);
    fr_cbor_check_options check = {.must_be_map = true};
    fr_error inner = {0};
    if (fr_cbor_check(map, &check, &inner) != FR_OK) {
        return header_fail(err, head + inner.offset, "car: the header is not one canonical map");
    }
    *out = (car_header){.sections_offset = head + size};
    FR_TRY(read_version(map, head, err));
    return read_roots(map, head, out, err);
}

/* ---- sections -------------------------------------------------------------------------------- */

uint64_t car_section_offset(uint64_t data_offset, uint32_t data_size)
{
    uint8_t bytes[FR_VARINT_MAX_BYTES];
    return data_offset - FR_CID_BYTES - fr_varint_encode((uint64_t)data_size + FR_CID_BYTES, bytes);
}

fr_status car_section_read(fr_slice input, uint64_t offset, uint32_t bytes_max, car_section *out,
                           fr_error *err)
{
    const uint8_t *at = input.data + offset;
    size_t left = input.size - (size_t)offset;
    uint64_t size;
    size_t head;
    if (FR_LIKELY(left >= 2 && at[0] >= 0x80 && at[1] < 0x80 && at[1] != 0)) {
        size = (uint64_t)(at[0] & 0x7f) | (uint64_t)at[1] << 7;
        head = 2;
    } else {
        head = fr_varint_decode(fr_slice_of(at, left), CAR_VARINT_BYTES_MAX, &size);
    }
    if (head == 0) {
        return fr_fail_code(err, FR_MALFORMED, offset, "car-varint",
                            "car: a section's length is not a varint");
    }
    if (size < FR_CID_BYTES || size > left - head) {
        return fr_fail_code(err, FR_MALFORMED, offset, "car-section-length",
                            "car: a section is shorter than a CID or longer than the file");
    }
    if (!car_cid_known(at + head)) {
        return fr_fail_code(err, FR_MALFORMED, offset, "car-cid",
                            "car: a CID is not CIDv1, dag-cbor or raw, sha2-256");
    }
    if (size - FR_CID_BYTES > bytes_max) {
        return fr_fail_code(err, FR_LIMIT, offset, "limit-block", "car: a block is over its limit");
    }
    *out = (car_section){offset, offset + head + FR_CID_BYTES, (uint32_t)(size - FR_CID_BYTES)};
    return FR_OK;
}

typedef struct {
    car_section sections[WINDOW_BLOCKS];
    hash_job jobs[WINDOW_BLOCKS];
    size_t count;
} window;

static fr_status hash_window(window *w, fr_slice input, fr_error *err)
{
    for (size_t i = 0; i < w->count; i++) {
        w->jobs[i].data = input.data + w->sections[i].data_offset;
        w->jobs[i].size = w->sections[i].data_size;
    }
    hash_blocks(w->jobs, w->count);
    for (size_t i = 0; i < w->count; i++) {
        if (memcmp(w->jobs[i].digest, w->jobs[i].data - 32, 32) != 0) {
            return fr_fail_code(err, FR_MALFORMED, w->sections[i].offset, "car-hash",
                                "car: a block's bytes do not hash to its CID");
        }
    }
    return FR_OK;
}

static fr_status settle_window(window *w, fr_slice input, bool hash, block_index *index,
                               car_counts *counts, fr_error *err)
{
    if (hash) {
        FR_TRY(hash_window(w, input, err));
    }
    for (size_t i = 0; i < w->count; i++) {
        bool fresh = false;
        FR_TRY(block_index_add(index, w->sections[i].data_offset, w->sections[i].data_size, &fresh,
                               err));
        counts->duplicates += !fresh;
    }
    counts->blocks += w->count;
    w->count = 0;
    return FR_OK;
}

fr_status car_scan(fr_slice input, const car_header *header, const fr_repo_options *options,
                   block_index *index, car_counts *counts, fr_error *err)
{
    uint32_t bytes_max =
        options->block_bytes_max == 0 ? CAR_BLOCK_BYTES_MAX : options->block_bytes_max;
    bytes_max = FR_MIN(bytes_max, CAR_BLOCK_BYTES_MAX);
    uint64_t blocks_max = options->blocks_max == 0 ? UINT64_MAX : options->blocks_max;
    bool hash = options->level == FR_LEVEL_FULL;
    window w;
    w.count = 0;
    *counts = (car_counts){0};
    uint64_t ahead = 0;
    fr_error fault = {0};
    for (uint64_t offset = header->sections_offset; offset < input.size;) {
        for (; ahead < offset + PREFETCH_BYTES && ahead < input.size; ahead += 64) {
            __builtin_prefetch(input.data + ahead);
        }
        car_section section;
        fr_status status = car_section_read(input, offset, bytes_max, &section, &fault);
        if (FR_LIKELY(status == FR_OK) && FR_UNLIKELY(counts->blocks + w.count == blocks_max)) {
            status = fr_fail_code(&fault, FR_LIMIT, offset, "limit-blocks",
                                  "car: more blocks than allowed");
        }
        if (FR_UNLIKELY(status != FR_OK)) {
            FR_TRY(settle_window(&w, input, hash, index, counts,
                                 err)); /* a fault in the window comes first */
            if (err != NULL) {
                *err = fault;
            }
            return status;
        }
        block_prefetch(index, block_tag(index, input.data + section.data_offset - FR_CID_BYTES));
        w.sections[w.count++] = section;
        if (w.count == WINDOW_BLOCKS) {
            FR_TRY(settle_window(&w, input, hash, index, counts, err));
        }
        offset = section.data_offset + section.data_size;
    }
    return settle_window(&w, input, hash, index, counts, err);
}
