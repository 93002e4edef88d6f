// SPDX-License-Identifier: MIT OR Apache-2.0
/** The real monotonic clock, for waits on real threads and sockets. */
#pragma once

#include <fr/os.h>

static inline uint64_t now_ns(void)
{
    return fr_os_monotonic_ns(fr_os_real());
}
