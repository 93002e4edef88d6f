// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet log VERB: what can be known of a log and done to it. dump, stat, verify and export work
// beside a daemon, on the durable prefix; the others take DIR/LOCK.
#include "cli.h"

#include <fr/codec.h>
#include <fr/compress.h>
#include <fr/log.h>
#include <fr/os.h>
#include <stdio.h>
#include <stdlib.h>

enum { OPTION_AT = 256, OPTION_YES, OPTION_JSON, OPTION_LEVEL, OPTION_SINCE, OPTION_UNTIL };

typedef struct {
    const char *verb, *data, *out, *archive;
    uint64_t at, level;
    fr_log_dump_options what; /* dump, export */
    bool yes, json;
    char log[FR_PATH_MAX]; /* DATA/log */
} arguments;

/* What stands before the colon are the verbs that take it; the others refuse it. */
static const struct argp_option OPTIONS[] = {
    {"data", 'd', "DIR", 0, "data directory", 0},
    {"from", 'f', "SEQ", 0, "dump, export: first sequence (default: the first there is)", 0},
    {"count", 'n', "N", 0, "dump, export: at most so many events", 0},
    {"since", OPTION_SINCE, "TIME", 0, "dump, export: events of that time (RFC 3339) and later", 0},
    {"until", OPTION_UNTIL, "TIME", 0, "dump, export: events before that time", 0},
    {"out", 'o', "FILE", 0, "dump, export: where to (default -); FILE.zst is compressed", 0},
    {"at", OPTION_AT, "SEQ", 0, "cut: in front of the frame of that event, not of damage", 0},
    {"yes", OPTION_YES, 0, 0, "cut: do it, not only say what it would do", 0},
    {"level", OPTION_LEVEL, "1..19", 0, "compact: level of zstd (default 12)", 0},
    {"archive", 'a', "DIR", 0, "restore, seal: the archive, copied from or to", 0},
    {"json", OPTION_JSON, 0, 0, "verify, stat, cut, seal, compact, restore: one JSON object", 0},
    {0},
};

static bool parse_time(const char *text, uint64_t *out)
{
    int64_t us = 0;
    if (!fr_time_parse(fr_slice_text(text), &us) || us < 0) {
        return false;
    }
    *out = (uint64_t)us;
    return true;
}

static bool parse_number(arguments *args, int key, const char *value)
{
    switch (key) {
        case 'f': return cli_parse_u64(value, &args->what.from_seq);
        case 'n': return cli_parse_u64(value, &args->what.count) && args->what.count > 0;
        case OPTION_AT: return cli_parse_u64(value, &args->at) && args->at > 0;
        case OPTION_LEVEL:
            return cli_parse_u64(value, &args->level) && args->level >= 1 && args->level <= 19;
        case OPTION_SINCE: return parse_time(value, &args->what.since_us);
        default: return parse_time(value, &args->what.until_us);
    }
}

