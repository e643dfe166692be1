/* SPDX-License-Identifier: Apache-2.0 */

/* socket - addresses as text and as the kernel's, and the few calls that make sockets. */

#include "event/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IP_TEXT_MAX  46             /* INET6_ADDRSTRLEN */

typedef union {
    struct sockaddr          any;
    struct sockaddr_in       v4;
    struct sockaddr_in6      v6;
    struct sockaddr_storage  storage;
} kernel_address_t;

static const uint8_t  v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };


bool
cn_address_is_v4(const cn_address_t *address)
{
    return memcmp(address->ip, v4_prefix, sizeof(v4_prefix)) == 0;
}


bool
cn_address_equal(const cn_address_t *a, const cn_address_t *b)
{
    return memcmp(a->ip, b->ip, sizeof(a->ip)) == 0 && a->port == b->port && a->scope == b->scope;
}


/* "%eth0" or "%2"; at most what a name of an interface may be. */
static cn_status_t
parse_scope(cn_bytes_t text, uint32_t *scope)
{
    char      name[IF_NAMESIZE];
    uint64_t  index;

    if (cn_bytes_to_u64(text, UINT32_MAX, &index) == CN_OK && index != 0) {
        *scope = (uint32_t) index;
        return CN_OK;
    }

    if (text.len == 0 || text.len >= sizeof(name)) {
        return CN_ERR_SYNTAX;
    }

    memcpy(name, text.ptr, text.len);
    name[text.len] = '\0';
    *scope = if_nametoindex(name);

    return *scope == 0 ? CN_ERR_SYNTAX : CN_OK;
}


cn_status_t
cn_address_parse_ip(cn_bytes_t text, cn_address_t *address)
{
    cn_address_t  parsed = { .port = 0 };
    cn_bytes_t    ip, scope;
    char          str[IP_TEXT_MAX];

    bool  scoped = cn_bytes_split(text, '%', &ip, &scope);

    if (ip.len == 0 || ip.len >= sizeof(str) || memchr(ip.ptr, '\0', ip.len) != NULL) {
        return CN_ERR_SYNTAX;
    }

    memcpy(str, ip.ptr, ip.len);
    str[ip.len] = '\0';

    if (inet_pton(AF_INET, str, parsed.ip + sizeof(v4_prefix)) == 1) {
        memcpy(parsed.ip, v4_prefix, sizeof(v4_prefix));

        if (scoped) {
            return CN_ERR_SYNTAX;
        }

    } else if (inet_pton(AF_INET6, str, parsed.ip) != 1) {
        return CN_ERR_SYNTAX;
    }

    if (scoped && parse_scope(scope, &parsed.scope) != CN_OK) {
        return CN_ERR_SYNTAX;
    }

    *address = parsed;

    return CN_OK;
}


cn_status_t
cn_address_parse(cn_bytes_t text, cn_address_t *address)
{
    cn_address_t  parsed;
    cn_bytes_t    ip, port;
    uint64_t      number;
    cn_status_t   status;
    size_t        colon = cn_bytes_find_last_octet(text, ':');

    if (colon == SIZE_MAX) {
        return CN_ERR_SYNTAX;
    }

    ip = cn_bytes(text.ptr, colon);
    port = cn_bytes_from(text, colon + 1);

    if (ip.len >= 2 && ip.ptr[0] == '[' && ip.ptr[ip.len - 1] == ']') {
        ip = cn_bytes(ip.ptr + 1, ip.len - 2);

        if (cn_bytes_find_octet(ip, ':') == SIZE_MAX) {
            return CN_ERR_SYNTAX;       /* brackets are for IPv6 */
        }

    } else if (cn_bytes_find_octet(ip, ':') != SIZE_MAX) {
        return CN_ERR_SYNTAX;           /* "::1:80" could be an address alone */
    }

    status = cn_address_parse_ip(ip, &parsed);
    if (status != CN_OK) {
        return status;
    }

    status = cn_bytes_to_u64(port, UINT16_MAX, &number);
    if (status != CN_OK) {
        return status;
    }

    parsed.port = (uint16_t) number;
    *address = parsed;

    return CN_OK;
}


size_t
cn_address_print_ip(const cn_address_t *address, char out[CN_ADDRESS_TEXT_MAX])
{
    bool    v4 = cn_address_is_v4(address);
    size_t  len;

    out[0] = '\0';

    /* cannot fail: the family is known and the room suffices */
    (void) inet_ntop(v4 ? AF_INET : AF_INET6, address->ip + (v4 ? sizeof(v4_prefix) : 0), out,
                     CN_ADDRESS_TEXT_MAX);
    len = strlen(out);

    if (address->scope != 0) {
        out[len++] = '%';
        len += cn_u64_print(address->scope, out + len);
        out[len] = '\0';
    }

    return len;
}


size_t
cn_address_print(const cn_address_t *address, char out[CN_ADDRESS_TEXT_MAX])
{
    char    ip[CN_ADDRESS_TEXT_MAX];
    size_t  ip_len = cn_address_print_ip(address, ip), len = 0;
    bool    v4 = cn_address_is_v4(address);

    if (!v4) {
        out[len++] = '[';
    }

    memcpy(out + len, ip, ip_len);
    len += ip_len;

    if (!v4) {
        out[len++] = ']';
    }

    out[len++] = ':';
    len += cn_u64_print(address->port, out + len);
    out[len] = '\0';

    return len;
}


