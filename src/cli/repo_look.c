// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet repo stat, order, diff: what a file is made of, how it lies, what changed.
#include "repo.h"

/* ---- stat ------------------------------------------------------------------------------------ */

/* There may be as many collections as records: they are printed as they are found, and nothing is
 * held. The counts come before them, so there is a walk for each of the three. */
typedef struct {
    const repo_args *args;
    const char *comma; /* in front of the next one */
    fr_buffer line;
} stat_parts;

static void put_key_or_null(const stat_parts *parts, fr_buffer *out, fr_slice key)
{
    if (!parts->args->json) {
        fr_buffer_printable(out, key);
    } else if (key.size == 0) {
        fr_buffer_text(out, "null");
    } else {
        fr_buffer_json_string(out, key);
    }
}

static fr_status put_line(stat_parts *parts)
{
    bool printed = repo_print(&parts->line);
    parts->comma = ",";
    fr_buffer_reset(&parts->line);
    return printed ? FR_OK : FR_IO;
}

static fr_status on_collection(void *context, fr_slice collection, uint64_t records, uint64_t bytes)
{
    stat_parts *parts = context;
    fr_buffer *out = &parts->line;
    if (parts->args->json) {
        fr_buffer_text(out, parts->comma);
        fr_buffer_json_string(out, collection);
        fr_buffer_printf(out, ":{\"records\":%llu,\"bytes\":%llu}", (unsigned long long)records,
                         (unsigned long long)bytes);
    } else {
        fr_buffer_text(out, "collection ");
        fr_buffer_printable(out, collection);
        fr_buffer_printf(out, " %llu records %llu bytes\n", (unsigned long long)records,
                         (unsigned long long)bytes);
    }
    return put_line(parts);
}

static fr_status on_gap(void *context, fr_slice after, fr_slice before, const fr_cid *cid)
{
    stat_parts *parts = context;
    fr_buffer *out = &parts->line;
    if (parts->args->json) {
        fr_buffer_text(out, parts->comma);
        fr_buffer_text(out, "{\"after\":");
        put_key_or_null(parts, out, after);
        fr_buffer_text(out, ",\"before\":");
        put_key_or_null(parts, out, before);
        fr_buffer_text(out, ",\"cid\":\"");
        repo_put_cid(out, cid);
        fr_buffer_text(out, "\"}");
    } else {
        fr_buffer_text(out, "missing (");
        put_key_or_null(parts, out, after);
        fr_buffer_text(out, " .. ");
        put_key_or_null(parts, out, before);
        fr_buffer_text(out, ") ");
        repo_put_cid(out, cid);
        fr_buffer_byte(out, '\n');
    }
    return put_line(parts);
}

/* Only the rows that have something. */
static void put_histogram(fr_buffer *out, bool json, const char *name, const char *line,
                          const uint64_t *counts, size_t size)
{
    const char *comma = "";
    if (json) {
        fr_buffer_printf(out, ",\"%s\":{", name);
    }
    for (size_t i = 0; i < size; i++) {
        if (counts[i] != 0) {
            if (json) {
                fr_buffer_printf(out, "%s\"%zu\":%llu", comma, i, (unsigned long long)counts[i]);
            } else {
                fr_buffer_printf(out, "%s %zu%s %llu\n", line, i, i + 1 == size ? "+" : "",
                                 (unsigned long long)counts[i]);
            }
            comma = ",";
        }
    }
    fr_buffer_text(out, json ? "}" : "");
}

static void put_counts(fr_buffer *out, bool json, const fr_repo_stat *s)
{
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"blocks", s->blocks},
        {"nodes", s->nodes},
        {"node_bytes", s->node_bytes},
        {"height", s->height},
        {"widest_node", s->widest_node},
        {"keys", s->keys},
        {"key_bytes", s->key_bytes},
        {"key_bytes_saved", s->key_bytes_saved},
        {"records", s->records},
        {"record_bytes", s->record_bytes},
        {"duplicate_blocks", s->duplicate_blocks},
        {"duplicate_bytes", s->duplicate_bytes},
        {"unreachable_blocks", s->unreachable_blocks},
        {"unreachable_bytes", s->unreachable_bytes},
        {"missing_nodes", s->missing_nodes},
        {"missing_records", s->missing_records},
    };
    for (size_t i = 0; i < FR_COUNT_OF(counts); i++) {
        fr_buffer_printf(out, json ? ",\"%s\":%llu" : "%s %llu\n", counts[i].name,
                         (unsigned long long)counts[i].value);
    }
}

