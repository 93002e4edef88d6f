// SPDX-License-Identifier: MIT OR Apache-2.0
/** seed.h, how many steps to take, and a folder of one's own. */
#pragma once

#include <fr/os.h>
#include <unistd.h>

#include "seed.h"

/** Sanitizers make every step cost more: they take a tenth of the steps. */
static inline uint64_t steps_of(uint64_t release_steps)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return release_steps / 10;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return release_steps / 10;
#else
    return release_steps;
#endif
#else
    return release_steps;
#endif
}

static inline void make_folder(char *out, size_t size)
{
    const char *top = getenv("TMPDIR");
    char path[256];
    snprintf(path, sizeof path, "%s/freshet-model-XXXXXX", top == NULL ? "/tmp" : top);
    assert_non_null(mkdtemp(path));
    assert_true((size_t)snprintf(out, size, "%s", path) < size);
}

static inline void remove_folder(const char *dir)
{
    assert_ok(fr_os_remove_tree(fr_os_real(), dir, NULL));
}
