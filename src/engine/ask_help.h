// SPDX-License-Identifier: MIT OR Apache-2.0
/** What tests of the engine ask of it from outside: /health, and the verdicts of verify. */
#pragma once

#include <freshet.h>
#include <seed.h>
#include <stdio.h>
#include <string.h>

#include "engine.h"

static inline bool health_says(freshet *db, const char *words)
{
    freshet_answer answer = {0};
    assert_int_equal(freshet_query(db, "/health", 7, NULL, &answer, NULL), FRESHET_OK);
    assert_int_equal(answer.status, 200);
    bool says = memmem(answer.body, answer.body_size, words, strlen(words)) != NULL;
    freshet_answer_free(&answer);
    return says;
}

typedef struct {
    char lines[FR_VIEWS_MAX][256];
    unsigned count;
} verdict;

static inline void note_verdict(void *context, const char *json)
{
    verdict *v = context;
    assert_true(v->count < FR_VIEWS_MAX);
    snprintf(v->lines[v->count++], sizeof v->lines[0], "%s", json);
}
