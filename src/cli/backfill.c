// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet backfill status|retry, and the options of serve and ingest that start one.
#include "backfill.h"

#include <fr/json.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- options of serve and ingest ------------------------------------------------------------- */

enum {
    OPTION_URL = 512,
    OPTION_RATE,
    OPTION_PER_HOST,
    OPTION_PARALLEL,
    OPTION_PLC_RATE,
    OPTION_PATIENCE
};

static const struct argp_option START_OPTIONS[] = {
    {0, 0, 0, 0, "Loading whole repositories:", 2},
    {"backfill", OPTION_URL, "URL", 0,
     "a PDS or a relay: load every repository it lists; repeatable", 0},
    {"backfill-rate", OPTION_RATE, "N", 0, "repositories a second from one host (default 10)", 0},
    {"backfill-per-host", OPTION_PER_HOST, "N", 0, "downloads at once from one host (default 4)",
     0},
    {"backfill-parallel", OPTION_PARALLEL, "N", 0, "downloads at once in all (default 16)", 0},
    {"plc-rate", OPTION_PLC_RATE, "N", 0, "questions a second to the PLC directory (default 100)",
     0},
    {"backfill-patience", OPTION_PATIENCE, "SECONDS", 0,
     "a host that only fails for so long is given up (default 900)", 0},
    {0},
};

static void take_number(struct argp_state *state, const char *value, uint32_t *out)
{
    uint64_t number = 0;
    if (!cli_parse_u64(value, &number) || number == 0 || number > UINT32_MAX) {
        argp_error(state, "not a number from 1 on: %s", value);
    }
    *out = (uint32_t)number;
}

