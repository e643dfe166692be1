/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers, addresses, TLS contexts and sockets of the benchmark's tools. */

#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096
#define TLS_READ_SIZE  (64 * 1024)

static const uint8_t alpn_h2[] = { 2, 'h', '2' };

void
hb_die(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

uint64_t
hb_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000000U + (uint64_t) now.tv_nsec;
}

void *
hb_alloc(size_t count, size_t size)
{
    void *memory = calloc(count == 0 ? 1 : count, size);

    if (memory == NULL) {
        hb_die("out of memory");
    }
    return memory;
}

uint64_t
hb_number(const char *text, const char *what)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);

    if (errno != 0 || end == text || *end != '\0' || text[0] == '-') {
        hb_die("'%s' is no %s", text, what);
    }
    return value;
}

double
hb_decimal(const char *text, const char *what)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0 && value <= 1e12)) {
        hb_die("'%s' is no %s", text, what);
    }
    return value;
}

uint8_t *
hb_buf_room(hb_buf_t *buf, size_t len)
{
    hb_buf_take(buf, 0);

    if (buf->size - buf->end >= len) {
        return buf->data + buf->end;
    }

    size_t unread = hb_buf_len(buf);

    /* moving pays only when at least half of the buffer is free in front */
    if (buf->size - unread >= len && buf->at >= buf->size / 2) {
        memmove(buf->data, buf->data + buf->at, unread);
        buf->at = 0;
        buf->end = unread;
        return buf->data + buf->end;
    }

    size_t size = buf->size == 0 ? 512 : buf->size;

    while (size - buf->end < len) {
        size *= 2;
    }

    uint8_t *data = realloc(buf->data, size);

    if (data == NULL) {
        hb_die("out of memory");
    }
    buf->data = data;
    buf->size = size;
    return buf->data + buf->end;
}

void
hb_buf_free(hb_buf_t *buf)
{
    free(buf->data);
    *buf = (hb_buf_t) { 0 };
}

struct sockaddr_in
hb_address(const char *text)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    char host[64];
    const char *colon = strrchr(text, ':');

    if (colon == NULL || (size_t) (colon - text) >= sizeof(host)) {
        hb_die("'%s' is no address (A.B.C.D:PORT)", text);
    }

    memcpy(host, text, (size_t) (colon - text));
    host[colon - text] = '\0';

    uint64_t port = hb_number(colon + 1, "port");

    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || port > 65535) {
        hb_die("'%s' is no address (A.B.C.D:PORT)", text);
    }
    address.sin_port = htons((uint16_t) port);
    return address;
}

int
hb_listen(const char *text)
{
    struct sockaddr_in address = hb_address(text);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));

    if (bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0
        || listen(fd, LISTEN_BACKLOG) < 0)
    {
        hb_die("listen on %s: %s", text, strerror(errno));
    }
    return fd;
}

static SSL_CTX *
tls_context(const SSL_METHOD *method, const hb_tls_files_t *files)
{
    SSL_CTX *context = SSL_CTX_new(method);

    if (context == NULL) {
        hb_die("no TLS context");
    }

    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                                  | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1); /* one read may fetch several records */
    SSL_CTX_set_default_read_buffer_len(context, TLS_READ_SIZE);
    SSL_CTX_set1_groups_list(context, "X25519:P-256");

    if (files->cert != NULL
        && (files->key == NULL || SSL_CTX_use_certificate_chain_file(context, files->cert) != 1
            || SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1))
    {
        hb_die("cannot load %s with its key", files->cert);
    }
    if (files->ca != NULL && SSL_CTX_load_verify_locations(context, files->ca, NULL) != 1) {
        hb_die("cannot load %s", files->ca);
    }
    return context;
}

SSL_CTX *
hb_tls_server(const hb_tls_files_t *files)
{
    SSL_CTX *context = tls_context(TLS_server_method(), files);

    if (files->ca != NULL) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    return context;
}

