/* SPDX-License-Identifier: Apache-2.0 */

/* gRPC calls of ours to a server made of our own sessions, over loopback, and to ones that do not keep the rules. */

#include "grpc_peer.h"

#include "base/clock.h"

#include <errno.h>
#include <unistd.h>

static cn_loop_t      *loop;
static grpc_server_t   server;
static grpc_owner_t    owner;


static int
setup(void **state)
{
    (void) state;
    loop = cn_loop_create();
    memset(&server, 0, sizeof(server));
    memset(&owner, 0, sizeof(owner));
    server.fd = -1;

    return loop == NULL;
}


static int
teardown(void **state)
{
    (void) state;
    cn_grpc_channel_close(owner.channel);

    if (server.fd >= 0) {
        grpc_server_stop(&server);
    }

    assert_true(cn_loop_finish(loop, 5000));
    cn_loop_destroy(loop);

    return 0;
}


/* The server, and a channel to it. */
static void
start(const cn_grpc_config_t *config)
{
    grpc_server_start(&server, loop, NULL);
    owner.addresses[0] = server.address;
    owner.count = 1;
    grpc_owner_start(&owner, loop, config);
}


static void
turn_for(uint64_t ms)
{
    uint64_t  until_us = cn_clock_us_now() + ms * 1000;

    while (cn_clock_us_now() < until_us) {
        cn_loop_turn(loop, 5);
    }
}


/* One unary call to its end. */
static void
call_once(grpc_caller_t *caller, const char *path)
{
    memset(caller, 0, sizeof(*caller));
    grpc_caller_start(caller, &owner, path, 0);
    grpc_caller_say(caller, CN_BYTES("hello"));
    grpc_caller_end(caller);
    GRPC_WAIT_FOR(loop, caller->over);
}


/* A call that the test answers: it has come to the server. */
static void
call_held(grpc_caller_t *caller, uint64_t deadline_ms)
{
    unsigned  before = server.started;

    memset(caller, 0, sizeof(*caller));
    grpc_caller_start(caller, &owner, "/t/Held", deadline_ms);
    grpc_caller_say(caller, CN_BYTES("ask"));
    grpc_caller_end(caller);
    GRPC_WAIT_FOR(loop, server.started == before + 1 && server.held != NULL && server.request_ended);
}


/* --- calls ----------------------------------------------------------------------------------------------------- */

static void
a_unary_call_is_answered(void **state)
{
    grpc_caller_t  caller;

    (void) state;
    start(&(cn_grpc_config_t) { .authority = "istiod.istio-system.svc:15010" });
    assert_false(cn_grpc_channel_is_connected(owner.channel));
    call_once(&caller, "/t/Echo");
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(caller.opened, 1);
    assert_int_equal(caller.messages, 1);
    assert_string_equal(caller.last, "hello");
    assert_string_equal(server.head,
                        "POST http istiod.istio-system.svc:15010 /t/Echo\n"
                        "te: trailers\n"
                        "content-type: application/grpc\n"
                        "user-agent: cairn/0.1.0\n"
                        "authorization: Bearer abc\n"
                        "clusterid: Kubernetes\n");
    assert_int_equal(owner.resolves, 1);
    assert_int_equal(owner.connected, 1);

    /* the connection is kept */
    call_once(&caller, "/t/Echo");
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(owner.resolves, 1);
    assert_int_equal(server.accepted, 1);
}


static void
a_stream_goes_both_ways(void **state)
{
    grpc_caller_t  caller = { .call = NULL };

    (void) state;
    start(&(cn_grpc_config_t) { .tls = NULL });
    grpc_caller_start(&caller, &owner, "/t/Echo", 0);
    grpc_caller_say(&caller, CN_BYTES("before the connection"));
    assert_int_equal(cn_grpc_call_pending(caller.call), 26);
    GRPC_WAIT_FOR(loop, caller.messages == 1);
    assert_string_equal(caller.last, "before the connection");

    for (unsigned i = 0; i < 100; i++) {
        grpc_caller_say(&caller, i % 2 == 0 ? CN_BYTES("tick") : CN_BYTES_NONE);
        GRPC_WAIT_FOR(loop, caller.messages == i + 2);
        assert_string_equal(caller.last, i % 2 == 0 ? "tick" : "");
    }

    assert_false(caller.over);
    assert_int_equal(cn_grpc_call_pending(caller.call), 0);
    grpc_caller_end(&caller);
    GRPC_WAIT_FOR(loop, caller.over);
    assert_int_equal(caller.status, CN_GRPC_OK);
}


