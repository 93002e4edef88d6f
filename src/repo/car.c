// SPDX-License-Identifier: MIT OR Apache-2.0
// One pass over the file. Sections are gathered in a window; a full window is hashed (level full)
// and then put into the index, its slots asked for ahead, so that neither hashing nor a cache miss
// interrupts the chain of lengths: once from memory, and once more shortly before, for by then the
// window has pushed them out of the first cache. A framing error behind the window waits until the
// window is settled: errors come out in file order. The pass can end where the bytes that are there
// end, and go on when there are more; a section is judged when all of it is there, or the file is
// at its end, so that the answer does not depend on the pieces.
#include "car.h"

#include <fr/cbor.h>
#include <fr/codec.h>

#include "hash.h"

#define PREFETCH_BYTES 8192
#define SLOTS_AHEAD 16

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

bool car_is_whole(fr_slice input, uint64_t offset, uint64_t least, uint64_t *need)
{
    fr_slice rest = fr_slice_from(input, offset);
    uint64_t size = 0;
    size_t head = fr_varint_decode(rest, CAR_VARINT_BYTES_MAX, &size);
    if (head == 0) {
        bool cut = rest.size < CAR_VARINT_BYTES_MAX;
        for (size_t i = 0; i < rest.size && cut; i++) {
            cut = rest.data[i] >= 0x80;
        }
        *need = input.size + 1;
        return !cut;
    }
    *need = offset + head + size;
    return size < least || size <= rest.size - head;
}

/* How many blocks at the start of the window hash to their CIDs. */
static size_t hash_window(car_scanner *s, fr_slice input)
{
    car_window *w = &s->window;
    for (size_t i = 0; i < w->count; i++) {
        w->jobs[i].data = input.data + block_offset(&w->blocks[i]);
        w->jobs[i].size = block_size(&w->blocks[i]);
    }
    const uint8_t *ahead = input.data + s->ahead;
    hash_blocks_ahead(w->jobs, w->count, &ahead, input.data + input.size);
    s->ahead = (uint64_t)(ahead - input.data);
    size_t sound = 0;
    while (sound < w->count && hash_is_before(&w->jobs[sound])) {
        sound++;
    }
    return sound;
}

static uint64_t block_end(const block_slot *block)
{
    return block_offset(block) + block_size(block);
}

static uint64_t section_offset_of(const block_slot *block)
{
    return car_section_offset(block_offset(block), block_size(block));
}

static void empty_window(car_scanner *s)
{
    s->window.count = s->window.settled = s->window.bytes = 0;
    s->window.hashed = false;
    s->window.keys_drawn = s->index->keys_drawn;
}

/* Tags of the blocks [from, count) of the window, under the key that the index has now. */
static void make_tags(car_scanner *s, size_t from)
{
    car_window *w = &s->window;
    for (size_t i = from; i < w->count; i++) {
        w->blocks[i].tag =
            block_tag(s->index, s->index->input + block_offset(&w->blocks[i]) - FR_CID_BYTES);
    }
    w->keys_drawn = s->index->keys_drawn;
}

static void let_section_go(car_scanner *s, const block_slot *block)
{
    uint64_t offset = section_offset_of(block);
    repo_window_let_go(s->held_in, offset, block_end(block) - offset);
}

static fr_status add_block(car_scanner *s, block_slot block, fr_error *err)
{
    uint64_t end = block_end(&block);
    if (FR_UNLIKELY(end > s->kept_max)) {
        return fr_fail_code(err, FR_LIMIT, section_offset_of(&block), "limit-disk",
                            "repo: what does not fit in memory does not fit the disk limit");
    }
    if (FR_UNLIKELY(s->only_judges)) {
        let_section_go(s, &block);
        return FR_OK;
    }
    if (s->runs != NULL) {
        s->counts.bytes += block_size(&block);
        return block_runs_add(s->runs, block, err);
    }
    if (s->held_max != 0) {
        uint64_t held = s->held_in != NULL ? repo_window_live_bytes(s->held_in, end)
                        : s->holds_input   ? end
                                           : 0;
        if (held + block_index_bytes(s->index) > s->held_max) {
            return fr_fail_code(err, FR_LIMIT, section_offset_of(&block), "limit-memory",
                                "repo: the file does not fit the memory limit");
        }
        s->index->bytes_max = s->held_max - held;
        if (s->watch != NULL && block_index_is_full(s->index)) {
            /* Two tables are there while one grows, and no pages. */
            s->index->bytes_max += s->watch->bytes_max;
            repo_watch_give_back(s->watch);
        }
    }
    bool fresh = true;
    if (FR_UNLIKELY(!block_index_put(s->index, block))) {
        FR_TRY(block_index_add(s->index, block, &fresh, err));
    }
    s->counts.duplicates += !fresh;
    s->counts.bytes += fresh ? block_size(&block) : 0;
    if (FR_UNLIKELY(s->held_in != NULL) && !fresh) {
        let_section_go(s, &block);
    }
    return FR_OK;
}

/* A limit is told before a wrong hash behind it, whatever window both are in; and what was settled
 * before the limit stopped it is not settled twice. */
