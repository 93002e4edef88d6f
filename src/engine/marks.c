// SPDX-License-Identifier: MIT OR Apache-2.0
// "checkpoints" in the folder of a part: of which log its saved states are. A line a checkpoint,
// the newest last:
//
//   SEQ  id of the log  hash of the event SEQ, bodies aside
//
// It is written before the part is saved at SEQ. At open a saved state is looked up by its
// sequence: one that has no line, or whose line does not speak of this log, comes from elsewhere (a
// folder that was copied, a log that was put back from a backup and went on differently) and is
// built again.
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>

enum { MARKS_MAX_BYTES = 1 << 14, HEX_BYTES = 32, SUM_MAX_BYTES = 4096 };

typedef struct {
    uint64_t seq;
    char log[HEX_BYTES + 1], event[HEX_BYTES + 1];
} mark;

static void to_hex(fr_slice bytes, char *out)
{
    for (size_t i = 0; i < bytes.size; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes.data[i]);
    }
}

/** Bodies may be taken out of a log; what an event was stays. */
static fr_status sum_event(const fr_event *event, char out[HEX_BYTES + 1], fr_error *err)
{
    uint8_t numbers[25];
    uint8_t sum[16];
    fr_buffer text;
    fr_buffer_init(&text, SUM_MAX_BYTES);
    fr_store_u64le(numbers, event->seq);
    fr_store_u64le(numbers + 8, event->time_us);
    fr_store_u64le(numbers + 16, event->rev);
    numbers[24] = (uint8_t)event->kind;
    fr_buffer_append(&text, numbers, sizeof numbers);
    fr_buffer_slice(&text, event->did);
    fr_buffer_slice(&text, event->collection);
    fr_buffer_slice(&text, event->rkey);
    fr_status status = fr_buffer_status(&text, err);
    fr_u128 hash = fr_xxh3_128(fr_buffer_view(&text));
    fr_buffer_done(&text);
    fr_store_u64be(sum, hash.hi);
    fr_store_u64be(sum + 8, hash.lo);
    to_hex(fr_slice_of(sum, sizeof sum), out);
    return status;
}

static fr_status make_mark(fr_engine *engine, uint64_t seq, mark *out, fr_error *err)
{
    char path[FR_PATH_MAX];
    fr_log_reader *reader = NULL;
    fr_event event;
    uint8_t id[FR_LOG_ID_BYTES];
    out->seq = seq;
    FR_TRY(fr_path(path, sizeof path, err, "%s/log", engine->dir));
    FR_TRY(fr_log_reader_open(&reader, engine->os, path, seq, err));
    fr_status status = fr_log_reader_next(reader, true, &event, err);
    status = status == FR_OK ? sum_event(&event, out->event, err) : status;
    fr_log_reader_id(reader, id);
    fr_log_reader_close(reader);
    to_hex(fr_slice_of(id, sizeof id), out->log);
    return status;
}

static fr_status read_marks(const fr_engine *engine, const char *path, char **out, fr_error *err)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    FR_TRY(fr_os_read_file(engine->os, path, MARKS_MAX_BYTES, &bytes, &size, err));
    *out = (char *)bytes;
    return FR_OK;
}

