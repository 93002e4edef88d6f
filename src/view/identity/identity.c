// SPDX-License-Identifier: MIT OR Apache-2.0
// Two chains an account, newest first: its statuses and its handles; and one chain a handle: who
// claimed it.
//
//   cells[uid] -> { status, handle } -> version{seq, prev, …} -> version -> …
//   claims[handle id] ----------------> version{seq, prev, uid}
//
// Versions are never changed or removed, so a reader as of sequence S walks to the first one at or
// below S. Changes are rare: an account has none or one of each.
#include <fr/cbor.h>
#include <fr/codec.h>
#include <fr/identity.h>
#include <fr/rcu.h>
#include <stdlib.h>

enum {
    PAGE_BITS = 12,
    PAGE_SIZE = 1 << PAGE_BITS,
    CELL_PAGES = 1 << 19,
    VERSION_PAGES = 1 << 18,
    ROW_MAX_BYTES = 4096
};

typedef struct {
    uint64_t seq;
    uint64_t time_us; /* handles: the inner time of the event */
    uint32_t prev;    /* version + 1, 0: none */
    uint32_t value;   /* a status, a handle id, or a uid */
} version;

typedef struct {
    uint32_t status; /* version + 1; atomics */
    uint32_t handle;
} cell;

struct fr_identity {
    fr_view_context context;
    cell **cells;      /* by uid; pages are released when made */
    uint32_t **claims; /* by handle id */
    version **versions;
    uint32_t version_count; /* owned(writer) */
    uint32_t uid_end;       /* one more than the largest uid with a cell */
    fr_dict *handles;
    fr_digest digest;
    uint64_t seq;
    fr_frozen frozen;
    uint32_t frozen_end; /* uid_end at that time */
    uint64_t accounts;   /* atomic */
    uint64_t bytes;      /* atomic */
    fr_buffer row;
};

/* ---- pages ----------------------------------------------------------------------------------- */

static void *page_of(void **pages, uint32_t index, size_t item_bytes, uint64_t *bytes)
{
    void **page = &pages[index >> PAGE_BITS];
    if (*page == NULL) {
        void *fresh = calloc(PAGE_SIZE, item_bytes);
        __atomic_store_n(page, fresh, __ATOMIC_RELEASE); /* pairs with find_page */
        __atomic_add_fetch(bytes, fresh == NULL ? 0 : PAGE_SIZE * item_bytes, __ATOMIC_RELAXED);
    }
    return *page;
}

static void *find_page(void **pages, uint32_t index)
{
    return __atomic_load_n(&pages[index >> PAGE_BITS], __ATOMIC_ACQUIRE); /* pairs with page_of */
}

static const version *version_at(const fr_identity *identity, uint32_t link)
{
    const version *page = find_page((void **)identity->versions, link - 1);
    return &page[(link - 1) & (PAGE_SIZE - 1)];
}

/** The newest version at or below the sequence, NULL when there is none. */
static const version *as_of(const fr_identity *identity, const uint32_t *head, uint64_t seq)
{
    /* pairs with push */
    for (uint32_t link = __atomic_load_n(head, __ATOMIC_ACQUIRE); link != 0;) {
        const version *v = version_at(identity, link);
        if (v->seq <= seq) {
            return v;
        }
        link = v->prev;
    }
    return NULL;
}

static const cell *cell_at(const fr_identity *identity, uint32_t uid)
{
    const cell *page = find_page((void **)identity->cells, uid);
    return page == NULL ? NULL : &page[uid & (PAGE_SIZE - 1)];
}

/* ---- reading --------------------------------------------------------------------------------- */

fr_account_status fr_identity_status(const fr_identity *identity, uint32_t uid, uint64_t as_of_seq)
{
    const cell *c = cell_at(identity, uid);
    const version *v = c == NULL ? NULL : as_of(identity, &c->status, as_of_seq);
    return v == NULL ? FR_ACCOUNT_ACTIVE : (fr_account_status)v->value;
}

fr_slice fr_identity_handle(const fr_identity *identity, uint32_t uid, uint64_t as_of_seq)
{
    const cell *c = cell_at(identity, uid);
    const version *v = c == NULL ? NULL : as_of(identity, &c->handle, as_of_seq);
    return v == NULL ? (fr_slice){NULL, 0} : fr_dict_text(identity->handles, v->value);
}

