// SPDX-License-Identifier: MIT OR Apache-2.0
// Records of {u32 size, u32 CRC-32C, payload}; the CRC goes over the size as well. The first byte
// of a payload is its type. Everything in memory is made by reading them in order, at the opening
// and as they are written, by the same functions.
//
// An account is found again through groups: for each 64 rows or fewer of a page, where they begin.
// Tried before: a row of fixed size (did:web has none), and an offset for each account (4 bytes
// more for each, for a read that is not the slow part).
#include "backfill_state.h"

#include <fr/atproto.h>
#include <fr/codec.h>
#include <stdio.h>
#include <stdlib.h>

#define VERSION 1
#define HEAD_BYTES 8 /* size and CRC */
#define GROUP_ROWS 64
#define ROW_BYTES_MAX (1 + FR_BACKFILL_DID_BYTES_MAX + 8 + 1)
#define RECORD_BYTES_MAX (16 + FR_BACKFILL_CURSOR_BYTES_MAX + FR_BACKFILL_PAGE_MAX * ROW_BYTES_MAX)
#define SPEED_SECONDS 60
#define ORDINAL_MAX UINT32_C(0xfffffffe)
/* results beyond so many for each account, and this number, are worth a new file */
#define RESULTS_OF_ACCOUNT_MAX 3
#define RESULTS_SPARE 4096

enum {
    RECORD_BEGIN = 1,
    RECORD_PAGE = 2,
    RECORD_HOST = 3,
    RECORD_RESULT = 4,
    RECORD_RETRY = 5,
    RECORD_ANCHOR = 6
};

typedef struct {
    uint32_t first; /* ordinal */
    uint64_t at;    /* of its row, in the file */
} row_group;

typedef struct {
    char *url;
    uint64_t pending, done, failed;
} host_entry;

struct backfill_state {
    fr_os *os;
    fr_file *file;
    char path[FR_PATH_MAX];
    char url[FR_BACKFILL_URL_BYTES_MAX + 1];
    uint64_t size; /* of what checks: the next record goes there */
    bool begun;

    uint8_t *marks; /* outcome, and attempts above it */
    uint16_t *host_of;
    uint64_t room; /* of both */
    row_group *groups;
    size_t group_count, group_room;
    host_entry *hosts; /* [0] is unused */
    size_t host_room;

    char cursor[FR_BACKFILL_CURSOR_BYTES_MAX];
    size_t cursor_size;
    backfill_figures figures;
    uint64_t results; /* records of that type */
    uint64_t anchor;
    uint64_t second_of[SPEED_SECONDS];
    uint32_t done_in[SPEED_SECONDS];
    fr_buffer record; /* being written, or rows being read */
};

const char *backfill_outcome_name(backfill_outcome outcome)
{
    static const char *const names[BACKFILL_OUTCOMES] = {
        "pending",     "located",     "done",      "held",        "takendown", "suspended",
        "deactivated", "deleted",     "not-found", "no-document", "signature", "wrong-did",
        "damaged",     "unreachable", "refused",   "too-large"};
    return (unsigned)outcome < BACKFILL_OUTCOMES ? names[outcome] : "unknown";
}

fr_status backfill_state_path(const char *data_dir, const char *url, char *out, size_t room,
                              fr_error *err)
{
    return fr_path(out, room, err, "%s/backfill/%016llx.journal", data_dir,
                   (unsigned long long)fr_xxh3_64(fr_slice_text(url)));
}

/* ---- what is in memory ----------------------------------------------------------------------- */

static backfill_outcome outcome_at(const backfill_state *state, uint32_t ordinal)
{
    return (backfill_outcome)(state->marks[ordinal] & 15);
}

backfill_mark backfill_state_mark(const backfill_state *state, uint32_t ordinal)
{
    return (backfill_mark){.outcome = outcome_at(state, ordinal),
                           .attempts = state->marks[ordinal] >> 4,
                           .host = state->host_of[ordinal]};
}

