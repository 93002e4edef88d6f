// SPDX-License-Identifier: MIT OR Apache-2.0
/* The resolver's rules one at a time; resolver_model_test.c has them all together. */
#include "network.h"

static fr_resolver *open_scratch(void)
{
    fr_resolver *r = NULL;
    fr_resolver_options options = {0};
    assert_ok(fr_resolver_open(&r, &options, NULL));
    return r;
}

static fr_event commit(fr_event_kind kind, uint64_t rev)
{
    fr_event event = {.kind = kind,
                      .rev = rev,
                      .time_us = rev,
                      .did = FR_SLICE("did:web:a.example"),
                      .collection = FR_SLICE("app.bsky.feed.like"),
                      .rkey = FR_SLICE("3l4jkr2tuvs2z")};
    if (kind == FR_EVENT_PUT) {
        event.body = FR_SLICE("\xa0");
        fr_cid_of_block(event.body, &event.cid);
    }
    return event;
}

static fr_event update(uint64_t rev)
{
    fr_event event = commit(FR_EVENT_PUT, rev);
    event.update = true;
    return event;
}

/** Resolves the event as the next of the log. */
static fr_resolved next(fr_resolver *r, const fr_event *event, bool from_car, fr_fact *fact)
{
    static fr_event kept;
    fr_resolved resolved = FR_RESOLVED_DUPLICATE;
    kept = *event;
    kept.seq = fr_resolver_seq(r) + 1;
    fr_resolver_begin(r);
    assert_ok(fr_resolver_apply(r, &kept, kept.seq, from_car, NULL, 0, &resolved, fact, NULL));
    return resolved;
}

#define assert_new(r, event, fact) assert_int_equal(next(r, &(event), false, fact), FR_RESOLVED_NEW)
#define assert_duplicate(r, event)                                                                 \
    assert_int_equal(next(r, &(event), false, NULL), FR_RESOLVED_DUPLICATE)

/* ---- versions ------------------------------------------------------------------------------- */

static void old_revs_lose(void **state)
{
    (void)state;
    fr_resolver *r = open_scratch();
    fr_fact fact;
    fr_event put = commit(FR_EVENT_PUT, 100);
    fr_event older = commit(FR_EVENT_PUT, 99);
    fr_event gone = commit(FR_EVENT_DELETE, 200);
    fr_event between = commit(FR_EVENT_PUT, 150);
    fr_event again = commit(FR_EVENT_PUT, 201);
    assert_new(r, put, &fact);
    assert_false(fact.was_live);
    assert_duplicate(r, put);
    assert_duplicate(r, older);
    assert_new(r, gone, &fact);
    assert_true(fact.was_live);
    assert_int_equal(fact.prior_seq, 1);
    assert_duplicate(r, gone);
    assert_duplicate(r, between); /* a tombstone has a rev too */
    assert_new(r, again, &fact);
    assert_false(fact.was_live);
    fr_resolver_close(r);
}

/** The operations of one commit share its rev; each is taken once. */
static void one_commit_of_several_operations(void **state)
{
    (void)state;
    fr_resolver *r = open_scratch();
    fr_fact fact;
    fr_event gone = commit(FR_EVENT_DELETE, 100);
    fr_event put = commit(FR_EVENT_PUT, 100);
    fr_event changed = update(100);
    assert_new(r, gone, &fact);
    assert_new(r, put, &fact);
    assert_new(r, changed, &fact);
    assert_true(fact.was_live);
    assert_duplicate(r, gone);
    assert_duplicate(r, put);
    assert_duplicate(r, changed);
    fr_resolver_close(r);
}

static void a_car_brings_what_is_new(void **state)
{
    (void)state;
    fr_resolver *r = open_scratch();
    fr_fact fact;
    fr_event put = commit(FR_EVENT_PUT, 100);
    fr_event same = commit(FR_EVENT_PUT, 300);
    fr_event other = commit(FR_EVENT_PUT, 300);
    other.cid.bytes[5] ^= 1;
    assert_new(r, put, &fact);
    assert_int_equal(next(r, &same, true, &fact), FR_RESOLVED_DUPLICATE);
    assert_int_equal(next(r, &other, true, &fact), FR_RESOLVED_NEW);
    fr_event gone = commit(FR_EVENT_DELETE, 400);
    fr_event back = commit(FR_EVENT_PUT, 500);
    back.cid = other.cid;
    assert_new(r, gone, &fact);
    assert_int_equal(next(r, &back, true, &fact),
                     FR_RESOLVED_NEW); /* the same bytes, but they were gone */
    fr_resolver_close(r);
}