static bool fold_case(fr_slice handle, uint8_t room[FR_HANDLE_MAX_BYTES], fr_slice *out)
{
    if (handle.size > FR_HANDLE_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < handle.size; i++) {
        uint8_t letter = handle.data[i];
        room[i] = letter >= 'A' && letter <= 'Z' ? (uint8_t)(letter + 'a' - 'A') : letter;
    }
    *out = fr_slice_of(room, handle.size);
    return true;
}

uint32_t fr_identity_by_handle(const fr_identity *identity, fr_slice handle, uint64_t as_of_seq)
{
    uint8_t room[FR_HANDLE_MAX_BYTES];
    fr_slice folded;
    uint32_t id = fold_case(handle, room, &folded) ? fr_dict_find(identity->handles, folded) : 0;
    const uint32_t *page = id == 0 ? NULL : find_page((void **)identity->claims, id);
    if (page == NULL) {
        return 0;
    }
    for (uint32_t link = __atomic_load_n(&page[id & (PAGE_SIZE - 1)], __ATOMIC_ACQUIRE);
         link != 0;) {
        const version *claim = version_at(identity, link);
        link = claim->prev;
        const cell *c = cell_at(identity, claim->value);
        const version *held = c == NULL ? NULL : as_of(identity, &c->handle, as_of_seq);
        if (claim->seq <= as_of_seq && held != NULL && held->value == id) {
            return claim->value;
        }
    }
    return 0;
}

uint64_t fr_identity_account_count(const fr_identity *identity)
{
    return __atomic_load_n(&identity->accounts, __ATOMIC_RELAXED);
}

/* ---- folding --------------------------------------------------------------------------------- */

static fr_status push(fr_identity *identity, uint32_t *head, version fresh, fr_error *err)
{
    uint32_t index = identity->version_count;
    if (index >= (uint32_t)VERSION_PAGES << PAGE_BITS) {
        return fr_fail(err, FR_LIMIT, "identity: too many changes");
    }
    version *page = page_of((void **)identity->versions, index, sizeof *page, &identity->bytes);
    if (page == NULL) {
        return fr_fail(err, FR_NOMEM, "identity: no memory");
    }
    fresh.prev = *head;
    page[index & (PAGE_SIZE - 1)] = fresh;
    identity->version_count++;
    __atomic_store_n(head, index + 1, __ATOMIC_RELEASE); /* pairs with as_of */
    return FR_OK;
}

static fr_status own_cell(fr_identity *identity, uint32_t uid, cell **out, fr_error *err)
{
    cell *page = page_of((void **)identity->cells, uid, sizeof *page, &identity->bytes);
    if (page == NULL) {
        return fr_fail(err, FR_NOMEM, "identity: no memory");
    }
    *out = &page[uid & (PAGE_SIZE - 1)];
    identity->uid_end = FR_MAX(identity->uid_end, uid + 1);
    if ((*out)->status == 0 && (*out)->handle == 0) {
        __atomic_store_n(&identity->accounts, identity->accounts + 1, __ATOMIC_RELAXED);
    }
    return FR_OK;
}

/** One logical row: DID, what, value. */
static void put_row(fr_identity *identity, uint32_t uid, const char *what, fr_slice value)
{
    char room[FR_DID_PLC_BYTES];
    fr_buffer_reset(&identity->row);
    fr_digest_row_field(&identity->row, fr_ids_did(identity->context.ids, uid, room));
    fr_digest_row_field(&identity->row, fr_slice_text(what));
    fr_buffer_slice(&identity->row, value);
}

static void count_status(fr_identity *identity, uint32_t uid, fr_account_status status, bool more,
                         fr_digest *digest)
{
    uint8_t text = (uint8_t)('0' + status);
    if (status == FR_ACCOUNT_ACTIVE) {
        return; /* as if never told */
    }
    put_row(identity, uid, "status", fr_slice_of(&text, 1));
    (more ? fr_digest_add : fr_digest_subtract)(digest, fr_buffer_view(&identity->row));
}

