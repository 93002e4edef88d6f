// SPDX-License-Identifier: MIT OR Apache-2.0
// Heads, bodies and Accept lines from anywhere. Holds: a prefix gives FR_AGAIN or what the whole
// gives; every refusal has an HTTP status; what was taken lies inside the input; a body fed in
// pieces ends where the whole says.
#include "accept.h"
#include "http_body.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool held)
{
    if (!held) {
        abort();
    }
}

/** A copy of exactly this size, so that ASan sees a read beyond it. */
static uint8_t *copy_of(fr_slice in)
{
    uint8_t *copy = malloc(in.size + (in.size == 0));
    require(copy != NULL);
    if (in.size > 0) {
        memcpy(copy, in.data, in.size);
    }
    return copy;
}

static bool is_inside(fr_slice part, fr_slice whole)
{
    return part.size == 0 ||
           (part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
}

static bool is_refusal(int http_status)
{
    return http_status == 400 || http_status == 413 || http_status == 414 || http_status == 417 ||
           http_status == 431 || http_status == 501 || http_status == 505;
}

static void check_prefix(fr_slice in, size_t size, fr_status status, int http_status,
                         size_t head_bytes)
{
    fr_http_request request = {0};
    int got_http = 0;
    uint8_t *copy = copy_of(fr_slice_sub(in, 0, size));
    fr_status got = fr_http_parse(fr_slice_of(copy, size), &request, &got_http, NULL);
    free(copy);
    require(got == FR_AGAIN ||
            (got == status && got_http == http_status && request.head_bytes == head_bytes));
}

static void check_body(const fr_http_request *request, fr_slice in, size_t piece)
{
    size_t wire_bytes = 0, total = 0;
    int http_status = 0, pieces_http = 0;
    fr_status status = fr_http_body(request, in, &wire_bytes, &http_status, NULL);
    require(status == FR_OK || status == FR_AGAIN || is_refusal(http_status));
    require(wire_bytes <= in.size);
    fr_http_skip skip;
    fr_status pieces = FR_AGAIN;
    fr_http_skip_init(&skip, request);
    do {
        size_t used = 0;
        fr_slice part = fr_slice_sub(in, total, piece);
        pieces = fr_http_skip_feed(&skip, part, &used, &pieces_http, NULL);
        total += pieces == FR_AGAIN ? part.size : used;
    } while (pieces == FR_AGAIN && total < in.size);
    require(pieces == status && pieces_http == http_status &&
            (status != FR_OK || total == wire_bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t piece = (size_t)data[0] % 7 + 1;
    size_t cut = size * data[1] / 256;
    fr_slice in = fr_slice_of(data + 2, size - 2);
    fr_http_request request = {0};
    int http_status = 0;
    fr_status status = fr_http_parse(in, &request, &http_status, NULL);
    require(status == FR_OK || status == FR_AGAIN || is_refusal(http_status));
    for (size_t i = cut; i <= in.size && i < cut + 8; i++) {
        check_prefix(in, i, status, http_status, request.head_bytes);
    }
    if (status == FR_OK) {
        require(request.head_bytes > 0 && request.head_bytes <= in.size);
        require(is_inside(request.method, in) && is_inside(request.host, in) &&
                is_inside(request.accept, in));
        require(request.target.size > 0);
        check_body(&request, fr_slice_from(in, request.head_bytes), piece);
        (void)fr_accept_choose(request.accept);
    }
    const fr_http_request chunked = {.has_body = true, .chunked = true};
    check_body(&chunked, in, piece);
    uint8_t *accept = copy_of(in);
    (void)fr_accept_choose(fr_slice_of(accept, in.size));
    free(accept);
    return 0;
}