static error_t parse_start(int key, char *value, struct argp_state *state)
{
    cli_backfills *backfills = state->input;
    if (backfills == NULL) { /* argp asks for help only */
        return ARGP_ERR_UNKNOWN;
    }
    freshet_backfill_options *options = &backfills->options;
    switch (key) {
        case OPTION_URL:
            if (backfills->count == CLI_BACKFILLS_MAX) {
                argp_error(state, "at most %d backfills", CLI_BACKFILLS_MAX);
            }
            backfills->urls[backfills->count++] = value;
            return 0;
        case OPTION_RATE: take_number(state, value, &options->requests_per_s); return 0;
        case OPTION_PER_HOST: take_number(state, value, &options->parallel_per_host); return 0;
        case OPTION_PARALLEL: take_number(state, value, &options->parallel); return 0;
        case OPTION_PLC_RATE: take_number(state, value, &options->plc_per_s); return 0;
        case OPTION_PATIENCE: take_number(state, value, &options->patience_s); return 0;
        default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp START = {START_OPTIONS, parse_start, NULL, NULL, NULL, NULL, NULL};
const struct argp_child CLI_BACKFILL_OPTIONS[] = {{&START, 0, NULL, 0}, {0}};

int cli_backfills_start(const cli_backfills *backfills, freshet *db, freshet_backfill **handles)
{
    for (size_t i = 0; i < backfills->count; i++) {
        freshet_error error = {0};
        freshet_backfill_options options = backfills->options;
        options.url = backfills->urls[i];
        freshet_backfill **handle = handles == NULL ? NULL : &handles[i];
        if (freshet_backfill_start(db, &options, handle, &error) != FRESHET_OK) {
            return cli_fail(options.url, &error);
        }
    }
    return EXIT_DONE;
}

/* ---- the command ----------------------------------------------------------------------------- */

typedef struct {
    const char *verb;
    const char *data;
    bool json;
    bool all;
} arguments;

static const struct argp_option OPTIONS[] = {
    {"data", 'd', "DIR", 0, "data directory", 0},
    {"json", 'j', 0, 0, "status: one JSON object for each backfill", 0},
    {"all", 'a', 0, 0, "retry: list everything again, too", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
        case 'd': args->data = value; return 0;
        case 'j': args->json = true; return 0;
        case 'a': args->all = true; return 0;
        case ARGP_KEY_ARG:
            if (args->verb != NULL) {
                return ARGP_ERR_UNKNOWN;
            }
            args->verb = value;
            return 0;
        case ARGP_KEY_END:
            if (args->verb == NULL || args->data == NULL) {
                argp_error(state, "status or retry, and --data are needed");
            }
            return 0;
        default: return ARGP_ERR_UNKNOWN;
    }
}

static void print_json(void *context, const char *json)
{
    (void)context;
    puts(json);
}

static uint64_t number_of(fr_json_value object, const char *key)
{
    uint64_t value = 0;
    (void)fr_json_get_unsigned(object, key, &value);
    return value;
}

static void print_numbers(fr_json_value object, const char *indent)
{
    fr_slice key;
    fr_json_value value;
    fr_json_iter it = fr_json_iterate(object);
    while (fr_json_iter_member(&it, &key, &value)) {
        uint64_t number = 0;
        if (fr_json_unsigned(value, &number) && number != 0) {
            printf("%s%-14.*s %llu\n", indent, FR_SLICE_ARG(key), (unsigned long long)number);
        }
    }
}

static void print_hosts(fr_json_value hosts)
{
    fr_json_value host;
    fr_json_iter it = fr_json_iterate(hosts);
    while (fr_json_iter_element(&it, &host)) {
        fr_slice url = {NULL, 0};
        (void)fr_json_get_string(host, "host", &url);
        printf("  %8llu to come from %.*s (%llu done, %llu failed)\n",
               (unsigned long long)number_of(host, "pending"), FR_SLICE_ARG(url),
               (unsigned long long)number_of(host, "done"),
               (unsigned long long)number_of(host, "failed"));
    }
}

/** The same for a person; addresses of hosts are checked texts (a URL's visible ASCII). */
static void print_words(void *context, const char *json)
{
    fr_json_value root, part;
    fr_slice url = {NULL, 0}, phase = {NULL, 0};
    double speed = 0;
    if (fr_json_parse(context, fr_slice_text(json), false, &root, NULL) != FR_OK) {
        return;
    }
    (void)fr_json_get_string(root, "url", &url);
    (void)fr_json_get_string(root, "phase", &phase);
    if (fr_json_get(root, "repos_per_s", &part)) {
        (void)fr_json_real(part, &speed);
    }
    printf("%.*s: %.*s\n", FR_SLICE_ARG(url), FR_SLICE_ARG(phase));
    printf("  %llu listed, %llu done, %llu held already, %llu pending, %llu failed; %llu bytes, "
           "%.1f repositories/s\n",
           (unsigned long long)number_of(root, "listed"),
           (unsigned long long)number_of(root, "done"), (unsigned long long)number_of(root, "held"),
           (unsigned long long)number_of(root, "pending"),
           (unsigned long long)number_of(root, "failed"),
           (unsigned long long)number_of(root, "bytes"), speed);
    if (fr_json_get(root, "failed_by_reason", &part)) {
        print_numbers(part, "  failed: ");
    }
    if (fr_json_get(root, "hosts", &part)) {
        print_hosts(part);
    }
}

static int print_status(const arguments *args)
{
    freshet_error error = {0};
    fr_json *json = NULL;
    fr_error internal = {0};
    if (fr_json_new(&json, &internal) != FR_OK) {
        return cli_fail_internal("backfill", internal.status, &internal);
    }
    freshet_status status =
        freshet_backfill_status(args->data, args->json ? print_json : print_words, json, &error);
    fr_json_free(json);
    return status == FRESHET_OK ? EXIT_DONE : cli_fail(args->data, &error);
}

static int retry(const arguments *args)
{
    freshet_error error = {0};
    uint64_t count = 0;
    if (freshet_backfill_retry(args->data, args->all, &count, &error) != FRESHET_OK) {
        return cli_fail(args->data, &error);
    }
    printf("{\"retried\":%llu}\n", (unsigned long long)count);
    return EXIT_DONE;
}

int cli_backfill(int argc, char **argv)
{
    static const struct argp argp = {OPTIONS,
                                     parse_option,
                                     "status|retry",
                                     "Looks at the backfills of a data directory, or has what "
                                     "failed tried again. Works beside a "
                                     "daemon and without one.",
                                     NULL,
                                     NULL,
                                     NULL};
    arguments args = {0};
    cli_parse(&argp, argc, argv, "backfill", &args);
    if (strcmp(args.verb, "status") == 0) {
        return print_status(&args);
    }
    if (strcmp(args.verb, "retry") == 0) {
        return retry(&args);
    }
    fprintf(stderr, "freshet backfill: status or retry, not %s\n", args.verb);
    return EXIT_USAGE;
}