static void count_handle(fr_identity *identity, uint32_t uid, fr_slice handle, bool more,
                         fr_digest *digest)
{
    put_row(identity, uid, "handle", handle);
    (more ? fr_digest_add : fr_digest_subtract)(digest, fr_buffer_view(&identity->row));
}

static fr_status set_status(fr_identity *identity, uint32_t uid, uint64_t seq,
                            fr_account_status from, fr_account_status to, fr_error *err)
{
    cell *c = NULL;
    FR_TRY(own_cell(identity, uid, &c, err));
    FR_TRY(push(identity, &c->status, (version){.seq = seq, .value = to}, err));
    count_status(identity, uid, from, false, &identity->digest);
    count_status(identity, uid, to, true, &identity->digest);
    return FR_OK;
}

static fr_status set_handle(fr_identity *identity, uint32_t uid, uint64_t seq, uint64_t time_us,
                            fr_slice handle, fr_error *err)
{
    cell *c = NULL;
    uint32_t id = 0;
    FR_TRY(own_cell(identity, uid, &c, err));
    FR_TRY(fr_dict_intern(identity->handles, handle, &id, err));
    uint32_t *claims = page_of((void **)identity->claims, id, sizeof *claims, &identity->bytes);
    if (claims == NULL) {
        return fr_fail(err, FR_NOMEM, "identity: no memory");
    }
    const version *was = c->handle == 0 ? NULL : version_at(identity, c->handle);
    if (was != NULL) {
        count_handle(identity, uid, fr_dict_text(identity->handles, was->value), false,
                     &identity->digest);
    }
    FR_TRY(push(identity, &c->handle, (version){.seq = seq, .time_us = time_us, .value = id}, err));
    FR_TRY(push(identity, &claims[id & (PAGE_SIZE - 1)], (version){.seq = seq, .value = uid}, err));
    count_handle(identity, uid, handle, true, &identity->digest);
    return FR_OK;
}

static fr_status apply_identity(fr_identity *identity, const fr_fact *fact, fr_error *err)
{
    const fr_event *event = fact->event;
    uint8_t room[FR_HANDLE_MAX_BYTES];
    fr_slice handle;
    fr_slice time = {NULL, 0};
    int64_t us = 0;
    if (event->body_format == FR_BODY_JSON ||
        fr_cbor_get_text(event->body, "handle", &handle) != FR_OK ||
        !fold_case(handle, room, &handle) || !fr_handle_valid(handle)) {
        return FR_OK; /* says that something changed, not what */
    }
    bool timed = fr_cbor_get_text(event->body, "time", &time) == FR_OK &&
                 fr_time_parse(time, &us) && us >= 0;
    uint64_t time_us = timed ? (uint64_t)us : event->time_us;
    const cell *c = cell_at(identity, fact->uid);
    const version *was = c == NULL || c->handle == 0 ? NULL : version_at(identity, c->handle);
    if (was != NULL && time_us < was->time_us) {
        return FR_OK; /* late */
    }
    time_us = FR_MIN(time_us, event->time_us); /* a claim of a time to come is not the last one */
    return set_handle(identity, fact->uid, event->seq, time_us, handle, err);
}

static fr_status identity_apply(void *view, const fr_fact *facts, size_t count, fr_error *err)
{
    fr_identity *identity = view;
    for (size_t i = 0; i < count; i++) {
        const fr_fact *fact = &facts[i];
        if (fact->event->seq <= identity->seq) {
            continue;
        }
        if (fact->status_before != fact->status_after) {
            FR_TRY(set_status(identity, fact->uid, fact->event->seq, fact->status_before,
                              fact->status_after, err));
        }
        if (fact->event->kind == FR_EVENT_IDENTITY) {
            FR_TRY(apply_identity(identity, fact, err));
        }
        identity->seq = fact->event->seq;
    }
    return FR_OK;
}

static void identity_publish(void *view, uint64_t seq)
{
    (void)view; /* readers compare with the sequence they bring */
    (void)seq;
}

/* ---- saving ---------------------------------------------------------------------------------- */

enum { ROW_BYTES = 4 + 4 + 8 + 8 + 8 + 2, NO_STATUS = 0xff };

