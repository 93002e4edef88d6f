// SPDX-License-Identifier: MIT OR Apache-2.0
/* Contents of a simulated file. Invariants:
 *  1. live bytes at and past live_size are zero; disk bytes at and past disk_size are zero;
 *  2. a sector whose dirty bit is clear either is equal in both images, or was lost by a failed
 *  sync; 3. a crash changes only bytes in which the two images differ: what was synced survives. */
#include "sim_disk.h"

#include <stdlib.h>

static sim_page *page_at(const sim_node *node, uint64_t offset)
{
    uint64_t index = offset / SIM_PAGE_BYTES;
    return index < node->page_count ? node->pages[index] : NULL;
}

static bool make_pages(sim_node *node, uint64_t from, uint64_t end)
{
    size_t need = (size_t)((end + SIM_PAGE_BYTES - 1) / SIM_PAGE_BYTES);
    if (need > node->page_count) {
        size_t count = FR_MAX(need, node->page_count * 2);
        sim_page **pages = realloc(node->pages, count * sizeof(sim_page *));
        if (pages == NULL) {
            return false;
        }
        memset(pages + node->page_count, 0, (count - node->page_count) * sizeof(sim_page *));
        node->pages = pages;
        node->page_count = count;
    }
    for (size_t i = (size_t)(from / SIM_PAGE_BYTES); i < need; i++) {
        if (node->pages[i] == NULL) {
            node->pages[i] = calloc(1, sizeof(sim_page));
            if (node->pages[i] == NULL) {
                return false;
            }
        }
    }
    return true;
}

void sim_file_free(sim_disk *disk, sim_node *node)
{
    for (size_t i = 0; i < node->page_count; i++) {
        free(node->pages[i]);
    }
    free(node->pages);
    disk->used_bytes -= node->live_size;
    node->pages = NULL;
    node->page_count = node->dirty_first = node->dirty_end = 0;
    node->live_size = node->disk_size = 0;
}

void sim_file_read(const sim_node *node, uint8_t *out, size_t size, uint64_t offset)
{
    while (size > 0) {
        size_t in_page = (size_t)(offset % SIM_PAGE_BYTES);
        size_t n = FR_MIN(size, SIM_PAGE_BYTES - in_page);
        const sim_page *page = page_at(node, offset);
        if (page != NULL) {
            memcpy(out, page->live + in_page, n);
        } else {
            memset(out, 0, n);
        }
        out += n;
        offset += n;
        size -= n;
    }
}

static void mark_dirty(sim_page *page, size_t from, size_t end)
{
    for (size_t sector = from / SIM_SECTOR_BYTES; sector * SIM_SECTOR_BYTES < end; sector++) {
        page->dirty |= (uint8_t)(1U << sector);
    }
}

/* Bytes [from, end) are about to change; what a sync looks through grows by their pages. */
static void widen_dirty(sim_node *node, uint64_t from, uint64_t end)
{
    size_t first = (size_t)(from / SIM_PAGE_BYTES);
    size_t past = FR_MIN((size_t)((end + SIM_PAGE_BYTES - 1) / SIM_PAGE_BYTES), node->page_count);
    if (first < past) {
        bool none = node->dirty_first >= node->dirty_end;
        node->dirty_first = none ? first : FR_MIN(node->dirty_first, first);
        node->dirty_end = none ? past : FR_MAX(node->dirty_end, past);
    }
}

static void set_live_size(sim_disk *disk, sim_node *node, uint64_t size)
{
    disk->used_bytes += size - node->live_size; /* modulo 2^64, so it shrinks as well */
    node->live_size = size;
}

bool sim_file_write(sim_disk *disk, sim_node *node, const uint8_t *data, size_t size,
                    uint64_t offset)
{
    uint64_t end = offset + size;
    if (!make_pages(node, offset, end)) {
        return false;
    }
    widen_dirty(node, offset, end);
    while (size > 0) {
        size_t in_page = (size_t)(offset % SIM_PAGE_BYTES);
        size_t n = FR_MIN(size, SIM_PAGE_BYTES - in_page);
        sim_page *page = page_at(node, offset);
        memcpy(page->live + in_page, data, n);
        mark_dirty(page, in_page, in_page + n);
        data += n;
        offset += n;
        size -= n;
    }
    if (end > node->live_size) {
        set_live_size(disk, node, end);
    }
    return true;
}

