// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet serve: the daemon.
#include "serve.h"

#include <fr/log_line.h>
#include <fr/os.h>
#include <fr/thread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the daemon ------------------------------------------------------------------------------ */

typedef struct {
    fr_server *server;
    fr_status status;
    fr_error error;
} loop;

static void *run_loop(void *context)
{
    loop *l = context;
    l->status = fr_server_run(l->server, &l->error);
    return NULL;
}

/** Signals are blocked while the engine opens; one that waits ends the opening. */
static bool stop_opening;

static bool signal_waits(void)
{
    sigset_t set;
    return sigpending(&set) == 0 &&
           (sigismember(&set, SIGTERM) == 1 || sigismember(&set, SIGINT) == 1);
}

static void on_catch_up(void *context, const char *phase, uint64_t done, uint64_t total)
{
    __atomic_store_n(&stop_opening, signal_waits(), __ATOMIC_RELEASE);
    fr_server_set_phase(context, phase, done, total);
    cli_progress(phase, done, total);
}

static void on_fallback(void *context, const char *part, const char *from, const char *why)
{
    (void)context;
    if (from == NULL) {
        fr_log_kv(FR_LOG_ERROR, "engine.left-out", "part", part, "why", why);
    } else {
        fr_log_kv(FR_LOG_WARN, "engine.fallback", "part", part, "from", from, "why", why);
    }
}

static void on_trouble(void *context, const char *state, const char *why)
{
    (void)context;
    bool checkpoint = strncmp(state, "checkpoint-", 11) == 0; /* writing goes on */
    fr_log_kv(why == NULL ? FR_LOG_INFO : FR_LOG_ERROR,
              checkpoint ? "engine.checkpoint" : "engine.writing", "state", state, "reason",
              why == NULL ? "" : why);
}

static void on_slow(void *context, const freshet_slow *slow)
{
    const uint64_t values[] = {slow->events,    slow->total_us, slow->settle_us,
                               slow->append_us, slow->fold_us,  slow->sync_us};
    char texts[FR_COUNT_OF(values)][24];
    (void)context;
    for (size_t i = 0; i < FR_COUNT_OF(values); i++) {
        snprintf(texts[i], sizeof texts[i], "%llu", (unsigned long long)values[i]);
    }
    fr_log_kv(FR_LOG_WARN, "engine.slow", "what", slow->what, "events", texts[0], "total_us",
              texts[1], "settle_us", texts[2], "append_us", texts[3], "fold_us", texts[4],
              "sync_us", texts[5]);
}

static uint64_t wall_us(void)
{
    return fr_os_wall_us(fr_os_real());
}

static void on_source_reject(void *context, const char *place, const freshet_error *err)
{
    (void)context;
    fr_log_kv(FR_LOG_WARN, "source.reject", "place", place, "code",
              err->code == NULL ? "" : err->code, "reason", err->text == NULL ? "" : err->text);
}

static void on_source_state(void *context, const char *source, const char *state,
                            const freshet_error *why)
{
    bool trouble = why->status != FRESHET_OK;
    (void)context;
    fr_log_kv(trouble ? FR_LOG_WARN : FR_LOG_INFO, "source.state", "source", source, "state", state,
              "code", why->code == NULL ? "" : why->code, "reason",
              !trouble            ? ""
              : why->text != NULL ? why->text
                                  : fr_status_name((fr_status)why->status));
}

static int start_sources(const cli_daemon *daemon, freshet *db)
{
    for (size_t i = 0; i < daemon->source_count; i++) {
        freshet_error error = {0};
        freshet_source_options options = {
            .spec = daemon->sources[i],
            .did_docs = daemon->did_docs,
            .plc_url = daemon->plc_url,
            .zstd_dictionary = daemon->zstd_dictionary,
            .on_reject = on_source_reject,
            .on_state = on_source_state,
        };
        if (freshet_source_start(db, &options, &error) != FRESHET_OK) {
            return cli_fail(daemon->sources[i], &error);
        }
        fr_log_kv(FR_LOG_INFO, "source.start", "source", daemon->sources[i]);
    }
    return EXIT_DONE;
}

static int start_backfills(const cli_daemon *daemon, freshet *db)
{
    cli_backfills backfills = daemon->backfills;
    backfills.options.did_docs = daemon->did_docs;
    backfills.options.plc_url = daemon->plc_url;
    backfills.options.keep = true;
    backfills.options.on_reject = on_source_reject;
    backfills.options.on_state = on_source_state;
    return cli_backfills_start(&backfills, db, NULL);
}

static int exit_of_signal(int number)
{
    fr_log_kv(FR_LOG_INFO, "serve.stop", "signal", number == SIGTERM ? "SIGTERM" : "SIGINT");
    return number == SIGTERM ? EXIT_DONE : EXIT_INTERRUPTED;
}

