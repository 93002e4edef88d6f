// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet repo VERB: repositories in CAR files. Options and files for all verbs; ls.
#include "repo.h"

#include <fr/codec.h>
#include <fr/scratch.h>

enum {
    OPTION_PARTIAL = 256,
    OPTION_BARE,
    OPTION_ANY_KEY,
    OPTION_JSON,
    OPTION_COUNT,
    OPTION_KEYS,
    OPTION_DID,
    OPTION_REVERSE,
    OPTION_RAW,
    OPTION_NDJSON,
    OPTION_DID_DOCS,
    OPTION_REPORT,
    OPTION_REV,
    OPTION_DISK,
    OPTION_SPILL_DIR,
    OPTION_ON_LIMIT,
    OPTION_SECONDS,
    OPTION_LIMIT,
    OPTION_ORDER,
    OPTION_SIGN_KEY,
    OPTION_FROM,
    OPTION_ALL,
    OPTION_NOW,
};

/* What stands before the colon are the verbs that take it; the others do not know it. */
static const struct argp_option OPTIONS[] = {
    {"level", 'l', "LEVEL", 0, "trusted, lazy or full (default)", 0},
    {"key", 'k', "KEY", 0, "did:key or multikey that must have signed the commit", 0},
    {"did", OPTION_DID, "DID", 0, "the account it must be of", 0},
    {"now", OPTION_NOW, "TIME|clock", 0,
     "refuse a rev of more than five minutes later (default any time will do)", 0},
    {"mem", 'm', "BYTES", 0, "memory for a file, with K, M or G (default 16M)", 0},
    {"disk", OPTION_DISK, "BYTES", 0, "disk for what does not fit in memory (default 10G)", 0},
    {"spill-dir", OPTION_SPILL_DIR, "DIR", 0, "where that lies, without a name (default $TMPDIR)",
     0},
    {"on-limit", OPTION_ON_LIMIT, "WHAT", 0, "spill (default) or refuse what is beyond --mem", 0},
    {"seconds", OPTION_SECONDS, "N", 0, "time for a file (default none)", 0},
    {"limit", OPTION_LIMIT, "NAME=N", 0,
     "most of header, block, node-bytes, node-entries, key, blocks or bytes, each by itself", 0},
    {"partial", OPTION_PARTIAL, NULL, 0, "absent blocks are no fault", 0},
    {"bare", OPTION_BARE, NULL, 0, "the root is a tree node, there is no commit", 0},
    {"any-key", OPTION_ANY_KEY, NULL, 0, "keys need not be collection/rkey", 0},
    {"json", OPTION_JSON, NULL, 0, "one JSON object for each file, record or answer", 0},
    {"collection", 'c', "NSID", 0, "ls, unpack, pack: only this collection", 0},
    {"count", OPTION_COUNT, NULL, 0, "ls: only the number of records", 0},
    {"keys", OPTION_KEYS, NULL, 0, "ls: only keys", 0},
    {"reverse", OPTION_REVERSE, NULL, 0, "ls, unpack: last key first", 0},
    {"raw", OPTION_RAW, NULL, 0, "get: the record's bytes instead of JSON", 0},
    {"out", 'o', "FILE", 0, "prove, pack, refresh: write here instead of standard output", 0},
    {"ndjson", OPTION_NDJSON, NULL, 0, "unpack, pack: lines of {uri, cid, value} instead of files",
     0},
    {"rev", OPTION_REV, "TID", 0, "pack: revision of a new commit", 0},
    {"order", OPTION_ORDER, "ORDER", 0, "pack, refresh: streamable (default), cid-sorted or pds",
     0},
    {"sign-key", OPTION_SIGN_KEY, "HEX|FILE", 0,
     "pack: sign the commit: 64 digits, p256: in front for that curve, or a file with them", 0},
    {"all", OPTION_ALL, NULL, 0, "check: every fault, up to 1000, not the first alone", 0},
    {"from", OPTION_FROM, "URL", 0, "refresh: the account's host", 0},
    {"did-docs", OPTION_DID_DOCS, "FILE", 0, "frames: JSON map of DID documents, for keys", 0},
    {"report", OPTION_REPORT, NULL, 0, "frames: a verdict for each frame instead of events", 0},
    {0},
};

