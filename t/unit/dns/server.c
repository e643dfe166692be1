/* SPDX-License-Identifier: Apache-2.0 */

#include "server.h"

#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_MAX  65535u
#define UDP_MAX      512u
#define LOG_MAX      512u
#define CONNS_MAX    8u

typedef struct {
    uint8_t  octets[MESSAGE_MAX + 4096];
    size_t   len;
} message_t;

typedef struct {
    char      name[256];
    unsigned  type;
} asked_t;

typedef struct {
    cn_watch_t     watch;
    dns_server_t  *server;
    uint8_t        octets[1024];
    size_t         len;
} conn_t;

struct dns_server_s {
    cn_watch_t          udp;
    cn_watch_t          tcp;
    cn_loop_t          *loop;
    const dns_entry_t  *entries;
    unsigned            port;
    unsigned            asked;
    unsigned            asked_tcp;
    asked_t             log[LOG_MAX];
    conn_t              conns[CONNS_MAX];
    message_t           out;
};

typedef struct {
    const uint8_t  *octets;
    size_t          question_len;   /* of the name, type and class behind the head */
    char            name[256];
    unsigned        type;
} question_t;


/* ---- messages -------------------------------------------------------------------------------- */

static void
put(message_t *message, const void *octets, size_t len)
{
    assert_true(message->len + len <= sizeof(message->octets));
    memcpy(message->octets + message->len, octets, len);
    message->len += len;
}


static void
put16(message_t *message, unsigned value)
{
    put(message, (uint8_t[2]) { (uint8_t) (value >> 8), (uint8_t) value }, 2);
}


static void
put32(message_t *message, uint32_t value)
{
    put16(message, value >> 16);
    put16(message, value & 0xffff);
}


static void
put_name(message_t *message, const char *name)
{
    cn_bytes_t  rest = cn_bytes_str(name), label;

    while (rest.len > 0) {
        (void) cn_bytes_split(rest, '.', &label, &rest);
        put(message, &(uint8_t) { (uint8_t) label.len }, 1);
        put(message, label.ptr, label.len);
    }

    put(message, "", 1);
}


static void
add_answer(message_t *message)
{
    unsigned  count = (unsigned) (message->octets[6] << 8 | message->octets[7]) + 1;

    message->octets[6] = (uint8_t) (count >> 8);
    message->octets[7] = (uint8_t) count;
}


/* owner NULL: the name of the question. */
static void
put_record_head(message_t *message, const char *owner, unsigned type, uint32_t ttl)
{
    if (owner == NULL) {
        put16(message, 0xc00c);
    } else {
        put_name(message, owner);
    }

    put16(message, type);
    put16(message, 1);
    put32(message, ttl);
    add_answer(message);
}


static void
put_address(message_t *message, const char *owner, const char *text, uint32_t ttl)
{
    bool     v6 = strchr(text, ':') != NULL;
    uint8_t  octets[16];

    assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, text, octets), 1);
    put_record_head(message, owner, v6 ? DNS_AAAA : DNS_A, ttl);
    put16(message, v6 ? 16 : 4);
    put(message, octets, v6 ? 16 : 4);
}


static void
put_addresses(message_t *message, const char *owner, const dns_entry_t *entry)
{
    cn_bytes_t  rest = cn_bytes_str(entry->data), word;
    char        text[64];

    while (rest.len > 0) {
        (void) cn_bytes_split(rest, ' ', &word, &rest);
        snprintf(text, sizeof(text), "%.*s", CN_BYTES_ARG(word));
        put_address(message, owner, text, entry->ttl);
    }
}


static void
begin(message_t *message, const question_t *question, unsigned flags)
{
    message->len = 0;
    put(message, question->octets, 2);
    put16(message, 0x8180 | flags);
    put16(message, 1);
    put(message, "\0\0\0\0\0\0", 6);
    put(message, question->octets + 12, question->question_len);
}


/* ---- what is answered ------------------------------------------------------------------------ */

