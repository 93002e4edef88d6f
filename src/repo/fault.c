// SPDX-License-Identifier: MIT OR Apache-2.0
// What can be told about an error besides itself is looked up afterwards: the section by its
// offset, the key from where the walk stands. So nothing is noted while things go well.
#include <fr/repo_load.h>

#include <stdio.h>

#include "walk.h"

size_t fr_repo_key_escape(fr_slice key, char *out, size_t room)
{
    size_t size = 0;
    for (size_t i = 0; i < key.size; i++) {
        uint8_t byte = key.data[i];
        bool plain = byte > 0x20 && byte < 0x7f && byte != '\\';
        if (size + (plain ? 1 : 4) + 1 > room) {
            break;
        }
        if (plain) {
            out[size++] = (char)byte;
        } else {
            size += (size_t)snprintf(out + size, room - size, "\\x%02x", byte);
        }
    }
    if (room != 0) {
        out[size] = '\0';
    }
    return size;
}

static void find_section(const fr_repo *repo, fr_slice input, fault_start from, uint64_t offset,
                         fr_repo_fault *out)
{
    const repo_window *window = repo->index.window;
    uint64_t at = from.offset;
    car_section section;
    if (at == 0 || offset < at) {
        return;
    }
    for (uint64_t i = from.section; at < input.size; i++) {
        if (car_section_read(input, at, UINT32_MAX, &section, NULL) != FR_OK) {
            /* Only the one that is wrong itself can be where the error is. */
            out->has_section = from.counted && at == offset;
            out->section = i;
            return;
        }
        if (window != NULL && !repo_window_holds(window, at, section.data_offset - at)) {
            return; /* zeros, in a part at least */
        }
        repo_watch_touch(repo->watch, input.data + at, (size_t)(section.data_offset - at));
        at = section.data_offset + section.data_size;
        if (offset < at) {
            out->has_section = from.counted;
            out->has_cid = true;
            out->section = i;
            memcpy(out->cid.bytes, input.data + section.data_offset - FR_CID_BYTES, FR_CID_BYTES);
            return;
        }
    }
}

static void find_key(const fr_repo *repo, const fr_error *error, fr_repo_fault *out)
{
    bool walking = repo->opened && repo->depth != 0 && repo->status != FR_OK &&
                   repo->status != FR_END && repo->fault.offset == error->offset;
    if (walking && error->code != NULL && strncmp(error->code, "node-", 5) != 0) {
        const walk_level *level = &repo->levels[repo->depth - 1];
        fr_repo_key_escape(level->key, out->key, sizeof out->key);
    }
}

void repo_fault_in(const fr_repo *repo, fr_slice input, fault_start from, const fr_error *error,
                   fr_repo_fault *out)
{
    *out = (fr_repo_fault){0};
    find_section(repo, input, from, error->offset, out);
    find_key(repo, error, out);
}

void fr_repo_fault_of(const fr_repo *repo, const fr_error *error, fr_repo_fault *out)
{
    fault_start start = {.offset = repo->header.sections_offset, .counted = true};
    repo_fault_in(repo, repo->input, start, error, out);
}
