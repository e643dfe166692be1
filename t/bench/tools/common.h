/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmark's tools share: growing byte buffers, IPv4 addresses, TLS as a mesh speaks it,
 * and a socket with optional TLS on it.  These are programs of a test rig: an error that leaves no
 * figure worth having ends the program, and memory is asked for with a check and never given back
 * by hand where the program's end does it.
 */

#ifndef CN_BENCH_COMMON_H
#define CN_BENCH_COMMON_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Prints the message and ends the program with status 1. */
void hb_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t hb_now_ns(void);

/* Zeroed memory for count things of size bytes; never NULL. */
void *hb_alloc(size_t count, size_t size);

/* The number that text is; ends the program when it is none, naming what was wanted. */
uint64_t hb_number(const char *text, const char *what);
double hb_decimal(const char *text, const char *what);

/* A first-in first-out byte buffer: data[at, end) is unread.  All zeroes is empty. */
typedef struct {
    uint8_t *data;
    size_t at;
    size_t end;
    size_t size;
} hb_buf_t;

/* Makes room for len more bytes and returns where they go. */
uint8_t *hb_buf_room(hb_buf_t *buf, size_t len);

/* Gives the memory back; the buffer is empty and usable. */
void hb_buf_free(hb_buf_t *buf);

/* Unread bytes: how many, and where. */
static inline size_t
hb_buf_len(const hb_buf_t *buf)
{
    return buf->end - buf->at;
}

static inline uint8_t *
hb_buf_data(const hb_buf_t *buf)
{
    return buf->data + buf->at;
}

/* Appends len bytes. */
static inline void
hb_buf_add(hb_buf_t *buf, const void *data, size_t len)
{
    if (len != 0) {
        memcpy(hb_buf_room(buf, len), data, len);
        buf->end += len;
    }
}

/* Drops the first len unread bytes; len is at most hb_buf_len(). */
static inline void
hb_buf_take(hb_buf_t *buf, size_t len)
{
    buf->at += len;

    if (buf->at == buf->end) {
        buf->at = buf->end = 0;
    }
}

static inline void
hb_buf_clear(hb_buf_t *buf)
{
    buf->at = buf->end = 0;
}

/* "A.B.C.D:PORT"; ends the program on anything else. */
struct sockaddr_in hb_address(const char *text);

/* A listening, non-blocking socket; ends the program when the address is taken. */
int hb_listen(const char *address);

typedef struct {
    const char *ca;   /* NULL: the peer is not verified */
    const char *cert; /* NULL: none is shown */
    const char *key;
} hb_tls_files_t;

/* TLS 1.3, mutual where ca is given, no tickets on the server side. */
SSL_CTX *hb_tls_server(const hb_tls_files_t *files);
SSL_CTX *hb_tls_client(const hb_tls_files_t *files);

/* ALPN: the client offers h2; the server takes h2 and ends the handshake without it. */
void hb_tls_offer_h2(SSL_CTX *context);
void hb_tls_require_h2(SSL_CTX *context);

/* A non-blocking socket, with TLS on it where ssl is set. */
typedef struct {
    int fd;
    uint32_t events; /* epoll interest now set */
    SSL *ssl;
} hb_link_t;

typedef enum {
    HB_IO_OK,
    HB_IO_WANT_READ,
    HB_IO_WANT_WRITE,
    HB_IO_CLOSED
} hb_io_t;

/* Small writes leave at once. */
void hb_link_nodelay(const hb_link_t *link);

/* Sets the epoll interest; owner comes back as the event's data.ptr. */
void hb_link_watch(hb_link_t *link, int epoll, uint32_t events, void *owner);

/* Puts TLS on a connected socket, as server or client; hb_link_handshake drives it. */
void hb_link_accept_tls(hb_link_t *link, SSL_CTX *context);
void hb_link_connect_tls(hb_link_t *link, SSL_CTX *context);
hb_io_t hb_link_handshake(hb_link_t *link);

/* On HB_IO_OK *done is the number of bytes read or written. */
hb_io_t hb_link_read(hb_link_t *link, uint8_t *data, size_t size, size_t *done);
hb_io_t hb_link_write(hb_link_t *link, const uint8_t *data, size_t len, size_t *done);

/* Bytes that TLS has buffered and that no epoll event will tell of. */
bool hb_link_pending(const hb_link_t *link);

/* Closes without a TLS goodbye. */
void hb_link_close(hb_link_t *link);

#endif
