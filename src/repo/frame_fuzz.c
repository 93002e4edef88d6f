// SPDX-License-Identifier: MIT OR Apache-2.0
// A frame through decoding and, when it is a commit with prevData, inversion. One reader for the
// life of the process, as a stream has it: a frame must leave nothing behind.
#include <fr/repo.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fr_frame_reader *reader;
    fr_error err = {0};
    if (reader == NULL && fr_frame_reader_new(&reader, &err) != FR_OK) {
        return 0;
    }
    fr_frame frame;
    fr_frame_type peeked = FR_FRAME_UNKNOWN;
    fr_slice did = {0};
    size_t hint = 0;
    bool seen = fr_frame_peek(fr_slice_of(data, size), &peeked, &did);
    fr_status status = fr_frame_decode(reader, fr_slice_of(data, size), &frame, &hint, &err);
    if (hint < 1 || hint > FR_FRAME_OPS_MAX) {
        abort();
    }
    if (status != FR_OK) {
        if (err.code == NULL || err.offset > size) {
            abort();
        }
        return 0;
    }
    if (frame.did.size != 0 && (!seen || peeked != frame.type || !fr_slice_equal(did, frame.did))) {
        abort(); /* who needs the key of a frame must have been told */
    }
    if (frame.type == FR_FRAME_COMMIT) {
        if (frame.op_count > FR_FRAME_OPS_MAX) {
            abort();
        }
        status = fr_frame_invert(reader, &frame, &err);
        if (status != FR_OK && status != FR_NOT_FOUND && (err.code == NULL || err.offset > size)) {
            abort();
        }
    }
    return 0;
}
