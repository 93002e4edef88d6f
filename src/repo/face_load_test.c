// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet_repo.h: a limit that pauses, raised or given the disk, of pushes and of a descriptor; one
// record by its key; what can be told of a fault; what is no fault of the file.
#include "load_help.h"
#include "tree_help.h"

#include <freshet_repo.h>

enum { RECORDS = 6000, LITTLE = 40000, PIECE = 4096 };

static freshet_repo *new_repo(freshet_on_limit on_limit)
{
    const freshet_repo_options options = {.memory_bytes = LITTLE, .on_limit = on_limit};
    freshet_repo *repo = NULL;
    assert_int_equal(freshet_repo_new(&repo, &options, NULL), FRESHET_OK);
    return repo;
}

static void check_count(freshet_repo *repo, uint64_t want)
{
    uint64_t count = 0;
    assert_int_equal(freshet_repo_count(repo, NULL, &count, NULL), FRESHET_OK);
    assert_int_equal(count, want);
}

static uint64_t count_of(fr_slice car)
{
    freshet_repo *repo = NULL;
    uint64_t count = 0;
    assert_int_equal(freshet_repo_new(&repo, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_count(repo, NULL, &count, NULL), FRESHET_OK);
    freshet_repo_free(repo);
    return count;
}

/* Twice it may have a little more; then it may use the disk, or as much memory as it likes. */
static void make_room(freshet_repo *repo, int pauses, bool by_disk)
{
    if (pauses <= 2) {
        assert_int_equal(freshet_repo_raise(repo, LITTLE * (uint64_t)(1 + pauses), NULL),
                         FRESHET_OK);
    } else if (by_disk) {
        freshet_repo_use_disk(repo);
    } else {
        assert_int_equal(freshet_repo_raise(repo, 16 << 20, NULL), FRESHET_OK);
    }
}

static int push_all(freshet_repo *repo, fr_slice car, bool by_disk)
{
    int pauses = 0;
    assert_int_equal(freshet_repo_begin(repo, NULL), FRESHET_OK);
    for (size_t at = 0; at < car.size;) {
        size_t taken = 0, piece = FR_MIN((size_t)PIECE, car.size - at);
        freshet_error err = {0};
        freshet_status status = freshet_repo_push(repo, car.data + at, piece, &taken, &err);
        at += taken;
        if (status == FRESHET_AGAIN) {
            assert_string_equal(err.code, "limit-memory");
            make_room(repo, ++pauses, by_disk);
        } else {
            assert_int_equal(status, FRESHET_OK);
            assert_int_equal(taken, piece);
        }
    }
    freshet_status status;
    while ((status = freshet_repo_finish(repo, NULL)) == FRESHET_AGAIN) {
        make_room(repo, ++pauses, by_disk);
    }
    assert_int_equal(status, FRESHET_OK);
    return pauses;
}

static int open_all(freshet_repo *repo, int fd, bool by_disk)
{
    int pauses = 0;
    freshet_status status = freshet_repo_open_fd(repo, fd, NULL);
    while (status == FRESHET_AGAIN) {
        make_room(repo, ++pauses, by_disk);
        status = freshet_repo_resume(repo, NULL);
    }
    assert_int_equal(status, FRESHET_OK);
    return pauses;
}

static void a_pause_ends(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    grown g;
    grown_init(&g);
    grown_fill(&g, &r, RECORDS);
    fr_slice car = grown_car(&g, NULL);
    uint64_t want = count_of(car);
    char path[] = "/tmp/face-load-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, car.data, car.size), car.size);
    for (int by_disk = 0; by_disk < 1 + (int)has_disk(); by_disk++) {
        freshet_repo *repo = new_repo(FRESHET_ON_LIMIT_PAUSE);
        freshet_repo_usage usage;
        assert_true(push_all(repo, car, by_disk != 0) > 2);
        check_count(repo, want);
        freshet_repo_usage_of(repo, &usage);
        assert_int_equal(usage.input_bytes, car.size);
        assert_int_equal(usage.spilled, by_disk != 0);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        freshet_repo_free(repo);
        repo = new_repo(FRESHET_ON_LIMIT_PAUSE);
        assert_true(open_all(repo, fd, by_disk != 0) > 2);
        check_count(repo, want);
        freshet_repo_free(repo);
    }
    freshet_error err = {0};
    freshet_repo *repo = new_repo(FRESHET_ON_LIMIT_REFUSE);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(freshet_repo_open_fd(repo, fd, &err), FRESHET_LIMIT);
    assert_string_equal(err.code, "limit-memory");
    freshet_repo_free(repo);
    close(fd);
    grown_done(&g);
}

typedef struct {
    const char *key;
    uint64_t items;
    uint64_t offset;
} one;

static freshet_status take_one(void *context, const freshet_item *item)
{
    one *o = context;
    assert_int_equal(item->key_size, strlen(o->key));
    assert_memory_equal(item->key, o->key, item->key_size);
    o->items++;
    o->offset = item->offset;
    return FRESHET_OK;
}

static freshet_status pass(void *context, const freshet_item *item)
{
    (void)context;
    (void)item;
    return FRESHET_OK;
}

/* One record is asked for by its key; then a bit of it is another, and the fault names it. */
static void a_record_and_its_fault(void **state)
{
    (void)state;
    static const char *const keys[] = {"app.bsky.feed.like/3a", "app.bsky.feed.post/3b",
                                       "app.bsky.feed.post/3c"};
    grown g;
    grown_init(&g);
    for (int i = 0; i < (int)FR_COUNT_OF(keys); i++) {
        grown_put(&g, keys[i], 1000 + i);
    }
    fr_slice car = grown_car(&g, NULL);
    freshet_repo *repo = NULL;
    freshet_error err = {0};
    freshet_repo_fault fault;
    one found = {.key = keys[1]};
    assert_int_equal(freshet_repo_new(&repo, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_get(repo, keys[1], take_one, &found, NULL), FRESHET_INVALID);
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_get(repo, keys[1], take_one, &found, NULL), FRESHET_OK);
    assert_int_equal(found.items, 1);
    assert_int_equal(freshet_repo_get(repo, "app.bsky.feed.post/3bb", take_one, &found, NULL),
                     FRESHET_NOT_FOUND);
    assert_int_equal(found.items, 1);

    g.car.data[found.offset + 4] ^= 1;
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, &err), FRESHET_MALFORMED);
    assert_string_equal(err.code, "car-hash");
    freshet_repo_fault_of(repo, &err, &fault);
    assert_true(fault.has_section && fault.has_cid);
    assert_memory_equal(fault.cid, car.data + found.offset - FR_CID_BYTES, FR_CID_BYTES);
    freshet_repo_free(repo);

    const freshet_repo_options lazy = {.level = FRESHET_LEVEL_LAZY}; /* it has a walk to ask */
    assert_int_equal(freshet_repo_new(&repo, &lazy, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_walk(repo, pass, NULL, &err), FRESHET_MALFORMED);
    freshet_repo_fault_of(repo, &err, &fault);
    assert_string_equal(fault.key, keys[1]);
    freshet_repo_free(repo);
    grown_done(&g);
}

