// SPDX-License-Identifier: MIT OR Apache-2.0
/** What the tests of this folder share: cmocka, a printed seed, statuses that must be FR_OK. */
#pragma once

#include <fr/os.h>

#include <unistd.h>

#include "seed.h"

/** Compares and forgets a status that the test does not care about. */
static inline void ignore(fr_status status)
{
    (void)status;
}

/** A new empty folder of the real system; remove it with fr_os_remove_tree. */
static inline void make_temporary_folder(char *out, size_t size)
{
    const char *top = getenv("TMPDIR");
    assert_ok(fr_path(out, size, NULL, "%s/freshet-os-XXXXXX", top != NULL ? top : "/tmp"));
    assert_non_null(mkdtemp(out));
}