static fr_status print_stat(stat_parts *parts, const fr_repo *repo, fr_repo_stat *s, fr_error *err)
{
    bool json = parts->args->json;
    fr_buffer *out = &parts->line;
    const fr_stat_visitor collections = {.on_collection = on_collection, .context = parts};
    const fr_stat_visitor gaps = {.on_gap = on_gap, .context = parts};
    put_counts(out, json, s);
    put_histogram(out, json, "nodes_by_layer", "layer", s->nodes_by_layer, FR_STAT_LAYERS);
    put_histogram(out, json, "nodes_by_fan_out", "fan_out", s->nodes_by_fan_out, FR_STAT_FAN_OUTS);
    fr_buffer_text(out, json ? ",\"collections\":{" : "");
    FR_TRY(put_line(parts));
    parts->comma = "";
    FR_TRY(fr_repo_stat_of(repo, &collections, s, err));
    fr_buffer_text(out, json ? "},\"missing\":[" : "");
    FR_TRY(put_line(parts));
    parts->comma = "";
    if (s->missing_nodes != 0) {
        FR_TRY(fr_repo_stat_of(repo, &gaps, s, err));
    }
    fr_buffer_text(out, json ? "]" : "");
    repo_put_judged(parts->args, out);
    fr_buffer_text(out, json ? "}\n" : "");
    return put_line(parts);
}

static int stat_file(const repo_args *args, const char *path, fr_load *load)
{
    fr_repo *repo = NULL;
    fr_error error = {0};
    fr_repo_stat found;
    stat_parts parts = {.args = args};
    int code = repo_open(args, path, load, &repo);
    if (repo == NULL) {
        return code;
    }
    fr_buffer_init(&parts.line, REPO_LINE_BYTES_MAX);
    repo_put_file(args, path, "file ", &parts.line);
    fr_status status = fr_repo_stat_of(repo, NULL, &found, &error);
    status = status == FR_OK ? print_stat(&parts, repo, &found, &error) : status;
    if (status == FR_IO && error.code == NULL && error.text == NULL) {
        code = FR_REPO_EXIT_SYSTEM; /* of standard output, which is told at the end */
    } else if (status != FR_OK) {
        code = repo_fail_in(load, path, status, &error);
    } else {
        bool whole = found.missing_nodes + found.missing_records == 0;
        code = whole ? FR_REPO_EXIT_SOUND : FR_REPO_EXIT_INCOMPLETE;
    }
    fr_buffer_done(&parts.line);
    return code;
}

int repo_stat(const repo_args *args)
{
    return repo_each_file(args, stat_file);
}

/* ---- order ----------------------------------------------------------------------------------- */

static int order_file(const repo_args *args, const char *path, fr_load *load)
{
    fr_repo *repo = NULL;
    fr_error error = {0};
    fr_repo_order order;
    char disorder[32] = "";
    fr_buffer out;
    int code = repo_open(args, path, load, &repo);
    if (repo == NULL) {
        return code;
    }
    fr_status status = fr_repo_order_of(repo, &order, &error);
    if (status != FR_OK) {
        return repo_fail_in(load, path, status, &error);
    }
    fr_buffer_init(&out, REPO_LINE_BYTES_MAX);
    snprintf(disorder, sizeof disorder,
             order.any_disorder ? "%llu"
             : args->json       ? "null"
                                : "none",
             (unsigned long long)order.disorder_offset);
    repo_put_file(args, path, "file ", &out);
    fr_buffer_printf(&out,
                     args->json ? ",\"order\":\"%s\",\"sections\":%llu,\"commit_section\":%llu,"
                                  "\"commit_offset\":%llu,\"first_out_of_order\":%s,"
                                  "\"buffer_bytes\":%llu"
                                : "order %s\nsections %llu\ncommit_section %llu\ncommit_offset "
                                  "%llu\nfirst_out_of_order %s\nbuffer_bytes %llu\n",
                     fr_repo_order_name(order.order), (unsigned long long)order.sections,
                     (unsigned long long)order.commit_section,
                     (unsigned long long)order.commit_offset, disorder,
                     (unsigned long long)order.buffer_bytes_max);
    repo_put_judged(args, &out);
    fr_buffer_text(&out, args->json ? "}\n" : "");
    code = order.incomplete ? FR_REPO_EXIT_INCOMPLETE : FR_REPO_EXIT_SOUND;
    code = repo_print(&out) ? code : FR_REPO_EXIT_SYSTEM;
    fr_buffer_done(&out);
    return code;
}

int repo_order(const repo_args *args)
{
    return repo_each_file(args, order_file);
}

/* ---- diff ------------------------------------------------------------------------------------ */

/* A record is printed as it is found. With --json the nodes, which come in another order, are
 * gathered before; so what cannot be read is found before anything is printed. */
typedef struct {
    bool json, any;
    fr_buffer line, nodes[2];
} diff_parts;

static void put_cid_or_null(fr_buffer *out, const fr_cid *cid)
{
    if (cid == NULL) {
        fr_buffer_text(out, "null");
        return;
    }
    fr_buffer_byte(out, '"');
    repo_put_cid(out, cid);
    fr_buffer_byte(out, '"');
}

