// SPDX-License-Identifier: MIT OR Apache-2.0
// Space-saving (Metwally et al., ICDT 2005) in sets of eight: a list that is not counted in its set
// takes over the smallest counter and its count, so an estimate is never below the truth and above
// it by at most that count. Counts are halved now and then, so that the page shows what is linked
// lately.
#include "top.h"

#include <fr/rcu.h>
#include <stdlib.h>

enum { SETS = 128, WAYS = 8, HALVE_EVERY = 1 << 20 };

typedef struct {
    size_t count;
    fr_links_top items[FR_LINKS_TOP_MAX];
} shown;

struct fr_top {
    fr_links_top cells[SETS][WAYS];
    uint64_t added, published;
    shown *shown; /* rcu */
};

fr_status fr_top_new(fr_top **out, fr_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out == NULL ? fr_fail(err, FR_NOMEM, "links: no memory for the most linked") : FR_OK;
}

void fr_top_free(fr_top *top)
{
    if (top != NULL) {
        free(top->shown);
        free(top);
    }
}

static void halve(fr_top *top)
{
    for (unsigned set = 0; set < SETS; set++) {
        for (unsigned way = 0; way < WAYS; way++) {
            top->cells[set][way].estimate /= 2;
        }
    }
}

void fr_top_add(fr_top *top, fr_target target, uint32_t source)
{
    uint64_t hash = (target.hi ^ target.lo * UINT64_C(0x9E3779B97F4A7C15)) + source;
    hash *= UINT64_C(0xBF58476D1CE4E5B9);
    fr_links_top *set = top->cells[(hash >> 40) % SETS];
    fr_links_top *least = set;
    if (++top->added % HALVE_EVERY == 0) {
        halve(top);
    }
    for (unsigned way = 0; way < WAYS; way++) {
        fr_links_top *cell = &set[way];
        if (cell->source == source && fr_target_equal(cell->target, target)) {
            cell->estimate++;
            return;
        }
        least = cell->estimate < least->estimate ? cell : least;
    }
    *least = (fr_links_top){target, source, least->estimate + 1};
}

static int most_first(const void *a, const void *b)
{
    uint64_t left = ((const fr_links_top *)a)->estimate;
    uint64_t right = ((const fr_links_top *)b)->estimate;
    return (left < right) - (left > right);
}

/** Sorting a thousand cells for every small batch would cost more than the batch: the page may lag
 *  by a sixty-fourth of what came, at most by FR_LINKS_TOP_LAG_MAX links. */
static uint64_t publish_step(const fr_top *top)
{
    return FR_MIN(top->added / 64, (uint64_t)FR_LINKS_TOP_LAG_MAX);
}

void fr_top_publish(fr_top *top)
{
    if (top->added == top->published || top->added - top->published < publish_step(top)) {
        return;
    }
    fr_links_top *all = malloc(sizeof top->cells);
    shown *fresh = malloc(sizeof *fresh);
    if (all != NULL && fresh != NULL) {
        memcpy(all, top->cells, sizeof top->cells);
        qsort(all, (size_t)SETS * WAYS, sizeof *all, most_first);
        for (fresh->count = 0;
             fresh->count < FR_LINKS_TOP_MAX && all[fresh->count].estimate != 0;) {
            fresh->items[fresh->count] = all[fresh->count];
            fresh->count++;
        }
        shown *old = top->shown;
        fr_rcu_store(&top->shown, fresh);
        fr_rcu_retire(old, free);
        fresh = NULL;
        top->published = top->added;
    }
    free(all);
    free(fresh);
}

size_t fr_top_read(const fr_top *top, fr_links_top *out, size_t room)
{
    fr_rcu_read_lock();
    const shown *now = fr_rcu_load(&top->shown);
    size_t count = now == NULL ? 0 : FR_MIN(now->count, room);
    if (count != 0) {
        memcpy(out, now->items, count * sizeof *out);
    }
    fr_rcu_read_unlock();
    return count;
}
