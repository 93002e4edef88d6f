// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet repo ls|check: repositories in CAR files.
#include "cli.h"

#include <fr/buffer.h>
#include <fr/repo.h>
#include <fr/repo_report.h>
#include <stdio.h>
#include <unistd.h>

typedef struct {
    fr_repo_options options;
    fr_public_key key;
    const char *collection;
    bool count_only, keys_only, json;
    char **files;
    int file_count;
} arguments;

enum {
    OPTION_PARTIAL = 256,
    OPTION_BARE,
    OPTION_ANY_KEY,
    OPTION_JSON,
    OPTION_COUNT,
    OPTION_KEYS,
    OPTION_DID
};

static const struct argp_option OPTIONS[] = {
    {"level", 'l', "LEVEL", 0, "trusted, lazy or full (default)", 0},
    {"key", 'k', "KEY", 0, "did:key or multikey that must have signed the commit", 0},
    {"did", OPTION_DID, "DID", 0, "the account it must be of", 0},
    {"mem", 'm', "BYTES", 0, "memory for index and walk, with K, M or G", 0},
    {"partial", OPTION_PARTIAL, NULL, 0, "absent blocks are no fault", 0},
    {"bare", OPTION_BARE, NULL, 0, "the root is a tree node, there is no commit", 0},
    {"any-key", OPTION_ANY_KEY, NULL, 0, "keys need not be collection/rkey", 0},
    {"json", OPTION_JSON, NULL, 0, "check: one JSON object a file", 0},
    {"collection", 'c', "NSID", 0, "ls: only this collection", 0},
    {"count", OPTION_COUNT, NULL, 0, "ls: only the number of records", 0},
    {"keys", OPTION_KEYS, NULL, 0, "ls: only keys", 0},
    {0},
};

static bool level_of(const char *word, fr_level *out)
{
    static const char *const words[] = {"trusted", "lazy", "full"};
    for (unsigned i = 0; i < FR_COUNT_OF(words); i++) {
        if (strcmp(word, words[i]) == 0) {
            *out = (fr_level)i;
            return true;
        }
    }
    return false;
}

