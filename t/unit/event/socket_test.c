/* SPDX-License-Identifier: Apache-2.0 */

/* Addresses as text, and sockets on loopback. */

#include "unit.h"

#include "event/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
    const char   *text;
    cn_status_t   status;
    const char   *printed;          /* NULL: as it was */
} ip_cases[] = {
    { "1.2.3.4", CN_OK, NULL },
    { "0.0.0.0", CN_OK, NULL },
    { "255.255.255.255", CN_OK, NULL },
    { "::", CN_OK, NULL },
    { "::1", CN_OK, NULL },
    { "2001:DB8:0:0::1", CN_OK, "2001:db8::1" },
    { "::ffff:10.0.0.1", CN_OK, "10.0.0.1" },
    { "::ffff:a00:1", CN_OK, "10.0.0.1" },
    { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", CN_OK, NULL },
    { "fe80::1%7", CN_OK, NULL },
    { "fe80::1%lo", CN_OK, "fe80::1%1" },
    { "", CN_ERR_SYNTAX, NULL },
    { "1.2.3", CN_ERR_SYNTAX, NULL },
    { "1.2.3.4.5", CN_ERR_SYNTAX, NULL },
    { "1.2.3.256", CN_ERR_SYNTAX, NULL },
    { "01.2.3.4", CN_ERR_SYNTAX, NULL },
    { "0x1.2.3.4", CN_ERR_SYNTAX, NULL },
    { "1.2.3.4 ", CN_ERR_SYNTAX, NULL },
    { "1.2.3.4%lo", CN_ERR_SYNTAX, NULL },
    { "[::1]", CN_ERR_SYNTAX, NULL },
    { "::1::", CN_ERR_SYNTAX, NULL },
    { "12345::", CN_ERR_SYNTAX, NULL },
    { "fe80::1%", CN_ERR_SYNTAX, NULL },
    { "fe80::1%0", CN_ERR_SYNTAX, NULL },
    { "fe80::1%no-such-link", CN_ERR_SYNTAX, NULL },
    { "fe80::1%99999999999", CN_ERR_SYNTAX, NULL },
    { "localhost", CN_ERR_SYNTAX, NULL },
    { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", CN_ERR_SYNTAX, NULL },
};

static void
ips_are_read_and_printed(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(ip_cases); i++) {
        const char    *name = ip_cases[i].text;
        const char    *printed = ip_cases[i].printed != NULL ? ip_cases[i].printed : name;
        cn_bytes_t     text = unit_copy(cn_bytes_str(name));
        cn_address_t   address = { .port = 4711 };
        char           out[CN_ADDRESS_TEXT_MAX];

        unit_check(cn_address_parse_ip(text, &address) == ip_cases[i].status, name);

        if (ip_cases[i].status == CN_OK) {
            unit_check(address.port == 0, name);
            unit_check(cn_address_print_ip(&address, out) == strlen(printed), name);
            unit_check(strcmp(out, printed) == 0, name);
            unit_check(cn_address_is_v4(&address) == (strchr(printed, ':') == NULL), name);

        } else {
            unit_check(address.port == 4711, name);
        }

        unit_free(text);
    }

    assert_int_equal(cn_address_parse_ip(CN_BYTES("1.2.3.4\0"), &(cn_address_t) { .port = 0 }),
                     CN_ERR_SYNTAX);
}


static const struct {
    const char   *text;
    cn_status_t   status;
} address_cases[] = {
    { "1.2.3.4:80", CN_OK },
    { "1.2.3.4:0", CN_OK },
    { "[::1]:65535", CN_OK },
    { "[fe80::1%4294967295]:15008", CN_OK },
    { "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535", CN_OK },
    { "1.2.3.4:65536", CN_ERR_RANGE },
    { "1.2.3.4", CN_ERR_SYNTAX },
    { "1.2.3.4:", CN_ERR_SYNTAX },
    { "1.2.3.4:-1", CN_ERR_SYNTAX },
    { "1.2.3.4:8o", CN_ERR_SYNTAX },
    { ":80", CN_ERR_SYNTAX },
    { "::1:80", CN_ERR_SYNTAX },
    { "[::1]", CN_ERR_SYNTAX },
    { "[::1]80", CN_ERR_SYNTAX },
    { "[1.2.3.4]:80", CN_ERR_SYNTAX },
    { "[::1:80", CN_ERR_SYNTAX },
    { "[]:80", CN_ERR_SYNTAX },
    { "host:80", CN_ERR_SYNTAX },
    { "", CN_ERR_SYNTAX },
};

static void
addresses_are_read_and_printed(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(address_cases); i++) {
        const char    *name = address_cases[i].text;
        cn_bytes_t     text = unit_copy(cn_bytes_str(name));
        cn_address_t   address;
        char          *out = malloc(CN_ADDRESS_TEXT_MAX);

        assert_non_null(out);
        unit_check(cn_address_parse(text, &address) == address_cases[i].status, name);

        if (address_cases[i].status == CN_OK) {
            unit_check(cn_address_print(&address, out) == strlen(name), name);
            unit_check(strcmp(out, name) == 0, name);
        }

        free(out);
        unit_free(text);
    }
}


