// SPDX-License-Identifier: MIT OR Apache-2.0
// A row is its two sizes, the key and the value, in memory as in a run. In memory an array of
// places is sorted, and of equal keys the place decides, so that the order of adding stays. In a
// run a sum stands behind each row: whoever gets a row back follows what it says.
#include "row_sort.h"

#include <stdlib.h>

#include <fr/codec.h>
#include <fr/scratch.h>

#define HEAD_BYTES 4 /* u32: size of the key, of the value << 16 */
#define SUM_BYTES 4  /* u32: CRC-32C of the row, from its place in the file */
#define ROW_BYTES_MAX (HEAD_BYTES + ROW_SORT_KEY_BYTES_MAX + ROW_SORT_VALUE_BYTES_MAX + SUM_BYTES)
#define MEMORY_BYTES_MIN (64u << 10)
#define WRITE_BYTES (64u << 10)

/* A run while it is merged: a part of it in memory. */
typedef struct {
    uint64_t at, end; /* in the file: not read yet */
    uint8_t *bytes;
    size_t next, size; /* the row in front begins at next */
    size_t row;        /* its bytes with the sum; 0: there is none */
} run;

struct row_sort {
    row_sort_options options;
    uint8_t *bytes; /* rows, as they came; then parts of runs */
    size_t size, room;
    uint32_t *places; /* of rows in `bytes` */
    size_t count, place_room, given;
    fr_scratch *file;
    uint64_t file_bytes; /* of it */
    run runs[ROW_SORT_RUNS_MAX];
    size_t run_count;
    size_t last; /* the run whose row was handed out; run_count: none */
};

static fr_slice key_at(const uint8_t *row)
{
    return fr_slice_of(row + HEAD_BYTES, fr_load_u32le(row) & 0xffff);
}

static size_t value_bytes(const uint8_t *row)
{
    return fr_load_u32le(row) >> 16;
}

static size_t row_bytes(const uint8_t *row)
{
    return HEAD_BYTES + key_at(row).size + value_bytes(row);
}

fr_status row_sort_new(row_sort **out, const row_sort_options *options, fr_error *err)
{
    row_sort *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for rows");
    }
    s->options = *options;
    s->options.memory_max_bytes =
        FR_MIN(FR_MAX(options->memory_max_bytes, (uint64_t)MEMORY_BYTES_MIN), UINT32_MAX);
    *out = s;
    return FR_OK;
}

void row_sort_free(row_sort *s)
{
    if (s != NULL) {
        free(s->bytes);
        free(s->places);
        fr_scratch_close(s->file);
        free(s);
    }
}

uint64_t row_sort_disk_bytes(const row_sort *s)
{
    return s->file_bytes;
}

static uint32_t sum_of(const uint8_t *row, uint64_t place)
{
    return fr_crc32c((uint32_t)place, row, row_bytes(row));
}

/* ---- runs ------------------------------------------------------------------------------------ */

typedef struct {
    row_sort *sort;
    fr_scratch *file;
    uint64_t at;     /* where the waiting bytes go */
    uint64_t beside; /* bytes of the file that is merged into this one, and goes only then */
    size_t waiting;
    uint8_t room[WRITE_BYTES];
} run_writer;

static fr_status flush_run(run_writer *w, fr_error *err)
{
    if (w->beside + w->at + w->waiting > w->sort->options.disk_max_bytes) {
        return fr_fail_code(err, FR_LIMIT, 0, "limit-disk",
                            "repo: what does not fit in memory does not fit the disk limit");
    }
    FR_TRY(fr_scratch_write(w->file, w->room, w->waiting, w->at, err));
    w->at += w->waiting;
    w->waiting = 0;
    return FR_OK;
}

static fr_status write_row(run_writer *w, const uint8_t *row, fr_error *err)
{
    size_t size = row_bytes(row);
    FR_TRY(w->waiting + size + SUM_BYTES > sizeof w->room ? flush_run(w, err) : FR_OK);
    uint8_t *to = w->room + w->waiting;
    memcpy(to, row, size);
    fr_store_u32le(to + size, sum_of(row, w->at + w->waiting));
    w->waiting += size + SUM_BYTES;
    return FR_OK;
}

