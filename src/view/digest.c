// SPDX-License-Identifier: MIT OR Apache-2.0
// A sum of row hashes modulo 2^128: the order of rows does not matter, and a row that goes is
// subtracted.
#include <fr/codec.h>
#include <fr/view.h>
#include <stdio.h>

static void add(fr_digest *digest, uint64_t lo, uint64_t hi)
{
    uint64_t carry = fr_add_overflows(digest->lo, lo, &digest->lo);
    digest->hi += hi + carry;
}

fr_status fr_digest_row_init(fr_buffer *row, size_t max_size, fr_error *err)
{
    fr_buffer_init(row, max_size);
    return fr_buffer_reserve(row, max_size) == NULL
               ? fr_fail(err, FR_NOMEM, "view: no memory for a row")
               : FR_OK;
}

void fr_digest_add(fr_digest *digest, fr_slice row)
{
    fr_u128 hash = fr_xxh3_128(row);
    add(digest, hash.lo, hash.hi);
}

void fr_digest_subtract(fr_digest *digest, fr_slice row)
{
    fr_u128 hash = fr_xxh3_128(row);
    add(digest, ~hash.lo + 1, ~hash.hi + (hash.lo == 0));
}

void fr_digest_format(const fr_digest *digest, char out[FR_DIGEST_TEXT_BYTES + 1])
{
    snprintf(out, FR_DIGEST_TEXT_BYTES + 1, "%02x%016llx%016llx", FR_DIGEST_VERSION,
             (unsigned long long)digest->hi, (unsigned long long)digest->lo);
}
