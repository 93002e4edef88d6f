// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet ingest: every input is taken or named; the last line of stdout is the report.
#include "backfill.h"

#include <fr/os.h>
#include <stdio.h>

typedef struct {
    const char *data;
    const char *from;
    const char *did_docs;
    const char *plc_url;
    uint64_t memory_bytes;
    freshet_options keep; /* of it: the archive, and what stays of the log */
    uint64_t checkpoint_events;
    freshet_durability durability;
    cli_backfills backfills;
    char **files;
    int file_count;
} arguments;

enum { OPTION_CHECKPOINT = 256, OPTION_PLC, OPTION_ARCHIVE, OPTION_LOG_KEEP, OPTION_DURABILITY };

static const struct argp_option OPTIONS[] = {
    {"data", 'd', "DIR", 0, "data directory, made when absent", 0},
    {"from", 'f', "FORMAT", 0, "jetstream, frames or car", 0},
    {"did-docs", 'k', "FILE", 0, "JSON map did -> DID document: keys for signatures", 0},
    {"plc", OPTION_PLC, "URL", 0, "PLC directory: keys of accounts, over HTTP", 0},
    {"mem", 'm', "BYTES", 0, "memory budget, with K, M or G (default 1G)", 0},
    {"archive", OPTION_ARCHIVE, "DIR", 0, "copy sealed segments of the log there", 0},
    {"log-keep", OPTION_LOG_KEEP, "BYTES-or-AGE", 0,
     "with --archive: drop older segments here, e.g. 10G, 30d or 12h; may be given for both", 0},
    {"durability", OPTION_DURABILITY, "MODE", 0,
     "when events are synced: immediate, batched, batched:N,MS (N events or MS milliseconds; the "
     "default is 100,10) or async",
     0},
    {"checkpoint-events", OPTION_CHECKPOINT, "N", 0,
     "save views after so many events (default 2000000), and each minute", 0},
    {0},
};

static const char *const DURABILITIES[] = {
    [FRESHET_BATCHED] = "batched", [FRESHET_IMMEDIATE] = "immediate", [FRESHET_ASYNC] = "async"};

/** N and MS, each from 1 to what 32 bits hold. */
static bool parse_group(const char *text, freshet_durability *out)
{
    char events[16];
    uint64_t count = 0;
    uint64_t ms = 0;
    const char *comma = strchr(text, ',');
    if (comma == NULL || (size_t)(comma - text) >= sizeof events) {
        return false;
    }
    *(char *)mempcpy(events, text, (size_t)(comma - text)) = 0;
    if (!cli_parse_u64(events, &count) || !cli_parse_u64(comma + 1, &ms) || count == 0 || ms == 0 ||
        FR_MAX(count, ms) > UINT32_MAX) {
        return false;
    }
    *out = (freshet_durability){FRESHET_BATCHED, (uint32_t)count, (uint32_t)ms};
    return true;
}

static bool parse_durability(const char *text, freshet_durability *out)
{
    static const char group[] = "batched:";
    if (strncmp(text, group, sizeof group - 1) == 0) {
        return parse_group(text + sizeof group - 1, out);
    }
    for (unsigned i = 0; i < FR_COUNT_OF(DURABILITIES); i++) {
        if (strcmp(text, DURABILITIES[i]) == 0) {
            *out = (freshet_durability){.mode = (freshet_durability_mode)i};
            return true;
        }
    }
    return false;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
        case ARGP_KEY_INIT: state->child_inputs[0] = &args->backfills; return 0;
        case 'd': args->data = value; return 0;
        case 'f': args->from = value; return 0;
        case 'k': args->did_docs = value; return 0;
        case OPTION_PLC: args->plc_url = value; return 0;
        case 'm': cli_take_bytes(state, value, &args->memory_bytes); return 0;
        case OPTION_ARCHIVE: args->keep.archive_dir = cli_absolute(value); return 0;
        case OPTION_LOG_KEEP: cli_take_keep(state, value, &args->keep); return 0;
        case OPTION_CHECKPOINT:
            cli_take_count(state, value, "events", &args->checkpoint_events);
            return 0;
        case OPTION_DURABILITY:
            if (!parse_durability(value, &args->durability)) {
                argp_error(state,
                           "--durability takes immediate, batched, batched:N,MS or async, not %s",
                           value);
            }
            return 0;
        case ARGP_KEY_ARGS:
            args->files = state->argv + state->next;
            args->file_count = state->argc - state->next;
            return 0;
        case ARGP_KEY_END:
            if (args->data == NULL || (args->from == NULL) != (args->file_count == 0) ||
                (args->from == NULL && args->backfills.count == 0)) {
                argp_error(state,
                           "--data, and --from with at least one FILE, or --backfill, are needed");
            }
            cli_check_keep(state, &args->keep);
            return 0;
        default: return ARGP_ERR_UNKNOWN;
    }
}