/** A complete CAR ends everything at or below its rev, also of records it did not name. */
static void a_sync_mark_is_a_floor(void **state)
{
    (void)state;
    fr_resolver *r = open_scratch();
    fr_fact fact;
    fr_event mark = {
        .kind = FR_EVENT_SYNC, .rev = 100, .time_us = 100, .did = FR_SLICE("did:web:a.example")};
    fr_event late = commit(FR_EVENT_PUT, 100);
    fr_event after = commit(FR_EVENT_PUT, 101);
    fr_event older_mark = mark;
    older_mark.rev = 99;
    assert_new(r, mark, &fact);
    assert_int_equal(fact.status_before, fact.status_after);
    assert_duplicate(r, mark);
    assert_duplicate(r, older_mark);
    assert_duplicate(r, late);
    assert_new(r, after, &fact);
    late.did = FR_SLICE("did:web:b.example");
    assert_new(r, late, &fact); /* another account's */
    fr_resolver_close(r);
}

/* ---- accounts ------------------------------------------------------------------------------- */

typedef struct {
    uint8_t room[NET_BODY_BYTES];
} body;

static fr_event account(body *b, bool active, unsigned status, uint64_t inner_seq,
                        uint64_t inner_time_us)
{
    net_event e = {.kind = FR_EVENT_ACCOUNT,
                   .active = active,
                   .status = (uint8_t)status,
                   .has_inner_seq = 1,
                   .has_inner_time = 1,
                   .inner_seq = inner_seq,
                   .inner_time_us = inner_time_us};
    fr_buffer out = {.data = b->room, .capacity = sizeof b->room, .max_size = sizeof b->room};
    net_put_inner(&e, &out);
    return (fr_event){.kind = FR_EVENT_ACCOUNT,
                      .time_us = 999,
                      .did = FR_SLICE("did:web:a.example"),
                      .body = fr_buffer_view(&out)};
}

enum { DEACTIVATED = 0, TAKENDOWN = 1, DELETED = 3, THROTTLED = 5 }; /* of NET_STATUSES */

static void late_account_events_change_nothing(void **state)
{
    (void)state;
    fr_resolver *r = open_scratch();
    fr_fact fact;
    body b;
    fr_event down = account(&b, false, TAKENDOWN, 5, 500);
    assert_new(r, down, &fact);
    assert_true(fr_fact_ends_batch(&fact));
    assert_int_equal(fact.status_after, FR_ACCOUNT_TAKENDOWN);
    assert_duplicate(r, down);
    fr_event late = account(&b, true, 0, 4, 499);
    assert_new(r, late, &fact);
    assert_int_equal(fact.status_after, FR_ACCOUNT_TAKENDOWN);
    assert_false(fr_fact_ends_batch(&fact));
    fr_event slow = account(&b, false, THROTTLED, 6, 600);
    assert_new(r, slow, &fact);
    assert_int_equal(fact.status_after, FR_ACCOUNT_TAKENDOWN);
    fr_event tie = account(&b, true, 0, 7, 600); /* of two at one time the later to come */
    assert_new(r, tie, &fact);
    assert_int_equal(fact.status_after, FR_ACCOUNT_ACTIVE);
    fr_resolver_close(r);
}

static void a_claimed_time_to_come_is_not_the_last_word(void **state)
{
    (void)state;
    fr_resolver *r = open_scratch();
    fr_fact fact;
    body b;
    fr_event up = account(&b, true, 0, 1, UINT64_C(4102444800000000)); /* the year 2100 */
    assert_new(r, up, &fact);
    fr_event late = account(&b, false, DEACTIVATED, 2, 998);
    assert_new(r, late, &fact);
    assert_int_equal(fact.status_after, FR_ACCOUNT_ACTIVE);
    fr_event down = account(&b, false, TAKENDOWN, 3, 1000);
    assert_new(r, down, &fact);
    assert_int_equal(fact.status_after, FR_ACCOUNT_TAKENDOWN);
    fr_resolver_close(r);
}

