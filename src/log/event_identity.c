// SPDX-License-Identifier: MIT OR Apache-2.0
/* The key of account and identity events. SHA-256 and not a fast hash: whoever could make two
 * events collide could have another account's deletion taken for a duplicate. There are few of
 * them, so the 300 ns do not count. */
#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/event.h>

enum { KEYED_BY_SEQ = 1, KEYED_BY_CONTENT = 2 };

fr_status fr_event_identity_key(const fr_event *event, uint8_t out[16])
{
    if ((event->kind != FR_EVENT_ACCOUNT && event->kind != FR_EVENT_IDENTITY) ||
        event->did.size > FR_DID_MAX_BYTES) {
        return FR_INVALID;
    }
    int64_t inner_seq = 0;
    bool has_seq = fr_cbor_get_int(event->body, "seq", &inner_seq) == FR_OK;
    fr_slice content = event->body;
    if (has_seq && fr_cbor_get_text(event->body, "time", &content) != FR_OK) {
        content = (fr_slice){NULL, 0};
    }
    uint8_t head[2 + 8 + FR_SHA256_BYTES];
    head[0] = (uint8_t)event->kind;
    head[1] = has_seq ? KEYED_BY_SEQ : KEYED_BY_CONTENT;
    fr_store_u64le(head + 2, has_seq ? (uint64_t)inner_seq : event->time_us);
    fr_sha256(content, head + 10);
    uint8_t digest[FR_SHA256_BYTES];
    fr_sha256_2(fr_slice_of(head, sizeof head), event->did, digest);
    memcpy(out, digest, 16);
    return FR_OK;
}
