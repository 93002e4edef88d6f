// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the tail keeps of random blocks, small ones joined, old ones dropped, against the list of
 * events that they were made of. */
#include "seeded.h"
#include "subscriber.h"

enum { EVENTS = 30000, JSON_BYTES_MAX = 3000 };

static uint64_t size_of_json(uint64_t seq)
{
    return 1 + seq * 7919 % (seq % 50 == 0 ? JSON_BYTES_MAX : 200);
}

static fr_slice json_of(uint64_t seq, char room[JSON_BYTES_MAX])
{
    size_t size = (size_t)size_of_json(seq);
    memset(room, (int)('a' + seq % 26), size);
    return fr_slice_of(room, size);
}

/** As the tail's thread makes them. */
static fr_tail_block *make_block(uint64_t first_seq, uint64_t count)
{
    char room[JSON_BYTES_MAX];
    fr_tail_block *block = calloc(1, sizeof *block);
    assert_non_null(block);
    fr_buffer_init(&block->items, SIZE_MAX);
    fr_buffer_init(&block->names, SIZE_MAX);
    fr_buffer_init(&block->frames, SIZE_MAX);
    block->first_seq = first_seq;
    block->end_seq = first_seq + count;
    for (uint64_t seq = first_seq; seq < block->end_seq; seq++) {
        fr_slice json = json_of(seq, room);
        fr_tail_item item = {.name_at = (uint32_t)block->names.size,
                             .frame_at = (uint32_t)block->frames.size,
                             .json_size = (uint32_t)json.size,
                             .did_size = (uint16_t)(7 + seq % 3),
                             .collection_size = (uint16_t)(seq % 4),
                             .kind = (uint8_t)(seq % 3)};
        fr_buffer_append(&block->names, "did:web:abcd", item.did_size);
        fr_buffer_append(&block->names, "com.", item.collection_size);
        fr_put_message(&block->frames, true, NULL, seq, json);
        fr_buffer_append(&block->items, &item, sizeof item);
    }
    return block;
}

static void hand_over(fr_tail *tail, fr_tail_block *block)
{
    *(tail->in_tail == NULL ? &tail->in_head : &tail->in_tail->next) = block;
    tail->in_tail = block;
    tail->in_count++;
}

static void check_event(const fr_tail *tail, uint64_t seq, fr_buffer *frame)
{
    char room[JSON_BYTES_MAX];
    fr_slice json = json_of(seq, room);
    fr_tail_event event = fr_tail_at(tail, seq);
    fr_buffer_reset(frame);
    fr_put_message(frame, true, NULL, seq, json);
    assert_true(fr_slice_equal(event.json, json));
    assert_true(fr_slice_equal(event.frame, fr_buffer_view(frame)));
    assert_int_equal(event.kind, seq % 3);
    assert_int_equal(event.did.size, 7 + seq % 3);
    assert_int_equal(event.collection.size, seq % 4);
    assert_memory_equal(event.did.data, "did:web:abcd", event.did.size);
    assert_memory_equal(event.collection.data, "com.", event.collection.size);
}

/** Runs from there on are the frames of the events, whole ones, `most` at the most. */
static void check_run(const fr_tail *tail, uint64_t seq, uint64_t most, fr_buffer *frames)
{
    char room[JSON_BYTES_MAX];
    uint64_t count = 0;
    fr_slice run = fr_tail_run(tail, seq, most, &count);
    assert_true(count > 0 && count <= most && seq + count <= tail->end_seq);
    fr_buffer_reset(frames);
    for (uint64_t i = 0; i < count; i++) {
        fr_put_message(frames, true, NULL, seq + i, json_of(seq + i, room));
    }
    assert_true(fr_slice_equal(run, fr_buffer_view(frames)));
}

static void every_event_is_there_once(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_tail tail = {0};
    uv_async_t wake;
    fr_buffer scratch;
    uint64_t joined = 0, blocks = 0;
    fr_tail_init(&tail, &wake);
    fr_buffer_init(&scratch, SIZE_MAX);
    for (uint64_t seq = 1 + below(&seed, 1000), end = seq + steps_of(EVENTS); seq < end;) {
        for (uint64_t more = below(&seed, 4); more > 0; more--, blocks++) {
            uint64_t count = blocks == 0 ? 0 : below(&seed, one_in(&seed, 20) ? 400 : 6);
            hand_over(&tail, make_block(seq, count));
            seq += count;
        }
        assert_ok(fr_tail_take(&tail));
        assert_true(tail.bytes <= FR_TAIL_BYTES_MAX || tail.count == 1);
        if (tail.first_seq == tail.end_seq) {
            continue;
        }
        assert_int_equal(tail.end_seq, seq);
        uint64_t at = tail.first_seq + below(&seed, tail.end_seq - tail.first_seq);
        check_event(&tail, at, &scratch);
        check_run(&tail, at, one_in(&seed, 2) ? UINT64_MAX : 1 + below(&seed, 20), &scratch);
        joined = blocks - tail.count;
    }
    for (uint64_t seq = tail.first_seq; seq < tail.end_seq; seq++) {
        check_event(&tail, seq, &scratch);
    }
    assert_true(joined > blocks / 2);
    fr_buffer_done(&scratch);
    fr_tail_stop(&tail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_is_there_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
