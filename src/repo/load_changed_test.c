// SPDX-License-Identifier: MIT OR Apache-2.0
// An index whose table lies on a disk, and comes back changed: before the walk, while it runs,
// between one reader and the next. Every reader gives the answer that it gives otherwise, or says
// store-corrupt. It never blames the file, and never reads beside it.
#include "load.h"
#include "load_help.h"
#include "tree_help.h"

#include <fr/repo_explain.h>
#include <fr/repo_stat.h>
#include <fr/repo_tree.h>
#include <fr/repo_write.h>

enum { RECORDS = 1500, LITTLE = 20000, ROUNDS = 60 };

typedef struct {
    grown g;
    fr_slice car;
    tree_random r;
    fr_load *load;
    uint64_t items, change_at; /* the item from which on slots are changed; 0: before the first */
    unsigned how;
    char key[GROWN_KEY_BYTES]; /* that is there */
} bench;

static void name_a_key(bench *b)
{
    const fr_repo_options options = {.level = FR_LEVEL_FULL};
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_repo_item item;
    assert_int_equal(fr_repo_open(&repo, b->car, &options, NULL), FR_OK);
    for (int i = 0; i < RECORDS / 2; i++) {
        assert_int_equal(fr_repo_next(repo, &item, NULL), FR_OK);
    }
    snprintf(b->key, sizeof b->key, "%.*s", FR_SLICE_ARG(item.key));
}

static int set_up(void **state)
{
    bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    *state = b;
    b->r = tree_seed();
    grown_init(&b->g);
    grown_fill(&b->g, &b->r, RECORDS);
    b->car = grown_car(&b->g, NULL);
    name_a_key(b);
    return 0;
}

static int tear_down(void **state)
{
    bench *b = *state;
    fr_load_free(b->load);
    grown_done(&b->g);
    free(b);
    return 0;
}

static void open_load(bench *b, const fr_load_options *options)
{
    fr_load_free(b->load);
    b->load = NULL;
    b->items = 0;
    assert_int_equal(fr_load_new(&b->load, options, NULL), FR_OK);
    assert_int_equal(fr_load_memory(b->load, b->car, NULL), FR_OK);
    assert_true(b->load->repo->index.within == b->car.size);
}

/* ---- what a disk does ------------------------------------------------------------------------ */

enum { TAG, PLACE, FAR, LOST, TORN, SWAPPED, ALL_ONES, HOWS };

static void change_slot(bench *b, block_slot *slots, uint32_t capacity)
{
    enum { PAGE = 4096 / sizeof(block_slot) };
    uint64_t bit = UINT64_C(1) << (BLOCK_FLAG_BITS + tree_next(&b->r) % 60);
    uint32_t at = (uint32_t)(tree_next(&b->r) % capacity), page = at / PAGE * PAGE;
    while (slots[at].tag == 0) {
        at = (at + 1) % capacity;
    }
    switch (b->how) {
        case TAG: slots[at].tag ^= bit; break;
        case PLACE: slots[at].where ^= bit; break;
        case FAR: slots[at].where ^= UINT64_C(1) << 63; break;
        case LOST: memset(&slots[page], 0, PAGE * sizeof *slots); break;
        case TORN: memset(&slots[page], 0x5a, 512); break;
        case SWAPPED:
            for (uint32_t i = 0; i < PAGE; i++) {
                block_slot was = slots[page + i];
                slots[page + i] = slots[(page + PAGE + i) % capacity];
                slots[(page + PAGE + i) % capacity] = was;
            }
            break;
        default: slots[at].where |= ~UINT64_C(15); break;
    }
}

static void change(bench *b)
{
    const block_index *index = &b->load->repo->index;
    for (unsigned i = 0; i < (b->how < LOST ? 20 : 1); i++) {
        change_slot(b, index->slots, index->capacity);
    }
}

static void step(bench *b)
{
    if (b->items++ == b->change_at) {
        change(b);
    }
}

/* ---- the readers ----------------------------------------------------------------------------- */

typedef struct {
    bench *b;
    fr_buffer told;
} reader;

static fr_status tell_item(void *context, const fr_repo_item *item)
{
    reader *r = context;
    step(r->b);
    fr_buffer_printf(&r->told, "%d %llu %zu ", (int)item->kind, (unsigned long long)item->offset,
                     item->value.size);
    fr_buffer_slice(&r->told, item->key);
    fr_buffer_slice(&r->told, item->value);
    return FR_OK;
}

