// SPDX-License-Identifier: MIT OR Apache-2.0
// What can be told about an error besides itself is looked up afterwards: the section by its
// offset, the key from where the walk stands, or in the node that is wrong. So nothing is noted
// while things go well.
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

/* What is wrong with a block is told of a place in it, or of its end where it is cut: there the
 * next section begins, of which it is not. */
static bool is_of_block(const fr_error *error)
{
    const char *code = error->code == NULL ? "" : error->code;
    return strncmp(code, "node-", 5) == 0 || strncmp(code, "commit-", 7) == 0 ||
           strncmp(code, "record-", 7) == 0;
}

/* Returns the block that the error is in; empty: in none that is there. */
static fr_slice find_section(const fr_repo *repo, fr_slice input, fault_start from,
                             const fr_error *error, fr_repo_fault *out)
{
    const repo_window *window = repo->index.window;
    uint64_t at = from.offset, offset = error->offset;
    bool of_block = is_of_block(error);
    car_section section;
    if (at == 0 || offset < at) {
        return (fr_slice){0};
    }
    for (uint64_t i = from.section; at < input.size; i++) {
        if (car_section_read(input, at, UINT32_MAX, &section, NULL) != FR_OK) {
            /* Only the one that is wrong itself can be where the error is. */
            out->has_section = from.counted && at == offset;
            out->section = i;
            break;
        }
        if (window != NULL && !repo_window_holds(window, at, section.data_offset - at)) {
            break; /* zeros, in a part at least */
        }
        repo_watch_touch(repo->watch, input.data + at, (size_t)(section.data_offset - at));
        at = section.data_offset + section.data_size;
        if (of_block && offset < section.data_offset) {
            break;
        }
        if (offset < at || (of_block && offset == at)) {
            out->has_section = from.counted;
            out->has_cid = true;
            out->section = i;
            memcpy(out->cid.bytes, input.data + section.data_offset - FR_CID_BYTES, FR_CID_BYTES);
            return fr_slice_sub(input, section.data_offset, section.data_size);
        }
    }
    return (fr_slice){0};
}

/* Of a node: the key that is wrong. Of what a walk was looking for: the one it had come to. */
static void find_key(const fr_repo *repo, fr_slice input, fr_slice block, const fr_error *error,
                     fr_repo_fault *out)
{
    const char *code = error->code == NULL ? "" : error->code;
    bool in_node =
        strncmp(code, "node-", 5) == 0 || strcmp(code, "key-syntax") == 0 ||
        ((strcmp(code, "tree-missing-record") == 0 || strcmp(code, "tree-missing-node") == 0) &&
         block.size != 0);
    bool walking = repo->opened && repo->depth != 0 && repo->status != FR_OK &&
                   repo->status != FR_END && repo->fault.offset == error->offset;
    if (in_node && block.size != 0) {
        uint8_t room[NODE_KEY_BYTES_MAX];
        uint64_t base = (uint64_t)(block.data - input.data);
        fr_slice key = node_key_at(block, error->offset - base, room);
        fr_repo_key_escape(key, out->key, sizeof out->key);
    } else if (!in_node && walking && code[0] != '\0') {
        const walk_level *level = &repo->levels[repo->depth - 1];
        fr_repo_key_escape(level->key, out->key, sizeof out->key);
    }
}

void repo_fault_in(const fr_repo *repo, fr_slice input, fault_start from, const fr_error *error,
                   fr_repo_fault *out)
{
    *out = (fr_repo_fault){0};
    fr_slice block = find_section(repo, input, from, error, out);
    find_key(repo, input, block, error, out);
}

void fr_repo_fault_of(const fr_repo *repo, const fr_error *error, fr_repo_fault *out)
{
    fault_start start = {.offset = repo->header.sections_offset, .counted = true};
    repo_fault_in(repo, repo->input, start, error, out);
}

const char *fr_repo_fault_code(fr_status status, const fr_error *error)
{
    bool of_system = error->os != 0 && status != FR_NOMEM;
    return error->code != NULL ? error->code : of_system ? "io" : fr_status_name(status);
}

void fr_repo_fault_text(const fr_error *error, fr_buffer *out)
{
    const char *system = error->os > 0 ? strerrordesc_np(error->os) : NULL;
    fr_buffer_text(out, error->text == NULL ? "" : error->text);
    fr_buffer_text(out, system == NULL ? "" : ": ");
    fr_buffer_text(out, system == NULL ? "" : system);
}

void fr_repo_fault_line(const char *file, fr_status status, const fr_error *error,
                        const fr_repo_fault *fault, fr_buffer *out)
{
    char cid[FR_CID_TEXT_BYTES + 1] = "";
    bool has_key = fault->key[0] != '\0';
    if (fault->has_cid) {
        fr_cid_format(&fault->cid, cid);
    }
    fr_buffer_printable(out, fr_slice_text(file));
    fr_buffer_printf(out, ": offset %llu: %s: ", (unsigned long long)error->offset,
                     fr_repo_fault_code(status, error));
    fr_repo_fault_text(error, out);
    if (has_key || fault->has_cid) {
        fr_buffer_printf(out, " (%s%s%s)", fault->key, has_key && fault->has_cid ? ", " : "", cid);
    }
    fr_buffer_byte(out, '\n');
}
