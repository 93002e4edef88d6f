// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet repo check --all: the verdict, and every fault instead of the first.
#include "repo.h"

#include <fr/repo_faults.h>

typedef struct {
    const repo_args *args;
    const char *path;
    fr_buffer out;
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
    fr_buffer *out = &list->out;
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
    fr_buffer *out = &list->out;
    fr_buffer_printf(out, "%s: offset %llu: %s: %s", list->path,
                     (unsigned long long)flaw->error.offset, flaw->error.code, flaw->error.text);
    if (flaw->key.size != 0 || flaw->has_cid) {
        fr_buffer_text(out, " (");
        repo_put_key(out, flaw->key);
        fr_buffer_text(out, flaw->key.size != 0 && flaw->has_cid ? ", " : "");
        put_cid(out, flaw);
        fr_buffer_byte(out, ')');
    }
    fr_buffer_byte(out, '\n');
}

static fr_status on_flaw(void *context, const fr_repo_flaw *flaw)
{
    fault_list *list = context;
    (list->args->json ? put_json : put_line)(list, flaw);
    list->told++;
    return fr_buffer_status(&list->out, NULL);
}

/* The object of check without its end, the faults, the end. */
static fr_status report_json(fault_list *list, fr_slice bytes, int *code)
{
    fr_flaw_visitor visitor = {on_flaw, list};
    uint64_t count = 0;
    FR_TRY(fr_repo_report(bytes, list->path, &list->args->options, &list->out, code));
    list->out.size--;
    fr_buffer_text(&list->out, ",\"faults\":[");
    FR_TRY(fr_repo_flaws(bytes, &list->args->options, &visitor, &count, NULL));
    fr_buffer_printf(&list->out, "],\"fault_count\":%llu}\n", (unsigned long long)count);
    return fr_buffer_status(&list->out, NULL);
}

static fr_status report_lines(fault_list *list, fr_slice bytes, int *code)
{
    fr_flaw_visitor visitor = {on_flaw, list};
    uint64_t count = 0;
    FR_TRY(fr_repo_report_line(bytes, list->path, &list->args->options, &list->out, code));
    if (*code != FR_REPO_EXIT_SOUND && *code != FR_REPO_EXIT_INCOMPLETE) {
        size_t size = list->out.size; /* the verdict stays where only a walk finds what is wrong */
        FR_TRY(fr_repo_flaws(bytes, &list->args->options, &visitor, &count, NULL));
        if (count > 0) {
            memmove(list->out.data, list->out.data + size, list->out.size - size);
            list->out.size -= size;
        }
    }
    if (count > list->told) {
        fr_buffer_printf(&list->out, "%s: %llu faults, the first %llu are told\n", list->path,
                         (unsigned long long)count, (unsigned long long)list->told);
    }
    return fr_buffer_status(&list->out, NULL);
}

static int check_file(const repo_args *args, const char *path)
{
    fault_list list = {.args = args, .path = path};
    cli_input input;
    fr_error error = {0};
    int code = FR_REPO_EXIT_SYSTEM;
    fr_status status = cli_input_open(&input, path, &error);
    if (status != FR_OK) {
        cli_fail_internal(path, status, &error);
        return code;
    }
    fr_buffer_init(&list.out, 4 * (size_t)REPO_LINE_BYTES_MAX);
    status = (args->json ? report_json : report_lines)(&list, input.bytes, &code);
    if (status != FR_OK || !repo_print(&list.out)) {
        code = FR_REPO_EXIT_SYSTEM;
    }
    fr_buffer_done(&list.out);
    cli_input_free(&input);
    return code;
}

int repo_check_all(const repo_args *args)
{
    int first = FR_REPO_EXIT_SOUND;
    for (int i = 0; i < args->word_count; i++) {
        int code = check_file(args, args->words[i]);
        first = first == FR_REPO_EXIT_SOUND ? code : first;
    }
    return first;
}
