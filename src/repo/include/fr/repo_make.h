// SPDX-License-Identifier: MIT OR Apache-2.0
/** A repository from its records, in any order and within a limit of memory.
 *
 *      fr_repo_maker_new ──> put … ──> root ──> load: a repository to walk, or to write as a CAR
 *
 *  Blocks lie in memory up to a quarter of the limit and then in a scratch file, beside them the
 *  keys, which are sorted in runs; the tree is made from the sorted keys, from its left to its
 *  right, with one open node a layer.
 *
 *  thread   owned */
#pragma once

#include <fr/repo_load.h>

typedef struct fr_repo_maker fr_repo_maker;

typedef struct {
    uint64_t memory_max_bytes; /* 0: FR_LOAD_MEMORY_BYTES */
    uint64_t disk_max_bytes;   /* of blocks and keys; 0: FR_LOAD_DISK_BYTES */
    const char *spill_dir;     /* NULL: $TMPDIR, else /tmp; borrowed */
    fr_on_limit on_limit;      /* all but FR_ON_LIMIT_SPILL: limit-memory */
} fr_repo_maker_options;

FR_MUST_USE fr_status fr_repo_maker_new(fr_repo_maker **out, const fr_repo_maker_options *options,
                                        fr_error *err);
void fr_repo_maker_free(fr_repo_maker *maker); /* NULL is fine */
/** A record, `cid` of its block, under a key of at most 1,024 bytes whose syntax is the caller's.
 *  `place` is where it stands in the caller's input: the offset of an error about it.
 *  errors   FR_LIMIT limit-memory, limit-disk; FR_INVALID the key's length; FR_NOMEM, FR_IO */
FR_MUST_USE fr_status fr_repo_maker_put(fr_repo_maker *maker, fr_slice key, const fr_cid *cid,
                                        fr_slice block, uint64_t place, fr_error *err);
/** There are no more records: the root of their tree.
 *  errors   as put; FR_MALFORMED key-twice, at the place where the least such key came again: it is
 *           the last key then */
FR_MUST_USE fr_status fr_repo_maker_root(fr_repo_maker *maker, fr_cid *root, fr_error *err);
/** Of the tree as far as it was made. */
fr_slice fr_repo_maker_last_key(const fr_repo_maker *maker);
/** After that and once: everything under `commit` (a block whose data is the root; empty: a bare
 *  tree) is loaded as the options of `load` say; the maker stays until the load is done with.
 *  errors   as fr_load_memory */
FR_MUST_USE fr_status fr_repo_maker_load(fr_repo_maker *maker, fr_slice commit, fr_load *load,
                                         fr_error *err);