/** DIR/address: where commands find the daemon that holds DIR/LOCK. */
static void write_address(const cli_daemon *daemon, const char *host, uint16_t port)
{
    char path[FR_PATH_MAX];
    char text[320];
    int size = snprintf(text, sizeof text, "%s %u\n", host, port);
    if (fr_path(path, sizeof path, NULL, "%s/address", daemon->db.data_dir) == FR_OK) {
        (void)!fr_os_write_file_atomic(fr_os_real(), path, fr_slice_of(text, (size_t)size), NULL);
    }
}

static int serve_until_signal(const cli_daemon *daemon, fr_server *server, freshet *db)
{
    char address[320];
    const char *host = daemon->server.host == NULL ? "127.0.0.1" : daemon->server.host;
    bool v6 = strchr(host, ':') != NULL;
    int code = start_sources(daemon, db);
    code = code == EXIT_DONE ? start_backfills(daemon, db) : code;
    if (code != EXIT_DONE) {
        return code;
    }
    snprintf(address, sizeof address, v6 ? "http://[%s]:%u" : "http://%s:%u", host,
             fr_server_port(server));
    write_address(daemon, host, fr_server_port(server));
    printf("listening on %s\n", address);
    fflush(stdout);
    if (daemon->on_ready != NULL) {
        daemon->on_ready(daemon->context, db, address);
    }
    return exit_of_signal(cli_await_signal());
}

static void warn_of_beginning(freshet *db)
{
    freshet_progress progress;
    char first[24];
    freshet_progress_of(db, &progress);
    if (progress.first_seq > 1) {
        snprintf(first, sizeof first, "%llu", (unsigned long long)progress.first_seq);
        fr_log_kv(FR_LOG_WARN, "log.beginning", "first_seq", first, "why", CLI_NO_BEGINNING);
    }
}

static int open_and_serve(const cli_daemon *daemon, fr_server *server, loop *l, fr_thread thread)
{
    freshet *db = NULL;
    freshet_error error = {0};
    freshet_options options = daemon->db;
    options.on_progress = on_catch_up;
    options.progress_context = server;
    options.on_slow = on_slow;
    options.on_fallback = on_fallback;
    options.on_trouble = on_trouble;
    options.stop = &stop_opening;
    fr_server_set_phase(server, "catching-up", 0, 0);
    int code = EXIT_DONE;
    bool stopped = false;
    if (freshet_open(&db, &options, &error) != FRESHET_OK) {
        stopped = __atomic_load_n(&stop_opening, __ATOMIC_ACQUIRE);
        code = stopped ? exit_of_signal(cli_await_signal()) : cli_fail(options.data_dir, &error);
    }
    cli_progress_end();
    if (code == EXIT_DONE && !stopped) {
        warn_of_beginning(db);
        fr_server_attach(server, db);
        code = serve_until_signal(daemon, server, db);
    }
    if (daemon->on_stop != NULL) {
        daemon->on_stop(daemon->context);
    }
    fr_server_stop(server);
    fr_thread_join(thread);
    if (l->status != FR_OK) {
        code = cli_fail_internal("server", l->status, &l->error);
    }
    if (freshet_close(db, &error) != FRESHET_OK) {
        code = cli_fail(options.data_dir, &error);
    }
    return code;
}

int cli_daemon_run(const cli_daemon *daemon)
{
    sigset_t set;
    loop l = {0};
    fr_thread thread;
    fr_error error = {0};
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    fr_status status = fr_server_open(&l.server, &daemon->server, &error);
    if (status != FR_OK) {
        return cli_fail_internal("listen", status, &error);
    }
    status = fr_thread_start(&thread, "fr-server", run_loop, &l, &error);
    if (status != FR_OK) {
        fr_server_close(l.server);
        return cli_fail_internal("server", status, &error);
    }
    int code = open_and_serve(daemon, l.server, &l, thread);
    fr_server_close(l.server);
    return code;
}

/* ---- the command ----------------------------------------------------------------------------- */

enum {
    OPTION_LOG_LEVEL = 256,
    OPTION_LOG_FORMAT,
    OPTION_DICTIONARY,
    OPTION_PLC,
    OPTION_RETENTION,
    OPTION_CHECKPOINT,
    OPTION_ARCHIVE,
    OPTION_LOG_KEEP,
    OPTION_ADMIN_TOKEN
};

