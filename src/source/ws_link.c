// SPDX-License-Identifier: MIT OR Apache-2.0
// OpenSSL reads and writes the descriptor itself; where it would wait, fr_net_wait does, which can
// be interrupted. Sources run in threads with signals blocked, so a write to a closed peer is EPIPE
// and no signal.
#include "ws_link.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <fr/os.h>

struct ws_link {
    fr_net *net;
    SSL_CTX *context; /* NULL: plain */
    SSL *ssl;
};

static fr_status tls_fail(fr_error *err, const char *text)
{
    ERR_clear_error();
    return fr_fail_code(err, FR_IO, 0, "tls", text);
}

static bool is_address(const char *host)
{
    uint8_t room[16];
    return inet_pton(AF_INET, host, room) == 1 || inet_pton(AF_INET6, host, room) == 1;
}

static bool expect_host(SSL *ssl, const char *host)
{
    if (is_address(host)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static fr_status prepare_tls(ws_link *link, const char *host, fr_error *err)
{
    ERR_clear_error();
    link->context = SSL_CTX_new(TLS_client_method());
    if (link->context == NULL ||
        SSL_CTX_set_min_proto_version(link->context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_default_verify_paths(link->context) != 1) {
        return tls_fail(err, "tls: no context, or no trusted authorities");
    }
    SSL_CTX_set_verify(link->context, SSL_VERIFY_PEER, NULL);
    link->ssl = SSL_new(link->context);
    if (link->ssl == NULL || !expect_host(link->ssl, host) ||
        SSL_set_fd(link->ssl, fr_net_fd(link->net)) != 1) {
        return tls_fail(err, "tls: not prepared");
    }
    SSL_set_mode(link->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return FR_OK;
}

fr_status ws_link_open(ws_link **out, const char *host, uint16_t port, bool tls, const bool *stop,
                       fr_error *err)
{
    ws_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return fr_fail(err, FR_NOMEM, "source: no memory for a connection");
    }
    fr_status status =
        fr_net_connect_unless(&link->net, host, port, FR_SOURCE_CONNECT_TIMEOUT_NS, stop, err);
    if (status == FR_OK && tls) {
        status = prepare_tls(link, host, err);
    }
    if (status != FR_OK) {
        ws_link_close(link);
        return status;
    }
    *out = link;
    return FR_OK;
}

void ws_link_close(ws_link *link)
{
    if (link != NULL) {
        SSL_free(link->ssl);
        SSL_CTX_free(link->context);
        ERR_clear_error();
        fr_net_close(link->net);
        free(link);
    }
}

fr_net *ws_link_net(ws_link *link)
{
    return link->net;
}

static uint64_t left_until(uint64_t deadline_ns)
{
    uint64_t now = fr_os_monotonic_ns(fr_os_real());
    return deadline_ns > now ? deadline_ns - now : 0;
}

static uint64_t deadline_after(uint64_t timeout_ns)
{
    uint64_t at;
    return fr_add_overflows(fr_os_monotonic_ns(fr_os_real()), timeout_ns, &at) ? UINT64_MAX : at;
}

/** After a call that did not succeed: FR_OK means try again. */
static fr_status wait_tls(ws_link *link, int result, uint64_t deadline_ns, fr_error *err)
{
    switch (SSL_get_error(link->ssl, result)) {
        case SSL_ERROR_WANT_READ:
            return fr_net_wait(link->net, false, left_until(deadline_ns), err);
        case SSL_ERROR_WANT_WRITE:
            return fr_net_wait(link->net, true, left_until(deadline_ns), err);
        case SSL_ERROR_ZERO_RETURN: return FR_END;
        default:
            return tls_fail(err, SSL_get_verify_result(link->ssl) == X509_V_OK
                                     ? "tls: the connection failed"
                                     : "tls: the certificate does not verify");
    }
}

fr_status ws_link_handshake(ws_link *link, uint64_t timeout_ns, fr_error *err)
{
    uint64_t deadline_ns = deadline_after(timeout_ns);
    if (link->ssl == NULL) {
        return FR_OK;
    }
    for (;;) {
        ERR_clear_error();
        int result = SSL_connect(link->ssl);
        if (result == 1) {
            return FR_OK;
        }
        fr_status status = wait_tls(link, result, deadline_ns, err);
        if (status != FR_OK) {
            return status == FR_END ? tls_fail(err, "tls: closed during the handshake") : status;
        }
    }
}

fr_status ws_link_read(ws_link *link, void *out, size_t size, size_t *got, uint64_t timeout_ns,
                       fr_error *err)
{
    uint64_t deadline_ns = deadline_after(timeout_ns);
    if (link->ssl == NULL) {
        return fr_net_read(link->net, out, size, got, timeout_ns, err);
    }
    *got = 0;
    for (;;) {
        ERR_clear_error();
        int result = SSL_read_ex(link->ssl, out, size, got);
        if (result == 1) {
            return FR_OK;
        }
        FR_TRY(wait_tls(link, result, deadline_ns, err));
    }
}

fr_status ws_link_write(ws_link *link, const void *data, size_t size, uint64_t timeout_ns,
                        fr_error *err)
{
    uint64_t deadline_ns = deadline_after(timeout_ns);
    const uint8_t *from = data;
    if (link->ssl == NULL) {
        return fr_net_write(link->net, data, size, timeout_ns, err);
    }
    while (size != 0) {
        size_t sent = 0;
        ERR_clear_error();
        int result = SSL_write_ex(link->ssl, from, size, &sent);
        if (result != 1) {
            fr_status status = wait_tls(link, result, deadline_ns, err);
            if (status != FR_OK) {
                return status == FR_END ? tls_fail(err, "tls: closed while writing") : status;
            }
        }
        from += sent;
        size -= sent;
    }
    return FR_OK;
}