static fr_status on_record(void *context, fr_slice key, const fr_cid *before, const fr_cid *after)
{
    diff_parts *parts = context;
    fr_buffer *out = &parts->line;
    fr_buffer_reset(out);
    if (parts->json) {
        fr_buffer_text(out, parts->any ? ",{\"rpath\":" : "{\"rpath\":");
        fr_buffer_json_string(out, key);
        fr_buffer_text(out, ",\"old_value\":");
        put_cid_or_null(out, before);
        fr_buffer_text(out, ",\"new_value\":");
        put_cid_or_null(out, after);
        fr_buffer_byte(out, '}');
        parts->any = true;
        return repo_print(out) ? FR_OK : FR_IO;
    }
    fr_buffer_text(out, before == NULL ? "create\t" : after == NULL ? "delete\t" : "update\t");
    fr_buffer_printable(out, key);
    for (int i = 0; i < 2; i++) {
        const fr_cid *cid = i == 0 ? before : after;
        fr_buffer_byte(out, '\t');
        if (cid == NULL) {
            fr_buffer_byte(out, '-');
        } else {
            repo_put_cid(out, cid);
        }
    }
    fr_buffer_byte(out, '\n');
    return repo_print(out) ? FR_OK : FR_IO;
}

static fr_status skip_record(void *context, fr_slice key, const fr_cid *before, const fr_cid *after)
{
    (void)context, (void)key, (void)before, (void)after;
    return FR_OK;
}

static fr_status on_node(void *context, const fr_cid *cid, bool created)
{
    diff_parts *parts = context;
    fr_buffer *out = &parts->nodes[created];
    fr_buffer_text(out, out->size == 0 ? "" : ",");
    put_cid_or_null(out, cid);
    return fr_buffer_status(out, NULL);
}

static bool print_nodes(diff_parts *parts)
{
    fr_buffer *out = &parts->line;
    bool printed = fputs("],\"created_nodes\":[", stdout) != EOF && repo_print(&parts->nodes[1]) &&
                   fputs("],\"deleted_nodes\":[", stdout) != EOF && repo_print(&parts->nodes[0]);
    fr_buffer_reset(out);
    fr_buffer_text(out, "]}\n");
    return printed && repo_print(out);
}

static fr_status diff_json(diff_parts *parts, const repo_file *before, const repo_file *after,
                           fr_diff_facts *facts, fr_error *err)
{
    const fr_diff_visitor nodes = {skip_record, on_node, parts};
    const fr_diff_visitor records = {on_record, NULL, parts};
    FR_TRY(fr_repo_diff(before->repo, after->repo, &nodes, facts, err));
    if (fputs("{\"record_ops\":[", stdout) == EOF) {
        return FR_IO;
    }
    FR_TRY(fr_repo_diff(before->repo, after->repo, &records, facts, err));
    return print_nodes(parts) ? FR_OK : FR_IO;
}

static int diff(const repo_args *args, const repo_file *before, const repo_file *after)
{
    enum { PART_BYTES_MAX = 1 << 30 };
    diff_parts parts = {.json = args->json};
    const fr_diff_visitor lines = {on_record, NULL, &parts};
    fr_diff_facts facts = {0};
    fr_error error = {0};
    fr_buffer_init(&parts.line, REPO_LINE_BYTES_MAX);
    fr_buffer_init(&parts.nodes[0], PART_BYTES_MAX);
    fr_buffer_init(&parts.nodes[1], PART_BYTES_MAX);
    fr_status status = args->json ? diff_json(&parts, before, after, &facts, &error)
                                  : fr_repo_diff(before->repo, after->repo, &lines, &facts, &error);
    int code = FR_REPO_EXIT_SOUND;
    if (status == FR_IO && error.code == NULL && error.text == NULL) {
        code = FR_REPO_EXIT_SYSTEM; /* of standard output, which is told at the end */
    } else if (status != FR_OK) {
        const repo_file *at = facts.fault_in_after ? after : before;
        code = repo_fail_open(args, at->load, at->path, (fr_slice){0}, status, &error);
    }
    fr_buffer_done(&parts.line);
    fr_buffer_done(&parts.nodes[0]);
    fr_buffer_done(&parts.nodes[1]);
    return code;
}

int repo_diff(const repo_args *args)
{
    repo_file before, after = {.load = NULL};
    int code = repo_file_open(&before, args, args->words[0]);
    if (code == FR_REPO_EXIT_SOUND) {
        code = repo_file_open(&after, args, args->words[1]);
    }
    if (code == FR_REPO_EXIT_SOUND) {
        code = diff(args, &before, &after);
    }
    repo_file_close(&before);
    repo_file_close(&after);
    return code;
}