static void check_verb(const arguments *args, int key, struct argp_state *state)
{
    for (const struct argp_option *option = OPTIONS; option->name != NULL; option++) {
        if (option->key == key && !cli_option_is_for(option, args->verb)) {
            argp_error(state, "--%s is not for log %s", option->name, args->verb);
        }
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    arguments *args = state->input;
    check_verb(args, key, state);
    switch (key) {
        case 'd': args->data = value; return 0;
        case 'o': args->out = value; return 0;
        case 'a': args->archive = cli_absolute(value); return 0;
        case OPTION_YES: args->yes = true; return 0;
        case OPTION_JSON: args->json = true; return 0;
        case 'f':
        case 'n':
        case OPTION_AT:
        case OPTION_LEVEL:
        case OPTION_SINCE:
        case OPTION_UNTIL:
            if (!parse_number(args, key, value)) {
                argp_error(state, "not a number or time that fits here: %s", value);
            }
            return 0;
        case ARGP_KEY_END:
            if (args->data == NULL) {
                argp_error(state, "--data is needed");
            }
            return 0;
        default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- events out ------------------------------------------------------------------------------ */

typedef struct {
    FILE *to;
    fr_zstd_writer *zstd; /* NULL: plain */
    fr_buffer text, packed;
    bool failed;
} sink;

enum { SINK_BYTES = 1 << 20, SINK_BYTES_MAX = 32 << 20 };

static void flush_sink(sink *s)
{
    fr_slice bytes = fr_buffer_view(&s->text);
    if (bytes.size > 0 && s->zstd != NULL) {
        fr_buffer_reset(&s->packed);
        s->failed = s->failed || fr_zstd_compress(s->zstd, bytes, &s->packed, NULL) != FR_OK;
        bytes = fr_buffer_view(&s->packed);
    }
    s->failed = s->failed || fwrite(bytes.data, 1, bytes.size, s->to) != bytes.size;
    fr_buffer_reset(&s->text);
}

static bool put_line(void *context, fr_slice json)
{
    sink *s = context;
    fr_buffer_slice(&s->text, json);
    fr_buffer_byte(&s->text, '\n');
    s->failed = s->failed || s->text.failed;
    if (s->text.size >= SINK_BYTES) {
        flush_sink(s);
    }
    return !s->failed;
}

/* What was read before damage is written before it is named. */
static int write_to(const arguments *args, sink *s)
{
    char place[FR_PATH_MAX + 32];
    fr_error error = {0};
    fr_log_dump_options what = args->what;
    what.line = put_line;
    what.context = s;
    what.stop = &cli_stop;
    fr_status status = fr_log_dump(fr_os_real(), args->log, &what, place, &error);
    flush_sink(s);
    s->failed = fflush(s->to) != 0 || s->failed;
    if (status != FR_OK) {
        return cli_fail_internal(place[0] != '\0' ? place : args->data, status, &error);
    }
    if (s->failed) {
        fprintf(stderr, "freshet: the output cannot be written\n");
        return EXIT_SYSTEM;
    }
    return cli_stop ? EXIT_INTERRUPTED : EXIT_DONE;
}

static int write_log(const arguments *args)
{
    sink s = {.to = stdout};
    int code = EXIT_SYSTEM;
    bool to_file = args->out != NULL && strcmp(args->out, "-") != 0;
    size_t size = to_file ? strlen(args->out) : 0;
    cli_catch_signals();
    fr_buffer_init(&s.text, SINK_BYTES_MAX);
    fr_buffer_init(&s.packed, SINK_BYTES_MAX * 2);
    bool packs = size > 4 && strcmp(args->out + size - 4, ".zst") == 0;
    if (to_file && (s.to = fopen(args->out, "wbe")) == NULL) {
        perror(args->out);
    } else if (!packs || fr_zstd_writer_new(&s.zstd, 3, (fr_slice){0}, NULL) == FR_OK) {
        code = write_to(args, &s);
    }
    if (to_file && s.to != NULL && fclose(s.to) != 0 && code == EXIT_DONE) {
        perror(args->out);
        code = EXIT_SYSTEM;
    }
    fr_zstd_writer_free(s.zstd);
    fr_buffer_done(&s.text);
    fr_buffer_done(&s.packed);
    return code;
}

/* ---- facts ----------------------------------------------------------------------------------- */

static void print_stat(const fr_log_stat *stat, const char *before)
{
    fr_buffer text;
    fr_buffer_init(&text, 4096);
    fr_log_stat_put(stat, &text);
    printf("{%s%.*s}\n", before, FR_SLICE_ARG(fr_buffer_view(&text)));
    fr_buffer_done(&text);
}

static void print_bad(const char *place, const char *why)
{
    fr_buffer text;
    fr_buffer_init(&text, 64 << 10);
    fr_buffer_text(&text, "{\"ok\":false,\"place\":");
    fr_buffer_json_string(&text, fr_slice_text(place));
    fr_buffer_text(&text, ",\"reason\":");
    fr_buffer_json_string(&text, fr_slice_text(why));
    printf("%.*s}\n", FR_SLICE_ARG(fr_buffer_view(&text)));
    fr_buffer_done(&text);
}

static int verify_log(const arguments *args)
{
    char place[FR_PATH_MAX + 32];
    fr_log_stat stat;
    fr_error error = {0};
    fr_status status = fr_log_verify(fr_os_real(), args->log, &stat, place, &error);
    if ((status == FR_CORRUPT || status == FR_NOT_FOUND) && args->json) {
        print_bad(place, error.text);
    }
    if (status != FR_OK) {
        return cli_fail_internal(status == FR_CORRUPT && place[0] != '\0' ? place : args->data,
                                 status, &error);
    }
    if (stat.cut_bytes > 0) {
        fprintf(
            stderr,
            "freshet: %s: a torn tail of %llu bytes, of which nothing in the log says that they "
            "were durable; the next opening cuts it\n",
            stat.cut_place, (unsigned long long)stat.cut_bytes);
    }
    if (args->json) {
        print_stat(&stat, "\"ok\":true,");
    } else {
        printf("ok: %llu events, sequences %llu to %llu, in %llu segments, %llu of them sealed; "
               "%llu bytes\n",
               (unsigned long long)stat.events, (unsigned long long)stat.first_seq,
               (unsigned long long)stat.last_seq, (unsigned long long)stat.segments,
               (unsigned long long)stat.sealed, (unsigned long long)stat.bytes);
    }
    return EXIT_DONE;
}

static int stat_log(const arguments *args)
{
    char text[FRESHET_LOG_STAT_BYTES];
    freshet_error error = {0};
    if (freshet_log_stat(args->data, text, sizeof text, &error) != FRESHET_OK) {
        return cli_fail(args->data, &error);
    }
    puts(text);
    return EXIT_DONE;
}

/* ---- changes: under the lock ----------------------------------------------------------------- */

static int fail_not_found(const char *what, const char *why)
{
    const fr_error error = {.text = why};
    return cli_fail_internal(what, FR_NOT_FOUND, &error);
}

/* Backfills note what the log holds, which it soon does no more: asked before, so that no crash in
 * between forgets it. A log is mended also where they cannot be asked. */
static void list_again(const arguments *args)
{
    freshet_error error = {0};
    uint64_t count = 0;
    if (freshet_backfill_retry(args->data, true, &count, &error) != FRESHET_OK) {
        (void)cli_fail(args->data, &error);
        fprintf(stderr, "freshet: backfills do not know of the cut: what they loaded behind it "
                        "comes back only after DIR/backfill is removed\n");
    } else if (count > 0) {
        fprintf(stderr,
                "freshet: repositories that were loaded may go with the end of the log: when "
                "their backfill starts next all are listed again, and what is gone is loaded\n");
    }
}

static int cut_log(const arguments *args)
{
    fr_log_cut_report report;
    fr_error error = {0};
    fr_status status = fr_log_cut(fr_os_real(), args->log, args->at, true, &report, &error);
    if (status == FR_END) {
        puts(args->json ? "{\"cut\":false}" : "nothing to cut");
        return EXIT_DONE;
    }
    if (status == FR_OK && args->yes) {
        list_again(args);
        status = fr_log_cut(fr_os_real(), args->log, args->at, false, &report, &error);
    }
    if (status != FR_OK) {
        return cli_fail_internal(args->data, status, &error);
    }
    if (args->json) {
        printf("{\"cut\":%s,\"first_seq\":%llu,\"events\":%llu,\"segments\":%llu}\n",
               args->yes ? "true" : "false", (unsigned long long)report.first_seq,
               (unsigned long long)report.events, (unsigned long long)report.segments);
    } else {
        printf(
            "%s%s%s\n%s event %llu and all behind it (%llu segment files, at least %llu events)\n",
            report.place, report.why[0] == '\0' ? "" : ": ", report.why,
            args->yes ? "cut off:" : "this would cut off", (unsigned long long)report.first_seq,
            (unsigned long long)report.segments, (unsigned long long)report.events);
        printf(args->yes ? "kept in %s\n" : "files would be kept in %s; say --yes to do it\n",
               report.kept);
    }
    return args->yes ? EXIT_DONE : EXIT_DATA;
}

static fr_status seal_all(const arguments *args, fr_log *log, uint64_t *sealed, fr_error *err)
{
    fr_status status = fr_log_roll(log, err);
    while (status == FR_OK && !cli_stop) {
        status = fr_log_seal_next(log, err);
        *sealed += status == FR_OK;
    }
    status = status == FR_END ? FR_OK : status;
    while (status == FR_OK && args->archive != NULL && !cli_stop) {
        status = fr_log_archive_next(log, args->archive, err);
    }
    return status == FR_END ? FR_OK : status;
}

static int print_done(const arguments *args, fr_status status, const char *what, uint64_t count,
                      const fr_error *error)
{
    fr_log_stat stat;
    if (status != FR_OK) {
        return cli_fail_internal(args->data, status, error);
    }
    fr_error bad = {0};
    if (fr_log_stat_dir(fr_os_real(), args->log, &stat, &bad) != FR_OK) {
        return cli_fail_internal(args->data, bad.status, &bad);
    }
    if (args->json) {
        char before[64];
        snprintf(before, sizeof before, "\"%s\":%llu,", what, (unsigned long long)count);
        print_stat(&stat, before);
    } else {
        printf("%llu segments %s; %llu events in %llu bytes, %llu unsealed\n",
               (unsigned long long)count, what, (unsigned long long)stat.events,
               (unsigned long long)stat.bytes, (unsigned long long)stat.raw_bytes);
    }
    return cli_stop ? EXIT_INTERRUPTED : EXIT_DONE;
}

static fr_status open_and_seal(const arguments *args, uint64_t *sealed, fr_error *err)
{
    fr_log *log = NULL;
    FR_TRY(fr_log_open(&log, fr_os_real(), args->log, 0, err));
    fr_status status = seal_all(args, log, sealed, err);
    fr_status closed = fr_log_close(log, status == FR_OK ? err : NULL);
    return status == FR_OK ? closed : status;
}

static int seal_log(const arguments *args)
{
    uint64_t sealed = 0;
    fr_error error = {0};
    fr_status status = open_and_seal(args, &sealed, &error);
    return print_done(args, status, "newly_sealed", sealed, &error);
}

static int compact_log(const arguments *args)
{
    uint64_t sealed = 0, rewritten = 0;
    fr_error error = {0};
    fr_status status = open_and_seal(args, &sealed, &error);
    if (status == FR_OK) {
        int level = args->level == 0 ? 12 : (int)args->level;
        status = fr_log_recompress(fr_os_real(), args->log, level, &cli_stop, &rewritten, &error);
        status = status == FR_AGAIN && cli_stop ? FR_OK : status;
    }
    return print_done(args, status, "rewritten", rewritten, &error);
}

static int restore_log(const arguments *args)
{
    uint64_t restored = 0;
    fr_error error = {0};
    fr_status status = fr_log_restore(fr_os_real(), args->log, args->archive, &restored, &error);
    if (status == FR_CORRUPT) { /* what is missing in one folder is a file of the other */
        char both[2 * FR_PATH_MAX + 8];
        snprintf(both, sizeof both, "%s, from %s", args->data, args->archive);
        return cli_fail_internal(both, status, &error);
    }
    return print_done(args, status, "restored", restored, &error);
}

/* ---- the command ----------------------------------------------------------------------------- */

/* What a verb needs before the directory is locked: a log, or where one is to come from. */
static int prepare(const arguments *args, bool restores)
{
    fr_error error = {0};
    if (!restores) {
        return fr_os_is_dir(fr_os_real(), args->log) ? EXIT_DONE
                                                     : fail_not_found(args->data, "no log there");
    }
    if (args->archive == NULL) {
        fprintf(stderr, "freshet: restore needs --archive DIR\n");
        return EXIT_USAGE;
    }
    if (!fr_os_is_dir(fr_os_real(), args->archive)) {
        return fail_not_found(args->archive, "no such folder");
    }
    fr_status status = fr_os_mkdir_synced(fr_os_real(), args->data, &error);
    return status == FR_OK ? EXIT_DONE : cli_fail_internal(args->data, status, &error);
}

static int locked(const arguments *args, int (*run)(const arguments *))
{
    freshet_lock *lock = NULL;
    freshet_error error = {0};
    int code = prepare(args, run == restore_log);
    if (code == EXIT_DONE) {
        code = freshet_data_lock(&lock, args->data, &error) == FRESHET_OK
                   ? run(args)
                   : cli_fail(args->data, &error);
    }
    freshet_data_unlock(lock);
    return code;
}

static const struct {
    const char *name;
    int (*run)(const arguments *);
    bool locks;
} VERBS[] = {
    {"verify", verify_log, false}, {"stat", stat_log, false},      {"dump", write_log, false},
    {"export", write_log, false},  {"seal", seal_log, true},       {"compact", compact_log, true},
    {"cut", cut_log, true},        {"restore", restore_log, true},
};

int cli_log(int argc, char **argv)
{
    static const struct argp argp = {
        OPTIONS,
        parse_option,
        "",
        "verify: reads every byte, names the first bad one.  stat: one JSON object.  dump, export: "
        "one JSON object a line, in Jetstream's shape, with seq.  seal: compresses all there is.  "
        "compact: and again, smaller.  cut: takes damage, or all from a sequence on, off the end.  "
        "restore: brings segments back from an archive.",
        NULL,
        NULL,
        NULL};
    static arguments args;
    char name[32];
    for (size_t i = 0; argc > 1 && i < FR_COUNT_OF(VERBS); i++) {
        if (strcmp(argv[1], VERBS[i].name) == 0) {
            snprintf(name, sizeof name, "log %s", VERBS[i].name);
            args.verb = VERBS[i].name;
            cli_parse(&argp, argc - 1, argv + 1, name, &args);
            if (fr_path(args.log, sizeof args.log, NULL, "%s/log", args.data) != FR_OK) {
                return EXIT_USAGE;
            }
            freshet_error error = {0};
            if (freshet_data_check(args.data, &error) != FRESHET_OK) {
                return cli_fail(args.data, &error);
            }
            cli_catch_signals();
            return VERBS[i].locks ? locked(&args, VERBS[i].run) : VERBS[i].run(&args);
        }
    }
    fprintf(stderr,
            "usage: freshet log verify|stat|dump|export|seal|compact|cut|restore --data DIR "
            "[OPTION…]\n");
    return argc > 1 && strcmp(argv[1], "--help") == 0 ? EXIT_DONE : EXIT_USAGE;
}
