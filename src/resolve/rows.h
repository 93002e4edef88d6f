// SPDX-License-Identifier: MIT OR Apache-2.0
/** The resolver's recent part: rows since the last save, by Ref, in memory. thread: owned(writer);
 *  once nothing is added or changed any more, any */
#pragma once

#include <fr/arena.h>
#include <fr/resolve.h>

#define FR_ROW_NONE UINT32_MAX

enum { FR_ROW_LIVE = 1 };

/** What is known of one record. Operations seen at `rev` are bits 1 << (0 create, 1 update, 2
 *  delete). */
typedef struct {
    fr_ref ref;
    uint64_t rev;
    uint64_t seq;    /* of the event that left this state */
    uint8_t cid[16]; /* first half of the CID's digest; live rows */
    /* of the live version; owned by the rows' arena, or by the caller's scratch */
    const fr_link *links;
    uint32_t link_count;
    uint32_t next_of_account;
    uint8_t flags;
    uint8_t ops_seen;
} fr_row;

typedef struct fr_rows fr_rows;
FR_MUST_USE fr_status fr_rows_new(fr_rows **out, fr_error *err);
void fr_rows_free(fr_rows *rows);
/** Brings nearer what fr_rows_find and fr_rows_add will touch. */
void fr_rows_prefetch(const fr_rows *rows, fr_ref ref);
/** NULL when the Ref is not recent. The pointer is valid as long as the rows. */
fr_row *fr_rows_find(const fr_rows *rows, fr_ref ref);
/** A fresh row for a Ref that is not there yet. */
FR_MUST_USE fr_status fr_rows_add(fr_rows *rows, fr_ref ref, fr_row **out, fr_error *err);
/** Copies links into the rows' memory. */
FR_MUST_USE fr_status fr_rows_keep_links(fr_rows *rows, const fr_link *links, size_t count,
                                         const fr_link **out, fr_error *err);
/** Rows of one account: fr_rows_first_of, then next_of_account, FR_ROW_NONE at the end. */
uint32_t fr_rows_first_of(const fr_rows *rows, uint32_t uid);
fr_row *fr_rows_at(const fr_rows *rows, uint32_t index);
uint32_t fr_rows_count(const fr_rows *rows);
uint64_t fr_rows_bytes(const fr_rows *rows);

/* ---- bytes of a row in the store: docs/format.md section 4 ---- */
enum { FR_ROW_KEY_BYTES = 17 };
void fr_row_key(fr_ref ref, uint8_t out[FR_ROW_KEY_BYTES]);
FR_MUST_USE fr_status fr_row_encode(const fr_row *row, fr_buffer *out, fr_error *err);
/** Links go into `arena`. errors: FR_CORRUPT, FR_NOMEM */
FR_MUST_USE fr_status fr_row_decode(fr_slice key, fr_slice value, fr_row *out, fr_arena *arena,
                                    fr_error *err);
