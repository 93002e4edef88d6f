// SPDX-License-Identifier: MIT OR Apache-2.0
// Arbitrary bytes as varint, base32, base58, base64, UTF-8 and time: what decodes, encodes back to
// the same bytes.
#include <fr/codec.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void varints(fr_slice in)
{
    uint64_t value = 0;
    uint8_t bytes[FR_VARINT_MAX_BYTES];
    size_t used = fr_varint_decode(in, 10, &value);
    if (used > 0) {
        require(fr_varint_encode(value, bytes) == used && memcmp(bytes, in.data, used) == 0);
        require((fr_varint_decode(in, 9, &value) > 0) == (used <= 9));
    }
}

static void bases(fr_slice in, uint8_t *bytes, char *text)
{
    size_t size = 0;
    if (fr_base32_decode(in, bytes, in.size, &size, NULL) == FR_OK) {
        require(fr_base32_encode(fr_slice_of(bytes, size), text) == in.size &&
                memcmp(text, in.data, in.size) == 0);
    }
    for (int url = 0; url <= 1; url++) {
        if (fr_base64_decode(in, url != 0, bytes, in.size, &size, NULL) == FR_OK) {
            size_t letters = fr_base64_encode(fr_slice_of(bytes, size), url != 0, text);
            require(letters <= in.size && in.size - letters <= 2 &&
                    memcmp(text, in.data, letters) == 0);
        }
    }
    if (fr_base58_decode(in, bytes, in.size, &size, NULL) == FR_OK) {
        size_t letters = fr_base58_encode(fr_slice_of(bytes, size), text, in.size);
        require(letters == in.size && memcmp(text, in.data, in.size) == 0);
    }
    size_t letters = fr_base32_encode(in, text);
    require(fr_base32_decode(fr_slice_of(text, letters), bytes, in.size, &size, NULL) == FR_OK);
    require(size == in.size && memcmp(bytes, in.data, size) == 0);
}

static void times(fr_slice in)
{
    int64_t us = 0, back = 0;
    char text[28];
    if (fr_time_parse(in, &us)) {
        size_t size = fr_time_format(us, 6, text);
        require(size == 27 && fr_time_parse(fr_slice_of(text, size), &back) && back == us);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    char *text = malloc(size * 2 + 2);
    if (bytes != NULL && text != NULL && size > 0) {
        fr_slice in = fr_slice_of(data, size);
        size_t bad_at = size;
        varints(in);
        bases(in, bytes, text);
        times(in);
        require(fr_utf8_valid(in, &bad_at) == (bad_at == size));
    }
    free(text);
    free(bytes);
    return 0;
}
