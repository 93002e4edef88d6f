// SPDX-License-Identifier: MIT OR Apache-2.0
/** The simulated disk: what a reader sees now (live) and what the platter would give back after a
 *  power cut (disk).
 *
 *  Knows nothing of handles, faults or errors with words; sim.c does. Functions that need memory
 *  return false, or ENOMEM, when there is none.
 *
 *  thread   locked by sim.c */
#pragma once

#include <fr/os.h>

#define SIM_PAGE_BYTES 4096U
#define SIM_SECTOR_BYTES 512U
#define SIM_NAME_BYTES_MAX 255U
#define SIM_FILE_BYTES_MAX (16ULL << 30)

typedef struct sim_node sim_node;

/* Bytes of one page twice. Bit i of `dirty`: sector i was written after the last sync. */
typedef struct {
    uint8_t live[SIM_PAGE_BYTES];
    uint8_t disk[SIM_PAGE_BYTES];
    uint8_t dirty;
} sim_page;

_Static_assert(SIM_PAGE_BYTES / SIM_SECTOR_BYTES == 8, "a dirty bit for each sector");

typedef struct {
    char *name; /* owned */
    sim_node *node;
} sim_entry;

/* Sorted by name. */
typedef struct {
    sim_entry *list;
    size_t count;
    size_t capacity;
} sim_names;

/* One change of a folder: the name that goes, the name that comes, or both in one step. A rename
 * across folders is a change of each; `pair` and `partner` tie them, and neither becomes durable
 * alone. */
typedef struct {
    char *gone;        /* owned, or NULL */
    char *came;        /* owned, or NULL */
    sim_node *node;    /* what came */
    sim_node *partner; /* the other folder, or NULL */
    uint64_t pair;
} sim_change;

struct sim_node {
    sim_node *next; /* all nodes of the disk */
    bool is_dir;
    size_t refs; /* from names, changes and open handles; a file's bytes go with the last */
    /* a file */
    sim_page **pages; /* NULL page: zeros, here and there */
    size_t page_count;
    size_t dirty_first; /* every dirty sector lies in pages [dirty_first, dirty_end) */
    size_t dirty_end;
    uint64_t live_size;
    uint64_t disk_size;
    const void *lock_owner;
    /* a folder */
    sim_names live;
    sim_names disk;
    sim_change *changes; /* in order, not yet durable */
    size_t change_count;
    size_t change_capacity;
    size_t keep_count; /* scratch of a crash */
    bool to_commit;    /* scratch of a sync */
};

typedef struct {
    sim_node *nodes;
    sim_node *root;
    uint64_t used_bytes;     /* sum of the live sizes */
    uint64_t capacity_bytes; /* 0: endless */
    uint64_t last_pair;
    uint64_t random; /* state behind every choice of the disk */
    bool drop_unsynced;
    bool flip_bits;
} sim_disk;

/** Next of a splitmix64 sequence. source: Steele, Lea, Flood, OOPSLA 2014 */
uint64_t sim_random(uint64_t *state);

bool sim_disk_init(sim_disk *disk);
void sim_disk_done(sim_disk *disk);
/** Everything not durable is settled by the seed. */
bool sim_disk_crash(sim_disk *disk);

sim_node *sim_node_new(sim_disk *disk, bool is_dir);
void sim_node_ref(sim_node *node);
void sim_node_unref(sim_disk *disk, sim_node *node);

/* ---- contents (sim_file.c) ------------------------------------------------------------------- */

void sim_file_free(sim_disk *disk, sim_node *node);
/** `size` bytes from `offset`, which the caller has checked against live_size. */
void sim_file_read(const sim_node *node, uint8_t *out, size_t size, uint64_t offset);
bool sim_file_write(sim_disk *disk, sim_node *node, const uint8_t *data, size_t size,
                    uint64_t offset);
void sim_file_resize(sim_disk *disk, sim_node *node, uint64_t size);
void sim_file_sync(sim_node *node);
/** Each sector reached the platter or did not; either way it is now taken for clean, as Linux takes
 *  it. */
void sim_file_sync_failed(sim_disk *disk, sim_node *node);
void sim_file_crash(sim_disk *disk, sim_node *node);

/* ---- names (sim_dir.c); each returns 0 or an errno ------------------------------------------- */

/** The folder that holds the last component of `path`, and that component; for the root itself *dir
 *  is NULL. */
int sim_dir_walk(const sim_disk *disk, const char *path, sim_node **dir,
                 char name[SIM_NAME_BYTES_MAX + 1]);
sim_node *sim_dir_find(const sim_node *dir, const char *name);
int sim_dir_add(sim_disk *disk, sim_node *dir, const char *name, sim_node *node);
int sim_dir_remove(sim_disk *disk, sim_node *dir, const char *name);
int sim_dir_move(sim_disk *disk, sim_node *from, const char *from_name, sim_node *to,
                 const char *to_name);
int sim_dir_sync(sim_disk *disk, sim_node *dir);
bool sim_dir_crash(sim_disk *disk);
void sim_dir_free(sim_node *dir);
