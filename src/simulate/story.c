// SPDX-License-Identifier: MIT OR Apache-2.0
// One step at a time: someone joins (identity, account, then the first records), an account changes
// its state or its handle, or someone acts. Time and seq rise with every step, an account's rev
// with every commit of it.
#include "model.h"

#include <stdlib.h>

#define RECORDS_MAX_BYTES (1u << 20)

static fr_status check_options(const fr_story_options *options, fr_error *err)
{
    if (options->account_count == 0 || options->account_count > FR_SIMULATE_ACCOUNTS_MAX) {
        return fr_fail(err, FR_INVALID, "simulate: accounts must be 1 .. 10,000,000");
    }
    if (options->event_count == 0 || options->event_count > FR_SIMULATE_EVENTS_MAX) {
        return fr_fail(err, FR_INVALID, "simulate: events must be 1 .. 4,000,000,000");
    }
    return FR_OK;
}

fr_status fr_story_new(fr_story **out, const fr_story_options *options, fr_error *err)
{
    FR_TRY(check_options(options, err));
    fr_cleanup(fr_story_freep) fr_story *story = calloc(1, sizeof *story);
    if (story == NULL) {
        return fr_fail(err, FR_NOMEM, "simulate: no memory");
    }
    story->options = *options;
    story->rng.state = fr_gen_mix(options->seed + UINT64_C(0x66726573686574));
    story->time_us = FR_SIMULATE_START_US;
    fr_buffer_init(&story->bytes, RECORDS_MAX_BYTES);
    FR_TRY(fr_gen_pairs_init(&story->follows, err));
    FR_TRY(fr_gen_people_init(story, err));
    FR_TRY(fr_gen_targets_init(story, err));
    *out = story;
    story = NULL;
    return FR_OK;
}

void fr_story_free(fr_story *story)
{
    if (story != NULL) {
        fr_gen_targets_done(story);
        fr_gen_pairs_done(&story->follows);
        fr_buffer_done(&story->bytes);
        free(story->accounts);
        free(story);
    }
}

