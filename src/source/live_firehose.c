// SPDX-License-Identifier: MIT OR Apache-2.0
// com.atproto.sync.subscribeRepos, live. Every commit is checked as it comes: signature, rev,
// `since` and `prevData` against what we hold of the account, and its operations by inversion.
//
//   sound, and follows              its events; held moves on
//   sound, but does not follow      its events all the same: each is true by itself, being in a
//                                   tree that the account signed; and the account is out of step
//   not sound, or not to be checked nothing of it; the account is out of step, since what the
//                                   commit did is lacking
//
// Accounts out of step are loaded again (repair.h). Nothing of their later commits is held back:
// whichever comes first, the engine keeps the newer version of each record, and a load deletes only
// what is older than itself; so the end is what getRepo gives.
//
// Messages are taken by a thread of their own, in order and some way behind the connection
// (read_ahead.h): the document of an account that is seen there is fetched meanwhile
// (did_prefetch.h), so a directory far away delays the stream and does not throttle it. A commit
// whose key cannot be had is a commit that cannot be checked: when the directory is gone for longer
// than a patient call waits, accounts that are not known yet fall out of step, the others go on.
//
// The cursor handed to the log is a seq up to which everything was handed over and what we hold of
// the accounts is saved (held.h).
#include <fr/codec.h>
#include <fr/os.h>
#include <stdlib.h>

#include "check_signature.h"
#include "did_prefetch.h"
#include "frame_events.h"
#include "held.h"
#include "live.h"
#include "read_ahead.h"
#include "repair.h"
#include "ws_session.h"

#define LOOK_NS 250000000 /* how often a quiet stream looks if it is time to save */
#define FR_FIREHOSE_WEB_HOLD_NS UINT64_C(1000000000) /* a did:web holds the stream up so long */

typedef struct {
    running_source *source;
    feeder *feed;
    held *held;
    repair *repair;
    fr_frame_reader *frames;
    read_ahead *ahead;
    did_prefetch *prefetch; /* NULL: there is no key to fetch */
    /* atomic: the engine, or our own state; the end of everything. The taker sets it, in idle
     * moments also while the reader has what follows */
    bool engine_failed;
    /* the taker's; the reader's between read_ahead_drain and the next push */
    uint64_t read_ns;   /* when the message in hand was read */
    bool has_cursor;    /* to resume from; else from the address's own, or live */
    bool from_now;      /* the server did not know our cursor: live, without one */
    uint64_t seq;       /* of the last frame taken */
    uint64_t broken_at; /* `seq` + 1 when a message was no frame; 0: none was since */
    bool ended;         /* the reader's: engine_failed, as far as it knows */
} firehose;

static void fail_engine(firehose *h)
{
    __atomic_store_n(&h->engine_failed, true, __ATOMIC_RELEASE); /* pairs with engine_has_failed */
}

static bool engine_has_failed(const firehose *h)
{
    return __atomic_load_n(&h->engine_failed, __ATOMIC_ACQUIRE);
}

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

static feeder_place place_of(const firehose *h, const fr_frame *frame)
{
    return (feeder_place){h->source->state->name, frame->seq != 0 ? frame->seq : h->seq, true};
}

static void add_one(uint64_t *counter)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED); /* a figure */
}

/* ---- out of step ----------------------------------------------------------------------------- */

/** A load that reaches `rev` mends it; 0 where the rev is nobody's word: any. */
static fr_status desync(firehose *h, const fr_frame *frame, uint64_t rev, const char *code,
                        fr_error *err)
{
    bool fresh = false;
    if (frame->did.size == 0) {
        return FR_OK;
    }
    FR_TRY(held_desync(h->held, frame->did, rev, &fresh, err));
    if (fresh) {
        fr_error why = {.status = FR_MALFORMED, .code = code, .text = "it does not follow"};
        add_one(&h->source->state->desyncs);
        running_tell_of(h->source, frame->did, "desynchronised", &why);
    }
    return FR_OK;
}

/** Refused by name; what it would have said is lacking now. */
static fr_status refuse(firehose *h, const fr_frame *frame, uint64_t rev, const fr_error *why,
                        fr_error *err)
{
    feeder_place place = place_of(h, frame);
    feeder_reject(h->feed, &place, FR_MAX(frame->op_count, (size_t)1), why);
    return desync(h, frame, rev, why->code, err);
}

