// SPDX-License-Identifier: MIT OR Apache-2.0
/** The folder of a log: which segments there are, under which name, and where the rest of them is.
 *
 *      log/0000000007.frlog    raw: frames as they were written
 *      log/0000000006.frseal   sealed: the same bytes, compressed
 *      log/ARCHIVE             the folder that holds copies of sealed segments, as one line
 *
 *  A segment that is there sealed and raw is one that a crash caught between the two; a segment
 *  that is not there at all may be in the archive. */
#pragma once

#include <fr/os.h>

typedef struct {
    fr_os *os;
    char dir[FR_PATH_MAX];
    char archive[FR_PATH_MAX]; /* empty: none was ever named */
} fr_log_folder;

typedef enum { FR_SEGMENT_SEALED, FR_SEGMENT_RAW, FR_SEGMENT_ARCHIVED } fr_segment_form;

/** Reads ARCHIVE, if there is one; the folder itself need not be there. errors: FR_LIMIT a path
 *  too long, FR_CORRUPT an ARCHIVE that is no path, FR_IO */
FR_MUST_USE fr_status fr_log_folder_init(fr_log_folder *out, fr_os *os, const char *dir,
                                         fr_error *err);
/** Remembers where the archive is, durably; nothing to do when it is the same. */
FR_MUST_USE fr_status fr_log_folder_set_archive(fr_log_folder *folder, const char *archive,
                                                fr_error *err);

/** Notes in which file damage is, where that is what `status` says; and is `status`. */
FR_MUST_USE fr_status fr_segment_blame(fr_status status, uint64_t number, fr_error *err);

#define FR_SEGMENT_MISSING "log: a segment file is missing"

/** Numbers of the segments: [first, last], dense; both 0 when there is none. */
typedef struct {
    uint64_t first, last;
} fr_segment_range;

/** Of the folder and of the archive, so far as that continues the folder's backwards. errors:
 *  FR_NOT_FOUND no such folder; FR_CORRUPT a number is missing in between, *out is set all the
 *  same */
FR_MUST_USE fr_status fr_segment_list(const fr_log_folder *folder, fr_segment_range *out,
                                      fr_error *err);
/** Of what lies in the folder alone. */
FR_MUST_USE fr_status fr_segment_list_local(const fr_log_folder *folder, fr_segment_range *out,
                                            fr_error *err);
FR_MUST_USE fr_status fr_segment_path(char out[FR_PATH_MAX], const fr_log_folder *folder,
                                      uint64_t number, fr_segment_form form, fr_error *err);
/** In that form; or in any. */
bool fr_segment_has(const fr_log_folder *folder, uint64_t number, fr_segment_form form);
bool fr_segment_exists(const fr_log_folder *folder, uint64_t number);
