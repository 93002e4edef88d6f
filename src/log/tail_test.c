// SPDX-License-Identifier: MIT OR Apache-2.0
/* The tail of the log: against a plain array, and with a thread at each end. */
#include "tail.h"

#include <fr/thread.h>

#include "testing.h"

#include <malloc.h>

enum { FILE_BYTES = 24 << 20, RUN_BYTES_MAX = 200 << 10 };

/* ---- pieces in memory ------------------------------------------------------------------------ */

static int pieces; /* atomic: blocks that are large enough for one */

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *block);

void *__wrap_realloc(void *old, size_t size)
{
    assert_true(old == NULL || malloc_usable_size(old) < LOG_TAIL_PIECE_BYTES); /* never moves */
    __atomic_add_fetch(&pieces, size >= LOG_TAIL_PIECE_BYTES, __ATOMIC_RELAXED);
    return __real_realloc(old, size);
}

void __wrap_free(void *block)
{
    bool large = block != NULL && malloc_usable_size(block) >= LOG_TAIL_PIECE_BYTES;
    __atomic_sub_fetch(&pieces, large, __ATOMIC_RELAXED);
    __real_free(block);
}
// NOLINTEND(bugprone-reserved-identifier)

/* ---- one thread ------------------------------------------------------------------------------ */

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)((at * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static void append(log_tail *tail, uint64_t at, size_t room, size_t size)
{
    fr_buffer *out = NULL;
    assert_ok(log_tail_room(tail, at, room, &out, NULL));
    for (size_t i = 0; i < size; i++) {
        fr_buffer_byte(out, byte_at(at + i));
    }
    assert_false(out->failed);
}

/* A frame that could not be built: what it left is taken back. */
static void append_in_vain(log_tail *tail, uint64_t at, size_t room)
{
    fr_buffer *out = NULL;
    assert_ok(log_tail_room(tail, at, room, &out, NULL));
    size_t size = out->size;
    fr_buffer_append(out, "not to be", 9);
    out->size = size;
}

static void check_file(fr_file *file, uint64_t from, uint64_t to)
{
    uint8_t *bytes = malloc((size_t)(to - from) + 1);
    size_t got = 0;
    assert_non_null(bytes);
    assert_ok(fr_file_pread(file, bytes, (size_t)(to - from), from, &got, NULL));
    assert_int_equal(got, to - from);
    for (uint64_t at = from; at < to; at++) {
        assert_int_equal(bytes[at - from], byte_at(at));
    }
    free(bytes);
}

static fr_file *new_file(fr_os *os, const char *path)
{
    fr_file *file = NULL;
    assert_ok(
        fr_file_open(&file, os, path, FR_OPEN_WRITE | FR_OPEN_CREATE | FR_OPEN_TRUNCATE, NULL));
    return file;
}

/* What was appended and not dropped can be written, as often as one likes. */
static void it_writes_what_was_appended(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_os *os = new_sim(1, false, false);
    log_tail tail;
    assert_ok(log_tail_init(&tail, NULL));
    for (int round = 0; round < 3; round++) {
        uint64_t start = below(&seed, 1 << 20), used = start, written = start, dropped = start;
        fr_file *file = new_file(os, "file");
        log_tail_begin(&tail, start, (fr_slice){0});
        while (used < FILE_BYTES) {
            size_t size = (size_t)below(&seed, RUN_BYTES_MAX);
            size_t room = size + (size_t)below(&seed, below(&seed, 40) == 0 ? 4 << 20 : 4096);
            if (below(&seed, 10) == 0) {
                append_in_vain(&tail, used, RUN_BYTES_MAX);
            }
            append(&tail, used, room, size);
            used += size;
            if (below(&seed, 8) == 0) {
                uint64_t from = dropped + below(&seed, written - dropped + 1);
                uint64_t to = written + below(&seed, used - written + 1);
                assert_ok(log_tail_write(&tail, file, from, to, NULL));
                check_file(file, from, to);
                written = to;
            }
            if (below(&seed, 20) == 0) {
                dropped += below(&seed, written - dropped + 1);
                log_tail_drop(&tail, dropped);
            }
        }
        assert_ok(log_tail_write(&tail, file, written, used, NULL));
        check_file(file, start, used);
        assert_ok(fr_file_close(file, NULL));
    }
    log_tail_done(&tail);
    fr_sim_free(os);
}

static void it_begins_anew_with_bytes(void **state)
{
    (void)state;
    fr_os *os = new_sim(1, false, false);
    fr_file *file = new_file(os, "file");
    log_tail tail;
    uint8_t beginning[100];
    assert_ok(log_tail_init(&tail, NULL));
    append(&tail, 0, 3 << 20, 2 << 20);
    append(&tail, 2 << 20, 1000, 1000);
    for (size_t i = 0; i < sizeof beginning; i++) {
        beginning[i] = byte_at(i);
    }
    log_tail_begin(&tail, 0, fr_slice_of(beginning, sizeof beginning));
    append(&tail, sizeof beginning, 50, 50);
    assert_ok(log_tail_write(&tail, file, 0, sizeof beginning + 50, NULL));
    check_file(file, 0, sizeof beginning + 50);
    assert_ok(fr_file_close(file, NULL));
    log_tail_done(&tail);
    fr_sim_free(os);
}

/* A slow disk lets it grow; what a sync has covered goes, but for one piece that is used again. */
static void it_shrinks_again(void **state)
{
    (void)state;
    enum { SIZE = 512 << 10, COUNT = 80 };
    log_tail tail;
    uint64_t used = 0;
    pieces = 0;
    assert_ok(log_tail_init(&tail, NULL));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++, used += SIZE) {
            append(&tail, used, SIZE, SIZE);
        }
        assert_in_range(pieces, COUNT * SIZE / LOG_TAIL_PIECE_BYTES, COUNT);
        log_tail_drop(&tail, used);
        assert_in_range(pieces, 1, 2);
    }
    for (int i = 0; i < COUNT; i++, used += SIZE) { /* in step with a disk that keeps up */
        append(&tail, used, SIZE, SIZE);
        log_tail_drop(&tail, used);
        assert_in_range(pieces, 1, 2);
    }
    append(&tail, used, 9 << 20, 9 << 20); /* one of its own, which is not kept */
    append(&tail, used + (9 << 20), SIZE, SIZE);
    log_tail_drop(&tail, used + (9 << 20));
    assert_in_range(pieces, 1, 2);
    log_tail_done(&tail);
    assert_int_equal(pieces, 0);
}

