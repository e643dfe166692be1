/* SPDX-License-Identifier: Apache-2.0 */

/*
 * channel - c-ares on the loop.  It tells of each socket what it waits for (a watch), and after
 * each call into it when it wants to be called again (the timer).  Nothing here calls c-ares from
 * within one of its callbacks.
 */

#include "dns/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"

#include <ares.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEAD_LEN         12             /* octets of a message's head (RFC 1035 4.1.1) */
#define MESSAGE_MAX      16384          /* of an answer over TCP */
#define RCODE_REFUSED    5
#define RCODE_TOO_LARGE  16             /* none of a message's: it was not read */

struct cn_dns_channel_s {
    ares_channel  ares;
    cn_loop_t    *loop;
    cn_timer_t    timer;
    cn_list_t     link;
    cn_list_t     sockets;
    size_t        under_way;
    int           flags;            /* ARES_AI_* of each lookup */
    unsigned      rcode;            /* of the last message that was received; 0: none */
};

typedef struct {
    cn_watch_t         watch;
    cn_list_t          link;
    cn_dns_channel_t  *channel;
} socket_t;


/* ---- sockets and time ------------------------------------------------------------------------ */

/* When c-ares wants to be called again. */
static void
set_timer(cn_dns_channel_t *channel)
{
    struct timeval  left;
    uint64_t        delay_ms;

    if (ares_timeout(channel->ares, NULL, &left) == NULL) {
        cn_timer_cancel(&channel->timer);
        return;
    }

    /* rounded up, and never 0: it must not be called again and again for nothing */
    delay_ms = (uint64_t) left.tv_sec * 1000 + (uint64_t) left.tv_usec / 1000 + 1;
    cn_timer_set(channel->loop, &channel->timer, delay_ms);
}


/* Lets c-ares read and write what is ready, and look at its timeouts. */
static void
process(cn_dns_channel_t *channel, int read_fd, int write_fd)
{
    channel->rcode = 0;
    ares_process_fd(channel->ares, read_fd, write_fd);
    channel->rcode = 0;
    set_timer(channel);
}


static void
time_is_over(cn_timer_t *timer)
{
    cn_dns_channel_t  *channel = CN_CONTAINER_OF(timer, cn_dns_channel_t, timer);

    process(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}


static void
socket_ready(cn_watch_t *watch, unsigned events)
{
    socket_t  *sock = CN_CONTAINER_OF(watch, socket_t, watch);
    int        fd = watch->fd;

    /* an error shows itself to whoever reads or writes; sock may be gone after this */
    process(sock->channel, (events & (CN_READABLE | CN_HANGUP)) != 0 ? fd : ARES_SOCKET_BAD,
            (events & (CN_WRITABLE | CN_HANGUP)) != 0 ? fd : ARES_SOCKET_BAD);
}


static void
drop_socket(socket_t *sock)
{
    cn_watch_remove(sock->channel->loop, &sock->watch);
    cn_list_remove(&sock->link);
    cn_free(sock);
}


static socket_t *
find_socket(cn_dns_channel_t *channel, int fd)
{
    CN_LIST_EACH(&channel->sockets, link) {
        socket_t  *sock = CN_LIST_ITEM(link, socket_t, link);

        if (sock->watch.fd == fd) {
            return sock;
        }
    }

    return NULL;
}


static socket_t *
add_socket(cn_dns_channel_t *channel, int fd)
{
    socket_t  *sock = cn_alloc_zero(sizeof(*sock));

    if (sock != NULL) {
        sock->channel = channel;
        sock->watch.fd = fd;
        sock->watch.ready = socket_ready;
        cn_list_append(&channel->sockets, &sock->link);
    }

    return sock;
}


/* Both 0: it is about to be closed.  A socket that cannot be watched ends in a timeout. */
static void
socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    cn_dns_channel_t  *channel = arg;
    socket_t          *sock = find_socket(channel, fd);
    unsigned           want = (readable ? CN_READABLE : 0u) | (writable ? CN_WRITABLE : 0u);

    if (want == 0) {
        if (sock != NULL) {
            drop_socket(sock);
        }

        return;
    }

    if (sock == NULL) {
        sock = add_socket(channel, fd);
    }

    if (sock == NULL || cn_watch_set(channel->loop, &sock->watch, want) != CN_OK) {
        cn_log(CN_LOG_WARN, "dns", "cannot watch a socket: fd=%d", fd);
    }
}