void sim_file_resize(sim_disk *disk, sim_node *node, uint64_t size)
{
    widen_dirty(node, size, node->live_size);
    for (uint64_t at = size; at < node->live_size;
         at = (at / SIM_PAGE_BYTES + 1) * SIM_PAGE_BYTES) {
        sim_page *page = page_at(node, at);
        size_t in_page = (size_t)(at % SIM_PAGE_BYTES);
        if (page != NULL) {
            memset(page->live + in_page, 0, SIM_PAGE_BYTES - in_page);
            mark_dirty(page, in_page, SIM_PAGE_BYTES);
        }
    }
    set_live_size(disk, node, size);
}

/* Invariant 1 for the disk image, after disk_size was chosen. */
static void clear_disk_tail(sim_node *node)
{
    for (size_t i = (size_t)(node->disk_size / SIM_PAGE_BYTES); i < node->page_count; i++) {
        uint64_t start = (uint64_t)i * SIM_PAGE_BYTES;
        size_t keep = start < node->disk_size ? (size_t)(node->disk_size - start) : 0;
        if (node->pages[i] != NULL) {
            memset(node->pages[i]->disk + keep, 0, SIM_PAGE_BYTES - keep);
        }
    }
}

static bool coin(sim_disk *disk)
{
    return (sim_random(&disk->random) >> 63) != 0;
}

/* Brings dirty sectors to the platter, all of them or, with `chance`, each by a coin; then none is
 * dirty. */
static void write_back(sim_node *node, sim_disk *chance)
{
    for (size_t i = node->dirty_first; i < node->dirty_end; i++) {
        sim_page *page = node->pages[i];
        for (size_t s = 0; page != NULL && page->dirty != 0 && s < 8; s++) {
            if ((page->dirty >> s & 1) != 0 && (chance == NULL || coin(chance))) {
                size_t at = s * SIM_SECTOR_BYTES;
                memcpy(page->disk + at, page->live + at, SIM_SECTOR_BYTES);
            }
        }
        if (page != NULL) {
            page->dirty = 0;
        }
    }
    node->dirty_first = node->dirty_end = 0;
}

void sim_file_sync(sim_node *node)
{
    write_back(node, NULL);
    node->disk_size = node->live_size;
    clear_disk_tail(node);
}

void sim_file_sync_failed(sim_disk *disk, sim_node *node)
{
    write_back(node, disk);
    node->disk_size = coin(disk) ? node->live_size : node->disk_size;
    clear_disk_tail(node);
}

/* One unsynced sector at the moment of the cut: kept, dropped, or torn; and perhaps a bit of what
 * is new is wrong. */
static void settle_sector(sim_disk *disk, uint8_t *durable, const uint8_t *live)
{
    uint64_t choice = sim_random(&disk->random);
    size_t kept = choice % 3 == 0   ? SIM_SECTOR_BYTES
                  : choice % 3 == 1 ? 0
                                    : (choice >> 8) % SIM_SECTOR_BYTES;
    size_t bit = (choice >> 24) % (8 * SIM_SECTOR_BYTES);
    bool flip = disk->flip_bits && (choice >> 40) % 4 == 0;
    flip = flip && bit / 8 < kept && durable[bit / 8] != live[bit / 8]; /* invariant 3 */
    memcpy(durable, live, kept);
    if (flip) {
        durable[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

void sim_file_crash(sim_disk *disk, sim_node *node)
{
    bool keep_size = !disk->drop_unsynced && coin(disk);
    node->disk_size = keep_size ? node->live_size : node->disk_size;
    for (size_t i = 0; i < node->page_count; i++) {
        sim_page *page = node->pages[i];
        for (size_t s = 0; page != NULL && !disk->drop_unsynced && s < 8; s++) {
            if ((page->dirty >> s & 1) != 0) {
                settle_sector(disk, page->disk + s * SIM_SECTOR_BYTES,
                              page->live + s * SIM_SECTOR_BYTES);
            }
        }
    }
    clear_disk_tail(node);
    for (size_t i = 0; i < node->page_count; i++) {
        sim_page *page = node->pages[i];
        if (page != NULL) {
            memcpy(page->live, page->disk, SIM_PAGE_BYTES);
            page->dirty = 0;
        }
    }
    node->dirty_first = node->dirty_end = 0;
    set_live_size(disk, node, node->disk_size);
    node->lock_owner = NULL;
}