/** The last line of that sequence. */
static bool find(const char *lines, uint64_t seq, mark *out)
{
    bool found = false;
    for (const char *line = lines; line != NULL && *line != 0;) {
        mark m = {0};
        unsigned long long number = 0;
        if (sscanf(line, "%llu %32s %32s", &number, m.log, m.event) == 3 && number == seq) {
            m.seq = seq;
            *out = m;
            found = true;
        }
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    return found;
}

static bool same(const mark *a, const mark *b)
{
    return strcmp(a->log, b->log) == 0 && strcmp(a->event, b->event) == 0;
}

static fr_status path_of(const fr_engine *engine, unsigned part, char out[FR_PATH_MAX],
                         fr_error *err)
{
    char dir[FR_PATH_MAX];
    FR_TRY(fr_engine_part_dir(engine, part, dir, err));
    return fr_path(out, FR_PATH_MAX, err, "%s/checkpoints", dir);
}

static fr_status fail_as(fr_error *err, const fr_error *why)
{
    if (err != NULL) {
        *err = *why;
    }
    return why->status;
}

static fr_status find_saved(fr_engine *engine, unsigned part, uint64_t seq, mark *out,
                            fr_error *err)
{
    char path[FR_PATH_MAX];
    char *lines = NULL;
    fr_error why = {0};
    FR_TRY(path_of(engine, part, path, err));
    fr_status status = read_marks(engine, path, &lines, &why);
    bool found = status == FR_OK && find(lines, seq, out);
    free(lines);
    if (status != FR_OK && status != FR_NOT_FOUND && status != FR_LIMIT) {
        return fail_as(err, &why);
    }
    return found ? FR_OK
                 : fr_fail(err, FR_CORRUPT, "nothing says of which log it is: an older version?");
}

fr_status fr_marks_check(fr_engine *engine, unsigned part, uint64_t seq, fr_error *err)
{
    mark saved;
    mark now = {0};
    fr_error why = {0};
    if (seq == 0) {
        return FR_OK;
    }
    FR_TRY(find_saved(engine, part, seq, &saved, err));
    fr_status status = make_mark(engine, seq, &now, &why);
    if (status != FR_OK && status != FR_NOT_FOUND && status != FR_CORRUPT && status != FR_END) {
        return fail_as(err, &why);
    }
    /* An event that cannot be read, in an archive that is away or damaged, is no evidence against
     * what was saved: throwing that away would need the log from there on. */
    bool unread = status == FR_NOT_FOUND || status == FR_CORRUPT;
    bool known = strcmp(saved.log, now.log) == 0 && (unread || same(&saved, &now));
    return known && status != FR_END ? FR_OK
                                     : fr_fail(err, FR_CORRUPT, "saved state of another log");
}

fr_status fr_marks_fail_ahead(fr_engine *engine, unsigned part, uint64_t seq, uint64_t last,
                              fr_error *err)
{
    mark saved;
    mark now = {0};
    char *text = engine->home->ahead[part];
    bool lost = find_saved(engine, part, seq, &saved, NULL) == FR_OK &&
                make_mark(engine, seq, &now, NULL) == FR_END && strcmp(saved.log, now.log) == 0;
    if (lost && text[0] == 0) { /* that of the newest checkpoint stays: /health may be reading it */
        snprintf(text, sizeof engine->home->ahead[part],
                 "saved state is ahead of the log, which had event %llu and ends with %llu: what "
                 "lies between was cut off, or lost",
                 (unsigned long long)seq, (unsigned long long)last);
    }
    return fr_fail(err, FR_CORRUPT, lost ? text : "saved state is ahead of the log");
}

/** Where the newest lines begin that fit beside one more. */
static const char *newest(const char *lines)
{
    enum { KEPT_MAX_BYTES = MARKS_MAX_BYTES - 256 };
    size_t size = lines == NULL ? 0 : strlen(lines);
    const char *from = size > KEPT_MAX_BYTES ? strchr(lines + size - KEPT_MAX_BYTES, '\n') : lines;
    return from == NULL ? "" : from + (from != lines);
}

fr_status fr_marks_add(fr_engine *engine, unsigned part, uint64_t seq, fr_error *err)
{
    char dir[FR_PATH_MAX];
    char path[FR_PATH_MAX];
    char *lines = NULL;
    mark fresh;
    mark there;
    fr_buffer text;
    if (seq == 0) {
        return FR_OK;
    }
    FR_TRY(make_mark(engine, seq, &fresh, err));
    FR_TRY(fr_engine_part_dir(engine, part, dir, err));
    FR_TRY(path_of(engine, part, path, err));
    FR_TRY(fr_os_mkdir_synced(engine->os, dir, err));
    (void)!read_marks(engine, path, &lines, NULL); /* unreadable: begun anew */
    if (lines != NULL && find(lines, seq, &there) && same(&there, &fresh)) {
        free(lines);
        return FR_OK;
    }
    fr_buffer_init(&text, MARKS_MAX_BYTES);
    fr_buffer_text(&text, newest(lines));
    fr_buffer_printf(&text, "%llu %s %s\n", (unsigned long long)seq, fresh.log, fresh.event);
    free(lines);
    fr_status status = fr_buffer_status(&text, err);
    status = status == FR_OK ? fr_os_write_file_atomic(engine->os, path, fr_buffer_view(&text), err)
                             : status;
    fr_buffer_done(&text);
    return status;
}
