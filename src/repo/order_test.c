// SPDX-License-Identifier: MIT OR Apache-2.0
// The order of random files, in all orders, with copies, unlinked, shared and absent blocks,
// against a plain model of it that keeps everything; and the same within small limits.
#include "tree_help.h"

#include <fr/codec.h>
#include <fr/repo_stat.h>
#include <fr/repo_write.h>

#include "load_help.h"
#include "walk.h"

#define SECTIONS_MAX 20000
#define ABSENT UINT32_MAX

typedef struct {
    fr_slice all, cid, block;
    uint64_t offset;
    uint32_t first; /* section with this CID */
    bool needed, came;
    uint64_t time;
} part;

typedef struct {
    part parts[SECTIONS_MAX];
    uint32_t count, needs[SECTIONS_MAX], need_count;
    const part *by_cid[SECTIONS_MAX]; /* and of equal ones the first in front */
    fr_repo_order order;
} model;

/* ---- the model ------------------------------------------------------------------------------- */

static int compare_parts(const void *a, const void *b)
{
    const part *x = *(part *const *)a, *y = *(part *const *)b;
    int order = memcmp(x->cid.data, y->cid.data, FR_CID_BYTES);
    return order != 0 ? order : (x > y) - (x < y);
}

static uint32_t find_part(const model *m, fr_slice cid)
{
    uint32_t low = 0, high = m->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (memcmp(m->by_cid[middle]->cid.data, cid.data, FR_CID_BYTES) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < m->count && fr_slice_equal(m->by_cid[low]->cid, cid);
    return found ? (uint32_t)(m->by_cid[low] - m->parts) : ABSENT;
}

static void split(model *m, fr_slice car)
{
    uint64_t size = 0;
    size_t head = fr_varint_decode(car, 9, &size);
    m->count = m->need_count = 0;
    for (size_t at = head + (size_t)size; at < car.size;) {
        part *p = &m->parts[m->count];
        fr_slice rest = fr_slice_from(car, at);
        head = fr_varint_decode(rest, 9, &size);
        assert_true(m->count < SECTIONS_MAX);
        *p = (part){.offset = at, .all = fr_slice_sub(rest, 0, head + (size_t)size)};
        p->cid = fr_slice_sub(rest, head, FR_CID_BYTES);
        p->block = fr_slice_from(p->all, head + FR_CID_BYTES);
        m->by_cid[m->count++] = p;
        at += p->all.size;
    }
    qsort(m->by_cid, m->count, sizeof *m->by_cid, compare_parts);
    for (uint32_t i = 0; i < m->count; i++) {
        m->parts[i].first = find_part(m, m->parts[i].cid);
    }
}

static uint32_t need_part(model *m, fr_slice cid)
{
    uint32_t at = find_part(m, cid);
    if (at == ABSENT) {
        m->order.incomplete = true;
    } else if (!m->parts[at].needed) {
        m->parts[at].needed = true;
        m->needs[m->need_count++] = at;
    }
    return at;
}

static void need_record(model *m, fr_slice cid, fr_slice key)
{
    uint32_t at = need_part(m, cid);
    uint64_t tid = 0;
    if (at != ABSENT && fr_tid_parse(fr_slice_from(key, fr_slice_find(key, '/') + 1), &tid)) {
        m->parts[at].time = tid;
    }
}

static void need_tree(model *m, fr_slice cid)
{
    uint8_t key[GROWN_KEY_BYTES];
    fr_slice child, entries;
    fr_cbor_item item;
    fr_cbor_reader reader;
    uint32_t at = need_part(m, cid);
    if (at == ABSENT) {
        return;
    }
    fr_slice node = m->parts[at].block;
    if (fr_cbor_get_link(node, "l", &child) == FR_OK) {
        need_tree(m, child);
    }
    assert_int_equal(fr_cbor_get_array(node, "e", &entries), FR_OK);
    fr_cbor_reader_init(&reader, entries);
    assert_int_equal(fr_cbor_next(&reader, &item, NULL), FR_OK);
    for (uint64_t left = item.count; left > 0; left--) {
        fr_slice entry = fr_slice_of(reader.at, (size_t)(reader.end - reader.at)), suffix, value;
        int64_t prefix = 0;
        assert_int_equal(fr_cbor_get_int(entry, "p", &prefix), FR_OK);
        assert_int_equal(fr_cbor_get_bytes(entry, "k", &suffix), FR_OK);
        assert_int_equal(fr_cbor_get_link(entry, "v", &value), FR_OK);
        memcpy(key + prefix, suffix.data, suffix.size);
        need_record(m, value, fr_slice_of(key, (size_t)prefix + suffix.size));
        if (fr_cbor_get_link(entry, "t", &child) == FR_OK) {
            need_tree(m, child);
        }
        assert_int_equal(fr_cbor_skip(&reader, NULL), FR_OK);
    }
}

static bool ascends(const model *m, bool as_text)
{
    for (uint32_t i = 1; i < m->count; i++) {
        fr_cid cids[2];
        char texts[2][FR_CID_TEXT_BYTES];
        for (int k = 0; k < 2; k++) {
            memcpy(cids[k].bytes, m->parts[i - 1 + (uint32_t)k].cid.data, FR_CID_BYTES);
            fr_cid_format(&cids[k], texts[k]);
        }
        if ((as_text ? memcmp(texts[0], texts[1], sizeof texts[0])
                     : memcmp(cids[0].bytes, cids[1].bytes, FR_CID_BYTES)) >= 0) {
            return false;
        }
    }
    return true;
}

static bool newest_first(const model *m)
{
    static uint64_t times[SECTIONS_MAX];
    uint32_t count = 0;
    double sum = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->parts[i].time != 0) {
            times[count++] = m->parts[i].time;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        double age = 0;
        for (uint32_t k = 0; k < count; k++) {
            age += times[k] < times[i] || (times[k] == times[i] && k > i);
        }
        sum += (age - i) * (age - i);
    }
    double n = count;
    return count >= 8 && 1 - 6 * sum / (n * (n * n - 1)) <= -0.9;
}

