/* SPDX-License-Identifier: Apache-2.0 */

/* The HTTP/1 client: what it writes, what it reads at every byte boundary, when a connection is used again. */

#include "app.h"

static cn_loop_t  *loop;
static text_t      wire;
static unsigned    streams_before;

typedef struct {
    caller_t      caller;
    raw_t         raw;
    cn_stream_t  *ends[2];
} talk_t;


static int
setup(void **state)
{
    (void) state;
    loop = cn_loop_create();
    streams_before = pipe_stream_alive();

    return loop == NULL;
}


static int
teardown(void **state)
{
    (void) state;
    run_turns(loop, 4);
    assert_int_equal(pipe_stream_alive(), streams_before);
    cn_loop_destroy(loop);

    return 0;
}


static void
talk_start(talk_t *talk, size_t piece)
{
    const pipe_stream_options_t  options = { .piece = piece };

    *talk = (talk_t) { .caller = { NULL, 0, 0, false } };
    pipe_stream_create(loop, &options, talk->ends);
    raw_own(&talk->raw, talk->ends[1], &wire);
    talk->caller.session = cn_h1_client(talk->ends[0], NULL, &caller_events, &talk->caller);
    assert_non_null(talk->caller.session);
}


static void
talk_end(talk_t *talk)
{
    if (talk->caller.session != NULL) {
        cn_session_close(talk->caller.session, CN_CLOSE_LOCAL);
        talk->caller.session = NULL;
    }

    run_turns(loop, 4);

    if (talk->raw.stream != NULL) {
        cn_stream_close(talk->raw.stream, CN_CLOSE_RESET);
    }

    run_turns(loop, 4);
}


/* --- what it writes --------------------------------------------------------------------------------------------- */

