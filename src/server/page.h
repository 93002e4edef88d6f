// SPDX-License-Identifier: MIT OR Apache-2.0
/** web/index.html, compiled in (cmake/embed.cmake writes the bytes). */
#pragma once

#include <stddef.h>

extern const unsigned char fr_page_html[];
extern const size_t fr_page_html_size;