static void
a_large_message_passes_both_windows(void **state)
{
    const size_t   size = 9u << 20;
    uint8_t       *big = malloc(size);
    grpc_caller_t  caller = { .call = NULL };

    (void) state;
    assert_non_null(big);

    for (size_t i = 0; i < size; i++) {
        big[i] = (uint8_t) (i * 2654435761u >> 13);
    }

    start(&(cn_grpc_config_t) { .tls = NULL });
    grpc_caller_start(&caller, &owner, "/t/Echo", 0);
    grpc_caller_say(&caller, cn_bytes(big, size));
    grpc_caller_end(&caller);
    GRPC_WAIT_FOR(loop, caller.over);
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(caller.messages, 1);
    assert_int_equal(caller.octets, size);
    assert_true(caller.hash == grpc_hash(cn_bytes(big, size)));
    free(big);
}


static void
a_status_may_come_without_a_body(void **state)
{
    grpc_caller_t  caller;

    (void) state;
    start(&(cn_grpc_config_t) { .tls = NULL });
    call_once(&caller, "/t/NotFound");
    assert_int_equal(caller.status, CN_GRPC_NOT_FOUND);
    assert_string_equal(caller.text, "no such thing: 100%");
    assert_int_equal(caller.messages, 0);
    assert_int_equal(caller.opened, 0);

    /* also to a call that has not ended */
    caller = (grpc_caller_t) { .call = NULL };
    grpc_caller_start(&caller, &owner, "/t/NotFound", 0);
    GRPC_WAIT_FOR(loop, caller.over);
    assert_int_equal(caller.status, CN_GRPC_NOT_FOUND);
    turn_for(20);
    call_once(&caller, "/t/Echo");
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(server.accepted, 1);
}


static void
what_comes_may_be_cut_at_every_octet(void **state)
{
    static const cn_bytes_t  body = CN_BYTES_INIT("\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\2de");

    (void) state;
    start(&(cn_grpc_config_t) { .tls = NULL });

    for (size_t at = 0; at <= body.len; at++) {
        grpc_caller_t  caller;
        size_t         whole = (at >= 8) + (at >= 13) + (at >= 20);

        call_held(&caller, 0);
        grpc_server_head(&server, 200, "application/grpc+proto");
        grpc_server_octets(&server, cn_bytes(body.ptr, at));
        GRPC_WAIT_FOR(loop, caller.opened == 1 && caller.messages == whole);
        turn_for(2);
        assert_int_equal(caller.messages, whole);
        grpc_server_octets(&server, cn_bytes_from(body, at));
        grpc_server_end(&server, "0", NULL);
        GRPC_WAIT_FOR(loop, caller.over);
        assert_int_equal(caller.status, CN_GRPC_OK);
        assert_int_equal(caller.messages, 3);
        assert_int_equal(caller.octets, 5);
        assert_string_equal(caller.last, "de");
    }

    assert_int_equal(server.body_len, 8);
    assert_memory_equal(server.body, "\0\0\0\0\3ask", 8);
}


