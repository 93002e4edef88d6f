// SPDX-License-Identifier: MIT OR Apache-2.0
/** A JSON answer as a page, for whoever asks for text/html: the path as its title, the answer as
 *  text. Nothing of either is taken for markup. */
#pragma once

#include <fr/buffer.h>

/** Appends the page. */
void fr_html_wrap(fr_buffer *out, fr_slice path, fr_slice json);
/** Appends text with & < > " ' as references. */
void fr_html_text(fr_buffer *out, fr_slice text);