static fr_status save_account(fr_identity *identity, fr_saver *saver, uint32_t uid,
                              const version *status, const version *held, fr_error *err)
{
    uint8_t row[ROW_BYTES] = {0};
    fr_slice handle =
        held == NULL ? (fr_slice){NULL, 0} : fr_dict_text(identity->handles, held->value);
    fr_store_u32le(row, uid);
    fr_store_u32le(row + 4, status == NULL ? NO_STATUS : status->value);
    fr_store_u64le(row + 8, status == NULL ? 0 : status->seq);
    fr_store_u64le(row + 16, held == NULL ? 0 : held->seq);
    fr_store_u64le(row + 24, held == NULL ? 0 : held->time_us);
    row[32] = (uint8_t)handle.size;
    row[33] = (uint8_t)(handle.size >> 8);
    FR_TRY(fr_saver_put(saver, row, sizeof row, err));
    return fr_saver_put(saver, handle.data, handle.size, err);
}

static fr_status save_all(void *view, fr_saver *saver, fr_error *err)
{
    fr_identity *identity = view;
    uint64_t seq = identity->frozen.seq;
    for (uint32_t uid = 0; uid < identity->frozen_end; uid++) {
        const cell *c = cell_at(identity, uid);
        if (c == NULL) {
            uid |= PAGE_SIZE - 1;
            continue;
        }
        const version *status = as_of(identity, &c->status, seq);
        const version *held = as_of(identity, &c->handle, seq);
        if (status != NULL || held != NULL) {
            FR_TRY(save_account(identity, saver, uid, status, held, err));
        }
    }
    return FR_OK;
}

static fr_status identity_freeze(void *view, uint64_t seq, fr_error *err)
{
    fr_identity *identity = view;
    (void)err;
    identity->frozen = (fr_frozen){seq, identity->digest};
    identity->frozen_end = identity->uid_end;
    return FR_OK;
}

static fr_status identity_write(void *view, fr_error *err)
{
    fr_identity *identity = view;
    return fr_state_save(&identity->context, &identity->frozen, save_all, identity, err);
}

typedef struct {
    uint64_t seq, time_us;
    uint32_t uid;
    fr_slice handle;
} claim_row;

static int by_seq(const void *a, const void *b)
{
    uint64_t left = ((const claim_row *)a)->seq;
    uint64_t right = ((const claim_row *)b)->seq;
    return (left > right) - (left < right);
}

typedef struct {
    claim_row *rows;
    size_t count, room;
} claim_rows;

static fr_status load_account(fr_identity *identity, fr_loader *loader, claim_rows *claims,
                              fr_error *err)
{
    uint8_t row[ROW_BYTES];
    FR_TRY(fr_loader_get(loader, row, sizeof row, err));
    claim_row claim = {.seq = fr_load_u64le(row + 16),
                       .time_us = fr_load_u64le(row + 24),
                       .uid = fr_load_u32le(row)};
    uint32_t status = fr_load_u32le(row + 4);
    FR_TRY(fr_loader_view(loader, row[32] | (size_t)row[33] << 8, &claim.handle, err));
    if (claim.uid >= (uint32_t)CELL_PAGES << PAGE_BITS ||
        (status > FR_ACCOUNT_DELETED && status != NO_STATUS)) {
        return fr_fail(err, FR_CORRUPT, "identity: bad row in the checkpoint");
    }
    if (status != NO_STATUS) {
        FR_TRY(set_status(identity, claim.uid, fr_load_u64le(row + 8), FR_ACCOUNT_ACTIVE,
                          (fr_account_status)status, err));
    }
    if (claim.handle.size == 0) {
        return FR_OK;
    }
    if (claims->count == claims->room) {
        size_t room = FR_MAX((size_t)1024, claims->room * 2);
        claim_row *bigger = realloc(claims->rows, room * sizeof *bigger);
        if (bigger == NULL) {
            return fr_fail(err, FR_NOMEM, "identity: no memory");
        }
        claims->rows = bigger;
        claims->room = room;
    }
    claims->rows[claims->count++] = claim;
    return FR_OK;
}

