// SPDX-License-Identifier: MIT OR Apache-2.0
// R73: from an acknowledgement to the event being visible everywhere, through the whole engine, at
// the rate of a busy network: single events of four kinds, a view each, from callers that keep to
// a timetable. One JSON object for each durability, times in microseconds:
//
//   ack      from the call to its acknowledgement (async: of receipt)
//   visible  from there until every view has applied it, as freshet_wait_seq says (async: until it
//            is durable and published, which is what async does not wait for)
//   read     from the acknowledgement until a question to each of the four views was answered so
//
// An acknowledgement follows the publishing of its group, so `visible` shows what asking costs, and
// `read` what a caller pays to see its event everywhere.
//
// Arguments: a folder on the disk that is meant, events a second (2000), seconds (10).
#include "ingest_help.h"

#include <fr/histogram.h>

enum { CALLERS = 40, KINDS = 4 };

typedef struct {
    freshet *db;
    freshet_durability durability;
    unsigned number, count;
    uint64_t began_ns, pause_ns; /* of its timetable */
    fr_histogram ack, visible, read;
} caller;

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

static void put_event(fr_buffer *out, const caller *c, unsigned n)
{
    static const char *const collections[] = {"app.bsky.graph.follow", "app.bsky.feed.post",
                                              "app.bsky.feed.like"};
    static const char *const bodies[] = {
        "\"subject\":\"did:web:popular.test\"", "\"text\":\"hello\"",
        "\"subject\":{\"uri\":\"at://did:web:popular.test/a.b.c/d\"}"};
    char rev[FR_TID_BYTES];
    uint64_t time_us = UINT64_C(1700000000000000) + n;
    fr_tid_format(fr_tid_make(time_us, 1), rev);
    fr_buffer_printf(out, "{\"did\":\"did:web:c%u.test\",\"time_us\":%llu,", c->number,
                     (unsigned long long)time_us);
    if (n % KINDS == 3) {
        fr_buffer_printf(
            out,
            "\"kind\":\"identity\",\"identity\":{\"did\":\"did:web:c%u.test\","
            "\"handle\":\"n%u.c%u.test\",\"seq\":%u,\"time\":\"2026-01-01T00:00:00Z\"}}\n",
            c->number, n, c->number, n);
        return;
    }
    fr_buffer_printf(out,
                     "\"kind\":\"commit\",\"commit\":{\"rev\":\"%.13s\",\"operation\":\"create\","
                     "\"collection\":\"%s\",\"rkey\":\"%.13s\",\"record\":{\"$type\":\"%s\","
                     "\"createdAt\":\"2026-01-01T00:00:00Z\",%s}}}\n",
                     rev, collections[n % KINDS], rev, collections[n % KINDS], bodies[n % KINDS]);
}

static void expect_ok(freshet_status status, const freshet_error *error)
{
    if (status != FRESHET_OK) {
        fprintf(stderr, "visible_bench: %s\n", error->text == NULL ? "failed" : error->text);
        exit(1);
    }
}

/** One question to each view; every answer includes the event. */
static void read_all(const caller *c, uint64_t seq, freshet_answer *answer)
{
    char targets[KINDS][128];
    freshet_error error = {0};
    snprintf(targets[0], sizeof targets[0],
             "/relationships?a=did:web:c%u.test&b=did:web:popular.test", c->number);
    snprintf(targets[1], sizeof targets[1], "/author?did=did:web:c%u.test&limit=1", c->number);
    snprintf(targets[2], sizeof targets[2],
             "/links/count?target=at://did:web:popular.test/a.b.c/d&collection=app.bsky.feed.like&"
             "path=.subject.uri");
    snprintf(targets[3], sizeof targets[3], "/relationships?a=n3.c%u.test&b=did:web:popular.test",
             c->number);
    for (unsigned i = 0; i < KINDS; i++) {
        expect_ok(freshet_query(c->db, targets[i], strlen(targets[i]), NULL, answer, &error),
                  &error);
        const char *line = memmem(answer->headers, answer->headers_size, "freshet-seq: ", 13);
        if (line == NULL || strtoull(line + 13, NULL, 10) < seq) {
            fprintf(stderr, "visible_bench: an answer without the event: %s\n", targets[i]);
            exit(1);
        }
    }
}

