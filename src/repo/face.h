// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the two files behind the installed headers share. */
#pragma once

#include <fr/export.h>
#include <fr/repo.h>
#include <fr/repo_write.h>
#include <freshet_repo.h>

/** errors: FR_NOMEM, of the digest */
FR_MUST_USE fr_status face_commit(const fr_commit *commit, freshet_repo_commit *out, fr_error *err);
/** The account that is demanded, if any is; an empty text would demand none. errors: FR_INVALID */
FR_MUST_USE fr_status face_did(const char *did, fr_slice *out, fr_error *err);
/** errors: FR_INVALID there is no such order */
FR_MUST_USE fr_status face_order(freshet_order order, fr_car_order *out, fr_error *err);
/** errors: FR_INVALID nothing is open, or its thread walks it */
FR_MUST_USE fr_status face_opened(const freshet_repo *repo, fr_repo **out, fr_error *err);

/** fr_status_export for a call on a repository. */
freshet_status face_end(const freshet_repo *repo, fr_status status, fr_error *error,
                        freshet_error *err);

typedef struct {
    freshet_put put;
    void *context;
    fr_error *err; /* says so when the caller's function ends it */
} face_output;
/** For functions that hand out pieces; `output` is a face_output. */
fr_status face_put(void *output, fr_slice bytes);

_Static_assert(FRESHET_CID_BYTES == FR_CID_BYTES, "one size, two names");
