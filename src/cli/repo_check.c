// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet repo check: the verdict and the facts; with --all every fault instead of the first, which
// is another look at what was loaded.
#include "repo.h"

#include <fr/repo_faults.h>

enum { OUT_MAX_BYTES = 64 << 20 };

/* ---- every fault ----------------------------------------------------------------------------- */

typedef struct {
    const repo_args *args;
    const char *path;
    fr_buffer line; /* a fault is printed as it is found */
    uint64_t told;
} fault_list;

static void put_cid(fr_buffer *out, const fr_repo_flaw *flaw)
{
    if (flaw->has_cid) {
        repo_put_cid(out, &flaw->cid);
    }
}

static void put_json(fault_list *list, const fr_repo_flaw *flaw)
{
    fr_buffer *out = &list->line;
    fr_buffer_printf(out,
                     "%s{\"code\":\"%s\",\"offset\":%llu,\"text\":", list->told == 0 ? "" : ",",
                     flaw->error.code, (unsigned long long)flaw->error.offset);
    fr_buffer_json_string(out, fr_slice_text(flaw->error.text));
    fr_buffer_text(out, ",\"key\":");
    if (flaw->key.size == 0) {
        fr_buffer_text(out, "null");
    } else {
        fr_buffer_json_string(out, flaw->key);
    }
    fr_buffer_text(out, flaw->has_cid ? ",\"cid\":\"" : ",\"cid\":null");
    put_cid(out, flaw);
    fr_buffer_text(out, flaw->has_cid ? "\"}" : "}");
}

static void put_line(fault_list *list, const fr_repo_flaw *flaw)
{
    fr_buffer *out = &list->line;
    fr_buffer_printable(out, fr_slice_text(list->path));
    fr_buffer_printf(out, ": offset %llu: %s: ", (unsigned long long)flaw->error.offset,
                     flaw->error.code);
    fr_repo_fault_text(&flaw->error, out);
    if (flaw->key.size != 0 || flaw->has_cid) {
        fr_buffer_text(out, " (");
        char *at = (char *)fr_buffer_reserve(out, 4 * flaw->key.size + 1);
        out->size += at == NULL ? 0 : fr_repo_key_escape(flaw->key, at, 4 * flaw->key.size + 1);
        fr_buffer_text(out, flaw->key.size != 0 && flaw->has_cid ? ", " : "");
        put_cid(out, flaw);
        fr_buffer_byte(out, ')');
    }
    fr_buffer_byte(out, '\n');
}

static fr_status on_flaw(void *context, const fr_repo_flaw *flaw)
{
    fault_list *list = context;
    fr_buffer_reset(&list->line);
    (list->args->json ? put_json : put_line)(list, flaw);
    list->told++;
    return repo_print(&list->line) ? FR_OK : FR_IO;
}

/* Prints them and gives their number. Time that runs out is the last. */
static fr_status tell_flaws(fault_list *list, const fr_load *load, uint64_t *count, fr_error *err)
{
    const fr_flaw_visitor visitor = {on_flaw, list};
    fr_repo_flaw late = {.has_cid = false};
    fr_status status = fr_load_flaws(load, &visitor, count, &late.error);
    if (status == FR_LIMIT && late.error.code != NULL &&
        strcmp(late.error.code, "limit-time") == 0) {
        ++*count;
        return on_flaw(list, &late);
    }
    *err = late.error;
    return status;
}

/* The verdict's own fault, where a second look does not find any: a limit. */
static fr_status tell_verdict(fault_list *list, const fr_load *load, const fr_error *error)
{
    fr_repo_fault place;
    fr_load_fault(load, error, &place);
    fr_repo_flaw flaw = {.error = *error,
                         .has_cid = place.has_cid,
                         .cid = place.cid,
                         .key = fr_slice_text(place.key)};
    flaw.error.code = fr_repo_fault_code(error->status, error);
    return on_flaw(list, &flaw);
}

/* `verdict` is the whole of the line, or of the object, that check without --all would print, and
 * `code` the exit code with it. A file that could not be read is not looked at again. */
static fr_status tell_all(fault_list *list, const fr_load *load, fr_buffer *verdict, int code,
                          const fr_error *fault, fr_error *err)
{
    bool json = list->args->json;
    bool sound = code == FR_REPO_EXIT_SOUND || code == FR_REPO_EXIT_INCOMPLETE;
    uint64_t count = 0;
    if (json) {
        verdict->size--; /* to its end come the faults */
        fr_buffer_text(verdict, ",\"faults\":[");
    }
    if ((json || sound) && !repo_print(verdict)) {
        return FR_IO;
    }
    FR_TRY(sound || code == FR_REPO_EXIT_SYSTEM ? FR_OK : tell_flaws(list, load, &count, err));
    if (!sound && count == 0) {
        count = 1;
        FR_TRY(tell_verdict(list, load, fault));
    }
    fr_buffer_reset(&list->line);
    if (json) {
        fr_buffer_printf(&list->line, "],\"fault_count\":%llu}\n", (unsigned long long)count);
    } else if (count > list->told) {
        fr_buffer_printf(&list->line, "%s: %llu faults, the first %llu are told\n",
                         cli_printable(list->path), (unsigned long long)count,
                         (unsigned long long)list->told);
    }
    return repo_print(&list->line) ? FR_OK : FR_IO;
}

/* ---- the verdict ----------------------------------------------------------------------------- */

static fr_status print_verdict(const repo_args *args, fr_buffer *verdict)
{
    if (args->json) {
        fr_buffer_byte(verdict, '\n');
    }
    return repo_print(verdict) ? FR_OK : FR_IO;
}

/* Of a load that gave `status` and `fault`. The exit code. */
static int tell(const repo_args *args, const char *path, const fr_load *load, fr_repo_judge *judge,
                fr_status status, const fr_error *fault)
{
    fault_list list = {.args = args, .path = path};
    fr_error error = {0};
    fr_buffer verdict;
    int code = FR_REPO_EXIT_SYSTEM;
    fr_buffer_init(&verdict, OUT_MAX_BYTES);
    fr_buffer_init(&list.line, REPO_LINE_BYTES_MAX);
    status = (args->json ? fr_repo_judge_json : fr_repo_judge_line)(judge, load, path, status,
                                                                    fault, &verdict, &code);
    if (status == FR_OK) {
        status = args->all_faults ? tell_all(&list, load, &verdict, code, fault, &error)
                                  : print_verdict(args, &verdict);
    }
    fr_buffer_done(&list.line);
    fr_buffer_done(&verdict);
    if (status != FR_OK) {
        repo_fail(path, (fr_slice){0}, status, &error);
        return FR_REPO_EXIT_SYSTEM;
    }
    return code;
}

static int check_file(const repo_args *args, const char *path, fr_load *load)
{
    fr_error error = {0};
    fr_cleanup(fr_repo_judge_freep) fr_repo_judge *judge = NULL;
    fr_load_options options = repo_load_options(args, path);
    if (fr_repo_judge_new(&judge, &args->options, &error) != FR_OK) {
        return cli_fail_internal("repo", error.status, &error);
    }
    options.on_item = fr_repo_judge_item;
    options.item_context = judge;
    options.forget = !args->json && !args->all_faults; /* which look at the input again */
    fr_load_set_options(load, &options);
    fr_status status = fr_load_path(load, path, &error);
    cli_progress_end();
    return tell(args, path, load, judge, status, &error);
}

int repo_check(const repo_args *args)
{
    repo_args judged = *args;
    judged.options.check_records = true;
    judged.load.read_rest = args->json || args->all_faults;
    return repo_each_file(&judged, check_file);
}
