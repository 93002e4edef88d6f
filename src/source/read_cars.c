// SPDX-License-Identifier: MIT OR Apache-2.0
// A folder is listed first, without recursion, so that the total is known when reading begins; and
// where keys come from a directory, the accounts of the next files are looked up in their commits,
// whose documents are fetched while the files before are read (did_prefetch.h).
#include <stdio.h>
#include <stdlib.h>

#include <fr/os.h>
#include <fr/repo_load.h>

#include "bytes.h"
#include "check_signature.h"
#include "did_prefetch.h"
#include "one_car.h"
#include "readers.h"

#define FR_SOURCE_CARS_AHEAD_MAX 64
#define PEEK_BYTES (256U << 10) /* in which the commit is found, or that file is not looked ahead */

/* ---- one CAR --------------------------------------------------------------------------------- */

typedef struct {
    feeder *feed;
    fr_did_resolver *resolver;
    fr_repo *repo;          /* its memory serves every CAR */
    did_prefetch *prefetch; /* NULL: there is no key to fetch */
    fr_load *peek;
} car_reader;

/** Everything that can be wrong with the whole of it. */
static fr_status check_car(car_reader *cars, fr_slice input, bool *unverified, fr_error *why)
{
    const fr_repo_options demand = {0};
    FR_TRY(one_car_check(&cars->repo, input, &demand, why));
    return check_signature(cars->resolver, fr_repo_commit(cars->repo), CHECK_SIGNATURE_AT_LEISURE,
                           unverified, why);
}

static fr_status take_car(car_reader *cars, fr_slice input, const char *name, fr_error *err)
{
    fr_error why = {0};
    bool unverified = false;
    fr_status status = check_car(cars, input, &unverified, &why);
    if (status == FR_NOMEM) {
        *err = why;
        return status;
    }
    if (status != FR_OK) {
        feeder_place place = {name, why.offset, false};
        feeder_reject(cars->feed, &place, 1, &why);
        return FR_OK;
    }
    cars->feed->unverified += unverified;
    return one_car_hand_on(cars->feed, cars->repo, name, err);
}

/* ---- from where ------------------------------------------------------------------------------ */

static fr_status take_pipe(car_reader *cars, fr_stream *stream, const char *name, fr_error *err)
{
    enum { STEP = 1 << 20 };
    fr_buffer bytes;
    fr_status status = FR_OK;
    fr_buffer_init(&bytes, FR_SOURCE_CAR_PIPE_BYTES_MAX);
    while (status == FR_OK || status == FR_AGAIN) {
        size_t got = 0;
        uint8_t *at = fr_buffer_reserve(&bytes, STEP);
        fr_error_reset(err);
        if (at == NULL) {
            status = fr_buffer_status(&bytes, err);
            break;
        }
        status = feeder_stopped(cars->feed)
                     ? FR_END
                     : fr_stream_read(stream, at, STEP, &got, FR_SOURCE_LOOK_NS, err);
        bytes.size += got;
    }
    if (feeder_stopped(cars->feed)) {
        status = fr_fail(err, FR_AGAIN, "stopped");
    }
    if (status == FR_END) {
        status = take_car(cars, fr_buffer_view(&bytes), name, err);
    }
    fr_buffer_done(&bytes);
    return status;
}

static fr_status map_car(const char *path, fr_slice *map, fr_error *err)
{
    fr_cleanup(fr_file_closep) fr_file *file = NULL;
    uint64_t size = 0;
    *map = (fr_slice){NULL, 0};
    FR_TRY(fr_file_open(&file, fr_os_real(), path, FR_OPEN_READ, err));
    FR_TRY(fr_file_size(file, &size, err));
    return size == 0 ? FR_OK : fr_file_map(file, size, map, err);
}

/** Takes the map, too. */
static fr_status take_map(car_reader *cars, fr_slice map, const char *name, fr_error *err)
{
    fr_status status = take_car(cars, map, name, err);
    cars->feed->done_bytes += map.size;
    if (map.size != 0) {
        fr_file_unmap(fr_os_real(), map);
    }
    return status;
}

static fr_status take_mapped(car_reader *cars, const char *path, fr_error *err)
{
    fr_slice map;
    FR_TRY(map_car(path, &map, err));
    return take_map(cars, map, path, err);
}

