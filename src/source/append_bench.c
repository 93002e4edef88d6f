// SPDX-License-Identifier: MIT OR Apache-2.0
// What an acknowledgement costs, through the whole engine: one event an append, in each durability,
// by one caller and by several at once. Argument: a folder on the disk that is meant.
#include "ingest_help.h"

#include <fr/histogram.h>

enum { ACKS = 300, CALLERS_MAX = 16, ASYNC_OPEN_MAX = 64 };

typedef struct {
    freshet *db;
    freshet_durability durability;
    unsigned first;
    fr_histogram answered, durable; /* from the call to its answer, to the end of the wait */
} caller;

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

static void wait_for(caller *c, freshet_receipt *receipt, uint64_t started)
{
    if (receipt->ticket != NULL && freshet_append_wait(receipt, NULL) != FRESHET_OK) {
        exit(1);
    }
    fr_histogram_add(&c->durable, now_ns() - started);
}

static void *call(void *context)
{
    caller *c = context;
    freshet_receipt receipts[ASYNC_OPEN_MAX] = {0};
    uint64_t started[ASYNC_OPEN_MAX] = {0};
    freshet_append_options options = {.durability = c->durability};
    for (unsigned i = 0; i < ACKS + ASYNC_OPEN_MAX; i++) {
        unsigned slot = i % ASYNC_OPEN_MAX;
        if (receipts[slot].ticket != NULL) {
            wait_for(c, &receipts[slot], started[slot]);
        }
        if (i >= ACKS) {
            continue;
        }
        fr_buffer line = posts(c->first + i, c->first + i + 1);
        started[slot] = now_ns();
        if (freshet_append(c->db, (const char *)line.data, line.size, &options, &receipts[slot],
                           NULL) != FRESHET_OK) {
            exit(1);
        }
        fr_histogram_add(&c->answered, now_ns() - started[slot]);
        if (receipts[slot].ticket == NULL) {
            wait_for(c, &receipts[slot], started[slot]);
        }
        fr_buffer_done(&line);
    }
    return NULL;
}

static void print(const char *what, const fr_histogram *ns)
{
    printf("  %s p50 %8.1f us  p99 %8.1f us", what, (double)fr_histogram_quantile(ns, 0.5) / 1e3,
           (double)fr_histogram_quantile(ns, 0.99) / 1e3);
}

static void bench(const char *top, const char *name, freshet_durability durability, unsigned count)
{
    static unsigned next;
    static caller callers[CALLERS_MAX];
    fr_thread threads[CALLERS_MAX];
    static fr_histogram answered, durable;
    static char dir[FR_PATH_MAX];
    freshet *db = NULL;
    memset(&answered, 0, sizeof answered);
    memset(&durable, 0, sizeof durable);
    freshet_options options = {.data_dir = dir, .memory_bytes = 64U << 20};
    snprintf(dir, sizeof dir, "%s/data", top);
    if (fr_os_remove_tree(fr_os_real(), dir, NULL) != FR_OK ||
        freshet_open(&db, &options, NULL) != FRESHET_OK) {
        exit(1);
    }
    uint64_t started = now_ns();
    for (unsigned i = 0; i < count; i++, next += ACKS) {
        callers[i] = (caller){.db = db, .durability = durability, .first = next};
        if (fr_thread_start(&threads[i], "caller", call, &callers[i], NULL) != FR_OK) {
            exit(1);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        fr_thread_join(threads[i]);
        fr_histogram_merge(&answered, &callers[i].answered);
        fr_histogram_merge(&durable, &callers[i].durable);
    }
    double seconds = (double)(now_ns() - started) / 1e9;
    printf("%-16s %2u callers: %8.0f acks/s", name, count, (double)(count * ACKS) / seconds);
    print("answered", &answered);
    print("durable", &durable);
    printf("\n");
    (void)fflush(stdout);
    if (freshet_close(db, NULL) != FRESHET_OK ||
        fr_os_remove_tree(fr_os_real(), dir, NULL) != FR_OK) {
        exit(1);
    }
}

int main(int count, char **arguments)
{
    char made[] = "/tmp/fr-append-bench-XXXXXX";
    const char *folder = count > 1 ? arguments[1] : mkdtemp(made);
    if (folder == NULL) {
        return 1;
    }
    for (unsigned callers = 1; callers <= CALLERS_MAX; callers *= 4) {
        bench(folder, "immediate", (freshet_durability){.mode = FRESHET_IMMEDIATE}, callers);
        bench(folder, "batched:100,10", (freshet_durability){0}, callers);
        bench(folder, "batched:100,1", (freshet_durability){FRESHET_BATCHED, 100, 1}, callers);
        bench(folder, "async", (freshet_durability){.mode = FRESHET_ASYNC}, callers);
    }
    return count > 1 ? 0 : rmdir(made);
}
