// SPDX-License-Identifier: MIT OR Apache-2.0
// The file of a large network has hundreds of megabytes, more than a JSON parser should hold, and a
// run needs the keys of those whose commits it sees. So the outer map is only split: strings and
// brackets are followed, no value is judged. A document is parsed, and then judged in full, when
// its DID first asks.
#include "did_keys.h"

#include <fr/codec.h>
#include <fr/os.h>
#include <stdlib.h>

typedef enum { KEY_UNREAD = 0, KEY_USABLE, KEY_NONE } key_state;

typedef struct {
    fr_slice did; /* empty: a free slot */
    fr_slice document;
    fr_public_key key;
    key_state state;
} key_slot;

struct did_keys {
    fr_slice map;
    key_slot *slots;
    size_t count, mask;
};

/* ---- splitting ------------------------------------------------------------------------------- */

typedef struct {
    fr_slice in;
    size_t at;
    fr_error *err;
} splitter;

static fr_status split_fail(const splitter *s, const char *text)
{
    return fr_fail_code(s->err, FR_MALFORMED, s->at, "did-docs", text);
}

static void skip_space(splitter *s)
{
    while (s->at < s->in.size && (s->in.data[s->at] == ' ' || s->in.data[s->at] == '\n' ||
                                  s->in.data[s->at] == '\t' || s->in.data[s->at] == '\r')) {
        s->at++;
    }
}

static bool take_byte(splitter *s, uint8_t byte)
{
    skip_space(s);
    bool there = s->at < s->in.size && s->in.data[s->at] == byte;
    s->at += there;
    return there;
}

/** From behind the opening quote to behind the closing one. */
static fr_status take_string(splitter *s, fr_slice *out)
{
    size_t start = s->at;
    while (s->at < s->in.size && s->in.data[s->at] != '"') {
        s->at += s->in.data[s->at] == '\\' ? 2 : 1;
    }
    if (s->at >= s->in.size) {
        s->at = s->in.size;
        return split_fail(s, "did-docs: a string does not end");
    }
    *out = fr_slice_of(s->in.data + start, s->at - start);
    s->at++;
    return FR_OK;
}

/** From behind the opening brace to behind the one that closes it. */
static fr_status take_document(splitter *s)
{
    size_t depth = 1;
    fr_slice text;
    while (depth != 0) {
        if (s->at >= s->in.size) {
            return split_fail(s, "did-docs: a document does not end");
        }
        uint8_t byte = s->in.data[s->at++];
        if (byte == '"') {
            FR_TRY(take_string(s, &text));
        }
        depth += byte == '{' || byte == '[';
        depth -= byte == '}' || byte == ']';
    }
    return FR_OK;
}

fr_status did_keys_split(fr_slice json,
                         fr_status (*each)(void *context, fr_slice did, fr_slice document),
                         void *context, fr_error *err)
{
    splitter s = {.in = json, .err = err};
    if (!take_byte(&s, '{')) {
        return split_fail(&s, "did-docs: not a JSON map");
    }
    for (bool more = !take_byte(&s, '}'); more;) {
        fr_slice did;
        if (!take_byte(&s, '"')) {
            return split_fail(&s, "did-docs: expected a DID in quotes");
        }
        FR_TRY(take_string(&s, &did));
        if (!take_byte(&s, ':') || !take_byte(&s, '{')) {
            return split_fail(&s, "did-docs: expected a document behind its DID");
        }
        size_t start = s.at - 1;
        FR_TRY(take_document(&s));
        FR_TRY(each(context, did, fr_slice_of(json.data + start, s.at - start)));
        more = take_byte(&s, ',');
        if (!more && !take_byte(&s, '}')) {
            return split_fail(&s, "did-docs: expected a comma or the end");
        }
    }
    skip_space(&s);
    return s.at == json.size ? FR_OK : split_fail(&s, "did-docs: bytes behind the map");
}

/* ---- the table ------------------------------------------------------------------------------- */

