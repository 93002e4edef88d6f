// SPDX-License-Identifier: MIT OR Apache-2.0
/* Names of the simulated disk, as a journalling file system keeps them: each folder has its durable
 * names and an ordered list of changes on top. A crash keeps some first part of each folder's list,
 * so a folder is always as it once was, but two folders may be as they were at different times. A
 * name that was only created or renamed, and whose folder was not synced, may be gone.
 *
 * Tried and dropped: every name on its own, old or new by a coin. Then a rename can lose a file
 * under both names, against which no program can protect itself and which no journalling file
 * system does. */
#include "sim_disk.h"

#include <errno.h>
#include <stdlib.h>

/* ---- sorted names ---------------------------------------------------------------------------- */

/* Index of `name`, or where it would go. */
static size_t position_of(const sim_names *names, const char *name, bool *found)
{
    size_t low = 0;
    size_t high = names->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(names->list[middle].name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return low;
}

static bool reserve_names(sim_names *names, size_t count)
{
    if (count <= names->capacity) {
        return true;
    }
    size_t capacity = FR_MAX(count, names->capacity * 2);
    sim_entry *list = realloc(names->list, capacity * sizeof *list);
    if (list == NULL) {
        return false;
    }
    names->list = list;
    names->capacity = capacity;
    return true;
}

static bool put_name(sim_disk *disk, sim_names *names, const char *name, sim_node *node)
{
    bool found;
    size_t at = position_of(names, name, &found);
    if (!found) {
        char *copy = reserve_names(names, names->count + 1) ? strdup(name) : NULL;
        if (copy == NULL) {
            return false;
        }
        memmove(names->list + at + 1, names->list + at, (names->count - at) * sizeof *names->list);
        names->list[at] = (sim_entry){.name = copy};
        names->count++;
    }
    sim_node *before = names->list[at].node;
    sim_node_ref(node);
    names->list[at].node = node;
    if (before != NULL) {
        sim_node_unref(disk, before);
    }
    return true;
}

static void drop_name(sim_disk *disk, sim_names *names, const char *name)
{
    bool found;
    size_t at = position_of(names, name, &found);
    if (found) {
        sim_entry entry = names->list[at];
        names->count--;
        memmove(names->list + at, names->list + at + 1, (names->count - at) * sizeof entry);
        sim_node_unref(disk, entry.node);
        free(entry.name);
    }
}

static void clear_names(sim_disk *disk, sim_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        sim_node_unref(disk, names->list[i].node);
        free(names->list[i].name);
    }
    names->count = 0;
}

static bool copy_names(sim_disk *disk, sim_names *to, const sim_names *from)
{
    for (size_t i = 0; i < from->count; i++) {
        if (!put_name(disk, to, from->list[i].name, from->list[i].node)) {
            return false;
        }
    }
    return true;
}

/* ---- changes --------------------------------------------------------------------------------- */

static void free_change(sim_disk *disk, sim_change *change)
{
    if (change->node != NULL && disk != NULL) {
        sim_node_unref(disk, change->node);
    }
    free(change->gone);
    free(change->came);
}

static bool apply_change(sim_disk *disk, sim_names *names, const sim_change *change)
{
    if (change->came != NULL && !put_name(disk, names, change->came, change->node)) {
        return false;
    }
    if (change->gone != NULL) {
        drop_name(disk, names, change->gone);
    }
    return true;
}

/* Copies the texts of `change` and puts it at the end of the list and into the live names. */
static int record(sim_disk *disk, sim_node *dir, sim_change change)
{
    if (dir->change_count == dir->change_capacity) {
        size_t capacity = FR_MAX((size_t)8, dir->change_capacity * 2);
        sim_change *changes = realloc(dir->changes, capacity * sizeof *changes);
        if (changes == NULL) {
            return ENOMEM;
        }
        dir->changes = changes;
        dir->change_capacity = capacity;
    }
    bool whole = true;
    if (change.gone != NULL) {
        change.gone = strdup(change.gone);
        whole = change.gone != NULL;
    }
    if (change.came != NULL) {
        change.came = strdup(change.came);
        whole = whole && change.came != NULL;
    }
    if (change.node != NULL) {
        sim_node_ref(change.node);
    }
    if (!whole || !apply_change(disk, &dir->live, &change)) {
        free_change(disk, &change);
        return ENOMEM;
    }
    dir->changes[dir->change_count++] = change;
    return 0;
}

/* The first `count` changes become durable, the rest is forgotten. */
static bool settle(sim_disk *disk, sim_node *dir, size_t count)
{
    bool whole = true;
    for (size_t i = 0; i < dir->change_count; i++) {
        whole = whole && (i >= count || apply_change(disk, &dir->disk, &dir->changes[i]));
        free_change(disk, &dir->changes[i]);
    }
    dir->change_count = 0;
    return whole;
}

/* ---- verbs ----------------------------------------------------------------------------------- */

/* Takes the next component off *path; 0 size at the end. "." and empty ones are passed over. */
static fr_slice next_component(const char **path)
{
    for (;;) {
        const char *from = *path + strspn(*path, "/");
        size_t size = strcspn(from, "/");
        *path = from + size;
        if (size != 1 || from[0] != '.') {
            return fr_slice_of(from, size);
        }
    }
}

