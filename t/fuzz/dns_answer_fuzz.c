/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Answers of a DNS server, over UDP and, where one is truncated, over TCP: the whole way from a
 * socket to what an owner is told.  The first octet says how, then come a message's head without
 * its id, and what stands behind the question.
 */

#include "dns/dns.h"

#include "base/log.h"
#include "base/pool.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define WRONG_ID     0x01u
#define NO_QUESTION  0x02u
#define FAMILY(how)  ((cn_dns_family_t) ((how) >> 2 & 7) % 5)
#define TWICE        0x20u
#define IN_PIECES    0x40u          /* over TCP */
#define TTL_MAX_MS   100000u
#define TURNS        24
#define MESSAGE_MAX  65000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    unsigned         told;
    cn_dns_family_t  family;
} owner_t;

static cn_loop_t  *loop;
static int         udp, tcp;
static char        servers[32];
static uint8_t     message[2 + MESSAGE_MAX + 1024];


static void
no_log(void *context, cn_bytes_t line)
{
    (void) context;
    (void) line;
}


static void
set_up(void)
{
    struct sockaddr_in  address = { .sin_family = AF_INET };
    socklen_t           len = sizeof(address);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cn_log_open("fuzz", no_log, NULL);
    loop = cn_loop_create();
    tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CN_BUG_ON(loop == NULL || tcp < 0 || udp < 0);
    CN_BUG_ON(bind(tcp, (void *) &address, len) != 0 || listen(tcp, 16) != 0);
    CN_BUG_ON(getsockname(tcp, (void *) &address, &len) != 0);
    CN_BUG_ON(bind(udp, (void *) &address, len) != 0);
    snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(address.sin_port));
}


static void
check(void *arg, const cn_dns_answer_t *answer)
{
    owner_t  *owner = arg;

    CN_BUG_ON(++owner->told != 1);
    CN_BUG_ON((answer->result == CN_DNS_OK) != (answer->count > 0));
    CN_BUG_ON(answer->count > 2 * CN_DNS_ADDRESSES_MAX || answer->ttl_ms > TTL_MAX_MS);
    CN_BUG_ON(answer->result == CN_DNS_BAD_NAME || answer->result >= CN_DNS_TOO_MANY);

    for (size_t i = 0; i < answer->count; i++) {
        bool  v4 = cn_address_is_v4(&answer->addresses[i]);

        CN_BUG_ON(answer->addresses[i].port != 80);
        CN_BUG_ON(owner->family == CN_DNS_V4_ONLY && !v4);
        CN_BUG_ON(owner->family == CN_DNS_V6_ONLY && v4);
    }
}


/* The message that answers query, behind two octets for its length; 0: none. */
static size_t
build(const uint8_t *query, size_t query_len, const uint8_t *data, size_t size, unsigned how)
{
    size_t  len = 2, question = query_len < 12 ? 0 : query_len - 12;

    if (query_len < 12 || size < 10) {
        return 0;
    }

    memcpy(message + len, query, 2);
    message[len] ^= (how & WRONG_ID) != 0 ? 0x5a : 0;
    memcpy(message + len + 2, data, 10);
    len += 12;

    if ((how & NO_QUESTION) == 0) {
        memcpy(message + len, query + 12, question);
        len += question;
    }

    memcpy(message + len, data + 10, size - 10);
    len += size - 10;
    message[0] = (uint8_t) ((len - 2) >> 8);
    message[1] = (uint8_t) (len - 2);

    return len - 2;
}


static void
answer_udp(const uint8_t *data, size_t size, unsigned how)
{
    uint8_t             query[1024];
    struct sockaddr_in  from;
    socklen_t           from_len = sizeof(from);
    ssize_t             query_len;

    while ((query_len = recvfrom(udp, query, sizeof(query), 0, (void *) &from, &from_len)) >= 0) {
        size_t  len = build(query, (size_t) query_len, data, size, how);

        (void) sendto(udp, message + 2, len, 0, (void *) &from, from_len);

        if ((how & TWICE) != 0) {
            (void) sendto(udp, message + 2, len, 0, (void *) &from, from_len);
        }

        from_len = sizeof(from);
    }
}


static void
answer_tcp(int *fd, const uint8_t *data, size_t size, unsigned how)
{
    const struct linger  at_once = { .l_onoff = 1, .l_linger = 0 };
    uint8_t              query[1024];
    ssize_t              query_len;
    size_t               len;

    if (*fd < 0) {
        *fd = accept4(tcp, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (*fd < 0) {
            return;
        }

        /* no TIME_WAIT: ports would run out */
        CN_BUG_ON(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) != 0);
    }

    query_len = recv(*fd, query, sizeof(query), 0);

    if (query_len > 14) {
        len = 2 + build(query + 2, (size_t) query_len - 2, data, size, how);

        if ((how & IN_PIECES) != 0) {
            (void) send(*fd, message, 1, MSG_NOSIGNAL);
            cn_loop_turn(loop, 0);
            (void) send(*fd, message + 1, len / 2, MSG_NOSIGNAL);
            cn_loop_turn(loop, 0);
            (void) send(*fd, message + 1 + len / 2, len - len / 2 - 1, MSG_NOSIGNAL);

        } else {
            (void) send(*fd, message, len, MSG_NOSIGNAL);
        }
    }
}


static void
clean_up(int fd)
{
    if (fd >= 0) {
        close(fd);
    }

    while ((fd = accept4(tcp, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        close(fd);
    }

    while (recv(udp, message, sizeof(message), 0) >= 0) {
        continue;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_dns_config_t  config = cn_dns_defaults;
    owner_t          owner = { .told = 0 };
    unsigned         how = size == 0 ? 0 : data[0];
    int              fd = -1;
    unsigned         told;
    cn_dns_t        *dns;

    if (loop == NULL) {
        set_up();
    }

    if (size < 1 || size > MESSAGE_MAX) {
        return 0;
    }

    config.servers = servers;
    config.resolv_conf = "/dev/null";
    config.hosts = "/dev/null";
    config.ttl_max_ms = TTL_MAX_MS;
    config.tries = 1;
    owner.family = FAMILY(how);
    dns = cn_dns_create(loop, &config);
    CN_BUG_ON(dns == NULL);
    CN_BUG_ON(cn_dns_resolve(dns, CN_BYTES("name.test"), 80, owner.family, check, &owner) == NULL);

    for (unsigned i = 0; i < TURNS && owner.told == 0; i++) {
        cn_loop_turn(loop, 0);
        answer_udp(data + 1, size - 1, how);
        answer_tcp(&fd, data + 1, size - 1, how);
    }

    clean_up(fd);
    told = owner.told;
    cn_dns_destroy(dns);
    cn_loop_turn(loop, 0);
    CN_BUG_ON(owner.told != told);

    return 0;
}
