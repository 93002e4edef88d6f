// SPDX-License-Identifier: MIT OR Apache-2.0
/** libcurl, loaded when something is first fetched.
 *
 *  With what it brings along (Kerberos, LDAP, two TLS libraries) it costs each start of a program
 *  that names it 15 ms and 4 MB, and most runs of the command fetch nothing. */
#pragma once

#include <fr/base.h>

#include <curl/curl.h>

#define FR_CURL_FUNCTIONS(X)                                                                       \
    X(global_init)                                                                                 \
    X(easy_init)                                                                                   \
    X(easy_cleanup)                                                                                \
    X(easy_reset)                                                                                  \
    X(easy_setopt)                                                                                 \
    X(easy_getinfo)                                                                                \
    X(easy_header)                                                                                 \
    X(multi_init)                                                                                  \
    X(multi_cleanup)                                                                               \
    X(multi_setopt)                                                                                \
    X(multi_add_handle)                                                                            \
    X(multi_remove_handle)                                                                         \
    X(multi_perform)                                                                               \
    X(multi_poll)                                                                                  \
    X(multi_info_read)                                                                             \
    X(slist_append)                                                                                \
    X(slist_free_all)

/** curl_easy_init is .easy_init, and so on. */
typedef struct {
#define FR_CURL_MEMBER(name) __typeof__(curl_##name) *name;
    FR_CURL_FUNCTIONS(FR_CURL_MEMBER)
#undef FR_CURL_MEMBER
} curl_library;

/** The one library of the process, or NULL with FR_IO in *err: it is not installed, or too old.
 *  thread: any; loaded once and for good */
const curl_library *curl_loaded(fr_error *err);
