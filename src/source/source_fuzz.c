// SPDX-License-Identifier: MIT OR Apache-2.0
// The first byte chooses: the answer to an upgrade, lines in pieces, an address, or a file of DID
// documents.
#include <stdlib.h>

#include "did_keys.h"
#include "lines.h"
#include "ws_url.h"

#define ENSURE(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define LINE_MAX_HERE 64

/** An answer is refused, taken or unfinished, and a longer input never turns a verdict. */
static void fuzz_answer(fr_slice in)
{
    size_t size = 0, again = 0;
    fr_status status = ws_answer_parse(in, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &size, NULL);
    ENSURE(status == FR_OK || status == FR_AGAIN || status == FR_MALFORMED || status == FR_LIMIT);
    if (status == FR_OK) {
        ENSURE(size <= in.size && memcmp(in.data + size - 4, "\r\n\r\n", 4) == 0);
        ENSURE(ws_answer_parse(fr_slice_sub(in, 0, size), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &again,
                               NULL) == FR_OK);
        ENSURE(again == size);
        ENSURE(ws_answer_parse(fr_slice_sub(in, 0, size - 1),
                               "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &again, NULL) == FR_AGAIN);
    }
}

typedef struct {
    uint64_t bytes, lines, skipped;
} line_facts;

static void count_line(line_facts *facts, line_kind kind, fr_slice line)
{
    ENSURE(kind != LINE_WHOLE ||
           (line.size <= LINE_MAX_HERE && fr_slice_find(line, '\n') == line.size));
    facts->lines++;
    facts->skipped += kind == LINE_TOO_LONG;
    facts->bytes += kind == LINE_WHOLE ? line.size : 0;
}

static line_facts split(fr_slice in, size_t step)
{
    line_buffer lines;
    line_facts facts = {0};
    fr_slice line = {NULL, 0};
    line_kind kind;
    line_buffer_init(&lines, LINE_MAX_HERE);
    while (in.size != 0) {
        uint8_t *at;
        size_t room, size = FR_MIN(step, in.size);
        ENSURE(line_buffer_room(&lines, &at, &room, NULL) == FR_OK);
        memcpy(at, in.data, size);
        line_buffer_fed(&lines, size);
        in = fr_slice_from(in, size);
        while ((kind = line_buffer_next(&lines, &line)) != LINE_NONE) {
            count_line(&facts, kind, line);
        }
    }
    kind = line_buffer_last(&lines, &line);
    if (kind != LINE_NONE) {
        count_line(&facts, kind, line);
    }
    ENSURE(lines.number == facts.lines);
    line_buffer_done(&lines);
    return facts;
}

static void fuzz_lines(fr_slice in)
{
    size_t step = in.size == 0 ? 1 : 1 + in.data[0];
    line_facts whole = split(in, 65536), pieces = split(in, step);
    ENSURE(whole.bytes == pieces.bytes && whole.lines == pieces.lines &&
           whole.skipped == pieces.skipped);
}

static fr_status note_document(void *context, fr_slice did, fr_slice document)
{
    const fr_slice *in = context;
    ENSURE(did.data > in->data && document.data > did.data);
    ENSURE(document.data + document.size <= in->data + in->size);
    ENSURE(document.data[0] == '{');
    return FR_OK;
}

static void fuzz_address(fr_slice in, const ws_kind *kind)
{
    char text[512];
    size_t size = FR_MIN(in.size, sizeof text - 1);
    ws_url url;
    memcpy(text, in.data, size);
    text[size] = '\0';
    if (ws_url_parse(&url, kind, text, NULL) == FR_OK) {
        char request[FR_SOURCE_URL_BYTES_MAX + 1024];
        ENSURE(ws_request_format(&url, true, true, 1, "dGhlIHNhbXBsZSBub25jZQ==", request,
                                 sizeof request, NULL) == FR_OK);
        ENSURE(url.host[0] != '\0' && url.port != 0 && url.target[0] == '/');
        size_t word = strlen(kind->word);
        ENSURE(strncmp(url.name, kind->word, word) == 0 && strncmp(url.name + word, ":ws", 3) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    fr_slice in = fr_slice_of(data + 1, size - 1);
    switch (data[0] & 3) {
        case 0: fuzz_answer(in); break;
        case 1: fuzz_lines(in); break;
        case 2:
            fuzz_address(in, &WS_JETSTREAM);
            fuzz_address(in, &WS_FIREHOSE);
            break;
        default: (void)!did_keys_split(in, note_document, &in, NULL);
    }
    return 0;
}
