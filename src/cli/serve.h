// SPDX-License-Identifier: MIT OR Apache-2.0
/** The daemon, as `serve` and `demo` run it. */
#pragma once

#include "backfill.h"

#include <fr/server.h>

#define CLI_SOURCES_MAX 32

typedef struct {
    freshet_options db;
    fr_server_options server;
    const char *sources[CLI_SOURCES_MAX];
    size_t source_count;
    cli_backfills backfills; /* started behind the sources */
    const char *did_docs;
    const char *plc_url;
    const char *zstd_dictionary;
    /** Called once answers are ready: prints what is useful. May be NULL. */
    void (*on_ready)(void *context, freshet *db, const char *address);
    /** Called after the signal, before the engine closes: joins what still appends. May be NULL. */
    void (*on_stop)(void *context);
    void *context;
} cli_daemon;

/** Binds first, so that /live answers while the engine catches up; then opens, attaches, starts the
 *  sources and waits for a signal. Returns the exit code. */
int cli_daemon_run(const cli_daemon *daemon);