/*
 * The sockets are ours for two reasons, both of older versions.  They walk to the end of a list for
 * each record they add: the 4000 of the largest message take 80 ms, in which a worker serves
 * nobody.  And they say ARES_ECONNREFUSED when the last server failed, whether it could not be
 * reached or said so; a lookup ends within the processing of the message that ends it, so that
 * message tells.  Later ones say it themselves, and do not like their sockets to be taken over.
 */
#if ARES_VERSION < 0x011c00

static ares_socket_t
open_socket(int family, int type, int protocol, void *arg)
{
    (void) arg;

    return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}


static int
close_socket(ares_socket_t fd, void *arg)
{
    (void) arg;

    return close(fd);
}


static int
connect_socket(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t len, void *arg)
{
    (void) arg;

    return connect(fd, address, len);
}


/* Of a message over TCP, c-ares asks for its length first and then for all of it. */
static ares_ssize_t
receive(ares_socket_t fd, void *octets, size_t size, int flags, struct sockaddr *from,
    ares_socklen_t *from_len, void *arg)
{
    cn_dns_channel_t  *channel = arg;
    ssize_t            len;

    if (from == NULL && size > MESSAGE_MAX) {
        channel->rcode = RCODE_TOO_LARGE;
        errno = EMSGSIZE;
        return -1;
    }

    len = recvfrom(fd, octets, size, flags, from, from_len);

    if (len >= HEAD_LEN) {
        channel->rcode = ((const uint8_t *) octets)[3] & 0x0f;
    }

    return len;
}


static ares_ssize_t
send_pieces(ares_socket_t fd, const struct iovec *pieces, int count, void *arg)
{
    const struct msghdr  message = {
        .msg_iov = (struct iovec *) (uintptr_t) pieces,
        .msg_iovlen = (size_t) count,
    };

    (void) arg;

    return sendmsg(fd, &message, MSG_NOSIGNAL);
}


static void
take_sockets(cn_dns_channel_t *channel)
{
    static const struct ares_socket_functions  functions = {
        .asocket = open_socket,
        .aclose = close_socket,
        .aconnect = connect_socket,
        .arecvfrom = receive,
        .asendv = send_pieces,
    };

    ares_set_socket_functions(channel->ares, &functions, channel);
}

#else

static void
take_sockets(cn_dns_channel_t *channel)
{
    (void) channel;
}

#endif


/* ---- answers --------------------------------------------------------------------------------- */

/* What ARES_ECONNREFUSED stands for. */
static cn_dns_result_t
result_of_last(unsigned rcode)
{
    switch (rcode) {

    case 0:
        return CN_DNS_UNREACHABLE;

    case RCODE_REFUSED:
        return CN_DNS_REFUSED;

    case RCODE_TOO_LARGE:
        return CN_DNS_BAD_ANSWER;

    default:
        return CN_DNS_SERVER_FAILURE;
    }
}


static cn_dns_result_t
result_of(int status, unsigned rcode)
{
    switch (status) {

    case ARES_SUCCESS:
        return CN_DNS_OK;

    case ARES_ENOTFOUND:
    case ARES_ENONAME:
        return CN_DNS_NOT_FOUND;

    case ARES_ENODATA:
        return CN_DNS_NO_DATA;

    case ARES_EBADNAME:
    case ARES_EBADSTR:
        return CN_DNS_BAD_NAME;

    case ARES_EREFUSED:
        return CN_DNS_REFUSED;

    case ARES_EBADRESP:
        return CN_DNS_BAD_ANSWER;

    case ARES_ECONNREFUSED:
        return result_of_last(rcode);

    case ARES_ETIMEOUT:
        return CN_DNS_TIMEOUT;

    case ARES_ENOMEM:
        return CN_DNS_MEMORY;

    default:
        return CN_DNS_SERVER_FAILURE;
    }
}