static void count(backfill_state *state, backfill_outcome outcome, uint16_t host, int by)
{
    uint64_t step = (uint64_t)(int64_t)by;
    host_entry *of_host = &state->hosts[host];
    bool pending = backfill_is_pending(outcome), failed = backfill_is_failed(outcome);
    state->figures.by_outcome[outcome] += step;
    state->figures.pending += pending ? step : 0;
    state->figures.failed += failed ? step : 0;
    of_host->pending += pending ? step : 0;
    of_host->failed += failed ? step : 0;
    of_host->done += pending || failed ? 0 : step;
}

static void set_mark(backfill_state *state, uint32_t ordinal, backfill_mark mark)
{
    count(state, outcome_at(state, ordinal), state->host_of[ordinal], -1);
    state->marks[ordinal] = (uint8_t)(mark.outcome | mark.attempts << 4);
    state->host_of[ordinal] = mark.host;
    count(state, mark.outcome, mark.host, 1);
}

static void note_speed(backfill_state *state, uint64_t second)
{
    size_t slot = second % SPEED_SECONDS;
    if (state->second_of[slot] != second) {
        state->second_of[slot] = second;
        state->done_in[slot] = 0;
    }
    state->done_in[slot]++;
}

static fr_status grow(void **array, size_t *room, size_t wanted, size_t each, fr_error *err)
{
    if (wanted <= *room) {
        return FR_OK;
    }
    size_t more = FR_MAX(wanted, *room + *room / 2);
    void *bigger = realloc(*array, more * each);
    if (bigger == NULL) {
        return fr_fail(err, FR_NOMEM, "backfill: no memory for its state");
    }
    *array = bigger;
    *room = more;
    return FR_OK;
}

static fr_status make_room(backfill_state *state, uint64_t accounts, fr_error *err)
{
    size_t marks = state->room, hosts = state->room;
    if (accounts > ORDINAL_MAX) {
        return fr_fail(err, FR_LIMIT, "backfill: more accounts than can be counted");
    }
    FR_TRY(grow((void **)&state->marks, &marks, accounts, sizeof *state->marks, err));
    FR_TRY(grow((void **)&state->host_of, &hosts, accounts, sizeof *state->host_of, err));
    state->room = FR_MIN(marks, hosts);
    size_t groups = state->group_count + FR_BACKFILL_PAGE_MAX / GROUP_ROWS + 1;
    return grow((void **)&state->groups, &state->group_room, groups, sizeof *state->groups, err);
}

static void forget(backfill_state *state)
{
    for (size_t i = 1; i <= state->figures.hosts; i++) {
        free(state->hosts[i].url);
    }
    if (state->hosts != NULL) {
        state->hosts[0] = (host_entry){0};
    }
    memset(state->second_of, 0, sizeof state->second_of);
    memset(state->done_in, 0, sizeof state->done_in);
    state->figures = (backfill_figures){0};
    state->group_count = 0;
    state->cursor_size = 0;
    state->results = 0;
    state->anchor = 0;
    state->size = 0;
    state->begun = false;
}

/* ---- taking records: false when one is not what it should be --------------------------------- */

typedef struct {
    fr_slice left;
    bool bad;
} take;

static fr_slice take_bytes(take *t, size_t size)
{
    if (size > t->left.size) {
        t->bad = true;
        return (fr_slice){NULL, 0};
    }
    fr_slice got = fr_slice_sub(t->left, 0, size);
    t->left = fr_slice_from(t->left, size);
    return got;
}

static uint64_t take_number(take *t, size_t size)
{
    uint64_t value = 0;
    fr_slice got = take_bytes(t, size);
    memcpy(&value, t->bad ? (const uint8_t *)&value : got.data, t->bad ? 0 : size);
    return value;
}

/** What a row can say of an account whose turn has not come. */
static bool is_listed(backfill_outcome outcome)
{
    return outcome == BACKFILL_PENDING ||
           (outcome >= BACKFILL_TAKENDOWN && outcome <= BACKFILL_DELETED);
}

static bool take_row(take *t, backfill_account *out)
{
    size_t size = take_number(t, 1);
    out->did = take_bytes(t, size);
    out->rev = take_number(t, 8);
    out->outcome = (backfill_outcome)take_number(t, 1);
    return !t->bad && size != 0 && is_listed(out->outcome);
}

