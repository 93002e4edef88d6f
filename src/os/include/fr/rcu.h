// SPDX-License-Identifier: MIT OR Apache-2.0
/** Grace periods: one writer publishes, any number of readers look, memory is freed when the last
 *  look is over. So readers and the writer do not wait for each other (invariant 4).
 *
 *  liburcu (memb) behind one header; under ThreadSanitizer, which cannot see into it, a slower one
 *  of our own. Rules: a thread that reads registers once; between lock and unlock it never waits
 *  and never does I/O; what it saw is valid until unlock. Publish with fr_rcu_store (release), read
 *  with fr_rcu_load (consume, as acquire). */
#pragma once

#include <fr/base.h>

/** Nests: the last unregister counts. Registered still when the thread ends is a bug. */
void fr_rcu_register_thread(void);
void fr_rcu_unregister_thread(void);
void fr_rcu_read_lock(void); /* nests */
void fr_rcu_read_unlock(void);
/** Calls free_fn(pointer) after every reader that might see it has left. Never blocks; falls back
 *  to waiting when no memory for the note can be had. Must not be called inside a read section. */
void fr_rcu_retire(void *pointer, void (*free_fn)(void *));
/** Waits for a grace period and for all retirements made before the call. */
void fr_rcu_barrier(void);

/* pairs with fr_rcu_load */
#define fr_rcu_store(slot, value) __atomic_store_n((slot), (value), __ATOMIC_RELEASE)
/* pairs with fr_rcu_store */
#define fr_rcu_load(slot) __atomic_load_n((slot), __ATOMIC_ACQUIRE)
