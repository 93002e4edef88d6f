// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the writer does while a sync is under way: it goes on, until the next segment is to begin.
 * Real threads and a real file; fdatasync is this program's, which holds it as long as it likes. */
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "testing.h"

enum { EVENTS = 300, SEGMENT_BYTES = 4096, WAIT_US = 50000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool holds_next, is_held, is_let_go; /* the next sync, that is */
static bool fails;                          /* once it is let go */

int fdatasync(int fd)
{
    pthread_mutex_lock(&lock);
    bool held = holds_next;
    holds_next = false;
    is_held = held;
    pthread_cond_broadcast(&changed);
    while (held && !is_let_go) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    errno = EIO;
    return held && fails ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static void *sync_it(void *context)
{
    assert_int_equal(fr_log_sync(context, NULL), fails ? FR_IO : FR_OK);
    return NULL;
}

/* Returns once that thread is in fdatasync. */
static void begin_held_sync(fr_log *log, bool to_fail, pthread_t *out)
{
    holds_next = true;
    is_let_go = false;
    fails = to_fail;
    assert_int_equal(pthread_create(out, NULL, sync_it, log), 0);
    pthread_mutex_lock(&lock);
    while (!is_held) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

static void let_go(void)
{
    pthread_mutex_lock(&lock);
    is_let_go = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void *let_go_soon(void *context)
{
    (void)context;
    usleep(WAIT_US); /* the writer has come to the lock by then; if not, less is tested */
    let_go();
    return NULL;
}

static fr_event event_of(uint64_t i)
{
    return (fr_event){.kind = FR_EVENT_DELETE,
                      .time_us = UINT64_C(1700000000000000) + i,
                      .rev = 1000 + i,
                      .did = FR_SLICE("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"),
                      .collection = FR_SLICE("app.bsky.feed.post"),
                      .rkey = FR_SLICE("3kaaaaaaaaaaa")};
}

static void append(fr_log *log, uint64_t count)
{
    fr_event events[EVENTS];
    assert_true(count <= EVENTS);
    for (uint64_t i = 0; i < count; i++) {
        events[i] = event_of(fr_log_last_seq(log) + i);
    }
    assert_ok(fr_log_append(log, events, count, NULL, 0, NULL));
}

/* The next group grows in memory meanwhile, is not durable with it, and is with the next sync. */
static void appends_do_not_wait_for_a_sync(void **state)
{
    (void)state;
    enum { APPENDS = 200 };
    char dir[64];
    fr_log *log = NULL;
    pthread_t syncer;
    make_temporary_folder(dir, sizeof dir);
    assert_ok(fr_log_open(&log, fr_os_real(), dir, 0, NULL));
    append(log, 1);
    begin_held_sync(log, false, &syncer);
    for (int i = 0; i < APPENDS; i++) {
        append(log, EVENTS);
    }
    assert_int_equal(fr_log_last_seq(log), 1 + APPENDS * EVENTS);
    assert_int_equal(fr_log_durable_seq(log), 0);
    let_go();
    pthread_join(syncer, NULL);
    assert_int_equal(fr_log_durable_seq(log), 1);
    append(log, 1); /* behind frames that are not written */
    assert_ok(fr_log_sync(log, NULL));
    assert_int_equal(fr_log_durable_seq(log), 2 + APPENDS * EVENTS);
    assert_ok(fr_log_close(log, NULL));
    fr_log_stat stat;
    char place[FR_PATH_MAX + 32];
    assert_ok(fr_log_verify(fr_os_real(), dir, &stat, place, NULL));
    assert_int_equal(stat.last_seq, 2 + APPENDS * EVENTS);
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
}

/* The system tells an error once and gives the pages up, so the roll's own sync of the file would
 * succeed: it must not be asked. */
static void a_failed_sync_is_final_for_a_roll_that_waits(void **state)
{
    (void)state;
    char dir[64];
    fr_log *log = NULL;
    pthread_t syncer, releaser;
    make_temporary_folder(dir, sizeof dir);
    assert_ok(fr_log_open(&log, fr_os_real(), dir, SEGMENT_BYTES, NULL));
    append(log, EVENTS);
    begin_held_sync(log, true, &syncer);
    assert_int_equal(pthread_create(&releaser, NULL, let_go_soon, NULL), 0);
    append(log, 1); /* would roll */
    pthread_join(syncer, NULL);
    pthread_join(releaser, NULL);
    assert_int_equal(fr_log_durable_seq(log), 0);
    assert_ok(fr_log_mend(log, NULL));
    assert_int_equal(fr_log_durable_seq(log), EVENTS + 1);
    assert_ok(fr_log_close(log, NULL));
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_do_not_wait_for_a_sync),
        cmocka_unit_test(a_failed_sync_is_final_for_a_roll_that_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
