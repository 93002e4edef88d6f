// SPDX-License-Identifier: MIT OR Apache-2.0
/** The recent part of the links view: what came since the last checkpoint, in memory, readable
 *  while it grows.
 *
 *  thread   one writer; readers inside a pin. Nothing moves and nothing is removed until the whole
 *           part is freed. */
#pragma once

#include <fr/links.h>

#define FR_RECENT_NONE UINT32_MAX

typedef enum {
    FR_LINK_BIRTH = 1, /* a link arrived: seq, ordinal, uid, rkey */
    FR_LINK_KILL = 2,  /* a stored link went: rkey and ordinal are its arrival */
    FR_LINK_COUNT = 3, /* only the counters changed */
} fr_link_op_kind;

/** One step in the life of a list, newest first along `prev`. */
typedef struct {
    uint64_t seq;  /* of the event */
    uint64_t rkey; /* of the linking record; for a kill the arrival seq of its victim */
    /* atomic; births: seq of the event that ended the link, UINT64_MAX while it lives */
    uint64_t death;
    uint32_t uid;
    uint32_t prev;
    uint32_t list;
    int32_t active, inactive; /* counters of the list after this step, relative to the store */
    uint16_t ordinal;
    uint8_t kind;
} fr_link_op;

/** All recent steps of one (target, source). */
typedef struct {
    fr_target target;
    const uint8_t *text; /* text targets, when known */
    uint32_t text_size;
    uint32_t source;
    uint32_t next;  /* list of the same target */
    uint32_t head;  /* atomic: newest step */
    uint32_t kills; /* atomic: how many kills there are */
    uint32_t depth; /* lists of the target that came before */
    /* owned(writer): counters of the newest step, so that the next one need not look it up */
    int32_t active, inactive;
} fr_link_list;

typedef struct fr_recent fr_recent;
FR_MUST_USE fr_status fr_recent_new(fr_recent **out, fr_error *err);
void fr_recent_free(fr_recent *recent);
uint64_t fr_recent_bytes(const fr_recent *recent); /* thread: the writer */

/* ---- writer ---- */
FR_MUST_USE fr_status fr_recent_list(fr_recent *recent, fr_target target, uint32_t source,
                                     fr_slice text, uint32_t *list, fr_error *err);
/** Brings nearer what a step of the target will touch: its slot, and some time later, with `whole`,
 *  the list that the slot leads to. Nothing depends on it. */
void fr_recent_prefetch(const fr_recent *recent, fr_target target, bool whole);
/** Appends a step; counters change by the given amounts. */
FR_MUST_USE fr_status fr_recent_step(fr_recent *recent, uint32_t list, fr_link_op step, int active,
                                     int inactive, fr_error *err);
/** The birth of a recent link: binary search over all steps. NULL when there is none. */
fr_link_op *fr_recent_birth(fr_recent *recent, uint32_t list, uint64_t seq, uint16_t ordinal);

/* ---- readers ---- */
/** First list of a target, FR_RECENT_NONE when none; the others follow by `next`. */
uint32_t fr_recent_find(const fr_recent *recent, fr_target target);
/** The list of a target and a source, FR_RECENT_NONE. cost: a probe and a short walk, however many
 *  sources the target has */
uint32_t fr_recent_find_list(const fr_recent *recent, fr_target target, uint32_t source);
const fr_link_list *fr_recent_list_at(const fr_recent *recent, uint32_t list);
const fr_link_op *fr_recent_op_at(const fr_recent *recent, uint32_t op);
uint32_t fr_recent_op_count(const fr_recent *recent);
uint32_t fr_recent_list_count(const fr_recent *recent);
static inline uint32_t fr_recent_head(const fr_link_list *list)
{
    /* pairs with the release in fr_recent_step */
    return __atomic_load_n(&list->head, __ATOMIC_ACQUIRE);
}
static inline uint64_t fr_recent_death(const fr_link_op *op)
{
    /* pairs with the release where a link ends */
    return __atomic_load_n(&op->death, __ATOMIC_ACQUIRE);
}
