// SPDX-License-Identifier: MIT OR Apache-2.0
/* liburcu's memb flavour: a reader writes its own counter and no barrier, the kernel's
 * membarrier(2) makes up for it when a writer waits. liburcu 0.13 tells ThreadSanitizer nothing, so
 * under it the epochs of epoch.c stand in.
 *
 * call_rcu wants its caller registered as a reader; a writer of ours need not be, so it is for as
 * long as the call. */
#include <fr/rcu.h>

#include "epoch.h"

#if defined(__SANITIZE_THREAD__)
#define USE_EPOCHS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define USE_EPOCHS 1
#endif
#endif

/* Who runs a loop registers its thread, and so may what the loop calls: only the outermost
 * counts. */
static __thread unsigned registered_count;

#ifdef USE_EPOCHS

void fr_rcu_register_thread(void)
{
    if (registered_count++ == 0) {
        fr_epoch_register_thread();
    }
}

void fr_rcu_unregister_thread(void)
{
    if (--registered_count == 0) {
        fr_epoch_unregister_thread();
    }
}

void fr_rcu_read_lock(void)
{
    fr_epoch_read_lock();
}

void fr_rcu_read_unlock(void)
{
    fr_epoch_read_unlock();
}

void fr_rcu_retire(void *pointer, void (*free_fn)(void *))
{
    fr_epoch_retire(pointer, free_fn);
}

void fr_rcu_barrier(void)
{
    fr_epoch_barrier();
}

#else

#include <stdlib.h>
#include <urcu.h>

typedef struct {
    struct rcu_head head; /* first: the callback gets its address */
    void *pointer;
    void (*free_fn)(void *);
} retired;

void fr_rcu_register_thread(void)
{
    if (registered_count++ == 0) {
        rcu_register_thread();
    }
}

void fr_rcu_unregister_thread(void)
{
    if (--registered_count == 0) {
        rcu_unregister_thread();
    }
}

void fr_rcu_read_lock(void)
{
    rcu_read_lock();
}

void fr_rcu_read_unlock(void)
{
    rcu_read_unlock();
}

static void free_retired(struct rcu_head *head)
{
    retired *note = (retired *)head;
    registered_count = 1; /* this is liburcu's own thread, which registered itself */
    note->free_fn(note->pointer);
    free(note);
}

void fr_rcu_retire(void *pointer, void (*free_fn)(void *))
{
    retired *note = malloc(sizeof *note);
    if (note == NULL) {
        synchronize_rcu();
        free_fn(pointer);
        return;
    }
    note->pointer = pointer;
    note->free_fn = free_fn;
    bool guest = registered_count == 0;
    if (guest) {
        rcu_register_thread();
    }
    call_rcu(&note->head, free_retired);
    if (guest) {
        rcu_unregister_thread();
    }
}

void fr_rcu_barrier(void)
{
    synchronize_rcu();
    rcu_barrier();
}

#endif
