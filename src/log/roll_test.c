// SPDX-License-Identifier: MIT OR Apache-2.0
/* A sync that fails while the writer waits to begin the next segment. The system tells such an
 * error once and gives the pages up, so the roll's own sync of the file would succeed: it must not
 * be asked. Real threads and a real file; fdatasync is this program's. */
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "testing.h"

enum { EVENTS = 300, SEGMENT_BYTES = 4096, WAIT_US = 50000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool fails_once, is_in_sync, may_fail;

int fdatasync(int fd)
{
    pthread_mutex_lock(&lock);
    bool fails = fails_once;
    fails_once = false;
    is_in_sync = fails;
    pthread_cond_broadcast(&changed);
    while (fails && !may_fail) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    errno = EIO;
    return fails ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static void *sync_it(void *context)
{
    assert_int_equal(fr_log_sync(context, NULL), FR_IO);
    return NULL;
}

static void *let_it_fail(void *context)
{
    (void)context;
    usleep(WAIT_US); /* the writer has come to the lock by then; if not, less is tested */
    pthread_mutex_lock(&lock);
    may_fail = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
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

static void a_failed_sync_is_final_for_a_roll_that_waits(void **state)
{
    (void)state;
    char dir[64];
    fr_log *log = NULL;
    fr_event events[EVENTS + 1];
    pthread_t syncer, releaser;
    make_temporary_folder(dir, sizeof dir);
    assert_ok(fr_log_open(&log, fr_os_real(), dir, SEGMENT_BYTES, NULL));
    for (uint64_t i = 0; i <= EVENTS; i++) {
        events[i] = event_of(i);
    }
    assert_ok(fr_log_append(log, events, EVENTS, NULL, 0, NULL));
    fails_once = true;
    assert_int_equal(pthread_create(&syncer, NULL, sync_it, log), 0);
    pthread_mutex_lock(&lock);
    while (!is_in_sync) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    assert_int_equal(pthread_create(&releaser, NULL, let_it_fail, NULL), 0);
    assert_ok(fr_log_append(log, &events[EVENTS], 1, NULL, 0, NULL)); /* would roll */
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
        cmocka_unit_test(a_failed_sync_is_final_for_a_roll_that_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