static const dns_entry_t *
find(const dns_server_t *server, const char *name, unsigned type, bool *known)
{
    *known = false;

    for (const dns_entry_t *entry = server->entries; entry->name != NULL; entry++) {
        if (strcmp(entry->name, name) != 0) {
            continue;
        }

        *known = true;

        if (entry->type == type || entry->type == DNS_CNAME) {
            return entry;
        }
    }

    return NULL;
}


static void
put_right_answer(dns_server_t *server, const question_t *question, const dns_entry_t *entry)
{
    message_t   *out = &server->out;
    const char  *owner = NULL;
    bool         known;

    begin(out, question, 0);

    for (unsigned i = 0; i < 8 && entry != NULL && entry->type == DNS_CNAME; i++) {
        size_t  at;

        put_record_head(out, owner, DNS_CNAME, entry->ttl);
        at = out->len;
        put16(out, 0);
        put_name(out, entry->data);
        out->octets[at + 1] = (uint8_t) (out->len - at - 2);
        owner = entry->data;
        entry = find(server, owner, question->type, &known);
    }

    if (entry == NULL || entry->type == DNS_CNAME) {
        return;
    }

    if (entry->manner == DNS_MANY) {
        for (unsigned i = 0; i < entry->count; i++) {
            char  text[32];

            snprintf(text, sizeof(text), "10.1.%u.%u", i / 256, i % 256);
            put_address(out, owner, text, entry->ttl);
        }

    } else if (entry->manner == DNS_WRONG_TYPE) {
        put_address(out, owner, question->type == DNS_A ? "fd00::66" : "6.6.6.6", entry->ttl);

    } else {
        put_addresses(out, owner, entry);
    }
}


static void
send_out(int fd, bool tcp, const struct sockaddr_in *to, const message_t *out)
{
    uint8_t  head[2] = { (uint8_t) (out->len >> 8), (uint8_t) out->len };

    if (tcp) {
        /* a few at once would be another test: the socket holds a whole message */
        assert_int_equal(send(fd, head, 2, MSG_NOSIGNAL), 2);
        assert_int_equal(send(fd, out->octets, out->len, MSG_NOSIGNAL), (ssize_t) out->len);
        return;
    }

    assert_int_equal(sendto(fd, out->octets, out->len, 0, (const void *) to, sizeof(*to)),
                     (ssize_t) out->len);
}


/* What is wrong goes out first; whether the right answer follows. */
static bool
send_wrong(dns_server_t *server, const question_t *question, const dns_entry_t *entry, int fd,
    bool tcp, const struct sockaddr_in *to)
{
    static const char  noise[] = "\x93\xff\x40\x12 noise, and no record \xff\xff\xff\xff";
    message_t   *out = &server->out;
    dns_entry_t  evil = { .data = "6.6.6.6", .ttl = 60, .type = DNS_A };
    uint8_t      other[] = "\0\0\1\0\0\1\0\0\0\0\0\0\4evil\4test\0\0\1\0\1";
    question_t   wrong = { .octets = other, .question_len = sizeof(other) - 1 - 12 };

    switch (entry->manner) {

    case DNS_SERVFAIL:
    case DNS_REFUSED:
        begin(out, question, entry->manner == DNS_SERVFAIL ? 2 : 5);
        send_out(fd, tcp, to, out);
        return false;

    case DNS_SILENT:
        return false;

    case DNS_HANGS_UP:
    case DNS_SILENT_TCP:
        if (tcp && entry->manner == DNS_HANGS_UP) {
            assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
        }

        return !tcp;

    case DNS_SILENT_ONCE:
        return dns_server_asked_for(server, question->name, question->type) > 1;

    case DNS_WRONG_ID:
        begin(out, question, 0);
        put_addresses(out, NULL, &evil);
        out->octets[0] ^= 0x55;
        send_out(fd, tcp, to, out);
        return true;

    case DNS_WRONG_QUESTION:
        memcpy(other, question->octets, 2);
        begin(out, &wrong, 0);
        put_addresses(out, question->name, &evil);
        send_out(fd, tcp, to, out);
        return true;

    case DNS_GARBAGE:
        begin(out, question, 0);
        add_answer(out);
        put(out, noise, sizeof(noise) - 1);
        send_out(fd, tcp, to, out);
        return false;

    case DNS_LOOP:
        begin(out, question, 0);
        add_answer(out);
        put16(out, 0xc000 | (unsigned) out->len);
        put(out, "\0\1\0\1\0\0\0\74\0\4\6\6\6\6", 14);
        send_out(fd, tcp, to, out);
        return false;

    case DNS_SHORT:
        put_right_answer(server, question, entry);
        out->len -= 2;
        send_out(fd, tcp, to, out);
        return false;

    case DNS_EMPTY:
        out->len = 0;
        send_out(fd, tcp, to, out);
        return true;

    case DNS_ANSWER:
    case DNS_TRUNCATED:
    case DNS_WRONG_TYPE:
    case DNS_MANY:
    default:
        return true;
    }
}


