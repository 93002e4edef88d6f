// SPDX-License-Identifier: MIT OR Apache-2.0
/* A note for each map, in a list that only grows at its head: the handler may walk it whatever the
 * other threads are doing. A note whose map is gone is used again for the next one.
 *
 *      notes -> [from, to, lost] -> [0: free] -> [from, to, lost] */
#include "map_guard.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fr/thread.h>

typedef struct map_note {
    struct map_note *next;
    uintptr_t from, to; /* atomic; from 0: free; `to` is written before it */
    uint32_t lost;      /* atomic */
} map_note;

static map_note *notes;                                  /* atomic */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of whoever adds or removes */
static struct sigaction before;
static uintptr_t page_bytes;

static map_note *note_of(uintptr_t at)
{
    for (map_note *note = __atomic_load_n(&notes, __ATOMIC_ACQUIRE); note != NULL;
         note = note->next) {
        uintptr_t from = __atomic_load_n(&note->from, __ATOMIC_ACQUIRE);
        if (from != 0 && at >= from && at < __atomic_load_n(&note->to, __ATOMIC_RELAXED)) {
            return note;
        }
    }
    return NULL;
}

static map_note *free_note(void)
{
    for (map_note *note = notes; note != NULL; note = note->next) {
        if (note->from == 0) {
            return note;
        }
    }
    map_note *note = calloc(1, sizeof *note);
    if (note != NULL) {
        note->next = notes;
        __atomic_store_n(&notes, note, __ATOMIC_RELEASE);
    }
    return note;
}

void map_guard_add(fr_slice map)
{
    fr_mutex_lock(&lock);
    map_note *note = free_note();
    if (note != NULL) {
        uintptr_t from = (uintptr_t)map.data;
        __atomic_store_n(&note->lost, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&note->to, from + map.size, __ATOMIC_RELAXED);
        __atomic_store_n(&note->from, from, __ATOMIC_RELEASE);
    }
    fr_mutex_unlock(&lock);
}

void map_guard_remove(fr_slice map)
{
    fr_mutex_lock(&lock);
    map_note *note = note_of((uintptr_t)map.data);
    if (note != NULL) {
        __atomic_store_n(&note->from, 0, __ATOMIC_RELEASE);
    }
    fr_mutex_unlock(&lock);
}

const uint32_t *fr_map_lost(fr_slice map)
{
    const map_note *note = map.size == 0 ? NULL : note_of((uintptr_t)map.data);
    return note == NULL ? NULL : &note->lost;
}

/* The system's own call: mmap may be a sanitizer's, which is not for handlers, and takes the zeros
 * for a write that races with whoever reads the page. */
static bool map_zeros(void *page)
{
    return syscall(SYS_mmap, page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                   -1, 0) != -1;
}

/* The loss is noted before there are zeros that another thread could read and believe. Where
 * nothing can be mapped, or it is no map of ours, the old handler is put back: the read that failed
 * is tried again and finds it. */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    int failed = errno;
    uintptr_t at = (uintptr_t)info->si_addr;
    map_note *note = note_of(at);
    void *page = (void *)(at & ~(page_bytes - 1)); // NOLINT(performance-no-int-to-ptr)
    if (note != NULL) {
        __atomic_store_n(&note->lost, 1, __ATOMIC_SEQ_CST);
    }
    if (note == NULL || !map_zeros(page)) {
        (void)sigaction(number, &before, NULL);
    }
    errno = failed;
}

void fr_maps_guard(void)
{
    struct sigaction ours = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&ours.sa_mask);
    (void)sigaction(SIGBUS, &ours, &before);
}
