// SPDX-License-Identifier: MIT OR Apache-2.0
// A commit block through the parser; what it accepts has legal fields that lie in the input.
#include <fr/repo.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(fr_slice part, const uint8_t *data, size_t size)
{
    return part.data >= data && part.size <= size && (size_t)(part.data - data) <= size - part.size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fr_commit commit;
    fr_error err = {0};
    fr_status status = fr_commit_parse(fr_slice_of(data, size), &commit, &err);
    if (status != FR_OK) {
        if (err.code == NULL || err.offset > size) {
            abort();
        }
        return 0;
    }
    if (!inside(commit.did, data, size) || !inside(commit.signature, data, size) ||
        commit.signature.size != 64 || commit.data_offset >= size || !fr_did_valid(commit.did)) {
        abort();
    }
    fr_public_key key = {.curve = FR_CURVE_K256, .point = {2, [32] = 1}};
    (void)!fr_commit_verify(&commit, &key, &err);
    return 0;
}