static key_slot *slot_of(key_slot *slots, size_t mask, fr_slice did)
{
    size_t i = fr_xxh3_64(did) & mask;
    while (slots[i].did.size != 0 && !fr_slice_equal(slots[i].did, did)) {
        i = (i + 1) & mask;
    }
    return &slots[i];
}

static fr_status grow(did_keys *keys)
{
    size_t mask = keys->slots == NULL ? 255 : keys->mask * 2 + 1;
    key_slot *slots = calloc(mask + 1, sizeof *slots);
    if (slots == NULL) {
        return FR_NOMEM;
    }
    for (size_t i = 0; keys->slots != NULL && i <= keys->mask; i++) {
        if (keys->slots[i].did.size != 0) {
            *slot_of(slots, mask, keys->slots[i].did) = keys->slots[i];
        }
    }
    free(keys->slots);
    keys->slots = slots;
    keys->mask = mask;
    return FR_OK;
}

static fr_status add_document(void *context, fr_slice did, fr_slice document)
{
    did_keys *keys = context;
    if (did.size == 0) {
        return FR_OK;
    }
    if (keys->slots == NULL || (keys->count + 1) * 5 > (keys->mask + 1) * 3) {
        FR_TRY(grow(keys));
    }
    key_slot *slot = slot_of(keys->slots, keys->mask, did);
    keys->count += slot->did.size == 0;
    *slot = (key_slot){.did = did, .document = document};
    return FR_OK;
}

static fr_status map_file(did_keys *keys, const char *path, fr_error *err)
{
    fr_cleanup(fr_file_closep) fr_file *file = NULL;
    uint64_t size = 0;
    FR_TRY(fr_file_open(&file, fr_os_real(), path, FR_OPEN_READ, err));
    FR_TRY(fr_file_size(file, &size, err));
    return size == 0 ? FR_OK : fr_file_map(file, size, &keys->map, err);
}

fr_status did_keys_open(did_keys **out, const char *path, fr_error *err)
{
    did_keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL) {
        return fr_fail(err, FR_NOMEM, "did-docs: no memory");
    }
    fr_status status = map_file(keys, path, err);
    if (status == FR_OK) {
        status = did_keys_split(keys->map, add_document, keys, err);
    }
    if (status != FR_OK) {
        did_keys_close(keys);
        return status == FR_NOMEM ? fr_fail(err, FR_NOMEM, "did-docs: no memory") : status;
    }
    *out = keys;
    return FR_OK;
}

void did_keys_close(did_keys *keys)
{
    if (keys != NULL) {
        if (keys->map.size != 0) {
            fr_file_unmap(fr_os_real(), keys->map);
        }
        free(keys->slots);
        free(keys);
    }
}

static bool read_document(const key_slot *slot, fr_did_doc *out)
{
    return fr_did_doc_parse(slot->document, out, NULL) == FR_OK &&
           fr_slice_equal(fr_slice_text(out->did), slot->did);
}

bool did_keys_read(const did_keys *keys, fr_slice did, fr_did_doc *out)
{
    if (keys == NULL || keys->slots == NULL) {
        return false;
    }
    const key_slot *slot = slot_of(keys->slots, keys->mask, did);
    return slot->did.size != 0 && read_document(slot, out);
}

static void read_key(key_slot *slot)
{
    fr_did_doc document;
    bool usable = read_document(slot, &document);
    slot->state = usable ? KEY_USABLE : KEY_NONE;
    if (usable) {
        slot->key = document.key;
    }
}

const fr_public_key *did_keys_find(did_keys *keys, fr_slice did)
{
    if (keys == NULL || keys->slots == NULL) {
        return NULL;
    }
    key_slot *slot = slot_of(keys->slots, keys->mask, did);
    if (slot->did.size == 0) {
        return NULL;
    }
    if (slot->state == KEY_UNREAD) {
        read_key(slot);
    }
    return slot->state == KEY_USABLE ? &slot->key : NULL;
}
