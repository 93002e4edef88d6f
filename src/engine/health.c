// SPDX-License-Identifier: MIT OR Apache-2.0
// What the engine says of itself: /health as JSON, /metrics as Prometheus text.
#include "engine.h"

#include <fr/codec.h>

static const uint64_t STALL_NS = UINT64_C(30000000000);

static const char *phase_name(uint32_t phase)
{
    static const char *const names[] = {"connecting", "streaming", "waiting", "done", "failed"};
    return phase < FR_COUNT_OF(names) ? names[phase] : "unknown";
}

#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED) /* a figure, not a hand-over */

/** A live source from which nothing came for long, or which failed. */
static bool is_stalled(fr_source_state *source, uint64_t now_ns)
{
    uint64_t last = FR_MAX(LOAD(source->last_event_ns), source->started_ns);
    return source->live && (now_ns > last + STALL_NS || LOAD(source->phase) == FR_SOURCE_FAILED);
}

static void put_time(fr_buffer *out, uint64_t time_us)
{
    char text[32];
    if (time_us == 0 || time_us > INT64_MAX) {
        fr_buffer_text(out, "null");
        return;
    }
    fr_buffer_json_string(out, fr_slice_of(text, fr_time_format((int64_t)time_us, 6, text)));
}

typedef struct {
    bool stalled, failed; /* one of them is; failed: one that is not live */
} source_health;

static source_health put_sources(fr_engine *engine, uint64_t now_ns, fr_buffer *out)
{
    source_health all = {0};
    fr_mutex_lock(&engine->source_lock);
    for (fr_source_state *source = engine->sources; source != NULL; source = source->next) {
        bool this_one = is_stalled(source, now_ns);
        all.stalled = all.stalled || this_one;
        all.failed = all.failed || (!source->live && LOAD(source->phase) == FR_SOURCE_FAILED);
        fr_buffer_text(out, source == engine->sources ? "{\"name\":" : ",{\"name\":");
        fr_buffer_json_string(out, fr_slice_text(source->name));
        fr_buffer_printf(out,
                         ",\"cursor\":%llu,\"state\":\"%s\",\"read\":%llu,\"rejected\":%llu,"
                         "\"reconnects\":%llu",
                         (unsigned long long)LOAD(source->cursor),
                         this_one ? "stalled" : phase_name(LOAD(source->phase)),
                         (unsigned long long)LOAD(source->read),
                         (unsigned long long)LOAD(source->rejected),
                         (unsigned long long)LOAD(source->reconnects));
        if (source->is_firehose) {
            fr_buffer_printf(out,
                             ",\"verified\":%llu,\"unverified\":%llu,\"desynchronised\":%llu,"
                             "\"repaired\":%llu,\"repair_failures\":%llu,\"outdated\":%llu",
                             (unsigned long long)LOAD(source->verified),
                             (unsigned long long)LOAD(source->unverified),
                             (unsigned long long)LOAD(source->desynchronised),
                             (unsigned long long)LOAD(source->repairs),
                             (unsigned long long)LOAD(source->repair_failures),
                             (unsigned long long)LOAD(source->outdated));
        }
        fr_buffer_byte(out, '}');
    }
    fr_mutex_unlock(&engine->source_lock);
    return all;
}

/** A view is not live once its reset was asked for: whoever asked may wait for that word. */
static const char *state_name(fr_engine *engine, unsigned i)
{
    bool asked = fr_rebuild_is_asked(engine, i); /* before the state, which is set first */
    fr_view_state state = fr_view_state_of(engine, i);
    return state == FR_VIEW_FAILED           ? "failed"
           : state == FR_VIEW_LIVE && !asked ? "live"
                                             : "rebuilding";
}

/** Through which event the view has folded what is published. */
static uint64_t view_seq(const fr_engine *engine, unsigned i, uint64_t seq)
{
    return fr_view_is_live(engine, i) ? seq : LOAD(engine->slots[i].failed_seq);
}

static bool all_live(fr_engine *engine)
{
    bool live = true;
    for (unsigned i = 0; i < engine->view_count; i++) {
        live = live && !fr_rebuild_is_asked(engine, i) && fr_view_is_live(engine, i);
    }
    return live;
}

static void put_view(fr_engine *engine, unsigned i, uint64_t seq, fr_buffer *out)
{
    const char *state = state_name(engine, i);
    uint64_t through = FR_MIN(view_seq(engine, i, seq), seq);
    fr_buffer_printf(out, "%s{\"name\":\"%s\",\"seq\":%llu,\"lag\":%llu,\"state\":\"%s\"",
                     i == 0 ? "" : ",", engine->view_ops[i]->name, (unsigned long long)through,
                     (unsigned long long)(seq - through), state);
    const char *why = LOAD(engine->slots[i].failed_text);
    if (strcmp(state, "failed") == 0 && why != NULL) {
        fr_buffer_text(out, ",\"why\":");
        fr_buffer_json_string(out, fr_slice_text(why));
    }
    fr_buffer_byte(out, '}');
}