static fr_status settle_window(car_scanner *s, fr_slice input, fr_error *err)
{
    car_window *w = &s->window;
    if (w->count == 0) {
        return FR_OK;
    }
    if (!w->hashed) {
        uint64_t from = section_offset_of(&w->blocks[0]);
        repo_watch_touch(s->watch, input.data + from, block_end(&w->blocks[w->count - 1]) - from);
        w->sound = s->options->level == FR_LEVEL_FULL ? hash_window(s, input) : w->count;
        w->hashed = true;
    }
    for (; w->settled < w->sound; w->settled++) {
        if (s->runs == NULL && w->settled + SLOTS_AHEAD < w->sound) {
            block_prefetch(s->index, w->blocks[w->settled + SLOTS_AHEAD].tag);
        }
        if (FR_UNLIKELY(w->keys_drawn != s->index->keys_drawn)) {
            make_tags(s, w->settled);
        }
        fr_status status = add_block(s, w->blocks[w->settled], err);
        if (FR_UNLIKELY(status != FR_OK)) {
            if (status == FR_LIMIT && s->held_max != 0 && err != NULL) {
                err->offset = section_offset_of(&w->blocks[w->settled]);
            }
            return status;
        }
    }
    if (FR_UNLIKELY(w->sound < w->count)) {
        return fr_fail_code(err, FR_MALFORMED, section_offset_of(&w->blocks[w->sound]), "car-hash",
                            "car: a block's bytes do not hash to its CID");
    }
    s->counts.blocks += w->count;
    empty_window(s);
    return s->watch == NULL ? FR_OK : repo_watch_clock(s->watch, s->offset, err);
}

_Static_assert(FR_REPO_BLOCK_BYTES_MOST <= BLOCK_SIZE_MAX &&
                   FR_REPO_INPUT_BYTES_MOST == UINT64_C(1) << BLOCK_OFFSET_BITS,
               "what an index slot can say");

void car_scanner_begin(car_scanner *s, const car_header *header, const fr_repo_options *options,
                       block_index *index)
{
    memset(s, 0, offsetof(car_scanner, window));
    s->options = options;
    s->index = index;
    empty_window(s);
    s->kept_max = UINT64_MAX;
    s->offset = s->ahead = header->sections_offset;
    s->block_max = options->block_bytes_max == 0 ? CAR_BLOCK_BYTES_MAX : options->block_bytes_max;
    s->blocks_max = options->blocks_max == 0 ? UINT64_MAX : options->blocks_max;
    s->bytes_max =
        options->input_bytes_max == 0 ? FR_REPO_INPUT_BYTES_MOST : options->input_bytes_max;
}

/* The next section, and the limits on how many and how far. */
static fr_status next_section(const car_scanner *s, fr_slice input, car_section *section,
                              fr_error *err)
{
    FR_TRY(car_section_read(input, s->offset, s->block_max, section, err));
    if (FR_UNLIKELY(s->counts.blocks + s->window.count == s->blocks_max)) {
        return fr_fail_code(err, FR_LIMIT, s->offset, "limit-blocks",
                            "car: more blocks than allowed");
    }
    if (FR_UNLIKELY(section->data_offset + section->data_size > s->bytes_max)) {
        return fr_fail_code(err, FR_LIMIT, s->bytes_max, "limit-bytes",
                            "repo: the file is over its limit");
    }
    return FR_OK;
}

/* Asks for the lines that the next sections are on, up to PREFETCH_BYTES ahead. */
static inline void fetch_ahead(car_scanner *s, fr_slice input)
{
    uint64_t at = s->ahead;
    uint64_t end = FR_MIN(s->offset + PREFETCH_BYTES, (uint64_t)input.size);
    for (; at < end; at += 64) {
        __builtin_prefetch(input.data + at);
    }
    s->ahead = at;
}

static inline void put_in_window(car_scanner *s, const car_section *section)
{
    car_window *w = &s->window;
    block_slot block = block_index_slot(s->index, section->data_offset, section->data_size);
    if (s->runs == NULL) {
        block_prefetch(s->index, block.tag);
    }
    w->blocks[w->count++] = block;
    w->bytes += section->data_size;
}

fr_status car_scanner_run(car_scanner *s, fr_slice input, bool last, fr_error *err)
{
    car_window *w = &s->window;
    fr_error fault = {0};
    s->index->input = input.data; /* which may have moved */
    if (w->hashed) {
        FR_TRY(settle_window(s, input, err)); /* the one that a limit stopped */
    }
    while (s->offset < input.size) {
        if (!last && !car_is_whole(input, s->offset, FR_CID_BYTES, &s->need)) {
            break;
        }
        fetch_ahead(s, input);
        car_section section;
        fr_status status = next_section(s, input, &section, &fault);
        if (FR_UNLIKELY(status != FR_OK)) {
            FR_TRY(settle_window(s, input, err)); /* a fault in the window comes first */
            if (err != NULL) {
                *err = fault;
            }
            return status;
        }
        put_in_window(s, &section);
        s->offset = section.data_offset + section.data_size;
        if (w->count == CAR_WINDOW_BLOCKS || w->bytes >= CAR_WINDOW_BYTES) {
            FR_TRY(settle_window(s, input, err));
        }
    }
    s->need = s->offset == input.size ? input.size + 1 : s->need;
    return settle_window(s, input, err);
}
