// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet COMMAND …: finds the subcommand and hands over.
#include "cli.h"

#include <fr/map_guard.h>
#include <signal.h>
#include <stdio.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} COMMANDS[] = {
    {"demo", cli_demo, "generate a network, ingest it and serve it"},
    {"ingest", cli_ingest, "read Jetstream lines, frames or CARs into a data directory"},
    {"serve", cli_serve, "answer over HTTP, and follow sources"},
    {"backfill", cli_backfill, "status, retry: look at backfills, try again what failed"},
    {"verify", cli_verify, "rebuild every view from the log and compare"},
    {"view", cli_view, "list, reset: what is saved of each view; build one again"},
    {"log", cli_log, "dump, stat, verify, export, seal, …: the log and its segments"},
    {"repo", cli_repo, "ls, check, get, prove, diff, …: repositories in CAR files"},
    {"simulate", cli_simulate, "write a generated network"},
};

static void print_help(FILE *out)
{
    fprintf(out, "usage: freshet COMMAND [OPTION…]\n\n");
    for (size_t i = 0; i < FR_COUNT_OF(COMMANDS); i++) {
        fprintf(out, "  %-10s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
    }
    fprintf(out,
            "\nfreshet COMMAND --help tells the options of each; freshet --version the formats.\n");
}

int main(int argc, char **argv)
{
    fr_maps_guard();
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk, no death */
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("freshet %s (%s)\n", FRESHET_VERSION, freshet_formats());
        return EXIT_DONE;
    }
    for (size_t i = 0; i < FR_COUNT_OF(COMMANDS); i++) {
        if (strcmp(argv[1], COMMANDS[i].name) == 0) {
            return COMMANDS[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "freshet: no such command: %s\n", cli_printable(argv[1]));
    print_help(stderr);
    return EXIT_USAGE;
}