SSL_CTX *
hb_tls_client(const hb_tls_files_t *files)
{
    SSL_CTX *context = tls_context(TLS_client_method(), files);

    if (files->ca != NULL) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    return context;
}

void
hb_tls_offer_h2(SSL_CTX *context)
{
    SSL_CTX_set_alpn_protos(context, alpn_h2, sizeof(alpn_h2));
}

static int
select_h2(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *in, unsigned in_len,
          void *data)
{
    uint8_t *chosen;

    (void) ssl;
    (void) data;

    int rc = SSL_select_next_proto(&chosen, out_len, alpn_h2, sizeof(alpn_h2), in, in_len);

    *out = chosen;
    return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

void
hb_tls_require_h2(SSL_CTX *context)
{
    SSL_CTX_set_alpn_select_cb(context, select_h2, NULL);
}

void
hb_link_nodelay(const hb_link_t *link)
{
    int one = 1;

    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void
hb_link_watch(hb_link_t *link, int epoll, uint32_t events, void *owner)
{
    if (events == link->events) {
        return;
    }

    struct epoll_event event = { .events = events, .data.ptr = owner };

    epoll_ctl(epoll, link->events != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, link->fd, &event);
    link->events = events;
}

static void
start_tls(hb_link_t *link, SSL_CTX *context)
{
    link->ssl = SSL_new(context);

    if (link->ssl == NULL || SSL_set_fd(link->ssl, link->fd) != 1) {
        hb_die("no TLS session");
    }
}

void
hb_link_accept_tls(hb_link_t *link, SSL_CTX *context)
{
    start_tls(link, context);
    SSL_set_accept_state(link->ssl);
}

void
hb_link_connect_tls(hb_link_t *link, SSL_CTX *context)
{
    start_tls(link, context);
    SSL_set_connect_state(link->ssl);
}

static hb_io_t
tls_outcome(const SSL *ssl, int rc)
{
    switch (SSL_get_error(ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return HB_IO_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return HB_IO_WANT_WRITE;
    default:
        return HB_IO_CLOSED;
    }
}

hb_io_t
hb_link_handshake(hb_link_t *link)
{
    ERR_clear_error();

    int rc = SSL_do_handshake(link->ssl);

    return rc == 1 ? HB_IO_OK : tls_outcome(link->ssl, rc);
}

hb_io_t
hb_link_read(hb_link_t *link, uint8_t *data, size_t size, size_t *done)
{
    if (link->ssl != NULL) {
        ERR_clear_error();

        int rc = SSL_read_ex(link->ssl, data, size, done);

        return rc == 1 ? HB_IO_OK : tls_outcome(link->ssl, rc);
    }

    ssize_t got = read(link->fd, data, size);

    if (got > 0) {
        *done = (size_t) got;
        return HB_IO_OK;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? HB_IO_WANT_READ : HB_IO_CLOSED;
}

hb_io_t
hb_link_write(hb_link_t *link, const uint8_t *data, size_t len, size_t *done)
{
    if (link->ssl != NULL) {
        ERR_clear_error();

        int rc = SSL_write_ex(link->ssl, data, len, done);

        return rc == 1 ? HB_IO_OK : tls_outcome(link->ssl, rc);
    }

    ssize_t sent = send(link->fd, data, len, MSG_NOSIGNAL);

    if (sent >= 0) {
        *done = (size_t) sent;
        return HB_IO_OK;
    }
    return errno == EAGAIN || errno == EINTR ? HB_IO_WANT_WRITE : HB_IO_CLOSED;
}

bool
hb_link_pending(const hb_link_t *link)
{
    return link->ssl != NULL && SSL_has_pending(link->ssl) == 1;
}

void
hb_link_close(hb_link_t *link)
{
    if (link->ssl != NULL) {
        SSL_set_quiet_shutdown(link->ssl, 1);
        SSL_shutdown(link->ssl);
        SSL_free(link->ssl);
    }
    if (link->fd >= 0) {
        close(link->fd);
    }
    *link = (hb_link_t) { .fd = -1 };
}