void fr_story_freep(fr_story **story)
{
    fr_story_free(*story);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void begin_step(fr_story *story, fr_story_step *step)
{
    story->time_us += fr_gen_between(&story->rng, 100, 3233); /* 600 a second */
    story->bytes.size = 0;
    story->op_count = 0;
    story->op_max = (size_t)FR_MIN(story->options.event_count - story->events, FR_SIMULATE_OPS_MAX);
    *step = (fr_story_step){.seq = ++story->seq, .time_us = story->time_us, .op_count = 1};
    step->time_size = fr_time_format((int64_t)story->time_us, 6, step->time_text);
}

static void name_step(const fr_story *story, fr_story_step *step, fr_step_kind kind,
                      uint32_t account)
{
    step->kind = kind;
    step->account = account;
    step->did = fr_slice_of(story->accounts[account].did, story->accounts[account].did_size);
}

static void make_identity(fr_story *story, fr_story_step *step, uint32_t account, bool with_handle)
{
    name_step(story, step, FR_STEP_IDENTITY, account);
    if (with_handle) {
        step->handle = fr_slice_of(story->handle, fr_gen_handle_of(story, account, story->handle));
    }
}

static fr_slice status_text(fr_story_status status)
{
    switch (status) {
        case FR_STORY_DEACTIVATED: return FR_SLICE("deactivated");
        case FR_STORY_TAKENDOWN: return FR_SLICE("takendown");
        case FR_STORY_SUSPENDED: return FR_SLICE("suspended");
        case FR_STORY_DELETED: return FR_SLICE("deleted");
        case FR_STORY_ACTIVE: break;
    }
    return (fr_slice){NULL, 0};
}

static void make_account(fr_story *story, fr_story_step *step, uint32_t account,
                         fr_story_status status)
{
    name_step(story, step, FR_STEP_ACCOUNT, account);
    story->active_count -= story->accounts[account].status == FR_STORY_ACTIVE;
    story->active_count += status == FR_STORY_ACTIVE;
    story->accounts[account].status = (uint8_t)status;
    step->active = status == FR_STORY_ACTIVE;
    step->status = status_text(status);
}

/* Four in five of those who went come back, the fifth is deleted. */
static bool end_absence(fr_story *story, fr_story_step *step)
{
    if (story->inactive_count == 0) {
        return false;
    }
    uint32_t at = fr_gen_below(&story->rng, story->inactive_count);
    uint32_t account = story->inactive[at];
    story->inactive[at] = story->inactive[--story->inactive_count];
    make_account(story, step, account,
                 fr_gen_chance(&story->rng, 2000) ? FR_STORY_DELETED : FR_STORY_ACTIVE);
    return true;
}

/* More than half of the accounts stay active, so an actor is always found. */
static bool begin_absence(fr_story *story, fr_story_step *step, fr_story_status status)
{
    uint32_t account = fr_gen_below(&story->rng, story->joined);
    bool spare = story->active_count >= 4 && story->active_count > story->joined / 2 + 1;
    if (!spare || story->accounts[account].status != FR_STORY_ACTIVE ||
        story->inactive_count == FR_GEN_INACTIVE_MAX) {
        return false;
    }
    if (status != FR_STORY_DELETED) {
        story->inactive[story->inactive_count++] = account;
    }
    make_account(story, step, account, status);
    return true;
}

static void make_life(fr_story *story, fr_story_step *step)
{
    uint32_t kind = fr_gen_below(&story->rng, 100);
    if ((kind < 20 && begin_absence(story, step, FR_STORY_DEACTIVATED)) ||
        (kind >= 20 && kind < 28 && begin_absence(story, step, FR_STORY_TAKENDOWN)) ||
        (kind >= 28 && kind < 32 && begin_absence(story, step, FR_STORY_SUSPENDED)) ||
        (kind >= 32 && kind < 42 && begin_absence(story, step, FR_STORY_DELETED)) ||
        (kind >= 42 && kind < 62 && end_absence(story, step))) {
        return;
    }
    uint32_t account = fr_gen_below(&story->rng, story->joined); /* the busy rename no more often */
    account =
        story->accounts[account].status == FR_STORY_ACTIVE ? account : fr_gen_pick_actor(story);
    bool renamed = kind < 90;
    story->accounts[account].handle_version += renamed ? 1 : 0;
    make_identity(story, step, account, renamed || fr_gen_chance(&story->rng, 5000));
}

/* ---- commits --------------------------------------------------------------------------------- */

static void begin_commit(fr_story *story, fr_story_step *step, uint32_t actor)
{
    fr_gen_account *account = &story->accounts[actor];
    story->actor = actor;
    uint64_t rev_us = story->time_us - fr_gen_between(&story->rng, 500, 30000); /* the way to us */
    rev_us = FR_MAX(rev_us, (account->rev >> 10) + 1);
    story->now_us = rev_us - fr_gen_between(&story->rng, 50, 3000);
    story->rev = fr_tid_make(rev_us, account->clock_id);
    name_step(story, step, FR_STEP_COMMIT, actor);
    step->rev = story->rev;
    step->since = account->rev;
}

static fr_status finish_commit(fr_story *story, fr_story_step *step, fr_error *err)
{
    FR_TRY(fr_buffer_status(&story->bytes, err));
    story->accounts[story->actor].rev = story->rev;
    for (size_t i = 0; i < story->op_count; i++) {
        const fr_gen_op *op = &story->ops[i];
        step->ops[i] = (fr_step_op){
            .action = op->action,
            .collection = fr_slice_text(fr_gen_nsids[op->collection]),
            .rkey = fr_slice_of(op->rkey, op->rkey_size),
            .record = fr_slice_of(story->bytes.data + op->record_at, op->record_size),
            .cid = op->cid,
        };
    }
    step->op_count = story->op_count;
    return FR_OK;
}

static fr_status make_commit(fr_story *story, fr_story_step *step, fr_error *err)
{
    begin_commit(story, step, fr_gen_pick_actor(story));
    FR_TRY(fr_gen_act(story, err));
    return finish_commit(story, step, err);
}

static fr_status make_signup(fr_story *story, fr_story_step *step, fr_error *err)
{
    begin_commit(story, step, story->joined - 1);
    FR_TRY(fr_gen_act_signup(story, err));
    return finish_commit(story, step, err);
}

fr_status fr_story_next(fr_story *story, fr_story_step *step, fr_error *err)
{
    if (story->events >= story->options.event_count) {
        return FR_END;
    }
    begin_step(story, step);
    fr_gen_pending pending = story->pending;
    story->pending = FR_GEN_NOTHING;
    if (pending == FR_GEN_JOIN_ACCOUNT) {
        /* Who joins behind schedule writes nothing yet: with few events an account all must still
         * get in. */
        make_account(story, step, story->joined - 1, FR_STORY_ACTIVE);
        story->pending = fr_gen_join_due(story) ? FR_GEN_NOTHING : FR_GEN_JOIN_RECORDS;
    } else if (pending == FR_GEN_JOIN_RECORDS) {
        FR_TRY(make_signup(story, step, err));
    } else if (fr_gen_join_due(story)) {
        make_identity(story, step, fr_gen_join(story), true);
        story->pending = FR_GEN_JOIN_ACCOUNT;
    } else if (fr_gen_chance(&story->rng, 60)) {
        make_life(story, step);
    } else {
        FR_TRY(make_commit(story, step, err));
    }
    story->events += step->op_count;
    return FR_OK;
}

/* ---- questions ------------------------------------------------------------------------------- */

uint32_t fr_story_account_count(const fr_story *story)
{
    return story->joined;
}

void fr_story_account_at(const fr_story *story, uint32_t account, fr_story_account *out)
{
    const fr_gen_account *a = &story->accounts[account];
    *out = (fr_story_account){.did = fr_slice_of(a->did, a->did_size),
                              .status = (fr_story_status)a->status,
                              .rev = a->rev,
                              .joined_us = a->joined_us};
    fr_gen_handle_of(story, account, out->handle);
    static const char host[] = "https://pds00.bsky.test";
    memcpy(out->pds, host, sizeof host);
    out->pds[11] = (char)('0' + account % 40 / 10);
    out->pds[12] = (char)('0' + account % 10);
}

void fr_story_secret(const fr_story *story, uint32_t account, uint8_t out[32])
{
    uint64_t words[2] = {story->options.seed, account};
    fr_sha256_2(FR_SLICE("freshet simulate key"), fr_slice_of(words, sizeof words), out);
}

fr_status fr_story_did_doc(const fr_story *story, uint32_t account, fr_buffer *out, fr_error *err)
{
    uint8_t secret[32];
    fr_public_key key;
    char key_text[FR_DID_KEY_MAX_BYTES];
    fr_story_account a;
    fr_story_secret(story, account, secret);
    FR_TRY(fr_public_key_of_k256_secret(secret, &key, err));
    fr_public_key_format(&key, key_text); /* did:key:z… */
    fr_story_account_at(story, account, &a);
    fr_buffer_text(
        out,
        "{\"@context\":[\"https://www.w3.org/ns/did/v1\",\"https://w3id.org/security/multikey/v1\","
        "\"https://w3id.org/security/suites/secp256k1-2019/v1\"],");
    fr_buffer_printf(out, "\"id\":\"%.*s\",\"alsoKnownAs\":[\"at://%s\"],", FR_SLICE_ARG(a.did),
                     a.handle);
    fr_buffer_printf(out,
                     "\"verificationMethod\":[{\"id\":\"%.*s#atproto\",\"type\":\"Multikey\","
                     "\"controller\":\"%.*s\","
                     "\"publicKeyMultibase\":\"%s\"}],",
                     FR_SLICE_ARG(a.did), FR_SLICE_ARG(a.did), key_text + strlen("did:key:"));
    fr_buffer_printf(out,
                     "\"service\":[{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\","
                     "\"serviceEndpoint\":\"%s\"}]}",
                     a.pds);
    return fr_buffer_status(out, err);
}
