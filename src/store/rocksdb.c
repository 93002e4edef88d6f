// SPDX-License-Identifier: MIT OR Apache-2.0
// The RocksDB room. Nothing goes through its write path: a load is written as one sorted table file
// (SstFileWriter) and ingested, which is the cheapest row RocksDB knows (0.4 us against 4 us for a
// put of a random key) and atomic. Its own log therefore never holds anything; ours is the truth.
// Sums are merge operands, added up by compaction or at the read.
//
// The folder DIR/load holds the file that is being written; whatever lies there at open is left
// from a crash and removed. DIR/previous is the store as it was before the last load.
//
// A load drops the state before the last one, so first all is read back that no load has read yet:
// its own file, and what compaction has written since. DIR/checked has the numbers of the live
// files that were read: a compaction's output has its number long before it goes live.
#include "room.h"
#include "sst_check.h"

#include <errno.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    fr_store base;
    rocksdb_t *db;
    rocksdb_column_family_handle_t *rows; /* of the one column family there is */
    rocksdb_options_t *options;
    rocksdb_options_t *load_options; /* of the runs that are loaded */
    rocksdb_readoptions_t *read;
    rocksdb_cache_t *cache;
    char dir[FR_PATH_MAX];
    uint64_t loads;    /* names for load files */
    uint64_t *checked; /* numbers of live files that were read back, ascending */
    size_t checked_count;
    bool read_only;
} rocks_store;

typedef struct {
    fr_store_load base;
    rocksdb_sstfilewriter_t *writer;
    rocksdb_envoptions_t *env;
    uint64_t rows;
    char path[FR_PATH_MAX + 64];
} rocks_load;

typedef struct {
    fr_store_snapshot base;
    const rocksdb_snapshot_t *snapshot;
    rocksdb_readoptions_t *read;
} rocks_snapshot;

typedef struct {
    fr_store_iter base;
    rocksdb_iterator_t *iter;
    rocksdb_readoptions_t *read;
    uint8_t prefix[64];
    uint8_t end[64]; /* first key after the prefix: RocksDB keeps a pointer to it */
    size_t prefix_size;
    bool started;
} rocks_iter;

static const char *const ROWS = "default";

static const fr_store_ops ROCKS_OPS;
static uint64_t rocks_bytes(fr_store *base);

/** What the system said, of which a message has no more than the text. */
static int errno_in(const char *message)
{
    static const int likely[] = {ENOSPC, EDQUOT, EFBIG, EROFS, EIO, EACCES, EMFILE, ENFILE, ENOMEM};
    for (size_t i = 0; message != NULL && i < FR_COUNT_OF(likely); i++) {
        if (strstr(message, strerrordesc_np(likely[i])) != NULL) {
            return likely[i];
        }
    }
    return 0;
}

/** Takes RocksDB's message; it is not kept, for errors are static texts. */
static fr_status failed(fr_error *err, char *message, fr_status status, const char *text)
{
    bool corrupt = message != NULL && strstr(message, "Corruption") != NULL;
    int os = errno_in(message);
    rocksdb_free(message);
    return corrupt ? fr_fail(err, FR_CORRUPT, text)
                   : fr_fail_full(err, status, os, 0, NULL, text, __FILE__, __LINE__);
}

/* ---- sums ---- */

static char *sum_full(void *state, const char *key, size_t key_size, const char *existing,
                      size_t existing_size, const char *const *operands, const size_t *sizes,
                      int count, unsigned char *success, size_t *new_size)
{
    (void)state;
    (void)key;
    (void)key_size;
    fr_buffer sum;
    fr_buffer_init(&sum, 4096);
    fr_status status = FR_OK;
    if (existing != NULL) {
        fr_buffer_append(&sum, existing, existing_size);
    }
    for (int i = 0; i < count && status == FR_OK; i++) {
        status = fr_store_sum(&sum, fr_slice_of(operands[i], sizes[i]), NULL);
    }
    *success = status == FR_OK && !sum.failed;
    *new_size = sum.size;
    return (char *)sum.data; /* freed by sum_free */
}