static void
answer(dns_server_t *server, const question_t *question, int fd, bool tcp,
    const struct sockaddr_in *to)
{
    bool                known;
    const dns_entry_t  *entry = find(server, question->name, question->type, &known);

    if (entry == NULL) {
        begin(&server->out, question, known ? 0 : 3);
        send_out(fd, tcp, to, &server->out);
        return;
    }

    if (!send_wrong(server, question, entry, fd, tcp, to)) {
        return;
    }

    put_right_answer(server, question, entry);

    if (!tcp
        && (entry->manner == DNS_TRUNCATED || entry->manner == DNS_HANGS_UP
            || entry->manner == DNS_SILENT_TCP || server->out.len > UDP_MAX))
    {
        begin(&server->out, question, 0x0200);
    }

    send_out(fd, tcp, to, &server->out);
}


/* ---- questions ------------------------------------------------------------------------------- */

static void
read_question(dns_server_t *server, const uint8_t *octets, size_t len, question_t *question)
{
    size_t  at = 12, out = 0;

    assert_true(len > 16);
    memset(question, 0, sizeof(*question));
    question->octets = octets;

    while (octets[at] != 0) {
        size_t  label = octets[at];

        assert_true(label < 64 && at + label + 5 < len + 1 && out + label + 2 < 256);

        if (out > 0) {
            question->name[out++] = '.';
        }

        memcpy(question->name + out, octets + at + 1, label);
        out += label;
        at += 1 + label;
    }

    question->type = (unsigned) (octets[at + 1] << 8 | octets[at + 2]);
    question->question_len = at + 5 - 12;

    if (server->asked < LOG_MAX) {
        snprintf(server->log[server->asked].name, sizeof(server->log[0].name), "%s",
                 question->name);
        server->log[server->asked].type = question->type;
    }

    server->asked++;
}


static void
read_udp(cn_watch_t *watch, unsigned events)
{
    dns_server_t        *server = CN_CONTAINER_OF(watch, dns_server_t, udp);
    struct sockaddr_in   from;
    socklen_t            from_len = sizeof(from);
    uint8_t              octets[1024];
    question_t           question;
    ssize_t              len;

    (void) events;

    while ((len = recvfrom(watch->fd, octets, sizeof(octets), 0, (void *) &from, &from_len)) >= 0) {
        read_question(server, octets, (size_t) len, &question);
        answer(server, &question, watch->fd, false, &from);
        from_len = sizeof(from);
    }
}


static void
close_conn(conn_t *conn)
{
    if (conn->server != NULL) {
        cn_watch_remove(conn->server->loop, &conn->watch);
        close(conn->watch.fd);
        memset(conn, 0, sizeof(*conn));
    }
}


