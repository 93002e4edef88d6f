// SPDX-License-Identifier: MIT OR Apache-2.0
/* A ring under one lock with two conditions. Hand-over happens a few thousand times a second, in
 * batches; a lock-free ring would save nothing that a bench can see and cost a proof. */
#include <fr/thread.h>

#include "now.h"

#include <stdlib.h>

/* All fields but capacity: locked(lock). */
struct fr_queue {
    fr_mutex lock;
    fr_cond not_empty;
    fr_cond not_full;
    size_t capacity;
    size_t first; /* index of the oldest item */
    size_t count;
    bool closed;
    void *items[];
};

fr_status fr_queue_new(fr_queue **out, size_t capacity, fr_error *err)
{
    size_t size;
    if (capacity == 0) {
        return fr_fail(err, FR_INVALID, "queue: capacity 0");
    }
    if (fr_mul_overflows(capacity, sizeof(void *), &size) || size > SIZE_MAX / 2) {
        return fr_fail(err, FR_LIMIT, "queue: capacity too large");
    }
    fr_queue *queue = malloc(sizeof *queue + size);
    if (queue == NULL) {
        return fr_fail(err, FR_NOMEM, "queue: no memory");
    }
    *queue = (fr_queue){.capacity = capacity};
    fr_mutex_init(&queue->lock);
    fr_cond_init(&queue->not_empty);
    fr_cond_init(&queue->not_full);
    *out = queue;
    return FR_OK;
}

void fr_queue_free(fr_queue *queue)
{
    if (queue != NULL) {
        fr_cond_done(&queue->not_full);
        fr_cond_done(&queue->not_empty);
        fr_mutex_done(&queue->lock);
        free(queue);
    }
}

static fr_status push_locked(fr_queue *queue, void *item)
{
    if (queue->closed) {
        return FR_END;
    }
    if (queue->count == queue->capacity) {
        return FR_AGAIN;
    }
    queue->items[(queue->first + queue->count) % queue->capacity] = item;
    queue->count++;
    fr_cond_signal(&queue->not_empty);
    return FR_OK;
}

fr_status fr_queue_push(fr_queue *queue, void *item)
{
    fr_mutex_lock(&queue->lock);
    fr_status status = push_locked(queue, item);
    while (status == FR_AGAIN) {
        fr_cond_wait(&queue->not_full, &queue->lock);
        status = push_locked(queue, item);
    }
    fr_mutex_unlock(&queue->lock);
    return status;
}

fr_status fr_queue_try_push(fr_queue *queue, void *item)
{
    fr_mutex_lock(&queue->lock);
    fr_status status = push_locked(queue, item);
    fr_mutex_unlock(&queue->lock);
    return status;
}

static fr_status pop_locked(fr_queue *queue, void **item)
{
    if (queue->count == 0) {
        return queue->closed ? FR_END : FR_AGAIN;
    }
    *item = queue->items[queue->first];
    queue->first = (queue->first + 1) % queue->capacity;
    queue->count--;
    fr_cond_signal(&queue->not_full);
    return FR_OK;
}

/* Woken without an item (another consumer was faster), it waits only for the rest of its time. */
static fr_status pop_waiting(fr_queue *queue, void **item, uint64_t timeout_ns)
{
    uint64_t start_ns = timeout_ns == UINT64_MAX ? 0 : now_ns();
    fr_status status = pop_locked(queue, item);
    while (status == FR_AGAIN) {
        uint64_t gone_ns = timeout_ns == UINT64_MAX ? 0 : now_ns() - start_ns;
        if (gone_ns >= timeout_ns) {
            break;
        }
        if (timeout_ns == UINT64_MAX) {
            fr_cond_wait(&queue->not_empty, &queue->lock);
        } else {
            (void)fr_cond_wait_ns(&queue->not_empty, &queue->lock, timeout_ns - gone_ns);
        }
        status = pop_locked(queue, item);
    }
    return status;
}

fr_status fr_queue_pop(fr_queue *queue, void **item, uint64_t timeout_ns)
{
    fr_mutex_lock(&queue->lock);
    fr_status status =
        timeout_ns == 0 ? pop_locked(queue, item) : pop_waiting(queue, item, timeout_ns);
    fr_mutex_unlock(&queue->lock);
    return status;
}

void fr_queue_close(fr_queue *queue)
{
    fr_mutex_lock(&queue->lock);
    queue->closed = true;
    fr_cond_broadcast(&queue->not_empty);
    fr_cond_broadcast(&queue->not_full);
    fr_mutex_unlock(&queue->lock);
}

size_t fr_queue_count(fr_queue *queue)
{
    fr_mutex_lock(&queue->lock);
    size_t count = queue->count;
    fr_mutex_unlock(&queue->lock);
    return count;
}
