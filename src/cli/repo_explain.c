// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet repo explain: the way to a key, and what a block is in the file for.
#include "repo.h"

#include <fr/repo_explain.h>

typedef struct {
    const repo_args *args;
    fr_buffer sections, rows; /* parts of the answer, as JSON or as lines */
    uint64_t section_count, use_count;
} explanation;

static void put_key(const explanation *e, fr_buffer *out, fr_slice key)
{
    if (!e->args->json) {
        fr_buffer_printable(out, key);
    } else if (key.size == 0) {
        fr_buffer_text(out, "null");
    } else {
        fr_buffer_json_string(out, key);
    }
}

static void put_named_key(const explanation *e, fr_buffer *out, const char *name, fr_slice key)
{
    fr_buffer_printf(out, ",\"%s\":", name);
    put_key(e, out, key);
}

static void put_cid_or_null(fr_buffer *out, const fr_cid *cid)
{
    if (fr_cid_is_none(cid)) {
        fr_buffer_text(out, "null");
        return;
    }
    fr_buffer_byte(out, '"');
    repo_put_cid(out, cid);
    fr_buffer_byte(out, '"');
}

/* ---- a key ----------------------------------------------------------------------------------- */

static void put_node_json(explanation *e, const fr_path_node *node)
{
    fr_buffer *out = &e->rows;
    fr_buffer_text(out, out->size == 0 ? "{\"cid\":" : ",{\"cid\":");
    put_cid_or_null(out, &node->cid);
    fr_buffer_printf(out,
                     ",\"offset\":%llu,\"bytes\":%u,\"layer\":%d,\"entries\":%u,\"index\":%u,"
                     "\"found\":%s",
                     (unsigned long long)node->offset, node->size, node->layer, node->entries,
                     node->index, node->found ? "true" : "false");
    if (node->found) {
        fr_buffer_printf(out, ",\"prefix\":%u,\"suffix\":%u", node->prefix_size, node->suffix_size);
    }
    put_named_key(e, out, "before", node->before);
    put_named_key(e, out, "after", node->after);
    fr_buffer_byte(out, '}');
}

static void put_node_line(explanation *e, const fr_path_node *node)
{
    fr_buffer *out = &e->rows;
    fr_buffer_text(out, "node    ");
    repo_put_cid(out, &node->cid);
    fr_buffer_printf(out, " offset %llu, %u bytes, layer %d, %u entries; ",
                     (unsigned long long)node->offset, node->size, node->layer, node->entries);
    if (node->found) {
        fr_buffer_printf(out, "entry %u is the key, %u bytes shared with the one before and %u own",
                         node->index, node->prefix_size, node->suffix_size);
    } else {
        fr_buffer_text(out, "the key is between (");
        put_key(e, out, node->before);
        fr_buffer_text(out, ") and (");
        put_key(e, out, node->after);
        fr_buffer_byte(out, ')');
    }
    fr_buffer_byte(out, '\n');
}

static fr_status on_node(void *context, const fr_path_node *node)
{
    explanation *e = context;
    (e->args->json ? put_node_json : put_node_line)(e, node);
    return fr_buffer_status(&e->rows, NULL);
}

static void put_key_answer(const explanation *e, const repo_file *file, fr_slice key,
                           const fr_cid *value, fr_buffer *out)
{
    const fr_commit *commit = fr_repo_commit(file->repo);
    if (!e->args->json) {
        if (commit != NULL) {
            fr_buffer_text(out, "commit  ");
            repo_put_cid(out, &commit->cid);
            fr_buffer_printf(out, " offset %llu\n", (unsigned long long)commit->offset);
        }
        fr_buffer_slice(out, fr_buffer_view(&e->rows));
        fr_buffer_text(out, fr_cid_is_none(value) ? "absent  " : "record  ");
        if (!fr_cid_is_none(value)) {
            repo_put_cid(out, value);
            fr_buffer_byte(out, ' ');
        }
        fr_buffer_printable(out, key);
        fr_buffer_byte(out, '\n');
        repo_put_judged(e->args, out);
        return;
    }
    fr_buffer_text(out, "{\"file\":");
    fr_buffer_json_string(out, fr_slice_text(file->path));
    repo_put_judged(e->args, out);
    put_named_key(e, out, "key", key);
    fr_buffer_printf(out, ",\"layer\":%u,\"present\":%s,\"cid\":", fr_mst_layer(key),
                     fr_cid_is_none(value) ? "false" : "true");
    put_cid_or_null(out, value);
    fr_buffer_text(out, ",\"commit\":");
    put_cid_or_null(out, commit == NULL ? &(fr_cid){{0}} : &commit->cid);
    fr_buffer_text(out, ",\"path\":[");
    fr_buffer_slice(out, fr_buffer_view(&e->rows));
    fr_buffer_text(out, "]}\n");
}

static int explain_key(explanation *e, const repo_args *args, const repo_file *file, fr_slice key,
                       fr_buffer *out)
{
    fr_path_visitor visitor = {on_node, e};
    fr_error error = {0};
    fr_cid value = {{0}};
    bool present = false;
    fr_status status = fr_repo_explain_key(file->repo, key, &visitor, &present, &value, &error);
    if (status != FR_OK) {
        return repo_fail_open(args, file->load, file->path, key, status, &error);
    }
    put_key_answer(e, file, key, &value, out);
    return present ? FR_REPO_EXIT_SOUND : FR_REPO_EXIT_MALFORMED;
}