static void put_fallbacks(fr_engine *engine, fr_buffer *out)
{
    const char *comma = "";
    for (unsigned part = 0; part < FR_PARTS; part++) {
        const fr_fallback *fallback = &engine->fallbacks[part];
        const char *why = __atomic_load_n(&fallback->why, __ATOMIC_ACQUIRE);
        if (why != NULL) {
            fr_buffer_printf(out, "%s{\"part\":\"%s\",\"from\":\"%s\",\"why\":", comma,
                             part == FR_PART_RESOLVER ? "resolver" : engine->view_ops[part]->name,
                             LOAD(fallback->previous) ? "checkpoint before" : "log");
            fr_buffer_json_string(out, fr_slice_text(why));
            fr_buffer_byte(out, '}');
            comma = ",";
        }
    }
}

/** Is there any? */
static bool put_step_trouble(fr_engine *engine, const char *name, const fr_step_trouble *trouble,
                             fr_buffer *out)
{
    fr_mutex_lock(&engine->request_lock);
    fr_step_trouble now = *trouble;
    fr_mutex_unlock(&engine->request_lock);
    fr_buffer_printf(out, ",\"%s\":", name);
    fr_step_trouble_put(&now, out);
    return now.step != NULL;
}

int fr_engine_put_health(void *context, fr_buffer *out)
{
    enum { SOURCES_MAX_BYTES = 1 << 20, TROUBLES_MAX_BYTES = 1 << 14 };
    fr_engine *engine = context;
    freshet_progress progress;
    freshet_progress_of(engine, &progress);
    uint64_t now_us = fr_os_wall_us(engine->os);
    uint64_t now_ns = fr_os_monotonic_ns(engine->os);
    fr_buffer sources, troubles;
    fr_buffer_init(&sources, SOURCES_MAX_BYTES);
    fr_buffer_init(&troubles, TROUBLES_MAX_BYTES);
    source_health of_sources = put_sources(engine, now_ns, &sources);
    bool fails = put_step_trouble(engine, "upkeep", &engine->upkeep_trouble, &troubles);
    fails |= put_step_trouble(engine, "checkpoint", &engine->checkpoint_trouble, &troubles);
    fr_writing writing = fr_trouble_put(engine, &troubles);
    bool pauses = writing == FR_WRITES_NOT || progress.poisoned || engine->options.read_only;
    bool whole = all_live(engine) && !of_sources.failed && !fails && writing == FR_WRITES;
    const char *status = pauses               ? "read-only"
                         : !progress.ready    ? "catching-up"
                         : of_sources.stalled ? "stalled"
                         : !whole             ? "degraded"
                                              : "ok";
    fr_buffer_printf(out, "{\"status\":\"%s\",\"indexed_through\":{\"seq\":%llu,\"time\":", status,
                     (unsigned long long)progress.seq);
    put_time(out, progress.time_us);
    uint64_t lag_us =
        progress.time_us == 0 || now_us < progress.time_us ? 0 : now_us - progress.time_us;
    fr_buffer_printf(out, "},\"lag_ms\":%llu,\"sources\":[", (unsigned long long)(lag_us / 1000));
    fr_buffer_slice(out, fr_buffer_view(&sources));
    fr_buffer_done(&sources);
    fr_buffer_text(out, "],\"backfills\":[");
    fr_engine_put_backfills(engine, out);
    fr_buffer_text(out, "],\"views\":[");
    for (unsigned i = 0; i < engine->view_count; i++) {
        put_view(engine, i, progress.seq, out);
    }
    fr_buffer_text(out, "],\"fallbacks\":[");
    put_fallbacks(engine, out);
    fr_buffer_printf(out, "],\"checkpoint_seq\":%llu,\"first_seq\":%llu,\"uptime_ms\":%llu",
                     (unsigned long long)LOAD(engine->metrics.checkpoint_seq),
                     (unsigned long long)progress.first_seq,
                     (unsigned long long)((now_ns - engine->opened_ns) / 1000000));
    fr_buffer_slice(out, fr_buffer_view(&troubles));
    fr_buffer_done(&troubles);
    fr_buffer_byte(out, '}');
    return progress.ready && !of_sources.stalled && writing != FR_WRITES_NOT ? 200 : 503;
}

/* ---- metrics --------------------------------------------------------------------------------- */

static void put_metric(fr_buffer *out, const char *type, const char *name, const char *help,
                       uint64_t value)
{
    fr_buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help, name, type, name,
                     (unsigned long long)value);
}

