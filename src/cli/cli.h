// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the subcommands share: exits, progress, signals. Everything of the engine comes through
 *  freshet.h. */
#pragma once

#include <argp.h>
#include <fr/base.h>
#include <freshet.h>

/** Exit codes, the same for every subcommand (docs/man/freshet.1). */
enum {
    EXIT_DONE = 0,
    EXIT_DATA = 1,
    EXIT_USAGE = 2,
    EXIT_BOUND = 3,
    EXIT_SYSTEM = 4,
    EXIT_INTERRUPTED = 130
};

/** Why a log begins with another event than the first. */
#define CLI_NO_BEGINNING                                                                           \
    "what is before it is neither here nor in an archive that can be read, so texts there are "    \
    "missing and no view can be built again"

int cli_backfill(int argc, char **argv);
int cli_ingest(int argc, char **argv);
int cli_log(int argc, char **argv);
int cli_verify(int argc, char **argv);
int cli_serve(int argc, char **argv);
int cli_simulate(int argc, char **argv);
int cli_repo(int argc, char **argv);
int cli_demo(int argc, char **argv);
int cli_view(int argc, char **argv);

/** The one line of a token file, malloc'd; NULL after a message. */
char *cli_read_token(const char *path);

/** The text as fr_buffer_printable, for messages: names of files, values of options. It lies in
 *  static memory until the next call. */
const char *cli_printable(const char *text);
/** Prints "freshet: WHAT: why" on stderr and returns the exit code for the status. */
int cli_fail(const char *what, const freshet_error *err);
int cli_exit_of(freshet_status status);
/** The same for errors of the modules the command line calls itself. */
int cli_fail_internal(const char *what, fr_status status, const fr_error *err);

/** "64M", "2G", "1048576" to bytes; false when it is not such. */
bool cli_parse_bytes(const char *text, uint64_t *out);
bool cli_parse_u64(const char *text, uint64_t *out);
/** "10G" and the like: what stays of the log by size; "30d" or "12h": by age. */
bool cli_parse_keep(const char *text, freshet_options *out);
/** The same for the value of an option: what is not such ends the process with a usage error.
 *  `what`: "events", "seconds", … */
void cli_take_bytes(struct argp_state *state, const char *value, uint64_t *out);
void cli_take_count(struct argp_state *state, const char *value, const char *what, uint64_t *out);
void cli_take_keep(struct argp_state *state, const char *value, freshet_options *out);
/** What is to stay of the log, and no archive: a usage error. */
void cli_check_keep(struct argp_state *state, const freshet_options *options);
/** The path from the root of a folder that is remembered for later runs, which may start
 *  elsewhere. One a process: the text lies in static memory. */
const char *cli_absolute(const char *path);
/** Does the verb take it? What stands before the first ": " of its help are the verbs that do; all
 *  do where there is none. */
bool cli_option_is_for(const struct argp_option *option, const char *verb);
/** argp_parse with this project's exit code for usage errors; exits the process on --help and on a
 *  usage error. */
void cli_parse(const struct argp *argp, int argc, char **argv, const char *name, void *input);

/** A bar on stderr when that is a terminal, nothing otherwise. total 0: unknown. */
void cli_progress(const char *what, uint64_t done, uint64_t total);
void cli_progress_end(void);
/** For freshet_options.on_progress. */
void cli_on_progress(void *context, const char *phase, uint64_t done, uint64_t total);

/** Becomes true, atomically, on SIGINT or SIGTERM once cli_catch_signals was called. Another one, a
 *  second or more later, ends the process at once. */
extern bool cli_stop;
extern volatile int cli_stop_signal;
void cli_catch_signals(void);
/** Waits for one of both, blocked in every thread until then. */
int cli_await_signal(void);
/** A file that goes when a signal ends the process; of one at a time. NULL: none any more. The text
 *  is borrowed. */
void cli_remove_on_signal(const char *path);
