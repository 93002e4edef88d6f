// SPDX-License-Identifier: MIT OR Apache-2.0
// JSON to canonical DAG-CBOR in one pass over the tape: on the path of every ingested record.
//
// An object must be written in another order than it was read, so its members are first gathered as
// 16-byte entries {rank, key, value} and sorted; the values stay on the tape and are visited from
// there. Gathering skips a nested container in one step, so each word of the tape is touched once
// as a member and once as a value. Entries of the open objects form a stack in the parser's own
// scratch, which was made as large as the tape needs when it was parsed.
//
//     levels:   {array: next, end on the tape}
//             | {object: next, end in the entries, base to fall back to}
//
// Records have few members, often sorted already: insertion sort. Above 24 a heap sort, which needs
// no memory and has no bad input.
#include <fr/json.h>

#include "cbor_head.h"
#include "json_tape.h"

#include <fr/codec.h>

#include <math.h>

#define INSERTION_MAX 24
#define EXACT_REAL_END                                                                             \
    9007199254740992.0 /* 2^53: from it on a real may stand for another integer than was written */
#define LINK_TEXT_BYTES 59
#define SHORT_COPY_BYTES 16

// Ranks of the two reserved keys: length, then the six first bytes.
#define RANK_OF(length, a, b, c, d, e, f)                                                          \
    ((uint64_t)(length) << 48 | (uint64_t)(a) << 40 | (uint64_t)(b) << 32 | (uint64_t)(c) << 24 |  \
     (uint64_t)(d) << 16 | (uint64_t)(e) << 8 | (uint64_t)(f))
#define RANK_LINK RANK_OF(5, '$', 'l', 'i', 'n', 'k', 0)
#define RANK_BYTES RANK_OF(6, '$', 'b', 'y', 't', 'e', 's')

typedef struct {
    uint32_t next, end; /* on the tape, or in the members */
    uint32_t base;      /* members in use before this object was gathered */
    bool is_map;
} level;

typedef struct {
    const fr_json *json;
    fr_buffer *out;
    uint8_t *at, *end; /* where to write, and the end of the room there */
    uint32_t depth, depth_max;
    uint32_t member_count;
    fr_error *err;
    level levels[FR_JSON_CBOR_DEPTH_MAX];
} encoder;

static fr_status refuse(const encoder *e, const char *code, const char *text)
{
    return fr_fail_code(e->err, FR_MALFORMED, 0, code, text);
}

/* ---- output: a cursor into the buffer's room, so that a byte costs a store and not a call ---- */

static size_t head_bytes(uint64_t argument)
{
    return argument < 24            ? 1
           : argument < 0x100       ? 2
           : argument < 0x10000     ? 3
           : argument <= UINT32_MAX ? 5
                                    : 9;
}

static bool grow(encoder *e, size_t exact)
{
    e->out->size = e->at == NULL ? e->out->size : (size_t)(e->at - e->out->data);
    uint8_t *at = fr_buffer_reserve(e->out, exact);
    if (at == NULL) {
        e->at = NULL;
        return false;
    }
    e->at = at;
    e->end = e->out->data + e->out->capacity;
    return true;
}

// Room for a head and `body` bytes behind it; exact only where room is short, so that the last byte
// can be used.
static inline bool room(encoder *e, uint64_t argument, size_t body)
{
    size_t left = (size_t)(e->end - e->at);
    return FR_LIKELY(left >= CBOR_HEAD_MAX + body) || left >= head_bytes(argument) + body ||
           grow(e, head_bytes(argument) + body);
}

static fr_status put_head(encoder *e, unsigned major, uint64_t argument)
{
    if (FR_UNLIKELY(!room(e, argument, 0))) {
        return fr_buffer_status(e->out, e->err);
    }
    e->at = cbor_head_write(e->at, major, argument);
    return FR_OK;
}

static inline fr_status put_text(encoder *e, const uint8_t *data, size_t size)
{
    if (FR_UNLIKELY(!room(e, size, size))) {
        return fr_buffer_status(e->out, e->err);
    }
    uint8_t *at = cbor_head_write(e->at, CBOR_TEXT, size);
    if (size <= SHORT_COPY_BYTES && (size_t)(e->end - at) >= SHORT_COPY_BYTES) {
        // One load and store; the strings have 64 bytes to spare at their end.
        memcpy(at, data, SHORT_COPY_BYTES);
    } else {
        memcpy(at, data, size);
    }
    e->at = at + size;
    return FR_OK;
}

/* ---- scalars --------------------------------------------------------------------------------- */

static fr_status put_integer(encoder *e, int64_t value)
{
    return value < 0 ? put_head(e, CBOR_NEGATIVE, ~(uint64_t)value)
                     : put_head(e, CBOR_UNSIGNED, (uint64_t)value);
}

static fr_status put_real(encoder *e, uint32_t at)
{
    double real = tape_double(e->json, at);
    if (!(fabs(real) < EXACT_REAL_END) || real != floor(real) ||
        !tape_real_is_integral(e->json, at)) {
        return refuse(e, "json-number", "json: the data model has integers only");
    }
    return put_integer(e, (int64_t)real);
}

