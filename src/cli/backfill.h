// SPDX-License-Identifier: MIT OR Apache-2.0
/** --backfill and what goes with it, the same for `serve` and `ingest`: options as a child parser,
 *  and starting what they ask for. */
#pragma once

#include "cli.h"

#define CLI_BACKFILLS_MAX 8

typedef struct {
    freshet_backfill_options options; /* but for the URL */
    const char *urls[CLI_BACKFILLS_MAX];
    size_t count;
} cli_backfills;

/** A child for struct argp; its input is a cli_backfills. */
extern const struct argp_child CLI_BACKFILL_OPTIONS[];
/** Starts each; handles[i] (NULL: not wanted) belongs to urls[i]. Returns an exit code. */
int cli_backfills_start(const cli_backfills *backfills, freshet *db, freshet_backfill **handles);
