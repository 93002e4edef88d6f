// SPDX-License-Identifier: MIT OR Apache-2.0
// Reading what one wrote. An acknowledgement follows the publishing of its group, so what was
// acknowledged is in every view that is live; what is not live is behind, and says how far it is.
// Whoever must have it everywhere waits here, for a bounded time, where the writer wakes readers of
// the log: after it has published, and after views that caught up are back.
#include "engine.h"

/** A view that is live when it is looked at has what was published before: put_back in rebuild.c
 *  brings it to the published end first. */
uint64_t fr_engine_visible(const fr_engine *engine)
{
    uint64_t seq = __atomic_load_n(&engine->seq, __ATOMIC_ACQUIRE); /* fr_engine_publish */
    for (unsigned i = 0; i < engine->view_count; i++) {
        if (fr_view_state_of(engine, i) != FR_VIEW_LIVE) {
            seq = FR_MIN(seq, __atomic_load_n(&engine->slots[i].failed_seq, __ATOMIC_RELAXED));
        }
    }
    return seq;
}

/** Until the time is up, or the clock of a simulated world stands still. */
static uint64_t wait_visible(fr_engine *engine, uint64_t seq, uint64_t timeout_ns)
{
    uint64_t deadline_ns = fr_os_monotonic_ns(engine->os) + timeout_ns;
    bool more = true;
    fr_mutex_lock(&engine->follow_lock);
    uint64_t reached = fr_engine_visible(engine);
    while (reached < seq && more) { /* the broadcast comes after the change */
        uint64_t now_ns = fr_os_monotonic_ns(engine->os);
        more = now_ns < deadline_ns &&
               fr_cond_wait_ns(&engine->follow_changed, &engine->follow_lock, deadline_ns - now_ns);
        reached = fr_engine_visible(engine);
    }
    fr_mutex_unlock(&engine->follow_lock);
    return reached;
}

fr_status fr_engine_wait_seq(fr_engine *engine, uint64_t seq, uint32_t timeout_ms,
                             uint64_t *reached, fr_error *err)
{
    const uint64_t ns_per_ms = 1000000;
    uint64_t ms = timeout_ms == 0 ? FRESHET_VISIBLE_MS : timeout_ms;
    *reached = fr_engine_visible(engine);
    if (*reached < seq) {
        *reached = wait_visible(engine, seq, ms * ns_per_ms);
    }
    return *reached >= seq ? FR_OK
                           : fr_fail_code(err, FR_AGAIN, *reached, "view-behind",
                                          "not every view has applied it yet");
}

freshet_status freshet_wait_seq(freshet *engine, uint64_t seq, uint32_t timeout_ms,
                                uint64_t *reached, freshet_error *err)
{
    fr_error error = {0};
    uint64_t there = 0;
    fr_status status = fr_engine_wait_seq(engine, seq, timeout_ms, &there, &error);
    if (reached != NULL) {
        *reached = there;
    }
    return fr_status_export(status, &error, err);
}