static fr_status refuse_code(firehose *h, const fr_frame *frame, const char *code, const char *text,
                             fr_error *err)
{
    fr_error why = {0};
    (void)!fr_fail_code(&why, FR_MALFORMED, 0, code, text);
    return refuse(h, frame, 0, &why, err);
}

/* ---- signatures ------------------------------------------------------------------------------ */

typedef enum { SIGNED, UNVERIFIED, REFUSED } signature;

/** REFUSED: it was dealt with. */
static fr_status judge_signature(firehose *h, const fr_frame *frame, signature *out, fr_error *err)
{
    fr_error why = {0};
    bool unverified = false;
    fr_status status = check_signature(h->source->resolver, &frame->commit,
                                       h->read_ns + FR_FIREHOSE_WEB_HOLD_NS, &unverified, &why);
    *out = status != FR_OK ? REFUSED : unverified ? UNVERIFIED : SIGNED;
    if (status == FR_OK) {
        return FR_OK;
    }
    if (status == FR_NOMEM) {
        *err = why;
        return status;
    }
    return running_stopped(h->source) ? fr_fail(err, FR_AGAIN, "stopped")
                                      : refuse(h, frame, 0, &why, err);
}

/* ---- commits --------------------------------------------------------------------------------- */

static bool same_text_rev(fr_slice text, uint64_t rev)
{
    uint64_t value = 0;
    return fr_tid_parse(text, &value) && value == rev;
}

/** An older commit came before, or comes twice; a newer one must name it. */
static bool follows(const held_account *before, const fr_frame *frame)
{
    if (!before->known || frame->rev < before->rev) {
        return true;
    }
    if (frame->rev == before->rev || frame->type == FR_FRAME_SYNC) {
        return fr_cid_equal(&frame->commit.data, &before->data);
    }
    return same_text_rev(frame->since_text, before->rev) && frame->has_prev_data &&
           fr_cid_equal(&frame->prev_data, &before->data);
}

static fr_cid empty_tree(void)
{
    static const uint8_t node[] = {0xa2, 0x61, 0x65, 0x80, 0x61, 0x6c, 0xf6};
    fr_cid cid;
    fr_cid_of_block(fr_slice_of(node, sizeof node), &cid);
    return cid;
}

/** The tree before, where the frame does not name it: the one we hold, or of a first commit the
 *  empty one. */
static void complete_prev_data(const held_account *before, fr_frame *frame)
{
    if (frame->has_prev_data) {
        return;
    }
    if (before->known && same_text_rev(frame->since_text, before->rev)) {
        frame->prev_data = before->data;
        frame->has_prev_data = true;
    } else if (!before->known && frame->since_text.size == 0) {
        frame->prev_data = empty_tree();
        frame->has_prev_data = true;
    }
}

static bool lacks_a_record(const fr_frame *frame)
{
    for (size_t i = 0; i < frame->op_count; i++) {
        const char *code = frame->ops[i].record_code;
        if (code != NULL && strcmp(code, "tree-missing-record") == 0) {
            return true;
        }
    }
    return false;
}

static fr_status hand_on(firehose *h, const fr_frame *frame, const held_account *before,
                         fr_error *err)
{
    feeder_place place = place_of(h, frame);
    bool whole = !frame->too_big && !lacks_a_record(frame);
    if (!whole || !follows(before, frame)) {
        FR_TRY(desync(h, frame, frame->rev, whole ? "chain" : "frame-blocks", err));
    }
    if (frame->op_count == 0) {
        feeder_ignore(h->feed); /* true, and says nothing about any record */
    }
    FR_TRY(frame_hand_on(h->feed, frame, &place, err));
    return held_put(h->held, frame->did, frame->rev, &frame->commit.data, err);
}