static bool level_of(const char *word, fr_level *out)
{
    for (fr_level level = FR_LEVEL_FULL; level <= FR_LEVEL_TRUSTED; level++) {
        if (strcmp(word, fr_level_name(level)) == 0) {
            *out = level;
            return true;
        }
    }
    return false;
}

static bool order_of(const char *word, fr_car_order *out)
{
    static const char *const words[] = {"streamable", "cid-sorted", "pds"};
    for (unsigned i = 0; i < FR_COUNT_OF(words); i++) {
        if (strcmp(word, words[i]) == 0) {
            *out = (fr_car_order)i;
            return true;
        }
    }
    return false;
}

static void take_key(repo_args *args, const char *value, struct argp_state *state)
{
    fr_slice text = fr_slice_text(value);
    if (fr_public_key_parse(text, &args->key, NULL) != FR_OK) {
        argp_error(state, "not a did:key: %s", cli_printable(value));
    }
    args->options.key = &args->key;
}

/** To the library 0 is the default, which nobody who writes 0 means: a byte holds as little. */
static uint64_t take_bytes(const char *value, struct argp_state *state)
{
    uint64_t bytes = 0;
    if (!cli_parse_bytes(value, &bytes)) {
        argp_error(state, "not a number of bytes: %s", cli_printable(value));
    }
    return FR_MAX(bytes, 1);
}

/** NAME=N, of a code limit-NAME. */
static bool take_limit(fr_repo_options *options, const char *value)
{
    const struct {
        const char *name;
        uint32_t *narrow;
        uint64_t *wide;
    } limits[] = {{"header", &options->header_bytes_max, NULL},
                  {"block", &options->block_bytes_max, NULL},
                  {"node-bytes", &options->node_bytes_max, NULL},
                  {"node-entries", &options->node_entries_max, NULL},
                  {"key", &options->key_bytes_max, NULL},
                  {"blocks", NULL, &options->blocks_max},
                  {"bytes", NULL, &options->input_bytes_max}};
    uint64_t most = 0;
    const char *end = strchr(value, '=');
    if (end == NULL || !cli_parse_bytes(end + 1, &most) || most == 0) {
        return false;
    }
    for (size_t i = 0; i < FR_COUNT_OF(limits); i++) {
        size_t size = strlen(limits[i].name);
        if (size == (size_t)(end - value) && memcmp(limits[i].name, value, size) == 0) {
            if (limits[i].wide != NULL) {
                *limits[i].wide = most;
            } else {
                *limits[i].narrow = (uint32_t)most;
            }
            return limits[i].wide != NULL || most <= UINT32_MAX;
        }
    }
    return false;
}

static void take_on_limit(repo_args *args, const char *value, struct argp_state *state)
{
    bool spill = strcmp(value, "spill") == 0;
    if (!spill && strcmp(value, "refuse") != 0) {
        argp_error(state, "--on-limit takes spill or refuse, not %s", cli_printable(value));
    }
    args->load.on_limit = spill ? FR_ON_LIMIT_SPILL : FR_ON_LIMIT_REFUSE;
}

static void take_seconds(repo_args *args, const char *value, struct argp_state *state)
{
    uint64_t seconds = 0;
    if (!cli_parse_u64(value, &seconds) || seconds > UINT32_MAX) {
        argp_error(state, "not a number of seconds: %s", cli_printable(value));
    }
    args->load.seconds_max = (uint32_t)seconds;
}

static void take_now(repo_args *args, const char *value, struct argp_state *state)
{
    int64_t now_us = 0;
    args->clock = strcmp(value, "clock") == 0;
    if (args->clock) {
        now_us = (int64_t)fr_os_wall_us(fr_os_real());
    } else if (!fr_time_parse(fr_slice_text(value), &now_us) || now_us <= 0) {
        argp_error(state, "--now takes a time such as 2025-01-09T18:21:32Z, or clock, not %s",
                   cli_printable(value));
    }
    args->options.now_us = (uint64_t)now_us;
}