static void a_deleted_account_comes_back_empty(void **state)
{
    (void)state;
    fr_resolver *r = open_scratch();
    fr_fact fact;
    body b;
    bool live = true;
    uint64_t rev = 0;
    fr_event put = commit(FR_EVENT_PUT, 100);
    fr_event late = commit(FR_EVENT_PUT, 90);
    fr_event elsewhere = commit(FR_EVENT_PUT, 100);
    fr_event back = commit(FR_EVENT_PUT, 101);
    fr_event gone = account(&b, false, DELETED, 1, 500);
    late.rkey = elsewhere.rkey = FR_SLICE("other");
    assert_new(r, put, &fact);
    fr_ref ref = fact.ref;
    assert_new(r, gone, &fact);
    assert_int_equal(fact.status_after, FR_ACCOUNT_DELETED);
    assert_ok(fr_resolver_find(r, ref, &live, &rev, NULL));
    assert_false(live);
    assert_duplicate(r, late); /* all up to the newest rev known of it is over */
    assert_duplicate(r, elsewhere);
    assert_new(r, back, &fact);
    assert_int_equal(fact.status_before, FR_ACCOUNT_DELETED);
    assert_int_equal(fact.status_after, FR_ACCOUNT_ACTIVE);
    assert_false(fr_fact_ends_batch(&fact)); /* no record's links move: there are none */
    assert_false(fact.was_live);
    fr_resolver_close(r);
}

static void a_delete_does_not_bring_an_account_back(void **state)
{
    (void)state;
    fr_resolver *r = open_scratch();
    fr_fact fact;
    body b;
    fr_event gone = account(&b, false, DELETED, 1, 500);
    fr_event removed = commit(FR_EVENT_DELETE, 100);
    assert_new(r, gone, &fact);
    assert_new(r, removed, &fact);
    assert_int_equal(fact.status_after, FR_ACCOUNT_DELETED);
    fr_resolver_close(r);
}

/* ---- bodies and links ----------------------------------------------------------------------- */

static void links_are_read_from_the_body(void **state)
{
    (void)state;
    fr_resolver *r = open_scratch();
    fr_fact fact;
    fr_buffer record;
    fr_buffer_init(&record, 1000);
    fr_cbor_put_map(&record, 1);
    fr_cbor_put_key(&record, "subject");
    fr_cbor_put_text(&record, FR_SLICE("https://example.com/a"));
    fr_event put = commit(FR_EVENT_PUT, 100);
    put.body = fr_buffer_view(&record);
    assert_new(r, put, &fact);
    assert_int_equal(fact.fresh_count, 1);
    assert_true(fr_slice_equal(fact.fresh_texts[0], FR_SLICE("https://example.com/a")));
    put = update(101);
    put.body =
        FR_SLICE("{\"subject\":\"https://example.com/a\",\"half\":0.5,\"via\":\"did:web:b\"}");
    put.body_format = FR_BODY_JSON;
    assert_new(r, put, &fact);
    assert_int_equal(fact.fresh_count, 1);
    assert_int_equal(fact.kept_count, 1);
    assert_int_equal(fact.kept[0].arrival_seq, 1);
    assert_int_equal(fr_resolver_links_dropped(r), 0);
    fr_buffer_done(&record);
    fr_resolver_close(r);
}

/** An event that is refused leaves no ids behind: they follow from the log alone, and it is not
 *  in the log. */
static void a_refused_event_changes_nothing(void **state)
{
    (void)state;
    fr_resolver *r = open_scratch();
    fr_ids *ids = fr_resolver_ids(r);
    fr_resolved resolved;
    fr_fact fact;
    fr_event put = commit(FR_EVENT_PUT, 100);
    put.body = FR_SLICE("{\"cut\":");
    put.body_format = FR_BODY_JSON;
    assert_int_not_equal(fr_resolver_apply(r, &put, 1, false, NULL, 0, &resolved, &fact, NULL),
                         FR_OK);
    body b;
    fr_event bad = account(&b, false, DELETED, 1, 500);
    bad.body = put.body;
    bad.body_format = FR_BODY_JSON;
    assert_int_not_equal(fr_resolver_apply(r, &bad, 1, false, NULL, 0, &resolved, &fact, NULL),
                         FR_OK);
    assert_int_equal(fr_dict_count(ids->dids), 0);
    assert_int_equal(fr_dict_count(ids->collections), 0);
    assert_int_equal(fr_dict_count(ids->rkeys), 0);
    assert_int_equal(fr_resolver_seq(r), 0);
    fr_event good = commit(FR_EVENT_PUT, 100);
    assert_new(r, good, &fact);
    fr_resolver_close(r);
}

