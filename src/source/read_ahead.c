// SPDX-License-Identifier: MIT OR Apache-2.0
// A list under a lock. The taker moves the whole list out at once, so that the lock is taken once
// for many messages; `count` and `bytes` go down as they are taken, since those are the bound.
#include "read_ahead.h"

#include <fr/os.h>
#include <fr/thread.h>
#include <stdlib.h>

#define LOOK_NS 100000000 /* how often who waits looks whether to stop */

typedef struct message {
    struct message *next;
    uint64_t read_ns;
    fr_slice bytes; /* data NULL: as it was pushed */
    uint8_t room[];
} message;

struct read_ahead {
    read_ahead_options options;
    fr_thread thread;
    fr_mutex lock; /* of all below */
    fr_cond pushed, taken;
    message *first, **end;
    size_t count, bytes; /* also of what was moved out and not yet taken */
    bool paused;         /* by the reader; so it waits for more */
    bool closed;
    bool failed;
    fr_status status;
    fr_error error;
};

static uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}

static bool stopped(const read_ahead *a)
{
    return a->options.stop != NULL &&
           __atomic_load_n(a->options.stop, __ATOMIC_ACQUIRE); /* pairs with its owner */
}

/* ---- the taker ------------------------------------------------------------------------------- */

static void fail(read_ahead *a, fr_status status, const fr_error *why)
{
    fr_mutex_lock(&a->lock);
    a->failed = true;
    a->status = status;
    a->error = *why;
    fr_mutex_unlock(&a->lock);
}

static bool goes_on(read_ahead *a)
{
    fr_mutex_lock(&a->lock);
    bool going = !a->failed && !a->closed && !stopped(a);
    fr_mutex_unlock(&a->lock);
    return going;
}

static void idle(read_ahead *a, uint64_t *idle_at_ns)
{
    fr_error why = {0};
    *idle_at_ns = now_ns() + a->options.idle_ns;
    if (goes_on(a)) {
        fr_status status = a->options.idle(a->options.context, &why);
        if (status != FR_OK) {
            fail(a, status, &why);
        }
    }
}

/** Takes it, or drops it when something failed before. */
static void take(read_ahead *a, message *m)
{
    fr_error why = {0};
    if (goes_on(a)) {
        fr_status status = a->options.take(a->options.context, m->bytes, m->read_ns, &why);
        if (status != FR_OK) {
            fail(a, status, &why);
        }
    }
    fr_mutex_lock(&a->lock);
    a->count--;
    a->bytes -= m->bytes.size;
    fr_cond_signal(&a->taken);
    fr_mutex_unlock(&a->lock);
    free(m);
}

/** Moves out what there is; waits for it up to `until_ns`, or, when something was taken since the
 *  last idle, until the reader has nothing either. */
static message *move_out(read_ahead *a, uint64_t until_ns, bool took)
{
    fr_mutex_lock(&a->lock);
    uint64_t now = now_ns();
    while (a->first == NULL && !a->closed && !(took && a->paused) && now < until_ns) {
        (void)fr_cond_wait_ns(&a->pushed, &a->lock, until_ns - now);
        now = now_ns();
    }
    message *first = a->first;
    a->first = NULL;
    a->end = &a->first;
    fr_mutex_unlock(&a->lock);
    return first;
}

static bool is_closed(read_ahead *a)
{
    fr_mutex_lock(&a->lock);
    bool closed = a->closed && a->first == NULL;
    fr_mutex_unlock(&a->lock);
    return closed;
}

static void *run(void *context)
{
    read_ahead *a = context;
    uint64_t idle_at_ns = now_ns() + a->options.idle_ns;
    bool took = false; /* something since the last idle */
    while (!is_closed(a)) {
        message *first = move_out(a, idle_at_ns, took);
        if (first == NULL) {
            idle(a, &idle_at_ns);
            took = false;
        }
        for (message *next; first != NULL; first = next) {
            next = first->next;
            take(a, first);
            took = true;
            if (now_ns() >= idle_at_ns) {
                idle(a, &idle_at_ns);
            }
        }
    }
    return NULL;
}

/* ---- the reader ------------------------------------------------------------------------------ */

static fr_status failure(const read_ahead *a, fr_error *err)
{
    if (a->failed && err != NULL) {
        *err = a->error;
    }
    return a->failed ? a->status : FR_OK;
}

static bool has_room(const read_ahead *a, size_t size)
{
    return a->count == 0 || (a->count < FR_AHEAD_MESSAGES_MAX && a->bytes <= FR_AHEAD_BYTES_MAX &&
                             size <= FR_AHEAD_BYTES_MAX - a->bytes);
}

/** Waits, under the lock, for room, or for none being needed any more. */
static fr_status wait_for_room(read_ahead *a, size_t size, fr_error *err)
{
    while (!a->failed && !has_room(a, size)) {
        if (stopped(a)) {
            return fr_fail(err, FR_AGAIN, "stopped");
        }
        (void)fr_cond_wait_ns(&a->taken, &a->lock, LOOK_NS);
    }
    return failure(a, err);
}

fr_status read_ahead_push(read_ahead *a, fr_slice bytes, fr_error *err)
{
    message *m = malloc(sizeof *m + bytes.size);
    if (m == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory for a message");
    }
    *m = (message){.read_ns = now_ns(), .bytes = {bytes.data == NULL ? NULL : m->room, bytes.size}};
    if (bytes.size != 0) {
        memcpy(m->room, bytes.data, bytes.size);
    }
    fr_mutex_lock(&a->lock);
    fr_status status = wait_for_room(a, bytes.size, err);
    if (status == FR_OK) {
        *a->end = m;
        a->end = &m->next;
        a->count++;
        a->bytes += bytes.size;
        a->paused = false;
        fr_cond_signal(&a->pushed);
    }
    fr_mutex_unlock(&a->lock);
    if (status != FR_OK) {
        free(m);
    }
    return status;
}

fr_status read_ahead_pause(read_ahead *a, fr_error *err)
{
    fr_mutex_lock(&a->lock);
    a->paused = true;
    fr_cond_signal(&a->pushed);
    fr_status status = failure(a, err);
    fr_mutex_unlock(&a->lock);
    return status;
}

fr_status read_ahead_drain(read_ahead *a, fr_error *err)
{
    fr_mutex_lock(&a->lock);
    a->paused = true;
    fr_cond_signal(&a->pushed);
    while (a->count != 0) {
        fr_cond_wait(&a->taken, &a->lock);
    }
    fr_status status = failure(a, err);
    a->failed = false;
    fr_mutex_unlock(&a->lock);
    return status;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void free_ahead(read_ahead *a)
{
    fr_cond_done(&a->taken);
    fr_cond_done(&a->pushed);
    fr_mutex_done(&a->lock);
    free(a);
}

fr_status read_ahead_start(read_ahead **out, const read_ahead_options *options, fr_error *err)
{
    read_ahead *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory to read ahead");
    }
    a->options = *options;
    a->end = &a->first;
    fr_mutex_init(&a->lock);
    fr_cond_init(&a->pushed);
    fr_cond_init(&a->taken);
    fr_status status = fr_thread_start(&a->thread, "fr-take", run, a, err);
    if (status != FR_OK) {
        free_ahead(a);
        return status;
    }
    *out = a;
    return FR_OK;
}

void read_ahead_stop(read_ahead *a)
{
    if (a == NULL) {
        return;
    }
    fr_mutex_lock(&a->lock);
    a->closed = true;
    fr_cond_signal(&a->pushed);
    fr_mutex_unlock(&a->lock);
    fr_thread_join(a->thread);
    free_ahead(a);
}