static bool format_of(const char *word, freshet_format *out)
{
    static const char *const words[] = {"jetstream", "frames", "car"};
    for (unsigned i = 0; i < FR_COUNT_OF(words); i++) {
        if (strcmp(word, words[i]) == 0) {
            *out = (freshet_format)(i + 1);
            return true;
        }
    }
    return false;
}

static void on_reject(void *context, const char *place, const freshet_error *err)
{
    (void)context;
    cli_progress_end();
    if (err->code != NULL) {
        fprintf(stderr, "%s: %s: %s\n", place, err->code, err->text);
    } else {
        fprintf(stderr, "%s: %s\n", place, err->text);
    }
}

static void on_bytes(void *context, uint64_t done, uint64_t total, const freshet_report *report)
{
    (void)context;
    (void)report;
    cli_progress("ingest", done, total);
}

static int ingest_files(freshet *db, const arguments *args, freshet_format format,
                        freshet_report *report)
{
    int worst = EXIT_DONE;
    freshet_ingest_options options = {
        .format = format,
        .did_docs = args->did_docs,
        .plc_url = args->plc_url,
        .on_reject = on_reject,
        .on_progress = on_bytes,
        .stop = &cli_stop,
        .durability = args->durability,
    };
    for (int i = 0; i < args->file_count && !cli_stop; i++) {
        freshet_error error = {0};
        freshet_status status = freshet_ingest(db, args->files[i], &options, report, &error);
        cli_progress_end();
        if (status != FRESHET_OK && !cli_stop) {
            int code = cli_fail(args->files[i], &error);
            worst = worst == EXIT_DONE ? code : worst;
        }
    }
    return worst;
}

static void on_accounts(void *context, uint64_t settled, uint64_t listed)
{
    (void)context;
    cli_progress("backfill", settled, listed);
}

/** Starts them together and waits for each; the first failure counts. */
static int ingest_backfills(freshet *db, const arguments *args, freshet_report *report)
{
    freshet_backfill *handles[CLI_BACKFILLS_MAX] = {NULL};
    cli_backfills backfills = args->backfills;
    backfills.options.did_docs = args->did_docs;
    backfills.options.plc_url = args->plc_url;
    backfills.options.on_reject = on_reject;
    int worst = cli_backfills_start(&backfills, db, handles);
    for (size_t i = 0; i < backfills.count && handles[i] != NULL; i++) {
        freshet_error error = {0};
        freshet_status status =
            freshet_backfill_wait(handles[i], &cli_stop, on_accounts, NULL, report, &error);
        cli_progress_end();
        if (status != FRESHET_OK && !cli_stop) {
            int code = cli_fail(backfills.urls[i], &error);
            worst = worst == EXIT_DONE ? code : worst;
        }
    }
    return worst;
}

static void print_report(const freshet_report *r, double seconds, freshet_durability_mode mode)
{
    printf("{\"read\":%llu,\"appended\":%llu,\"duplicate\":%llu,\"rejected\":%llu,\"ignored\":%llu,"
           "\"unverified\":%llu,\"cid_unverified\":%llu,\"last_seq\":%llu,\"seconds\":%.3f,"
           "\"durability\":\"%s\",\"desynced\":%llu}\n",
           (unsigned long long)r->read, (unsigned long long)r->appended,
           (unsigned long long)r->duplicate, (unsigned long long)r->rejected,
           (unsigned long long)r->ignored, (unsigned long long)r->unverified,
           (unsigned long long)r->cid_unverified, (unsigned long long)r->last_seq, seconds,
           DURABILITIES[mode], (unsigned long long)r->desynced);
}

/* Views that the open could not build. */
typedef struct {
    struct {
        const char *part, *why; /* the engine's */
    } of[8];
    size_t count;
} left_out;

static void on_fallback(void *context, const char *part, const char *from, const char *why)
{
    left_out *out = context;
    if (from != NULL) {
        fprintf(stderr, "freshet: %s: %s; to be built again from the %s\n", part, why, from);
    } else if (out->count < FR_COUNT_OF(out->of)) {
        out->of[out->count].part = part;
        out->of[out->count++].why = why;
    }
}

