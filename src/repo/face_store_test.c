// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet_repo.h: stores of the caller that refuse, fail, or give back other bytes than were put,
// and a disk that does. None of it is told of the file.
#include "load_help.h"
#include "tree_help.h"

#include <freshet_repo.h>

#include <fr/scratch.h>

enum { RECORDS = 3000, LITTLE = 40000, PIECE = 3000 };

typedef struct {
    fr_buffer bytes;
    freshet_status put_says, get_says; /* once there are so many bytes */
    size_t after;
    size_t flip_at; /* a bit of this byte changes as it is put; SIZE_MAX: none */
    size_t lost;    /* bytes at the end that are not given back */
} liar;

static freshet_status liar_put(void *context, const void *bytes, size_t size)
{
    liar *l = context;
    if (l->put_says != FRESHET_OK && l->bytes.size >= l->after) {
        return l->put_says;
    }
    fr_buffer_append(&l->bytes, bytes, size);
    size_t at = l->flip_at - (l->bytes.size - size);
    if (l->flip_at != SIZE_MAX && at < size) {
        l->bytes.data[l->flip_at] ^= 4;
    }
    return FRESHET_OK;
}

static freshet_status liar_get(void *context, const void **bytes, size_t *size)
{
    const liar *l = context;
    *bytes = l->bytes.data;
    *size = l->bytes.size - FR_MIN(l->lost, l->bytes.size);
    return l->bytes.size >= l->after ? l->get_says : FRESHET_OK;
}

static freshet_status liar_reset(void *context)
{
    fr_buffer_reset(&((liar *)context)->bytes);
    return FRESHET_OK;
}

static uint64_t liar_used(const void *context)
{
    return ((const liar *)context)->bytes.size;
}

typedef struct {
    grown g;
    fr_slice car;
    tree_random r;
    liar liar;
    freshet_store store;
    freshet_repo *repo;
    freshet_error err;
} bench;

static void be_honest(bench *b)
{
    b->liar.put_says = b->liar.get_says = FRESHET_OK;
    b->liar.flip_at = SIZE_MAX;
    b->liar.lost = b->liar.after = 0;
}

static void open_bench(bench *b, freshet_level level)
{
    const freshet_repo_options options = {
        .level = level, .store = &b->store, .memory_bytes = LITTLE};
    freshet_repo_free(b->repo);
    assert_int_equal(freshet_repo_new(&b->repo, &options, NULL), FRESHET_OK);
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
    fr_buffer_init(&b->liar.bytes, 1 << 26);
    b->store = (freshet_store){&b->liar, liar_put, liar_get, liar_reset, liar_used};
    be_honest(b);
    open_bench(b, FRESHET_LEVEL_FULL);
    return 0;
}

static int tear_down(void **state)
{
    bench *b = *state;
    freshet_repo_free(b->repo);
    fr_buffer_done(&b->liar.bytes);
    grown_done(&b->g);
    free(b);
    return 0;
}

static freshet_status push_all(bench *b, fr_slice car)
{
    b->err = (freshet_error){0};
    freshet_status status = freshet_repo_begin(b->repo, &b->err);
    for (size_t at = 0; at < car.size && status == FRESHET_OK; at += PIECE) {
        size_t size = FR_MIN((size_t)PIECE, car.size - at);
        status = freshet_repo_push(b->repo, car.data + at, size, NULL, &b->err);
    }
    return status == FRESHET_OK ? freshet_repo_finish(b->repo, &b->err) : status;
}

static freshet_status count_item(void *context, const freshet_item *item)
{
    (void)item;
    ++*(uint64_t *)context;
    return FRESHET_OK;
}

static freshet_status read_all(bench *b, fr_slice car)
{
    uint64_t count = 0;
    freshet_status status = push_all(b, car);
    return status == FRESHET_OK ? freshet_repo_walk(b->repo, count_item, &count, &b->err) : status;
}

static void what_a_store_says_has_a_code(void **state)
{
    static const struct {
        freshet_status says, want;
        const char *code;
    } SAID[] = {{FRESHET_LIMIT, FRESHET_LIMIT, "limit-disk"},
                {FRESHET_NOMEM, FRESHET_NOMEM, "nomem"},
                {FRESHET_CORRUPT, FRESHET_CORRUPT, "store-corrupt"},
                {FRESHET_IO, FRESHET_IO, "io"},
                /* Of an opening these would be a pause, an end, a fault of the file. */
                {FRESHET_AGAIN, FRESHET_IO, "io"},
                {FRESHET_END, FRESHET_IO, "io"},
                {FRESHET_MALFORMED, FRESHET_IO, "io"}};
    bench *b = *state;
    for (size_t i = 0; i < FR_COUNT_OF(SAID) * 4; i++) {
        size_t which = i / 4;
        be_honest(b);
        *(i % 2 == 0 ? &b->liar.put_says : &b->liar.get_says) = SAID[which].says;
        b->liar.after = i % 4 < 2 ? 0 : b->car.size / 2;
        assert_int_equal(read_all(b, b->car), SAID[which].want);
        assert_string_equal(b->err.code, SAID[which].code);
        assert_true(b->err.offset >= b->liar.after && b->err.offset <= b->car.size);
        assert_int_equal(freshet_repo_finish(b->repo, &b->err), SAID[which].want);
        be_honest(b);
        assert_int_equal(read_all(b, b->car), FRESHET_OK); /* and all is well again */
    }
}