static fr_status take_begin(backfill_state *state, take *t, bool *good)
{
    uint64_t version = take_number(t, 1);
    *good = !t->bad && !state->begun && version == VERSION && t->left.size != 0 &&
            t->left.size <= FR_BACKFILL_URL_BYTES_MAX;
    if (*good) {
        memcpy(state->url, t->left.data, t->left.size);
        state->url[t->left.size] = '\0';
        state->begun = true;
    }
    return FR_OK;
}

static bool page_is_good(take rows, uint64_t row_count)
{
    backfill_account account;
    for (uint64_t i = 0; i < row_count; i++) {
        if (!take_row(&rows, &account)) {
            return false;
        }
    }
    return rows.left.size == 0;
}

static fr_status take_page(backfill_state *state, take *t, uint64_t end, bool *good, fr_error *err)
{
    bool last = take_number(t, 1) != 0;
    fr_slice cursor = take_bytes(t, take_number(t, 2));
    uint64_t row_count = take_number(t, 2);
    *good = !t->bad && !state->figures.complete && cursor.size <= FR_BACKFILL_CURSOR_BYTES_MAX &&
            row_count <= FR_BACKFILL_PAGE_MAX && page_is_good(*t, row_count);
    if (!*good) {
        return FR_OK;
    }
    uint64_t first = state->figures.listed;
    FR_TRY(make_room(state, first + row_count, err));
    for (uint64_t i = 0; i < row_count; i++) {
        backfill_account account;
        if (i % GROUP_ROWS == 0) {
            state->groups[state->group_count++] =
                (row_group){(uint32_t)(first + i), end - t->left.size};
        }
        (void)take_row(t, &account);
        state->marks[first + i] = (uint8_t)account.outcome;
        state->host_of[first + i] = 0;
        count(state, account.outcome, 0, 1);
    }
    state->figures.listed += row_count;
    state->figures.complete = last;
    memcpy(state->cursor, cursor.data == NULL ? (const uint8_t *)"" : cursor.data, cursor.size);
    state->cursor_size = cursor.size;
    return FR_OK;
}

static fr_status take_host(backfill_state *state, take *t, bool *good, fr_error *err)
{
    size_t number = state->figures.hosts + 1;
    *good = t->left.size != 0 && t->left.size <= FR_BACKFILL_URL_BYTES_MAX &&
            number <= FR_BACKFILL_HOSTS_MAX && memchr(t->left.data, '\0', t->left.size) == NULL;
    if (!*good) {
        return FR_OK;
    }
    FR_TRY(grow((void **)&state->hosts, &state->host_room, number + 1, sizeof *state->hosts, err));
    char *url = strndup((const char *)t->left.data, t->left.size);
    if (url == NULL) {
        return fr_fail(err, FR_NOMEM, "backfill: no memory for a host");
    }
    state->hosts[number] = (host_entry){.url = url};
    state->figures.hosts = (uint32_t)number;
    return FR_OK;
}

static bool result_is_good(const backfill_state *state, uint64_t ordinal, backfill_mark mark)
{
    return ordinal < state->figures.listed && (unsigned)mark.outcome < BACKFILL_OUTCOMES &&
           mark.attempts <= FR_BACKFILL_ATTEMPTS_MAX && mark.host <= state->figures.hosts &&
           (mark.outcome != BACKFILL_LOCATED || mark.host != 0);
}

static fr_status take_result(backfill_state *state, take *t, bool *good)
{
    uint64_t ordinal = take_number(t, 4);
    backfill_mark mark;
    mark.outcome = (backfill_outcome)take_number(t, 1);
    mark.attempts = (uint32_t)take_number(t, 1);
    mark.host = (uint16_t)take_number(t, 2);
    uint64_t second = take_number(t, 4), bytes = take_number(t, 7);
    *good = !t->bad && t->left.size == 0 && result_is_good(state, ordinal, mark);
    if (*good) {
        set_mark(state, (uint32_t)ordinal, mark);
        state->figures.bytes += bytes;
        state->results++;
        if (mark.outcome == BACKFILL_DONE) {
            note_speed(state, second);
        }
    }
    return FR_OK;
}

static fr_status take_retry(backfill_state *state, take *t, bool *good)
{
    *good = t->left.size == 0;
    for (uint64_t i = 0; *good && i < state->figures.listed; i++) {
        if (backfill_is_failed(outcome_at(state, (uint32_t)i))) {
            set_mark(state, (uint32_t)i, (backfill_mark){BACKFILL_PENDING, 0, 0});
        }
    }
    return FR_OK;
}