/** Above a bound both sets of links are sorted before they are compared: the answer is the same. */
static void many_links_stay_come_and_go(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    uint64_t seed = seed_of_run();
    fr_resolver *r = open_scratch();
    fr_link_text *links = calloc(MANY, sizeof *links);
    char(*texts)[40] = calloc(MANY, sizeof *texts);
    uint64_t came[MANY] = {0}; /* when, 0: not there */
    assert_true(links != NULL && texts != NULL);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], i % 2 == 0 ? "https://e.com/%u" : "did:web:e%u", i);
    }
    for (uint64_t seq = 1; seq < 12; seq++) {
        fr_event put = commit(FR_EVENT_PUT, seq);
        fr_resolved resolved;
        fr_fact fact;
        size_t count = 0;
        size_t fresh = 0;
        size_t gone = 0;
        for (unsigned i = 0; i < MANY; i++) {
            bool stands = !one_in(&seed, 3);
            if (stands) {
                links[count++] = fr_link_text_of(FR_SLICE(".a"), fr_slice_text(texts[i]));
            }
            fresh += stands && came[i] == 0;
            gone += !stands && came[i] != 0;
            came[i] = !stands ? 0 : came[i] == 0 ? seq : came[i];
        }
        put.seq = seq;
        fr_resolver_begin(r);
        assert_ok(fr_resolver_apply(r, &put, seq, false, links, count, &resolved, &fact, NULL));
        assert_int_equal(fact.fresh_count, fresh);
        assert_int_equal(fact.gone_count, gone);
        assert_int_equal(fact.kept_count, count - fresh);
        for (size_t i = 0, at = 0; i < MANY; i++) { /* kept ones come in document order */
            if (came[i] != 0 && came[i] != seq) {
                fr_target target;
                assert_ok(fr_ids_find_target(fr_resolver_ids(r), fr_slice_text(texts[i]), &target));
                assert_true(fr_target_equal(fact.kept[at].target, target));
                assert_int_equal(fact.kept[at++].arrival_seq, came[i]);
            }
        }
    }
    free(texts);
    free(links);
    fr_resolver_close(r);
}

/* ---- saving --------------------------------------------------------------------------------- */

static void a_reader_opens_what_was_saved(void **state)
{
    (void)state;
    char top[256];
    fr_resolver *owner = NULL;
    fr_resolver *reader = NULL;
    fr_fact fact;
    make_folder(top, sizeof top);
    fr_resolver_options options = {.dir = top};
    fr_event put = commit(FR_EVENT_PUT, 100);
    fr_event later = update(101);
    assert_ok(fr_resolver_open(&owner, &options, NULL));
    assert_int_equal(fr_resolver_seq(owner), 0);
    assert_new(owner, put, &fact);
    fr_ref ref = fact.ref;
    assert_ok(fr_resolver_save(owner, NULL));
    assert_new(owner, later, &fact);
    options.read_only = true;
    assert_ok(fr_resolver_open(&reader, &options, NULL));
    bool live = false;
    uint64_t rev = 0;
    assert_int_equal(fr_resolver_seq(reader), 1);
    assert_ok(fr_resolver_find(reader, ref, &live, &rev, NULL));
    assert_true(live && rev == 100);
    assert_new(reader, later, &fact);          /* a reader follows the log in memory */
    assert_ok(fr_resolver_save(reader, NULL)); /* and saves nothing */
    fr_resolver_close(reader);
    fr_resolver_close(owner);
    options.read_only = false;
    assert_ok(fr_resolver_open(&owner, &options, NULL));
    assert_int_equal(fr_resolver_seq(owner), 1);
    fr_resolver_close(owner);
    fr_resolver_close(NULL);
    remove_folder(top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_revs_lose),
        cmocka_unit_test(one_commit_of_several_operations),
        cmocka_unit_test(a_car_brings_what_is_new),
        cmocka_unit_test(a_sync_mark_is_a_floor),
        cmocka_unit_test(late_account_events_change_nothing),
        cmocka_unit_test(a_claimed_time_to_come_is_not_the_last_word),
        cmocka_unit_test(a_deleted_account_comes_back_empty),
        cmocka_unit_test(a_delete_does_not_bring_an_account_back),
        cmocka_unit_test(links_are_read_from_the_body),
        cmocka_unit_test(a_refused_event_changes_nothing),
        cmocka_unit_test(many_links_stay_come_and_go),
        cmocka_unit_test(a_reader_opens_what_was_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
