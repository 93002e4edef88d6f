// SPDX-License-Identifier: MIT OR Apache-2.0
// A log that could not be written or synced keeps what it took (log.h, fr_log_mend). The writer
// takes nothing more, tries to mend it at once and then less and less often, and goes on where it
// was: the group whose sync failed is shown and acknowledged once the disk has it. Reads know
// nothing of it.
#include "engine.h"

#define MEND_FIRST_NS UINT64_C(250000000) /* between two attempts; doubled each time up to */
#define MEND_MOST_NS UINT64_C(30000000000)

void fr_mend_begin(fr_engine *engine, const fr_error *why)
{
    fr_mending *m = &engine->mending;
    m->at_ns = fr_os_monotonic_ns(engine->os);
    m->pause_ns = MEND_FIRST_NS;
    __atomic_store_n(&m->attempts, 0, __ATOMIC_RELAXED);
    fr_trouble_begin(engine, why);
    /* pairs with readers of the progress */
    __atomic_store_n(&m->waits, true, __ATOMIC_RELEASE);
}

static void end(fr_engine *engine)
{
    __atomic_store_n(&engine->mending.waits, false, __ATOMIC_RELEASE);
}

bool fr_mend_turn(fr_engine *engine, uint64_t wait_ns)
{
    fr_mending *m = &engine->mending;
    fr_error why = {0};
    uint64_t now_ns = fr_os_monotonic_ns(engine->os);
    bool closing = __atomic_load_n(&engine->closing, __ATOMIC_ACQUIRE);
    if (now_ns < m->at_ns && !closing) {
        if (!engine->world.stepwise) {
            fr_sleep_ns(FR_MIN(wait_ns, m->at_ns - now_ns));
        }
        return false;
    }
    __atomic_add_fetch(&m->attempts, 1, __ATOMIC_RELAXED);
    fr_status status = fr_log_mend(engine->log, &why);
    if (status == FR_OK) {
        __atomic_add_fetch(&engine->metrics.mended, 1, __ATOMIC_RELAXED);
        end(engine);
        fr_trouble_end(engine);
        return true;
    }
    fr_trouble_begin(engine, &why);
    m->at_ns = fr_os_monotonic_ns(engine->os) + m->pause_ns;
    m->pause_ns = FR_MIN(m->pause_ns * 2, MEND_MOST_NS);
    if (closing) { /* the last attempt: everybody is told */
        fr_engine_poison(engine, status, &why);
        end(engine);
    }
    return closing;
}