static socklen_t
to_kernel(const cn_address_t *address, kernel_address_t *kernel)
{
    memset(kernel, 0, sizeof(*kernel));

    if (cn_address_is_v4(address)) {
        kernel->v4.sin_family = AF_INET;
        kernel->v4.sin_port = htons(address->port);
        memcpy(&kernel->v4.sin_addr, address->ip + sizeof(v4_prefix), 4);
        return sizeof(kernel->v4);
    }

    kernel->v6.sin6_family = AF_INET6;
    kernel->v6.sin6_port = htons(address->port);
    kernel->v6.sin6_scope_id = address->scope;
    memcpy(&kernel->v6.sin6_addr, address->ip, 16);

    return sizeof(kernel->v6);
}


static cn_status_t
from_kernel(const kernel_address_t *kernel, cn_address_t *address)
{
    *address = (cn_address_t) { .port = 0 };

    if (kernel->any.sa_family == AF_INET) {
        memcpy(address->ip, v4_prefix, sizeof(v4_prefix));
        memcpy(address->ip + sizeof(v4_prefix), &kernel->v4.sin_addr, 4);
        address->port = ntohs(kernel->v4.sin_port);
        return CN_OK;
    }

    if (kernel->any.sa_family == AF_INET6) {
        memcpy(address->ip, &kernel->v6.sin6_addr, 16);
        address->port = ntohs(kernel->v6.sin6_port);
        address->scope = kernel->v6.sin6_scope_id;
        return CN_OK;
    }

    errno = EAFNOSUPPORT;

    return CN_ERR_IO;
}


static int
turn_on(int fd, int level, int option)
{
    int  on = 1;

    return setsockopt(fd, level, option, &on, sizeof(on));
}


/* Closes fd and keeps the errno of what failed before. */
static cn_status_t
give_up(int fd)
{
    int  error = errno;

    (void) close(fd);
    errno = error;

    return CN_ERR_IO;
}


cn_status_t
cn_socket_listen(const cn_address_t *address, bool reuseport, int backlog, int *fd)
{
    kernel_address_t  kernel;
    socklen_t         len = to_kernel(address, &kernel);
    int               family = kernel.any.sa_family;

    int  made = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (made < 0) {
        return CN_ERR_IO;
    }

    /* "[::]:80" and "0.0.0.0:80" are two addresses; accepted sockets inherit TCP_NODELAY */
    if (turn_on(made, SOL_SOCKET, SO_REUSEADDR) != 0
        || (reuseport && turn_on(made, SOL_SOCKET, SO_REUSEPORT) != 0)
        || (family == AF_INET6 && turn_on(made, IPPROTO_IPV6, IPV6_V6ONLY) != 0)
        || turn_on(made, IPPROTO_TCP, TCP_NODELAY) != 0
        || bind(made, &kernel.any, len) != 0
        || listen(made, backlog) != 0)
    {
        return give_up(made);
    }

    *fd = made;

    return CN_OK;
}


static int
bind_source(int fd, const cn_address_t *source)
{
    kernel_address_t  kernel;
    socklen_t         len = to_kernel(source, &kernel);

    /* let connect() choose the port: then one can serve many destinations */
    if (source->port == 0 && turn_on(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT) != 0) {
        return -1;
    }

    return bind(fd, &kernel.any, len);
}


cn_status_t
cn_socket_connect(const cn_address_t *address, const cn_address_t *source, int *fd)
{
    kernel_address_t  kernel;
    socklen_t         len = to_kernel(address, &kernel);

    int  made = socket(kernel.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (made < 0) {
        return CN_ERR_IO;
    }

    if (turn_on(made, IPPROTO_TCP, TCP_NODELAY) != 0
        || (source != NULL && bind_source(made, source) != 0))
    {
        return give_up(made);
    }

    if (connect(made, &kernel.any, len) == 0) {
        *fd = made;
        return CN_OK;
    }

    /* interrupted: the connect goes on all the same */
    if (errno != EINPROGRESS && errno != EINTR) {
        return give_up(made);
    }

    *fd = made;

    return CN_AGAIN;
}


/* What accept() may answer of one connection that is gone again, or of its network. */
static bool
is_passing(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case ENONET:
    case EPERM:
        return true;
    default:
        return false;
    }
}


cn_status_t
cn_socket_accept(int listener, int *fd, cn_address_t *peer)
{
    kernel_address_t  kernel;
    socklen_t         len;
    int               made;

    do {
        len = sizeof(kernel);
        made = accept4(listener, &kernel.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (made < 0 && is_passing(errno));

    if (made < 0) {
        switch (errno) {
        case EAGAIN:
            return CN_AGAIN;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            return CN_ERR_LIMIT;
        default:
            return CN_ERR_IO;
        }
    }

    if (from_kernel(&kernel, peer) != CN_OK) {
        return give_up(made);
    }

    *fd = made;

    return CN_OK;
}


int
cn_socket_error(int fd)
{
    int        error = 0;
    socklen_t  len = sizeof(error);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}


cn_status_t
cn_socket_local(int fd, cn_address_t *address)
{
    kernel_address_t  kernel;
    socklen_t         len = sizeof(kernel);

    return getsockname(fd, &kernel.any, &len) == 0 ? from_kernel(&kernel, address) : CN_ERR_IO;
}


cn_status_t
cn_socket_peer(int fd, cn_address_t *address)
{
    kernel_address_t  kernel;
    socklen_t         len = sizeof(kernel);

    return getpeername(fd, &kernel.any, &len) == 0 ? from_kernel(&kernel, address) : CN_ERR_IO;
}