static fr_status take_signed(firehose *h, fr_frame *frame, fr_error *err)
{
    held_account before;
    fr_error why = {0};
    FR_TRY(held_get(h->held, frame->did, &before, err));
    if (frame->type == FR_FRAME_COMMIT) {
        complete_prev_data(&before, frame);
        fr_status status = fr_frame_invert(h->frames, frame, &why);
        if (status == FR_NOMEM) {
            *err = why;
            return status;
        }
        if (status == FR_NOT_FOUND) { /* there is nothing to check its operations against */
            FR_TRY(desync(h, frame, frame->rev, "inv-not-given", err));
            return held_put(h->held, frame->did, frame->rev, &frame->commit.data, err);
        }
        if (status != FR_OK) {
            return refuse(h, frame, frame->rev, &why, err);
        }
    } else if (!before.known) {
        before = (held_account){.known = true, .data = empty_tree()}; /* so much we hold of it */
    }
    return hand_on(h, frame, &before, err);
}

static fr_status take_commit(firehose *h, fr_frame *frame, fr_error *err)
{
    signature sig = UNVERIFIED;
    if (frame->blocks.size == 0) {
        return refuse_code(h, frame, "frame-blocks",
                           "frame: a commit without blocks; its repository must be read again",
                           err);
    }
    if (fr_rev_is_ahead(frame->rev, fr_os_wall_us(fr_os_real()))) {
        return refuse_code(h, frame, "commit-rev", "frame: a rev of the future", err);
    }
    FR_TRY(judge_signature(h, frame, &sig, err));
    if (sig == REFUSED) {
        return FR_OK;
    }
    if (sig == UNVERIFIED) {
        h->feed->unverified++;
    }
    add_one(sig == SIGNED ? &h->source->state->verified : &h->source->state->unverified);
    return take_signed(h, frame, err);
}

/* ---- other messages -------------------------------------------------------------------------- */

static fr_status take_account(firehose *h, const fr_frame *frame, fr_error *err)
{
    feeder_place place = place_of(h, frame);
    if (frame->type == FR_FRAME_IDENTITY && h->source->resolver != NULL &&
        fr_did_forget(h->source->resolver, frame->did)) {
        did_prefetch_add(h->prefetch, frame->did);
    }
    if (frame->type == FR_FRAME_ACCOUNT && !frame->active &&
        fr_slice_equal(frame->status, FR_SLICE("deleted"))) {
        fr_cid empty = empty_tree();
        FR_TRY(held_deleted(h->held, frame->did, &empty, err));
    } else {
        held_hurry(h->held, frame->did);
    }
    return frame_hand_on(h->feed, frame, &place, err);
}

/** What is missing only the repositories have: asks each backfill of this directory to list again.
 *  Durable before any later event is taken, so no kill forgets it. */
static void note_missed(firehose *h)
{
    add_one(&h->source->state->outdated);
    if (freshet_backfill_retry(fr_engine_dir(h->source->engine), true, NULL, NULL) != FRESHET_OK) {
        fr_error why = {.status = FR_IO,
                        .code = "backfill-request",
                        .text = "the backfill could not be asked to list again"};
        running_tell(h->source, "outdated", &why);
    }
}

static void take_info(firehose *h, const fr_frame *frame)
{
    feeder_ignore(h->feed);
    if (fr_slice_equal(frame->name, FR_SLICE("OutdatedCursor"))) {
        fr_error why = {.status = FR_LIMIT,
                        .code = "OutdatedCursor",
                        .text = "the server no longer has what came after our cursor: events were "
                                "missed"};
        running_tell(h->source, "outdated", &why);
        note_missed(h);
    }
}

/** The server says why it closes; it will be connected to again. */
static fr_status take_error(firehose *h, const fr_frame *frame, fr_error *err)
{
    if (fr_slice_equal(frame->name, FR_SLICE("FutureCursor"))) {
        h->from_now = true;
        h->seq = 0;
        note_missed(h);
        return fr_fail_code(err, FR_LIMIT, 0, "FutureCursor",
                            "the server does not know our cursor yet: it was reset, and events may "
                            "have been missed; going on live");
    }
    bool slow = fr_slice_equal(frame->name, FR_SLICE("ConsumerTooSlow"));
    return fr_fail_code(err, FR_AGAIN, 0, slow ? "ConsumerTooSlow" : "stream-error",
                        slow ? "the server says that we read too slowly"
                             : "the server ended the stream with an error");
}

