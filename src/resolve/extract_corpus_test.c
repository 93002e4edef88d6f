// SPDX-License-Identifier: MIT OR Apache-2.0
// The golden facts of a real stretch of the network, and that every record of it gives one list in
// both its forms.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fr/cbor.h>
#include <fr/event.h>
#include <fr/extract.h>

#include <stdio.h>
#include <stdlib.h>

#define ROW_COUNT_MAX 256
#define LINES_PATH FR_CORPUS "/firehose/expected_jetstream.jsonl"

// A link as the index would hold it; texts are copies that live as long as the test.
typedef struct {
    fr_slice did, collection, rkey, path, target;
} row;

static row rows[ROW_COUNT_MAX];
static size_t row_count, put_count, event_count;
static fr_buffer texts;

static fr_slice copy(fr_slice text)
{
    uint8_t *to = fr_buffer_reserve(&texts, text.size);
    assert_non_null(to);
    memcpy(to, text.data, text.size);
    texts.size += text.size;
    return fr_slice_of(to, text.size);
}

static void add_rows(const fr_event *event, const fr_link_text *links, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_true(row_count < ROW_COUNT_MAX);
        rows[row_count++] = (row){copy(event->did), copy(event->collection), copy(event->rkey),
                                  copy(links[i].path), copy(links[i].target)};
    }
}

// The record through JSON gives what it gave through DAG-CBOR, which is now in rows from `from` on.
static void expect_json_equal(fr_extractor *extractor, fr_slice body, size_t from)
{
    fr_json *json = NULL;
    fr_buffer text;
    fr_json_value record;
    const fr_link_text *links;
    size_t count;
    uint64_t dropped;
    fr_buffer_init(&text, 1 << 22);
    assert_int_equal(fr_json_new(&json, NULL), FR_OK);
    assert_int_equal(fr_cbor_to_json(body, &text, NULL), FR_OK);
    assert_int_equal(fr_json_parse(json, fr_buffer_view(&text), false, &record, NULL), FR_OK);
    assert_int_equal(fr_extract_json(extractor, record, &links, &count, &dropped, NULL), FR_OK);
    assert_int_equal(count, row_count - from);
    for (size_t i = 0; i < count; i++) {
        assert_true(fr_slice_equal(links[i].path, rows[from + i].path));
        assert_true(fr_slice_equal(links[i].target, rows[from + i].target));
    }
    fr_json_free(json);
    fr_buffer_done(&text);
}

static void take_line(fr_json *json, fr_extractor *extractor, fr_buffer *scratch, fr_slice line)
{
    fr_json_value value;
    fr_event event;
    const fr_link_text *links;
    size_t count, from = row_count;
    uint64_t dropped;
    fr_buffer_reset(scratch);
    assert_int_equal(fr_json_parse(json, line, false, &value, NULL), FR_OK);
    assert_int_equal(fr_event_from_json(value, scratch, &event, NULL), FR_OK);
    event_count++;
    if (event.kind != FR_EVENT_PUT) {
        return;
    }
    put_count++;
    assert_int_not_equal(event.body_format, FR_BODY_JSON);
    assert_int_equal(fr_extract_cbor(extractor, event.body, &links, &count, &dropped, NULL), FR_OK);
    assert_int_equal(dropped, 0);
    add_rows(&event, links, count);
    expect_json_equal(extractor, event.body, from);
}

static int read_lines(void **state)
{
    static char line[1 << 20];
    fr_json *json = NULL;
    fr_extractor *extractor = NULL;
    fr_buffer scratch;
    (void)state;
    fr_buffer_init(&texts, 1 << 22);
    fr_buffer_init(&scratch, 4 << 20);
    FILE *file = fopen(LINES_PATH, "rb");
    if (file == NULL || fr_buffer_reserve(&texts, 1 << 22) == NULL ||
        fr_json_new(&json, NULL) != FR_OK || fr_extractor_new(&extractor, NULL) != FR_OK) {
        return -1;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        take_line(json, extractor, &scratch, fr_slice_text(line));
    }
    fclose(file);
    fr_json_free(json);
    fr_extractor_free(extractor);
    fr_buffer_done(&scratch);
    return 0;
}

static int forget(void **state)
{
    (void)state;
    fr_buffer_done(&texts);
    return 0;
}

/* ---- distinct counts ------------------------------------------------------------------------- */

typedef bool (*same)(const row *a, const row *b);