static char *sum_partial(void *state, const char *key, size_t key_size, const char *const *operands,
                         const size_t *sizes, int count, unsigned char *success, size_t *new_size)
{
    return sum_full(state, key, key_size, NULL, 0, operands, sizes, count, success, new_size);
}

static void sum_free(void *state, const char *value, size_t size)
{
    (void)state;
    (void)size;
    free((void *)(uintptr_t)value); // NOLINT(performance-no-int-to-ptr): drops RocksDB's const
}

static const char *sum_name(void *state)
{
    (void)state;
    return "freshet.sum";
}

static void sum_done(void *state)
{
    (void)state;
}

/* ---- opening ---- */

static void set_table_options(rocks_store *store, uint64_t cache_bytes)
{
    enum { BLOCK_BYTES = 8192, CACHE_FLOOR_BYTES = 8 << 20 };
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    store->cache = rocksdb_cache_create_lru(FR_MAX(cache_bytes, (uint64_t)CACHE_FLOOR_BYTES));
    rocksdb_block_based_options_set_block_cache(table, store->cache);
    rocksdb_block_based_options_set_filter_policy(table,
                                                  rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    /* A run of millions of rows has a filter of megabytes, more than a shard of the cache holds: it
     * would be read anew for every get. In parts of a block each, it is cached like any block. */
    rocksdb_block_based_options_set_index_type(
        table, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(table, 1);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(table, 1);
    rocksdb_options_set_block_based_table_factory(store->options, table);
    rocksdb_block_based_options_destroy(table);
}

static void set_options(rocks_store *store, uint64_t cache_bytes)
{
    rocksdb_options_t *o = store->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, !store->read_only);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_bottommost_compression(o, rocksdb_zstd_compression);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_level0_file_num_compaction_trigger(o, 4);
    rocksdb_options_set_target_file_size_base(o, UINT64_C(64) << 20);
    rocksdb_options_set_max_bytes_for_level_base(o, UINT64_C(512) << 20);
    rocksdb_options_set_write_buffer_size(o, 1 << 20); /* unused: nothing is put */
    rocksdb_options_set_max_open_files(o, 512);
    rocksdb_options_set_keep_log_file_num(o, 2);
    rocksdb_options_set_info_log_level(o, 3);
    rocksdb_options_set_allow_ingest_behind(o, 0);
    rocksdb_options_set_merge_operator(
        o, rocksdb_mergeoperator_create(NULL, sum_done, sum_full, sum_partial, sum_free, sum_name));
    set_table_options(store, cache_bytes);
    /* A writer of runs takes the compression of the bottom, which cost more than all else in a
     * checkpoint. A run is merged with others soon; compaction packs what reaches the bottom. */
    store->load_options = rocksdb_options_create_copy(o);
    rocksdb_options_set_bottommost_compression(store->load_options, rocksdb_lz4_compression);
}

static void rocks_close(fr_store *base)
{
    rocks_store *store = (rocks_store *)(void *)base;
    if (store->db != NULL) {
        rocksdb_column_family_handle_destroy(store->rows);
        rocksdb_close(store->db);
    }
    if (store->read != NULL) {
        rocksdb_readoptions_destroy(store->read);
    }
    if (store->options != NULL) {
        rocksdb_options_destroy(store->options);
        rocksdb_options_destroy(store->load_options);
    }
    if (store->cache != NULL) {
        rocksdb_cache_destroy(store->cache);
    }
    free(store->checked);
    free(store);
}

/** A read-only open must not make anything: RocksDB needs to find its CURRENT. */
static bool is_store(const rocks_store *store)
{
    char current[FR_PATH_MAX + 16];
    snprintf(current, sizeof current, "%s/CURRENT", store->dir);
    return fr_os_exists(fr_os_real(), current);
}

/** Between the look at the list of files and the opening of them the owner may merge some away:
 *  then the list is read again. Once open, files that the owner removes stay readable. */
static fr_status open_reader(rocks_store *store, fr_error *err)
{
    enum { TRIES = 20 };
    char *message = NULL;
    if (!is_store(store)) {
        return FR_NOT_FOUND;
    }
    rocksdb_options_set_max_open_files(store->options, -1); /* all at once, not when first read */
    const rocksdb_options_t *options[] = {store->options};
    for (int i = 0; i < TRIES && store->db == NULL; i++) {
        rocksdb_free(message);
        message = NULL;
        store->db = rocksdb_open_for_read_only_column_families(store->options, store->dir, 1, &ROWS,
                                                               options, &store->rows, 0, &message);
    }
    return message == NULL ? FR_OK
                           : failed(err, message, FR_IO, "store: cannot be opened for reading");
}

/* ---- which files were read back ---- */

enum { CHECKED_MAX_BYTES = 1 << 20 }; /* of the text that says so */

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool is_checked(const rocks_store *store, uint64_t number)
{
    return store->checked_count != 0 &&
           bsearch(&number, store->checked, store->checked_count, sizeof number, by_number) != NULL;
}

/** Takes the numbers over, in any order. */
static void set_checked(rocks_store *store, uint64_t *numbers, size_t count)
{
    if (count != 0) {
        qsort(numbers, count, sizeof *numbers, by_number);
    }
    free(store->checked);
    store->checked = numbers;
    store->checked_count = count;
}

/** Where nothing says so, all will be read back once. */
static void recall_checked(rocks_store *store)
{
    char path[FR_PATH_MAX];
    uint8_t *text = NULL;
    size_t size = 0, count = 0;
    if (fr_path(path, sizeof path, NULL, "%s/checked", store->dir) != FR_OK ||
        fr_os_read_file(fr_os_real(), path, CHECKED_MAX_BYTES, &text, &size, NULL) != FR_OK) {
        return;
    }
    uint64_t *numbers = calloc(size / 2 + 1, sizeof *numbers); /* a digit and a line's end */
    char *at = (char *)text, *end = at;                        /* there is a NUL behind it */
    for (; numbers != NULL && count <= size / 2; at = end) {
        uint64_t number = strtoull(at, &end, 10);
        if (end == at) {
            break;
        }
        numbers[count++] = number;
    }
    free(text);
    set_checked(store, numbers, count);
}

/** A snapshot at sequence 0, where the rows of first loads stand, is none to RocksDB's compaction:
 *  what only it can see is dropped. So the sequence begins at 1, with a removal of what is not
 *  there. */
static fr_status leave_sequence_0(rocks_store *store, fr_error *err)
{
    if (rocksdb_get_latest_sequence_number(store->db) != 0) {
        return FR_OK;
    }
    char *message = NULL;
    rocksdb_writeoptions_t *write = rocksdb_writeoptions_create();
    rocksdb_delete(store->db, write, "", 0, &message);
    rocksdb_writeoptions_destroy(write);
    return message == NULL ? FR_OK : failed(err, message, FR_IO, "store: cannot be begun");
}

static fr_status open_db(rocks_store *store, fr_error *err)
{
    char *message = NULL;
    char load[FR_PATH_MAX];
    if (store->read_only) {
        return open_reader(store, err);
    }
    FR_TRY(fr_path(load, sizeof load, err, "%s/load", store->dir));
    FR_TRY(fr_os_mkdir_synced(fr_os_real(), store->dir, err));
    FR_TRY(fr_os_remove_tree(fr_os_real(), load, err));
    FR_TRY(fr_os_mkdir(fr_os_real(), load, err));
    recall_checked(store);
    const rocksdb_options_t *options[] = {store->options};
    store->db = rocksdb_open_column_families(store->options, store->dir, 1, &ROWS, options,
                                             &store->rows, &message);
    /* A removal of the folder that a crash cut short leaves a CURRENT that names what is gone. */
    bool gone = message != NULL && strstr(message, "No such file") != NULL;
    return message == NULL
               ? leave_sequence_0(store, err)
               : failed(err, message, gone ? FR_CORRUPT : FR_IO, "store: cannot be opened");
}

fr_status fr_store_rocksdb_open(fr_store **out, const fr_store_options *options, fr_error *err)
{
    rocks_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return fr_fail(err, FR_NOMEM, "store: no memory");
    }
    store->base.ops = &ROCKS_OPS;
    store->read_only = options->read_only;
    fr_status status = fr_path(store->dir, sizeof store->dir, err, "%s", options->dir);
    if (status == FR_OK) {
        set_options(store, options->cache_bytes);
        store->read = rocksdb_readoptions_create();
        status = open_db(store, err);
    }
    if (status != FR_OK) {
        rocks_close(&store->base);
        return status;
    }
    *out = &store->base;
    return FR_OK;
}

