// SPDX-License-Identifier: MIT OR Apache-2.0
/** A TCP client socket with deadlines, for live sources. (Servers use libuv's loop, in server/.)
 *
 *  thread   owned(thread), except fr_net_interrupt, which any thread may call */
#pragma once

#include <fr/base.h>

typedef struct fr_net fr_net;

/** Resolves and connects within timeout_ns, trying each address (each gets an equal share of the
 *  time left).
 *  errors   FR_AGAIN timed out, FR_NOT_FOUND no such host, FR_IO refused or unreachable
 *           (err->os) */
FR_MUST_USE fr_status fr_net_connect(fr_net **out, const char *host, uint16_t port,
                                     uint64_t timeout_ns, fr_error *err);
/** The same, given up with FR_AGAIN within 100 ms once another thread sets *stop (atomically);
 *  NULL: never. */
FR_MUST_USE fr_status fr_net_connect_unless(fr_net **out, const char *host, uint16_t port,
                                            uint64_t timeout_ns, const bool *stop, fr_error *err);
void fr_net_close(fr_net *net); /* NULL is fine */
/** `size` > 0. At least one byte unless FR_END (peer closed) or FR_AGAIN (timeout, or
 *  interrupted). */
FR_MUST_USE fr_status fr_net_read(fr_net *net, void *out, size_t size, size_t *got,
                                  uint64_t timeout_ns, fr_error *err);
/** All of it within timeout_ns; FR_AGAIN on time-out or interruption, and then some of it may have
 *  left: close. */
FR_MUST_USE fr_status fr_net_write(fr_net *net, const void *data, size_t size, uint64_t timeout_ns,
                                   fr_error *err);
/** Waits until a read (or write) of the descriptor would not block: for TLS, which reads it itself.
 *  FR_AGAIN as above. */
FR_MUST_USE fr_status fr_net_wait(fr_net *net, bool for_write, uint64_t timeout_ns, fr_error *err);
/** Makes a read or write that waits, and all later ones, return FR_AGAIN at once. The socket must
 *  not be closed meanwhile: whoever closes it joins the thread that interrupts, or the other way
 *  round. */
void fr_net_interrupt(fr_net *net);
/** The descriptor, for TLS; it does not block. */
int fr_net_fd(const fr_net *net);
