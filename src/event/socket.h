/* SPDX-License-Identifier: Apache-2.0 */

/* socket - addresses and non-blocking sockets.  All descriptors are close-on-exec. */

#ifndef CN_EVENT_SOCKET_H
#define CN_EVENT_SOCKET_H

#include "base/bytes.h"

/*
 * An IPv4 or IPv6 address and port.  IPv4 is kept as ::ffff:a.b.c.d in ip, so that addresses
 * compare and hash by 16 octets; the socket family follows from the prefix.  port is in host
 * order.
 */
typedef struct {
    uint8_t   ip[16];
    uint16_t  port;
    uint32_t  scope;            /* IPv6 zone index, 0: none */
} cn_address_t;

#define CN_ADDRESS_TEXT_MAX  64     /* "[v6%zone]:port" and a NUL fit */

/* Whether the socket family is IPv4. */
bool cn_address_is_v4(const cn_address_t *address);

/* IP, port and scope. */
bool cn_address_equal(const cn_address_t *a, const cn_address_t *b);

/*
 * An IP without a port: dotted quad, or IPv6 without brackets.  CN_ERR_SYNTAX (names are not
 * looked up).
 */
cn_status_t cn_address_parse_ip(cn_bytes_t text, cn_address_t *address) CN_MUST_USE;

/* "1.2.3.4:80", "[::1]:80".  CN_ERR_SYNTAX, CN_ERR_RANGE (port 0..65535). */
cn_status_t cn_address_parse(cn_bytes_t text, cn_address_t *address) CN_MUST_USE;

/* Writes "1.2.3.4:80" / "[::1]:80" with a NUL; _ip writes the address alone.  Return the length. */
size_t cn_address_print(const cn_address_t *address, char out[CN_ADDRESS_TEXT_MAX]);
size_t cn_address_print_ip(const cn_address_t *address, char out[CN_ADDRESS_TEXT_MAX]);

/*
 * A listening TCP socket (SO_REUSEADDR; reuseport: SO_REUSEPORT too).  Port 0: the kernel chooses.
 * CN_ERR_IO: errno kept.
 */
cn_status_t cn_socket_listen(const cn_address_t *address, bool reuseport, int backlog, int *fd)
    CN_MUST_USE;

/*
 * Begins a TCP connect (TCP_NODELAY).  CN_OK: connected; CN_AGAIN: wait until writable, then
 * cn_socket_error(); CN_ERR_IO: errno kept, no descriptor.  source may be NULL: the address to
 * bind to.
 */
cn_status_t cn_socket_connect(const cn_address_t *address, const cn_address_t *source, int *fd)
    CN_MUST_USE;

/* CN_OK and *fd, *peer; CN_AGAIN: none waiting; CN_ERR_LIMIT: out of descriptors; CN_ERR_IO. */
cn_status_t cn_socket_accept(int listener, int *fd, cn_address_t *peer) CN_MUST_USE;

/* SO_ERROR, 0 when there is none. */
int cn_socket_error(int fd);
cn_status_t cn_socket_local(int fd, cn_address_t *address) CN_MUST_USE;
cn_status_t cn_socket_peer(int fd, cn_address_t *address) CN_MUST_USE;

#endif