static void check_options(const repo_args *args, struct argp_state *state)
{
    if (args->options.bare && (args->options.key != NULL || args->options.expect_did.size != 0)) {
        argp_error(state, "a tree without commit (--bare) has neither signature nor account");
    }
    fr_error error = {0};
    fr_load_options options = args->load;
    options.repo = args->options;
    if (fr_load_options_check(&options, &error) != FR_OK) {
        argp_error(state, "%s", error.text);
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    repo_args *args = state->input;
    switch (key) {
        case 'l':
            if (!level_of(value, &args->options.level)) {
                argp_error(state, "--level takes trusted, lazy or full, not %s",
                           cli_printable(value));
            }
            return 0;
        case 'k': take_key(args, value, state); return 0;
        case OPTION_DID:
            args->options.expect_did = fr_slice_text(value);
            if (!fr_did_valid(args->options.expect_did)) {
                argp_error(state, "not a DID: %s", cli_printable(value));
            }
            return 0;
        case 'm': args->load.memory_max_bytes = take_bytes(value, state); return 0;
        case OPTION_DISK: args->load.disk_max_bytes = take_bytes(value, state); return 0;
        case OPTION_SPILL_DIR: args->load.spill_dir = value; return 0;
        case OPTION_ON_LIMIT: take_on_limit(args, value, state); return 0;
        case OPTION_SECONDS: take_seconds(args, value, state); return 0;
        case OPTION_LIMIT:
            if (!take_limit(&args->options, value)) {
                argp_error(state, "--limit takes NAME=N, N from 1 to the most of NAME, not %s",
                           cli_printable(value));
            }
            return 0;
        case OPTION_PARTIAL: args->options.partial = true; return 0;
        case OPTION_BARE: args->options.bare = true; return 0;
        case OPTION_ANY_KEY: args->options.any_key = true; return 0;
        case OPTION_JSON: args->json = true; return 0;
        case 'c': snprintf(args->prefix, sizeof args->prefix, "%s/", value); return 0;
        case OPTION_COUNT: args->count_only = true; return 0;
        case OPTION_KEYS: args->keys_only = true; return 0;
        case OPTION_REVERSE: args->reverse = true; return 0;
        case OPTION_RAW: args->raw = true; return 0;
        case 'o': args->out = value; return 0;
        case OPTION_NDJSON: args->ndjson = true; return 0;
        case OPTION_REV:
            args->has_rev = fr_tid_parse(fr_slice_text(value), &args->rev);
            if (!args->has_rev) {
                argp_error(state, "not a TID: %s", cli_printable(value));
            }
            return 0;
        case OPTION_ORDER:
            if (!order_of(value, &args->order)) {
                argp_error(state, "--order takes streamable, cid-sorted or pds, not %s",
                           cli_printable(value));
            }
            return 0;
        case OPTION_SIGN_KEY: args->sign_key = value; return 0;
        case OPTION_NOW: take_now(args, value, state); return 0;
        case OPTION_ALL: args->all_faults = true; return 0;
        case OPTION_FROM: args->from = value; return 0;
        case OPTION_DID_DOCS: args->did_docs = value; return 0;
        case OPTION_REPORT: args->report = true; return 0;
        case ARGP_KEY_ARGS:
            args->words = state->argv + state->next;
            args->word_count = state->argc - state->next;
            return 0;
        case ARGP_KEY_END: check_options(args, state); return 0;
        default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- shared ---------------------------------------------------------------------------------- */

int repo_exit(fr_status status)
{
    switch (status) {
        case FR_OK:
        case FR_END: return FR_REPO_EXIT_SOUND;
        case FR_MALFORMED:
        case FR_NOT_FOUND: return FR_REPO_EXIT_MALFORMED;
        case FR_LIMIT: return FR_REPO_EXIT_LIMIT;
        case FR_INVALID: return EXIT_USAGE;
        default: return FR_REPO_EXIT_SYSTEM;
    }
}

static int print_fault(const char *path, fr_status status, const fr_error *error,
                       const fr_repo_fault *fault)
{
    fr_buffer line;
    fr_buffer_init(&line, REPO_LINE_BYTES_MAX);
    fr_repo_fault_line(path, status, error, fault, &line);
    cli_progress_end();
    fflush(stdout);
    fprintf(stderr, "%.*s", (int)line.size, (const char *)line.data);
    fr_buffer_done(&line);
    bool is_absent = status == FR_NOT_FOUND && error->os != 0; /* the file, not what is in it */
    return is_absent ? FR_REPO_EXIT_SYSTEM : repo_exit(status);
}

int repo_fail(const char *path, fr_slice key, fr_status status, const fr_error *error)
{
    if (status == FR_IO && ferror(stdout) != 0) {
        return FR_REPO_EXIT_SYSTEM; /* told at the end */
    }
    fr_repo_fault fault = {.key = ""};
    fr_repo_key_escape(key, fault.key, sizeof fault.key);
    return print_fault(path, status, error, &fault);
}

int repo_fail_at(fr_load *load, const char *path, fr_slice key, fr_status status,
                 const fr_error *error)
{
    fr_repo_fault fault;
    if (status == FR_IO && ferror(stdout) != 0) {
        return FR_REPO_EXIT_SYSTEM; /* told at the end */
    }
    fr_error told = *error;
    status = fr_load_blame(load, status, &told);
    fr_load_fault(load, &told, &fault);
    bool on_the_way = told.code != NULL && strcmp(told.code, "tree-missing-node") == 0;
    if (key.size != 0 && (on_the_way || fault.key[0] == '\0')) {
        fr_repo_key_escape(key, fault.key, sizeof fault.key);
    }
    return print_fault(path, status, &told, &fault);
}

int repo_fail_in(fr_load *load, const char *path, fr_status status, const fr_error *error)
{
    return repo_fail_at(load, path, (fr_slice){0}, status, error);
}

int repo_fail_open(const repo_args *args, fr_load *load, const char *path, fr_slice key,
                   fr_status status, const fr_error *error)
{
    int code = repo_fail_at(load, path, key, status, error);
    bool absent = error->code != NULL && strncmp(error->code, "tree-missing-", 13) == 0;
    bool is_file = code == FR_REPO_EXIT_MALFORMED; /* and not the disk */
    return absent && is_file && args->options.partial ? FR_REPO_EXIT_INCOMPLETE : code;
}

void repo_put_cid(fr_buffer *out, const fr_cid *cid)
{
    char text[FR_CID_TEXT_BYTES];
    fr_cid_format(cid, text);
    fr_buffer_append(out, text, sizeof text);
}

bool repo_print(const fr_buffer *out)
{
    return fr_buffer_status(out, NULL) == FR_OK &&
           fwrite(out->data, 1, out->size, stdout) == out->size;
}

static void on_progress(void *context, uint64_t bytes, uint64_t total)
{
    cli_progress(context, bytes, total);
}

uint64_t repo_deadline(const repo_args *args)
{
    uint64_t seconds = args->load.seconds_max;
    return seconds == 0 ? UINT64_MAX
                        : fr_os_monotonic_ns(fr_os_real()) + seconds * UINT64_C(1000000000);
}

fr_status repo_time_left(uint64_t deadline_ns, uint64_t offset, uint64_t *left_ns, fr_error *err)
{
    uint64_t now_ns = deadline_ns == UINT64_MAX ? 0 : fr_os_monotonic_ns(fr_os_real());
    *left_ns = deadline_ns == UINT64_MAX ? UINT64_MAX : deadline_ns - FR_MIN(now_ns, deadline_ns);
    return *left_ns != 0 ? FR_OK
                         : fr_fail_code(err, FR_LIMIT, offset, "limit-time",
                                        "repo: the time for the file is over");
}

static int new_load(const repo_args *args, fr_load **out)
{
    fr_error error = {0};
    fr_load_options options = args->load;
    options.repo = args->options;
    fr_status status = fr_load_new(out, &options, &error);
    return status == FR_OK ? FR_REPO_EXIT_SOUND : cli_fail_internal("repo", status, &error);
}

fr_load_options repo_load_options(const repo_args *args, const char *path)
{
    fr_load_options options = args->load;
    options.repo = args->options;
    options.on_progress = on_progress;
    options.progress_context = (void *)(uintptr_t)path;
    return options;
}

static void set_options(const repo_args *args, const char *path, fr_load *load)
{
    fr_load_options options = repo_load_options(args, path);
    fr_load_set_options(load, &options);
}

/* What a load, or the walk with it, has failed with. */
static int repo_fail_load(fr_load *load, const char *path, fr_status status, fr_error *error)
{
    int code = repo_fail_in(load, path, status, error);
    return status == FR_MALFORMED || status == FR_LIMIT ? code : FR_REPO_EXIT_SYSTEM;
}

int repo_open(const repo_args *args, const char *path, fr_load *load, fr_repo **repo)
{
    fr_error error = {0};
    set_options(args, path, load);
    fr_status status = fr_load_path(load, path, &error);
    cli_progress_end();
    *repo = fr_load_repo(load);
    return status == FR_OK ? FR_REPO_EXIT_SOUND : repo_fail_load(load, path, status, &error);
}

int repo_file_open(repo_file *file, const repo_args *args, const char *path)
{
    *file = (repo_file){.path = path};
    int code = new_load(args, &file->load);
    return code == FR_REPO_EXIT_SOUND ? repo_open(args, path, file->load, &file->repo) : code;
}

void repo_file_close(repo_file *file)
{
    fr_load_free(file->load);
}

int repo_each_file(const repo_args *args,
                   int (*run)(const repo_args *args, const char *path, fr_load *load))
{
    fr_cleanup(fr_load_freep) fr_load *load = NULL;
    int first = new_load(args, &load);
    for (int i = 0; load != NULL && i < args->word_count; i++) {
        int code = run(args, args->words[i], load);
        first = first == FR_REPO_EXIT_SOUND ? code : first;
    }
    return first;
}

void repo_put_file(const repo_args *args, const char *path, const char *label, fr_buffer *out)
{
    if (args->json) {
        fr_buffer_text(out, "{\"file\":");
        fr_buffer_json_string(out, fr_slice_text(path));
    } else if (args->word_count > 1) {
        fr_buffer_text(out, label);
        fr_buffer_printable(out, fr_slice_text(path));
        fr_buffer_byte(out, '\n');
    }
}

void repo_put_judged(const repo_args *args, fr_buffer *out)
{
    fr_buffer_printf(
        out, args->json ? ",\"level\":\"%s\",\"signature\":\"%s\"" : "level %s\nsignature %s\n",
        fr_level_name(args->options.level), args->options.key != NULL ? "verified" : "unchecked");
}

/* ---- ls -------------------------------------------------------------------------------------- */

typedef struct {
    const repo_args *args;
    fr_buffer line;
    uint64_t count;
    uint64_t deadline_ns; /* repo_deadline */
    bool incomplete;      /* with --partial: something that may be wanted is absent */
} listing;

static bool is_there(const fr_repo_item *item)
{
    return item->kind == FR_ITEM_RECORD;
}

static void put_row(const repo_args *args, const fr_repo_item *item, fr_buffer *line)
{
    fr_buffer_printable(line, item->key);
    if (!args->keys_only) {
        fr_buffer_byte(line, '\t');
        repo_put_cid(line, &item->cid);
        fr_buffer_printf(line, is_there(item) ? "\t%zu" : "\t-", item->value.size);
    }
}

static void put_row_json(const repo_args *args, const fr_repo_item *item, fr_buffer *line)
{
    fr_buffer_text(line, "{\"key\":");
    fr_buffer_json_string(line, item->key);
    if (!args->keys_only) {
        fr_buffer_text(line, ",\"cid\":\"");
        repo_put_cid(line, &item->cid);
        fr_buffer_printf(line, is_there(item) ? "\",\"bytes\":%zu" : "\",\"bytes\":null",
                         item->value.size);
    }
    fr_buffer_byte(line, '}');
}

static void print_count(const listing *list, const char *path)
{
    fr_buffer out;
    fr_buffer_init(&out, REPO_LINE_BYTES_MAX);
    if (list->args->json) {
        fr_buffer_byte(&out, '{');
        repo_put_text_member(&out, "file", fr_slice_text(path));
    }
    fr_buffer_printf(&out, list->args->json ? "\"records\":%llu}\n" : "%llu\n",
                     (unsigned long long)list->count);
    (void)!repo_print(&out); /* the flush at the end says it */
    fr_buffer_done(&out);
}

static fr_status list_item(void *context, const fr_repo_item *item)
{
    listing *list = context;
    fr_buffer *line = &list->line;
    if (item->kind == FR_ITEM_MISSING_SUBTREE) {
        list->incomplete = true;
        return FR_OK;
    }
    if (!fr_slice_starts_with(item->key, fr_slice_text(list->args->prefix))) {
        return FR_OK;
    }
    list->incomplete |= !is_there(item);
    list->count++;
    if (list->args->count_only) {
        return FR_OK;
    }
    fr_buffer_reset(line);
    (list->args->json ? put_row_json : put_row)(list->args, item, line);
    fr_buffer_byte(line, '\n');
    return repo_print(line) ? FR_OK : FR_IO;
}

/* Level full has every record there, and hashed, whatever of it is printed. */
static bool keys_suffice(const repo_args *args)
{
    return (args->keys_only || args->count_only) && !args->options.partial &&
           args->options.level != FR_LEVEL_FULL;
}

/* One collection of a file, backwards, or no records: only the nodes that it needs. */
static fr_status list_part(listing *list, const fr_repo *repo, fr_error *err)
{
    const repo_args *args = list->args;
    fr_cursor_options options = {.reverse = args->reverse,
                                 .keys_only = keys_suffice(args),
                                 .prefix = fr_slice_text(args->prefix)};
    fr_cleanup(fr_cursor_closep) fr_cursor *cursor = NULL;
    fr_repo_item item;
    fr_status status;
    FR_TRY(fr_cursor_open(&cursor, repo, &options, err));
    while ((status = fr_cursor_next(cursor, &item, err)) == FR_OK) {
        uint64_t left_ns;
        FR_TRY(repo_time_left(list->deadline_ns, item.offset, &left_ns, err));
        FR_TRY(list_item(list, &item));
    }
    return status == FR_END ? FR_OK : status;
}

static void show_lines(void *context)
{
    (void)context;
    fflush(stdout);
}

/* All of it, as it comes. */
static fr_status list_all(listing *list, const char *path, fr_load *load, fr_error *err)
{
    fr_load_options options = repo_load_options(list->args, path);
    options.on_progress = list->args->count_only ? on_progress : NULL; /* lines come meanwhile */
    options.on_item = list_item;
    options.on_wait = show_lines;
    options.item_context = list;
    options.forget = true;
    fr_load_set_options(load, &options);
    fr_status status = fr_load_path(load, path, err);
    cli_progress_end();
    return status;
}

static int ls_file(const repo_args *args, const char *path, fr_load *load)
{
    enum { LINE_MAX_BYTES = 16384 };
    fr_error error = {0};
    listing list = {.args = args, .deadline_ns = repo_deadline(args)};
    fr_repo *repo = NULL;
    fr_status status;
    fr_buffer_init(&list.line, LINE_MAX_BYTES);
    /* What a part lacks is known by the keys on both sides, which a stream has yet to give. */
    bool as_it_comes = strcmp(path, "-") == 0 && !args->options.partial;
    bool is_part = args->prefix[0] != 0 || keys_suffice(args);
    if (args->reverse || (is_part && !as_it_comes)) {
        int code = repo_open(args, path, load, &repo);
        if (repo == NULL) {
            return code;
        }
        status = list_part(&list, repo, &error);
    } else {
        status = list_all(&list, path, load, &error);
    }
    fr_buffer_done(&list.line);
    if (status == FR_OK && args->count_only) {
        print_count(&list, path);
    }
    return status != FR_OK   ? repo_fail_load(load, path, status, &error)
           : list.incomplete ? FR_REPO_EXIT_INCOMPLETE
                             : FR_REPO_EXIT_SOUND;
}

int repo_ls(const repo_args *args)
{
    return repo_each_file(args, ls_file);
}

/* ---- verbs ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int (*run)(const repo_args *args);
    int words_min, words_max; /* max 0: any number */
    const char *words;
    const char *summary;
} VERBS[] = {
    {"ls", repo_ls, 1, 0, "FILE…", "key TAB cid TAB bytes a line"},
    {"check", repo_check, 1, 0, "FILE…", "the verdict, and facts with --json"},
    {"commit", repo_commit, 1, 0, "FILE…", "the commit and the state of its signature"},
    {"get", repo_get, 2, 2, "KEY FILE", "one record as JSON; exit 1 when there is none"},
    {"prove", repo_prove, 2, 2, "KEY FILE", "a CAR that shows that a record is there, or is not"},
    {"verify-proof", repo_verify_proof, 2, 2, "KEY FILE", "checks such a CAR, or one of getRecord"},
    {"stat", repo_stat, 1, 0, "FILE…", "the tree, its collections, and what is wasted"},
    {"order", repo_order, 1, 0, "FILE…", "in which order the blocks lie"},
    {"explain", repo_explain, 2, 2, "KEY|CID FILE", "the way to a key; what a block is there for"},
    {"diff", repo_diff, 2, 2, "BEFORE AFTER", "records that changed; nodes too with --json"},
    {"unpack", repo_unpack, 1, 2, "FILE DIR|--ndjson FILE", "records as JSON"},
    {"pack", repo_pack, 1, 1, "DIR|FILE", "a CAR from what unpack wrote, or from another CAR"},
    {"refresh", repo_refresh, 1, 1, "OLD.car --from URL", "the newest commit, by new blocks only"},
    {"frames", repo_frames, 1, 0, "FILE…", "frames of subscribeRepos as Jetstream lines"},
};

static int print_usage(FILE *out, int code)
{
    fprintf(out, "usage: freshet repo VERB [OPTION…] …\n\n");
    for (size_t i = 0; i < FR_COUNT_OF(VERBS); i++) {
        fprintf(out, "  %-12s %-24s %s\n", VERBS[i].name, VERBS[i].words, VERBS[i].summary);
    }
    fprintf(out, "\nfreshet repo VERB --help tells the options; - is standard input.\n");
    return code;
}

/* The exit code, or that of the system where standard output did not take everything. */
static int end_of_output(int code)
{
    /* an earlier flush that failed has dropped what it had, and only this remembers */
    if (fflush(stdout) == 0 && ferror(stdout) == 0) {
        return code;
    }
    fprintf(stderr, "freshet: standard output: not all was written\n");
    return FR_REPO_EXIT_SYSTEM;
}

static int run_verb(size_t verb, int argc, char **argv)
{
    repo_args args = {.options = {.level = FR_LEVEL_FULL}};
    char name[32];
    struct argp_option options[FR_COUNT_OF(OPTIONS)] = {{0}};
    for (size_t i = 0, own = 0; i + 1 < FR_COUNT_OF(OPTIONS); i++) {
        if (cli_option_is_for(&OPTIONS[i], VERBS[verb].name)) {
            options[own++] = OPTIONS[i];
        }
    }
    const struct argp argp = {options, parse_option, VERBS[verb].words, VERBS[verb].summary, NULL,
                              NULL,    NULL};
    snprintf(name, sizeof name, "repo %s", VERBS[verb].name);
    cli_parse(&argp, argc, argv, name, &args);
    if (args.word_count < VERBS[verb].words_min ||
        (VERBS[verb].words_max != 0 && args.word_count > VERBS[verb].words_max)) {
        fprintf(stderr, "usage: freshet repo %s [OPTION…] %s\n", VERBS[verb].name,
                VERBS[verb].words);
        return EXIT_USAGE;
    }
    fr_program_pages_give_back(); /* what starting took is not what the limit is for */
    fr_heap_keep_nothing_large();
    int code = VERBS[verb].run(&args);
    return end_of_output(code);
}

int cli_repo(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        return end_of_output(print_usage(stdout, EXIT_DONE));
    }
    for (size_t i = 0; i < FR_COUNT_OF(VERBS) && argc > 1; i++) {
        if (strcmp(argv[1], VERBS[i].name) == 0) {
            return run_verb(i, argc - 1, argv + 1);
        }
    }
    return print_usage(stderr, EXIT_USAGE);
}
