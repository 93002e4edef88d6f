// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet log dump|stat: works beside a daemon, on the durable prefix.
#include "cli.h"

#include <stdio.h>

typedef struct {
    const char *data;
    uint64_t from, count;
} arguments;

static const struct argp_option OPTIONS[] = {
    {"data", 'd', "DIR", 0, "data directory", 0},
    {"from", 'f', "SEQ", 0, "dump: first sequence (default: the first there is)", 0},
    {"count", 'n', "N", 0, "dump: at most so many events", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
        case 'd': args->data = value; return 0;
        case 'f':
        case 'n':
            if (!cli_parse_u64(value, key == 'f' ? &args->from : &args->count)) {
                argp_error(state, "not a number: %s", value);
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

static bool print_line(void *context, const char *json, size_t size)
{
    (void)context;
    return fwrite(json, 1, size, stdout) == size && putchar('\n') != EOF && !cli_stop;
}

static int dump(const arguments *args)
{
    freshet_error error = {0};
    cli_catch_signals();
    freshet_status status =
        freshet_log_dump(args->data, args->from, args->count, print_line, NULL, &error);
    if (fflush(stdout) != 0) {
        return EXIT_SYSTEM;
    }
    if (status != FRESHET_OK) {
        return cli_fail(args->data, &error);
    }
    return cli_stop ? EXIT_INTERRUPTED : EXIT_DONE;
}

static int stat_log(const arguments *args)
{
    char text[512];
    freshet_error error = {0};
    if (freshet_log_stat(args->data, text, sizeof text, &error) != FRESHET_OK) {
        return cli_fail(args->data, &error);
    }
    puts(text);
    return EXIT_DONE;
}

int cli_log(int argc, char **argv)
{
    static const struct argp argp = {OPTIONS,
                                     parse_option,
                                     "",
                                     "dump: one JSON object a line, in Jetstream's shape, "
                                     "with seq.  stat: one JSON object.",
                                     NULL,
                                     NULL,
                                     NULL};
    arguments args = {0};
    bool is_dump = argc > 1 && strcmp(argv[1], "dump") == 0;
    bool is_stat = argc > 1 && strcmp(argv[1], "stat") == 0;
    if (!is_dump && !is_stat) {
        fprintf(stderr, "usage: freshet log dump|stat --data DIR [--from SEQ] [--count N]\n");
        return argc > 1 && strcmp(argv[1], "--help") == 0 ? EXIT_DONE : EXIT_USAGE;
    }
    cli_parse(&argp, argc - 1, argv + 1, is_dump ? "log dump" : "log stat", &args);
    if (is_dump && args.count == 0 && args.from == 0) {
        args.from = 1;
    }
    return is_dump ? dump(&args) : stat_log(&args);
}
