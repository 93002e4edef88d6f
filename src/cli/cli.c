// SPDX-License-Identifier: MIT OR Apache-2.0
// What the subcommands share.
#include "cli.h"

#include <errno.h>
#include <fr/buffer.h>
#include <fr/export.h>
#include <fr/os.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool cli_stop;
volatile int cli_stop_signal;

int cli_exit_of(freshet_status status)
{
    switch (status) {
        case FRESHET_OK:
        case FRESHET_END: return EXIT_DONE;
        case FRESHET_INVALID: return EXIT_USAGE;
        case FRESHET_MALFORMED:
        case FRESHET_CORRUPT: return EXIT_DATA;
        case FRESHET_LIMIT: return EXIT_BOUND;
        default: return EXIT_SYSTEM;
    }
}

const char *cli_printable(const char *text)
{
    static fr_buffer room;
    fr_buffer_done(&room);
    fr_buffer_init(&room, SIZE_MAX);
    fr_buffer_printable(&room, fr_slice_text(text));
    fr_buffer_byte(&room, 0);
    return fr_buffer_status(&room, NULL) == FR_OK ? (const char *)room.data : "?";
}

int cli_fail(const char *what, const freshet_error *err)
{
    bool lock = err->code != NULL && strcmp(err->code, "lock") == 0;
    fprintf(stderr, "freshet: %s: %s", cli_printable(what),
            err->text != NULL ? err->text : fr_status_name((fr_status)err->status));
    if (lock && err->os != 0) {
        fprintf(stderr, " (pid %d)", err->os);
    } else if (err->os != 0) {
        fprintf(stderr, ": %s", strerror(err->os));
    }
    if (err->segment != 0) {
        fprintf(stderr, " (segment file %010u, offset %llu)", err->segment,
                (unsigned long long)err->offset);
    } else if (err->status == FRESHET_MALFORMED || err->status == FRESHET_CORRUPT) {
        fprintf(stderr, " (offset %llu)", (unsigned long long)err->offset);
    }
    fprintf(stderr, "\n");
    return cli_exit_of(err->status);
}

int cli_fail_internal(const char *what, fr_status status, const fr_error *err)
{
    freshet_error error;
    fr_error_export(err, &error);
    error.status = (freshet_status)status;
    return cli_fail(what, &error);
}

/* ---- words ----------------------------------------------------------------------------------- */

bool cli_parse_u64(const char *text, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != 0 || errno != 0) {
        return false;
    }
    *out = value;
    return true;
}

const char *cli_absolute(const char *path)
{
    static char room[FR_PATH_MAX];
    char here[FR_PATH_MAX];
    bool told = path[0] != '/' && getcwd(here, sizeof here) != NULL &&
                fr_path(room, sizeof room, NULL, "%s/%s", here, path) == FR_OK;
    return told ? room : path;
}

bool cli_parse_bytes(const char *text, uint64_t *out)
{
    char digits[32];
    size_t size = strlen(text);
    unsigned shift = 0;
    if (size == 0 || size >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, size + 1);
    char unit = digits[size - 1];
    if (unit == 'K' || unit == 'M' || unit == 'G') {
        shift = unit == 'K' ? 10 : unit == 'M' ? 20 : 30;
        digits[size - 1] = 0;
    }
    if (!cli_parse_u64(digits, out) || *out > UINT64_MAX >> shift) {
        return false;
    }
    *out <<= shift;
    return true;
}

bool cli_parse_keep(const char *text, freshet_options *out)
{
    char digits[24];
    uint64_t value = 0;
    size_t size = strlen(text);
    char unit = size == 0 ? '\0' : text[size - 1];
    if (unit != 'd' && unit != 'h') {
        return cli_parse_bytes(text, &out->log_keep_bytes) && out->log_keep_bytes > 0;
    }
    if (size > sizeof digits) {
        return false;
    }
    memcpy(digits, text, size - 1);
    digits[size - 1] = '\0';
    uint64_t unit_s = unit == 'd' ? 86400 : 3600;
    if (!cli_parse_u64(digits, &value) || value == 0 || value > 1000000) {
        return false;
    }
    out->log_keep_s = value * unit_s;
    return true;
}

void cli_take_bytes(struct argp_state *state, const char *value, uint64_t *out)
{
    if (!cli_parse_bytes(value, out)) {
        argp_error(state, "not a number of bytes: %s", cli_printable(value));
    }
}