/*
 * Whether an address is of family: a server may well send others.  IPv4 within IPv6 would be IPv4
 * to the rest of the tree, and has no place in an AAAA record.
 */
static bool
is_of_family(const struct ares_addrinfo_node *node, int family)
{
    if (node->ai_family != family) {
        return false;
    }

    return family == AF_INET
           || !IN6_IS_ADDR_V4MAPPED(
                  &((const struct sockaddr_in6 *) (const void *) node->ai_addr)->sin6_addr);
}


/* The least TTL (s) on the way to the addresses; one with its top bit set is 0 (RFC 2181 8). */
static int
least_ttl(const struct ares_addrinfo *info, int family)
{
    int  least = INT_MAX;

    for (const struct ares_addrinfo_cname *name = info->cnames; name != NULL; name = name->next) {
        least = name->ttl < least ? name->ttl : least;
    }

    for (const struct ares_addrinfo_node *node = info->nodes; node != NULL; node = node->ai_next) {
        if (is_of_family(node, family)) {
            least = node->ai_ttl < least ? node->ai_ttl : least;
        }
    }

    return least < 0 ? 0 : least;
}


static void
copy_address(cn_address_t *address, const struct sockaddr *from)
{
    static const uint8_t  v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

    if (from->sa_family == AF_INET) {
        const struct sockaddr_in  *v4 = (const void *) from;

        memcpy(address->ip, v4_prefix, sizeof(v4_prefix));
        memcpy(address->ip + sizeof(v4_prefix), &v4->sin_addr, 4);
        return;
    }

    memcpy(address->ip, &((const struct sockaddr_in6 *) (const void *) from)->sin6_addr, 16);
}


/* The answer's addresses of family. */
static cn_dns_result_t
read_addresses(const struct ares_addrinfo *info, int family, cn_dns_record_t **record)
{
    const struct ares_addrinfo_node  *node;
    size_t                            count = 0;

    for (node = info->nodes; node != NULL; node = node->ai_next) {
        count += is_of_family(node, family) ? 1 : 0;
    }

    if (count == 0) {
        return CN_DNS_NO_DATA;
    }

    *record = cn_dns_record_create(CN_DNS_OK, count > CN_DNS_ADDRESSES_MAX ? CN_DNS_ADDRESSES_MAX
                                                                           : count);
    if (*record == NULL) {
        return CN_DNS_MEMORY;
    }

    (*record)->cut = count > CN_DNS_ADDRESSES_MAX;
    (*record)->ttl_ms = (uint64_t) least_ttl(info, family) * 1000;
    count = 0;

    for (node = info->nodes; node != NULL && count < (*record)->count; node = node->ai_next) {
        if (is_of_family(node, family)) {
            copy_address(&(*record)->addresses[count++], node->ai_addr);
        }
    }

    return CN_DNS_OK;
}


static void
answered(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    cn_dns_ask_t     *ask = arg;
    cn_dns_record_t  *record = NULL;
    cn_dns_result_t   result = result_of(status, ask->channel->rcode);

    (void) timeouts;

    if (result == CN_DNS_OK) {
        result = read_addresses(info, ask->v6 ? AF_INET6 : AF_INET, &record);
    }

    if (info != NULL) {
        ares_freeaddrinfo(info);
    }

    ask->channel->under_way--;
    ask->done(ask, result, record);
}


void
cn_dns_channel_ask(cn_dns_channel_t *channel, const char *name, cn_dns_ask_t *ask)
{
    const struct ares_addrinfo_hints  hints = {
        /* in the order of the servers: sorting would connect to each address */
        .ai_flags = ARES_AI_NOSORT | channel->flags,
        .ai_family = ask->v6 ? AF_INET6 : AF_INET,
        .ai_socktype = SOCK_STREAM,
    };

    ask->channel = channel;
    channel->under_way++;
    ares_getaddrinfo(channel->ares, name, NULL, &hints, answered, ask);
    set_timer(channel);
}