/* ---- two threads ----------------------------------------------------------------------------- */

typedef struct {
    log_tail tail;
    fr_file *file;
    uint64_t used; /* atomic */
} pair;

static void *write_and_drop(void *context)
{
    pair *p = context;
    for (uint64_t written = 0; written < FILE_BYTES;) {
        uint64_t used = __atomic_load_n(&p->used, __ATOMIC_ACQUIRE);
        assert_ok(log_tail_write(&p->tail, p->file, written, used, NULL));
        log_tail_drop(&p->tail, used);
        written = used;
    }
    return NULL;
}

static void one_appends_while_another_writes(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_os *os = new_sim(1, false, false);
    pair p = {.file = new_file(os, "file")};
    fr_thread thread;
    assert_ok(log_tail_init(&p.tail, NULL));
    assert_ok(fr_thread_start(&thread, "writer", write_and_drop, &p, NULL));
    while (p.used < FILE_BYTES) {
        size_t size = (size_t)FR_MIN(below(&seed, RUN_BYTES_MAX), FILE_BYTES - p.used);
        append(&p.tail, p.used, RUN_BYTES_MAX, size);
        __atomic_store_n(&p.used, p.used + size, __ATOMIC_RELEASE);
    }
    fr_thread_join(thread);
    check_file(p.file, 0, FILE_BYTES);
    assert_ok(fr_file_close(p.file, NULL));
    log_tail_done(&p.tail);
    fr_sim_free(os);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_writes_what_was_appended),
        cmocka_unit_test(it_begins_anew_with_bytes),
        cmocka_unit_test(it_shrinks_again),
        cmocka_unit_test(one_appends_while_another_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