static void expect_corrupt(const bench *b, freshet_status status)
{
    assert_int_equal(status, FRESHET_CORRUPT);
    assert_string_equal(b->err.code, "store-corrupt");
}

static void fewer_bytes_than_were_put(void **state)
{
    bench *b = *state;
    for (b->liar.lost = 1; b->liar.lost < b->car.size; b->liar.lost *= 10) {
        expect_corrupt(b, read_all(b, b->car));
    }
}

/* Any bit, at each level. What no check reads again at a level is not found, but it is never the
 * file that is wrong; and when it is the file, it is not the store. */
static void a_bit_is_changed_by_the_store_or_in_the_file(void **state)
{
    bench *b = *state;
    size_t found[3] = {0};
    uint8_t *bad = malloc(b->car.size);
    assert_non_null(bad);
    for (unsigned i = 0; i < 600; i++) {
        size_t at = tree_next(&b->r) % b->car.size;
        open_bench(b, (freshet_level)(i % 3));
        b->liar.flip_at = at;
        freshet_status status = read_all(b, b->car);
        if (status != FRESHET_OK) {
            expect_corrupt(b, status);
            found[i % 3]++;
        }
        be_honest(b);
        memcpy(bad, b->car.data, b->car.size);
        bad[at] ^= 4;
        status = read_all(b, fr_slice_of(bad, b->car.size));
        assert_int_not_equal(status, FRESHET_CORRUPT);
        assert_true(status != FRESHET_OK || i % 3 != FRESHET_LEVEL_FULL);
    }
    printf("found: full %zu, lazy %zu, trusted %zu of 200\n", found[0], found[1], found[2]);
    assert_true(found[FRESHET_LEVEL_FULL] > 100 && found[FRESHET_LEVEL_LAZY] > 150);
    assert_true(found[FRESHET_LEVEL_TRUSTED] > 50);
    free(bad);
}

/* Once it is open: every way of reading says so, and says so again. */
static void a_store_that_forgets_later(void **state)
{
    bench *b = *state;
    const freshet_item *items;
    uint64_t count = 0;
    size_t n = 0;
    freshet_repo_commit commit;
    open_bench(b, FRESHET_LEVEL_LAZY);
    assert_int_equal(read_all(b, b->car), FRESHET_OK);
    assert_int_equal(freshet_repo_commit_of(b->repo, &commit), FRESHET_OK);
    uint8_t *root = memmem(b->liar.bytes.data, b->liar.bytes.size, commit.data, FRESHET_CID_BYTES);
    while (root != NULL && root[-1] == 0) { /* a link; its block's CID has a length before it */
        size_t rest = b->liar.bytes.size - (size_t)(root + 1 - b->liar.bytes.data);
        root = memmem(root + 1, rest, commit.data, FRESHET_CID_BYTES);
    }
    assert_non_null(root);
    root[FRESHET_CID_BYTES + 6] ^= 1;
    for (int again = 0; again < 2; again++) {
        expect_corrupt(b, freshet_repo_walk(b->repo, count_item, &count, &b->err));
        expect_corrupt(b, freshet_repo_range(b->repo, NULL, count_item, &count, &b->err));
        expect_corrupt(b, freshet_repo_count(b->repo, NULL, &count, &b->err));
        expect_corrupt(b, freshet_repo_next(b->repo, 10, &items, &n, &b->err));
        expect_corrupt(b, freshet_repo_next(b->repo, 10, &items, &n, &b->err));
        expect_corrupt(
            b, freshet_repo_get(b->repo, "app.bsky.feed.like/3a", count_item, &count, &b->err));
    }
    assert_int_equal(read_all(b, b->car), FRESHET_OK);
}

/* ---- the index on disk ----------------------------------------------------------------------- */

static unsigned damage_read; /* the read from now on that brings a wrong bit; 0: none */

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
fr_status __real_fr_scratch_read(fr_scratch *scratch, void *out, size_t size, uint64_t offset,
                                 fr_error *err);
fr_status __wrap_fr_scratch_read(fr_scratch *scratch, void *out, size_t size, uint64_t offset,
                                 fr_error *err);

fr_status __wrap_fr_scratch_read(fr_scratch *scratch, void *out, size_t size, uint64_t offset,
                                 fr_error *err)
{
    fr_status status = __real_fr_scratch_read(scratch, out, size, offset, err);
    if (damage_read != 0 && --damage_read == 0) {
        ((uint8_t *)out)[size * 5 / 7] ^= 0x20;
    }
    return status;
}
// NOLINTEND(bugprone-reserved-identifier)

static void a_page_of_the_index_comes_back_changed(void **state)
{
    enum { MANY = 80000 }; /* that runs have whole pages */
    bench *b = *state;
    if (!has_disk()) {
        skip();
    }
    grown g;
    grown_init(&g);
    grown_fill(&g, &b->r, MANY);
    fr_slice car = grown_car(&g, NULL);
    assert_int_equal(read_all(b, car), FRESHET_OK);
    for (unsigned i = 1; i < 200; i *= 3) {
        damage_read = i;
        expect_corrupt(b, read_all(b, car));
        assert_int_equal(damage_read, 0);
    }
    assert_int_equal(read_all(b, car), FRESHET_OK);
    grown_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_store_says_has_a_code, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fewer_bytes_than_were_put, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bit_is_changed_by_the_store_or_in_the_file, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_store_that_forgets_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_page_of_the_index_comes_back_changed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
