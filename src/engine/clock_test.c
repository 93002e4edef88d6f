// SPDX-License-Identifier: MIT OR Apache-2.0
// The clock on the wall is set by people and by daemons, days forwards or years back. What the
// engine says of durations does not follow it.
#include "engine.h"

#include <setjmp.h> /* cmocka.h wants these four first */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

enum { SECOND_US = 1000000 };

static void expect(freshet *db, int status, const char *text)
{
    freshet_answer answer = {0};
    assert_int_equal(freshet_query(db, "/health", 7, NULL, &answer, NULL), FRESHET_OK);
    if (answer.status != status ||
        memmem(answer.body, answer.body_size, text, strlen(text)) == NULL) {
        fail_msg("%s: %d %.*s", text, answer.status, (int)answer.body_size, answer.body);
    }
    freshet_answer_free(&answer);
}

static void jumps_are_no_durations(void **state)
{
    static const uint64_t walls[] = {UINT64_C(4102444800000000), 0, UINT64_C(1767225600000000)};
    static fr_source_state source = {
        .name = "jetstream:x", .live = true, .phase = FR_SOURCE_STREAMING};
    fr_os *os = NULL;
    freshet *db = NULL;
    fr_sim_options sim = {.seed = 1, .fail_at = UINT64_MAX};
    (void)state;
    fr_rcu_register_thread();
    assert_int_equal(fr_sim_new(&os, &sim, NULL), FR_OK);
    fr_engine_world place = {.os = os, .room = FR_STORE_MEMORY, .stepwise = true};
    freshet_options options = {.data_dir = "data", .memory_bytes = 64 << 20};
    assert_int_equal(fr_engine_open_in(&db, &options, &place, NULL), FR_OK);
    source.started_ns = fr_os_monotonic_ns(os);
    fr_engine_source_add(db, &source);
    for (unsigned i = 0; i < FR_COUNT_OF(walls); i++) {
        char uptime[40];
        fr_sim_advance(os, 9 * SECOND_US);
        fr_sim_set_wall(os, walls[i]);
        assert_int_equal(fr_os_wall_us(os), walls[i]);
        snprintf(uptime, sizeof uptime, "\"uptime_ms\":%u,", 9000 * (i + 1));
        expect(db, 200, uptime);
        expect(db, 200, "\"state\":\"streaming\"");
    }
    fr_sim_advance(os, 4 * SECOND_US); /* 31 seconds without a word */
    expect(db, 503, "\"state\":\"stalled\"");
    assert_int_equal(freshet_close(db, NULL), FRESHET_OK);
    fr_sim_free(os);
    fr_rcu_unregister_thread();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(jumps_are_no_durations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
