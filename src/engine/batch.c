// SPDX-License-Identifier: MIT OR Apache-2.0
// Batches circulate: pool -> source -> queue -> writer -> pool. Their number is the bound between
// sources and the writer.
#include "engine.h"

#include <fr/codec.h>
#include <stdlib.h>

/* ---- sinks ----------------------------------------------------------------------------------- */

void fr_sink_init(fr_sink *sink)
{
    *sink = (fr_sink){0};
    fr_mutex_init(&sink->lock);
    fr_cond_init(&sink->settled);
}

void fr_sink_done(fr_sink *sink)
{
    fr_cond_done(&sink->settled);
    fr_mutex_done(&sink->lock);
}

fr_status fr_sink_drain(fr_sink *sink, fr_error *err)
{
    fr_mutex_lock(&sink->lock);
    while (sink->in_flight != 0) {
        fr_cond_wait(&sink->settled, &sink->lock);
    }
    fr_status status = sink->status;
    if (status != FR_OK && err != NULL) {
        *err = sink->error;
    }
    fr_mutex_unlock(&sink->lock);
    return status;
}

void fr_sink_report(fr_sink *sink, freshet_report *out)
{
    fr_mutex_lock(&sink->lock);
    *out = sink->report;
    fr_mutex_unlock(&sink->lock);
}

/* ---- batches --------------------------------------------------------------------------------- */

fr_status fr_engine_batch(fr_engine *engine, fr_sink *sink, const bool *stop, fr_batch **out,
                          fr_error *err)
{
    enum { LOOK_NS = 50000000 };
    fr_batch *batch = NULL;
    if (engine->options.read_only) {
        return fr_fail(err, FR_INVALID, "opened for reading only");
    }
    fr_mutex_lock(&engine->pool_lock);
    while (engine->pool == NULL && !__atomic_load_n(&engine->closing, __ATOMIC_ACQUIRE)) {
        if (stop != NULL && __atomic_load_n(stop, __ATOMIC_ACQUIRE)) {
            break;
        }
        (void)fr_cond_wait_ns(&engine->pool_free, &engine->pool_lock, LOOK_NS);
    }
    bool closing = __atomic_load_n(&engine->closing, __ATOMIC_ACQUIRE);
    if (!closing && engine->pool != NULL) {
        batch = engine->pool;
        engine->pool = batch->next;
    }
    fr_mutex_unlock(&engine->pool_lock);
    if (batch == NULL) {
        return closing ? FR_END : fr_fail(err, FR_AGAIN, "stopped");
    }
    batch->sink = sink;
    *out = batch;
    return FR_OK;
}

void fr_engine_batch_return(fr_engine *engine, fr_batch *batch)
{
    batch->count = 0;
    batch->has_cursor = false;
    batch->durability = (freshet_durability){0};
    batch->key_size = 0;
    batch->car_end = false;
    batch->sink = NULL;
    fr_key_set_done(&batch->car_keys);
    fr_buffer_reset(&batch->scratch);
    fr_arena_reset(&batch->links);
    fr_mutex_lock(&engine->pool_lock);
    batch->next = engine->pool;
    engine->pool = batch;
    fr_cond_broadcast(&engine->pool_free);
    fr_mutex_unlock(&engine->pool_lock);
}

void fr_engine_submit(fr_engine *engine, fr_batch *batch)
{
    fr_sink *sink = batch->sink;
    fr_mutex_lock(&sink->lock);
    sink->in_flight++;
    fr_mutex_unlock(&sink->lock);
    if (fr_queue_push(engine->queue, batch) != FR_OK) { /* closed: the writer will not see it */
        fr_mutex_lock(&sink->lock);
        sink->in_flight--;
        if (sink->status == FR_OK) {
            sink->status = fr_fail(&sink->error, FR_AGAIN, "the engine is closing");
        }
        fr_cond_broadcast(&sink->settled);
        fr_mutex_unlock(&sink->lock);
        fr_engine_batch_return(engine, batch);
    }
}

