// SPDX-License-Identifier: MIT OR Apache-2.0
/* Thin over POSIX threads. Our mutexes are plain ones and our conditions wait on the monotonic
 * clock: for those the standard names no failure but misuse, so the void functions have nothing to
 * report. */
#include <fr/thread.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NAME_BYTES 16 /* the kernel's bound, with the NUL */

typedef struct {
    void *(*run)(void *);
    void *context;
    char name[NAME_BYTES];
} start_note;

static void *run_named(void *raw)
{
    start_note note = *(start_note *)raw;
    free(raw);
    pthread_setname_np(pthread_self(), note.name);
    return note.run(note.context);
}

/* Everything a main thread might wait for stays with it; a fault of the thread's own must still be
 * seen. */
static void signals_to_block(sigset_t *set)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPROF};
    sigfillset(set);
    for (size_t i = 0; i < FR_COUNT_OF(own); i++) {
        sigdelset(set, own[i]);
    }
}

fr_status fr_thread_start(fr_thread *out, const char *name, void *(*run)(void *), void *context,
                          fr_error *err)
{
    sigset_t blocked;
    sigset_t before;
    start_note *note = malloc(sizeof *note);
    if (note == NULL) {
        return fr_fail(err, FR_NOMEM, "thread: no memory to start one");
    }
    *note = (start_note){.run = run, .context = context};
    snprintf(note->name, sizeof note->name, "%.15s", name);
    signals_to_block(&blocked);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int failed = pthread_create(out, NULL, run_named, note);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        free(note);
        return fr_fail_os(err, failed, "thread: cannot start one");
    }
    return FR_OK;
}

void fr_thread_join(fr_thread thread)
{
    pthread_join(thread, NULL);
}

void fr_thread_idle(void)
{
    const struct sched_param none = {0};
    (void)pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
}

void fr_mutex_init(fr_mutex *mutex)
{
    pthread_mutex_init(mutex, NULL);
}

void fr_mutex_done(fr_mutex *mutex)
{
    pthread_mutex_destroy(mutex);
}

void fr_mutex_lock(fr_mutex *mutex)
{
    pthread_mutex_lock(mutex);
}

bool fr_mutex_try_lock(fr_mutex *mutex)
{
    return pthread_mutex_trylock(mutex) == 0;
}

void fr_mutex_unlock(fr_mutex *mutex)
{
    pthread_mutex_unlock(mutex);
}

void fr_cond_init(fr_cond *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

void fr_cond_done(fr_cond *cond)
{
    pthread_cond_destroy(cond);
}

void fr_cond_wait(fr_cond *cond, fr_mutex *mutex)
{
    pthread_cond_wait(cond, mutex);
}

/* Now plus `ns` on the monotonic clock; a far end of time becomes a century, which every kernel
 * takes. */
static struct timespec deadline_after(uint64_t ns)
{
    struct timespec at;
    const uint64_t century_ns = 100ULL * 365 * 86400 * 1000000000U;
    ns = FR_MIN(ns, century_ns);
    clock_gettime(CLOCK_MONOTONIC, &at);
    uint64_t part = (uint64_t)at.tv_nsec + ns % 1000000000U;
    at.tv_sec += (time_t)(ns / 1000000000U + part / 1000000000U);
    at.tv_nsec = (long)(part % 1000000000U);
    return at;
}

bool fr_cond_wait_ns(fr_cond *cond, fr_mutex *mutex, uint64_t timeout_ns)
{
    struct timespec deadline = deadline_after(timeout_ns);
    return pthread_cond_timedwait(cond, mutex, &deadline) != ETIMEDOUT;
}

void fr_cond_signal(fr_cond *cond)
{
    pthread_cond_signal(cond);
}

void fr_cond_broadcast(fr_cond *cond)
{
    pthread_cond_broadcast(cond);
}

void fr_sleep_ns(uint64_t ns)
{
    struct timespec deadline = deadline_after(ns);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) == EINTR) {
    }
}
