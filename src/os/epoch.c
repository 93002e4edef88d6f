// SPDX-License-Identifier: MIT OR Apache-2.0
/* One global epoch and one slot a thread.
 *
 *      reader   lock: slot = epoch        look at what is published        unlock: slot = 0
 *      reaper   epoch += 1 -> new;  wait until each slot is 0 or >= new;  now no one looks at what
 *               was unpublished before the step
 *
 * A reader whose slot is >= new read the epoch after the step, so it sees every publication made
 * before it. A reader that read the old epoch but has not yet stored it is the hard case: its
 * exchange and the reaper's look at the slot are sequentially consistent, so either the reaper sees
 * the slot, or the reader's look comes after the reaper's step and finds the new pointer.
 *
 * Retired pointers hang in a list that one background thread takes, waits a grace period for, and
 * frees. */
#include "epoch.h"

#include <fr/thread.h>

#include <sched.h>
#include <stdlib.h>

typedef struct epoch_slot {
    struct epoch_slot *next; /* locked(slots_lock) */
    uint64_t epoch;          /* atomic: 0 outside of a read section */
    unsigned depth;          /* owned by its thread */
} epoch_slot;

typedef struct retired {
    struct retired *next;
    void *pointer;
    void (*free_fn)(void *);
} retired;

static uint64_t global_epoch = 1; /* atomic */
static __thread epoch_slot own_slot;

static fr_mutex slots_lock = PTHREAD_MUTEX_INITIALIZER;
static epoch_slot *slots;

static fr_mutex retired_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t reaper_once = PTHREAD_ONCE_INIT;
static fr_cond retired_more; /* set up with the reaper */
static fr_cond retired_gone;
static bool reaper_runs;       /* written under reaper_once, read-only after */
static retired *retired_first; /* newest first; locked(retired_lock), as all below */
static uint64_t retired_count; /* ever */
static uint64_t freed_count;   /* ever */

void fr_epoch_register_thread(void)
{
    fr_mutex_lock(&slots_lock);
    own_slot.next = slots;
    slots = &own_slot;
    fr_mutex_unlock(&slots_lock);
}

void fr_epoch_unregister_thread(void)
{
    fr_mutex_lock(&slots_lock);
    epoch_slot **at = &slots;
    while (*at != NULL && *at != &own_slot) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = own_slot.next;
    }
    fr_mutex_unlock(&slots_lock);
}

void fr_epoch_read_lock(void)
{
    if (own_slot.depth++ == 0) {
        uint64_t now = __atomic_load_n(&global_epoch, __ATOMIC_SEQ_CST);
        (void)__atomic_exchange_n(&own_slot.epoch, now, __ATOMIC_SEQ_CST);
    }
}

void fr_epoch_read_unlock(void)
{
    if (--own_slot.depth == 0) {
        __atomic_store_n(&own_slot.epoch, 0, __ATOMIC_SEQ_CST);
    }
}

static void wait_grace_period(void)
{
    uint64_t now = __atomic_add_fetch(&global_epoch, 1, __ATOMIC_SEQ_CST);
    fr_mutex_lock(&slots_lock);
    for (epoch_slot *slot = slots; slot != NULL; slot = slot->next) {
        uint64_t seen = __atomic_load_n(&slot->epoch, __ATOMIC_SEQ_CST);
        while (seen != 0 && seen < now) {
            sched_yield();
            seen = __atomic_load_n(&slot->epoch, __ATOMIC_SEQ_CST);
        }
    }
    fr_mutex_unlock(&slots_lock);
}

static uint64_t free_list(retired *list)
{
    uint64_t count = 0;
    while (list != NULL) {
        retired *next = list->next;
        list->free_fn(list->pointer);
        free(list);
        list = next;
        count++;
    }
    return count;
}

static void *reap(void *unused)
{
    (void)unused;
    fr_mutex_lock(&retired_lock);
    for (;;) {
        while (retired_first == NULL) {
            fr_cond_wait(&retired_more, &retired_lock);
        }
        retired *list = retired_first;
        retired_first = NULL;
        fr_mutex_unlock(&retired_lock);
        wait_grace_period();
        uint64_t count = free_list(list);
        fr_mutex_lock(&retired_lock);
        freed_count += count;
        fr_cond_broadcast(&retired_gone);
    }
    return NULL;
}

static void start_reaper(void)
{
    fr_thread thread;
    fr_cond_init(&retired_more);
    fr_cond_init(&retired_gone);
    if (fr_thread_start(&thread, "fr-reaper", reap, NULL, NULL) == FR_OK) {
        pthread_detach(thread);
        reaper_runs = true; /* before any retirement: pthread_once orders it */
    }
}

void fr_epoch_retire(void *pointer, void (*free_fn)(void *))
{
    pthread_once(&reaper_once, start_reaper);
    retired *note = reaper_runs ? malloc(sizeof *note) : NULL;
    if (note == NULL) {
        wait_grace_period();
        free_fn(pointer);
        return;
    }
    *note = (retired){.pointer = pointer, .free_fn = free_fn};
    fr_mutex_lock(&retired_lock);
    note->next = retired_first;
    retired_first = note;
    retired_count++;
    fr_cond_signal(&retired_more);
    fr_mutex_unlock(&retired_lock);
}

void fr_epoch_barrier(void)
{
    pthread_once(&reaper_once, start_reaper);
    wait_grace_period();
    fr_mutex_lock(&retired_lock);
    uint64_t until = retired_count;
    while (freed_count < until) {
        fr_cond_wait(&retired_gone, &retired_lock);
    }
    fr_mutex_unlock(&retired_lock);
}
