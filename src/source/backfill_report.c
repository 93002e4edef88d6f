// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet.h: looking at the backfills of a data directory, and asking for more. Files are read, and
// one small one is written, so it works beside whoever holds the directory.
#include <stdio.h>
#include <stdlib.h>

#include <fr/os.h>
#include <freshet.h>
#include <fr/engine.h>

#include "backfill_state.h"

#define HOSTS_SHOWN 20
#define STATUS_BYTES_MAX (1U << 20)

static const char suffix[] = ".journal";

typedef struct {
    const char *dir; /* DIR/backfill */
    fr_status (*look)(void *context, const char *path, backfill_state *state, fr_error *err);
    void *context;
    fr_error *err;
} journal_walk;

static fr_status look_at(void *context, const char *name)
{
    journal_walk *walk = context;
    char path[FR_PATH_MAX];
    backfill_state *state = NULL;
    size_t size = strlen(name);
    if (size < sizeof suffix || strcmp(name + size - (sizeof suffix - 1), suffix) != 0) {
        return FR_OK;
    }
    FR_TRY(fr_path(path, sizeof path, walk->err, "%s/%s", walk->dir, name));
    fr_status status = backfill_state_open(&state, fr_os_real(), path, NULL, true, walk->err);
    if (status == FR_NOT_FOUND) { /* begun this moment */
        fr_error_reset(walk->err);
        return FR_OK;
    }
    FR_TRY(status);
    status = walk->look(walk->context, path, state, walk->err);
    backfill_state_close(state);
    return status;
}

static fr_status each_journal(const char *data_dir,
                              fr_status (*look)(void *context, const char *path,
                                                backfill_state *state, fr_error *err),
                              void *context, fr_error *err)
{
    char dir[FR_PATH_MAX];
    FR_TRY(fr_path(dir, sizeof dir, err, "%s/backfill", data_dir));
    if (!fr_os_is_dir(fr_os_real(), data_dir)) {
        return fr_fail(err, FR_NOT_FOUND, "no such data directory");
    }
    FR_TRY(fr_data_check(fr_os_real(), data_dir, err));
    journal_walk walk = {dir, look, context, err};
    return fr_os_is_dir(fr_os_real(), dir) ? fr_os_list(fr_os_real(), dir, look_at, &walk, err)
                                           : FR_OK;
}

/* ---- status ---------------------------------------------------------------------------------- */

typedef struct {
    void (*each)(void *context, const char *json);
    void *context;
} status_door;

/** The hosts with the most accounts to come, most first. */
static size_t busiest(const backfill_state *state, uint32_t count, uint16_t top[HOSTS_SHOWN])
{
    size_t kept = 0;
    for (uint32_t host = 1; host <= count; host++) {
        uint64_t pending = backfill_state_host_figures(state, (uint16_t)host).pending;
        size_t at = kept;
        while (at != 0 && backfill_state_host_figures(state, top[at - 1]).pending < pending) {
            at--;
        }
        if (pending == 0 || at == HOSTS_SHOWN) {
            continue;
        }
        kept = FR_MIN(kept + 1, (size_t)HOSTS_SHOWN);
        memmove(&top[at + 1], &top[at], (kept - at - 1) * sizeof top[0]);
        top[at] = (uint16_t)host;
    }
    return kept;
}

static void put_hosts(const backfill_state *state, const backfill_figures *f, fr_buffer *out)
{
    uint16_t top[HOSTS_SHOWN];
    size_t count = busiest(state, f->hosts, top);
    fr_buffer_printf(out, ",\"host_count\":%u,\"hosts\":[", f->hosts);
    for (size_t i = 0; i < count; i++) {
        backfill_host_figures host = backfill_state_host_figures(state, top[i]);
        fr_buffer_text(out, i == 0 ? "{\"host\":" : ",{\"host\":");
        fr_buffer_json_string(out, fr_slice_text(host.url));
        fr_buffer_printf(out, ",\"pending\":%llu,\"done\":%llu,\"failed\":%llu}",
                         (unsigned long long)host.pending, (unsigned long long)host.done,
                         (unsigned long long)host.failed);
    }
    fr_buffer_text(out, "]");
}