static fr_status put_scalar(encoder *e, uint32_t at)
{
    switch (tape_type(e->json, at)) {
        case '"': {
            fr_slice s = tape_string(e->json, at);
            return put_text(e, s.data, s.size);
        }
        case 'l': return put_integer(e, (int64_t)e->json->tape[at + 1]);
        case 'u': return refuse(e, "json-number", "json: integer beyond 64 bits with sign");
        case 'd': return put_real(e, at);
        case 't': return put_head(e, CBOR_SIMPLE, 21);
        case 'f': return put_head(e, CBOR_SIMPLE, 20);
        default: return put_head(e, CBOR_SIMPLE, 22);
    }
}

/* ---- {"$link": …} and {"$bytes": …} ------------------------------------------------------ */

static fr_status put_link(encoder *e, uint32_t value)
{
    uint8_t cid[CBOR_CID_BYTES];
    size_t size = 0;
    if (tape_type(e->json, value) != '"') {
        return refuse(e, "json-link", "json: $link is not a string");
    }
    fr_slice text = tape_string(e->json, value);
    if (text.size != LINK_TEXT_BYTES || text.data[0] != 'b' ||
        fr_base32_decode(fr_slice_from(text, 1), cid, sizeof cid, &size, NULL) != FR_OK ||
        !cbor_cid_valid(cid)) {
        return refuse(e, "json-link", "json: $link is not a CID of the profile");
    }
    static const uint8_t head[] = {0xd8, 42, 0x58, 0x25, 0x00};
    if ((size_t)(e->end - e->at) < CBOR_LINK_BYTES && !grow(e, CBOR_LINK_BYTES)) {
        return fr_buffer_status(e->out, e->err);
    }
    memcpy(e->at, head, sizeof head);
    memcpy(e->at + sizeof head, cid, CBOR_CID_BYTES);
    e->at += CBOR_LINK_BYTES;
    return FR_OK;
}

// The size is known from the text, so the bytes are decoded where they stay.
static fr_status put_bytes(encoder *e, uint32_t value)
{
    if (tape_type(e->json, value) != '"') {
        return refuse(e, "json-bytes", "json: $bytes is not a string");
    }
    fr_slice text = tape_string(e->json, value);
    size_t letters = text.size, size = 0;
    while (letters > 0 && text.size - letters < 2 && text.data[letters - 1] == '=') {
        letters--;
    }
    size_t exact = letters / 4 * 3 + letters % 4 * 3 / 4;
    if (!room(e, exact, exact)) {
        return fr_buffer_status(e->out, e->err);
    }
    uint8_t *body = cbor_head_write(e->at, CBOR_BYTES, exact);
    if (fr_base64_decode(text, false, body, exact, &size, NULL) != FR_OK || size != exact) {
        return refuse(e, "json-bytes", "json: $bytes is not base64");
    }
    e->at = body + size;
    return FR_OK;
}

/* ---- objects --------------------------------------------------------------------------------- */

static inline uint64_t rank_of(fr_slice key)
{
    uint64_t first = fr_load_u64be(key.data); // the strings can be read past their end
    uint64_t keep =
        key.size >= 6 ? UINT64_C(0xffffffffffff0000) : ~(~UINT64_C(0) >> (8 * key.size));
    return (uint64_t)key.size << 48 | (first & keep) >> 16;
}

static inline size_t key_bytes(const json_member *m)
{
    return (size_t)(m->rank >> 48);
}

// Key order; equal keys in the order of the text.
static inline bool comes_before(const encoder *e, const json_member *a, const json_member *b)
{
    if (FR_LIKELY(a->rank != b->rank)) {
        return a->rank < b->rank;
    }
    size_t size = key_bytes(a);
    int order =
        size <= 6 ? 0
                  : memcmp(e->json->strings + a->key + 6, e->json->strings + b->key + 6, size - 6);
    return order != 0 ? order < 0 : a->value < b->value;
}

static void sort_by_insertion(const encoder *e, json_member *m, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        json_member moving = m[i];
        uint32_t to = i;
        for (; to > 0 && comes_before(e, &moving, &m[to - 1]); to--) {
            m[to] = m[to - 1];
        }
        m[to] = moving;
    }
}

static void sift_down(const encoder *e, json_member *m, uint32_t root, uint32_t count)
{
    json_member moving = m[root];
    for (uint32_t child; (child = 2 * root + 1) < count; root = child) {
        child += child + 1 < count && comes_before(e, &m[child], &m[child + 1]);
        if (!comes_before(e, &moving, &m[child])) {
            break;
        }
        m[root] = m[child];
    }
    m[root] = moving;
}

static void sort_by_heap(const encoder *e, json_member *m, uint32_t count)
{
    for (uint32_t i = count / 2; i > 0; i--) {
        sift_down(e, m, i - 1, count);
    }
    for (uint32_t i = count; i > 1; i--) {
        json_member last = m[i - 1];
        m[i - 1] = m[0];
        m[0] = last;
        sift_down(e, m, 0, i - 1);
    }
}

