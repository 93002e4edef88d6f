// SPDX-License-Identifier: MIT OR Apache-2.0
/** What every reader of a format feeds: owns the batch being filled, the parser, the extractor, the
 *  sink and the counts.
 *
 *  Readers hand over lines or events one by one; the feeder copies them into batches, keeps the
 *  operations of one commit together, hands full batches to the engine and names what was refused.
 *  Everything but settling happens in the reader's thread.
 *
 *  thread   owned(thread) */
#pragma once

#include <fr/engine.h>
#include <fr/json.h>

/** Where batches come from and go to: the engine, or a test's or a bench's stand-in. */
typedef struct {
    fr_status (*take)(void *context, fr_sink *sink, const bool *stop, fr_batch **out,
                      fr_error *err);
    void (*submit)(void *context, fr_batch *batch);
    void (*give_back)(void *context, fr_batch *batch);
    uint64_t (*last_seq)(void *context);
    void *context;
} feeder_door;

feeder_door feeder_door_of(fr_engine *engine);

/** Where in the input something was refused: FILE:LINE or "FILE: offset N". */
typedef struct {
    const char *name;
    uint64_t at;
    bool is_line;
} feeder_place;

typedef struct {
    feeder_door door;
    fr_sink sink;
    fr_batch *batch; /* being filled, or NULL */
    fr_json *json;
    fr_extractor *extractor;
    const bool *stop; /* atomic; may be NULL */
    freshet_on_reject on_reject;
    void *reject_context;
    void (*on_submit)(void *context); /* after each batch; may be NULL */
    void *submit_context;
    fr_source_state *state; /* may be NULL */
    freshet_durability durability;
    fr_slice key; /* of all that is read: it must fit one batch. Borrowed; empty: none */
    bool ended;   /* with a key: all is read, the batch may go */
    bool foreign; /* a line that is the key of an append is refused: it is not theirs to give */
    const char *cursor_name; /* NULL: this source has no cursor */
    uint64_t cursor;         /* the largest credible time_us taken, or what the source sets */
    uint64_t credible_us;    /* no later time is, unless the clock went on since */
    bool cursor_is_set;      /* by the source */
    uint64_t cursor_sent;    /* with a batch */
    uint64_t taken, rejected, ignored, unverified, desynced;
    uint64_t done_bytes, total_bytes; /* of the input, for progress; total 0: unknown */
} feeder;

/** A feeder without callbacks, state and cursor: set those after. */
FR_MUST_USE fr_status feeder_init(feeder *f, feeder_door door, fr_error *err);
/** Drops what was not handed over. A feeder of zeros is fine. */
void feeder_done(feeder *f);
bool feeder_stopped(const feeder *f);

/** Takes one Jetstream line: an event of the batch, blank (ignored), or refused by name. `padded`:
 *  FR_JSON_PADDING bytes behind it can be read. errors: only those that end the reading (no memory,
 *  the engine failed or stopped) */
FR_MUST_USE fr_status feeder_line(feeder *f, fr_slice line, bool padded, const feeder_place *place,
                                  fr_error *err);
/** Takes an event whose slices are borrowed until return. A body over its bound is refused by
 *  name. */
FR_MUST_USE fr_status feeder_event(feeder *f, const fr_event *event, bool from_car,
                                   const feeder_place *place, fr_error *err);
/** Ends a CAR: what is live and not in *keys goes. Takes the keys and hands the batch over. `sync`
 *  is borrowed. */
FR_MUST_USE fr_status feeder_car_end(feeder *f, const fr_event *sync, fr_key_set *keys,
                                     fr_error *err);
/** Names one refused input that stands for `events` events. */
void feeder_reject(feeder *f, const feeder_place *place, uint64_t events, const fr_error *why);
void feeder_ignore(feeder *f);
/** Is a batch begun that a pause of the input should not hold back? */
static inline bool feeder_holds(const feeder *f)
{
    return f->batch != NULL && f->batch->count != 0;
}
/** Hands over what there is. errors: the engine failed */
FR_MUST_USE fr_status feeder_flush(feeder *f, fr_error *err);
/** The same, and hands over the cursor alone when it moved and there is nothing else. */
FR_MUST_USE fr_status feeder_flush_cursor(feeder *f, fr_error *err);
/** Flushes, waits until all is durable and visible, and adds what became of it to *report, also
 *  when it fails. */
FR_MUST_USE fr_status feeder_finish(feeder *f, freshet_report *report, fr_error *err);
/** The same at the end of a stream: what was handed over does not wait for company, which will not
 *  come. */
FR_MUST_USE fr_status feeder_end(feeder *f, freshet_report *report, fr_error *err);
/** Brings the source's state up to date; each batch does it as well. */
void feeder_tell(feeder *f);
/** Adds the counts so far, without waiting. */
void feeder_report(feeder *f, freshet_report *report);
/** Adds what became of more input. */
void report_add(freshet_report *sum, const freshet_report *more);