/* ---- loading ---- */

static void rocks_load_abort(fr_store_load *base)
{
    rocks_load *load = (rocks_load *)(void *)base;
    rocksdb_sstfilewriter_destroy(load->writer);
    rocksdb_envoptions_destroy(load->env);
    unlink(load->path);
    free(load);
}

static fr_status rocks_load_begin(fr_store_load **out, fr_store *base, fr_error *err)
{
    rocks_store *store = (rocks_store *)(void *)base;
    char *message = NULL;
    if (store->read_only) { /* the folder for load files is the owner's */
        return fr_fail(err, FR_INVALID, "store: opened for reading");
    }
    rocks_load *load = calloc(1, sizeof *load);
    if (load == NULL) {
        return fr_fail(err, FR_NOMEM, "store: no memory for a load");
    }
    load->base.store = base;
    load->env = rocksdb_envoptions_create();
    load->writer = rocksdb_sstfilewriter_create(load->env, store->load_options);
    snprintf(load->path, sizeof load->path, "%s/load/%llu.sst", store->dir,
             (unsigned long long)++store->loads);
    rocksdb_sstfilewriter_open(load->writer, load->path, &message);
    if (message != NULL) {
        rocks_load_abort(&load->base);
        return failed(err, message, FR_IO, "store: cannot begin a load");
    }
    *out = &load->base;
    return FR_OK;
}