/** Handles are claimed again in log order, so that the latest claim is the newest once more. */
static fr_status load_all(fr_identity *identity, fr_loader *loader, fr_error *err)
{
    claim_rows claims = {0};
    fr_status status = FR_OK;
    while (status == FR_OK && !fr_loader_at_end(loader)) {
        status = load_account(identity, loader, &claims, err);
    }
    if (claims.count != 0) {
        qsort(claims.rows, claims.count, sizeof *claims.rows, by_seq);
    }
    for (size_t i = 0; i < claims.count && status == FR_OK; i++) {
        const claim_row *row = &claims.rows[i];
        status = set_handle(identity, row->uid, row->seq, row->time_us, row->handle, err);
    }
    free(claims.rows);
    return status;
}

static fr_status restore(fr_identity *identity, fr_error *err)
{
    fr_loader *loader = NULL;
    fr_digest digest;
    if (identity->context.dir == NULL) {
        return FR_OK;
    }
    fr_status status = fr_loader_open(&loader, identity->context.os, identity->context.dir, "state",
                                      &identity->seq, &digest, err);
    if (status == FR_NOT_FOUND) {
        return FR_OK;
    }
    FR_TRY(status);
    status = load_all(identity, loader, err);
    fr_loader_close(loader);
    /* rows were added up on the way, but their texts need ids that come later */
    identity->digest = digest;
    return status;
}

static fr_status deep_digest(fr_identity *identity, fr_digest *out)
{
    *out = (fr_digest){0};
    for (uint32_t uid = 0; uid < identity->uid_end; uid++) {
        count_status(identity, uid, fr_identity_status(identity, uid, UINT64_MAX), true, out);
        fr_slice handle = fr_identity_handle(identity, uid, UINT64_MAX);
        if (handle.size != 0) {
            count_handle(identity, uid, handle, true, out);
        }
    }
    return FR_OK;
}

static fr_status identity_digest(void *view, bool deep, fr_digest *out, fr_error *err)
{
    fr_identity *identity = view;
    (void)err;
    *out = identity->digest;
    return deep ? deep_digest(identity, out) : FR_OK;
}

static uint64_t identity_bytes(void *view)
{
    const fr_identity *identity = view;
    return __atomic_load_n(&identity->bytes, __ATOMIC_RELAXED) + fr_dict_bytes(identity->handles);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void free_pages(void **pages, size_t count)
{
    for (size_t i = 0; pages != NULL && i < count; i++) {
        free(pages[i]);
    }
    free(pages);
}

static void identity_close(void *view)
{
    fr_identity *identity = view;
    if (identity != NULL) {
        free_pages((void **)identity->cells, CELL_PAGES);
        free_pages((void **)identity->claims, CELL_PAGES);
        free_pages((void **)identity->versions, VERSION_PAGES);
        fr_dict_free(identity->handles);
        fr_buffer_done(&identity->row);
        free(identity);
    }
}

static fr_status identity_open(void **view, const fr_view_context *context, uint64_t *seq,
                               fr_error *err)
{
    fr_identity *identity = calloc(1, sizeof *identity);
    if (identity == NULL) {
        return fr_fail(err, FR_NOMEM, "identity: no memory");
    }
    identity->context = *context;
    identity->cells = calloc(CELL_PAGES, sizeof *identity->cells);
    identity->claims = calloc(CELL_PAGES, sizeof *identity->claims);
    identity->versions = calloc(VERSION_PAGES, sizeof *identity->versions);
    bool room = identity->cells != NULL && identity->claims != NULL && identity->versions != NULL;
    fr_status status =
        room ? fr_dict_new(&identity->handles, err) : fr_fail(err, FR_NOMEM, "identity: no memory");
    status = status == FR_OK ? fr_digest_row_init(&identity->row, ROW_MAX_BYTES, err) : status;
    status = status == FR_OK ? restore(identity, err) : status;
    if (status != FR_OK) {
        identity_close(identity);
        return status;
    }
    *seq = identity->seq;
    *view = identity;
    return FR_OK;
}

const fr_view_ops fr_identity_ops = {
    .name = "identity",
    .open = identity_open,
    .close = identity_close,
    .apply = identity_apply,
    .publish = identity_publish,
    .freeze = identity_freeze,
    .write = identity_write,
    .digest = identity_digest,
    .saved = fr_state_saved,
    .bytes = identity_bytes,
};
