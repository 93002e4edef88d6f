// SPDX-License-Identifier: MIT OR Apache-2.0
// One judgement, printed in two ways. The listing is hashed while it is walked, through a small
// buffer; nothing grows with the repository but the CIDs of records that a partial file lacks (to
// count the distinct ones).
#include <fr/repo_report.h>

#include <stdlib.h>

#include <fr/cbor.h>
#include <fr/codec.h>
#include <openssl/evp.h>

#include "census.h"
#include "walk.h"

#define LISTING_BUFFER_BYTES 16384
#define REASON_BYTES_MAX 1024

static const char *const RECORD_CODES[] = {"record-cbor", "record-not-map", "record-depth",
                                           "record-size"};

struct fr_repo_judge {
    load_extent read;
    const fr_repo_options *options;
    fr_repo *repo;
    repo_watch *watch; /* NULL: the input's pages may stay */
    fr_status status;
    fr_error fault;
    fr_repo_fault place; /* of the fault, or of the first bad record */
    fr_repo_facts facts;
    /* gathered in the walk */
    EVP_MD_CTX *hash;
    bool hash_failed;
    uint8_t buffer[LISTING_BUFFER_BYTES];
    size_t buffered;
    uint8_t listing[32];
    uint64_t key_bytes;
    bool any_key;
    uint8_t first_key[NODE_KEY_BYTES_MAX], last_key[NODE_KEY_BYTES_MAX];
    size_t first_key_size, last_key_size;
    uint64_t bad_by_code[FR_COUNT_OF(RECORD_CODES)];
    const char *first_bad_code;
    uint64_t first_bad_offset;
    fr_cid *missing;
    size_t missing_count, missing_capacity;
};

typedef fr_repo_judge judgement;

/* ---- judging --------------------------------------------------------------------------------- */

static void flush_listing(judgement *j)
{
    j->hash_failed |= EVP_DigestUpdate(j->hash, j->buffer, j->buffered) != 1;
    j->buffered = 0;
}

static void add_to_listing(judgement *j, const fr_repo_item *item)
{
    if (item->key.size + FR_CID_TEXT_BYTES + 2 > LISTING_BUFFER_BYTES - j->buffered) {
        flush_listing(j);
    }
    uint8_t *at = j->buffer + j->buffered;
    memcpy(at, item->key.data, item->key.size);
    at += item->key.size;
    *at++ = '\t';
    fr_cid_format(&item->cid, (char *)at);
    at += FR_CID_TEXT_BYTES;
    *at++ = '\n';
    j->buffered = (size_t)(at - j->buffer);
}

static fr_status keep_missing(judgement *j, const fr_cid *cid)
{
    if (j->missing_count == j->missing_capacity) {
        size_t capacity = j->missing_capacity == 0 ? 64 : j->missing_capacity * 2;
        fr_cid *list = realloc(j->missing, capacity * sizeof *list);
        if (list == NULL) {
            return fr_fail_code(&j->fault, FR_NOMEM, 0, "nomem",
                                "report: no memory for missing records");
        }
        j->missing = list;
        j->missing_capacity = capacity;
    }
    j->missing[j->missing_count++] = *cid;
    return FR_OK;
}

static void note_bad_record(judgement *j, const fr_repo_item *item)
{
    if (j->first_bad_code == NULL) {
        j->first_bad_code = item->record_code;
        j->first_bad_offset = item->record_offset;
        j->place = (fr_repo_fault){.has_cid = true, .cid = item->cid};
        fr_repo_key_escape(item->key, j->place.key, sizeof j->place.key);
    }
    for (size_t i = 0; i < FR_COUNT_OF(RECORD_CODES); i++) {
        j->bad_by_code[i] += strcmp(item->record_code, RECORD_CODES[i]) == 0;
    }
}

fr_status fr_repo_judge_item(void *context, const fr_repo_item *item)
{
    judgement *j = context;
    if (item->kind == FR_ITEM_MISSING_SUBTREE) {
        return FR_OK;
    }
    if (!j->any_key) {
        j->any_key = true;
        memcpy(j->first_key, item->key.data, item->key.size);
        j->first_key_size = item->key.size;
    }
    memcpy(j->last_key, item->key.data, item->key.size);
    j->last_key_size = item->key.size;
    j->key_bytes += item->key.size;
    add_to_listing(j, item);
    if (item->record_code != NULL) {
        note_bad_record(j, item);
    }
    return item->kind == FR_ITEM_MISSING_RECORD ? keep_missing(j, &item->cid) : FR_OK;
}