static void
requests_are_framed_by_what_they_have(void **state)
{
    static const struct { const char *method; const char *path; const char *body; bool chunked; const char *wire; } cases[] = {
        { "GET", "/a?b", NULL, false, "GET /a?b HTTP/1.1\r\nhost: reviews:9080\r\nx-call: 1\r\n\r\n" },
        { "DELETE", "/", NULL, false, "DELETE / HTTP/1.1\r\nhost: reviews:9080\r\nx-call: 1\r\n\r\n" },
        { "POST", "/", NULL, false, "POST / HTTP/1.1\r\nhost: reviews:9080\r\nx-call: 1\r\ncontent-length: 0\r\n\r\n" },
        { "PUT", "/", "abc", false,
          "PUT / HTTP/1.1\r\nhost: reviews:9080\r\nx-call: 1\r\ncontent-length: 3\r\n\r\nabc" },
        { "GET", "/", "abc", true,
          "GET / HTTP/1.1\r\nhost: reviews:9080\r\nx-call: 1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" },
        { "GET", "/upgrade", NULL, false, "GET /upgrade HTTP/1.1\r\nhost: reviews:9080\r\nx-call: 1\r\n"
                                          "connection: upgrade\r\nupgrade: websocket\r\n\r\n" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_bytes_t  body = cases[i].body != NULL ? cn_bytes_str(cases[i].body) : CN_BYTES_NONE;
        talk_t      talk;
        call_t      call;

        talk_start(&talk, 0);
        call_start(&call, talk.caller.session, cases[i].method, cases[i].path, body, cases[i].chunked);
        run_turns(loop, 4);
        assert_string_equal(wire.at, cases[i].wire);
        assert_int_equal(call.exchange->wire_sent, wire.len);
        assert_true(call.exchange->delivered);
        cn_exchange_reset(call.exchange, CN_RESET_LOCAL);
        call_clear(&call);
        run_turns(loop, 4);
        assert_null(talk.caller.session);
        talk_end(&talk);
    }
}


static void
what_would_split_a_request_is_not_sent(void **state)
{
    static const char *const  paths[] = { "/a b", "/a\r\nx: y", "/\x7f", "" };
    talk_t                    talk;
    call_t                    call;

    (void) state;
    talk_start(&talk, 0);

    for (size_t i = 0; i < CN_COUNT_OF(paths); i++) {
        call_start(&call, talk.caller.session, "GET", paths[i], CN_BYTES_NONE, false);
        assert_null(call.exchange);
        call_clear(&call);
    }

    call_start(&call, talk.caller.session, "GET /\r\n", "/", CN_BYTES_NONE, false);
    assert_null(call.exchange);
    call_clear(&call);
    run_turns(loop, 4);
    assert_int_equal(wire.len, 0);
    assert_int_equal(cn_session_room(talk.caller.session), 1);
    talk_end(&talk);
}


/* --- what it reads ------------------------------------------------------------------------------------------------ */

typedef struct {
    const char  *name;
    const char  *method;
    const char  *input;
    uint16_t     status;
    const char  *body;
    unsigned     informational;
    bool         reused;
    bool         fin;               /* the server ends after it */
} case_t;

static const case_t  good[] = {
    { "a length", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", 0, true, false },
    { "no reason", "GET", "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", 0, true, false },
    { "an odd status", "GET", "HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n", 999, "", 0, true, false },
    { "chunks", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, "hi", 0, true, false },
    { "chunks and trailers", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n", 200,
      "hi", 0, true, false },
    { "HEAD", "HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", 200, "", 0, true, false },
    { "HEAD with chunks said", "HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200, "", 0, true, false },
    { "204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", 0, true, false },
    { "304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, "", 0, true, false },
    { "100 and 103 first", "GET",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
      200, "hi", 2, true, false },
    { "an unknown 1xx that says it has a body", "GET",
      "HTTP/1.1 199 Odd\r\ncontent-length: 5\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", 1, true, false },
    { "until the end", "GET", "HTTP/1.1 200 OK\r\n\r\nuntil", 200, "until", 0, false, true },
    { "close", "GET", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", 0, false, false },
    { "HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", 0, false, false },
    { "HTTP/1.0 that stays", "GET", "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi", 200, "hi", 0,
      true, false },
    { "octets behind it", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi!", 200, "hi", 0, false, false },
};


static void
run_case(const case_t *test, size_t piece, size_t at)
{
    talk_t      talk;
    call_t      call;
    cn_bytes_t  input = cn_bytes_str(test->input);

    talk_start(&talk, piece);
    call_start(&call, talk.caller.session, test->method, "/", CN_BYTES_NONE, false);
    run_turns(loop, 2);
    raw_write(&talk.raw, cn_bytes(input.ptr, at));

    if (at > 0 && at < input.len) {
        run_turns(loop, 2);
    }

    raw_write(&talk.raw, cn_bytes_from(input, at));

    if (test->fin && talk.raw.stream != NULL) {
        cn_stream_end(talk.raw.stream);
    }

    run_turns(loop, 6);

    if (call.was_reset || !call.ended || call.status != test->status || strcmp(call.body->at, test->body) != 0
        || call.informational != test->informational || (talk.caller.session != NULL) != test->reused)
    {
        print_error("%s, piece %zu, cut at %zu: status %u ended %d reset %d body %s session %d\n", test->name, piece, at,
                    call.status, call.ended, call.was_reset, call.body->at, talk.caller.session != NULL);
        fail();
    }

    call_clear(&call);

    /* and again over the same connection */
    if (test->reused) {
        assert_int_equal(cn_session_room(talk.caller.session), 1);
        assert_true(talk.caller.rooms > 0);
        call_start(&call, talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
        run_turns(loop, 2);
        raw_write(&talk.raw, CN_BYTES("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain"));
        run_turns(loop, 4);
        assert_string_equal(call.body->at, "again");
        call_clear(&call);
    }

    talk_end(&talk);
}


static void
it_reads_every_kind_of_response(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(good); i++) {
        run_case(&good[i], 0, strlen(good[i].input));
        run_case(&good[i], 1, strlen(good[i].input));
    }
}


static void
every_byte_boundary_is_as_good(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(good); i++) {
        for (size_t at = 1; at < strlen(good[i].input); at++) {
            run_case(&good[i], 0, at);
        }
    }
}


static void
bad_octets_are_a_protocol_error(void **state)
{
    static const char *const  inputs[] = {
        "garbage\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "HTTP/3.7 200 OK\r\n\r\n", "HTTP/0.9 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nbad header: x\r\n\r\n", "HTTP/1.1 200 OK\r\nnocolon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", "HTTP/1.1 099 Odd\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nxx",
        "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi", "HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "\x16\x03\x01",
    };
    unsigned                  failed = 0;

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(inputs); i++) {
        for (size_t piece = 0; piece < 2; piece++) {
            talk_t  talk;
            call_t  call;

            talk_start(&talk, piece);
            call_start(&call, talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
            run_turns(loop, 2);
            raw_write(&talk.raw, cn_bytes_str(inputs[i]));
            run_turns(loop, 4);

            if (!call.was_reset || call.reason != CN_RESET_PROTOCOL || talk.caller.session != NULL) {
                print_error("%s: reset %d, reason %d\n", inputs[i], call.was_reset, (int) call.reason);
                failed++;
            }

            call_clear(&call);
            talk_end(&talk);
        }
    }

    assert_int_equal(failed, 0);
}


static void
interim_responses_have_a_limit(void **state)
{
    talk_t  talk;
    call_t  call;

    (void) state;
    talk_start(&talk, 0);
    call_start(&call, talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
    run_turns(loop, 2);

    for (unsigned i = 0; i < 200; i++) {
        raw_write(&talk.raw, CN_BYTES("HTTP/1.1 100 Continue\r\n\r\n"));
    }

    run_turns(loop, 6);
    assert_true(call.was_reset);
    assert_int_equal(call.reason, CN_RESET_PROTOCOL);
    call_clear(&call);
    talk_end(&talk);
}


/* --- ends --------------------------------------------------------------------------------------------------------- */

static void
the_end_of_the_connection_has_its_reason(void **state)
{
    static const struct { const char *name; const char *input; bool reset; cn_reset_reason_t reason; } cases[] = {
        { "before the response", "", false, CN_RESET_TERMINATED },
        { "a reset before the response", "", true, CN_RESET_TERMINATED },
        { "within the head", "HTTP/1.1 200 OK\r\ncont", false, CN_RESET_TERMINATED },
        { "after an interim response", "HTTP/1.1 100 Continue\r\n\r\n", false, CN_RESET_TERMINATED },
        { "within a length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\npart", false, CN_RESET_PROTOCOL },
        { "a reset within a length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\npart", true, CN_RESET_PROTOCOL },
        { "within a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", false, CN_RESET_PROTOCOL },
        { "before the last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", false, CN_RESET_PROTOCOL },
        { "a reset within a body until the end", "HTTP/1.1 200 OK\r\n\r\npart", true, CN_RESET_PROTOCOL },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        talk_t  talk;
        call_t  call;

        talk_start(&talk, 0);
        call_start(&call, talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
        run_turns(loop, 3);
        raw_write(&talk.raw, cn_bytes_str(cases[i].input));
        run_turns(loop, 3);

        if (cases[i].reset) {
            cn_stream_close(talk.raw.stream, CN_CLOSE_RESET);
            talk.raw.stream = NULL;
        } else {
            cn_stream_end(talk.raw.stream);
        }

        run_turns(loop, 6);
        unit_check(call.was_reset, cases[i].name);
        unit_check(call.reason == cases[i].reason, cases[i].name);
        unit_check(talk.caller.session == NULL, cases[i].name);
        call_clear(&call);
        talk_end(&talk);
    }
}


static void
what_was_never_sent_is_safe_to_repeat(void **state)
{
    talk_t  talk;
    call_t  call;

    (void) state;
    talk_start(&talk, 0);
    call_start(&call, talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
    run_turns(loop, 3);
    raw_write(&talk.raw, CN_BYTES("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    run_turns(loop, 3);
    assert_true(call.ended);
    call_clear(&call);

    /* the server goes while the next request is on its way to the stream */
    pipe_stream_stall(talk.ends[0], true);
    call_start(&call, talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
    cn_stream_end(talk.raw.stream);
    run_turns(loop, 4);
    assert_true(call.was_reset);
    assert_int_equal(call.reason, CN_RESET_UNPROCESSED);
    call_clear(&call);
    talk_end(&talk);
}


static void
a_failed_connect_has_its_reason(void **state)
{
    static const struct { cn_close_reason_t close; cn_reset_reason_t reset; } ways[] = {
        { CN_CLOSE_CONNECT_REFUSED, CN_RESET_CONNECT_FAILED },
        { CN_CLOSE_CONNECT_TIMEOUT, CN_RESET_CONNECT_TIMEOUT },
        { CN_CLOSE_TLS, CN_RESET_CONNECT_FAILED },
        { CN_CLOSE_TUNNEL_REFUSED, CN_RESET_TERMINATED },
        { CN_CLOSE_UNPROCESSED, CN_RESET_UNPROCESSED },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(ways); i++) {
        const pipe_stream_options_t  connecting = { .connecting = true };
        talk_t                       talk = { .caller = { NULL, 0, 0, false } };
        call_t                       call;

        pipe_stream_create(loop, &connecting, talk.ends);
        raw_own(&talk.raw, talk.ends[1], &wire);
        talk.caller.session = cn_h1_client(talk.ends[0], NULL, &caller_events, &talk.caller);
        call_start(&call, talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
        pipe_stream_connect(talk.ends[0], ways[i].close);
        run_turns(loop, 4);
        assert_true(call.was_reset);
        assert_int_equal(call.reason, ways[i].reset);
        assert_int_equal(talk.caller.reason, ways[i].close);
        call_clear(&call);
        talk_end(&talk);
    }
}


static void
octets_that_nobody_asked_for_end_it(void **state)
{
    talk_t  talk;

    (void) state;
    talk_start(&talk, 0);
    raw_write(&talk.raw, CN_BYTES("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"));
    run_turns(loop, 4);
    assert_null(talk.caller.session);
    talk_end(&talk);
}


static void
an_early_response_leaves_the_request_to_its_owner(void **state)
{
    talk_t        talk;
    call_t        call;
    cn_message_t  head;
    static text_t body;

    (void) state;
    talk_start(&talk, 0);
    text_clear(&body);
    call = (call_t) { .pool = cn_pool_create(1024, NULL), .body = &body };
    cn_message_init(&head, call.pool);
    head.method = CN_BYTES("POST");
    head.path = CN_BYTES("/");
    head.authority = CN_BYTES("a");
    call.exchange = cn_client_request(talk.caller.session, &head, false, call.pool, &call_events, &call);
    run_turns(loop, 2);
    raw_write(&talk.raw, CN_BYTES("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly"));
    run_turns(loop, 4);
    assert_true(call.ended);
    assert_int_equal(cn_session_room(talk.caller.session), 0);
    cn_exchange_send_end(call.exchange, NULL);
    run_turns(loop, 4);
    assert_true(text_has(&wire, "\r\n\r\n0\r\n\r\n"));
    assert_int_equal(cn_session_room(talk.caller.session), 1);
    cn_pool_destroy(call.pool);
    talk_end(&talk);
}


/* --- upgrade --------------------------------------------------------------------------------------------------------- */

static raw_t  upgraded;


static void
upgrade_head(void *owner, cn_message_t *head, bool end)
{
    call_t  *call = owner;

    call->status = head->status;
    assert_false(end);
    assert_bytes(head->protocol, "websocket");
    raw_own(&upgraded, cn_exchange_to_stream(call->exchange), call->body);
}


static void
an_upgrade_becomes_a_stream(void **state)
{
    (void) state;

    for (size_t piece = 0; piece < 2; piece++) {
        talk_t                talk;
        call_t                call;
        static text_t         body;
        cn_exchange_events_t  events = call_events;

        events.on_head = upgrade_head;
        talk_start(&talk, piece);
        text_clear(&body);
        call_start(&call, talk.caller.session, "GET", "/upgrade", CN_BYTES_NONE, false);
        call.exchange->events = &events;
        run_turns(loop, 2);
        raw_write(&talk.raw, CN_BYTES("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nraw"));
        run_turns(loop, 4);
        assert_int_equal(call.status, 101);
        assert_string_equal(call.body->at, "raw");
        raw_write(&upgraded, CN_BYTES("back"));
        raw_write(&talk.raw, CN_BYTES(" HTTP/1.1 200 OK\r\n\r\n"));
        run_turns(loop, 4);
        assert_string_equal(call.body->at, "raw HTTP/1.1 200 OK\r\n\r\n");
        assert_true(text_has(&wire, "\r\n\r\nback"));
        cn_stream_end(upgraded.stream);
        run_turns(loop, 4);
        assert_true(talk.raw.ended);
        cn_stream_end(talk.raw.stream);
        run_turns(loop, 4);
        assert_true(upgraded.closed);
        assert_int_equal(upgraded.reason, CN_CLOSE_END);
        assert_null(talk.caller.session);
        call_clear(&call);
        talk_end(&talk);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(requests_are_framed_by_what_they_have, setup, teardown),
        cmocka_unit_test_setup_teardown(what_would_split_a_request_is_not_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(it_reads_every_kind_of_response, setup, teardown),
        cmocka_unit_test_setup_teardown(every_byte_boundary_is_as_good, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_octets_are_a_protocol_error, setup, teardown),
        cmocka_unit_test_setup_teardown(interim_responses_have_a_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_of_the_connection_has_its_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_never_sent_is_safe_to_repeat, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_connect_has_its_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(octets_that_nobody_asked_for_end_it, setup, teardown),
        cmocka_unit_test_setup_teardown(an_early_response_leaves_the_request_to_its_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(an_upgrade_becomes_a_stream, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
