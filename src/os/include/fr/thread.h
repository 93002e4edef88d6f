// SPDX-License-Identifier: MIT OR Apache-2.0
/** Threads, locks and a bounded queue. Locks live off every query path: they guard start, stop and
 *  hand-over. */
#pragma once

#include <fr/base.h>
#include <pthread.h>

typedef pthread_t fr_thread;
typedef pthread_mutex_t fr_mutex;
typedef pthread_cond_t fr_cond;

/** Starts a named thread (15 characters are shown) with signals blocked. */
FR_MUST_USE fr_status fr_thread_start(fr_thread *out, const char *name, void *(*run)(void *),
                                      void *context, fr_error *err);
void fr_thread_join(fr_thread thread);
/** The calling thread runs from now on only when no other wants the processor; a hint. */
void fr_thread_idle(void);
void fr_mutex_init(fr_mutex *mutex);
void fr_mutex_done(fr_mutex *mutex);
void fr_mutex_lock(fr_mutex *mutex);
/** False when somebody has it. */
FR_MUST_USE bool fr_mutex_try_lock(fr_mutex *mutex);
void fr_mutex_unlock(fr_mutex *mutex);
void fr_cond_init(fr_cond *cond); /* waits on the monotonic clock */
void fr_cond_done(fr_cond *cond);
void fr_cond_wait(fr_cond *cond, fr_mutex *mutex);
/** False when the time ran out. */
bool fr_cond_wait_ns(fr_cond *cond, fr_mutex *mutex, uint64_t timeout_ns);
void fr_cond_signal(fr_cond *cond);
void fr_cond_broadcast(fr_cond *cond);
void fr_sleep_ns(uint64_t ns);

/** Bounded queue of pointers, many producers, many consumers. */
typedef struct fr_queue fr_queue;
FR_MUST_USE fr_status fr_queue_new(fr_queue **out, size_t capacity, fr_error *err);
void fr_queue_free(fr_queue *queue);
/** Waits for room. FR_END once closed. */
FR_MUST_USE fr_status fr_queue_push(fr_queue *queue, void *item);
/** FR_AGAIN when full, FR_END once closed. */
FR_MUST_USE fr_status fr_queue_try_push(fr_queue *queue, void *item);
/** Waits up to timeout_ns (UINT64_MAX: for ever, 0: not at all); FR_AGAIN on time-out, FR_END once
 *  closed and empty. */
FR_MUST_USE fr_status fr_queue_pop(fr_queue *queue, void **item, uint64_t timeout_ns);
/** Producers get FR_END from now on; consumers drain what is left. */
void fr_queue_close(fr_queue *queue);
size_t fr_queue_count(fr_queue *queue);
