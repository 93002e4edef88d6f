// SPDX-License-Identifier: MIT OR Apache-2.0
// A CAR is walked twice: once to check all of it, once to hand it on, so that a bad one changes
// nothing. Then the engine is told every key it has, and what is live without one of them goes.
#include "one_car.h"

#include <fr/codec.h>

fr_status one_car_check(fr_repo **repo, fr_slice input, const fr_repo_options *demand,
                        fr_error *why)
{
    fr_repo_options options = *demand;
    options.level = FR_LEVEL_FULL;
    options.check_records = true;
    FR_TRY(*repo == NULL ? fr_repo_open(repo, input, &options, why)
                         : fr_repo_reopen(*repo, input, &options, why));
    const fr_commit *commit = fr_repo_commit(*repo);
    if (commit->rev == 0) {
        return fr_fail_code(why, FR_MALFORMED, commit->offset, "commit-rev",
                            "a version 2 commit without rev: there is nothing to order it by");
    }
    fr_repo_item item;
    fr_status status = FR_OK;
    while (status == FR_OK) {
        status = fr_repo_next(*repo, &item, why);
    }
    return status == FR_END ? FR_OK : status;
}

static fr_event event_of(const fr_commit *commit, fr_event_kind kind)
{
    return (fr_event){.kind = kind,
                      .time_us = fr_tid_time_us(commit->rev),
                      .partition_key = fr_xxh3_64(commit->did),
                      .rev = commit->rev,
                      .did = commit->did};
}

static void reject_record(feeder *f, const feeder_place *place, const fr_repo_item *item)
{
    fr_error why = {0};
    (void)!fr_fail_code(&why, FR_MALFORMED, item->record_offset, item->record_code,
                        "a record breaks the data model");
    feeder_reject(f, place, 1, &why);
}

static fr_status hand_on_item(feeder *f, const fr_commit *commit, const char *name,
                              const fr_repo_item *item, fr_key_set *keys, fr_error *err)
{
    feeder_place place = {name, item->record_code != NULL ? item->record_offset : item->offset,
                          false};
    fr_event event = event_of(commit, FR_EVENT_PUT);
    size_t slash = fr_slice_find(item->key, '/');
    event.collection = fr_slice_sub(item->key, 0, slash);
    event.rkey = fr_slice_from(item->key, slash + 1);
    event.body = item->value;
    event.cid = item->cid;
    /* a bad record is there as well */
    FR_TRY(fr_key_set_add(keys, event.collection, event.rkey, err));
    if (item->record_code != NULL) {
        reject_record(f, &place, item);
        return FR_OK;
    }
    return feeder_event(f, &event, true, &place, err);
}

static fr_status hand_on(feeder *f, fr_repo *repo, const char *name, fr_key_set *keys,
                         fr_error *err)
{
    const fr_commit *commit = fr_repo_commit(repo);
    fr_repo_item item;
    fr_repo_rewind(repo);
    for (;;) {
        fr_status status = fr_repo_next(repo, &item, err);
        if (status == FR_END) {
            break;
        }
        FR_TRY(status);
        if (feeder_stopped(f)) {
            return fr_fail(err, FR_AGAIN, "stopped");
        }
        FR_TRY(hand_on_item(f, commit, name, &item, keys, err));
    }
    fr_event sync = event_of(commit, FR_EVENT_SYNC);
    return feeder_car_end(f, &sync, keys, err);
}

fr_status one_car_hand_on(feeder *f, fr_repo *repo, const char *name, fr_error *err)
{
    fr_key_set keys = {0};
    fr_status status = hand_on(f, repo, name, &keys, err);
    fr_key_set_done(&keys);
    return status;
}