/* ---- open and close -------------------------------------------------------------------------- */

/* Another hosts file: an option of later versions, of this one an environment variable. */
static int
use_hosts(cn_dns_channel_t *channel, struct ares_options *options, const char *path)
{
    if (path == NULL) {
        return 0;
    }

#ifdef ARES_OPT_HOSTS_FILE
    (void) channel;
    options->hosts_path = (char *) (uintptr_t) path;
    return ARES_OPT_HOSTS_FILE;
#else
    (void) options;
    (void) setenv("CARES_HOSTS", path, 1);
    channel->flags = ARES_AI_ENVHOSTS;
    return 0;
#endif
}


static int
init_ares(cn_dns_channel_t *channel, const cn_dns_config_t *config)
{
    static char          lookups[] = "fb";      /* the hosts file, then the servers */
    struct ares_options  options = {
        .timeout = (int) (config->timeout_ms > INT_MAX ? INT_MAX : config->timeout_ms),
        .tries = (int) (config->tries > 100 ? 100 : config->tries),
        .lookups = lookups,
        .sock_state_cb = socket_state,
        .sock_state_cb_data = channel,
        .resolvconf_path = (char *) (uintptr_t) config->resolv_conf,
    };
    int                  mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS
                                | ARES_OPT_SOCK_STATE_CB;
    int                  status;

    mask |= config->resolv_conf != NULL ? ARES_OPT_RESOLVCONF : 0;
    mask |= use_hosts(channel, &options, config->hosts);
#ifdef ARES_OPT_QUERY_CACHE
    mask |= ARES_OPT_QUERY_CACHE;               /* of no seconds: the cache is lookup.c's */
#endif

    status = ares_init_options(&channel->ares, &options, mask);

    if (status != ARES_SUCCESS) {
        return status;
    }

    take_sockets(channel);
    status = config->servers == NULL ? ARES_SUCCESS
                                     : ares_set_servers_ports_csv(channel->ares, config->servers);

    if (status != ARES_SUCCESS) {
        ares_destroy(channel->ares);
    }

    return status;
}


cn_dns_channel_t *
cn_dns_channel_open(cn_loop_t *loop, const cn_dns_config_t *config)
{
    cn_dns_channel_t  *channel = cn_alloc_zero(sizeof(*channel));
    int                status;

    if (channel == NULL) {
        return NULL;
    }

    channel->loop = loop;
    channel->timer.run = time_is_over;
    cn_list_init(&channel->sockets);

    /* counted by c-ares: its memory is ours as long as a channel is open */
    status = ares_library_init_mem(ARES_LIB_INIT_ALL, cn_alloc, cn_free, cn_realloc);

    if (status == ARES_SUCCESS) {
        status = init_ares(channel, config);

        if (status == ARES_SUCCESS) {
            return channel;
        }

        ares_library_cleanup();
    }

    cn_log(CN_LOG_ERROR, "dns", "cannot open c-ares: %s servers=%s", ares_strerror(status),
           config->servers == NULL ? "-" : config->servers);
    cn_free(channel);

    return NULL;
}


void
cn_dns_channel_destroy(cn_dns_channel_t *channel)
{
    if (channel == NULL) {
        return;
    }

    ares_destroy(channel->ares);
    ares_library_cleanup();

    CN_BUG_ON(channel->under_way != 0);
    CN_BUG_ON(!cn_list_empty(&channel->sockets));

    cn_timer_cancel(&channel->timer);
    cn_list_remove(&channel->link);
    cn_free(channel);
}


bool
cn_dns_channel_busy(const cn_dns_channel_t *channel)
{
    return channel->under_way > 0;
}


cn_list_t *
cn_dns_channel_link(cn_dns_channel_t *channel)
{
    return &channel->link;
}


cn_dns_channel_t *
cn_dns_channel_of_link(cn_list_t *link)
{
    return CN_LIST_ITEM(link, cn_dns_channel_t, link);
}