static const struct argp_option OPTIONS[] = {
    {"data", 'd', "DIR", 0, "data directory, made when absent", 0},
    {"listen", 'l', "HOST:PORT", 0, "address (default 127.0.0.1:8787); port 0 takes a free one", 0},
    {"source", 's', "KIND:FILE-or-URL", 0,
     "firehose:wss://HOST, jetstream:wss://…, jetstream:FILE, frames:FILE, car:FILE-or-FOLDER; may "
     "be repeated",
     0},
    {"did-docs", 'k', "FILE", 0, "JSON map did -> DID document: keys for signatures", 0},
    {"plc", OPTION_PLC, "URL", 0, "PLC directory: keys and hosts of accounts, over HTTP", 0},
    {"zstd-dictionary", OPTION_DICTIONARY, "FILE", 0,
     "Jetstream's published dictionary: ask for compression", 0},
    {"mem", 'm', "BYTES", 0, "memory budget, with K, M or G (default 1G)", 0},
    {"retention", OPTION_RETENTION, "SECONDS", 0,
     "posts older than this leave timelines (default: none do)", 0},
    {"checkpoint-events", OPTION_CHECKPOINT, "N", 0,
     "save views after so many events (default 2000000), and each minute", 0},
    {"archive", OPTION_ARCHIVE, "DIR", 0, "copy sealed segments of the log there", 0},
    {"log-keep", OPTION_LOG_KEEP, "BYTES-or-AGE", 0,
     "with --archive: drop older segments here, e.g. 10G, 30d or 12h; may be given for both", 0},
    {"admin-token-file", OPTION_ADMIN_TOKEN, "FILE", 0,
     "there are admin routes, for whoever sends what stands in it", 0},
    {"log-level", OPTION_LOG_LEVEL, "LEVEL", 0, "debug, info (default), warn or error", 0},
    {"log-format", OPTION_LOG_FORMAT, "FORMAT", 0, "text (default) or json", 0},
    {0},
};

typedef struct {
    cli_daemon daemon;
    fr_log_level level;
    bool json;
    char host[256];
} arguments;

/** HOST:PORT, [V6]:PORT or PORT alone. */
static bool take_address(arguments *args, const char *text)
{
    const char *colon = strrchr(text, ':');
    const char *port = colon == NULL ? text : colon + 1;
    uint64_t number = 0;
    if (!cli_parse_u64(port, &number) || number > UINT16_MAX) {
        return false;
    }
    size_t size = colon == NULL ? 0 : (size_t)(colon - text);
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size >= sizeof args->host) {
        return false;
    }
    memcpy(args->host, text, size);
    args->host[size] = 0;
    args->daemon.server.host = size == 0 ? NULL : args->host;
    args->daemon.server.port = (uint16_t)number;
    return true;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    arguments *args = state->input;
    cli_daemon *daemon = &args->daemon;
    switch (key) {
        case ARGP_KEY_INIT: state->child_inputs[0] = &daemon->backfills; return 0;
        case 'd': daemon->db.data_dir = value; return 0;
        case 'l':
            if (!take_address(args, value)) {
                argp_error(state, "--listen takes HOST:PORT, not %s", value);
            }
            return 0;
        case 's':
            if (daemon->source_count == CLI_SOURCES_MAX) {
                argp_error(state, "at most %d sources", CLI_SOURCES_MAX);
            }
            daemon->sources[daemon->source_count++] = value;
            return 0;
        case 'k': daemon->did_docs = value; return 0;
        case OPTION_PLC: daemon->plc_url = value; return 0;
        case OPTION_DICTIONARY: daemon->zstd_dictionary = value; return 0;
        case 'm': cli_take_bytes(state, value, &daemon->db.memory_bytes); return 0;
        case OPTION_CHECKPOINT:
            cli_take_count(state, value, "events", &daemon->db.checkpoint_events);
            return 0;
        case OPTION_RETENTION:
            cli_take_count(state, value, "seconds", &daemon->db.retention_s);
            return 0;
        case OPTION_ARCHIVE: daemon->db.archive_dir = cli_absolute(value); return 0;
        case OPTION_LOG_KEEP: cli_take_keep(state, value, &daemon->db); return 0;
        case OPTION_ADMIN_TOKEN:
            daemon->server.admin_token = cli_read_token(value); /* as long as the process */
            if (daemon->server.admin_token == NULL) {
                exit(EXIT_SYSTEM);
            }
            return 0;
        case OPTION_LOG_LEVEL:
            if (!fr_log_level_parse(value, &args->level)) {
                argp_error(state, "--log-level takes debug, info, warn or error, not %s", value);
            }
            return 0;
        case OPTION_LOG_FORMAT:
            args->json = strcmp(value, "json") == 0;
            if (!args->json && strcmp(value, "text") != 0) {
                argp_error(state, "--log-format takes text or json, not %s", value);
            }
            return 0;
        case ARGP_KEY_END:
            if (daemon->db.data_dir == NULL) {
                argp_error(state, "--data is needed");
            }
            cli_check_keep(state, &daemon->db);
            return 0;
        default: return ARGP_ERR_UNKNOWN;
    }
}

int cli_serve(int argc, char **argv)
{
    static const struct argp argp = {OPTIONS,
                                     parse_option,
                                     "",
                                     "Answers over HTTP and follows sources until SIGTERM.",
                                     CLI_BACKFILL_OPTIONS,
                                     NULL,
                                     NULL};
    static arguments args = {.level = FR_LOG_INFO, .daemon = {.server = {.port = 8787}}};
    cli_parse(&argp, argc, argv, "serve", &args);
    fr_log_line_setup(args.level, args.json, wall_us);
    return cli_daemon_run(&args.daemon);
}
