// SPDX-License-Identifier: MIT OR Apache-2.0
// One pass over the hosts finds the next turn, starting behind the host that had the last one: a
// relay has a few thousand, which is 10 us beside a request over a network. A heap by time would
// have to be kept right at every add, leave and rest.
#include "backfill_pool.h"

#include <stdlib.h>

#define NONE UINT32_MAX

typedef struct {
    uint32_t first, last; /* ordinals, or NONE */
    uint32_t in_flight;
    uint32_t troubles; /* in a row */
    uint64_t ready_ns; /* not before: rate, pause and rest */
    uint64_t paused_until_ns;
    uint64_t trouble_since_ns; /* moved on by rests */
} host_row;

struct backfill_pool {
    backfill_pool_options options;
    host_row *hosts;
    size_t host_count; /* with host 0 */
    uint32_t *next;
    size_t next_room;
    size_t last_turn;
    uint64_t waiting, in_flight;
};

fr_status backfill_pool_new(backfill_pool **out, const backfill_pool_options *options,
                            fr_error *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) {
        return fr_fail(err, FR_NOMEM, "backfill: no memory for hosts");
    }
    (*out)->options = *options;
    return FR_OK;
}

void backfill_pool_free(backfill_pool *pool)
{
    if (pool != NULL) {
        free(pool->hosts);
        free(pool->next);
        free(pool);
    }
}

static fr_status make_room(backfill_pool *pool, uint16_t host, uint32_t ordinal, fr_error *err)
{
    if (ordinal >= pool->next_room) {
        size_t room = FR_MAX((size_t)ordinal + 1, pool->next_room + pool->next_room / 2);
        uint32_t *bigger = realloc(pool->next, room * sizeof *bigger);
        if (bigger == NULL) {
            return fr_fail(err, FR_NOMEM, "backfill: no memory for rows of accounts");
        }
        pool->next = bigger;
        pool->next_room = room;
    }
    if (host >= pool->host_count) {
        host_row *bigger = realloc(pool->hosts, ((size_t)host + 1) * sizeof *bigger);
        if (bigger == NULL) {
            return fr_fail(err, FR_NOMEM, "backfill: no memory for hosts");
        }
        pool->hosts = bigger;
        for (; pool->host_count <= host; pool->host_count++) {
            bigger[pool->host_count] = (host_row){.first = NONE, .last = NONE};
        }
    }
    return FR_OK;
}

fr_status backfill_pool_add(backfill_pool *pool, uint16_t host, uint32_t ordinal, fr_error *err)
{
    FR_TRY(make_room(pool, host, ordinal, err));
    host_row *row = &pool->hosts[host];
    pool->next[ordinal] = NONE;
    if (row->first == NONE) {
        row->first = ordinal;
    } else {
        pool->next[row->last] = ordinal;
    }
    row->last = ordinal;
    pool->waiting++;
    return FR_OK;
}

bool backfill_pool_drain(backfill_pool *pool, uint16_t host, uint32_t *ordinal)
{
    host_row *row = &pool->hosts[host];
    if (row->first == NONE) {
        return false;
    }
    *ordinal = row->first;
    row->first = pool->next[row->first];
    pool->waiting--;
    return true;
}

/** Does the host have an account for us, sooner or later? *ready_ns says when. */
static bool can_be_asked(const backfill_pool *pool, size_t host, uint64_t *ready_ns)
{
    const host_row *row = &pool->hosts[host];
    uint32_t at_once = host == 0 ? pool->options.at_once_0 : pool->options.at_once;
    at_once = row->troubles == 0 ? at_once : 1; /* others would wait for nothing as well */
    *ready_ns = row->ready_ns;
    return row->first != NONE && row->in_flight < at_once;
}

static void start(backfill_pool *pool, size_t host, uint64_t now_ns, backfill_turn *out)
{
    host_row *row = &pool->hosts[host];
    uint32_t per_s = host == 0 ? pool->options.per_s_0 : pool->options.per_s;
    out->host = (uint16_t)host;
    (void)backfill_pool_drain(pool, out->host, &out->ordinal);
    row->ready_ns = now_ns + UINT64_C(1000000000) / per_s;
    row->in_flight++;
    pool->in_flight++;
    pool->last_turn = host;
}

fr_status backfill_pool_take(backfill_pool *pool, uint64_t now_ns, backfill_turn *out,
                             uint64_t *until_ns)
{
    *until_ns = UINT64_MAX;
    for (size_t i = 1; i <= pool->host_count; i++) {
        size_t host = (pool->last_turn + i) % pool->host_count;
        uint64_t ready_ns = 0;
        if (!can_be_asked(pool, host, &ready_ns)) {
            continue;
        }
        if (ready_ns <= now_ns) {
            start(pool, host, now_ns, out);
            return FR_OK;
        }
        *until_ns = FR_MIN(*until_ns, ready_ns);
    }
    return pool->waiting == 0 && pool->in_flight == 0 ? FR_END : FR_AGAIN;
}

static host_row *left(backfill_pool *pool, uint16_t host)
{
    pool->hosts[host].in_flight--;
    pool->in_flight--;
    return &pool->hosts[host];
}

void backfill_pool_leave(backfill_pool *pool, uint16_t host)
{
    left(pool, host)->troubles = 0;
}

static void not_before(host_row *row, uint64_t then_ns)
{
    row->ready_ns = FR_MAX(row->ready_ns, then_ns);
}

/** Requests that were in flight together fail together: that is one trouble. */
static void pause(backfill_pool *pool, host_row *row, uint64_t now_ns)
{
    if (row->troubles != 0 && now_ns < row->paused_until_ns) {
        return;
    }
    uint64_t pause_ns =
        FR_MIN(FR_BACKFILL_PAUSE_MOST_NS, FR_BACKFILL_PAUSE_LEAST_NS << FR_MIN(row->troubles, 16U));
    row->trouble_since_ns = row->troubles == 0 ? now_ns : row->trouble_since_ns;
    row->troubles++;
    /* not beyond the patience, so that it ends when it should */
    row->paused_until_ns =
        FR_MIN(now_ns + pause_ns, row->trouble_since_ns + pool->options.patience_ns);
    not_before(row, row->paused_until_ns);
}

bool backfill_pool_trouble(backfill_pool *pool, uint16_t host, uint64_t now_ns)
{
    host_row *row = left(pool, host);
    pause(pool, row, now_ns);
    return now_ns < row->trouble_since_ns + pool->options.patience_ns;
}

void backfill_pool_rest(backfill_pool *pool, uint16_t host, uint64_t now_ns, uint64_t rest_ns)
{
    host_row *row = &pool->hosts[host];
    uint64_t then_ns = now_ns + FR_MIN(rest_ns, FR_HOST_REST_MOST_NS);
    if (row->troubles != 0 && then_ns > row->ready_ns) {
        row->trouble_since_ns += then_ns - FR_MAX(row->ready_ns, now_ns);
    }
    not_before(row, then_ns);
}

uint32_t backfill_pool_in_flight(const backfill_pool *pool, uint16_t host)
{
    return pool->hosts[host].in_flight;
}