static void read_parts(model *m)
{
    fr_repo_order *o = &m->order;
    uint64_t held = 0;
    uint32_t next = 0;
    o->sections = m->count;
    for (uint32_t i = 0; i < m->count; i++) {
        part *p = &m->parts[i];
        bool awaited = next < m->need_count && m->needs[next] == i;
        if (!awaited && !o->any_disorder) {
            o->any_disorder = true;
            o->disorder_offset = p->offset;
        }
        if (m->need_count != 0 && m->needs[0] == i) {
            o->commit_section = i;
            o->commit_offset = p->offset;
        }
        held += p->first == i ? p->all.size : 0;
        p->came = true;
        o->buffer_bytes_max = FR_MAX(o->buffer_bytes_max, held);
        for (; next < m->need_count && m->parts[m->needs[next]].came; next++) {
            held -= m->parts[m->needs[next]].all.size;
        }
    }
}

static void model_order(model *m, fr_slice car)
{
    fr_slice root;
    split(m, car);
    m->order = (fr_repo_order){0};
    uint32_t at = need_part(m, fr_slice_of(car.data + 14, FR_CID_BYTES));
    assert_true(at != ABSENT);
    assert_int_equal(fr_cbor_get_link(m->parts[at].block, "data", &root), FR_OK);
    need_tree(m, root);
    read_parts(m);
    m->order.order = !m->order.any_disorder                  ? FR_ORDER_STREAMABLE
                     : ascends(m, false) || ascends(m, true) ? FR_ORDER_CID_SORTED
                     : newest_first(m)                       ? FR_ORDER_PDS_LIKE
                     : m->order.commit_section == 0          ? FR_ORDER_COMMIT_FIRST
                                                             : FR_ORDER_OTHER;
}

/* ---- what is looked at ----------------------------------------------------------------------- */

static void assert_same(const fr_repo_order *is, const fr_repo_order *want)
{
    assert_int_equal(is->order, want->order);
    assert_int_equal(is->incomplete, want->incomplete);
    assert_int_equal(is->any_disorder, want->any_disorder);
    assert_int_equal(is->commit_section, want->commit_section);
    assert_int_equal(is->commit_offset, want->commit_offset);
    assert_int_equal(is->disorder_offset, want->disorder_offset);
    assert_int_equal(is->buffer_bytes_max, want->buffer_bytes_max);
    assert_int_equal(is->sections, want->sections);
}

static void check_plain(fr_slice car, const fr_repo_options *options, const fr_repo_order *want)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_repo_order is;
    assert_int_equal(fr_repo_open(&repo, car, options, NULL), FR_OK);
    assert_int_equal(fr_repo_order_of(repo, &is, NULL), FR_OK);
    assert_same(&is, want);
}

