// SPDX-License-Identifier: MIT OR Apache-2.0
// A disk that takes seconds to sync has a name in /health, whichever sync it is that hangs: that of
// a group, or one of those that lie between two segments. fdatasync is this program's.
#include "engine.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "ask_help.h"
#include "seed.h"

enum { SEGMENT_BYTES = 4096, EVENTS = 64, PAUSE_US = 10000 };

static const char *slow_name; /* atomic: a sync of a file that is called so waits; NULL: none */
static bool hangs;            /* atomic: one does */

static bool is_slow(int fd)
{
    char link[64];
    char path[FR_PATH_MAX] = {0};
    const char *name = __atomic_load_n(&slow_name, __ATOMIC_ACQUIRE);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    size_t name_size = name == NULL ? 0 : strlen(name);
    return name != NULL && size > (ssize_t)name_size &&
           strcmp(path + (size_t)size - name_size, name) == 0;
}

int fdatasync(int fd)
{
    while (is_slow(fd)) {
        __atomic_store_n(&hangs, true, __ATOMIC_RELEASE);
        usleep(PAUSE_US);
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static void append(freshet *db, fr_sink *sink)
{
    static uint64_t rev = 1000;
    fr_batch *batch = NULL;
    assert_ok(fr_engine_batch(db, sink, NULL, &batch, NULL));
    for (; batch->count < EVENTS; batch->count++, rev++) {
        batch->inputs[batch->count] =
            (fr_input){.event = {.kind = FR_EVENT_PUT,
                                 .time_us = UINT64_C(1700000000000000) + rev,
                                 .rev = rev,
                                 .did = FR_SLICE("did:web:a.test"),
                                 .collection = FR_SLICE("app.bsky.feed.generator"),
                                 .rkey = FR_SLICE("one"),
                                 .update = true,
                                 .body = FR_SLICE("\xa0")}};
    }
    fr_engine_submit(db, batch);
}

/* Each append is more than a segment. */
static void see_slow_sync(freshet *db, const char *name)
{
    fr_sink sink;
    fr_sink_init(&sink);
    assert_true(health_says(db, "\"state\":\"ok\""));
    __atomic_store_n(&slow_name, name, __ATOMIC_RELEASE);
    for (int i = 0; i < 4; i++) {
        append(db, &sink);
    }
    while (!__atomic_load_n(&hangs, __ATOMIC_ACQUIRE)) {
        usleep(PAUSE_US);
    }
    while (!health_says(db, "\"state\":\"slow-disk\",\"pauses\":[\"ingest\"]")) {
        usleep(PAUSE_US);
    }
    __atomic_store_n(&slow_name, NULL, __ATOMIC_RELEASE);
    assert_ok(fr_sink_drain(&sink, NULL));
    fr_sink_done(&sink);
    __atomic_store_n(&hangs, false, __ATOMIC_RELEASE);
    assert_true(health_says(db, "\"state\":\"ok\""));
}

static void a_slow_sync_has_a_name(void **state)
{
    char dir[] = "/tmp/freshet-slow-XXXXXX";
    freshet *db = NULL;
    (void)state;
    assert_non_null(mkdtemp(dir));
    fr_rcu_register_thread();
    fr_engine_world place = {
        .os = fr_os_real(), .room = FR_STORE_MEMORY, .segment_bytes = SEGMENT_BYTES};
    freshet_options options = {.data_dir = dir, .memory_bytes = 64 << 20};
    assert_ok(fr_engine_open_in(&db, &options, &place, NULL));
    see_slow_sync(db, ".frlog");     /* a group's */
    see_slow_sync(db, ".frlog.tmp"); /* the beginning of a segment */
    assert_int_equal(freshet_close(db, NULL), FRESHET_OK);
    fr_rcu_unregister_thread();
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_sync_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