static fr_status copy_links(fr_arena *arena, const fr_link_text *links, size_t count,
                            const fr_link_text **out, fr_error *err)
{
    fr_link_text *copy = fr_arena_take(arena, (count + 1) * sizeof *copy);
    if (copy == NULL) {
        return fr_fail(err, FR_NOMEM, "batch: no memory for links");
    }
    for (size_t i = 0; i < count; i++) {
        copy[i] = links[i];
        FR_TRY(fr_arena_copy(arena, links[i].path, &copy[i].path, err));
        FR_TRY(fr_arena_copy(arena, links[i].target, &copy[i].target, err));
    }
    *out = copy;
    return FR_OK;
}

fr_status fr_batch_extract(fr_batch *batch, fr_extractor *extractor, fr_json *json, fr_error *err)
{
    fr_input *input = &batch->inputs[batch->count - 1];
    const fr_link_text *links = NULL;
    size_t count = 0;
    uint64_t dropped = 0;
    input->links = NULL;
    input->account_hash = fr_ids_account_hash(input->event.did);
    if (input->event.kind != FR_EVENT_PUT) {
        return FR_OK;
    }
    if (input->event.body_format == FR_BODY_JSON) {
        (void)json; /* rare: the writer extracts, and counts what it drops */
        return FR_OK;
    }
    FR_TRY(fr_extract_cbor(extractor, input->event.body, &links, &count, &dropped, err));
    if (dropped != 0) {
        return FR_OK; /* as above */
    }
    input->link_count = (uint32_t)count;
    return copy_links(&batch->links, links, count, &input->links, err);
}

/* ---- keys of a CAR --------------------------------------------------------------------------- */

static fr_u128 key_of(fr_slice collection, fr_slice rkey)
{
    uint8_t room[FR_REPO_KEY_MAX_BYTES + 1];
    size_t size = 0;
    if (collection.size + 1 + rkey.size <= sizeof room) {
        memcpy(room, collection.data, collection.size);
        room[collection.size] = '/';
        memcpy(room + collection.size + 1, rkey.data, rkey.size);
        size = collection.size + 1 + rkey.size;
    }
    fr_u128 key = fr_xxh3_128(fr_slice_of(room, size));
    key.lo |= 1; /* zero means free */
    return key;
}

static size_t slot_of(const fr_key_set *set, fr_u128 key)
{
    size_t i = key.hi & set->mask;
    while (set->slots[i].lo != 0 && (set->slots[i].lo != key.lo || set->slots[i].hi != key.hi)) {
        i = (i + 1) & set->mask;
    }
    return i;
}

static fr_status grow_keys(fr_key_set *set, fr_error *err)
{
    fr_key_set bigger = {.mask = set->slots == NULL ? 255 : set->mask * 2 + 1, .count = set->count};
    bigger.slots = calloc(bigger.mask + 1, sizeof *bigger.slots);
    if (bigger.slots == NULL) {
        return fr_fail(err, FR_NOMEM, "batch: no memory for the keys of a CAR");
    }
    for (size_t i = 0; set->slots != NULL && i <= set->mask; i++) {
        if (set->slots[i].lo != 0) {
            bigger.slots[slot_of(&bigger, set->slots[i])] = set->slots[i];
        }
    }
    free(set->slots);
    *set = bigger;
    return FR_OK;
}

fr_status fr_key_set_add(fr_key_set *set, fr_slice collection, fr_slice rkey, fr_error *err)
{
    if (set->slots == NULL || (set->count + 1) * 5 > (set->mask + 1) * 3) {
        FR_TRY(grow_keys(set, err));
    }
    fr_u128 key = key_of(collection, rkey);
    size_t i = slot_of(set, key);
    set->count += set->slots[i].lo == 0;
    set->slots[i] = key;
    return FR_OK;
}

bool fr_key_set_has(const fr_key_set *set, fr_slice collection, fr_slice rkey)
{
    return set->slots != NULL && set->slots[slot_of(set, key_of(collection, rkey))].lo != 0;
}

void fr_key_set_done(fr_key_set *set)
{
    free(set->slots);
    *set = (fr_key_set){0};
}