static bool same_account(const row *a, const row *b)
{
    return fr_slice_equal(a->did, b->did);
}
static bool same_record(const row *a, const row *b)
{
    return same_account(a, b) && fr_slice_equal(a->collection, b->collection) &&
           fr_slice_equal(a->rkey, b->rkey);
}
static bool same_target(const row *a, const row *b)
{
    return fr_slice_equal(a->target, b->target);
}
static bool same_list(const row *a, const row *b)
{
    return same_target(a, b) && fr_slice_equal(a->collection, b->collection) &&
           fr_slice_equal(a->path, b->path);
}

static size_t count_before(same equal, size_t i)
{
    size_t count = 0;
    for (size_t k = 0; k < i; k++) {
        count += equal(&rows[k], &rows[i]);
    }
    return count;
}

static size_t count_distinct(same equal)
{
    size_t count = 0;
    for (size_t i = 0; i < row_count; i++) {
        count += count_before(equal, i) == 0;
    }
    return count;
}

static size_t count_source(const char *collection, const char *path)
{
    size_t count = 0;
    for (size_t i = 0; i < row_count; i++) {
        count += fr_slice_equal(rows[i].collection, fr_slice_text(collection)) &&
                 fr_slice_equal(rows[i].path, fr_slice_text(path));
    }
    return count;
}

static void test_totals(void **state)
{
    size_t kinds[4] = {0};
    (void)state;
    assert_int_equal(event_count, 62);
    assert_int_equal(put_count, 61);
    assert_int_equal(row_count, 74);
    for (size_t i = 0; i < row_count; i++) {
        fr_buffer normal;
        fr_buffer_init(&normal, 1 << 16);
        kinds[fr_link_classify(rows[i].target, &normal)]++;
        fr_buffer_done(&normal);
    }
    assert_int_equal(kinds[FR_LINK_AT_URI], 68);
    assert_int_equal(kinds[FR_LINK_DID], 4);
    assert_int_equal(kinds[FR_LINK_URI], 2);
    assert_int_equal(count_distinct(same_record), 57);
    assert_int_equal(count_distinct(same_account), 56);
    assert_int_equal(count_distinct(same_target), 69);
    assert_int_equal(count_distinct(same_list), 73);
}

static void test_sources(void **state)
{
    static const struct {
        const char *collection, *path;
        size_t count;
    } want[] = {
        {"app.bsky.feed.like", ".subject.uri", 41},
        {"app.bsky.feed.like", ".via.uri", 8},
        {"app.bsky.feed.repost", ".subject.uri", 7},
        {"app.bsky.feed.repost", ".via.uri", 4},
        {"app.bsky.feed.post", ".reply.parent.uri", 4},
        {"app.bsky.feed.post", ".reply.root.uri", 4},
        {"app.bsky.feed.post", ".embed.external.uri", 1},
        {"app.bsky.feed.post", ".facets[].features[app.bsky.richtext.facet#link].uri", 1},
        {"app.bsky.graph.follow", ".subject", 3},
        {"app.bsky.graph.block", ".subject", 1},
    };
    size_t total = 0;
    (void)state;
    for (size_t i = 0; i < FR_COUNT_OF(want); i++) {
        assert_int_equal(count_source(want[i].collection, want[i].path), want[i].count);
        total += want[i].count;
    }
    assert_int_equal(total, row_count);
}

static void test_list_of_two(void **state)
{
    size_t found = 0;
    (void)state;
    for (size_t i = 0; i < row_count; i++) {
        if (count_before(same_list, i) == 0) {
            continue;
        }
        found++;
        assert_true(fr_slice_equal(rows[i].path, FR_SLICE(".reply.root.uri")));
        assert_true(fr_slice_equal(fr_slice_from(rows[i].target, rows[i].target.size - 13),
                                   FR_SLICE("3mptbyospqk2i")));
        for (size_t k = 0; k < i; k++) {
            assert_true(!same_list(&rows[k], &rows[i]) || same_account(&rows[k], &rows[i]));
        }
    }
    assert_int_equal(found, 1);
}

int main(void)
{
    FILE *present = fopen(LINES_PATH, "rb");
    if (present == NULL) {
        printf("SKIPPED: corpus data absent\n");
        return 0;
    }
    fclose(present);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_list_of_two),
    };
    return cmocka_run_group_tests(tests, read_lines, forget);
}