static fr_status rocks_load_row(fr_store_load *base, int kind, fr_slice key, fr_slice value,
                                fr_error *err)
{
    rocks_load *load = (rocks_load *)(void *)base;
    char *message = NULL;
    const char *k = (const char *)key.data;
    const char *v = value.size == 0 ? "" : (const char *)value.data;
    if (kind == FR_STORE_PUT) {
        rocksdb_sstfilewriter_put(load->writer, k, key.size, v, value.size, &message);
    } else if (kind == FR_STORE_SUM) {
        rocksdb_sstfilewriter_merge(load->writer, k, key.size, v, value.size, &message);
    } else {
        rocksdb_sstfilewriter_delete(load->writer, k, key.size, &message);
    }
    load->rows++;
    return message == NULL
               ? FR_OK
               : failed(err, message, FR_IO, "store: a row could not be loaded (order or I/O)");
}

/** What is there stays as DIR/previous: files under second names, so it costs what compaction drops
 *  from now on, until the next load. */
static fr_status keep_previous(rocks_store *store, fr_error *err)
{
    char fresh[FR_PATH_MAX];
    char previous[FR_PATH_MAX];
    char *message = NULL;
    fr_os *os = fr_os_real();
    if (rocks_bytes(&store->base) == 0) {
        return FR_OK;
    }
    FR_TRY(fr_path(fresh, sizeof fresh, err, "%s/previous.tmp", store->dir));
    FR_TRY(fr_path(previous, sizeof previous, err, "%s/previous", store->dir));
    FR_TRY(fr_os_remove_tree(os, fresh, err));
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(store->db, &message);
    if (message == NULL) {
        rocksdb_checkpoint_create(checkpoint, fresh, 0, &message);
        rocksdb_checkpoint_object_destroy(checkpoint);
    }
    if (message != NULL) {
        return failed(err, message, FR_IO, "store: the state before could not be kept");
    }
    FR_TRY(fr_os_remove_tree(os, previous, err));
    FR_TRY(fr_os_rename(os, fresh, previous, err));
    return fr_os_sync_dir(os, store->dir, err);
}

/* ---- reading back ---- */

/** "/000123.sst" */
static uint64_t number_of(const char *name)
{
    return strtoull(name + (name[0] == '/'), NULL, 10);
}

static fr_status path_of(const rocks_store *store, const char *name, char out[FR_PATH_MAX],
                         fr_error *err)
{
    return fr_path(out, FR_PATH_MAX, err, "%s/%s", store->dir, name + (name[0] == '/'));
}