static fr_status take_typed(firehose *h, fr_frame *frame, fr_error *err)
{
    switch (frame->type) {
        case FR_FRAME_INFO: take_info(h, frame); return FR_OK;
        case FR_FRAME_ERROR: return take_error(h, frame, err);
        case FR_FRAME_UNKNOWN: feeder_ignore(h->feed); return FR_OK;
        case FR_FRAME_COMMIT:
        case FR_FRAME_SYNC:
        case FR_FRAME_IDENTITY:
        case FR_FRAME_ACCOUNT: break;
    }
    bool is_commit = frame->type == FR_FRAME_COMMIT || frame->type == FR_FRAME_SYNC;
    return is_commit ? take_commit(h, frame, err) : take_account(h, frame, err);
}

/* ---- the stream ------------------------------------------------------------------------------ */

/** A message that is no frame. The first time the connection is dropped: it is the bytes on their
 *  way that may be bad. When the same comes again it is named and left out. */
static fr_status take_broken(firehose *h, const fr_frame *frame, const fr_error *why, fr_error *err)
{
    if (h->broken_at == h->seq + 1) {
        return refuse(h, frame, 0, why, err);
    }
    h->broken_at = h->seq + 1;
    *err = *why;
    return FR_MALFORMED;
}

/** Whose commit it may have been, though it is none: a load too many harms nobody. */
static void guess_account(fr_frame *frame, fr_slice message)
{
    fr_frame_type type = FR_FRAME_UNKNOWN;
    fr_slice did;
    if (frame->did.size == 0 && fr_frame_peek(message, &type, &did) &&
        (type == FR_FRAME_COMMIT || type == FR_FRAME_SYNC) && fr_did_valid(did)) {
        frame->did = did;
    }
}

static fr_status take_message(firehose *h, fr_slice message, fr_error *err)
{
    fr_frame frame = {0};
    fr_error why = {0};
    fr_status status = FR_OK;
    if (message.data == NULL && message.size == 0) {
        return refuse_code(h, &frame, "limit-frame", "a message over 16 MiB", err);
    }
    status = fr_frame_decode(h->frames, message, &frame, NULL, &why);
    if (status == FR_NOMEM) {
        fail_engine(h);
        *err = why;
        return status;
    }
    bool theirs = false; /* what goes wrong now is the server's fault */
    if (status != FR_OK) {
        guess_account(&frame, message);
        theirs = why.code != NULL && strcmp(why.code, "frame-cbor") == 0;
        status = theirs ? take_broken(h, &frame, &why, err) : refuse(h, &frame, 0, &why, err);
    } else {
        theirs = frame.type == FR_FRAME_ERROR;
        status = take_typed(h, &frame, err);
    }
    if (status != FR_OK && !theirs) {
        fail_engine(h);
    }
    if (status == FR_OK && frame.seq != 0) {
        h->seq = frame.seq;
        h->has_cursor = true;
    }
    return status;
}

static fr_status on_take(void *context, fr_slice message, uint64_t read_ns, fr_error *err)
{
    firehose *h = context;
    h->read_ns = read_ns;
    return take_message(h, message, err);
}

static fr_status save(firehose *h, fr_error *err)
{
    FR_TRY(held_save(h->held, now_ns(), err));
    h->feed->cursor = h->seq;
    return FR_OK;
}

static void tell_desynced(firehose *h)
{
    __atomic_store_n(&h->source->state->desynchronised, held_desynced_count(h->held),
                     __ATOMIC_RELAXED); /* a figure */
}

/** Hands over what was gathered; when it is time, what we hold is saved first. */
static fr_status flush(firehose *h, bool is_last, fr_error *err)
{
    if (is_last || held_save_is_due(h->held, now_ns())) {
        FR_TRY(save(h, err));
    }
    tell_desynced(h);
    return feeder_flush_cursor(h->feed, err);
}

static fr_status on_idle(void *context, fr_error *err)
{
    firehose *h = context;
    fr_status status = flush(h, false, err);
    if (status != FR_OK) {
        fail_engine(h);
    }
    feeder_tell(h->feed);
    return status;
}

/* ---- the connection -------------------------------------------------------------------------- */

static fr_status on_message(void *context, fr_slice message, fr_error *err)
{
    firehose *h = context;
    fr_frame_type type = FR_FRAME_UNKNOWN;
    fr_slice did;
    if (h->prefetch != NULL && fr_frame_peek(message, &type, &did) &&
        (type == FR_FRAME_COMMIT || type == FR_FRAME_SYNC)) {
        did_prefetch_add(h->prefetch, did);
    }
    return read_ahead_push(h->ahead, message, err);
}