/* At the end, where it is seen: all events are in the log, and not in these views. */
static int tell_left_out(const left_out *out)
{
    for (size_t i = 0; i < out->count; i++) {
        fprintf(stderr,
                "freshet: %s was left out and not built, for the log is damaged (%s); log verify "
                "names the place\n",
                out->of[i].part, out->of[i].why);
    }
    return out->count == 0 ? EXIT_DONE : EXIT_DATA;
}

static bool waits; /* atomic: nothing can be written now */

static void on_trouble(void *context, const char *state, const char *why)
{
    (void)context;
    if (strncmp(state, "checkpoint-", 11) == 0) {
        fprintf(stderr, "freshet: %s%s%s\n", state, why == NULL ? "" : ": ",
                why == NULL ? "" : why);
        return;
    }
    __atomic_store_n(&waits, why != NULL, __ATOMIC_RELEASE);
    if (why != NULL) {
        fprintf(stderr, "freshet: writing waits: %s: %s\n", state, why);
    } else {
        fputs("freshet: writing goes on\n", stderr);
    }
}

static void warn_of_beginning(freshet *db)
{
    freshet_progress progress;
    freshet_progress_of(db, &progress);
    cli_progress_end();
    if (progress.first_seq > 1) {
        fprintf(stderr, "freshet: the log begins with event %llu: %s\n",
                (unsigned long long)progress.first_seq, CLI_NO_BEGINNING);
    }
}

int cli_ingest(int argc, char **argv)
{
    static const struct argp argp = {
        OPTIONS,
        parse_option,
        "[FILE…]",
        "Reads Jetstream JSON lines (plain, gzip or zstd), subscribeRepos frames or CAR "
        "files (and folders of them) into the log. - is standard input. --backfill loads the "
        "repositories of a PDS or a relay, and ends when that is done.",
        CLI_BACKFILL_OPTIONS,
        NULL,
        NULL};
    arguments args = {0};
    freshet_format format = FRESHET_JETSTREAM;
    cli_parse(&argp, argc, argv, "ingest", &args);
    if (args.from != NULL && !format_of(args.from, &format)) {
        fprintf(stderr, "freshet ingest: --from takes jetstream, frames or car, not %s\n",
                args.from);
        return EXIT_USAGE;
    }
    freshet *db = NULL;
    freshet_error error = {0};
    freshet_report report = {0};
    left_out without = {0};
    freshet_options options = {
        .data_dir = args.data,
        .memory_bytes = args.memory_bytes,
        .archive_dir = args.keep.archive_dir,
        .log_keep_bytes = args.keep.log_keep_bytes,
        .log_keep_s = args.keep.log_keep_s,
        .checkpoint_events = args.checkpoint_events,
        .on_progress = cli_on_progress,
        .on_fallback = on_fallback,
        .fallback_context = &without,
        .on_trouble = on_trouble,
        .stop = &cli_stop,
    };
    cli_catch_signals();
    uint64_t start_ns = fr_os_monotonic_ns(fr_os_real());
    if (freshet_open(&db, &options, &error) != FRESHET_OK) {
        return cli_fail(args.data, &error);
    }
    warn_of_beginning(db);
    int code = ingest_files(db, &args, format, &report);
    if (args.backfills.count != 0 && !cli_stop) {
        int of_backfills = ingest_backfills(db, &args, &report);
        code = code == EXIT_DONE ? of_backfills : code;
    }
    freshet_progress progress;
    freshet_progress_of(db, &progress);
    report.last_seq = progress.seq;
    int of_views = tell_left_out(&without);
    freshet_status closed = freshet_close(db, &error);
    print_report(&report, (double)(fr_os_monotonic_ns(fr_os_real()) - start_ns) / 1e9,
                 args.durability.mode);
    if (closed != FRESHET_OK) {
        return cli_fail(args.data, &error);
    }
    if (cli_stop) {
        return __atomic_load_n(&waits, __ATOMIC_ACQUIRE) ? EXIT_SYSTEM : EXIT_INTERRUPTED;
    }
    bool nothing = report.rejected != 0 && report.appended + report.duplicate == 0;
    code = code == EXIT_DONE ? of_views : code;
    return code == EXIT_DONE && nothing ? EXIT_DATA : code;
}