void cli_take_count(struct argp_state *state, const char *value, const char *what, uint64_t *out)
{
    if (!cli_parse_u64(value, out)) {
        argp_error(state, "not a number of %s: %s", what, cli_printable(value));
    }
}

void cli_take_keep(struct argp_state *state, const char *value, freshet_options *out)
{
    if (!cli_parse_keep(value, out)) {
        argp_error(state, "--log-keep takes a size such as 10G or an age such as 30d, not %s",
                   cli_printable(value));
    }
}

void cli_check_keep(struct argp_state *state, const freshet_options *options)
{
    if (options->archive_dir == NULL && (options->log_keep_bytes | options->log_keep_s) != 0) {
        argp_error(state, "--log-keep needs --archive: nothing goes that no archive holds");
    }
}

bool cli_option_is_for(const struct argp_option *option, const char *verb)
{
    const char *colon = strstr(option->doc, ": ");
    fr_slice verbs = fr_slice_of(option->doc, colon == NULL ? 0 : (size_t)(colon - option->doc));
    while (verbs.size != 0) {
        size_t end = fr_slice_find(verbs, ',');
        if (fr_slice_equal(fr_slice_sub(verbs, 0, end), fr_slice_text(verb))) {
            return true;
        }
        verbs = fr_slice_from(verbs, FR_MIN(end + strlen(", "), verbs.size));
    }
    return colon == NULL;
}

void cli_parse(const struct argp *argp, int argc, char **argv, const char *name, void *input)
{
    static char full[64];
    snprintf(full, sizeof full, "freshet %s", name);
    argv[0] = full;
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(argp, argc, argv, 0, NULL, input) != 0) {
        exit(EXIT_USAGE);
    }
}

/* ---- progress -------------------------------------------------------------------------------- */

static bool progress_shown;

void cli_progress(const char *what, uint64_t done, uint64_t total)
{
    enum { BAR = 30 };
    char bar[BAR + 1];
    if (!isatty(STDERR_FILENO)) {
        return;
    }
    if (total == 0) {
        fprintf(stderr, "\r%-14s %llu", cli_printable(what), (unsigned long long)done);
    } else {
        unsigned filled = (unsigned)((double)FR_MIN(done, total) * BAR / (double)total);
        memset(bar, '#', filled);
        memset(bar + filled, '.', BAR - filled);
        bar[BAR] = 0;
        fprintf(stderr, "\r%-14s [%s] %3.0f%%", cli_printable(what), bar,
                (double)done * 100 / (double)total);
    }
    progress_shown = true;
}

void cli_progress_end(void)
{
    if (progress_shown) {
        fprintf(stderr, "\n");
    }
    progress_shown = false;
}

void cli_on_progress(void *context, const char *phase, uint64_t done, uint64_t total)
{
    (void)context;
    cli_progress(phase, done, total);
}

/* ---- signals --------------------------------------------------------------------------------- */

static uint64_t signalled_ns;

/** The same signal often comes twice, to the process and to its group. One that comes later means
 *  it: nothing acknowledged is lost, and what a checkpoint has not settled is taken from the
 *  log. */
static void on_signal(int number)
{
    const uint64_t same_ns = 1000000000;
    uint64_t now_ns = fr_os_monotonic_ns(fr_os_real());
    if (cli_stop && now_ns - signalled_ns > same_ns) {
        _exit(EXIT_INTERRUPTED);
    }
    signalled_ns = cli_stop ? signalled_ns : now_ns;
    cli_stop_signal = number;
    /* pairs with the sources that look at it */
    __atomic_store_n(&cli_stop, true, __ATOMIC_RELEASE);
}

void cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int cli_await_signal(void)
{
    sigset_t set;
    int number = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    while (sigwait(&set, &number) != 0) {
    }
    cli_catch_signals();
    on_signal(number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return number;
}

static const char *volatile doomed;

static void on_end(int number)
{
    const char *path = doomed;
    if (path != NULL) {
        (void)!fr_os_unlink(fr_os_real(), path, NULL);
    }
    raise(number); /* the action is the default again */
}

void cli_remove_on_signal(const char *path)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGPIPE, SIGTERM};
    struct sigaction before, action = {.sa_handler = on_end, .sa_flags = (int)SA_RESETHAND};
    doomed = path;
    for (size_t i = 0; i < FR_COUNT_OF(numbers) && path != NULL; i++) {
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL) {
            sigaction(numbers[i], &action, NULL);
        }
    }
}