static void put_histogram(fr_buffer *out, const char *name, const char *help, const fr_histogram *h)
{
    static const uint64_t bounds_us[] = {50,   100,   250,   500,    1000,  2500,
                                         5000, 10000, 25000, 100000, 500000};
    fr_buffer_printf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    for (size_t i = 0; i < FR_COUNT_OF(bounds_us); i++) {
        fr_buffer_printf(out, "%s_bucket{le=\"%g\"} %llu\n", name, (double)bounds_us[i] / 1e6,
                         (unsigned long long)fr_histogram_count_below(h, bounds_us[i] * 1000));
    }
    fr_buffer_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %g\n%s_count %llu\n", name,
                     (unsigned long long)LOAD(h->count), name, (double)LOAD(h->sum) / 1e9, name,
                     (unsigned long long)LOAD(h->count));
}

/** One metric of every source, or of every firehose; `at` is where the figure stands in it. */
static void put_source_metric(fr_engine *engine, fr_buffer *out, const char *type, const char *name,
                              bool of_firehoses, size_t at)
{
    fr_buffer_printf(out, "# TYPE freshet_source_%s %s\n", name, type);
    for (fr_source_state *source = engine->sources; source != NULL; source = source->next) {
        const uint64_t *value = (const uint64_t *)(const void *)((const char *)source + at);
        if (source->is_firehose || !of_firehoses) {
            fr_buffer_printf(out, "freshet_source_%s{source=", name);
            fr_buffer_json_string(out, fr_slice_text(source->name));
            fr_buffer_printf(out, "} %llu\n", (unsigned long long)LOAD(*value));
        }
    }
}

static void put_source_metrics(fr_engine *engine, fr_buffer *out)
{
    static const struct {
        const char *name, *type;
        bool of_firehoses;
        size_t at;
    } metrics[] = {
        {"read_total", "counter", false, offsetof(fr_source_state, read)},
        {"rejected_total", "counter", false, offsetof(fr_source_state, rejected)},
        {"ignored_total", "counter", false, offsetof(fr_source_state, ignored)},
        {"reconnects_total", "counter", false, offsetof(fr_source_state, reconnects)},
        {"verified_total", "counter", true, offsetof(fr_source_state, verified)},
        {"unverified_total", "counter", true, offsetof(fr_source_state, unverified)},
        {"desyncs_total", "counter", true, offsetof(fr_source_state, desyncs)},
        {"desynchronised", "gauge", true, offsetof(fr_source_state, desynchronised)},
        {"repairs_total", "counter", true, offsetof(fr_source_state, repairs)},
        {"repair_failures_total", "counter", true, offsetof(fr_source_state, repair_failures)},
        {"outdated_total", "counter", true, offsetof(fr_source_state, outdated)},
    };
    fr_mutex_lock(&engine->source_lock);
    for (size_t i = 0; i < FR_COUNT_OF(metrics); i++) {
        put_source_metric(engine, out, metrics[i].type, metrics[i].name, metrics[i].of_firehoses,
                          metrics[i].at);
    }
    fr_mutex_unlock(&engine->source_lock);
}

static void put_of_links(fr_links *links, fr_buffer *out)
{
    fr_links_stats stats;
    fr_links_stats_of(links, &stats);
    put_metric(out, "gauge", "freshet_links", "live links", stats.links);
    put_metric(out, "counter", "freshet_links_dropped_total",
               "links beyond the bounds of extraction", stats.dropped);
}

static void put_of_posts(const fr_posts *posts, fr_buffer *out)
{
    fr_posts_counts counts;
    fr_posts_counts_of(posts, &counts);
    put_metric(out, "gauge", "freshet_posts", "live posts and reposts", fr_posts_count(posts));
    put_metric(out, "counter", "freshet_reposts_refused_total", "reposts of what is no post",
               counts.refused_reposts);
    put_metric(out, "counter", "freshet_posts_unreadable_times_total",
               "posts whose createdAt is missing or unreadable", counts.unreadable_times);
}