static const struct {
    const char        *name;
    uint16_t           http;
    const char        *content_type;
    cn_bytes_t         body;
    bool               end;             /* with trailers */
    const char        *grpc_status;
    cn_grpc_status_t   status;
    const char        *text;
} bad_responses[] = {
    { "an error of HTTP's", 503, "text/plain", CN_BYTES_INIT("no"), false, NULL, CN_GRPC_UNAVAILABLE,
      "the response is not gRPC's" },
    { "another", 401, NULL, CN_BYTES_INIT(""), false, NULL, CN_GRPC_UNAUTHENTICATED, "the response is not gRPC's" },
    { "a page", 200, "text/html", CN_BYTES_INIT("<p>"), false, NULL, CN_GRPC_UNKNOWN,
      "the response's content-type is not gRPC's" },
    { "without content-type", 200, NULL, CN_BYTES_INIT(""), false, NULL, CN_GRPC_UNKNOWN,
      "the response's content-type is not gRPC's" },
    { "without status", 200, "application/grpc", CN_BYTES_INIT(""), true, NULL, CN_GRPC_UNKNOWN,
      "the response has no grpc-status" },
    { "with a status of its own", 200, "application/grpc", CN_BYTES_INIT(""), true, "99", CN_GRPC_UNKNOWN, "%zz" },
    { "that ends within a message", 200, "application/grpc", CN_BYTES_INIT("\0\0\0\0\5hell"), true, "0", CN_GRPC_INTERNAL,
      "the last message is not complete" },
    { "that fails within a message", 200, "application/grpc", CN_BYTES_INIT("\0\0\0\0\5hell"), true, "10", CN_GRPC_ABORTED,
      "%zz" },
    { "with a compressed message", 200, "application/grpc", CN_BYTES_INIT("\1\0\0\0\1x"), false, NULL, CN_GRPC_INTERNAL,
      "a message is compressed, which was not offered" },
    { "with a strange flag", 200, "application/grpc", CN_BYTES_INIT("\7"), false, NULL, CN_GRPC_INTERNAL,
      "a message's first octet is neither 0 nor 1" },
    { "with a message over the limit", 200, "application/grpc", CN_BYTES_INIT("\0\0\0\0\x65"), false, NULL,
      CN_GRPC_RESOURCE_EXHAUSTED, "a message is longer than its limit" },
};


static void
a_bad_response_ends_its_call_alone(void **state)
{
    grpc_caller_t  stream = { .call = NULL };

    (void) state;
    start(&(cn_grpc_config_t) { .message_max = 100 });
    grpc_caller_start(&stream, &owner, "/t/Echo", 0);
    GRPC_WAIT_FOR(loop, server.started == 1);

    for (size_t i = 0; i < CN_COUNT_OF(bad_responses); i++) {
        grpc_caller_t  caller;

        call_held(&caller, 0);
        grpc_server_head(&server, bad_responses[i].http, bad_responses[i].content_type);
        grpc_server_octets(&server, bad_responses[i].body);

        if (bad_responses[i].end) {
            grpc_server_end(&server, bad_responses[i].grpc_status, "%zz");
        }

        GRPC_WAIT_FOR(loop, caller.over);
        unit_check(caller.status == bad_responses[i].status, bad_responses[i].name);
        unit_check(strcmp(caller.text, bad_responses[i].text) == 0, bad_responses[i].name);
        unit_check(caller.messages == 0, bad_responses[i].name);
        /* what has not ended is reset */
        GRPC_WAIT_FOR(loop, server.held == NULL);
    }

    grpc_caller_say(&stream, CN_BYTES("still"));
    GRPC_WAIT_FOR(loop, stream.messages == 1);
    assert_int_equal(server.accepted, 1);
}


static void
a_message_as_long_as_the_limit_is_taken(void **state)
{
    static const uint8_t  hundred[105] = { 0, 0, 0, 0, 100 };
    grpc_caller_t         caller;

    (void) state;
    start(&(cn_grpc_config_t) { .message_max = 100 });
    call_held(&caller, 0);
    grpc_server_head(&server, 200, "application/grpc");
    grpc_server_octets(&server, cn_bytes(hundred, sizeof(hundred)));
    grpc_server_end(&server, "0", NULL);
    GRPC_WAIT_FOR(loop, caller.over);
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(caller.octets, 100);
}


static void
a_reset_says_what_its_code_says(void **state)
{
    static const struct { cn_reset_reason_t reason; cn_grpc_status_t status; } resets[] = {
        { CN_RESET_REMOTE_REFUSED, CN_GRPC_UNAVAILABLE },       /* REFUSED_STREAM */
        { CN_RESET_LOCAL, CN_GRPC_INTERNAL },                   /* INTERNAL_ERROR */
        { CN_RESET_PROTOCOL, CN_GRPC_INTERNAL },
    };

    (void) state;
    start(&(cn_grpc_config_t) { .tls = NULL });

    for (size_t i = 0; i < CN_COUNT_OF(resets); i++) {
        grpc_caller_t  caller;

        call_held(&caller, 0);
        grpc_server_head(&server, 200, "application/grpc");
        GRPC_WAIT_FOR(loop, caller.opened == 1);
        cn_exchange_reset(server.held, resets[i].reason);
        server.held = NULL;
        GRPC_WAIT_FOR(loop, caller.over);
        assert_int_equal(caller.status, resets[i].status);
    }
}


