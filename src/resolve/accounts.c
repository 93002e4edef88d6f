// SPDX-License-Identifier: MIT OR Apache-2.0
// Pages by uid, made when first needed: most accounts never have an entry, and a network whose
// every account came as a CAR has them densely. Pages never move, and the list of them is replaced
// whole, so that other threads may look up a floor while the writer adds accounts.
#include "accounts.h"

#include <fr/rcu.h>
#include <stdlib.h>

enum { PAGE_ACCOUNTS = 256 };

typedef struct {
    size_t room;
    fr_account *pages[]; /* rcu: NULL, or published for good */
} page_list;

struct fr_accounts {
    page_list *list; /* rcu */
    uint32_t *touched;
    size_t touched_count, touched_room;
};

fr_status fr_accounts_new(fr_accounts **out, fr_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out == NULL ? fr_fail(err, FR_NOMEM, "resolver: no memory for accounts") : FR_OK;
}

void fr_accounts_free(fr_accounts *accounts)
{
    if (accounts == NULL) {
        return;
    }
    for (size_t i = 0; accounts->list != NULL && i < accounts->list->room; i++) {
        free(accounts->list->pages[i]);
    }
    free(accounts->list);
    free(accounts->touched);
    free(accounts);
}

const fr_account *fr_accounts_find(const fr_accounts *accounts, uint32_t uid)
{
    size_t number = uid / PAGE_ACCOUNTS;
    const page_list *list = fr_rcu_load(&accounts->list);
    const fr_account *page =
        list == NULL || number >= list->room ? NULL : fr_rcu_load(&list->pages[number]);
    return page == NULL ? NULL : &page[uid % PAGE_ACCOUNTS];
}

static fr_status make_page(fr_accounts *accounts, size_t page, fr_error *err)
{
    page_list *list = accounts->list;
    if (list == NULL || page >= list->room) {
        size_t old = list == NULL ? 0 : list->room, room = FR_MAX(page + 1, old * 2);
        page_list *bigger = calloc(1, sizeof *bigger + room * sizeof(fr_account *));
        if (bigger == NULL) {
            return fr_fail(err, FR_NOMEM, "resolver: no memory for accounts");
        }
        bigger->room = room;
        memcpy(bigger->pages, list == NULL ? bigger->pages : list->pages,
               old * sizeof(fr_account *));
        fr_rcu_store(&accounts->list, bigger);
        if (list != NULL) {
            fr_rcu_retire(list, free);
        }
        list = bigger;
    }
    if (list->pages[page] == NULL) {
        fr_account *made = calloc(PAGE_ACCOUNTS, sizeof(fr_account));
        if (made == NULL) {
            return fr_fail(err, FR_NOMEM, "resolver: no memory for accounts");
        }
        fr_rcu_store(&list->pages[page], made);
    }
    return FR_OK;
}

fr_status fr_accounts_touch(fr_accounts *accounts, uint32_t uid, fr_account **out, fr_error *err)
{
    FR_TRY(make_page(accounts, uid / PAGE_ACCOUNTS, err));
    fr_account *account = &accounts->list->pages[uid / PAGE_ACCOUNTS][uid % PAGE_ACCOUNTS];
    if (!account->touched) {
        if (accounts->touched_count == accounts->touched_room) {
            size_t room = FR_MAX((size_t)64, accounts->touched_room * 2);
            uint32_t *bigger = realloc(accounts->touched, room * sizeof *bigger);
            if (bigger == NULL) {
                return fr_fail(err, FR_NOMEM, "resolver: no memory for accounts");
            }
            accounts->touched = bigger;
            accounts->touched_room = room;
        }
        accounts->touched[accounts->touched_count++] = uid;
        account->touched = true;
    }
    *out = account;
    return FR_OK;
}

static int by_uid(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

const uint32_t *fr_accounts_touched(fr_accounts *accounts, size_t *count)
{
    *count = accounts->touched_count;
    if (accounts->touched_count != 0) {
        qsort(accounts->touched, accounts->touched_count, sizeof *accounts->touched, by_uid);
    }
    return accounts->touched;
}

void fr_accounts_saved(fr_accounts *accounts)
{
    for (size_t i = 0; i < accounts->touched_count; i++) {
        uint32_t uid = accounts->touched[i];
        accounts->list->pages[uid / PAGE_ACCOUNTS][uid % PAGE_ACCOUNTS].touched = false;
    }
    accounts->touched_count = 0;
}

void fr_account_set_floor(fr_account *account, uint64_t rev)
{
    /* pairs with fr_accounts_floor; a figure alone, and so relaxed */
    __atomic_store_n(&account->floor_rev, rev, __ATOMIC_RELAXED);
}

uint64_t fr_accounts_floor(const fr_accounts *accounts, uint32_t uid)
{
    const fr_account *account = fr_accounts_find(accounts, uid);
    return account == NULL ? 0 : __atomic_load_n(&account->floor_rev, __ATOMIC_RELAXED);
}

void fr_account_encode(const fr_account *account, uint8_t out[FR_ACCOUNT_BYTES])
{
    fr_store_u64le(out, account->floor_rev);
    fr_store_u64le(out + 8, account->status_us);
    fr_store_u64le(out + 16, account->deleted_seq);
    out[24] = (uint8_t)account->status;
}

fr_status fr_account_decode(fr_slice value, fr_account *out, fr_error *err)
{
    if (value.size != FR_ACCOUNT_BYTES || value.data[24] > FR_ACCOUNT_DELETED) {
        return fr_fail(err, FR_CORRUPT, "resolver: account row");
    }
    out->floor_rev = fr_load_u64le(value.data);
    out->status_us = fr_load_u64le(value.data + 8);
    out->deleted_seq = fr_load_u64le(value.data + 16);
    out->status = (fr_account_status)value.data[24];
    return FR_OK;
}