// Of equal neighbours the last stays.
static uint32_t drop_duplicates(const encoder *e, json_member *m, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool same_as_next = i + 1 < count && m[i].rank == m[i + 1].rank &&
                            memcmp(e->json->strings + m[i].key, e->json->strings + m[i + 1].key,
                                   key_bytes(&m[i])) == 0;
        if (FR_LIKELY(!same_as_next)) {
            m[kept++] = m[i];
        }
    }
    return kept;
}

// Fills m[] from the object at `at`. *reserved: a key was $link or $bytes.
static fr_status gather(encoder *e, uint32_t at, json_member *m, uint32_t *count, bool *reserved)
{
    const fr_json *json = e->json;
    uint32_t end = tape_after_container(json, at) - 1, found = 0;
    *reserved = false;
    for (uint32_t key = at + 1; key < end; key = tape_next(json, key + 1)) {
        fr_slice name = tape_string(json, key);
        if (FR_UNLIKELY(name.size > FR_CBOR_KEY_MAX)) {
            return fr_fail_code(e->err, FR_LIMIT, 0, "record-size",
                                "json: map key over 8,192 bytes");
        }
        uint64_t rank = rank_of(name);
        *reserved |= rank == RANK_LINK || rank == RANK_BYTES;
        m[found++] = (json_member){rank, (uint32_t)(name.data - json->strings), key + 1};
    }
    *count = found;
    return FR_OK;
}

static fr_status push(encoder *e, level next)
{
    if (e->depth >= e->depth_max) {
        return fr_fail_code(e->err, FR_LIMIT, 0, "record-depth",
                            "json: containers nested too deep");
    }
    e->levels[e->depth++] = next;
    return FR_OK;
}

static fr_status open_object(encoder *e, uint32_t at)
{
    json_member *m = e->json->members + e->member_count;
    uint32_t count = 0;
    bool reserved = false;
    if (tape_count(e->json, at) > FR_CBOR_CONTAINER_MAX) {
        return fr_fail_code(e->err, FR_LIMIT, 0, "record-size",
                            "json: over 131,072 members in one object");
    }
    FR_TRY(gather(e, at, m, &count, &reserved));
    if (count <= INSERTION_MAX) {
        sort_by_insertion(e, m, count);
    } else {
        sort_by_heap(e, m, count);
    }
    count = drop_duplicates(e, m, count);
    if (FR_UNLIKELY(reserved)) {
        if (count != 1) {
            return refuse(e, "json-link", "json: members beside $link or $bytes");
        }
        return m[0].rank == RANK_LINK ? put_link(e, m[0].value) : put_bytes(e, m[0].value);
    }
    FR_TRY(push(e, (level){e->member_count, e->member_count + count, e->member_count, true}));
    e->member_count += count;
    return put_head(e, CBOR_MAP, count);
}

static fr_status open_array(encoder *e, uint32_t at)
{
    uint32_t count = tape_count(e->json, at);
    if (count > FR_CBOR_CONTAINER_MAX) {
        return fr_fail_code(e->err, FR_LIMIT, 0, "record-size",
                            "json: over 131,072 elements in one array");
    }
    FR_TRY(push(e, (level){at + 1, tape_after_container(e->json, at) - 1, 0, false}));
    return put_head(e, CBOR_ARRAY, count);
}

static inline fr_status put_value(encoder *e, uint32_t at)
{
    switch (tape_type(e->json, at)) {
        case '{': return open_object(e, at);
        case '[': return open_array(e, at);
        default: return put_scalar(e, at);
    }
}

static fr_status encode(encoder *e, uint32_t at)
{
    FR_TRY(put_value(e, at));
    while (e->depth > 0) {
        level *top = &e->levels[e->depth - 1];
        if (top->next == top->end) {
            e->member_count = top->is_map ? top->base : e->member_count;
            e->depth--;
        } else if (top->is_map) {
            const json_member *m = &e->json->members[top->next++];
            FR_TRY(put_text(e, e->json->strings + m->key, key_bytes(m)));
            FR_TRY(put_value(e, m->value));
        } else {
            uint32_t element = top->next;
            top->next = tape_next(e->json, element);
            FR_TRY(put_value(e, element));
        }
    }
    return FR_OK;
}

fr_status fr_json_to_cbor(fr_json_value v, uint32_t depth_max, fr_buffer *out, fr_error *err)
{
    encoder e; // not initialised as a whole: the levels are written before they are read
    size_t before = out->size;
    depth_max = depth_max == 0 ? FR_CBOR_DEPTH_MAX : depth_max;
    e.json = v.json;
    e.out = out;
    e.at = e.end = NULL;
    e.depth = e.member_count = 0;
    e.depth_max = FR_MIN(depth_max, (uint32_t)FR_JSON_CBOR_DEPTH_MAX);
    e.err = err;
    fr_status status = grow(&e, 1) ? encode(&e, v.at) : fr_buffer_status(out, err);
    out->size = status == FR_OK ? (size_t)(e.at - out->data) : before;
    return status;
}
