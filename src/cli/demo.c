// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet demo: a generated network, ingested and served; then its story goes on at a walking pace,
// so that there is something to watch. No internet needed.
#include "serve.h"

#include <fr/buffer.h>
#include <fr/json.h>
#include <fr/log_line.h>
#include <fr/os.h>
#include <fr/simulate.h>
#include <fr/thread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STEP_LINES = 20, STEP_NS = 200000000, CARRY_MAX_BYTES = 8 << 20 };

typedef struct {
    char data[512];
    uint64_t accounts, events, seed;
    uint16_t port;
    freshet *db;
    fr_thread thread;
    bool running;
    fr_buffer carry;   /* of a line that continues in the next piece */
    uint64_t appended; /* lines handed over so far */
} demo;

static const struct argp_option OPTIONS[] = {
    {"data", 'd', "DIR", 0, "data directory (default: freshet-demo in the temporary folder)", 0},
    {"accounts", 'a', "N", 0, "accounts (default 2000)", 0},
    {"events", 'n', "M", 0, "events before it slows down (default 100000)", 0},
    {"seed", 's', "S", 0, "seed (default 1)", 0},
    {"port", 'p', "PORT", 0, "port on 127.0.0.1 (default 8787, the next free one if taken)", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    demo *d = state->input;
    uint64_t number = 0;
    if (key == 'd') {
        snprintf(d->data, sizeof d->data, "%s", value);
        return 0;
    }
    if (key != 'a' && key != 'n' && key != 's' && key != 'p') {
        return ARGP_ERR_UNKNOWN;
    }
    if (!cli_parse_u64(value, &number) || (key == 'p' && number > UINT16_MAX)) {
        argp_error(state, "not a number in range: %s", value);
    }
    switch (key) {
        case 'a': d->accounts = number; break;
        case 'n': d->events = number; break;
        case 's': d->seed = number; break;
        default: d->port = (uint16_t)number;
    }
    return 0;
}

/* ---- the story ------------------------------------------------------------------------------- */

static fr_status append(demo *d, fr_slice lines, fr_error *err)
{
    freshet_error error = {0};
    freshet_report report = {0};
    freshet_status status = freshet_append_lines(d->db, (const char *)lines.data, lines.size,
                                                 &report, NULL, NULL, &error);
    return status == FRESHET_OK ? FR_OK : fr_fail(err, (fr_status)status, "demo: append");
}

/** The first `count` lines of the text. */
static fr_slice first_lines(fr_slice text, uint64_t count, uint64_t *lines)
{
    size_t end = 0;
    *lines = 0;
    while (*lines < count && end < text.size) {
        end += fr_slice_find(fr_slice_from(text, end), '\n') + 1;
        ++*lines;
    }
    return fr_slice_sub(text, 0, end);
}

/** Whole lines only; fast at first, then a few at a time. */
static fr_status take_piece(void *context, fr_slice bytes, fr_error *err)
{
    demo *d = context;
    fr_buffer_slice(&d->carry, bytes);
    FR_TRY(fr_buffer_status(&d->carry, err));
    fr_slice text = fr_buffer_view(&d->carry);
    size_t end = text.size;
    while (end != 0 && text.data[end - 1] != '\n') {
        end--;
    }
    fr_slice whole = fr_slice_sub(text, 0, end);
    while (whole.size != 0) {
        bool fast = d->appended < d->events;
        uint64_t lines = 0;
        fr_slice step = first_lines(whole, fast ? d->events - d->appended : STEP_LINES, &lines);
        FR_TRY(append(d, step, err));
        /* pairs with on_ready */
        __atomic_store_n(&d->appended, d->appended + lines, __ATOMIC_RELEASE);
        whole = fr_slice_from(whole, step.size);
        if (__atomic_load_n(&cli_stop, __ATOMIC_ACQUIRE)) {
            return FR_AGAIN;
        }
        if (!fast) {
            fr_sleep_ns(STEP_NS);
        } else {
            cli_progress("demo", d->appended, d->events);
        }
    }
    size_t rest = text.size - end;
    memmove(d->carry.data, d->carry.data + end, rest);
    d->carry.size = rest;
    return FR_OK;
}

static void *tell_story(void *context)
{
    enum { AFTERWARDS = 4 };
    demo *d = context;
    fr_simulate_options options = {
        .story = {.account_count = (uint32_t)d->accounts,
                  .event_count = d->events * AFTERWARDS,
                  .seed = d->seed},
        .format = FR_SIMULATE_JETSTREAM,
    };
    fr_simulate_sink sink = {.write = take_piece, .context = d};
    fr_simulate_facts facts;
    fr_error error = {0};
    fr_status status = fr_simulate_stream(&options, &sink, &facts, &error);
    if (status != FR_OK && status != FR_AGAIN) {
        fr_log_kv(FR_LOG_ERROR, "demo.story", "error", error.text == NULL ? "failed" : error.text);
    }
    return NULL;
}

/* ---- what to look at ------------------------------------------------------------------------- */

/** Text member of the first element of an array member of the answer. */
static bool first_of(freshet *db, const char *target, const char *array, const char *member,
                     char *out, size_t room)
{
    freshet_answer answer = {0};
    fr_json *json = NULL;
    fr_json_value root;
    fr_json_value items;
    fr_json_value item;
    fr_slice text = {0};
    bool found = false;
    if (freshet_query(db, target, strlen(target), NULL, &answer, NULL) == FRESHET_OK &&
        fr_json_new(&json, NULL) == FR_OK &&
        fr_json_parse(json, fr_slice_of(answer.body, answer.body_size), false, &root, NULL) ==
            FR_OK &&
        fr_json_get(root, array, &items)) {
        fr_json_iter it = fr_json_iterate(items);
        found = fr_json_iter_element(&it, &item) && fr_json_get_string(item, member, &text) &&
                text.size < room;
    }
    if (found) {
        memcpy(out, text.data, text.size);
        out[text.size] = 0;
    }
    fr_json_free(json);
    freshet_answer_free(&answer);
    return found;
}

static void print_urls(freshet *db, const char *address)
{
    char author[256] = "";
    char subject[1024] = "";
    char collection[320] = "";
    char path[512] = "";
    printf("\nopen %s/ in a browser, or try:\n", address);
    if (first_of(db, "/newest?limit=1", "feed", "author", author, sizeof author)) {
        printf("  curl '%s/timeline?did=%s&limit=5'\n", address, author);
        printf("  curl '%s/author?did=%s&limit=5'\n", address, author);
    }
    if (first_of(db, "/links/top?limit=1", "top", "subject", subject, sizeof subject) &&
        first_of(db, "/links/top?limit=1", "top", "collection", collection, sizeof collection) &&
        first_of(db, "/links/top?limit=1", "top", "path", path, sizeof path)) {
        printf("  curl '%s/links/count?target=%s&collection=%s&path=%s'\n", address, subject,
               collection, path);
        printf("  curl '%s/links?target=%s&collection=%s&path=%s&limit=3'\n", address, subject,
               collection, path);
        printf("  curl '%s/links/all/count?target=%s'\n", address, subject);
    }
    printf("  curl '%s/health'\n  curl '%s/metrics'\nCtrl-C ends it.\n", address, address);
    fflush(stdout);
}

static void on_ready(void *context, freshet *db, const char *address)
{
    demo *d = context;
    freshet_progress progress;
    fr_error error = {0};
    d->db = db;
    d->running = fr_thread_start(&d->thread, "fr-demo", tell_story, d, &error) == FR_OK;
    printf("ingesting a generated network of %llu accounts …\n", (unsigned long long)d->accounts);
    fflush(stdout);
    do {
        fr_sleep_ns(STEP_NS / 4);
    } while (__atomic_load_n(&d->appended, __ATOMIC_ACQUIRE) < d->events && !cli_stop);
    cli_progress_end();
    freshet_progress_of(db, &progress);
    printf("%llu events are in the log; the story goes on at about %d a second\n",
           (unsigned long long)progress.seq, (int)(STEP_LINES * (1000000000 / STEP_NS)));
    print_urls(db, address);
}

static void on_stop(void *context)
{
    demo *d = context;
    __atomic_store_n(&cli_stop, true, __ATOMIC_RELEASE);
    if (d->running) {
        fr_thread_join(d->thread);
    }
}

static uint64_t wall_us(void)
{
    return fr_os_wall_us(fr_os_real());
}

int cli_demo(int argc, char **argv)
{
    static const struct argp argp = {
        OPTIONS, parse_option, "",  "Generates a network, ingests it and serves it on 127.0.0.1.",
        NULL,    NULL,         NULL};
    static demo d = {.accounts = 2000, .events = 100000, .seed = 1, .port = 8787};
    const char *temporary = getenv("TMPDIR");
    snprintf(d.data, sizeof d.data, "%s/freshet-demo-%u", temporary == NULL ? "/tmp" : temporary,
             getuid());
    cli_parse(&argp, argc, argv, "demo", &d);
    fr_log_line_setup(FR_LOG_WARN, false, wall_us);
    fr_buffer_init(&d.carry, CARRY_MAX_BYTES);
    printf("freshet demo: data in %s\n", d.data);
    cli_daemon daemon = {
        .db = {.data_dir = d.data},
        .server = {.port = d.port, .next_free_port = true},
        .on_ready = on_ready,
        .on_stop = on_stop,
        .context = &d,
    };
    int code = cli_daemon_run(&daemon);
    fr_buffer_done(&d.carry);
    return code == EXIT_INTERRUPTED ? EXIT_DONE : code;
}