static void take_key(arguments *args, const char *value, struct argp_state *state)
{
    fr_slice text = fr_slice_text(value);
    if (fr_public_key_parse(text, &args->key, NULL) != FR_OK) {
        argp_error(state, "not a did:key: %s", value);
    }
    args->options.key = &args->key;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    arguments *args = state->input;
    uint64_t bytes = 0;
    switch (key) {
        case 'l':
            if (!level_of(value, &args->options.level)) {
                argp_error(state, "--level takes trusted, lazy or full, not %s", value);
            }
            return 0;
        case 'k': take_key(args, value, state); return 0;
        case OPTION_DID: args->options.expect_did = fr_slice_text(value); return 0;
        case 'm':
            if (!cli_parse_bytes(value, &bytes)) {
                argp_error(state, "not a number of bytes: %s", value);
            }
            args->options.memory_max_bytes = bytes;
            return 0;
        case OPTION_PARTIAL: args->options.partial = true; return 0;
        case OPTION_BARE: args->options.bare = true; return 0;
        case OPTION_ANY_KEY: args->options.any_key = true; return 0;
        case OPTION_JSON: args->json = true; return 0;
        case 'c': args->collection = value; return 0;
        case OPTION_COUNT: args->count_only = true; return 0;
        case OPTION_KEYS: args->keys_only = true; return 0;
        case ARGP_KEY_ARGS:
            args->files = state->argv + state->next;
            args->file_count = state->argc - state->next;
            return 0;
        case ARGP_KEY_END:
            if (args->file_count == 0) {
                argp_error(state, "at least one FILE is needed");
            }
            return 0;
        default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- ls -------------------------------------------------------------------------------------- */

typedef struct {
    const arguments *args;
    fr_buffer line;
    uint64_t count;
} listing;

static bool is_listed(const arguments *args, fr_slice key)
{
    if (args->collection == NULL) {
        return true;
    }
    fr_slice collection = fr_slice_text(args->collection);
    return fr_slice_starts_with(key, collection) && key.size > collection.size &&
           key.data[collection.size] == '/';
}

/** Keys are checked before they are here, except with --any-key: control bytes are made safe. */
static void put_key(fr_buffer *out, fr_slice key)
{
    for (size_t i = 0; i < key.size; i++) {
        if (key.data[i] < 0x20 || key.data[i] >= 0x7f) {
            fr_buffer_printf(out, "\\x%02x", key.data[i]);
        } else {
            fr_buffer_byte(out, key.data[i]);
        }
    }
}

static fr_status list_item(void *context, const fr_repo_item *item)
{
    listing *list = context;
    char cid[FR_CID_TEXT_BYTES];
    if (item->kind != FR_ITEM_RECORD || !is_listed(list->args, item->key)) {
        return FR_OK;
    }
    list->count++;
    if (list->args->count_only) {
        return FR_OK;
    }
    fr_buffer_reset(&list->line);
    put_key(&list->line, item->key);
    if (!list->args->keys_only) {
        fr_cid_format(&item->cid, cid);
        fr_buffer_printf(&list->line, "\t%.*s\t%zu", FR_CID_TEXT_BYTES, cid, item->value.size);
    }
    fr_buffer_byte(&list->line, '\n');
    return fwrite(list->line.data, 1, list->line.size, stdout) == list->line.size ? FR_OK : FR_IO;
}

static int repo_exit(fr_status status)
{
    return status == FR_OK          ? FR_REPO_EXIT_SOUND
           : status == FR_MALFORMED ? FR_REPO_EXIT_MALFORMED
           : status == FR_LIMIT     ? FR_REPO_EXIT_LIMIT
                                    : FR_REPO_EXIT_SYSTEM;
}

static int ls_file(const arguments *args, const char *path, fr_slice bytes)
{
    enum { LINE_MAX_BYTES = 16384 };
    fr_error error = {0};
    listing list = {.args = args};
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_buffer_init(&list.line, LINE_MAX_BYTES);
    fr_status status = fr_repo_open(&repo, bytes, &args->options, &error);
    status = status == FR_OK ? fr_repo_walk(repo, list_item, &list, &error) : status;
    fr_buffer_done(&list.line);
    if (status == FR_OK && args->count_only) {
        printf("%llu\n", (unsigned long long)list.count);
    }
    if (status != FR_OK) {
        fflush(stdout);
        fprintf(stderr, "%s: offset %llu: %s: %s\n", path, (unsigned long long)error.offset,
                error.code == NULL ? fr_status_name(status) : error.code,
                error.text == NULL ? "" : error.text);
    }
    return repo_exit(status);
}

/* ---- check ----------------------------------------------------------------------------------- */

static int check_file(const arguments *args, const char *path, fr_slice bytes)
{
    enum { OUT_MAX_BYTES = 64 << 20 };
    fr_buffer out;
    int code = FR_REPO_EXIT_SYSTEM;
    fr_buffer_init(&out, OUT_MAX_BYTES);
    fr_status status = args->json ? fr_repo_report(bytes, path, &args->options, &out, &code)
                                  : fr_repo_report_line(bytes, path, &args->options, &out, &code);
    if (status == FR_OK && args->json) {
        fr_buffer_byte(&out, '\n');
    }
    if (status != FR_OK || fwrite(out.data, 1, out.size, stdout) != out.size) {
        code = FR_REPO_EXIT_SYSTEM;
    }
    fr_buffer_done(&out);
    return code;
}

/** Each file in the order given; the exit code is that of the first that is not sound. */
static int each_file(const arguments *args, int (*run)(const arguments *, const char *, fr_slice))
{
    int first = FR_REPO_EXIT_SOUND;
    for (int i = 0; i < args->file_count; i++) {
        cli_input input;
        fr_error error = {0};
        fr_status status = cli_input_open(&input, args->files[i], &error);
        error.status = status;
        int code = status == FR_OK
                       ? run(args, args->files[i], input.bytes)
                       : (cli_fail_internal(args->files[i], &error), FR_REPO_EXIT_SYSTEM);
        cli_input_free(&input);
        first = first == FR_REPO_EXIT_SOUND ? code : first;
    }
    return fflush(stdout) == 0 ? first : FR_REPO_EXIT_SYSTEM;
}

int cli_repo(int argc, char **argv)
{
    static const struct argp argp = {
        OPTIONS,
        parse_option,
        "FILE…",
        "ls: key TAB cid TAB bytes a line.  check: the verdict, and facts with --json.  "
        "- is standard input.",
        NULL,
        NULL,
        NULL};
    arguments args = {.options = {.level = FR_LEVEL_FULL}};
    bool is_ls = argc > 1 && strcmp(argv[1], "ls") == 0;
    bool is_check = argc > 1 && strcmp(argv[1], "check") == 0;
    if (!is_ls && !is_check) {
        fprintf(stderr, "usage: freshet repo ls|check [OPTION…] FILE…\n");
        return argc > 1 && strcmp(argv[1], "--help") == 0 ? EXIT_DONE : EXIT_USAGE;
    }
    cli_parse(&argp, argc - 1, argv + 1, is_ls ? "repo ls" : "repo check", &args);
    args.options.check_records = is_check;
    return each_file(&args, is_ls ? ls_file : check_file);
}