static fr_status put_bytes(void *context, fr_slice bytes)
{
    reader *r = context;
    step(r->b);
    fr_buffer_slice(&r->told, bytes);
    return FR_OK;
}

static fr_status tell_node(void *context, const fr_path_node *node)
{
    reader *r = context;
    step(r->b);
    fr_buffer_append(&r->told, node->cid.bytes, FR_CID_BYTES);
    return FR_OK;
}

static fr_status tell_collection(void *context, fr_slice name, uint64_t records, uint64_t bytes)
{
    reader *r = context;
    step(r->b);
    fr_buffer_slice(&r->told, name);
    fr_buffer_printf(&r->told, " %llu %llu ", (unsigned long long)records,
                     (unsigned long long)bytes);
    return FR_OK;
}

static fr_status walk(reader *r, fr_repo *repo, fr_error *err)
{
    return fr_repo_walk(repo, tell_item, r, err);
}

static fr_status reversed(reader *r, fr_repo *repo, fr_error *err)
{
    const fr_cursor_options options = {.reverse = true};
    fr_cleanup(fr_cursor_closep) fr_cursor *c = NULL;
    fr_repo_item item;
    fr_status status;
    FR_TRY(fr_cursor_open(&c, repo, &options, err));
    while ((status = fr_cursor_next(c, &item, err)) == FR_OK) {
        FR_TRY(tell_item(r, &item));
    }
    return status == FR_END ? FR_OK : status;
}

static fr_status order(reader *r, fr_repo *repo, fr_error *err)
{
    fr_repo_order order = {0};
    FR_TRY(fr_repo_order_of(repo, &order, err));
    fr_buffer_printf(&r->told, "%d %llu %llu", (int)order.order,
                     (unsigned long long)order.disorder_offset,
                     (unsigned long long)order.buffer_bytes_max);
    return FR_OK;
}

static fr_status stat(reader *r, fr_repo *repo, fr_error *err)
{
    const fr_stat_visitor visitor = {.on_collection = tell_collection, .context = r};
    fr_repo_stat stat = {0};
    FR_TRY(fr_repo_stat_of(repo, &visitor, &stat, err));
    fr_buffer_append(&r->told, &stat, sizeof stat);
    return FR_OK;
}

static fr_status write_in(fr_car_order order, reader *r, fr_repo *repo, fr_error *err)
{
    const fr_car_options options = {.order = order};
    return fr_repo_write(repo, &options, put_bytes, r, err);
}

static fr_status write_streamable(reader *r, fr_repo *repo, fr_error *err)
{
    return write_in(FR_CAR_STREAMABLE, r, repo, err);
}

static fr_status write_by_cid(reader *r, fr_repo *repo, fr_error *err)
{
    return write_in(FR_CAR_CID_SORTED, r, repo, err);
}

static fr_status write_newest_first(reader *r, fr_repo *repo, fr_error *err)
{
    return write_in(FR_CAR_PDS, r, repo, err);
}

static fr_status prove(reader *r, fr_repo *repo, fr_error *err)
{
    bool present;
    fr_proof proof;
    FR_TRY(fr_proof_of(repo, fr_slice_text(r->b->key), &proof, err));
    step(r->b);
    return fr_proof_make(repo, fr_slice_text(r->b->key), &r->told, &present, err);
}

static fr_status explain(reader *r, fr_repo *repo, fr_error *err)
{
    const fr_path_visitor visitor = {.on_node = tell_node, .context = r};
    bool present;
    fr_cid value;
    return fr_repo_explain_key(repo, fr_slice_text(r->b->key), &visitor, &present, &value, err);
}

static const struct {
    const char *name;
    fr_status (*read)(reader *r, fr_repo *repo, fr_error *err);
    bool all; /* blocks are looked at, so hardly a change is not found */
} READERS[] = {{"walk", walk, true},
               {"reversed", reversed, true},
               {"order", order, true},
               {"stat", stat, true},
               {"streamable", write_streamable, true},
               {"by CID", write_by_cid, true},
               {"newest first", write_newest_first, true},
               {"prove", prove, false},
               {"explain", explain, false}};

