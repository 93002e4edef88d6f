// SPDX-License-Identifier: MIT OR Apache-2.0
/** Every fault of a file, not the first: for who has to mend it, or to say what is wrong. */
#pragma once

#include <fr/repo_load.h>

#define FR_FAULTS_MAX 1000 /* that are told of one file */

typedef struct {
    fr_error error; /* status, code, offset, text */
    bool has_cid;   /* of the block it is in */
    fr_cid cid;
    fr_slice key;      /* of the record; empty: none */
    bool is_of_record; /* record-*: the tree is sound as far as this one goes */
} fr_repo_flaw;

typedef struct {
    /** Valid during the call; another status than FR_OK ends the work and is returned. */
    fr_status (*on_flaw)(void *context, const fr_repo_flaw *flaw);
    void *context;
} fr_flaw_visitor;

/** Reads all of `input` by options (as level full, with check_records) and goes on after a fault
 *  wherever what follows can still be read: behind a section whose CID or hash is wrong, behind a
 *  record that is absent or bad, behind a node that is wrong or absent (with what is below it), and
 *  below one of which only keys are wrong, in their syntax or their layers; each of these is told.
 *  What ends the reading is a length that cannot be, a header, a commit that does not name a tree.
 *  In the order of the file for sections, then the commit, then the tree. *count: how many were
 *  found; the first FR_FAULTS_MAX are told. The tree is read on until wrong nodes, each in every
 *  place where it stands, have taken as many bytes as the file: what is behind is not counted.
 *
 *  errors   FR_NOMEM, FR_LIMIT of the index; the input's faults are no errors
 *  cost     as opening and walking at level full */
FR_MUST_USE fr_status fr_repo_flaws(fr_slice input, const fr_repo_options *options,
                                    const fr_flaw_visitor *visitor, uint64_t *count, fr_error *err);
/** The same of what was loaded, or was refused, by the load's options, in what is left of its time,
 *  and giving its pages back. Of a stream that is not there as a whole (forgotten, or refused and
 *  not read on: fr_load_options.read_rest) nothing is told, for what is absent may have come.
 *  errors   also FR_LIMIT limit-time, with *count what was found till then; FR_IO
 *  cost     beside the load's own memory an index of 26 to 51 bytes a block */
FR_MUST_USE fr_status fr_load_flaws(const fr_load *load, const fr_flaw_visitor *visitor,
                                    uint64_t *count, fr_error *err);
