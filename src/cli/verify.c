// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet verify: one JSON line a view; exit 1 when one differs.
#include "cli.h"

#include <stdio.h>

typedef struct {
    const char *data;
    uint64_t memory_bytes;
} arguments;

static const struct argp_option OPTIONS[] = {
    {"data", 'd', "DIR", 0, "data directory", 0},
    {"mem", 'm', "BYTES", 0, "memory budget, with K, M or G", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
        case 'd': args->data = value; return 0;
        case 'm': cli_take_bytes(state, value, &args->memory_bytes); return 0;
        case ARGP_KEY_END:
            if (args->data == NULL) {
                argp_error(state, "--data is needed");
            }
            return 0;
        default: return ARGP_ERR_UNKNOWN;
    }
}

static void print_view(void *context, const char *json)
{
    (void)context;
    cli_progress_end();
    puts(json);
}

int cli_verify(int argc, char **argv)
{
    static const struct argp argp = {
        OPTIONS,
        parse_option,
        "",
        "Rebuilds every view from the log and compares digests with what is saved. "
        "Changes nothing; works beside a daemon.",
        NULL,
        NULL,
        NULL};
    arguments args = {0};
    uint32_t different = 0;
    freshet_error error = {0};
    cli_parse(&argp, argc, argv, "verify", &args);
    freshet_options options = {
        .data_dir = args.data, .memory_bytes = args.memory_bytes, .on_progress = cli_on_progress};
    if (freshet_verify(&options, print_view, NULL, &different, &error) != FRESHET_OK) {
        return cli_fail(args.data, &error);
    }
    return different == 0 ? EXIT_DONE : EXIT_DATA;
}
