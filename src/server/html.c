// SPDX-License-Identifier: MIT OR Apache-2.0
#include "html.h"

static const char *reference_of(uint8_t byte)
{
    switch (byte) {
        case '&': return "&amp;";
        case '<': return "&lt;";
        case '>': return "&gt;";
        case '"': return "&quot;";
        case '\'': return "&#39;";
        default: return NULL;
    }
}

void fr_html_text(fr_buffer *out, fr_slice text)
{
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++) {
        const char *reference = reference_of(text.data[i]);
        if (reference != NULL) {
            fr_buffer_append(out, text.data + from, i - from);
            fr_buffer_text(out, reference);
            from = i + 1;
        }
    }
    if (from < text.size) {
        fr_buffer_append(out, text.data + from, text.size - from);
    }
}

void fr_html_wrap(fr_buffer *out, fr_slice path, fr_slice json)
{
    fr_buffer_text(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                        "<meta name=\"viewport\" content=\"width=device-width\">"
                        "<meta name=\"color-scheme\" content=\"light dark\"><title>");
    fr_html_text(out, path);
    fr_buffer_text(out,
                   " \xe2\x80\x93 Freshet</title>"
                   "<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem;max-width:62rem}"
                   "pre{white-space:pre-wrap;overflow-wrap:anywhere}</style></head>\n<body><h1>");
    fr_html_text(out, path);
    fr_buffer_text(out, "</h1>\n<pre>");
    fr_html_text(out, json);
    fr_buffer_text(out, "</pre>\n<p><a href=\"/\">Freshet</a></p></body></html>\n");
}
