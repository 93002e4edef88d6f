// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the verbs of `freshet repo` share: options, files, faults on one line, safe keys. */
#pragma once

#include "cli.h"

#include <fr/buffer.h>
#include <fr/os.h>
#include <fr/repo_load.h>
#include <fr/repo_report.h>
#include <fr/repo_stat.h>
#include <fr/repo_write.h>
#include <fr/stream.h>
#include <stdio.h>

#define REPO_KEY_BYTES_MAX 1024         /* with any_key */
#define REPO_LINE_BYTES_MAX (16u << 20) /* of one printed line: a record of 1 MiB as JSON */

typedef struct {
    fr_repo_options options;
    fr_load_options load; /* but for its .repo, which is `options` */
    fr_public_key key;
    char prefix[REPO_KEY_BYTES_MAX + 2]; /* --collection and a slash: of the keys; "": all */
    const char *out;                     /* --out */
    const char *did_docs;                /* --did-docs */
    bool has_rev;                        /* pack */
    uint64_t rev;
    const char *sign_key; /* pack: 64 hexadecimal digits or a file */
    fr_car_order order;   /* pack */
    const char *from;     /* refresh: URL of a host */
    bool all_faults;      /* check --all */
    bool clock;           /* --now clock: for frames it goes on */
    bool count_only, keys_only, reverse, json, raw, ndjson, report;
    char **words; /* what is left of the line */
    int word_count;
} repo_args;

int repo_ls(const repo_args *args);
int repo_check(const repo_args *args);
int repo_commit(const repo_args *args);
int repo_get(const repo_args *args);
int repo_prove(const repo_args *args);
int repo_verify_proof(const repo_args *args);
int repo_stat(const repo_args *args);
int repo_order(const repo_args *args);
int repo_diff(const repo_args *args);
int repo_unpack(const repo_args *args);
int repo_pack(const repo_args *args);
int repo_frames(const repo_args *args);
int repo_explain(const repo_args *args);
int repo_refresh(const repo_args *args);

/** Exit code for the status of a library call. */
int repo_exit(fr_status status);
/** Prints `FILE: offset N: code: text (key)` on stderr, of a key that is not empty, and returns the
 *  exit code. */
int repo_fail(const char *path, fr_slice key, fr_status status, const fr_error *error);
void repo_put_cid(fr_buffer *out, const fr_cid *cid);
/** Writes the buffer to standard output; false when that failed. */
bool repo_print(const fr_buffer *out);
/** unpack's file of a key, DIR/collection/rkey.json with a NUL behind it, in place of what `out`
 *  had; and the key of such a path below DIR: false when it is none. */
void repo_put_path(fr_buffer *out, const char *dir, fr_slice key, bool any_key);
bool repo_key_of_path(const char *path, fr_buffer *key);
/** A CAR on its way to standard output (path NULL), or to a file that is there when it is whole. */
typedef struct {
    const char *path;
    fr_file *file;
    FILE *stream; /* in place of a file */
    uint64_t written;
    fr_buffer waiting;
    fr_error error; /* of a put */
    bool failed;    /* writing did */
    char temporary[FR_PATH_MAX];
} repo_out;
/** What is told of the CAR: on standard output, or where the CAR is there, on standard error. */
FR_MUST_USE fr_status repo_out_tell(const repo_args *args, const fr_buffer *text, fr_error *err);
FR_MUST_USE fr_status repo_out_open(repo_out *out, const char *path, fr_error *err);
/** For fr_repo_write. */
FR_MUST_USE fr_status repo_out_put(void *out, fr_slice bytes);
/** After open, whatever it said. `status`: of all so far; unless FR_OK no file is left. */
FR_MUST_USE fr_status repo_out_close(repo_out *out, fr_status status, fr_error *err);
/** Tells a failure of the output as one of the system, any other as one of the input, and of a key
 *  in it unless that is empty. The exit code. */
int repo_out_fail(const repo_out *out, const char *input, fr_slice key, fr_status status,
                  fr_error *error);

/** {"$bytes":"…"} of the whole block. errors: FR_NOMEM */
FR_MUST_USE fr_status repo_put_bytes(fr_buffer *out, fr_slice block);
/** Members of a JSON object, with a comma behind them. */
void repo_put_text_member(fr_buffer *out, const char *name, fr_slice value);
void repo_put_cid_member(fr_buffer *out, const char *name, const fr_cid *cid);
/** How the answer about one of the words begins: with --json an object and its member "file", as
 *  text a line of `label` and the name where there are several words. */
void repo_put_file(const repo_args *args, const char *path, const char *label, fr_buffer *out);
/** The level that the file was judged at and whether its signature was: two lines, or members of an
 *  object with a comma before each. */
void repo_put_judged(const repo_args *args, fr_buffer *out);
/** Each word as a file, in order; the exit code is that of the first that is not sound. `run` loads
 *  it (repo_open), and lets it be: the next one takes its place. */
int repo_each_file(const repo_args *args,
                   int (*run)(const repo_args *args, const char *path, fr_load *load));
/** What each file is loaded with; the bar has its name. */
fr_load_options repo_load_options(const repo_args *args, const char *path);
/** When --seconds from now are over, monotonic; UINT64_MAX: never. */
uint64_t repo_deadline(const repo_args *args);
/** What is left until then; UINT64_MAX: no end. errors: FR_LIMIT limit-time, at `offset` */
FR_MUST_USE fr_status repo_time_left(uint64_t deadline_ns, uint64_t offset, uint64_t *left_ns,
                                     fr_error *err);
/** Loads by the options. The result is the exit code; a failure has been printed. */
int repo_open(const repo_args *args, const char *path, fr_load *load, fr_repo **repo);
/** As repo_fail, with key and CID where they are known. */
int repo_fail_in(fr_load *load, const char *path, fr_status status, const fr_error *error);
/** The same on the way to `key` (empty: to none), which is told where no other one is known. */
int repo_fail_at(fr_load *load, const char *path, fr_slice key, fr_status status,
                 const fr_error *error);
/** The same of an answer: with --partial an absent block leaves it open, which is another code. */
int repo_fail_open(const repo_args *args, fr_load *load, const char *path, fr_slice key,
                   fr_status status, const fr_error *error);

/** An input and the repository in it. */
typedef struct {
    const char *path;
    fr_load *load;
    fr_repo *repo;
} repo_file;
/** The same for one file by itself. */
int repo_file_open(repo_file *file, const repo_args *args, const char *path);
void repo_file_close(repo_file *file);
