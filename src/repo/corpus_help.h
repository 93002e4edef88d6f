// SPDX-License-Identifier: MIT OR Apache-2.0
// For tests that read the corpus in place: whole files, and JSON through our own parser.
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <fr/json.h>
#include <fr/repo.h>

typedef struct {
    uint8_t *data;
    size_t size;
} corpus_file;

static inline bool corpus_present(void)
{
    if (access(FR_CORPUS "/car/expected.jsonl", R_OK) == 0) {
        return true;
    }
    printf("SKIPPED: corpus data absent\n");
    return false;
}

static inline bool corpus_try_read(const char *name, corpus_file *out)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", FR_CORPUS, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    out->size = (size_t)size;
    out->data = malloc(out->size + FR_JSON_PADDING);
    if (out->data == NULL) {
        abort();
    }
    memset(out->data + out->size, 0, FR_JSON_PADDING);
    assert_int_equal(fread(out->data, 1, out->size, file), out->size);
    fclose(file);
    return true;
}

static inline corpus_file corpus_read(const char *name)
{
    corpus_file file = {0};
    if (!corpus_try_read(name, &file)) {
        fail_msg("cannot read %s", name);
        exit(1); /* not reached; tells the analyser so */
    }
    return file;
}

static inline fr_slice corpus_slice(const corpus_file *file)
{
    return fr_slice_of(file->data, file->size);
}

/* The next line of a text, without its end; false after the last. */
static inline bool corpus_line(fr_slice *rest, fr_slice *line)
{
    if (rest->size == 0) {
        return false;
    }
    size_t end = fr_slice_find(*rest, '\n');
    *line = fr_slice_sub(*rest, 0, end);
    *rest = fr_slice_from(*rest, end + 1);
    return true;
}

static inline fr_json_value corpus_parse(fr_json *json, fr_slice text)
{
    fr_json_value root;
    fr_error err = {0};
    if (fr_json_parse(json, text, true, &root, &err) != FR_OK) {
        fail_msg("corpus JSON: %s", err.text);
    }
    return root;
}

static inline const char *corpus_string(fr_json_value object, const char *key, char *out,
                                        size_t room)
{
    fr_slice text;
    if (!fr_json_get_string(object, key, &text) || text.size >= room) {
        return NULL;
    }
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
    return out;
}