int sim_dir_walk(const sim_disk *disk, const char *path, sim_node **dir,
                 char name[SIM_NAME_BYTES_MAX + 1])
{
    sim_node *at = disk->root;
    *dir = NULL;
    name[0] = '\0';
    if (path[0] == '\0') {
        return ENOENT;
    }
    for (fr_slice part = next_component(&path); part.size > 0; part = next_component(&path)) {
        if (part.size > SIM_NAME_BYTES_MAX) {
            return ENAMETOOLONG;
        }
        if (fr_slice_equal(part, FR_SLICE(".."))) {
            return EINVAL; /* nothing of ours goes up */
        }
        if (*dir != NULL) {
            at = sim_dir_find(*dir, name);
        }
        if (at == NULL || !at->is_dir) {
            return at == NULL ? ENOENT : ENOTDIR;
        }
        *dir = at;
        memcpy(name, part.data, part.size);
        name[part.size] = '\0';
    }
    return 0;
}

sim_node *sim_dir_find(const sim_node *dir, const char *name)
{
    bool found;
    size_t at = position_of(&dir->live, name, &found);
    return found ? dir->live.list[at].node : NULL;
}

int sim_dir_add(sim_disk *disk, sim_node *dir, const char *name, sim_node *node)
{
    return record(disk, dir, (sim_change){.came = (char *)(uintptr_t)name, .node = node});
}

int sim_dir_remove(sim_disk *disk, sim_node *dir, const char *name)
{
    return record(disk, dir, (sim_change){.gone = (char *)(uintptr_t)name});
}

int sim_dir_move(sim_disk *disk, sim_node *from, const char *from_name, sim_node *to,
                 const char *to_name)
{
    sim_node *node = sim_dir_find(from, from_name);
    sim_change change = {.came = (char *)(uintptr_t)to_name, .node = node};
    if (from == to) {
        change.gone = (char *)(uintptr_t)from_name;
        return record(disk, from, change);
    }
    change.pair = ++disk->last_pair;
    change.partner = from;
    int failed = record(disk, to, change);
    if (failed == 0) {
        sim_change half = {
            .gone = (char *)(uintptr_t)from_name, .pair = change.pair, .partner = to};
        failed = record(disk, from, half);
    }
    return failed;
}

/* A folder takes with it every folder that it exchanged a name with. */
static void choose_partners(sim_disk *disk)
{
    bool more = true;
    while (more) {
        more = false;
        for (sim_node *dir = disk->nodes; dir != NULL; dir = dir->next) {
            for (size_t i = 0; dir->to_commit && i < dir->change_count; i++) {
                sim_node *partner = dir->changes[i].partner;
                if (partner != NULL && !partner->to_commit) {
                    partner->to_commit = more = true;
                }
            }
        }
    }
}

int sim_dir_sync(sim_disk *disk, sim_node *dir)
{
    bool whole = true;
    bool alone = true;
    for (size_t i = 0; i < dir->change_count; i++) {
        alone = alone && dir->changes[i].partner == NULL;
    }
    if (alone) {
        return settle(disk, dir, dir->change_count) ? 0 : ENOMEM;
    }
    dir->to_commit = true;
    choose_partners(disk);
    for (sim_node *at = disk->nodes; at != NULL; at = at->next) {
        if (at->to_commit) {
            at->to_commit = false;
            whole = settle(disk, at, at->change_count) && whole;
        }
    }
    return whole ? 0 : ENOMEM;
}

static bool keeps_pair(const sim_node *dir, uint64_t pair)
{
    for (size_t i = 0; i < dir->keep_count; i++) {
        if (dir->changes[i].pair == pair) {
            return true;
        }
    }
    return false;
}

/* Shortens the lists until no rename across folders is kept by one side alone; true when something
 * changed. */
static bool cut_half_renames(sim_node *dir)
{
    for (size_t i = 0; i < dir->keep_count; i++) {
        const sim_change *change = &dir->changes[i];
        if (change->partner != NULL && !keeps_pair(change->partner, change->pair)) {
            dir->keep_count = i;
            return true;
        }
    }
    return false;
}

bool sim_dir_crash(sim_disk *disk)
{
    bool whole = true;
    bool more = true;
    for (sim_node *dir = disk->nodes; dir != NULL; dir = dir->next) {
        uint64_t choice = dir->change_count == 0 ? 0 : sim_random(&disk->random);
        dir->keep_count = disk->drop_unsynced ? 0 : (size_t)(choice % (dir->change_count + 1));
    }
    while (more) {
        more = false;
        for (sim_node *dir = disk->nodes; dir != NULL; dir = dir->next) {
            more = cut_half_renames(dir) || more;
        }
    }
    for (sim_node *dir = disk->nodes; dir != NULL; dir = dir->next) {
        whole = settle(disk, dir, dir->keep_count) && whole;
        clear_names(disk, &dir->live);
        whole = copy_names(disk, &dir->live, &dir->disk) && whole;
    }
    return whole;
}

static void free_names(sim_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->list[i].name);
    }
    free(names->list);
}

void sim_dir_free(sim_node *dir)
{
    for (size_t i = 0; i < dir->change_count; i++) {
        free_change(NULL, &dir->changes[i]);
    }
    free(dir->changes);
    free_names(&dir->live);
    free_names(&dir->disk);
}