static int compare_missing(const void *a, const void *b)
{
    return memcmp(a, b, FR_CID_BYTES);
}

static uint64_t distinct_missing(judgement *j)
{
    uint64_t distinct = 0;
    if (j->missing_count != 0) {
        qsort(j->missing, j->missing_count, sizeof *j->missing, compare_missing);
    }
    for (size_t i = 0; i < j->missing_count; i++) {
        distinct += i == 0 || !fr_cid_equal(&j->missing[i], &j->missing[i - 1]);
    }
    return distinct;
}

fr_status fr_repo_judge_new(fr_repo_judge **out, const fr_repo_options *options, fr_error *err)
{
    judgement *j = calloc(1, sizeof *j);
    if (j != NULL) {
        j->options = options;
        j->hash = EVP_MD_CTX_new();
    }
    if (j == NULL || j->hash == NULL || EVP_DigestInit_ex(j->hash, EVP_sha256(), NULL) != 1) {
        fr_repo_judge_free(j);
        return fr_fail_code(err, FR_NOMEM, 0, "nomem", "report: no memory for the listing");
    }
    *out = j;
    return FR_OK;
}

void fr_repo_judge_free(fr_repo_judge *j)
{
    if (j != NULL) {
        EVP_MD_CTX_free(j->hash);
        free(j->missing);
        free(j);
    }
}

void fr_repo_judge_freep(fr_repo_judge **j)
{
    fr_repo_judge_free(*j);
    *j = NULL;
}

/* Of a repository that was walked, or of why there is none or no more of it. */
static fr_status conclude(judgement *j, load_extent read, fr_repo *repo, fr_status status,
                          const fr_error *fault)
{
    j->read = read;
    j->read.whole &= status == FR_OK || status == FR_MALFORMED || status == FR_LIMIT;
    j->repo = repo;
    j->status = status;
    j->fault = *fault;
    if (repo != NULL) {
        fr_repo_facts_of(repo, &j->facts);
    }
    flush_listing(j);
    bool hashed = !j->hash_failed && EVP_DigestFinal_ex(j->hash, j->listing, NULL) == 1;
    return hashed ? FR_OK : FR_NOMEM;
}

static bool is_incomplete(const judgement *j)
{
    return j->facts.missing_nodes != 0 || j->facts.missing_records != 0;
}

static const char *verdict_of(const judgement *j, int *exit_code)
{
    switch (j->status) {
        case FR_OK:
            if (j->facts.bad_records != 0) {
                *exit_code = FR_REPO_EXIT_BAD_RECORDS;
                return "reject-record";
            }
            *exit_code = is_incomplete(j) ? FR_REPO_EXIT_INCOMPLETE : FR_REPO_EXIT_SOUND;
            return "ok";
        case FR_LIMIT: *exit_code = FR_REPO_EXIT_LIMIT; return "limit";
        case FR_MALFORMED: *exit_code = FR_REPO_EXIT_MALFORMED; return "reject";
        default: *exit_code = FR_REPO_EXIT_SYSTEM; return "reject";
    }
}