/** A view that is not live has no figures but its lag. */
static void put_view_metrics(fr_engine *engine, uint64_t seq, fr_buffer *out)
{
    fr_buffer_text(out, "# HELP freshet_view_lag_events events a view is behind what is published\n"
                        "# TYPE freshet_view_lag_events gauge\n");
    for (unsigned i = 0; i < engine->view_count; i++) {
        uint64_t through = FR_MIN(view_seq(engine, i, seq), seq);
        fr_buffer_printf(out, "freshet_view_lag_events{view=\"%s\",state=\"%s\"} %llu\n",
                         engine->view_ops[i]->name, state_name(engine, i),
                         (unsigned long long)(seq - through));
    }
    fr_buffer_text(out,
                   "# HELP freshet_view_bytes memory of a view\n# TYPE freshet_view_bytes gauge\n");
    for (unsigned i = 0; i < engine->view_count; i++) {
        if (fr_view_is_live(engine, i)) {
            fr_buffer_printf(out, "freshet_view_bytes{view=\"%s\"} %llu\n",
                             engine->view_ops[i]->name,
                             (unsigned long long)engine->view_ops[i]->bytes(engine->views[i]));
        }
    }
    if (fr_view_is_live(engine, FR_VIEW_LINKS)) {
        put_of_links(engine->views[FR_VIEW_LINKS], out);
    }
    if (fr_view_is_live(engine, FR_VIEW_POSTS)) {
        put_of_posts(engine->views[FR_VIEW_POSTS], out);
    }
    if (fr_view_is_live(engine, FR_VIEW_GRAPH)) {
        put_metric(out, "gauge", "freshet_edges", "live follows, blocks and list items",
                   fr_graph_edge_count(engine->views[FR_VIEW_GRAPH]));
    }
}

int fr_engine_put_metrics(void *context, fr_buffer *out)
{
    fr_engine *engine = context;
    fr_engine_metrics *m = &engine->metrics;
    freshet_progress progress;
    freshet_progress_of(engine, &progress);
    uint64_t now_us = fr_os_wall_us(engine->os);
    uint64_t lag_us =
        progress.time_us == 0 || now_us < progress.time_us ? 0 : now_us - progress.time_us;
    put_metric(out, "gauge", "freshet_seq", "last log sequence that answers include", progress.seq);
    put_metric(out, "gauge", "freshet_lag_milliseconds", "age of that event by its source's clock",
               lag_us / 1000);
    put_metric(out, "gauge", "freshet_poisoned",
               "1 while writing waits, or has ended, after a failure", progress.poisoned);
    put_metric(out, "counter", "freshet_log_mended_total",
               "times the log went on by itself after a write or sync that failed",
               LOAD(m->mended));
    put_metric(out, "counter", "freshet_resolver_mended_total",
               "times the resolver was built again after damage in what is saved of it",
               LOAD(m->resolver_mended));
    put_metric(out, "counter", "freshet_events_appended_total", "events appended",
               LOAD(m->appended));
    put_metric(out, "counter", "freshet_events_duplicate_total", "events known already",
               LOAD(m->duplicate));
    put_metric(out, "counter", "freshet_events_cid_unverified_total",
               "bodies that do not give their CID", LOAD(m->cid_unverified));
    put_metric(out, "counter", "freshet_batches_total", "batches settled", LOAD(m->batches));
    put_metric(out, "counter", "freshet_writer_busy_microseconds_total",
               "time the writer spent on batches, waiting for syncs not counted",
               LOAD(m->work_ns) / 1000);
    put_metric(out, "counter", "freshet_checkpoints_total", "checkpoints saved",
               LOAD(m->checkpoints));
    if (engine->log != NULL) {
        fr_log_stat stat;
        fr_log_stat_of(engine->log, &stat);
        put_metric(out, "gauge", "freshet_log_segments", "segments of the log", stat.segments);
        put_metric(out, "gauge", "freshet_log_sealed_segments", "of these, sealed", stat.sealed);
        put_metric(out, "gauge", "freshet_log_bytes", "bytes of the log on disk", stat.bytes);
    }
    put_metric(out, "counter", "freshet_log_upkeep_failures_total",
               "steps of sealing, archiving or dropping segments that failed",
               LOAD(m->upkeep_failures));
    put_metric(out, "counter", "freshet_checkpoint_failures_total", "checkpoints that failed",
               LOAD(m->checkpoint_failures));
    put_metric(out, "gauge", "freshet_checkpoint_seq", "sequence of the last checkpoint",
               LOAD(m->checkpoint_seq));
    put_view_metrics(engine, progress.seq, out);
    put_metric(out, "gauge", "freshet_accounts", "accounts ever named",
               fr_ids_account_count(fr_resolver_ids(engine->resolver)));
    put_histogram(out, "freshet_sync_seconds", "time of a log sync", &m->sync_ns);
    put_histogram(out, "freshet_fold_seconds", "time to fold a chunk into all views", &m->apply_ns);
    put_histogram(out, "freshet_group_seconds",
                  "time from the first batch of a group to its acknowledgement", &m->group_ns);
    put_histogram(out, "freshet_checkpoint_seconds", "time from freezing a checkpoint to its end",
                  &m->checkpoint_ns);
    put_histogram(out, "freshet_checkpoint_pause_seconds",
                  "time a checkpoint held the writer up, freezing and settling", &m->pause_ns);
    put_source_metrics(engine, out);
    fr_engine_put_backfill_metrics(engine, out);
    return 200;
}