static void
a_deadline_ends_the_call_on_both_sides(void **state)
{
    grpc_caller_t  caller;
    uint64_t       began_us;
    const char    *told;

    (void) state;
    start(&(cn_grpc_config_t) { .tls = NULL });
    call_once(&caller, "/t/Echo");
    began_us = cn_clock_us_now();
    call_held(&caller, 1000);
    told = strstr(server.head, "grpc-timeout: ");
    assert_non_null(told);
    assert_in_range(atoi(told + 14), 1, 1000);
    assert_non_null(strstr(told, "m\n"));
    GRPC_WAIT_FOR(loop, caller.over);
    assert_in_range(cn_clock_us_now() - began_us, 990000, 10000000);
    assert_int_equal(caller.status, CN_GRPC_DEADLINE_EXCEEDED);
    GRPC_WAIT_FOR(loop, server.resets == 1);

    /* one that is answered in time */
    caller = (grpc_caller_t) { .call = NULL };
    grpc_caller_start(&caller, &owner, "/t/Echo", 60000);
    grpc_caller_end(&caller);
    GRPC_WAIT_FOR(loop, caller.over);
    assert_int_equal(caller.status, CN_GRPC_OK);
}


static void
a_deadline_counts_while_the_call_waits(void **state)
{
    grpc_caller_t  caller = { .call = NULL };

    (void) state;
    owner.silent = true;
    start(&(cn_grpc_config_t) { .tls = NULL });
    grpc_caller_start(&caller, &owner, "/t/Echo", 30);
    GRPC_WAIT_FOR(loop, caller.over);
    assert_int_equal(caller.status, CN_GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(server.accepted, 0);
}


static void
a_call_that_is_cancelled_hears_nothing(void **state)
{
    grpc_caller_t  held, waiting = { .call = NULL }, echo = { .cancel_on_message = true };

    (void) state;
    start(&(cn_grpc_config_t) { .tls = NULL });
    call_held(&held, 0);
    cn_grpc_call_cancel(held.call);
    GRPC_WAIT_FOR(loop, server.resets == 1);
    assert_false(held.over);

    grpc_caller_start(&waiting, &owner, "/t/Echo", 0);
    cn_grpc_call_cancel(waiting.call);

    /* within its event, with another message behind the one */
    grpc_caller_start(&echo, &owner, "/t/Echo", 0);
    grpc_caller_say(&echo, CN_BYTES("one"));
    grpc_caller_say(&echo, CN_BYTES("two"));
    GRPC_WAIT_FOR(loop, echo.messages == 1);
    turn_for(20);
    assert_int_equal(echo.messages, 1);
    assert_false(echo.over || waiting.over);
    assert_int_equal(server.started, 2);
}


static void
what_cannot_be_sent_ends_as_an_event(void **state)
{
    static const cn_grpc_metadata_t  bad[] = {
        { CN_BYTES_INIT("authorization"), CN_BYTES_INIT("Bearer abc\n") },
        { CN_BYTES_INIT("Upper"), CN_BYTES_INIT("x") },
        { CN_BYTES_INIT(":path"), CN_BYTES_INIT("/x") },
        { CN_BYTES_INIT("grpc-timeout"), CN_BYTES_INIT("1S") },
        { CN_BYTES_INIT(""), CN_BYTES_INIT("x") },
    };
    grpc_caller_t                    caller = { .call = NULL };

    (void) state;
    start(&(cn_grpc_config_t) { .tls = NULL });

    for (size_t i = 0; i < CN_COUNT_OF(bad); i++) {
        cn_grpc_metadata_t  copy = { unit_copy(bad[i].name), unit_copy(bad[i].value) };

        caller = (grpc_caller_t) { .call = NULL };
        grpc_caller_start_with(&caller, &owner, "/t/Echo", &copy, 1);
        unit_free(copy.name);
        unit_free(copy.value);
        GRPC_WAIT_FOR(loop, caller.over);
        assert_int_equal(caller.status, CN_GRPC_INTERNAL);
        assert_string_equal(caller.text, "metadata cannot be sent");
    }

    caller = (grpc_caller_t) { .call = NULL };
    grpc_caller_start_with(&caller, &owner, "t/Echo", NULL, 0);
    GRPC_WAIT_FOR(loop, caller.over);
    assert_string_equal(caller.text, "the path cannot be sent");
    assert_int_equal(server.accepted, 0);
}


static void
calls_beyond_the_peers_limit_wait(void **state)
{
    grpc_caller_t  callers[5];
    cn_exchange_t  *first;

    (void) state;
    server.streams_max = 2;
    start(&(cn_grpc_config_t) { .tls = NULL });
    memset(callers, 0, sizeof(callers));
    call_held(&callers[0], 0);
    first = server.held;
    call_held(&callers[1], 0);
    assert_ptr_not_equal(first, server.held);

    for (size_t i = 2; i < CN_COUNT_OF(callers); i++) {
        grpc_caller_start(&callers[i], &owner, "/t/Echo", 0);
        grpc_caller_say(&callers[i], CN_BYTES("waits"));
        grpc_caller_end(&callers[i]);
    }

    turn_for(20);
    assert_int_equal(server.started, 2);
    assert_true(cn_grpc_channel_is_connected(owner.channel));
    cn_grpc_call_cancel(callers[0].call);
    GRPC_WAIT_FOR(loop, callers[2].over && callers[3].over && callers[4].over);
    assert_int_equal(callers[4].status, CN_GRPC_OK);
    assert_int_equal(server.accepted, 1);
}


/* --- the connection -------------------------------------------------------------------------------------------- */

static void
a_server_that_goes_away_finishes_what_it_took(void **state)
{
    grpc_caller_t  taken, late = { .call = NULL }, next;

    (void) state;
    start(&(cn_grpc_config_t) { .backoff_min_ms = 10 });
    call_held(&taken, 0);

    /* GOAWAY and the request pass each other */
    grpc_caller_start(&late, &owner, "/t/Echo", 0);
    grpc_caller_end(&late);
    cn_loop_turn(loop, 0);
    assert_int_equal(server.started, 1);
    cn_session_drain(server.session, true);
    GRPC_WAIT_FOR(loop, late.over);
    assert_int_equal(late.status, CN_GRPC_UNAVAILABLE);
    assert_int_equal(owner.disconnected, 1);
    assert_non_null(strstr(owner.why, "the server goes away"));
    assert_false(cn_grpc_channel_is_connected(owner.channel));
    assert_false(taken.over);

    call_once(&next, "/t/Echo");
    assert_int_equal(next.status, CN_GRPC_OK);
    assert_int_equal(server.accepted, 2);
    assert_int_equal(server.closed, 0);

    grpc_server_head(&server, 200, "application/grpc");
    grpc_server_end(&server, "0", NULL);
    GRPC_WAIT_FOR(loop, taken.over);
    assert_int_equal(taken.status, CN_GRPC_OK);
    GRPC_WAIT_FOR(loop, server.closed == 1);
    assert_int_equal(owner.connected, 2);
    assert_int_equal(owner.disconnected, 1);
}


static void
a_lost_connection_ends_its_calls_and_is_made_anew(void **state)
{
    grpc_caller_t  caller;

    (void) state;
    start(&(cn_grpc_config_t) { .backoff_min_ms = 10 });
    call_held(&caller, 0);
    cn_session_close(server.session, CN_CLOSE_RESET);
    server.closed++;
    server.held = NULL;
    GRPC_WAIT_FOR(loop, caller.over);
    assert_int_equal(caller.status, CN_GRPC_UNAVAILABLE);
    assert_int_equal(owner.disconnected, 1);
    turn_for(30);
    assert_int_equal(owner.resolves, 1);        /* not without a call */
    call_once(&caller, "/t/Echo");
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(owner.resolves, 2);
}


/* An address at which nothing listens. */
static cn_address_t
deaf_address(void)
{
    cn_address_t  address;
    int           fd;

    assert_int_equal(cn_address_parse(CN_BYTES("127.0.0.1:0"), &address), CN_OK);
    assert_int_equal(cn_socket_listen(&address, false, 1, &fd), CN_OK);
    assert_int_equal(cn_socket_local(fd, &address), CN_OK);
    (void) close(fd);

    return address;
}


/* One that connects and says nothing: nobody accepts. */
static int
silent_listener(cn_address_t *address)
{
    int  fd;

    assert_int_equal(cn_address_parse(CN_BYTES("127.0.0.1:0"), address), CN_OK);
    assert_int_equal(cn_socket_listen(address, false, 4, &fd), CN_OK);
    assert_int_equal(cn_socket_local(fd, address), CN_OK);

    return fd;
}


static void
addresses_are_tried_in_turn(void **state)
{
    grpc_caller_t  caller;
    int            silent;

    (void) state;
    grpc_server_start(&server, loop, NULL);
    owner.addresses[0] = deaf_address();
    silent = silent_listener(&owner.addresses[1]);
    owner.addresses[2] = server.address;
    owner.count = 3;
    grpc_owner_start(&owner, loop, &(cn_grpc_config_t) { .connect_timeout_ms = 300 });
    call_once(&caller, "/t/Echo");
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(owner.resolves, 1);
    assert_int_equal(owner.disconnected, 0);
    (void) close(silent);
}


static void
an_attempt_that_fails_ends_the_calls_that_wait(void **state)
{
    grpc_caller_t  callers[2] = { { .call = NULL } };
    int            silent;

    (void) state;
    owner.addresses[0] = deaf_address();
    silent = silent_listener(&owner.addresses[1]);
    owner.count = 2;
    grpc_owner_start(&owner, loop, &(cn_grpc_config_t) { .connect_timeout_ms = 50 });

    for (size_t i = 0; i < 2; i++) {
        grpc_caller_start(&callers[i], &owner, "/t/Echo", 0);
    }

    GRPC_WAIT_FOR(loop, callers[0].over && callers[1].over);
    assert_int_equal(callers[0].status, CN_GRPC_UNAVAILABLE);
    assert_non_null(strstr(callers[0].text, "connect timeout"));
    assert_int_equal(owner.disconnected, 1);
    assert_string_equal(owner.why, callers[1].text);
    (void) close(silent);
}


static void
a_name_that_is_not_resolved_ends_the_calls(void **state)
{
    grpc_caller_t  caller;

    (void) state;
    owner.no_address = "no such name";
    grpc_owner_start(&owner, loop, &(cn_grpc_config_t) { .connect_timeout_ms = 50, .backoff_min_ms = 1 });
    call_once(&caller, "/t/Echo");
    assert_int_equal(caller.status, CN_GRPC_UNAVAILABLE);
    assert_string_equal(caller.text, "no such name");

    owner.silent = true;
    call_once(&caller, "/t/Echo");
    assert_int_equal(caller.status, CN_GRPC_UNAVAILABLE);
    assert_string_equal(caller.text, "name resolution timed out");

    /* an answer that comes too late, or unasked, does nothing */
    cn_grpc_channel_resolved(owner.channel, NULL, 0, "late");
    turn_for(10);
    assert_int_equal(owner.disconnected, 2);
}


static void
attempts_are_farther_and_farther_apart(void **state)
{
    static const uint64_t  delays_ms[] = { 100, 160, 256, 300, 300 };
    grpc_caller_t          caller;

    (void) state;
    owner.addresses[0] = deaf_address();
    owner.count = 1;
    grpc_owner_start(&owner, loop, &(cn_grpc_config_t) { .backoff_min_ms = 100, .backoff_max_ms = 300 });

    for (size_t i = 0; i <= CN_COUNT_OF(delays_ms); i++) {
        call_once(&caller, "/t/Echo");
        assert_int_equal(caller.status, CN_GRPC_UNAVAILABLE);
        assert_non_null(strstr(caller.text, "connect refused"));
    }

    for (size_t i = 0; i < CN_COUNT_OF(delays_ms); i++) {
        uint64_t  apart_us = owner.resolved_us[i + 1] - owner.resolved_us[i];

        print_message("    %llu ms\n", (unsigned long long) apart_us / 1000);
        assert_in_range(apart_us, delays_ms[i] * 790, 10000000);
    }

    /* success sets it back: the next one comes soon */
    server.address = owner.addresses[0];
    grpc_server_start(&server, loop, NULL);
    call_once(&caller, "/t/Echo");
    assert_int_equal(caller.status, CN_GRPC_OK);
    cn_session_close(server.session, CN_CLOSE_RESET);
    server.closed++;
    GRPC_WAIT_FOR(loop, owner.disconnected == 7);
    call_once(&caller, "/t/Echo");
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(owner.resolves, 8);
    assert_in_range(owner.resolved_us[7] - owner.resolved_us[6], 79000, 10000000);
}


/* A peer that has said its SETTINGS and is silent from then on; its end of the connection. */
static int
silent_peer(int listener)
{
    static const uint8_t  settings[] = { 0, 0, 0, 4, 0, 0, 0, 0, 0 };
    cn_address_t          peer;
    int                   fd = -1;

    GRPC_WAIT_FOR(loop, cn_socket_accept(listener, &fd, &peer) == CN_OK);
    assert_int_equal(write(fd, settings, sizeof(settings)), sizeof(settings));

    return fd;
}


/* How many PING frames have come behind the preface. */
static unsigned
count_pings(int fd)
{
    static uint8_t  octets[65536];
    ssize_t         len = read(fd, octets, sizeof(octets));
    unsigned        pings = 0;

    assert_true(len > 24);

    for (size_t at = 24; at + 9 <= (size_t) len;) {
        pings += octets[at + 3] == 6;
        at += 9 + ((size_t) octets[at] << 16 | (size_t) octets[at + 1] << 8 | octets[at + 2]);
    }

    return pings;
}


static void
a_silent_connection_is_given_up_while_a_call_runs(void **state)
{
    grpc_caller_t  caller = { .call = NULL };
    int            listener = silent_listener(&owner.addresses[0]);
    int            peer;

    (void) state;
    owner.count = 1;
    grpc_owner_start(&owner, loop, &(cn_grpc_config_t) { .keepalive_ms = 60, .keepalive_timeout_ms = 60 });
    grpc_caller_start(&caller, &owner, "/t/Held", 0);
    peer = silent_peer(listener);
    GRPC_WAIT_FOR(loop, caller.over);
    assert_int_equal(caller.status, CN_GRPC_UNAVAILABLE);
    assert_int_equal(owner.connected, 1);
    assert_int_equal(owner.disconnected, 1);
    assert_non_null(strstr(owner.why, "timeout"));
    assert_int_equal(count_pings(peer), 1);
    (void) close(peer);
    (void) close(listener);
}


static void
a_connection_without_calls_is_not_pinged(void **state)
{
    grpc_caller_t  caller = { .call = NULL };
    int            listener = silent_listener(&owner.addresses[0]);
    int            peer;

    (void) state;
    owner.count = 1;
    grpc_owner_start(&owner, loop, &(cn_grpc_config_t) { .keepalive_ms = 100, .keepalive_timeout_ms = 100 });
    grpc_caller_start(&caller, &owner, "/t/Held", 0);
    peer = silent_peer(listener);
    GRPC_WAIT_FOR(loop, owner.connected == 1);
    cn_grpc_call_cancel(caller.call);
    turn_for(400);
    assert_int_equal(owner.disconnected, 0);
    assert_int_equal(count_pings(peer), 0);
    (void) close(peer);
    (void) close(listener);
}


static void
a_peer_of_another_protocol_is_no_connection(void **state)
{
    static const char  answer[] = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
    grpc_caller_t      caller = { .call = NULL };
    int                listener = silent_listener(&owner.addresses[0]);
    cn_address_t       from;
    int                peer = -1;

    (void) state;
    owner.count = 1;
    grpc_owner_start(&owner, loop, &(cn_grpc_config_t) { .tls = NULL });
    grpc_caller_start(&caller, &owner, "/t/Held", 0);
    GRPC_WAIT_FOR(loop, cn_socket_accept(listener, &peer, &from) == CN_OK);
    assert_int_equal(write(peer, answer, sizeof(answer) - 1), sizeof(answer) - 1);
    GRPC_WAIT_FOR(loop, caller.over);
    assert_int_equal(caller.status, CN_GRPC_UNAVAILABLE);
    assert_int_equal(owner.connected, 0);
    (void) close(peer);
    (void) close(listener);
}


/* --- closing within events ------------------------------------------------------------------------------------- */

static void
a_channel_may_be_closed_within_each_event(void **state)
{
    (void) state;
    grpc_server_start(&server, loop, NULL);

    for (int i = 0; i < 6; i++) {
        grpc_caller_t  callers[3];

        memset(&owner, 0, sizeof(owner));
        memset(callers, 0, sizeof(callers));
        owner.addresses[0] = i == 2 ? deaf_address() : server.address;
        owner.count = 1;
        owner.close_on_resolve = i == 0;
        owner.close_on_connected = i == 1;
        owner.close_on_disconnected = i == 2;
        callers[0].close_on_message = i == 3;
        callers[0].close_on_status = i == 4 || i == 5;

        if (i == 5) {
            owner.addresses[0] = deaf_address();
        }

        grpc_owner_start(&owner, loop, &(cn_grpc_config_t) { .tls = NULL });

        for (size_t j = 0; j < CN_COUNT_OF(callers); j++) {
            grpc_caller_start(&callers[j], &owner, j == 2 ? "/t/Held" : "/t/Echo", 0);
            grpc_caller_say(&callers[j], CN_BYTES("a"));
            grpc_caller_say(&callers[j], CN_BYTES("b"));
            grpc_caller_end(&callers[j]);
        }

        GRPC_WAIT_FOR(loop, owner.channel == NULL);
        turn_for(10);
        assert_false(i != 2 && (callers[1].over || callers[2].over) && i != 4);
        assert_false(callers[2].over && i != 2);
    }
}


/* A call that begins within the end of one that failed waits for the next attempt. */
static grpc_caller_t  again;

static void
first_over(void *arg, cn_grpc_status_t status, cn_bytes_t message)
{
    (void) message;
    *(bool *) arg = status == CN_GRPC_UNAVAILABLE;
    server.address = owner.addresses[0];
    grpc_server_start(&server, loop, NULL);
    grpc_caller_start(&again, &owner, "/t/Echo", 0);
    grpc_caller_end(&again);
}


static void
no_message(void *arg, cn_bytes_t message)
{
    (void) arg, (void) message;
    fail();
}


static void
a_call_may_begin_within_the_end_of_another(void **state)
{
    static const cn_grpc_call_events_t  events = { .on_message = no_message, .on_status = first_over };
    bool                                over = false;

    (void) state;
    memset(&again, 0, sizeof(again));
    owner.addresses[0] = deaf_address();
    owner.count = 1;
    grpc_owner_start(&owner, loop, &(cn_grpc_config_t) { .backoff_min_ms = 20 });
    assert_non_null(cn_grpc_call_start(owner.channel, "/t/Echo", NULL, 0, 0, &events, &over));
    GRPC_WAIT_FOR(loop, again.over);
    assert_true(over);
    assert_int_equal(again.status, CN_GRPC_OK);
    assert_int_equal(owner.resolves, 2);
}


#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        CASE(a_unary_call_is_answered),
        CASE(a_stream_goes_both_ways),
        CASE(a_large_message_passes_both_windows),
        CASE(a_status_may_come_without_a_body),
        CASE(what_comes_may_be_cut_at_every_octet),
        CASE(a_bad_response_ends_its_call_alone),
        CASE(a_message_as_long_as_the_limit_is_taken),
        CASE(a_reset_says_what_its_code_says),
        CASE(a_deadline_ends_the_call_on_both_sides),
        CASE(a_deadline_counts_while_the_call_waits),
        CASE(a_call_that_is_cancelled_hears_nothing),
        CASE(what_cannot_be_sent_ends_as_an_event),
        CASE(calls_beyond_the_peers_limit_wait),
        CASE(a_server_that_goes_away_finishes_what_it_took),
        CASE(a_lost_connection_ends_its_calls_and_is_made_anew),
        CASE(addresses_are_tried_in_turn),
        CASE(an_attempt_that_fails_ends_the_calls_that_wait),
        CASE(a_name_that_is_not_resolved_ends_the_calls),
        CASE(attempts_are_farther_and_farther_apart),
        CASE(a_silent_connection_is_given_up_while_a_call_runs),
        CASE(a_connection_without_calls_is_not_pinged),
        CASE(a_peer_of_another_protocol_is_no_connection),
        CASE(a_channel_may_be_closed_within_each_event),
        CASE(a_call_may_begin_within_the_end_of_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