/* What the verdict is about: the error, or the first bad record. NULL: nothing. */
static const char *code_of(const judgement *j, uint64_t *offset)
{
    *offset = j->status == FR_OK ? j->first_bad_offset : j->fault.offset;
    return j->status == FR_OK ? j->first_bad_code : fr_repo_fault_code(j->status, &j->fault);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_u64(fr_buffer *out, const char *name, uint64_t value)
{
    fr_buffer_printf(out, ",\"%s\":", name);
    fr_buffer_u64_decimal(out, value);
}

static void put_cid(fr_buffer *out, const fr_cid *cid)
{
    char text[FR_CID_TEXT_BYTES];
    fr_cid_format(cid, text);
    fr_buffer_json_string(out, fr_slice_of(text, sizeof text));
}

static void put_hex(fr_buffer *out, const char *name, fr_slice bytes)
{
    fr_buffer_printf(out, ",\"%s\":\"", name);
    for (size_t i = 0; i < bytes.size; i++) {
        fr_buffer_printf(out, "%02x", bytes.data[i]);
    }
    fr_buffer_byte(out, '"');
}

/* A CID of any form: version 0 in base58, others in base32. */
static void put_any_cid(fr_buffer *out, fr_slice cid)
{
    char text[512] = "b";
    size_t size = 0;
    if (cid.size > 256) {
        fr_buffer_text(out, "null");
        return;
    }
    if (fr_slice_starts_with(cid, FR_SLICE("\x12\x20"))) {
        size = fr_base58_encode(cid, text, sizeof text);
    } else {
        size = 1 + fr_base32_encode(cid, text + 1);
    }
    fr_buffer_json_string(out, fr_slice_of(text, size));
}

/* A header that can be read can be described, whatever came after it. */
static bool put_roots(const judgement *j, car_header *header, fr_buffer *out)
{
    if (car_header_read(j->read.input, CAR_HEADER_BYTES_MAX, header, NULL) != FR_OK) {
        return false;
    }
    fr_cbor_reader reader;
    fr_cbor_reader_init(&reader, fr_slice_from(j->read.input, (size_t)header->roots_offset));
    fr_buffer_text(out, ",\"roots\":[");
    for (uint64_t i = 0; i < header->root_count; i++) {
        fr_cbor_item item;
        if (fr_cbor_next(&reader, &item, NULL) == FR_OK && item.type == FR_CBOR_LINK) {
            fr_buffer_text(out, i == 0 ? "" : ",");
            put_any_cid(out, item.bytes);
        }
    }
    fr_buffer_byte(out, ']');
    return true;
}

static void put_blocks(const judgement *j, const car_header *header, fr_buffer *out)
{
    car_census census;
    bool judged = j->status == FR_OK && j->options->level == FR_LEVEL_FULL;
    fr_status status = car_census_take(j->read.input, header->sections_offset, judged,
                                       j->facts.duplicate_blocks, j->watch, &census, NULL);
    if (status != FR_OK) {
        return;
    }
    put_u64(out, "blocks", census.blocks);
    put_u64(out, "hash_bad", census.hash_bad);
    put_u64(out, "hash_unknown", census.hash_unknown);
    put_u64(out, "dup_blocks", census.duplicates);
    put_u64(out, "conflicting_dups", census.conflicting);
    double mean = census.blocks == 0 ? 0 : (double)census.bytes / (double)census.blocks;
    fr_buffer_printf(out, ",\"block_len\":{\"mean\":%.1f,\"p50\":%u,\"p90\":%u,\"max\":%u}", mean,
                     census.size_p50, census.size_p90, census.size_max);
}

static void put_commit(const judgement *j, fr_buffer *out)
{
    const fr_commit *commit = j->repo == NULL ? NULL : fr_repo_commit(j->repo);
    if (commit == NULL) {
        return;
    }
    fr_buffer_text(out, ",\"commit_cid\":");
    put_cid(out, &commit->cid);
    fr_buffer_text(out, ",\"commit\":{\"did\":");
    fr_buffer_json_string(out, commit->did);
    fr_buffer_text(out, ",\"rev\":");
    if (commit->rev_text.size == 0) {
        fr_buffer_text(out, "null");
    } else {
        fr_buffer_json_string(out, commit->rev_text);
    }
    put_hex(out, "sig", commit->signature);
    fr_buffer_text(out, ",\"data\":");
    put_cid(out, &commit->data);
    fr_buffer_text(out, ",\"prev\":");
    if (commit->has_prev) {
        put_cid(out, &commit->prev);
    } else {
        fr_buffer_text(out, "null");
    }
    fr_buffer_printf(out, ",\"version\":%d}", (int)commit->version);
}

static void put_key(fr_buffer *out, const char *name, const uint8_t *key, size_t size)
{
    fr_buffer_printf(out, ",\"%s\":", name);
    fr_buffer_json_string(out, fr_slice_of(key, size));
}

static void put_tree(judgement *j, fr_buffer *out)
{
    const fr_repo_facts *facts = &j->facts;
    if (j->options->bare) {
        fr_buffer_text(out, ",\"bare_mst\":true");
    }
    fr_buffer_printf(out, ",\"mst\":{\"nodes\":%llu", (unsigned long long)facts->nodes);
    put_u64(out, "maxent", facts->widest_node);
    put_u64(out, "missing_nodes", facts->missing_nodes);
    put_u64(out, "missing_records", facts->missing_records);
    if (facts->nodes != 0 && !facts->empty) {
        put_u64(out, "height", facts->height);
    }
    fr_buffer_byte(out, '}');
    put_u64(out, "records", facts->records);
    put_u64(out, "record_bytes", facts->record_bytes);
    put_u64(out, "record_cids_unique", facts->unique_records + distinct_missing(j));
    if (facts->records != 0) {
        put_key(out, "first_key", j->first_key, j->first_key_size);
        put_key(out, "last_key", j->last_key, j->last_key_size);
        fr_buffer_printf(out, ",\"mean_key_len\":%.1f",
                         (double)j->key_bytes / (double)facts->records);
    }
    put_hex(out, "listing_sha256", fr_slice_of(j->listing, sizeof j->listing));
    put_u64(out, "unreachable_blocks", facts->unreachable_blocks);
    fr_buffer_printf(out, ",\"preorder\":%s", facts->streamable ? "true" : "false");
    put_u64(out, "bad_records", facts->bad_records);
    fr_buffer_text(out, ",\"bad_record_reasons\":{");
    const char *comma = "";
    for (size_t i = 0; i < FR_COUNT_OF(RECORD_CODES); i++) {
        if (j->bad_by_code[i] != 0) {
            fr_buffer_printf(out, "%s\"%s\":%llu", comma, RECORD_CODES[i],
                             (unsigned long long)j->bad_by_code[i]);
            comma = ",";
        }
    }
    fr_buffer_byte(out, '}');
}

/* ---- what refused it, by the part of the file that is wrong ---------------------------------- */

typedef enum { PART_CAR, PART_COMMIT, PART_TREE, PART_OTHER } part;

static part refused_part(const judgement *j)
{
    const struct {
        const char *prefix;
        part of;
    } codes[] = {{"car-", PART_CAR},   {"commit-", PART_COMMIT}, {"sig-", PART_COMMIT},
                 {"node-", PART_TREE}, {"key-", PART_TREE},      {"tree-", PART_TREE}};
    uint64_t offset;
    const char *code = j->status == FR_OK ? "" : code_of(j, &offset);
    for (size_t i = 0; i < FR_COUNT_OF(codes); i++) {
        if (strncmp(code, codes[i].prefix, strlen(codes[i].prefix)) == 0) {
            return codes[i].of;
        }
    }
    return PART_OTHER;
}

static void put_reason(const judgement *j, fr_buffer *out)
{
    fr_cleanup(fr_buffer_done) fr_buffer reason;
    fr_buffer_init(&reason, REASON_BYTES_MAX);
    fr_repo_fault_text(&j->fault, &reason);
    fr_buffer_json_string(out, fr_buffer_view(&reason));
}

/* A list for each part that was come to, empty where it is sound; of the framing one text. */
static void put_errors(const judgement *j, fr_buffer *out)
{
    part refused = refused_part(j);
    bool any_commit = j->repo != NULL && fr_repo_commit(j->repo) != NULL;
    if (refused == PART_CAR) {
        fr_buffer_text(out, ",\"car_error\":");
        put_reason(j, out);
    }
    if (any_commit || refused == PART_COMMIT) {
        fr_buffer_text(out, ",\"commit_errors\":[");
        if (refused == PART_COMMIT) {
            put_reason(j, out);
        }
        fr_buffer_byte(out, ']');
    }
    if (j->status == FR_OK || refused == PART_TREE) {
        fr_buffer_text(out, ",\"mst_errors\":[");
        if (refused == PART_TREE) {
            put_reason(j, out);
        }
        fr_buffer_byte(out, ']');
    }
}

static void put_verdict(const judgement *j, const char *verdict, fr_buffer *out)
{
    uint64_t offset = 0;
    const char *code = code_of(j, &offset);
    fr_buffer_printf(out, ",\"strict\":\"%s\",\"verdict\":\"%s\"",
                     strcmp(verdict, "ok") == 0 ? "ok" : "reject", verdict);
    if (code == NULL) {
        fr_buffer_text(out, ",\"code\":null,\"offset\":null");
    } else {
        fr_buffer_printf(out, ",\"code\":\"%s\",\"offset\":%llu", code, (unsigned long long)offset);
    }
    bool checked = j->repo != NULL && j->options->key != NULL && !j->options->bare;
    fr_buffer_printf(out, ",\"level\":\"%s\",\"signature\":\"%s\",\"reasons\":[",
                     fr_level_name(j->options->level), checked ? "verified" : "unchecked");
    if (j->status != FR_OK) {
        put_reason(j, out);
    } else if (j->facts.bad_records != 0) {
        fr_buffer_json_string(out, FR_SLICE("record bodies break the data model"));
    }
    fr_buffer_byte(out, ']');
    put_errors(j, out);
}

static void put_report(judgement *j, const char *file, fr_buffer *out, int *exit_code)
{
    const char *verdict = verdict_of(j, exit_code);
    fr_buffer_text(out, "{\"file\":");
    fr_buffer_json_string(out, fr_slice_text(file));
    put_u64(out, "bytes", j->read.bytes);
    if (!j->read.whole) {
        fr_buffer_text(out, ",\"whole\":false");
        put_u64(out, "blocks_read", j->read.blocks);
    }
    put_verdict(j, verdict, out);
    car_header header;
    if (put_roots(j, &header, out) && j->read.whole) {
        put_blocks(j, &header, out);
    }
    put_commit(j, out);
    if (j->status == FR_OK) {
        put_tree(j, out);
    }
    fr_buffer_byte(out, '}');
}

static void put_line(judgement *j, const char *file, fr_buffer *out, int *exit_code)
{
    const char *verdict = verdict_of(j, exit_code);
    fr_error fault = j->fault;
    if (j->status == FR_OK) {
        fault.text = "a record's body breaks the data model";
    }
    fault.code = code_of(j, &fault.offset);
    if (fault.code != NULL) {
        fr_repo_fault_line(file, j->status, &fault, &j->place, out);
        return;
    }
    bool checked = j->options->key != NULL && !j->options->bare;
    fr_buffer_printable(out, fr_slice_text(file));
    fr_buffer_printf(out, ": %s: %llu records, %llu nodes, %llu blocks; level %s, signature %s\n",
                     is_incomplete(j) ? "incomplete" : verdict,
                     (unsigned long long)j->facts.records, (unsigned long long)j->facts.nodes,
                     (unsigned long long)j->facts.blocks, fr_level_name(j->options->level),
                     checked ? "verified" : "unchecked");
}

fr_status fr_repo_report(fr_slice input, const char *file, const fr_repo_options *options,
                         fr_buffer *json_out, int *exit_code)
{
    fr_cleanup(fr_repo_closep) fr_repo *repo = NULL;
    fr_cleanup(fr_repo_judge_freep) fr_repo_judge *judge = NULL;
    fr_error fault = {0};
    FR_TRY(fr_repo_judge_new(&judge, options, NULL));
    fr_status status = fr_repo_open(&repo, input, options, &fault);
    if (status == FR_OK) {
        status = fr_repo_walk(repo, fr_repo_judge_item, judge, &fault);
    }
    const load_extent all = {.input = input, .bytes = input.size, .whole = true};
    FR_TRY(conclude(judge, all, repo, status, &fault));
    put_report(judge, file, json_out, exit_code);
    return fr_buffer_status(json_out, NULL);
}

fr_status fr_repo_judge_json(fr_repo_judge *judge, const fr_load *load, const char *file,
                             fr_status status, const fr_error *fault, fr_buffer *json_out,
                             int *exit_code)
{
    FR_TRY(conclude(judge, load_extent_of(load), fr_load_repo(load), status, fault));
    judge->watch = load_watch(load);
    put_report(judge, file, json_out, exit_code);
    return fr_buffer_status(json_out, NULL);
}

fr_status fr_repo_judge_line(fr_repo_judge *judge, const fr_load *load, const char *file,
                             fr_status status, const fr_error *fault, fr_buffer *text_out,
                             int *exit_code)
{
    if (status != FR_OK) {
        fr_load_fault(load, fault, &judge->place);
    }
    FR_TRY(conclude(judge, load_extent_of(load), fr_load_repo(load), status, fault));
    put_line(judge, file, text_out, exit_code);
    return fr_buffer_status(text_out, NULL);
}
