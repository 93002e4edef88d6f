// SPDX-License-Identifier: MIT OR Apache-2.0
/** Sealing, checking and copying whole segments. Each leaves the old state or the new one. */
#pragma once

#include "segment.h"

/** Reads every byte of an open segment to its end. `chain` is what its first frame must follow;
 *  any_chain: unknown. errors: FR_CORRUPT + offset in the file */
FR_MUST_USE fr_status fr_segment_check(fr_segment_file *segment, fr_error *err);
/** Writes the sealed form of a segment beside whatever form it has now, reads it back in full, and
 *  gives it its name. The raw file stays.
 *  errors   FR_CORRUPT + offset: what is there is damaged, nothing was changed; FR_AGAIN *stop (may
 *           be NULL) became true, atomically */
FR_MUST_USE fr_status fr_segment_seal(const fr_log_folder *folder, uint64_t number, int level,
                                      const bool *stop, fr_error *err);
/** Copies a sealed segment file to another folder, reads the copy in full, and gives it its name.
 *  Nothing to do where the same segment is there already; FR_CORRUPT where another one is. */
FR_MUST_USE fr_status fr_segment_copy(fr_os *os, const char *from, const char *to_dir,
                                      uint64_t number, fr_error *err);
/** The bytes of one file as another, synced; the folder is not. */
FR_MUST_USE fr_status fr_file_copy(fr_os *os, const char *from, const char *to, fr_error *err);