/** One that is gone was compacted away meanwhile. */
static fr_status check_live(const rocks_store *store, const char *name, fr_error *err)
{
    char path[FR_PATH_MAX];
    FR_TRY(path_of(store, name, path, err));
    fr_sst_state state = fr_sst_check(path);
    return state == FR_SST_DAMAGED  ? fr_fail(err, FR_CORRUPT, "store: a file does not check")
           : state == FR_SST_UNREAD ? fr_fail(err, FR_IO, "store: a file cannot be read back")
                                    : FR_OK;
}

/** All that is to be kept as the state before. */
static fr_status check_unread(rocks_store *store, fr_error *err)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(store->db);
    size_t count = (size_t)rocksdb_livefiles_count(files);
    uint64_t *numbers = calloc(count + 1, sizeof *numbers); /* one more: note_ingested */
    fr_status status =
        numbers == NULL ? fr_fail(err, FR_NOMEM, "store: no memory for the list of files") : FR_OK;
    for (size_t i = 0; i < count && status == FR_OK; i++) {
        const char *name = rocksdb_livefiles_name(files, (int)i);
        numbers[i] = number_of(name);
        status = is_checked(store, numbers[i]) ? FR_OK : check_live(store, name, err);
    }
    rocksdb_livefiles_destroy(files);
    if (status != FR_OK) {
        free(numbers);
        return status;
    }
    set_checked(store, numbers, count);
    return FR_OK;
}

/** It costs a reading when it is lost, so it need not be durable. */
static void note_checked(const rocks_store *store)
{
    char path[FR_PATH_MAX];
    fr_buffer text;
    fr_buffer_init(&text, CHECKED_MAX_BYTES);
    for (size_t i = 0; i < store->checked_count; i++) {
        fr_buffer_u64_decimal(&text, store->checked[i]);
        fr_buffer_byte(&text, '\n');
    }
    if (fr_buffer_status(&text, NULL) == FR_OK &&
        fr_path(path, sizeof path, NULL, "%s/checked", store->dir) == FR_OK) {
        (void)!fr_os_write_file_atomic(fr_os_real(), path, fr_buffer_view(&text), NULL);
    }
    fr_buffer_done(&text);
}

/** The loaded file has a number now, which is that of the file with this inode. */
static void note_ingested(rocks_store *store, ino_t inode)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(store->db);
    for (int i = 0; i < rocksdb_livefiles_count(files); i++) {
        char path[FR_PATH_MAX];
        struct stat found;
        const char *name = rocksdb_livefiles_name(files, i);
        uint64_t number = number_of(name);
        if (!is_checked(store, number) && path_of(store, name, path, NULL) == FR_OK &&
            stat(path, &found) == 0 && found.st_ino == inode) {
            store->checked[store->checked_count++] = number; /* check_unread left it room */
            qsort(store->checked, store->checked_count, sizeof number, by_number);
            break;
        }
    }
    rocksdb_livefiles_destroy(files);
}

/* ---- committing ---- */

static fr_status finish_file(rocks_load *load, ino_t *inode, fr_error *err)
{
    char *message = NULL;
    struct stat file;
    rocksdb_sstfilewriter_finish(load->writer, &message);
    if (message != NULL) {
        return failed(err, message, FR_IO, "store: a load could not be written");
    }
    bool sound = stat(load->path, &file) == 0 && fr_sst_check(load->path) == FR_SST_SOUND;
    *inode = sound ? file.st_ino : 0;
    return sound ? FR_OK : fr_fail(err, FR_IO, "store: a load cannot be read back");
}

static fr_status ingest(const rocks_store *store, const rocks_load *load, fr_error *err)
{
    const char *files[1] = {load->path};
    char *message = NULL;
    rocksdb_ingestexternalfileoptions_t *how = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(how, 1);
    rocksdb_ingest_external_file(store->db, files, 1, how, &message);
    rocksdb_ingestexternalfileoptions_destroy(how);
    return message == NULL ? FR_OK
                           : failed(err, message, FR_IO, "store: a load could not be committed");
}

static fr_status commit(rocks_store *store, rocks_load *load, fr_error *err)
{
    ino_t inode = 0;
    FR_TRY(finish_file(load, &inode, err));
    FR_TRY(check_unread(store, err));
    note_checked(store);
    FR_TRY(keep_previous(store, err));
    FR_TRY(ingest(store, load, err));
    note_ingested(store, inode);
    return FR_OK;
}