static int compare_places(const void *a, const void *b, void *context)
{
    const row_sort *s = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = fr_slice_compare(key_at(s->bytes + x), key_at(s->bytes + y));
    return order != 0 ? order : (x > y) - (x < y);
}

static void sort_places(row_sort *s)
{
    if (s->count != 0) {
        qsort_r(s->places, s->count, sizeof *s->places, compare_places, s);
    }
}

static fr_status write_memory(row_sort *s, run_writer *w, fr_error *err)
{
    sort_places(s);
    for (size_t i = 0; i < s->count; i++) {
        FR_TRY(write_row(w, s->bytes + s->places[i], err));
    }
    s->size = s->count = 0;
    return flush_run(w, err);
}

/* ---- merging --------------------------------------------------------------------------------- */

static bool holds_row(const run *r)
{
    size_t left = r->size - r->next;
    return left >= HEAD_BYTES && row_bytes(r->bytes + r->next) + SUM_BYTES <= left;
}

/* The row behind the one in front comes there, whole and as it was written. */
static fr_status step_run(row_sort *s, run *r, fr_error *err)
{
    r->next += r->row;
    r->row = 0;
    if (!holds_row(r) && r->at < r->end) {
        size_t left = r->size - r->next;
        size_t more = (size_t)FR_MIN(r->end - r->at, (uint64_t)(s->room - left));
        memmove(r->bytes, r->bytes + r->next, left);
        FR_TRY(fr_scratch_read(s->file, r->bytes + left, more, r->at, err));
        r->at += more;
        r->next = 0;
        r->size = left + more;
    }
    const uint8_t *row = r->bytes + r->next;
    size_t left = r->size - r->next;
    if (left == 0) {
        return FR_OK;
    }
    if (!holds_row(r) || sum_of(row, r->at - left) != fr_load_u32le(row + row_bytes(row))) {
        return fr_fail_code(err, FR_CORRUPT, 0, "store-corrupt",
                            "repo: rows that were sorted came back from the disk changed");
    }
    r->row = row_bytes(row) + SUM_BYTES;
    return FR_OK;
}

/* Something of each run in equal parts of the memory. */
static fr_status begin_merge(row_sort *s, fr_error *err)
{
    size_t part = s->options.memory_max_bytes / s->run_count;
    part = FR_MIN(FR_MAX(part, (size_t)ROW_BYTES_MAX), (size_t)WRITE_BYTES * 4);
    uint8_t *bytes = realloc(s->bytes, part * s->run_count);
    if (bytes == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for rows");
    }
    s->bytes = bytes;
    s->room = part;
    s->last = s->run_count;
    for (size_t i = 0; i < s->run_count; i++) {
        s->runs[i].bytes = bytes + i * part;
        s->runs[i].next = s->runs[i].size = s->runs[i].row = 0;
        FR_TRY(step_run(s, &s->runs[i], err));
    }
    return FR_OK;
}

/* The run with the least row; of equal ones the first. FR_END: none has any. */
static fr_status least(row_sort *s, size_t *out, fr_error *err)
{
    *out = s->run_count;
    if (s->last < s->run_count) {
        FR_TRY(step_run(s, &s->runs[s->last], err));
    }
    for (size_t i = 0; i < s->run_count; i++) {
        const run *r = &s->runs[i];
        if (r->row != 0 &&
            (*out == s->run_count ||
             fr_slice_compare(key_at(r->bytes + r->next),
                              key_at(s->runs[*out].bytes + s->runs[*out].next)) < 0)) {
            *out = i;
        }
    }
    s->last = *out;
    return *out < s->run_count ? FR_OK : FR_END;
}

/* All runs become one, in a file of its own. */
static fr_status merge_all(row_sort *s, fr_error *err)
{
    size_t from = 0;
    fr_status status;
    run_writer *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for rows");
    }
    w->sort = s;
    w->beside = s->file_bytes;
    status = fr_scratch_open(&w->file, s->options.folder, err);
    status = status == FR_OK ? begin_merge(s, err) : status;
    while (status == FR_OK && (status = least(s, &from, err)) == FR_OK) {
        const run *r = &s->runs[from];
        status = write_row(w, r->bytes + r->next, err);
    }
    status = status == FR_END ? flush_run(w, err) : status;
    if (status == FR_OK) {
        fr_scratch_close(s->file);
        s->file = w->file;
        s->runs[0] = (run){.at = 0, .end = w->at};
        s->run_count = 1;
        s->file_bytes = w->at;
        s->room = 0;
        free(s->bytes);
        s->bytes = NULL;
    } else {
        fr_scratch_close(w->file);
    }
    free(w);
    return status;
}

