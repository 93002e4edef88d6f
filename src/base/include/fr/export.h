// SPDX-License-Identifier: MIT OR Apache-2.0
/** Our errors in the words of the installed headers: a status has one number under two names. */
#pragma once

#include <fr/base.h>
#include <freshet.h>

/** `to` may be NULL. Without a code of its own an error of the system has "io", one of memory
 *  "nomem". */
void fr_error_export(const fr_error *from, freshet_error *to);
/** The end of every installed call: the status, with *err (may be NULL) filled if it failed. */
freshet_status fr_status_export(fr_status status, const fr_error *error, freshet_error *err);