static fr_status on_pause(void *context, fr_error *err)
{
    firehose *h = context;
    if (running_stopped(h->source)) {
        return fr_fail(err, FR_AGAIN, "stopped");
    }
    /* a quiet server is asked whether it is there, so a session that goes on is alive */
    __atomic_store_n(&h->source->state->last_event_ns, fr_os_monotonic_ns(fr_os_real()),
                     __ATOMIC_RELAXED);
    return read_ahead_pause(h->ahead, err);
}

/** What came is taken before anything else; why that ended counts, if it did. */
static fr_status on_end(void *context, fr_status status, fr_error *why)
{
    firehose *h = context;
    fr_error error = {0};
    fr_status taken = read_ahead_drain(h->ahead, &error);
    if (taken == FR_OK) {
        return status;
    }
    h->ended = engine_has_failed(h);
    *why = error;
    return taken;
}

static bool cursor_of(void *context, uint64_t *out)
{
    firehose *h = context;
    if (h->from_now) {
        h->from_now = false;
        h->has_cursor = false;
        return false;
    }
    if (h->has_cursor) {
        *out = h->seq;
        return true;
    }
    *out = h->source->url.cursor;
    return h->source->url.has_cursor;
}

/* ---- the source ------------------------------------------------------------------------------ */

static fr_status open_held(firehose *h, fr_error *err)
{
    char path[FR_PATH_MAX];
    running_source *source = h->source;
    uint64_t name = fr_xxh3_64(fr_slice_text(source->url.name));
    FR_TRY(fr_path(source->folder, sizeof source->folder, err, "%s/firehose",
                   fr_engine_dir(source->engine)));
    FR_TRY(fr_os_mkdir_synced(fr_os_real(), source->folder, err));
    FR_TRY(fr_path(path, sizeof path, err, "%s/%016llx", source->folder, (unsigned long long)name));
    return held_open(&h->held, path, err);
}

static fr_status follow(firehose *h, fr_error *err)
{
    const live_protocol protocol = {
        .on_message = on_message,
        .on_pause = on_pause,
        .on_end = on_end,
        .cursor_of = cursor_of,
        .context = h,
        .engine_failed = &h->ended,
        .progress = &h->seq,
        .pause_again_ns = LOOK_NS,
        .may_be_quiet = true,
    };
    fr_status status = live_follow(h->source, &protocol, err);
    read_ahead_stop(h->ahead);
    h->ahead = NULL;
    if (status == FR_AGAIN && !engine_has_failed(h)) { /* stopped */
        fr_error late = {0};
        return flush(h, true, &late) == FR_OK ? FR_AGAIN : fr_fail(err, late.status, late.text);
    }
    return status;
}

static fr_status open(firehose *h, fr_error *err)
{
    running_source *source = h->source;
    const read_ahead_options ahead = {
        .take = on_take, .idle = on_idle, .context = h, .idle_ns = LOOK_NS, .stop = &source->stop};
    FR_TRY(open_held(h, err));
    tell_desynced(h);
    FR_TRY(fr_frame_reader_new(&h->frames, err));
    FR_TRY(repair_start(&h->repair, source, h->held, err));
    if (source->resolver != NULL && !fr_did_resolver_is_file_only(source->resolver)) {
        FR_TRY(did_prefetch_start(&h->prefetch, source->resolver, err));
    }
    return read_ahead_start(&h->ahead, &ahead, err);
}

fr_status live_firehose(running_source *source, fr_error *err)
{
    firehose h = {.source = source, .feed = &source->feed};
    source->feed.cursor_is_set = true;
    source->feed.cursor_name = source->url.name;
    h.has_cursor = fr_engine_cursor(source->engine, source->url.name, &h.seq) == FR_OK;
    source->feed.cursor = source->feed.cursor_sent = h.seq;
    feeder_tell(&source->feed);
    fr_status status = open(&h, err);
    status = status == FR_OK ? follow(&h, err) : status;
    read_ahead_stop(h.ahead);
    did_prefetch_stop(h.prefetch);
    repair_stop(h.repair);
    fr_frame_reader_free(h.frames);
    held_close(h.held);
    return status;
}