/* ---- a block --------------------------------------------------------------------------------- */

static fr_status on_section(void *context, uint64_t offset, uint64_t block_offset, uint32_t size)
{
    explanation *e = context;
    fr_buffer_printf(&e->sections,
                     !e->args->json ? "section offset %llu, block at %llu, %u bytes\n"
                     : e->section_count == 0
                         ? "{\"offset\":%llu,\"block_offset\":%llu,\"bytes\":%u}"
                         : ",{\"offset\":%llu,\"block_offset\":%llu,\"bytes\":%u}",
                     (unsigned long long)offset, (unsigned long long)block_offset, size);
    e->section_count++;
    return fr_buffer_status(&e->sections, NULL);
}

static void put_use_json(explanation *e, const fr_block_use *use)
{
    static const char *const kinds[] = {
        [FR_USE_COMMIT] = "commit", [FR_USE_NODE] = "node", [FR_USE_RECORD] = "record"};
    fr_buffer *out = &e->rows;
    fr_buffer_printf(out, "%s{\"kind\":\"%s\"", e->use_count == 0 ? "" : ",", kinds[use->kind]);
    if (use->kind == FR_USE_RECORD) {
        put_named_key(e, out, "key", use->key);
    } else if (use->kind == FR_USE_NODE) {
        fr_buffer_printf(out, ",\"layer\":%d,\"depth\":%llu,\"parent\":", use->layer,
                         (unsigned long long)use->depth);
        put_cid_or_null(out, &use->parent);
        put_named_key(e, out, "after", use->lower);
        put_named_key(e, out, "before", use->upper);
    }
    fr_buffer_byte(out, '}');
}

static void put_use_line(explanation *e, const fr_block_use *use)
{
    fr_buffer *out = &e->rows;
    if (use->kind == FR_USE_COMMIT) {
        fr_buffer_text(out, "commit  the file's root\n");
    } else if (use->kind == FR_USE_RECORD) {
        fr_buffer_text(out, "record  ");
        put_key(e, out, use->key);
        fr_buffer_byte(out, '\n');
    } else {
        fr_buffer_printf(out, "node    layer %d, %llu below the top; keys between (", use->layer,
                         (unsigned long long)use->depth);
        put_key(e, out, use->lower);
        fr_buffer_text(out, ") and (");
        put_key(e, out, use->upper);
        fr_buffer_text(out, ")\n");
    }
}

static fr_status on_use(void *context, const fr_block_use *use)
{
    explanation *e = context;
    (e->args->json ? put_use_json : put_use_line)(e, use);
    e->use_count++;
    return fr_buffer_status(&e->rows, NULL);
}

static void put_block_answer(const explanation *e, const repo_file *file, const fr_cid *cid,
                             fr_buffer *out)
{
    if (!e->args->json) {
        fr_buffer_slice(out, fr_buffer_view(&e->sections));
        fr_buffer_text(out, e->section_count == 0 ? "the file does not have it\n" : "");
        fr_buffer_slice(out, fr_buffer_view(&e->rows));
        fr_buffer_text(out, e->use_count == 0 ? "nothing needs it\n" : "");
        repo_put_judged(e->args, out);
        return;
    }
    fr_buffer_text(out, "{\"file\":");
    fr_buffer_json_string(out, fr_slice_text(file->path));
    repo_put_judged(e->args, out);
    fr_buffer_text(out, ",\"cid\":");
    put_cid_or_null(out, cid);
    fr_buffer_text(out, ",\"sections\":[");
    fr_buffer_slice(out, fr_buffer_view(&e->sections));
    fr_buffer_text(out, "],\"uses\":[");
    fr_buffer_slice(out, fr_buffer_view(&e->rows));
    fr_buffer_text(out, "]}\n");
}

static int explain_block(explanation *e, const repo_file *file, const fr_cid *cid, fr_buffer *out)
{
    fr_block_visitor visitor = {on_section, on_use, e};
    fr_error error = {0};
    fr_status status = fr_repo_explain_block(file->repo, cid, &visitor, &error);
    if (status != FR_OK) {
        return repo_fail_in(file->load, file->path, status, &error);
    }
    put_block_answer(e, file, cid, out);
    return e->section_count != 0 ? FR_REPO_EXIT_SOUND : FR_REPO_EXIT_MALFORMED;
}

int repo_explain(const repo_args *args)
{
    explanation e = {.args = args};
    fr_slice what = fr_slice_text(args->words[0]);
    repo_file file;
    fr_buffer out;
    fr_cid cid;
    fr_buffer_init(&e.sections, REPO_LINE_BYTES_MAX);
    fr_buffer_init(&e.rows, REPO_LINE_BYTES_MAX);
    fr_buffer_init(&out, 4 * (size_t)REPO_LINE_BYTES_MAX);
    int code = repo_file_open(&file, args, args->words[1]);
    if (code == FR_REPO_EXIT_SOUND) {
        code = fr_cid_parse(what, &cid) ? explain_block(&e, &file, &cid, &out)
                                        : explain_key(&e, args, &file, what, &out);
        code = repo_print(&out) ? code : FR_REPO_EXIT_SYSTEM;
    }
    fr_buffer_done(&e.sections);
    fr_buffer_done(&e.rows);
    fr_buffer_done(&out);
    repo_file_close(&file);
    return code;
}