static fr_status rocks_load_commit(fr_store_load *base, fr_error *err)
{
    rocks_load *load = (rocks_load *)(void *)base;
    fr_status status =
        load->rows == 0 ? FR_OK : commit((rocks_store *)(void *)base->store, load, err);
    rocks_load_abort(base);
    return status;
}

/* ---- reading ---- */

static fr_status rocks_snapshot_new(fr_store_snapshot **out, fr_store *base, fr_error *err)
{
    rocks_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL) {
        return fr_fail(err, FR_NOMEM, "store: no memory for a snapshot");
    }
    snapshot->base.store = base;
    snapshot->snapshot = rocksdb_create_snapshot(((rocks_store *)(void *)base)->db);
    snapshot->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(snapshot->read, snapshot->snapshot);
    *out = &snapshot->base;
    return FR_OK;
}

static void rocks_snapshot_free(fr_store_snapshot *base)
{
    rocks_snapshot *snapshot = (rocks_snapshot *)(void *)base;
    rocksdb_readoptions_destroy(snapshot->read);
    rocksdb_release_snapshot(((rocks_store *)(void *)base->store)->db, snapshot->snapshot);
    free(snapshot);
}

static const rocksdb_readoptions_t *as_of(const rocks_store *store,
                                          const fr_store_snapshot *snapshot)
{
    return snapshot == NULL ? store->read : ((const rocks_snapshot *)(const void *)snapshot)->read;
}

static fr_status rocks_get(fr_store *base, const fr_store_snapshot *snapshot, fr_slice key,
                           fr_buffer *out, fr_error *err)
{
    rocks_store *store = (rocks_store *)(void *)base;
    char *message = NULL;
    rocksdb_pinnableslice_t *found = rocksdb_get_pinned(store->db, as_of(store, snapshot),
                                                        (const char *)key.data, key.size, &message);
    fr_buffer_reset(out);
    if (message != NULL) {
        return failed(err, message, FR_IO, "store: read failed");
    }
    if (found == NULL) {
        return FR_NOT_FOUND;
    }
    size_t size = 0;
    const char *value = rocksdb_pinnableslice_value(found, &size);
    fr_buffer_append(out, value, size);
    rocksdb_pinnableslice_destroy(found);
    return fr_buffer_status(out, err);
}

enum { ASKED_TOGETHER = 128 };

/** Of up to ASKED_TOGETHER keys. */
static fr_status count_some(const rocks_store *store, const rocksdb_readoptions_t *read,
                            const fr_slice *keys, size_t count, size_t *absent, fr_error *err)
{
    const char *data[ASKED_TOGETHER];
    size_t sizes[ASKED_TOGETHER];
    rocksdb_pinnableslice_t *found[ASKED_TOGETHER];
    char *messages[ASKED_TOGETHER];
    for (size_t i = 0; i < count; i++) {
        data[i] = (const char *)keys[i].data;
        sizes[i] = keys[i].size;
    }
    rocksdb_batched_multi_get_cf(store->db, read, store->rows, count, data, sizes, found, messages,
                                 1);
    fr_status status = FR_OK;
    for (size_t i = 0; i < count; i++) {
        *absent += found[i] == NULL;
        if (found[i] != NULL) {
            rocksdb_pinnableslice_destroy(found[i]);
        }
        if (messages[i] != NULL && status == FR_OK) {
            status = failed(err, messages[i], FR_IO, "store: read failed");
        } else {
            rocksdb_free(messages[i]);
        }
    }
    return status;
}

static fr_status rocks_count_absent(fr_store *base, const fr_store_snapshot *snapshot,
                                    const fr_slice *keys, size_t count, size_t *absent,
                                    fr_error *err)
{
    const rocks_store *store = (const rocks_store *)(const void *)base;
    *absent = 0;
    for (size_t at = 0; at < count; at += ASKED_TOGETHER) {
        size_t some = FR_MIN(count - at, (size_t)ASKED_TOGETHER);
        FR_TRY(count_some(store, as_of(store, snapshot), keys + at, some, absent, err));
    }
    return FR_OK;
}

