// SPDX-License-Identifier: MIT OR Apache-2.0
/* The disk as a whole: its nodes, their births and ends, the power cut. A node stays in the list of
 * all nodes until the disk goes, because a folder unlinked today may be back after a crash; a
 * file's bytes go with its last name. */
#include "sim_disk.h"

#include <stdlib.h>

uint64_t sim_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

sim_node *sim_node_new(sim_disk *disk, bool is_dir)
{
    sim_node *node = calloc(1, sizeof *node);
    if (node != NULL) {
        node->is_dir = is_dir;
        node->next = disk->nodes;
        disk->nodes = node;
    }
    return node;
}

void sim_node_ref(sim_node *node)
{
    node->refs++;
}

void sim_node_unref(sim_disk *disk, sim_node *node)
{
    node->refs--;
    if (node->refs == 0 && !node->is_dir) {
        sim_file_free(disk, node);
    }
}

bool sim_disk_init(sim_disk *disk)
{
    disk->root = sim_node_new(disk, true);
    return disk->root != NULL;
}

void sim_disk_done(sim_disk *disk)
{
    while (disk->nodes != NULL) {
        sim_node *node = disk->nodes;
        disk->nodes = node->next;
        sim_file_free(disk, node);
        sim_dir_free(node);
        free(node);
    }
}

bool sim_disk_crash(sim_disk *disk)
{
    for (sim_node *node = disk->nodes; node != NULL; node = node->next) {
        if (!node->is_dir && node->refs > 0) {
            sim_file_crash(disk, node);
        }
    }
    return sim_dir_crash(disk);
}