static fr_status read_once(bench *b, size_t which, fr_buffer *told, fr_error *err)
{
    reader r = {.b = b};
    fr_buffer_init(&r.told, 64u << 20);
    fr_status status = READERS[which].read(&r, fr_load_repo(b->load), err);
    status = fr_load_blame(b->load, status, err);
    *told = r.told;
    return status;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void never_the_file_at(bench *b, const fr_load_options *options, size_t which)
{
    fr_error err = {0};
    fr_buffer want, got;
    unsigned found = 0;
    b->change_at = UINT64_MAX;
    open_load(b, options);
    assert_int_equal(read_once(b, which, &want, &err), FR_OK);
    uint64_t items = b->items;
    for (unsigned i = 0; i < ROUNDS; i++) {
        b->how = i % HOWS;
        open_load(b, options);
        b->change_at = i % 2 == 0 ? UINT64_MAX : tree_next(&b->r) % (items + 1);
        if (i % 2 == 0) {
            change(b);
        }
        err = (fr_error){0};
        fr_status status = read_once(b, which, &got, &err);
        if (status != FR_OK) {
            assert_int_equal(status, FR_CORRUPT);
            assert_string_equal(err.code, "store-corrupt");
            found++;
        } else {
            assert_true(fr_slice_equal(fr_buffer_view(&got), fr_buffer_view(&want)));
        }
        fr_buffer_done(&got);
    }
    fr_buffer_done(&want);
    printf("%s, level %d: %u of %d\n", READERS[which].name, (int)options->repo.level, found,
           ROUNDS);
    assert_true(!READERS[which].all || found >= ROUNDS / 3);
}

static void it_is_never_the_file(void **state)
{
    bench *b = *state;
    if (!has_disk()) {
        skip();
    }
    for (size_t i = 0; i < FR_COUNT_OF(READERS) * 2; i++) {
        fr_load_options options = {.memory_max_bytes = LITTLE};
        options.repo.level = i % 2 == 0 ? FR_LEVEL_FULL : FR_LEVEL_LAZY;
        options.repo.check_records = true;
        never_the_file_at(b, &options, i / 2);
    }
}

/* The other way round: a file that is wrong, over a table that is not. */
static void a_wrong_file_is_blamed(void **state)
{
    bench *b = *state;
    fr_error err = {0};
    fr_buffer told;
    if (!has_disk()) {
        skip();
    }
    const fr_load_options options = {.memory_max_bytes = LITTLE,
                                     .repo = {.level = FR_LEVEL_TRUSTED}};
    b->change_at = UINT64_MAX;
    open_load(b, &options);
    const fr_commit *commit = fr_repo_commit(fr_load_repo(b->load));
    fr_slice root;
    assert_int_equal(fr_repo_block(fr_load_repo(b->load), &commit->data, &root), FR_OK);
    uint8_t *wrong = malloc(b->car.size);
    assert_non_null(wrong);
    memcpy(wrong, b->car.data, b->car.size);
    wrong[root.data - b->car.data] ^= 1;
    assert_int_equal(fr_load_memory(b->load, fr_slice_of(wrong, b->car.size), &err), FR_OK);
    assert_true(b->load->repo->index.within != 0);
    assert_int_equal(read_once(b, 0, &told, &err), FR_MALFORMED);
    fr_buffer_done(&told);
    change(b);
    assert_int_equal(read_once(b, 0, &told, &err), FR_MALFORMED); /* it was asked once */
    fr_buffer_done(&told);
    fr_load_reset(b->load);
    free(wrong);
}

/* While it is opened: what on_item is handed, and the commit's slot. */
static fr_status change_then_count(void *context, const fr_repo_item *item)
{
    (void)item;
    step(context);
    return FR_OK;
}

static void while_it_is_opened(void **state)
{
    bench *b = *state;
    if (!has_disk()) {
        skip();
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        const fr_load_options options = {
            .memory_max_bytes = LITTLE, .on_item = change_then_count, .item_context = b};
        fr_error err = {0};
        fr_load_free(b->load);
        b->load = NULL;
        b->how = i % HOWS;
        b->items = 0;
        b->change_at = tree_next(&b->r) % (RECORDS / 2);
        assert_int_equal(fr_load_new(&b->load, &options, NULL), FR_OK);
        fr_status status = fr_load_memory(b->load, b->car, &err);
        if (status != FR_OK) {
            assert_int_equal(status, FR_CORRUPT);
            assert_string_equal(err.code, "store-corrupt");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_never_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_file_is_blamed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(while_it_is_opened, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