static void put_status(const backfill_state *state, fr_buffer *out)
{
    backfill_figures f;
    backfill_state_figures(state, &f);
    const char *phase = !f.complete ? "listing" : f.pending != 0 ? "loading" : "done";
    fr_buffer_text(out, "{\"url\":");
    fr_buffer_json_string(out, fr_slice_text(backfill_state_url(state)));
    fr_buffer_printf(out,
                     ",\"phase\":\"%s\",\"listing_complete\":%s,\"listed\":%llu,\"done\":%llu,"
                     "\"held\":%llu,\"pending\":%llu,\"failed\":%llu,\"failed_by_reason\":{",
                     phase, f.complete ? "true" : "false", (unsigned long long)f.listed,
                     (unsigned long long)f.by_outcome[BACKFILL_DONE],
                     (unsigned long long)f.by_outcome[BACKFILL_HELD], (unsigned long long)f.pending,
                     (unsigned long long)f.failed);
    for (int i = BACKFILL_TAKENDOWN; i < BACKFILL_OUTCOMES; i++) {
        fr_buffer_printf(out, "%s\"%s\":%llu", i == BACKFILL_TAKENDOWN ? "" : ",",
                         backfill_outcome_name((backfill_outcome)i),
                         (unsigned long long)f.by_outcome[i]);
    }
    fr_buffer_printf(out, "},\"bytes\":%llu,\"repos_per_s\":%.1f", (unsigned long long)f.bytes,
                     f.repos_per_s);
    put_hosts(state, &f, out);
    fr_buffer_text(out, "}");
}

static fr_status tell_status(void *context, const char *path, backfill_state *state, fr_error *err)
{
    status_door *door = context;
    fr_buffer out;
    (void)path;
    fr_buffer_init(&out, STATUS_BYTES_MAX);
    put_status(state, &out);
    fr_buffer_byte(&out, 0);
    fr_status status = fr_buffer_status(&out, err);
    if (status == FR_OK) {
        door->each(door->context, (const char *)out.data);
    }
    fr_buffer_done(&out);
    return status;
}

freshet_status freshet_backfill_status(const char *data_dir,
                                       void (*each)(void *context, const char *json), void *context,
                                       freshet_error *err)
{
    fr_error error = {0};
    status_door door = {each, context};
    return fr_status_export(each_journal(data_dir, tell_status, &door, &error), &error, err);
}

/* ---- retry ----------------------------------------------------------------------------------- */

typedef struct {
    bool all;
    uint64_t count;
} retry_wish;

static fr_status ask_for_retry(void *context, const char *path, backfill_state *state,
                               fr_error *err)
{
    retry_wish *wish = context;
    char request[FR_PATH_MAX];
    backfill_figures f;
    backfill_state_figures(state, &f);
    wish->count += wish->all ? f.listed : f.failed;
    FR_TRY(fr_path(request, sizeof request, err, "%.*s.retry",
                   (int)(strlen(path) - (sizeof suffix - 1)), path));
    fr_slice text = wish->all ? FR_SLICE("all\n") : FR_SLICE("failed\n");
    /* who waits to list all again tries those that failed, too */
    bool wanted =
        wish->all || (f.failed != 0 && backfill_request_in(request) == BACKFILL_NO_REQUEST);
    return wanted ? fr_os_write_file_atomic(fr_os_real(), request, text, err) : FR_OK;
}

freshet_status freshet_backfill_retry(const char *data_dir, bool all, uint64_t *count,
                                      freshet_error *err)
{
    fr_error error = {0};
    retry_wish wish = {.all = all};
    fr_status status = each_journal(data_dir, ask_for_retry, &wish, &error);
    if (count != NULL) {
        *count = wish.count;
    }
    return fr_status_export(status, &error, err);
}