static cn_address_t
address_of(const char *text)
{
    cn_address_t  address;

    assert_int_equal(cn_address_parse(cn_bytes_str(text), &address), CN_OK);

    return address;
}


static void
addresses_are_equal_in_ip_port_and_scope(void **state)
{
    cn_address_t  a = address_of("[fe80::1%1]:80"), b = a;

    (void) state;

    assert_true(cn_address_equal(&a, &b));
    b.port = 81;
    assert_false(cn_address_equal(&a, &b));
    b = address_of("[fe80::1%2]:80");
    assert_false(cn_address_equal(&a, &b));
    b = address_of("[fe80::2%1]:80");
    assert_false(cn_address_equal(&a, &b));
    a = address_of("10.0.0.1:80");
    b = address_of("[::ffff:10.0.0.1]:80");
    assert_true(cn_address_equal(&a, &b));
}


static void
wait_for(int fd, short events)
{
    struct pollfd  poller = { .fd = fd, .events = events };

    assert_int_equal(poll(&poller, 1, 5000), 1);
}


static int
option_of(int fd, int level, int option)
{
    int        value = -1;
    socklen_t  len = sizeof(value);

    assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);

    return value;
}


static void
assert_flags(int fd)
{
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
}


static void
connect_through(const char *listen_text)
{
    cn_address_t  address = address_of(listen_text), local, peer, accepted_peer;
    cn_status_t   status;
    int           listener, fd, accepted;

    assert_int_equal(cn_socket_listen(&address, false, 16, &listener), CN_OK);
    assert_int_equal(cn_socket_local(listener, &address), CN_OK);
    assert_true(address.port != 0);
    assert_int_equal(cn_socket_accept(listener, &accepted, &peer), CN_AGAIN);

    status = cn_socket_connect(&address, NULL, &fd);
    assert_true(status == CN_OK || status == CN_AGAIN);
    wait_for(fd, POLLOUT);
    assert_int_equal(cn_socket_error(fd), 0);
    wait_for(listener, POLLIN);
    assert_int_equal(cn_socket_accept(listener, &accepted, &accepted_peer), CN_OK);
    assert_flags(fd);
    assert_flags(accepted);

    assert_int_equal(cn_socket_local(fd, &local), CN_OK);
    assert_true(cn_address_equal(&local, &accepted_peer));
    assert_int_equal(cn_socket_peer(fd, &peer), CN_OK);
    assert_true(cn_address_equal(&peer, &address));
    assert_int_equal(cn_socket_accept(listener, &(int) { 0 }, &peer), CN_AGAIN);
    (void) close(fd);
    (void) close(accepted);
    (void) close(listener);
}


static void
connects_are_accepted(void **state)
{
    int  probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void) state;

    connect_through("127.0.0.1:0");

    if (probe >= 0) {
        struct sockaddr_in6  loopback = {
            .sin6_family = AF_INET6,
            .sin6_addr = IN6ADDR_LOOPBACK_INIT,
        };

        /* a machine may have IPv6 turned off */
        if (bind(probe, (struct sockaddr *) &loopback, sizeof(loopback)) == 0) {
            connect_through("[::1]:0");
        }

        (void) close(probe);
    }
}


static void
a_source_address_is_bound(void **state)
{
    cn_address_t  address = address_of("127.0.0.1:0"), source = address_of("127.0.0.9:0"), local;
    cn_address_t  wrong = address_of("[::1]:0"), foreign = address_of("192.0.2.1:0");
    cn_status_t   status;
    int           listener, fd = -1;

    (void) state;

    assert_int_equal(cn_socket_listen(&address, false, 16, &listener), CN_OK);
    assert_int_equal(cn_socket_local(listener, &address), CN_OK);
    status = cn_socket_connect(&address, &source, &fd);
    assert_true(status == CN_OK || status == CN_AGAIN);
    assert_int_equal(cn_socket_local(fd, &local), CN_OK);
    assert_memory_equal(local.ip, source.ip, 16);
    assert_true(local.port != 0);
    (void) close(fd);

    assert_int_equal(cn_socket_connect(&address, &wrong, &fd), CN_ERR_IO);
    errno = 0;
    assert_int_equal(cn_socket_connect(&address, &foreign, &fd), CN_ERR_IO);
    assert_int_equal(errno, EADDRNOTAVAIL);
    (void) close(listener);
}