static fr_status take_file(car_reader *cars, const char *path, fr_error *err)
{
    fr_cleanup(fr_stream_closep) fr_stream *stream = NULL;
    FR_TRY(fr_stream_open(&stream, path, err));
    cars->feed->total_bytes = fr_stream_size(stream);
    /* An empty file and a pipe both say 0: the pipe's way serves both. */
    return cars->feed->total_bytes == 0 ? take_pipe(cars, stream, path, err)
                                        : take_mapped(cars, path, err);
}

/* ---- folders --------------------------------------------------------------------------------- */

typedef struct {
    char **paths;
    size_t count, room;
} path_list;

static void path_list_done(path_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->paths[i]);
    }
    free(list->paths);
    *list = (path_list){0};
}

static fr_status path_list_add(path_list *list, const char *folder, const char *name, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(fr_path(path, sizeof path, err, name == NULL ? "%s" : "%s/%s", folder, name));
    if (list->count == list->room) {
        size_t room = FR_MAX((size_t)64, list->room * 2);
        char **paths = realloc(list->paths, room * sizeof *paths);
        if (paths == NULL) {
            return fr_fail(err, FR_NOMEM, "source: no memory for names of CARs");
        }
        list->paths = paths;
        list->room = room;
    }
    list->paths[list->count] = strdup(path);
    if (list->paths[list->count] == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory for names of CARs");
    }
    list->count++;
    return FR_OK;
}

typedef struct {
    path_list *into;
    const char *folder;
    fr_error *err;
} listing;

static fr_status note_entry(void *context, const char *name)
{
    listing *l = context;
    return path_list_add(l->into, l->folder, name, l->err);
}

static bool is_car_name(const char *path)
{
    size_t size = strlen(path);
    return size > 4 && strcmp(path + size - 4, ".car") == 0;
}

static size_t depth_of(const char *path, const char *top)
{
    size_t depth = 0;
    for (const char *at = path + strlen(top); *at != '\0'; at++) {
        depth += *at == '/';
    }
    return depth;
}

static void reject_path(feeder *f, const char *path, const fr_error *why)
{
    feeder_place place = {path, 0, false};
    feeder_reject(f, &place, 1, why);
}

typedef struct {
    feeder *feed;
    const char *top;
    path_list stack; /* of folders and CARs still to be looked at; the next one is the last */
    fr_key_set seen; /* folders, so that links between them are no maze */
    path_list *found;
} folder_walk;

static fr_status already_seen(folder_walk *walk, const char *folder, bool *seen, fr_error *why)
{
    uint64_t identity[2];
    FR_TRY(fr_path_identity(folder, identity, why));
    fr_slice first = fr_slice_of(&identity[0], sizeof identity[0]);
    fr_slice second = fr_slice_of(&identity[1], sizeof identity[1]);
    *seen = fr_key_set_has(&walk->seen, first, second);
    return fr_key_set_add(&walk->seen, first, second, why);
}

/** The names in a folder, unless it was seen by another name. */
static fr_status list_folder(folder_walk *walk, const char *folder, path_list *entries,
                             fr_error *why)
{
    bool seen = false;
    listing l = {entries, folder, why};
    if (depth_of(folder, walk->top) > FR_SOURCE_CAR_DEPTH_MAX) {
        return fr_fail(why, FR_LIMIT, "source: folders too deep");
    }
    FR_TRY(already_seen(walk, folder, &seen, why));
    return seen ? FR_OK : fr_os_list(fr_os_real(), folder, note_entry, &l, why);
}

/** Puts what a folder holds on the stack, the first name on top. */
static fr_status open_folder(folder_walk *walk, const char *folder, fr_error *err)
{
    fr_cleanup(path_list_done) path_list entries = {0};
    fr_error why = {0};
    fr_status status = list_folder(walk, folder, &entries, &why);
    if (status == FR_NOMEM) {
        *err = why;
        return status;
    }
    if (status != FR_OK) {
        reject_path(walk->feed, folder, &why);
        return FR_OK;
    }
    for (size_t i = entries.count; i-- > 0;) {
        if (is_car_name(entries.paths[i]) || fr_os_is_dir(fr_os_real(), entries.paths[i])) {
            FR_TRY(path_list_add(&walk->stack, entries.paths[i], NULL, err));
        }
    }
    return FR_OK;
}