static void check_within(fr_slice car, const fr_repo_options *options, uint64_t memory_max,
                         const fr_repo_order *want)
{
    fr_cleanup(fr_load_freep) fr_load *load = NULL;
    fr_load_options limited = {.repo = *options, .memory_max_bytes = memory_max};
    fr_repo_order is;
    assert_int_equal(fr_load_new(&load, &limited, NULL), FR_OK);
    for (int pushed = 0; pushed < 2; pushed++) {
        if (pushed == 0) {
            assert_int_equal(fr_load_memory(load, car, NULL), FR_OK);
        } else {
            assert_int_equal(fr_load_begin(load, NULL), FR_OK);
            assert_int_equal(fr_load_push(load, car.data, car.size, NULL, NULL), FR_OK);
            assert_int_equal(fr_load_finish(load, NULL), FR_OK);
        }
        assert_int_equal(fr_repo_order_of(fr_load_repo(load), &is, NULL), FR_OK);
        assert_same(&is, want);
    }
}

static model the_model;

static fr_repo_order_class check(fr_slice car, fr_level level, bool partial)
{
    const fr_repo_options options = {.level = level, .partial = partial};
    model_order(&the_model, car);
    check_plain(car, &options, &the_model.order);
    check_within(car, &options, 64 << 20, &the_model.order);
    if (has_disk()) {
        check_within(car, &options, 2048, &the_model.order);
    }
    return the_model.order.order;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void put_timed(grown *g, tree_random *r, int64_t number)
{
    static const char *const collections[] = {"app.bsky.feed.like", "app.bsky.feed.post"};
    char key[GROWN_KEY_BYTES], tid[FR_TID_BYTES];
    fr_tid_format(fr_tid_make(UINT64_C(1700000000000000) + tree_next(r) % 1000000000, 3), tid);
    snprintf(key, sizeof key, "%s/%.13s", collections[tree_next(r) % 2], tid);
    grown_put(g, key, number);
}

static void put_key(grown *g, tree_random *r)
{
    char key[GROWN_KEY_BYTES];
    int64_t number = (int64_t)(tree_next(r) % (tree_next(r) % 4 == 0 ? 50 : 1000000));
    if (tree_next(r) % 16 == 0) {
        grown_key(r, key);
        grown_put(g, key, number);
    } else {
        put_timed(g, r, number);
    }
}

/* A key whose record is a node of the tree, or was one. */
static void put_node_as_record(grown *g, tree_random *r)
{
    char key[GROWN_KEY_BYTES];
    fr_cid cid;
    split(&the_model, grown_car(g, NULL));
    const part *p = &the_model.parts[1 + tree_next(r) % (the_model.count - 1)];
    memcpy(cid.bytes, p->cid.data, FR_CID_BYTES);
    fr_buffer_slice(&g->blocks, p->all);
    grown_key(r, key);
    assert_int_equal(fr_mst_put(g->mst, fr_slice_text(key), &cid, NULL), FR_OK);
}

static void shuffle(tree_random *r, part *parts, uint32_t from, uint32_t to)
{
    for (uint32_t i = to; i > from + 1; i--) {
        uint32_t other = from + (uint32_t)(tree_next(r) % (i - from));
        part saved = parts[i - 1];
        parts[i - 1] = parts[other];
        parts[other] = saved;
    }
}

enum { AS_IT_IS, ALL_MIXED, BUT_THE_COMMIT, END_MIXED, END_BY_AGE, TURNED, MIXES };

static int compare_ages(const void *a, const void *b)
{
    const part *x = a, *y = b;
    return (x->time < y->time) - (x->time > y->time);
}

static void mix(tree_random *r, model *m, int how)
{
    uint32_t middle = (uint32_t)(tree_next(r) % m->count);
    if (how == TURNED) {
        for (uint32_t i = 0; i < m->count / 2; i++) {
            part saved = m->parts[i];
            m->parts[i] = m->parts[m->count - 1 - i];
            m->parts[m->count - 1 - i] = saved;
        }
    } else if (how == END_BY_AGE) { /* the newest first, behind some of the oldest or none */
        middle >>= tree_next(r) % 7;
        qsort(m->parts + middle, m->count - middle, sizeof *m->parts, compare_ages);
    } else if (how != AS_IT_IS) {
        shuffle(r, m->parts, how == ALL_MIXED ? 0 : how == BUT_THE_COMMIT ? 1 : middle, m->count);
    }
}

static void put_parts(const model *m, fr_slice car, fr_buffer *out)
{
    fr_buffer_reset(out);
    fr_buffer_slice(out, fr_slice_sub(car, 0, FR_CAR_HEADER_BYTES));
    for (uint32_t i = 0; i < m->count; i++) {
        fr_buffer_slice(out, m->parts[i].all);
    }
}

/* `car` with its sections in another order, some of them twice, some not at all, and others. */
static void rebuild(tree_random *r, fr_slice car, int how, bool odd, bool partial, fr_buffer *out)
{
    uint8_t number[16];
    fr_slice commit = fr_slice_of(car.data + 14, FR_CID_BYTES), record;
    model_order(&the_model, car);
    mix(r, &the_model, how);
    fr_buffer_reset(out);
    fr_buffer_slice(out, fr_slice_sub(car, 0, FR_CAR_HEADER_BYTES));
    for (uint32_t i = 0; i < the_model.count; i++) {
        const part *p = &the_model.parts[i];
        if (partial && tree_next(r) % 20 == 0 && !fr_slice_equal(p->cid, commit)) {
            continue;
        }
        fr_buffer_slice(out, p->all);
        if (odd && tree_next(r) % 16 == 0) {
            fr_buffer_slice(out, the_model.parts[tree_next(r) % the_model.count].all);
        }
        if (odd && tree_next(r) % 16 == 0) {
            fr_cid cid;
            fr_store_u64be(number, tree_next(r));
            record = fr_slice_of(number, tree_next(r) % 9);
            fr_cid_of_block(record, &cid);
            fr_car_put_block(out, &cid, record);
        }
    }
    assert_int_equal(fr_buffer_status(out, NULL), FR_OK);
}

static void look_at_all(tree_random *r, size_t keys, int rounds, unsigned *seen)
{
    grown g;
    fr_buffer car, odd;
    fr_repo *repo = NULL;
    const fr_repo_options options = {.level = FR_LEVEL_FULL};
    grown_init(&g);
    fr_buffer_init(&car, 1 << 26);
    fr_buffer_init(&odd, 1 << 26);
    for (size_t i = 0; i < keys; i++) {
        put_key(&g, r);
    }
    for (size_t i = 0; keys > 2 && i < keys / 40 + 2; i++) {
        put_node_as_record(&g, r);
    }
    assert_int_equal(fr_repo_open(&repo, grown_car(&g, NULL), &options, NULL), FR_OK);
    for (int round = 0; round < rounds; round++) {
        const fr_car_options written = {.order = (fr_car_order)(tree_next(r) % 3)};
        bool partial = tree_next(r) % 4 == 0, any_odd = tree_next(r) % 2 == 0;
        fr_buffer_reset(&car);
        assert_int_equal(fr_repo_write_buffer(repo, &written, &car, NULL), FR_OK);
        rebuild(r, fr_buffer_view(&car), (int)(tree_next(r) % MIXES), any_odd, partial, &odd);
        *seen |= 1u << check(fr_buffer_view(&odd), (fr_level)(tree_next(r) % 3), partial);
    }
    fr_repo_close(repo);
    fr_buffer_done(&car);
    fr_buffer_done(&odd);
    grown_done(&g);
}

static void test_against_the_model(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    static const size_t sizes[] = {0, 1, 2, 7, 12, 30, 200, 1000};
    unsigned seen = 0;
    for (size_t i = 0; i < FR_COUNT_OF(sizes); i++) {
        look_at_all(&r, sizes[i], 40, &seen);
    }
    assert_int_equal(seen, (1u << (FR_ORDER_OTHER + 1)) - 1);
}

/* Some records come before the disorder, which is then found to be by age. */
static void test_a_late_disorder(void **state)
{
    (void)state;
    enum { KEYS = 2000, IN_ORDER = 24 };
    tree_random r = tree_seed();
    grown g;
    fr_buffer car, other;
    fr_repo *repo = NULL;
    const fr_repo_options options = {.level = FR_LEVEL_FULL};
    model *m = &the_model;
    bool any_time = false;
    grown_init(&g);
    fr_buffer_init(&car, 1 << 26);
    fr_buffer_init(&other, 1 << 26);
    for (int i = 0; i < KEYS; i++) {
        put_timed(&g, &r, i);
    }
    assert_int_equal(fr_repo_open(&repo, grown_car(&g, NULL), &options, NULL), FR_OK);
    assert_int_equal(fr_repo_write_buffer(repo, &(fr_car_options){0}, &car, NULL), FR_OK);
    model_order(m, fr_buffer_view(&car));
    for (uint32_t i = 0; i < IN_ORDER; i++) {
        any_time |= m->parts[i].time != 0;
    }
    assert_true(any_time);
    qsort(m->parts + IN_ORDER, m->count - IN_ORDER, sizeof *m->parts, compare_ages);
    put_parts(m, fr_buffer_view(&car), &other);
    assert_int_equal(check(fr_buffer_view(&other), FR_LEVEL_FULL, false), FR_ORDER_PDS_LIKE);
    fr_repo_close(repo);
    fr_buffer_done(&car);
    fr_buffer_done(&other);
    grown_done(&g);
}

/* More times than the least that is sorted in memory. */
static void test_times_on_disk(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    unsigned seen = 0;
    look_at_all(&r, 7000, 6, &seen);
}

/* Without a file to sort them in, or with too small a one, times are a limit; where none are
 * sorted, none is met. */
static void test_limits(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    grown g;
    fr_buffer car, other;
    fr_repo *repo = NULL;
    const fr_repo_options options = {.level = FR_LEVEL_FULL};
    grown_init(&g);
    fr_buffer_init(&car, 1 << 26);
    fr_buffer_init(&other, 1 << 26);
    for (size_t i = 0; i < 7000; i++) {
        put_key(&g, &r);
    }
    assert_int_equal(fr_repo_open(&repo, grown_car(&g, NULL), &options, NULL), FR_OK);
    assert_int_equal(fr_repo_write_buffer(repo, &(fr_car_options){0}, &car, NULL), FR_OK);
    rebuild(&r, fr_buffer_view(&car), BUT_THE_COMMIT, false, false, &other);
    for (int kind = 0; kind < 3; kind++) {
        fr_load *load = NULL;
        fr_error err = {0};
        fr_repo_order order;
        bool mixed = kind != 0;
        fr_load_options limited = {.memory_max_bytes = 520 << 10, /* about twice the index */
                                   .disk_max_bytes = 100000,
                                   .on_limit = kind == 2 ? FR_ON_LIMIT_SPILL : FR_ON_LIMIT_REFUSE};
        assert_int_equal(fr_load_new(&load, &limited, NULL), FR_OK);
        assert_int_equal(fr_load_memory(load, fr_buffer_view(mixed ? &other : &car), NULL), FR_OK);
        fr_status status = fr_repo_order_of(fr_load_repo(load), &order, &err);
        assert_int_equal(status, mixed ? FR_LIMIT : FR_OK);
        if (mixed) {
            assert_string_equal(err.code, kind == 2 && has_disk() ? "limit-disk" : "limit-memory");
        }
        fr_load_free(load);
    }
    fr_repo_close(repo);
    fr_buffer_done(&car);
    fr_buffer_done(&other);
    grown_done(&g);
}

/* Order and statistics read everything once more: that is of the file's time as well. */
static void test_time(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    grown g;
    fr_load *load = NULL;
    fr_repo_order order;
    fr_repo_stat stat;
    fr_error err = {0};
    const fr_load_options options = {.seconds_max = 1000};
    grown_init(&g);
    grown_fill(&g, &r, 2000);
    fr_slice car = grown_car(&g, NULL);
    assert_int_equal(fr_load_new(&load, &options, NULL), FR_OK);
    assert_int_equal(fr_load_memory(load, car, NULL), FR_OK);
    assert_int_equal(fr_repo_order_of(fr_load_repo(load), &order, NULL), FR_OK);
    load_watch(load)->deadline_ns = 1;
    assert_int_equal(fr_repo_order_of(fr_load_repo(load), &order, &err), FR_LIMIT);
    assert_string_equal(err.code, "limit-time");
    err = (fr_error){0};
    assert_int_equal(fr_repo_stat_of(fr_load_repo(load), NULL, &stat, &err), FR_LIMIT);
    assert_string_equal(err.code, "limit-time");
    fr_load_free(load);
    grown_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_the_model),
        cmocka_unit_test(test_a_late_disorder),
        cmocka_unit_test(test_times_on_disk),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