static fr_status spill(row_sort *s, fr_error *err)
{
    if (!s->options.may_spill) {
        return fr_fail_code(err, FR_LIMIT, 0, "limit-memory",
                            "repo: the records do not fit the memory limit");
    }
    if (s->file == NULL) {
        FR_TRY(fr_scratch_open(&s->file, s->options.folder, err));
    }
    run_writer *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for rows");
    }
    w->sort = s;
    w->file = s->file;
    w->at = s->file_bytes;
    fr_status status = write_memory(s, w, err);
    s->runs[s->run_count] = (run){.at = s->file_bytes, .end = w->at};
    s->file_bytes = w->at;
    free(w);
    FR_TRY(status);
    s->run_count++;
    return s->run_count < ROW_SORT_RUNS_MAX ? FR_OK : merge_all(s, err);
}

/* ---- the calls ------------------------------------------------------------------------------- */

static fr_status room_for(row_sort *s, size_t bytes, fr_error *err)
{
    if (s->count == s->place_room) {
        size_t room = FR_MAX(s->place_room * 2, (size_t)1024);
        uint32_t *places = realloc(s->places, room * sizeof *places);
        if (places == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for rows");
        }
        s->places = places;
        s->place_room = room;
    }
    if (bytes > s->room - s->size) {
        size_t room = FR_MAX(s->room * 2, (size_t)WRITE_BYTES);
        uint8_t *more = realloc(s->bytes, room);
        if (more == NULL) {
            return fr_fail_code(err, FR_NOMEM, 0, "nomem", "repo: no memory for rows");
        }
        s->bytes = more;
        s->room = room;
    }
    return FR_OK;
}

fr_status row_sort_add(row_sort *s, fr_slice key, fr_slice value, fr_error *err)
{
    size_t size = HEAD_BYTES + key.size + value.size;
    if (key.size > ROW_SORT_KEY_BYTES_MAX || value.size > ROW_SORT_VALUE_BYTES_MAX) {
        return fr_fail(err, FR_INVALID, "repo: a row is too long");
    }
    uint64_t held = s->size + size + (s->count + 1) * sizeof *s->places;
    if (held > s->options.memory_max_bytes && s->count != 0) {
        FR_TRY(spill(s, err));
    }
    FR_TRY(room_for(s, size, err));
    uint8_t *row = s->bytes + s->size;
    fr_store_u32le(row, (uint32_t)(key.size | value.size << 16));
    if (key.size != 0) {
        memcpy(row + HEAD_BYTES, key.data, key.size);
    }
    if (value.size != 0) {
        memcpy(row + HEAD_BYTES + key.size, value.data, value.size);
    }
    s->places[s->count++] = (uint32_t)s->size;
    s->size += size;
    return FR_OK;
}

fr_status row_sort_end(row_sort *s, fr_error *err)
{
    if (s->run_count == 0) {
        sort_places(s);
        return FR_OK;
    }
    FR_TRY(s->count != 0 ? spill(s, err) : FR_OK);
    free(s->places);
    s->places = NULL;
    s->place_room = 0;
    return begin_merge(s, err);
}

fr_status row_sort_next(row_sort *s, fr_slice *key, fr_slice *value, fr_error *err)
{
    const uint8_t *row = NULL;
    if (s->run_count == 0) {
        if (s->given == s->count) {
            return FR_END;
        }
        row = s->bytes + s->places[s->given++];
    } else {
        size_t from = 0;
        FR_TRY(least(s, &from, err));
        row = s->runs[from].bytes + s->runs[from].next;
    }
    *key = key_at(row);
    *value = fr_slice_of(row + HEAD_BYTES + key->size, value_bytes(row));
    return FR_OK;
}
