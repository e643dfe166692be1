/* SPDX-License-Identifier: Apache-2.0 */

/* Which endpoint answers where, and from whom a command is taken. */

#include "unit.h"

#include "admin/admin.h"
#include "base/clock.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned            commands;        /* those that arrived */
static cn_admin_command_t  last_command;
static bool                is_ready;


static bool
ready(void *owner)
{
    (void) owner;

    return is_ready;
}


static void
take_command(void *owner, cn_admin_command_t command)
{
    (void) owner;
    commands++;
    last_command = command;
}


static const cn_admin_view_t  view = { .ready = ready, .command = take_command };


/* Both ends of a TCP connection over the loopback interface. */
static void
connect_pair(int fds[2])
{
    cn_address_t  address;
    int           listener;

    assert_int_equal(cn_address_parse(CN_BYTES("127.0.0.1:0"), &address), CN_OK);
    assert_int_equal(cn_socket_listen(&address, false, 4, &listener), CN_OK);
    assert_int_equal(cn_socket_local(listener, &address), CN_OK);

    cn_status_t  status = cn_socket_connect(&address, NULL, &fds[0]);

    assert_true(status == CN_OK || status == CN_AGAIN);

    struct pollfd  wait = { .fd = listener, .events = POLLIN };

    assert_int_equal(poll(&wait, 1, 5000), 1);
    assert_int_equal(cn_socket_accept(listener, &fds[1], &address), CN_OK);
    close(listener);
}


/* The status that a request gets of that kind of socket when it comes from peer. */
static unsigned
ask(cn_admin_kind_t kind, const char *peer, const char *request)
{
    cn_loop_t     *loop = cn_loop_create();
    cn_admin_t    *admin = cn_admin_create(loop, &view);
    char           answer[2048];
    ssize_t        len = -1;
    cn_address_t   from;
    int            fds[2];

    assert_non_null(loop);
    assert_non_null(admin);
    assert_int_equal(cn_address_parse_ip(cn_bytes_str(peer), &from), CN_OK);
    connect_pair(fds);
    cn_admin_accept(admin, fds[1], &from, kind);
    assert_int_equal(write(fds[0], request, strlen(request)), strlen(request));

    for (int i = 0; i < 500 && len <= 0; i++) {
        cn_loop_turn(loop, 10);
        len = recv(fds[0], answer, sizeof(answer) - 1, MSG_DONTWAIT);
    }

    assert_true(len > 12);
    answer[len] = '\0';
    close(fds[0]);
    cn_loop_turn(loop, 10);
    cn_loop_turn(loop, 0);
    cn_loop_destroy(loop);
    cn_free(admin);

    return (unsigned) strtoul(answer + strlen("HTTP/1.1 "), NULL, 10);
}


#define POST(path)  "POST " path " HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
#define GET(path)   "GET " path " HTTP/1.1\r\nhost: localhost\r\n\r\n"

static const struct {
    const char       *name;
    cn_admin_kind_t   kind;
    const char       *peer;
    const char       *request;
    unsigned          status;
    bool              arrives;
} cases[] = {
    { "live on the status port", CN_ADMIN_STATUS, "10.0.0.1", GET("/healthz/live"), 200, false },
    { "live on the agent's", CN_ADMIN_METRICS, "10.0.0.1", GET("/healthz/live"), 200, false },
    { "live on the admin's", CN_ADMIN_FULL, "127.0.0.1", GET("/healthz/live"), 200, false },
    { "not ready", CN_ADMIN_STATUS, "10.0.0.1", GET("/healthz/ready"), 503, false },
    { "drain by POST", CN_ADMIN_METRICS, "127.0.0.1", POST("/drain"), 200, true },
    { "quit by POST", CN_ADMIN_METRICS, "127.0.0.1", POST("/quitquitquit"), 200, true },
    { "from ::1", CN_ADMIN_METRICS, "::1", POST("/quitquitquit"), 200, true },
    { "all of 127/8", CN_ADMIN_METRICS, "127.8.0.1", POST("/quitquitquit"), 200, true },
    { "not by GET", CN_ADMIN_METRICS, "127.0.0.1", GET("/quitquitquit"), 405, false },
    { "not from elsewhere", CN_ADMIN_METRICS, "10.0.0.1", POST("/quitquitquit"), 403, false },
    { "nor over IPv6", CN_ADMIN_METRICS, "fd00::1", POST("/drain"), 403, false },
    { "not on the status port", CN_ADMIN_STATUS, "127.0.0.1", POST("/quitquitquit"), 405, false },
    { "not on the admin's", CN_ADMIN_FULL, "127.0.0.1", POST("/drain"), 405, false },
    { "not from a page of another site", CN_ADMIN_METRICS, "127.0.0.1",
      "POST /quitquitquit HTTP/1.1\r\nhost: localhost\r\norigin: http://evil\r\n"
      "content-length: 0\r\n\r\n", 403, false },
    { "nor under another site's name", CN_ADMIN_METRICS, "127.0.0.1",
      "POST /quitquitquit HTTP/1.1\r\nhost: evil:15020\r\ncontent-length: 0\r\n\r\n", 403, false },
    { "no other POST", CN_ADMIN_METRICS, "127.0.0.1", POST("/stats/prometheus"), 405, false },
};


static void
each_endpoint_answers_where_it_should(void **state)
{
    (void) state;
    cn_clock_update();

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        unsigned  before = commands;
        unsigned  status = ask(cases[i].kind, cases[i].peer, cases[i].request);

        unit_check(status == cases[i].status, cases[i].name);
        unit_check(commands - before == (cases[i].arrives ? 1 : 0), cases[i].name);
    }
}


static void
a_command_is_the_one_that_was_asked_for(void **state)
{
    (void) state;
    (void) ask(CN_ADMIN_METRICS, "127.0.0.1", POST("/drain"));
    assert_int_equal(last_command, CN_ADMIN_DRAIN);
    (void) ask(CN_ADMIN_METRICS, "127.0.0.1", POST("/quitquitquit"));
    assert_int_equal(last_command, CN_ADMIN_QUIT);
}


static void
ready_is_what_the_master_says(void **state)
{
    (void) state;
    is_ready = true;
    assert_int_equal(ask(CN_ADMIN_STATUS, "10.0.0.1", GET("/healthz/ready")), 200);
    is_ready = false;
    assert_int_equal(ask(CN_ADMIN_STATUS, "10.0.0.1", GET("/healthz/ready")), 503);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(each_endpoint_answers_where_it_should),
        cmocka_unit_test(a_command_is_the_one_that_was_asked_for),
        cmocka_unit_test(ready_is_what_the_master_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