/** First key after all that start with the prefix; false when there is none (all bytes 0xff). */
static bool prefix_end(fr_slice prefix, uint8_t *out)
{
    size_t size = prefix.size;
    while (size != 0 && prefix.data[size - 1] == 0xff) {
        size--;
    }
    if (size == 0 || size != prefix.size) {
        return false; /* rare; the prefix check of next ends the walk then */
    }
    memcpy(out, prefix.data, size);
    out[size - 1]++;
    return true;
}

static fr_status rocks_iter_new(fr_store_iter **out, fr_store *base,
                                const fr_store_snapshot *snapshot, fr_slice prefix, fr_slice from,
                                fr_error *err)
{
    rocks_store *store = (rocks_store *)(void *)base;
    rocks_iter *iter = calloc(1, sizeof *iter);
    if (iter == NULL || prefix.size > sizeof iter->prefix) {
        free(iter);
        return fr_fail(err, FR_NOMEM, "store: no memory for an iterator");
    }
    if (prefix.size != 0) {
        memcpy(iter->prefix, prefix.data, prefix.size);
    }
    iter->prefix_size = prefix.size;
    iter->base.store = base;
    iter->read = rocksdb_readoptions_create();
    if (snapshot != NULL) {
        rocksdb_readoptions_set_snapshot(
            iter->read, ((const rocks_snapshot *)(const void *)snapshot)->snapshot);
    }
    if (prefix_end(prefix, iter->end)) {
        rocksdb_readoptions_set_iterate_upper_bound(iter->read, (const char *)iter->end,
                                                    prefix.size);
    }
    iter->iter = rocksdb_create_iterator(store->db, iter->read);
    fr_slice start = fr_slice_compare(prefix, from) > 0 ? prefix : from;
    rocksdb_iter_seek(iter->iter, (const char *)start.data, start.size);
    *out = &iter->base;
    return FR_OK;
}

static fr_status rocks_iter_next(fr_store_iter *base, fr_slice *key, fr_slice *value, fr_error *err)
{
    rocks_iter *iter = (rocks_iter *)(void *)base;
    if (iter->started && rocksdb_iter_valid(iter->iter)) { /* at its end it may not be moved */
        rocksdb_iter_next(iter->iter);
    }
    iter->started = true;
    if (!rocksdb_iter_valid(iter->iter)) {
        char *message = NULL;
        rocksdb_iter_get_error(iter->iter, &message);
        return message == NULL ? FR_END : failed(err, message, FR_IO, "store: iteration failed");
    }
    key->data = (const uint8_t *)rocksdb_iter_key(iter->iter, &key->size);
    value->data = (const uint8_t *)rocksdb_iter_value(iter->iter, &value->size);
    return fr_slice_starts_with(*key, fr_slice_of(iter->prefix, iter->prefix_size)) ? FR_OK
                                                                                    : FR_END;
}

static void rocks_iter_free(fr_store_iter *base)
{
    rocks_iter *iter = (rocks_iter *)(void *)base;
    rocksdb_iter_destroy(iter->iter);
    rocksdb_readoptions_destroy(iter->read);
    free(iter);
}

static uint64_t rocks_bytes(fr_store *base)
{
    uint64_t bytes = 0;
    rocksdb_property_int(((rocks_store *)(void *)base)->db, "rocksdb.total-sst-files-size", &bytes);
    return bytes;
}

static fr_status rocks_compact(fr_store *base, fr_error *err)
{
    (void)err;
    rocksdb_compact_range(((rocks_store *)(void *)base)->db, NULL, 0, NULL, 0);
    return FR_OK;
}

static const fr_store_ops ROCKS_OPS = {
    .close = rocks_close,
    .load_begin = rocks_load_begin,
    .load_row = rocks_load_row,
    .load_commit = rocks_load_commit,
    .load_abort = rocks_load_abort,
    .snapshot_new = rocks_snapshot_new,
    .snapshot_free = rocks_snapshot_free,
    .get = rocks_get,
    .count_absent = rocks_count_absent,
    .iter_new = rocks_iter_new,
    .iter_next = rocks_iter_next,
    .iter_free = rocks_iter_free,
    .bytes = rocks_bytes,
    .compact = rocks_compact,
};
