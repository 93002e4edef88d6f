// SPDX-License-Identifier: MIT OR Apache-2.0
/** Words that every module shares: status and error, slices, checked arithmetic, byte order.
 *
 *  Nothing here allocates, and nothing here touches the system. Ignoring an fr_status does not
 *  compile. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FR_MUST_USE __attribute__((warn_unused_result))
#define FR_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define FR_LIKELY(x) __builtin_expect(!!(x), 1)
#define FR_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define FR_COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define FR_MIN(a, b) ((a) < (b) ? (a) : (b))
#define FR_MAX(a, b) ((a) > (b) ? (a) : (b))

/** Runs `fn(&variable)` when the variable leaves scope: `fr_cleanup(fr_car_freep) fr_car *car =
 *  NULL;` */
#define fr_cleanup(fn) __attribute__((cleanup(fn)))

/* ---- status and error ------------------------------------------------------------------------ */

/** What happened, in the few kinds a caller reacts to differently. */
typedef enum {
    FR_OK = 0,
    FR_END = 1,       /* nothing left: not a failure */
    FR_NOT_FOUND = 2, /* asked for something that is not there */
    FR_AGAIN = 3,     /* not now: full, busy, interrupted, cancelled */
    FR_INVALID = 4,   /* the caller's argument or request is wrong */
    FR_MALFORMED = 5, /* bytes from outside break their format */
    FR_LIMIT = 6,     /* a named bound was reached */
    FR_CORRUPT = 7,   /* bytes we wrote ourselves do not check */
    FR_NOMEM = 8,
    FR_IO = 9, /* the system said no; err->os has errno */
} fr_status_code;
typedef fr_status_code fr_status;

/** Where and why; owned by the caller, may be NULL everywhere. The deepest frame writes it once (a
 *  failure written over an earlier one is a bug in the caller that forgot to reset). `text` and
 *  `code` are static strings. */
typedef struct {
    fr_status status;
    int os;           /* errno, 0 when none */
    uint64_t offset;  /* byte offset in the input that was being read */
    const char *code; /* stable detail code such as "car-hash", or NULL */
    const char *text;
    const char *file;
    int line;
    uint32_t segment; /* number of the log's segment file that was being read, 0: none was */
} fr_error;

static inline void fr_error_reset(fr_error *err)
{
    if (err != NULL) {
        *err = (fr_error){0};
    }
}

void fr_fail_note(fr_error *err, fr_status status, int os, uint64_t offset, const char *code,
                  const char *text, const char *file, int line);
/** Notes a failure and is its status; inline, so that compilers and analysers see which one it
 *  is. */
FR_MUST_USE static inline fr_status fr_fail_full(fr_error *err, fr_status status, int os,
                                                 uint64_t offset, const char *code,
                                                 const char *text, const char *file, int line)
{
    fr_fail_note(err, status, os, offset, code, text, file, line);
#ifdef __clang_analyzer__
    if (status == FR_OK) {
        __builtin_unreachable(); /* no caller's path goes on after a failure */
    }
#endif
    return status;
}
/** The short word for a status: "malformed", "limit", … */
const char *fr_status_name(fr_status status);

#define fr_fail(err, status, text)                                                                 \
    fr_fail_full((err), (status), 0, 0, NULL, (text), __FILE__, __LINE__)
#define fr_fail_at(err, status, offset, text)                                                      \
    fr_fail_full((err), (status), 0, (offset), NULL, (text), __FILE__, __LINE__)
#define fr_fail_code(err, status, offset, code, text)                                              \
    fr_fail_full((err), (status), 0, (offset), (code), (text), __FILE__, __LINE__)
#define fr_fail_os(err, os, text)                                                                  \
    fr_fail_full((err), FR_IO, (os), 0, NULL, (text), __FILE__, __LINE__)

/** The one macro that hides control flow: returns the status of `expr` unless it is FR_OK. */
#define FR_TRY(expr)                                                                               \
    do {                                                                                           \
        fr_status fr_try_status = (expr);                                                          \
        if (FR_UNLIKELY(fr_try_status != FR_OK)) {                                                 \
            return fr_try_status;                                                                  \
        }                                                                                          \
    } while (0)

/* ---- slices ---------------------------------------------------------------------------------- */

/** A borrowed run of bytes; not NUL-terminated. {NULL, 0} is the empty slice. */
typedef struct {
    const uint8_t *data;
    size_t size;
} fr_slice;

#define FR_SLICE(literal) ((fr_slice){(const uint8_t *)("" literal), sizeof(literal) - 1})
/** printf("%.*s", FR_SLICE_ARG(s)) */
#define FR_SLICE_ARG(s) (int)(s).size, (const char *)(s).data

static inline fr_slice fr_slice_of(const void *data, size_t size)
{
    return (fr_slice){(const uint8_t *)data, size};
}
static inline fr_slice fr_slice_text(const char *text)
{
    return (fr_slice){(const uint8_t *)text, text == NULL ? 0 : strlen(text)};
}
static inline bool fr_slice_equal(fr_slice a, fr_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
/** Bytewise order, a prefix before its extensions. */
static inline int fr_slice_compare(fr_slice a, fr_slice b)
{
    size_t size = FR_MIN(a.size, b.size);
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}
static inline bool fr_slice_starts_with(fr_slice s, fr_slice prefix)
{
    return s.size >= prefix.size &&
           (prefix.size == 0 || memcmp(s.data, prefix.data, prefix.size) == 0);
}
/** The bytes from `from` on; `from` beyond the end gives the empty slice. */
static inline fr_slice fr_slice_from(fr_slice s, size_t from)
{
    return from >= s.size ? (fr_slice){NULL, 0} : (fr_slice){s.data + from, s.size - from};
}
static inline fr_slice fr_slice_sub(fr_slice s, size_t from, size_t size)
{
    s = fr_slice_from(s, from);
    s.size = FR_MIN(s.size, size);
    return s;
}
/** Index of the first `byte`, or s.size. */
static inline size_t fr_slice_find(fr_slice s, uint8_t byte)
{
    const uint8_t *at = s.size == 0 ? NULL : (const uint8_t *)memchr(s.data, byte, s.size);
    return at == NULL ? s.size : (size_t)(at - s.data);
}

/* ---- arithmetic and byte order --------------------------------------------------------------- */

#define fr_add_overflows(a, b, out) __builtin_add_overflow((a), (b), (out))
#define fr_mul_overflows(a, b, out) __builtin_mul_overflow((a), (b), (out))

static inline uint32_t fr_load_u32le(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t fr_load_u64le(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void fr_store_u32le(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void fr_store_u64le(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline uint32_t fr_load_u32be(const void *p)
{
    return __builtin_bswap32(fr_load_u32le(p));
}
static inline uint64_t fr_load_u64be(const void *p)
{
    return __builtin_bswap64(fr_load_u64le(p));
}
static inline void fr_store_u32be(void *p, uint32_t v)
{
    fr_store_u32le(p, __builtin_bswap32(v));
}
static inline void fr_store_u64be(void *p, uint64_t v)
{
    fr_store_u64le(p, __builtin_bswap64(v));
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the formats are little-endian and read in place");