/* ---- the commit of what is still coming ------------------------------------------------------ */

static freshet_status write_piece(void *context, const void *bytes, size_t size)
{
    fr_buffer_append(context, bytes, size);
    return FRESHET_OK;
}

static freshet_status add_key(void *context, const freshet_item *item)
{
    uint64_t *digest = context;
    uint8_t hash[FR_SHA256_BYTES];
    fr_sha256(fr_slice_of(item->key, item->key_size), hash);
    *digest = *digest * 31 + fr_load_u64le(hash) + item->offset + item->value_size;
    return FRESHET_OK;
}

/* Asked for after every byte: it is there with its own last one, and asking changes nothing. */
static void push_and_ask(fr_slice car, uint64_t commit_end, freshet_repo *repo,
                         const freshet_repo_commit *want, uint64_t want_digest)
{
    freshet_repo_commit commit;
    uint64_t digest = 0;
    assert_int_equal(freshet_repo_begin(repo, NULL), FRESHET_OK);
    for (size_t i = 0; i < car.size; i++) {
        assert_int_equal(freshet_repo_push(repo, car.data + i, 1, NULL, NULL), FRESHET_OK);
        freshet_status status = freshet_repo_commit_of(repo, &commit);
        assert_int_equal(status, i + 1 < commit_end ? FRESHET_NOT_FOUND : FRESHET_OK);
        if (status == FRESHET_OK) {
            assert_memory_equal(commit.cid, want->cid, sizeof commit.cid);
            assert_memory_equal(commit.signed_sha256, want->signed_sha256, 32);
            assert_memory_equal(commit.did, want->did, want->did_size);
        }
    }
    assert_int_equal(freshet_repo_finish(repo, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_walk(repo, add_key, &digest, NULL), FRESHET_OK);
    assert_true(digest == want_digest);
}

static void the_commit_is_known_when_it_has_come(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    grown g;
    fr_buffer streamable;
    freshet_repo *repo = NULL;
    freshet_repo_commit want;
    uint64_t digest = 0;
    grown_init(&g);
    grown_fill(&g, &r, 1000);
    fr_slice car = grown_car(&g, NULL);
    fr_buffer_init(&streamable, 1 << 24);
    assert_int_equal(freshet_repo_new(&repo, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, NULL), FRESHET_OK);
    assert_int_equal(
        freshet_repo_write(repo, FRESHET_ORDER_STREAMABLE, NULL, write_piece, &streamable, NULL),
        FRESHET_OK);
    car = fr_buffer_view(&streamable);
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_commit_of(repo, &want), FRESHET_OK);
    assert_int_equal(freshet_repo_walk(repo, add_key, &digest, NULL), FRESHET_OK);
    /* Behind the header of 59 bytes a section: a length, the CID, the block. */
    uint64_t size = 0, head = fr_varint_decode(fr_slice_from(car, 59), 9, &size);
    for (int limited = 0; limited < 1 + (int)has_disk(); limited++) {
        const freshet_repo_options options = {.memory_bytes = limited != 0 ? LITTLE : 0};
        freshet_repo *pushed = NULL;
        freshet_repo_usage usage;
        assert_int_equal(freshet_repo_new(&pushed, &options, NULL), FRESHET_OK);
        push_and_ask(car, 59 + head + size, pushed, &want, digest);
        freshet_repo_usage_of(pushed, &usage);
        assert_int_equal(usage.spilled, limited != 0);
        freshet_repo_free(pushed);
    }
    /* One that is not as it must be is told at the end, and not shown before. */
    freshet_error err = {0};
    const freshet_repo_options other = {.did = "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz"};
    freshet_repo *pushed = NULL;
    assert_int_equal(freshet_repo_new(&pushed, &other, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_begin(pushed, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_push(pushed, car.data, car.size, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_commit_of(pushed, &want), FRESHET_NOT_FOUND);
    assert_int_equal(freshet_repo_finish(pushed, &err), FRESHET_MALFORMED);
    assert_string_equal(err.code, "commit-did-mismatch");
    freshet_repo_free(pushed);
    freshet_repo_free(repo);
    fr_buffer_done(&streamable);
    grown_done(&g);
}

/* ---- holes ----------------------------------------------------------------------------------- */

enum { KEYS_MOST = 300, KEY_ROOM = 64 };

typedef struct {
    freshet_item_kind kind[KEYS_MOST + 64];
    char key[KEYS_MOST + 64][KEY_ROOM];
    size_t count;
} seen_items;

static freshet_status see(void *context, const freshet_item *item)
{
    seen_items *s = context;
    assert_true(s->count < FR_COUNT_OF(s->kind) && item->key_size < KEY_ROOM);
    s->kind[s->count] = item->kind;
    if (item->key_size != 0) {
        memcpy(s->key[s->count], item->key, item->key_size);
    }
    s->key[s->count++][item->key_size] = '\0';
    return FRESHET_OK;
}

/* A file without its n-th section. False: there are not so many. */
static bool leave_out(fr_slice car, size_t n, fr_buffer *out)
{
    uint64_t size = 0, at = 59;
    for (size_t i = 0; at < car.size; i++) {
        size_t head = fr_varint_decode(fr_slice_from(car, at), 9, &size);
        if (i == n) {
            fr_buffer_reset(out);
            fr_buffer_append(out, car.data, at);
            fr_buffer_slice(out, fr_slice_from(car, at + head + size));
            return true;
        }
        at += head + size;
    }
    return false;
}

/* Between the entry before, whose key it has, and the next: in both directions. */
static size_t check_holes(freshet_repo *repo)
{
    static seen_items there, back;
    const freshet_keys reverse = {.reverse = true};
    size_t holes = 0;
    there.count = back.count = 0;
    assert_int_equal(freshet_repo_walk(repo, see, &there, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_range(repo, &reverse, see, &back, NULL), FRESHET_OK);
    assert_int_equal(there.count, back.count);
    for (size_t i = 0; i < there.count; i++) {
        size_t r = there.count - 1 - i;
        assert_int_equal(there.kind[i], back.kind[r]);
        assert_string_equal(there.key[i], back.key[r]);
        if (there.kind[i] == FRESHET_ITEM_MISSING_SUBTREE) {
            holes++;
            assert_string_equal(there.key[i], i == 0 ? "" : there.key[i - 1]);
            assert_true(i + 1 == there.count ||
                        (there.kind[i + 1] != FRESHET_ITEM_MISSING_SUBTREE &&
                         strcmp(there.key[i], there.key[i + 1]) < 0));
        }
    }
    return holes;
}

static void a_hole_lies_between_two_entries(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    grown g;
    fr_buffer cut;
    freshet_repo *repo = NULL;
    size_t holes = 0, opened = 0;
    const freshet_repo_options partial = {.partial = true};
    grown_init(&g);
    grown_fill(&g, &r, KEYS_MOST);
    fr_slice car = grown_car(&g, NULL);
    fr_buffer_init(&cut, 1 << 24);
    assert_int_equal(freshet_repo_new(&repo, &partial, NULL), FRESHET_OK);
    for (size_t n = 0; leave_out(car, n, &cut); n++) {
        if (freshet_repo_open_memory(repo, cut.data, cut.size, NULL) == FRESHET_OK) {
            opened++;
            holes += check_holes(repo);
        }
    }
    assert_true(opened > KEYS_MOST / 2 && holes > KEYS_MOST / 10);
    freshet_repo_free(repo);
    fr_buffer_done(&cut);
    grown_done(&g);
}

/* ---- codes of what is nobody's fault in the file --------------------------------------------- */

typedef struct {
    int left; /* items until it stops */
    freshet_status says;
    uint64_t offset; /* of the item that it stopped at */
} stopper;

static freshet_status stop_item(void *context, const freshet_item *item)
{
    stopper *s = context;
    s->offset = item->offset;
    return s->left-- == 0 ? s->says : FRESHET_OK;
}

static freshet_status stop_value(void *context, const freshet_item *item, void *value)
{
    memset(value, 0, sizeof(uint64_t));
    return stop_item(context, item);
}

static freshet_status stop_piece(void *context, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    return ((stopper *)context)->says;
}

static void check_stopped(freshet_status status, const freshet_error *err, const stopper *s)
{
    assert_int_equal(status, s->says);
    assert_int_equal(err->status, s->says);
    assert_string_equal(err->code, "cancelled");
    assert_non_null(err->text);
    assert_int_equal(err->offset, s->offset);
}

/* Opened, and pushed: afterwards every further call says the same. */
static void check_on_item(fr_slice car, freshet_status says)
{
    stopper s = {.left = 2, .says = says};
    const freshet_repo_options options = {.on_item = stop_item, .item_context = &s};
    freshet_repo *repo = NULL;
    freshet_error err = {0};
    assert_int_equal(freshet_repo_new(&repo, &options, NULL), FRESHET_OK);
    check_stopped(freshet_repo_open_memory(repo, car.data, car.size, &err), &err, &s);
    s.left = 2;
    err = (freshet_error){0};
    assert_int_equal(freshet_repo_begin(repo, NULL), FRESHET_OK);
    check_stopped(freshet_repo_push(repo, car.data, car.size, NULL, &err), &err, &s);
    err = (freshet_error){0};
    check_stopped(freshet_repo_push(repo, car.data, 1, NULL, &err), &err, &s);
    err = (freshet_error){0};
    check_stopped(freshet_repo_finish(repo, &err), &err, &s);
    s.left = INT32_MAX;
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, NULL), FRESHET_OK);
    freshet_repo_free(repo);
}

static void check_process(fr_slice car, freshet_status says, bool background)
{
    stopper s = {.left = 2, .says = says};
    const freshet_repo_options options = {
        .process = stop_value, .process_context = &s, .value_bytes = sizeof(uint64_t)};
    freshet_repo *repo = NULL;
    freshet_error err = {0};
    const freshet_item *items;
    size_t count = 0;
    assert_int_equal(freshet_repo_new(&repo, &options, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, NULL), FRESHET_OK);
    assert_int_equal(background ? freshet_repo_start(repo, 10, 1, NULL) : FRESHET_OK, FRESHET_OK);
    assert_int_equal(freshet_repo_next(repo, 10, &items, &count, &err), FRESHET_OK);
    assert_int_equal(count, 2);
    for (int again = 0; again < 2; again++) {
        err = (freshet_error){0};
        check_stopped(freshet_repo_next(repo, 10, &items, &count, &err), &err, &s);
    }
    freshet_repo_free(repo);
}

static void who_stops_a_call_is_told_so(void **state)
{
    (void)state;
    static const freshet_status statuses[] = {FRESHET_AGAIN, FRESHET_NOMEM, FRESHET_MALFORMED,
                                              FRESHET_IO};
    tree_random r = tree_seed();
    grown g;
    grown_init(&g);
    grown_fill(&g, &r, 50);
    fr_slice car = grown_car(&g, NULL);
    freshet_repo *repo = NULL;
    assert_int_equal(freshet_repo_new(&repo, NULL, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_open_memory(repo, car.data, car.size, NULL), FRESHET_OK);
    for (size_t i = 0; i < FR_COUNT_OF(statuses); i++) {
        stopper s = {.left = 2, .says = statuses[i]};
        freshet_error err = {0};
        check_stopped(freshet_repo_walk(repo, stop_item, &s, &err), &err, &s);
        s.left = 2;
        err = (freshet_error){0};
        check_stopped(freshet_repo_range(repo, NULL, stop_item, &s, &err), &err, &s);
        s.offset = 0;
        check_stopped(
            freshet_repo_write(repo, FRESHET_ORDER_STREAMABLE, NULL, stop_piece, &s, &err), &err,
            &s);
        check_on_item(car, statuses[i]);
        check_process(car, statuses[i], false);
        check_process(car, statuses[i], true);
    }
    check_process(car, FRESHET_END, false);
    check_process(car, FRESHET_END, true);
    freshet_repo_free(repo);
    grown_done(&g);
}

static void what_the_system_refuses_is_io(void **state)
{
    (void)state;
    tree_random r = tree_seed();
    grown g;
    grown_init(&g);
    grown_fill(&g, &r, RECORDS);
    fr_slice car = grown_car(&g, NULL);
    const freshet_repo_options options = {.memory_bytes = LITTLE, .spill_dir = "/nowhere/at/all"};
    freshet_repo *repo = NULL;
    freshet_error err = {0};
    assert_int_equal(freshet_repo_new(&repo, &options, NULL), FRESHET_OK);
    assert_int_equal(freshet_repo_open_path(repo, "/nowhere/at/all", &err), FRESHET_NOT_FOUND);
    assert_string_equal(err.code, "io");
    assert_int_equal(freshet_repo_open_path(repo, "/", &err), FRESHET_IO);
    assert_string_equal(err.code, "io");
    assert_int_equal(freshet_repo_begin(repo, NULL), FRESHET_OK);
    freshet_status status = freshet_repo_push(repo, car.data, car.size, NULL, &err);
    assert_int_equal(status, has_disk() ? FRESHET_NOT_FOUND : FRESHET_LIMIT);
    assert_string_equal(err.code, has_disk() ? "io" : "limit-memory");
    freshet_repo_free(repo);
    grown_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_pause_ends),
                                       cmocka_unit_test(a_record_and_its_fault),
                                       cmocka_unit_test(the_commit_is_known_when_it_has_come),
                                       cmocka_unit_test(a_hole_lies_between_two_entries),
                                       cmocka_unit_test(who_stops_a_call_is_told_so),
                                       cmocka_unit_test(what_the_system_refuses_is_io)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
