// SPDX-License-Identifier: MIT OR Apache-2.0
// A state machine over bytes (RFC 9112 section 7.1), chunk data taken in one step:
//
//   SIZE --hex--> SIZE --;--> EXTENSION --CR--> SIZE_LF --LF--> DATA --n bytes--> DATA_CR
//   DATA_CR --CR--> DATA_LF --LF--> SIZE                of size 0, SIZE_LF --LF--> TRAILER
//   TRAILER --token--> TRAILER_NAME --:--> TRAILER_VALUE --CR--> TRAILER_LF --LF--> TRAILER
//   TRAILER --CR--> END_LF --LF--> DONE
#include "http_body.h"
#include "http_chars.h"

enum {
    PLAIN,
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    DONE
};

/** More would only be leading zeros, or too large. */
#define SIZE_DIGITS_MAX 16

typedef struct {
    fr_http_skip *skip;
    uint64_t offset;
    int http_status;
    fr_error *err;
} body_reader;

static fr_status refuse(body_reader *r, int http_status, const char *text)
{
    r->http_status = http_status;
    return fr_fail_at(r->err, http_status == 413 ? FR_LIMIT : FR_MALFORMED, r->offset, text);
}

void fr_http_skip_init(fr_http_skip *skip, const fr_http_request *request)
{
    *skip = (fr_http_skip){0};
    skip->state = request->chunked ? SIZE : PLAIN;
    skip->left_bytes = request->chunked ? 0 : request->content_length;
}

static int hex_value(uint8_t byte)
{
    uint8_t lower = fr_char_lower(byte);
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static fr_status to(fr_http_skip *skip, int state)
{
    skip->state = (uint8_t)state;
    return FR_OK;
}

static fr_status step_size(body_reader *r, uint8_t byte)
{
    fr_http_skip *skip = r->skip;
    int digit = hex_value(byte);
    if (digit >= 0) {
        if (++skip->digit_count > SIZE_DIGITS_MAX) {
            return refuse(r, 400, "http: malformed chunk size");
        }
        skip->left_bytes = skip->left_bytes << 4 | (unsigned)digit;
        if (skip->left_bytes > FR_HTTP_BODY_MAX_BYTES - skip->body_bytes) {
            return refuse(r, 413, "http: the body is longer than 1 MiB");
        }
        return FR_OK;
    }
    if (skip->digit_count == 0 || (byte != ';' && byte != '\r')) {
        return refuse(r, 400, "http: malformed chunk size");
    }
    return to(skip, byte == ';' ? EXTENSION : SIZE_LF);
}

static fr_status step_size_lf(body_reader *r, uint8_t byte)
{
    fr_http_skip *skip = r->skip;
    if (byte != '\n') {
        return refuse(r, 400, "http: a bare CR");
    }
    skip->digit_count = 0;
    skip->body_bytes += skip->left_bytes;
    return to(skip, skip->left_bytes == 0 ? TRAILER : DATA);
}

static fr_status expect(body_reader *r, uint8_t byte, uint8_t wanted, int next)
{
    return byte == wanted ? to(r->skip, next) : refuse(r, 400, "http: malformed chunk");
}

/** A byte of an extension or a trailer value: CR ends it. */
static fr_status step_text(body_reader *r, uint8_t byte, int next)
{
    if (byte == '\r') {
        return to(r->skip, next);
    }
    return fr_char_is(byte, FR_CHAR_VALUE) ? FR_OK : refuse(r, 400, "http: malformed chunk");
}

static fr_status step_trailer(body_reader *r, uint8_t byte)
{
    bool first = r->skip->state == TRAILER;
    if (first && byte == '\r') {
        return to(r->skip, END_LF);
    }
    if (!first && byte == ':') {
        return to(r->skip, TRAILER_VALUE);
    }
    return fr_char_is(byte, FR_CHAR_TOKEN) ? to(r->skip, TRAILER_NAME)
                                           : refuse(r, 400, "http: malformed trailer");
}

static fr_status step(body_reader *r, uint8_t byte)
{
    int state = r->skip->state;
    if ((state == EXTENSION || state >= TRAILER) &&
        ++r->skip->extra_bytes > FR_HTTP_BODY_EXTRA_MAX_BYTES) {
        return refuse(r, 413, "http: too much beside the body's chunks");
    }
    switch (state) {
        case SIZE: return step_size(r, byte);
        case EXTENSION: return step_text(r, byte, SIZE_LF);
        case SIZE_LF: return step_size_lf(r, byte);
        case DATA_CR: return expect(r, byte, '\r', DATA_LF);
        case DATA_LF: return expect(r, byte, '\n', SIZE);
        case TRAILER:
        case TRAILER_NAME: return step_trailer(r, byte);
        case TRAILER_VALUE: return step_text(r, byte, TRAILER_LF);
        case TRAILER_LF: return expect(r, byte, '\n', TRAILER);
        default: return expect(r, byte, '\n', DONE);
    }
}

/** Takes what there is of a run of known length; returns how much that was. */
static size_t take_run(fr_http_skip *skip, size_t room)
{
    size_t size = (size_t)FR_MIN((uint64_t)room, skip->left_bytes);
    skip->left_bytes -= size;
    if (skip->left_bytes == 0) {
        skip->state = skip->state == PLAIN ? DONE : DATA_CR;
    }
    return size;
}

static fr_status feed(body_reader *r, fr_slice in, size_t *used)
{
    fr_http_skip *skip = r->skip;
    if (skip->state == PLAIN && skip->left_bytes > FR_HTTP_BODY_MAX_BYTES) {
        return refuse(r, 413, "http: the body is longer than 1 MiB");
    }
    size_t at = 0;
    if (skip->state == PLAIN && skip->left_bytes == 0) {
        skip->state = DONE;
    }
    while (skip->state != DONE && at < in.size) {
        if (skip->state == PLAIN || skip->state == DATA) {
            at += take_run(skip, in.size - at);
        } else {
            r->offset = at;
            FR_TRY(step(r, in.data[at]));
            at++;
        }
    }
    *used = at;
    return skip->state == DONE ? FR_OK : FR_AGAIN;
}

fr_status fr_http_skip_feed(fr_http_skip *skip, fr_slice in, size_t *used, int *http_status,
                            fr_error *err)
{
    body_reader r = {.skip = skip, .err = err};
    fr_status status = feed(&r, in, used);
    *http_status = r.http_status;
    return status;
}

fr_status fr_http_body(const fr_http_request *request, fr_slice in, size_t *wire_bytes,
                       int *http_status, fr_error *err)
{
    fr_http_skip skip;
    size_t used = 0;
    fr_http_skip_init(&skip, request);
    fr_status status = fr_http_skip_feed(&skip, in, &used, http_status, err);
    if (status == FR_OK) {
        *wire_bytes = used;
    }
    return status;
}
