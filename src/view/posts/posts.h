// SPDX-License-Identifier: MIT OR Apache-2.0
/** The insides of the posts view, shared by its few files. */
#pragma once

#include "chains.h"

enum { FR_POSTS_ROW_TEXT_MAX_BYTES = 8192, FR_POSTS_FLOOR_STEP_MS = 60000 };

/** From `seq` on, items before `ms` are outside the window. */
typedef struct {
    uint64_t seq, ms;
} fr_posts_floor;

typedef struct fr_posts_floors {
    uint32_t count; /* atomic */
    uint32_t room;
    fr_posts_floor at[];
} fr_posts_floors;

/** The state that a checkpoint writes while the writer goes on. */
typedef struct {
    fr_frozen at;
    uint32_t end; /* rows below it */
    uint32_t post_id, repost_id;
    uint64_t floor_ms, newest_ms;
} fr_posts_frozen;

struct fr_posts {
    fr_view_context context;
    const fr_identity *identity;
    fr_post_rows rows;
    fr_chains chains;
    fr_posts_floors *floors; /* rcu; NULL without retention */
    uint64_t floor_ms;       /* owned(writer) from here */
    uint64_t newest_ms;      /* of any event */
    uint64_t seq;
    uint32_t post_id, repost_id; /* collections, 0: not known yet */
    uint32_t subject_source;     /* ".subject.uri" of reposts */
    fr_digest digest;
    fr_posts_frozen frozen;
    fr_json *json;
    fr_buffer row_text;
    fr_posts_counts counts; /* each field atomic */
    uint64_t live;          /* atomic */
};

/** Items before this are outside the window as of the sequence. */
uint64_t fr_posts_floor_ms(const fr_posts *posts, uint64_t as_of_seq);
FR_MUST_USE fr_status fr_posts_set_floor(fr_posts *posts, uint64_t seq, uint64_t ms, fr_error *err);
/** Adds the row to the sum, or takes it out. */
void fr_posts_sum(fr_posts *posts, uint32_t row, bool more, fr_digest *digest);

FR_MUST_USE fr_status fr_posts_freeze(void *view, uint64_t seq, fr_error *err);
FR_MUST_USE fr_status fr_posts_write(void *view, fr_error *err);
/** FR_NOT_FOUND when there is nothing, or what there is was made with another retention. */
FR_MUST_USE fr_status fr_posts_load(fr_posts *posts, fr_error *err);
FR_MUST_USE fr_status fr_posts_saved(const fr_view_context *context, fr_digest *out, uint64_t *seq,
                                     fr_error *err);
FR_MUST_USE fr_status fr_posts_digest(void *view, bool deep, fr_digest *out, fr_error *err);