static fr_status take_anchor(backfill_state *state, take *t, bool *good)
{
    uint64_t live = take_number(t, 8);
    *good = !t->bad && t->left.size == 0 && live != 0;
    state->anchor = *good ? live : state->anchor;
    return FR_OK;
}

/** `end`: where in the file the record ends. */
static fr_status take_record(backfill_state *state, fr_slice payload, uint64_t end, bool *good,
                             fr_error *err)
{
    take t = {.left = fr_slice_from(payload, 1)};
    uint8_t type = payload.data[0];
    if (state->begun == (type == RECORD_BEGIN)) {
        *good = false; /* a journal begins once, and with that */
        return FR_OK;
    }
    switch (type) {
        case RECORD_BEGIN: return take_begin(state, &t, good);
        case RECORD_PAGE: return take_page(state, &t, end, good, err);
        case RECORD_HOST: return take_host(state, &t, good, err);
        case RECORD_RESULT: return take_result(state, &t, good);
        case RECORD_RETRY: return take_retry(state, &t, good);
        case RECORD_ANCHOR: return take_anchor(state, &t, good);
        default: *good = false; return FR_OK;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

/** The payload of the record at `at`; empty when there is no whole one that checks. */
static fr_slice record_at(fr_slice bytes, uint64_t at)
{
    fr_slice rest = fr_slice_from(bytes, at);
    uint32_t size = rest.size < HEAD_BYTES ? 0 : fr_load_u32le(rest.data);
    if (size == 0 || size > RECORD_BYTES_MAX || size > rest.size - HEAD_BYTES) {
        return (fr_slice){NULL, 0};
    }
    uint32_t crc = fr_crc32c(fr_crc32c(0, rest.data, 4), rest.data + HEAD_BYTES, size);
    return crc == fr_load_u32le(rest.data + 4) ? fr_slice_sub(rest, HEAD_BYTES, size)
                                               : (fr_slice){NULL, 0};
}

/** Takes every record up to the first that is torn or makes no sense: state->size ends there. */
static fr_status replay(backfill_state *state, fr_slice bytes, fr_error *err)
{
    for (;;) {
        bool good = false;
        fr_slice payload = record_at(bytes, state->size);
        uint64_t end = state->size + HEAD_BYTES + payload.size;
        if (payload.size == 0) {
            return FR_OK;
        }
        FR_TRY(take_record(state, payload, end, &good, err));
        if (!good) {
            return FR_OK;
        }
        state->size = end;
    }
}

static fr_status map_journal(backfill_state *state, fr_slice *map, fr_error *err)
{
    uint64_t size = 0;
    *map = (fr_slice){NULL, 0};
    FR_TRY(fr_file_size(state->file, &size, err));
    return size == 0 ? FR_OK : fr_file_map(state->file, size, map, err);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void begin_record(fr_buffer *out, uint8_t type)
{
    fr_buffer_append(out, "\0\0\0\0\0\0\0\0", HEAD_BYTES);
    fr_buffer_byte(out, type);
}

static void put_number(fr_buffer *out, uint64_t value, size_t size)
{
    fr_buffer_append(out, &value, size);
}

/** Closes the record that begins at `from`. */
static void end_record(fr_buffer *out, size_t from)
{
    if (!out->failed) {
        uint8_t *head = out->data + from;
        size_t size = out->size - from - HEAD_BYTES;
        fr_store_u32le(head, (uint32_t)size);
        fr_store_u32le(head + 4, fr_crc32c(fr_crc32c(0, head, 4), head + HEAD_BYTES, size));
    }
}

static void put_begin(fr_buffer *out, const char *url)
{
    size_t from = out->size;
    begin_record(out, RECORD_BEGIN);
    put_number(out, VERSION, 1);
    fr_buffer_text(out, url);
    end_record(out, from);
}

static void put_result(fr_buffer *out, uint32_t ordinal, backfill_mark mark, uint64_t second,
                       uint64_t bytes)
{
    size_t from = out->size;
    begin_record(out, RECORD_RESULT);
    put_number(out, ordinal, 4);
    put_number(out, mark.outcome, 1);
    put_number(out, mark.attempts, 1);
    put_number(out, mark.host, 2);
    put_number(out, second, 4);
    put_number(out, bytes, 7);
    end_record(out, from);
}

/** Writes the one record in state->record and takes it as a reader would. */
static fr_status append(backfill_state *state, fr_error *err)
{
    bool good = false;
    fr_slice record = fr_buffer_view(&state->record);
    FR_TRY(fr_buffer_status(&state->record, err));
    FR_TRY(fr_file_pwrite(state->file, record.data, record.size, state->size, err));
    FR_TRY(take_record(state, fr_slice_from(record, HEAD_BYTES), state->size + record.size, &good,
                       err));
    if (!good) {
        return fr_fail(err, FR_INVALID, "backfill: a record that no reader would take");
    }
    state->size += record.size;
    return FR_OK;
}

fr_status backfill_state_page(backfill_state *state, const backfill_account *accounts, size_t count,
                              fr_slice cursor, bool last, fr_error *err)
{
    fr_buffer *out = &state->record;
    fr_buffer_reset(out);
    begin_record(out, RECORD_PAGE);
    put_number(out, last, 1);
    put_number(out, cursor.size, 2);
    fr_buffer_slice(out, cursor);
    put_number(out, count, 2);
    for (size_t i = 0; i < count; i++) {
        put_number(out, accounts[i].did.size, 1);
        fr_buffer_slice(out, accounts[i].did);
        put_number(out, accounts[i].rev, 8);
        put_number(out, accounts[i].outcome, 1);
    }
    end_record(out, 0);
    FR_TRY(append(state, err));
    return fr_file_sync(state->file, err);
}

fr_status backfill_state_host(backfill_state *state, fr_slice url, uint16_t *out, fr_error *err)
{
    for (uint32_t i = 1; i <= state->figures.hosts; i++) {
        if (fr_slice_equal(fr_slice_text(state->hosts[i].url), url)) {
            *out = (uint16_t)i;
            return FR_OK;
        }
    }
    if (url.size > FR_BACKFILL_URL_BYTES_MAX || state->figures.hosts == FR_BACKFILL_HOSTS_MAX) {
        return fr_fail(err, FR_LIMIT, "backfill: too many hosts, or too long an address");
    }
    fr_buffer_reset(&state->record);
    begin_record(&state->record, RECORD_HOST);
    fr_buffer_slice(&state->record, url);
    end_record(&state->record, 0);
    FR_TRY(append(state, err));
    *out = (uint16_t)state->figures.hosts;
    return FR_OK;
}

fr_status backfill_state_result(backfill_state *state, uint32_t ordinal, backfill_mark mark,
                                uint64_t bytes, fr_error *err)
{
    fr_buffer_reset(&state->record);
    put_result(&state->record, ordinal, mark, fr_os_wall_us(state->os) / 1000000, bytes);
    return append(state, err);
}

fr_status backfill_state_retry(backfill_state *state, fr_error *err)
{
    fr_buffer_reset(&state->record);
    begin_record(&state->record, RECORD_RETRY);
    end_record(&state->record, 0);
    FR_TRY(append(state, err));
    return fr_file_sync(state->file, err);
}

fr_status backfill_state_anchor(backfill_state *state, uint64_t live, fr_error *err)
{
    fr_buffer_reset(&state->record);
    begin_record(&state->record, RECORD_ANCHOR);
    put_number(&state->record, live, 8);
    end_record(&state->record, 0);
    FR_TRY(append(state, err));
    return fr_file_sync(state->file, err);
}

/* ---- a new file ------------------------------------------------------------------------------ */

/** `bytes` becomes the journal, in one step. */
static fr_status replace(backfill_state *state, fr_slice bytes, fr_error *err)
{
    FR_TRY(fr_os_write_file_atomic(state->os, state->path, bytes, err));
    fr_file *file = NULL;
    FR_TRY(fr_file_open(&file, state->os, state->path, FR_OPEN_WRITE, err));
    (void)fr_file_close(state->file, NULL);
    state->file = file;
    forget(state);
    return replay(state, bytes, err);
}

fr_status backfill_state_restart(backfill_state *state, fr_error *err)
{
    fr_buffer_reset(&state->record);
    put_begin(&state->record, state->url);
    FR_TRY(fr_buffer_status(&state->record, err));
    return replace(state, fr_buffer_view(&state->record), err);
}

/** Is this record still worth having? A result is when it is the account's mark today, the first of
 *  such since the last retry. */
static bool is_kept(const backfill_state *state, fr_slice payload, uint8_t *seen)
{
    if (payload.data[0] == RECORD_RETRY) {
        memset(seen, 0, state->figures.listed / 8 + 1);
    }
    if (payload.data[0] != RECORD_RESULT) {
        return true;
    }
    uint32_t ordinal = fr_load_u32le(payload.data + 1);
    bool current = (payload.data[5] | payload.data[6] << 4) == state->marks[ordinal] &&
                   (payload.data[7] | payload.data[8] << 8) == state->host_of[ordinal];
    bool kept = current && (seen[ordinal / 8] & 1 << ordinal % 8) == 0;
    seen[ordinal / 8] |= (uint8_t)(kept << ordinal % 8);
    return kept;
}

/** The same marks from fewer records. Bytes of what was loaded and then came to nothing are no
 *  longer counted. */
static fr_status compact(backfill_state *state, fr_slice bytes, fr_error *err)
{
    fr_buffer out;
    uint8_t *seen = calloc(1, state->figures.listed / 8 + 1);
    if (seen == NULL) {
        return fr_fail(err, FR_NOMEM, "backfill: no memory for its state");
    }
    fr_buffer_init(&out, SIZE_MAX / 2);
    for (uint64_t at = 0; at < state->size;) {
        fr_slice payload = record_at(bytes, at);
        if (is_kept(state, payload, seen)) {
            fr_buffer_slice(&out, fr_slice_sub(bytes, at, HEAD_BYTES + payload.size));
        }
        at += HEAD_BYTES + payload.size;
    }
    free(seen);
    fr_status status = fr_buffer_status(&out, err);
    status = status == FR_OK ? replace(state, fr_buffer_view(&out), err) : status;
    fr_buffer_done(&out);
    return status;
}

/* ---- opening --------------------------------------------------------------------------------- */

static fr_status read_journal(backfill_state *state, bool read_only, fr_error *err)
{
    fr_slice map;
    FR_TRY(map_journal(state, &map, err));
    fr_status status = replay(state, map, err);
    if (status == FR_OK && map.size != 0 && !state->begun) {
        status = fr_fail(err, FR_CORRUPT, "backfill: not a journal of this version");
    }
    bool wasteful = state->results > state->figures.listed * RESULTS_OF_ACCOUNT_MAX + RESULTS_SPARE;
    if (status == FR_OK && wasteful && !read_only) {
        status = compact(state, map, err);
    }
    if (map.size != 0) {
        fr_file_unmap(state->os, map);
    }
    return status;
}

static fr_status begin_or_check(backfill_state *state, const char *url, fr_error *err)
{
    if (state->begun) {
        return strcmp(state->url, url) == 0
                   ? fr_file_truncate(state->file, state->size, err)
                   : fr_fail(err, FR_CORRUPT, "backfill: a journal of another URL");
    }
    snprintf(state->url, sizeof state->url, "%s", url);
    return backfill_state_restart(state, err);
}

static fr_status open_journal(backfill_state *state, const char *url, bool read_only, fr_error *err)
{
    unsigned flags = read_only ? FR_OPEN_READ : FR_OPEN_WRITE | FR_OPEN_CREATE;
    FR_TRY(grow((void **)&state->hosts, &state->host_room, 1, sizeof *state->hosts, err));
    state->hosts[0] = (host_entry){0};
    if (url != NULL && (url[0] == '\0' || strlen(url) > FR_BACKFILL_URL_BYTES_MAX)) {
        return fr_fail(err, FR_INVALID, "backfill: too long an address");
    }
    FR_TRY(fr_file_open(&state->file, state->os, state->path, flags, err));
    FR_TRY(read_journal(state, read_only, err));
    if (read_only) {
        return state->begun ? FR_OK : fr_fail(err, FR_NOT_FOUND, "backfill: nothing begun");
    }
    return begin_or_check(state, url, err);
}

fr_status backfill_state_open(backfill_state **out, fr_os *os, const char *path, const char *url,
                              bool read_only, fr_error *err)
{
    backfill_state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return fr_fail(err, FR_NOMEM, "backfill: no memory for its state");
    }
    state->os = os;
    fr_buffer_init(&state->record, HEAD_BYTES + RECORD_BYTES_MAX);
    fr_status status = fr_path(state->path, sizeof state->path, err, "%s", path);
    if (status == FR_OK) {
        status = open_journal(state, url, read_only, err);
    }
    if (status != FR_OK) {
        backfill_state_close(state);
        return status;
    }
    *out = state;
    return FR_OK;
}

void backfill_state_close(backfill_state *state)
{
    if (state == NULL) {
        return;
    }
    forget(state);
    (void)fr_file_close(state->file, NULL);
    free(state->hosts);
    free(state->marks);
    free(state->host_of);
    free(state->groups);
    fr_buffer_done(&state->record);
    free(state);
}

/* ---- asking ---------------------------------------------------------------------------------- */

const char *backfill_state_url(const backfill_state *state)
{
    return state->url;
}

uint64_t backfill_state_anchored(const backfill_state *state)
{
    return state->anchor;
}

fr_slice backfill_state_cursor(const backfill_state *state)
{
    return fr_slice_of(state->cursor, state->cursor_size);
}

const char *backfill_state_host_url(const backfill_state *state, uint16_t host)
{
    return state->hosts[host].url;
}

backfill_host_figures backfill_state_host_figures(const backfill_state *state, uint16_t host)
{
    const host_entry *of = &state->hosts[host];
    return (backfill_host_figures){of->url, of->pending, of->done, of->failed};
}

void backfill_state_figures(const backfill_state *state, backfill_figures *out)
{
    uint64_t now = fr_os_wall_us(state->os) / 1000000, done = 0;
    *out = state->figures;
    for (size_t i = 0; i < SPEED_SECONDS; i++) {
        bool recent = state->second_of[i] + SPEED_SECONDS > now && state->second_of[i] <= now;
        done += recent ? state->done_in[i] : 0;
    }
    out->repos_per_s = (double)done / SPEED_SECONDS;
}

/** The last group that begins at or before the ordinal. */
static const row_group *group_of(const backfill_state *state, uint32_t ordinal)
{
    size_t low = 0, high = state->group_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (state->groups[middle].first <= ordinal) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &state->groups[low];
}

fr_status backfill_state_account(backfill_state *state, uint32_t ordinal,
                                 char room[FR_BACKFILL_DID_BYTES_MAX + 1], backfill_account *out,
                                 fr_error *err)
{
    const row_group *group = group_of(state, ordinal);
    size_t rows = ordinal - group->first + 1;
    size_t wanted = FR_MIN(rows * ROW_BYTES_MAX, state->size - group->at), got = 0;
    fr_buffer_reset(&state->record);
    uint8_t *bytes = fr_buffer_reserve(&state->record, wanted);
    if (bytes == NULL) {
        return fr_fail(err, FR_NOMEM, "backfill: no memory for rows");
    }
    FR_TRY(fr_file_pread(state->file, bytes, wanted, group->at, &got, err));
    take t = {.left = fr_slice_of(bytes, got)};
    for (size_t i = 0; i < rows; i++) {
        if (!take_row(&t, out)) {
            return fr_fail(err, FR_CORRUPT, "backfill: an account cannot be read again");
        }
    }
    memcpy(room, out->did.data, out->did.size);
    room[out->did.size] = '\0';
    out->did = fr_slice_of(room, out->did.size);
    return FR_OK;
}

backfill_request backfill_request_in(const char *path)
{
    uint8_t *text = NULL;
    size_t size = 0;
    bool asked = fr_os_read_file(fr_os_real(), path, 64, &text, &size, NULL) == FR_OK;
    bool all = asked && size >= 3 && memcmp(text, "all", 3) == 0;
    free(text);
    return all ? BACKFILL_LIST_AGAIN : asked ? BACKFILL_RETRY_FAILED : BACKFILL_NO_REQUEST;
}
