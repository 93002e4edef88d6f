// SPDX-License-Identifier: MIT OR Apache-2.0
/** A byte connection, plain or TLS with the host's name verified. thread: owned(thread) */
#pragma once

#include <fr/net.h>

#define FR_SOURCE_CONNECT_TIMEOUT_NS UINT64_C(8000000000)
#define FR_SOURCE_WRITE_TIMEOUT_NS UINT64_C(15000000000)

typedef struct ws_link ws_link;

/** Connects by TCP; TLS waits for ws_link_handshake, so that the caller can register the net for
 *  interruption first.
 *  errors   of fr_net_connect_unless */
FR_MUST_USE fr_status ws_link_open(ws_link **out, const char *host, uint16_t port, bool tls,
                                   const bool *stop, fr_error *err);
/** With the authorities the system trusts. errors: FR_IO "tls" (a certificate that does not
 *  verify), FR_AGAIN */
FR_MUST_USE fr_status ws_link_handshake(ws_link *link, uint64_t timeout_ns, fr_error *err);
void ws_link_close(ws_link *link); /* NULL is fine */
fr_net *ws_link_net(ws_link *link);
/** As fr_net_read and fr_net_write. */
FR_MUST_USE fr_status ws_link_read(ws_link *link, void *out, size_t size, size_t *got,
                                   uint64_t timeout_ns, fr_error *err);
FR_MUST_USE fr_status ws_link_write(ws_link *link, const void *data, size_t size,
                                    uint64_t timeout_ns, fr_error *err);