static void
read_tcp(cn_watch_t *watch, unsigned events)
{
    conn_t      *conn = CN_CONTAINER_OF(watch, conn_t, watch);
    question_t   question;
    ssize_t      len;
    size_t       want;

    (void) events;

    len = recv(watch->fd, conn->octets + conn->len, sizeof(conn->octets) - conn->len, 0);

    if (len <= 0) {
        close_conn(conn);
        return;
    }

    conn->len += (size_t) len;

    while (conn->len >= 2
           && conn->len >= (want = 2 + (size_t) (conn->octets[0] << 8 | conn->octets[1])))
    {
        read_question(conn->server, conn->octets + 2, want - 2, &question);
        conn->server->asked_tcp++;
        answer(conn->server, &question, watch->fd, true, NULL);
        memmove(conn->octets, conn->octets + want, conn->len - want);
        conn->len -= want;
    }
}


static void
accept_tcp(cn_watch_t *watch, unsigned events)
{
    dns_server_t  *server = CN_CONTAINER_OF(watch, dns_server_t, tcp);
    int            fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int            size = 1 << 20;

    (void) events;
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);

    for (size_t i = 0; i < CONNS_MAX; i++) {
        conn_t  *conn = &server->conns[i];

        if (conn->server == NULL) {
            conn->server = server;
            conn->watch.fd = fd;
            conn->watch.ready = read_tcp;
            assert_int_equal(cn_watch_set(server->loop, &conn->watch, CN_READABLE), CN_OK);
            return;
        }
    }

    close(fd);
}


/* ---- open and close -------------------------------------------------------------------------- */

/* One port for both; the kernel's choice for UDP may be taken for TCP. */
static bool
bind_both(dns_server_t *server)
{
    struct sockaddr_in  address = { .sin_family = AF_INET };
    socklen_t           len = sizeof(address);
    bool                bound;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->udp.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    server->tcp.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->udp.fd, (void *) &address, sizeof(address)), 0);
    assert_int_equal(getsockname(server->udp.fd, (void *) &address, &len), 0);
    server->port = ntohs(address.sin_port);
    bound = bind(server->tcp.fd, (void *) &address, sizeof(address)) == 0
            && listen(server->tcp.fd, 16) == 0;

    if (!bound) {
        close(server->udp.fd);
        close(server->tcp.fd);
    }

    return bound;
}


dns_server_t *
dns_server_open(cn_loop_t *loop, const dns_entry_t *entries)
{
    dns_server_t  *server = calloc(1, sizeof(*server));
    unsigned       tries = 0;

    assert_non_null(server);
    server->loop = loop;
    server->entries = entries;

    while (!bind_both(server)) {
        assert_true(++tries < 50);
    }

    server->udp.ready = read_udp;
    server->tcp.ready = accept_tcp;
    assert_int_equal(cn_watch_set(loop, &server->udp, CN_READABLE), CN_OK);
    assert_int_equal(cn_watch_set(loop, &server->tcp, CN_READABLE), CN_OK);

    return server;
}


void
dns_server_use(dns_server_t *server, const dns_entry_t *entries)
{
    server->entries = entries;
}


void
dns_server_close(dns_server_t *server)
{
    for (size_t i = 0; i < CONNS_MAX; i++) {
        close_conn(&server->conns[i]);
    }

    cn_watch_remove(server->loop, &server->udp);
    cn_watch_remove(server->loop, &server->tcp);
    close(server->udp.fd);
    close(server->tcp.fd);
    free(server);
}


unsigned
dns_server_port(const dns_server_t *server)
{
    return server->port;
}


unsigned
dns_server_asked(const dns_server_t *server)
{
    return server->asked;
}


unsigned
dns_server_asked_tcp(const dns_server_t *server)
{
    return server->asked_tcp;
}


unsigned
dns_server_asked_for(const dns_server_t *server, const char *name, unsigned type)
{
    unsigned  count = 0;

    for (size_t i = 0; i < server->asked && i < LOG_MAX; i++) {
        count += strcmp(server->log[i].name, name) == 0 && server->log[i].type == type ? 1 : 0;
    }

    return count;
}