static void
a_refused_connect_is_told(void **state)
{
    cn_address_t  address = address_of("127.0.0.1:0");
    cn_status_t   status;
    int           listener, fd;

    (void) state;

    /* a port that was just free */
    assert_int_equal(cn_socket_listen(&address, false, 1, &listener), CN_OK);
    assert_int_equal(cn_socket_local(listener, &address), CN_OK);
    (void) close(listener);

    status = cn_socket_connect(&address, NULL, &fd);

    if (status == CN_AGAIN) {
        wait_for(fd, POLLOUT);
        assert_int_equal(cn_socket_error(fd), ECONNREFUSED);
        (void) close(fd);

    } else {
        assert_int_equal(status, CN_ERR_IO);
        assert_int_equal(errno, ECONNREFUSED);
    }
}


static void
a_taken_port_is_told_unless_shared(void **state)
{
    cn_address_t  address = address_of("127.0.0.1:0"), shared = address;
    int           first, second;

    (void) state;

    assert_int_equal(cn_socket_listen(&address, false, 1, &first), CN_OK);
    assert_int_equal(cn_socket_local(first, &address), CN_OK);
    assert_int_equal(cn_socket_listen(&address, false, 1, &second), CN_ERR_IO);
    assert_int_equal(errno, EADDRINUSE);
    (void) close(first);

    assert_int_equal(cn_socket_listen(&shared, true, 1, &first), CN_OK);
    assert_int_equal(cn_socket_local(first, &shared), CN_OK);
    assert_int_equal(cn_socket_listen(&shared, true, 1, &second), CN_OK);
    assert_true(fcntl(first, F_GETFD) & FD_CLOEXEC);
    (void) close(first);
    (void) close(second);
}


static void
accept_without_descriptors_is_a_limit(void **state)
{
    struct rlimit  before, low;
    cn_address_t   address = address_of("127.0.0.1:0"), peer;
    cn_status_t    status;
    int            listener, fd, accepted, probe;

    (void) state;

    assert_int_equal(cn_socket_listen(&address, false, 16, &listener), CN_OK);
    assert_int_equal(cn_socket_local(listener, &address), CN_OK);
    status = cn_socket_connect(&address, NULL, &fd);
    assert_true(status == CN_OK || status == CN_AGAIN);
    wait_for(listener, POLLIN);

    probe = dup(listener);
    assert_true(probe >= 0);
    (void) close(probe);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = (rlim_t) probe;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    status = cn_socket_accept(listener, &accepted, &peer);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, CN_ERR_LIMIT);

    assert_int_equal(cn_socket_accept(listener, &accepted, &peer), CN_OK);
    (void) close(accepted);
    (void) close(fd);
    (void) close(listener);
}


static void
what_is_no_socket_is_an_error(void **state)
{
    cn_address_t  address;
    int           fds[2], fd;

    (void) state;

    assert_int_equal(cn_socket_accept(-1, &fd, &address), CN_ERR_IO);
    assert_int_equal(cn_socket_local(-1, &address), CN_ERR_IO);
    assert_int_equal(cn_socket_peer(-1, &address), CN_ERR_IO);
    assert_int_equal(cn_socket_error(-1), EBADF);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(cn_socket_local(fds[0], &address), CN_ERR_IO);
    assert_int_equal(errno, EAFNOSUPPORT);
    (void) close(fds[0]);
    (void) close(fds[1]);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(ips_are_read_and_printed),
        cmocka_unit_test(addresses_are_read_and_printed),
        cmocka_unit_test(addresses_are_equal_in_ip_port_and_scope),
        cmocka_unit_test(connects_are_accepted),
        cmocka_unit_test(a_source_address_is_bound),
        cmocka_unit_test(a_refused_connect_is_told),
        cmocka_unit_test(a_taken_port_is_told_unless_shared),
        cmocka_unit_test(accept_without_descriptors_is_a_limit),
        cmocka_unit_test(what_is_no_socket_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