/** The size of a regular file; a pipe in a folder is nobody's archive, and would be waited for. */
static fr_status size_of(const char *path, uint64_t *size, fr_error *why)
{
    fr_cleanup(fr_stream_closep) fr_stream *stream = NULL;
    FR_TRY(fr_stream_open(&stream, path, why));
    *size = fr_stream_size(stream);
    return fr_stream_is_regular(stream) ? FR_OK
                                        : fr_fail(why, FR_MALFORMED, "source: not a regular file");
}

static fr_status look_at(folder_walk *walk, const char *path, fr_error *err)
{
    uint64_t size = 0;
    fr_error why = {0};
    if (feeder_stopped(walk->feed)) {
        return fr_fail(err, FR_AGAIN, "stopped");
    }
    if (fr_os_is_dir(fr_os_real(), path)) {
        return open_folder(walk, path, err);
    }
    if (size_of(path, &size, &why) != FR_OK) {
        reject_path(walk->feed, path, &why);
        return FR_OK;
    }
    walk->feed->total_bytes += size;
    return path_list_add(walk->found, path, NULL, err);
}

static fr_status list_cars(feeder *f, const char *top, path_list *found, fr_error *err)
{
    folder_walk walk = {.feed = f, .top = top, .found = found};
    f->total_bytes = 0;
    fr_status status = path_list_add(&walk.stack, top, NULL, err);
    while (status == FR_OK && walk.stack.count != 0) {
        char *path = walk.stack.paths[--walk.stack.count];
        status = look_at(&walk, path, err);
        free(path);
    }
    path_list_done(&walk.stack);
    fr_key_set_done(&walk.seen);
    return status;
}

/** Whose it says it is is asked for; whether it is so is judged in its turn. */
static void look_ahead(car_reader *cars, const char *path)
{
    fr_slice map;
    fr_repo_item item;
    if (map_car(path, &map, NULL) != FR_OK || map.size == 0) {
        return;
    }
    size_t size = FR_MIN(map.size, (size_t)PEEK_BYTES);
    if (fr_load_begin(cars->peek, NULL) == FR_OK &&
        fr_load_push(cars->peek, map.data, size, NULL, NULL) == FR_OK) {
        (void)!fr_load_next(cars->peek, &item, NULL);
        const fr_commit *commit = fr_load_commit(cars->peek);
        if (commit != NULL) {
            did_prefetch_add(cars->prefetch, commit->did);
        }
    }
    fr_load_reset(cars->peek);
    fr_file_unmap(fr_os_real(), map);
}

static fr_status start_ahead(car_reader *cars, fr_error *err)
{
    const fr_load_options options = {.repo = {.level = FR_LEVEL_TRUSTED}};
    if (cars->resolver == NULL || fr_did_resolver_is_file_only(cars->resolver)) {
        return FR_OK;
    }
    FR_TRY(fr_load_new(&cars->peek, &options, err));
    return did_prefetch_start(&cars->prefetch, cars->resolver, err);
}

static fr_status take_folder(car_reader *cars, const char *top, fr_error *err)
{
    fr_cleanup(path_list_done) path_list found = {0};
    size_t ahead = 0;
    FR_TRY(list_cars(cars->feed, top, &found, err));
    FR_TRY(start_ahead(cars, err));
    for (size_t i = 0; i < found.count; i++) {
        fr_slice map;
        fr_error why = {0};
        while (cars->prefetch != NULL && ahead < found.count &&
               ahead < i + FR_SOURCE_CARS_AHEAD_MAX) {
            look_ahead(cars, found.paths[ahead++]);
        }
        if (feeder_stopped(cars->feed)) {
            return fr_fail(err, FR_AGAIN, "stopped");
        }
        if (map_car(found.paths[i], &map, &why) != FR_OK) {
            reject_path(cars->feed, found.paths[i], &why);
            continue;
        }
        FR_TRY(take_map(cars, map, found.paths[i], err));
    }
    return FR_OK;
}

fr_status read_cars(feeder *f, fr_did_resolver *resolver, const char *path, fr_error *err)
{
    fr_error unused = {0};
    car_reader cars = {.feed = f, .resolver = resolver};
    err = err != NULL ? err : &unused;
    f->done_bytes = 0;
    fr_status status = strcmp(path, "-") != 0 && fr_os_is_dir(fr_os_real(), path)
                           ? take_folder(&cars, path, err)
                           : take_file(&cars, path, err);
    did_prefetch_stop(cars.prefetch);
    fr_load_free(cars.peek);
    fr_repo_close(cars.repo);
    return status;
}
