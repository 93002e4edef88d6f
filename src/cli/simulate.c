// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet simulate: a generated network, the same bytes for the same arguments on every machine.
#include "cli.h"

#include <errno.h>
#include <fr/os.h>
#include <fr/simulate.h>
#include <stdio.h>

typedef struct {
    fr_simulate_options simulate;
    const char *format, *out;
    uint64_t accounts;
} arguments;

static const struct argp_option OPTIONS[] = {
    {"accounts", 'a', "N", 0, "accounts (default 1000)", 0},
    {"events", 'n', "M", 0, "record, identity and account events together (default 100000)", 0},
    {"seed", 's', "S", 0, "seed (default 1)", 0},
    {"format", 'f', "FORMAT", 0, "jetstream (default), frames or car", 0},
    {"out", 'o', "PATH", 0, "file, folder for car, or - for standard output", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
        case 'a':
        case 'n':
        case 's': {
            uint64_t *to = key == 'a'   ? &args->accounts
                           : key == 'n' ? &args->simulate.story.event_count
                                        : &args->simulate.story.seed;
            if (!cli_parse_u64(value, to)) {
                argp_error(state, "not a number: %s", value);
            }
            return 0;
        }
        case 'f':
            if (!fr_simulate_format_parse(value, &args->simulate.format)) {
                argp_error(state, "--format takes jetstream, frames or car, not %s", value);
            }
            return 0;
        case 'o': args->out = value; return 0;
        case ARGP_KEY_END:
            if (args->out == NULL) {
                argp_error(state, "--out is needed");
            }
            if (args->accounts == 0 || args->accounts > FR_SIMULATE_ACCOUNTS_MAX) {
                argp_error(state, "--accounts is out of range");
            }
            return 0;
        default: return ARGP_ERR_UNKNOWN;
    }
}

static fr_status on_events(void *context, uint64_t events, uint64_t count)
{
    (void)context;
    cli_progress("simulate", events, count);
    return cli_stop ? FR_AGAIN : FR_OK;
}

static fr_status to_stdout(void *context, fr_slice bytes, fr_error *err)
{
    (void)context;
    bool written = fwrite(bytes.data, 1, bytes.size, stdout) == bytes.size;
    return written ? FR_OK : fr_fail_os(err, errno, "standard output");
}

int cli_simulate(int argc, char **argv)
{
    static const struct argp argp = {
        OPTIONS, parse_option,
        "",      "Writes a deterministic network; frames and car also write PATH.did-docs.json.",
        NULL,    NULL,
        NULL};
    arguments args = {.accounts = 1000};
    fr_error error = {0};
    fr_status status;
    args.simulate.format = FR_SIMULATE_JETSTREAM;
    args.simulate.story.event_count = 100000;
    args.simulate.story.seed = 1;
    args.simulate.progress = on_events;
    cli_parse(&argp, argc, argv, "simulate", &args);
    args.simulate.story.account_count = (uint32_t)args.accounts;
    cli_catch_signals();
    if (strcmp(args.out, "-") == 0) {
        fr_simulate_sink sink = {.write = to_stdout};
        fr_simulate_facts facts;
        status = fr_simulate_stream(&args.simulate, &sink, &facts, &error);
        if (status == FR_OK && fflush(stdout) != 0) {
            status = fr_fail_os(&error, errno, "standard output");
        }
    } else {
        status = fr_simulate_path(&args.simulate, fr_os_real(), args.out, NULL, &error);
    }
    cli_progress_end();
    if (cli_stop) {
        return EXIT_INTERRUPTED;
    }
    return status == FR_OK ? EXIT_DONE : cli_fail_internal(args.out, status, &error);
}