static void *call(void *context)
{
    caller *c = context;
    const freshet_append_options options = {.durability = c->durability};
    freshet_answer answer = {0};
    freshet_error error = {0};
    fr_buffer line;
    fr_buffer_init(&line, 1 << 16);
    for (unsigned n = 0; n < c->count; n++) {
        freshet_receipt receipt;
        uint64_t due_ns = c->began_ns + n * c->pause_ns;
        uint64_t now = now_ns();
        fr_sleep_ns(due_ns > now ? due_ns - now : 0);
        fr_buffer_reset(&line);
        put_event(&line, c, n);
        uint64_t called_ns = now_ns();
        expect_ok(
            freshet_append(c->db, (const char *)line.data, line.size, &options, &receipt, &error),
            &error);
        uint64_t acked_ns = now_ns();
        if (receipt.ticket != NULL) {
            expect_ok(freshet_append_wait(&receipt, &error), &error);
        }
        expect_ok(freshet_wait_seq(c->db, receipt.seq, 0, NULL, &error), &error);
        uint64_t visible_ns = now_ns();
        read_all(c, receipt.seq, &answer);
        fr_histogram_add(&c->ack, acked_ns - called_ns);
        fr_histogram_add(&c->visible, visible_ns - acked_ns);
        fr_histogram_add(&c->read, now_ns() - acked_ns);
    }
    fr_buffer_done(&line);
    freshet_answer_free(&answer);
    return NULL;
}

static void print(const char *what, const fr_histogram *ns)
{
    printf(",\"%s_us\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}", what,
           (double)fr_histogram_quantile(ns, 0.5) / 1e3,
           (double)fr_histogram_quantile(ns, 0.99) / 1e3, (double)ns->max / 1e3);
}

static void bench(const char *top, const char *name, freshet_durability durability, unsigned rate,
                  unsigned seconds)
{
    static caller callers[CALLERS];
    static fr_histogram ack, visible, read;
    fr_thread threads[CALLERS];
    char dir[FR_PATH_MAX];
    freshet *db = NULL;
    freshet_error error = {0};
    freshet_options options = {.data_dir = dir, .memory_bytes = 256U << 20};
    snprintf(dir, sizeof dir, "%s/data", top);
    if (fr_os_remove_tree(fr_os_real(), dir, NULL) != FR_OK) {
        exit(1);
    }
    expect_ok(freshet_open(&db, &options, &error), &error);
    ack = visible = read = (fr_histogram){0};
    uint64_t began_ns = now_ns();
    uint64_t pause_ns = UINT64_C(1000000000) * CALLERS / rate;
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (caller){.db = db,
                              .durability = durability,
                              .number = i,
                              .count = rate * seconds / CALLERS,
                              .began_ns = began_ns + pause_ns * i / CALLERS,
                              .pause_ns = pause_ns};
        if (fr_thread_start(&threads[i], "caller", call, &callers[i], NULL) != FR_OK) {
            exit(1);
        }
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        fr_thread_join(threads[i]);
        fr_histogram_merge(&ack, &callers[i].ack);
        fr_histogram_merge(&visible, &callers[i].visible);
        fr_histogram_merge(&read, &callers[i].read);
    }
    printf("{\"bench\":\"visible\",\"durability\":\"%s\",\"events\":%llu,\"events_per_s\":%.0f",
           name, (unsigned long long)ack.count,
           (double)ack.count * 1e9 / (double)(now_ns() - began_ns));
    print("ack", &ack);
    print("visible", &visible);
    print("read", &read);
    printf("}\n");
    (void)fflush(stdout);
    expect_ok(freshet_close(db, &error), &error);
    (void)!fr_os_remove_tree(fr_os_real(), dir, NULL);
}

int main(int count, char **arguments)
{
    char made[] = "/tmp/fr-visible-bench-XXXXXX";
    const char *folder = count > 1 ? arguments[1] : mkdtemp(made);
    unsigned rate = count > 2 ? (unsigned)strtoul(arguments[2], NULL, 10) : 2000;
    unsigned seconds = count > 3 ? (unsigned)strtoul(arguments[3], NULL, 10) : 10;
    if (folder == NULL || rate < CALLERS) {
        return 1;
    }
    bench(folder, "immediate", (freshet_durability){.mode = FRESHET_IMMEDIATE}, rate, seconds);
    bench(folder, "batched:100,10", (freshet_durability){0}, rate, seconds);
    bench(folder, "batched:100,1", (freshet_durability){FRESHET_BATCHED, 100, 1}, rate, seconds);
    bench(folder, "async", (freshet_durability){.mode = FRESHET_ASYNC}, rate, seconds);
    return count > 1 ? 0 : rmdir(made);
}
