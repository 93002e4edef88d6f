// SPDX-License-Identifier: MIT OR Apache-2.0
// freshet view list|reset. A reset of a directory that a daemon has open goes through the daemon:
// DIR/address says where it answers, and the admin token is asked for.
#include "cli.h"

#include <fr/buffer.h>
#include <fr/net.h>
#include <fr/os.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    const char *data, *token_file, *verb, *name;
    bool json;
} arguments;

enum { OPTION_JSON = 256, OPTION_TOKEN };

static const struct argp_option OPTIONS[] = {
    {"data", 'd', "DIR", 0, "data directory", 0},
    {"json", OPTION_JSON, 0, 0, "list: one JSON object a line", 0},
    {"admin-token-file", OPTION_TOKEN, "FILE", 0, "reset: what the running daemon was given", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
        case 'd': args->data = value; return 0;
        case OPTION_JSON: args->json = true; return 0;
        case OPTION_TOKEN: args->token_file = value; return 0;
        case ARGP_KEY_ARG:
            if (state->arg_num > 1) {
                argp_error(state, "too many arguments: %s", value);
            }
            *(state->arg_num == 0 ? &args->verb : &args->name) = value;
            return 0;
        case ARGP_KEY_END: {
            bool list = args->verb != NULL && strcmp(args->verb, "list") == 0;
            bool reset = args->verb != NULL && strcmp(args->verb, "reset") == 0;
            if (args->data == NULL || !(list || reset) || reset != (args->name != NULL)) {
                argp_error(state, "list --data DIR, or reset NAME --data DIR");
            }
            return 0;
        }
        default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- list ------------------------------------------------------------------------------------ */

static void print_json(void *context, const freshet_view *view)
{
    (void)context;
    printf("{\"view\":\"%s\",\"state\":\"%s\",\"seq\":%llu,\"bytes\":%llu,\"digest\":\"%s\"}\n",
           view->name, view->state, (unsigned long long)view->seq, (unsigned long long)view->bytes,
           view->digest);
}

static void print_line(void *context, const freshet_view *view)
{
    bool *headed = context;
    if (!*headed) {
        printf("%-10s %-8s %12s %14s  %s\n", "VIEW", "STATE", "SEQ", "BYTES", "DIGEST");
        *headed = true;
    }
    printf("%-10s %-8s %12llu %14llu  %s\n", view->name, view->state, (unsigned long long)view->seq,
           (unsigned long long)view->bytes, view->digest);
}

static int list(const arguments *args)
{
    freshet_error error = {0};
    bool headed = false;
    return freshet_view_list(args->data, args->json ? print_json : print_line, &headed, &error) ==
                   FRESHET_OK
               ? EXIT_DONE
               : cli_fail(args->data, &error);
}

/* ---- reset ----------------------------------------------------------------------------------- */

enum { TOKEN_MAX_BYTES = 4096, ANSWER_MAX_BYTES = 4096 };

char *cli_read_token(const char *path)
{
    fr_error error = {0};
    uint8_t *bytes = NULL;
    size_t size = 0;
    fr_status status = fr_os_read_file(fr_os_real(), path, TOKEN_MAX_BYTES, &bytes, &size, &error);
    if (status != FR_OK) {
        (void)cli_fail_internal(path, status, &error);
        return NULL;
    }
    while (size != 0 && bytes[size - 1] <= ' ') {
        bytes[--size] = 0;
    }
    if (size == 0 || strlen((char *)bytes) != size || strpbrk((char *)bytes, "\r\n") != NULL) {
        fprintf(stderr, "freshet: %s: holds no token of one line\n", path);
        free(bytes);
        return NULL;
    }
    return (char *)bytes;
}

/** HOST and port of DIR/address, "HOST PORT". */
static bool read_address(const char *data, char host[256], uint16_t *port)
{
    char path[FR_PATH_MAX];
    uint8_t *text = NULL;
    size_t size = 0;
    unsigned number = 0;
    if (fr_path(path, sizeof path, NULL, "%s/address", data) != FR_OK ||
        fr_os_read_file(fr_os_real(), path, 512, &text, &size, NULL) != FR_OK) {
        return false;
    }
    bool read = sscanf((char *)text, "%255s %u", host, &number) == 2 && number <= UINT16_MAX;
    *port = (uint16_t)number;
    free(text);
    return read;
}

static fr_status exchange(fr_net *net, const char *request, char *answer, fr_error *err)
{
    const uint64_t patience_ns = UINT64_C(10000000000);
    size_t size = 0;
    FR_TRY(fr_net_write(net, request, strlen(request), patience_ns, err));
    for (;;) {
        size_t got = 0;
        fr_status status = size == ANSWER_MAX_BYTES - 1
                               ? FR_END
                               : fr_net_read(net, answer + size, ANSWER_MAX_BYTES - 1 - size, &got,
                                             patience_ns, err);
        if (status != FR_OK) {
            answer[size] = 0;
            return status == FR_END ? FR_OK : status;
        }
        size += got;
    }
}

static int ask_daemon(const arguments *args, const char *token)
{
    char host[256];
    char request[TOKEN_MAX_BYTES + 1024];
    char answer[ANSWER_MAX_BYTES];
    uint16_t port = 0;
    fr_net *net = NULL;
    fr_error error = {0};
    int code = 0;
    if (!read_address(args->data, host, &port)) {
        fprintf(stderr, "freshet: %s: a process has it open that does not answer HTTP\n",
                args->data);
        return EXIT_SYSTEM;
    }
    snprintf(request, sizeof request,
             "POST /admin/view/reset?name=%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"
             "Connection: close\r\nContent-Length: 0\r\n\r\n",
             args->name, host, token);
    fr_status status = fr_net_connect(&net, host, port, UINT64_C(5000000000), &error);
    status = status == FR_OK ? exchange(net, request, answer, &error) : status;
    fr_net_close(net);
    if (status != FR_OK) {
        return cli_fail_internal("daemon", status, &error);
    }
    const char *body = strstr(answer, "\r\n\r\n");
    if (sscanf(answer, "HTTP/1.1 %d", &code) != 1 || body == NULL || code != 200) {
        fprintf(stderr, "freshet: the daemon refused: %s\n", body == NULL ? answer : body + 4);
        return code == 404 ? EXIT_USAGE : EXIT_SYSTEM;
    }
    puts(body + 4);
    return EXIT_DONE;
}

static int reset(const arguments *args)
{
    freshet_error error = {0};
    freshet_status status = freshet_view_drop(args->data, args->name, &error);
    if (status == FRESHET_OK) {
        printf("{\"view\":\"%s\",\"state\":\"dropped\"}\n", args->name);
        return EXIT_DONE;
    }
    if (status == FRESHET_AGAIN && args->token_file != NULL) {
        char *token = cli_read_token(args->token_file);
        int code = token == NULL ? EXIT_SYSTEM : ask_daemon(args, token);
        free(token);
        return code;
    }
    bool unknown = error.code != NULL && strcmp(error.code, "view") == 0;
    int code = cli_fail(unknown ? args->name : args->data, &error);
    return unknown ? EXIT_USAGE : code;
}

int cli_view(int argc, char **argv)
{
    static const struct argp argp = {
        OPTIONS,
        parse_option,
        "list\nreset NAME",
        "Lists what is saved of each view, or drops one so that it is built again from the log: at "
        "the next open, or at once by the daemon that has the directory open.",
        NULL,
        NULL,
        NULL};
    arguments args = {0};
    cli_parse(&argp, argc, argv, "view", &args);
    return strcmp(args.verb, "list") == 0 ? list(&args) : reset(&args);
}
