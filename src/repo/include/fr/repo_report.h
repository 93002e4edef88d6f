// SPDX-License-Identifier: MIT OR Apache-2.0
/** The verdict on one repository file and everything that was counted, as `freshet repo check`
 *  prints it. */
#pragma once

#include <fr/repo_load.h>

/** Exit codes of `freshet repo`. */
enum {
    FR_REPO_EXIT_SOUND = 0,
    FR_REPO_EXIT_MALFORMED = 1,
    FR_REPO_EXIT_LIMIT = 3,
    FR_REPO_EXIT_SYSTEM = 4,
    FR_REPO_EXIT_BAD_RECORDS = 5, /* the tree is sound, record bodies are not */
    FR_REPO_EXIT_INCOMPLETE = 6,  /* sound as far as it goes, where options.partial was asked */
};

/** Opens and walks `input` by `options` (set check_records: the command does) and appends one JSON
 *  object, without a line end: file bytes strict verdict code offset level signature reasons; as
 *  far as the file could be read: roots blocks hash_bad hash_unknown dup_blocks conflicting_dups
 *  block_len; commit; and after a whole walk: mst records record_bytes record_cids_unique first_key
 *  last_key mean_key_len listing_sha256 unreachable_blocks preorder bad_records bad_record_reasons.
 *  `strict` is "ok" or "reject", the latter for every verdict but "ok".
 *
 *  errors   only FR_NOMEM, FR_LIMIT of json_out itself; the input's faults are in the object
 *  cost     the walk, the listing hashed (key and 61 bytes a record); for a file that is
 *           refused or not judged in full 48 bytes of memory a block */
FR_MUST_USE fr_status fr_repo_report(fr_slice input, const char *file,
                                     const fr_repo_options *options, fr_buffer *json_out,
                                     int *exit_code);

/** The same for what is loaded, judged as it comes: fr_repo_judge_item is the load's on_item, and
 *  the judge its context. */
typedef struct fr_repo_judge fr_repo_judge;
/** For one file. `options` are the load's, borrowed. */
FR_MUST_USE fr_status fr_repo_judge_new(fr_repo_judge **out, const fr_repo_options *options,
                                        fr_error *err);
void fr_repo_judge_free(fr_repo_judge *judge); /* NULL is fine */
void fr_repo_judge_freep(fr_repo_judge **judge);
FR_MUST_USE fr_status fr_repo_judge_item(void *judge, const fr_repo_item *item);
/** After the load, which gave `status` and `fault`. The object looks at the input again: not where
 *  it was forgotten; what a refused file is made of is told as far as it was read
 *  (fr_load_options.read_rest): a stream that was not read to its end or not kept, for a limit, has
 *  "whole": false, in "bytes" what was read, in "blocks_read" the sections before the fault, and
 *  nothing that only all of it could tell. */
FR_MUST_USE fr_status fr_repo_judge_json(fr_repo_judge *judge, const fr_load *load,
                                         const char *file, fr_status status, const fr_error *fault,
                                         fr_buffer *json_out, int *exit_code);
/** In one line for people, with its line end: what is wrong as `FILE: offset N: code: text (key,
 *  cid)`, else the verdict and the main facts; for these the input is not needed again. */
FR_MUST_USE fr_status fr_repo_judge_line(fr_repo_judge *judge, const fr_load *load,
                                         const char *file, fr_status status, const fr_error *fault,
                                         fr_buffer *text_out, int *exit_code);
