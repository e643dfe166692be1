/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tunnels: our client's over our server's, with raw octets, with HTTP/1 inside, and with HTTP/2 and another tunnel inside, delivered
 * in pieces of any size and cut anywhere.
 */

#include "app.h"

#define MANY  50

static cn_loop_t  *loop;
static text_t      heard, inner, wire;
static unsigned    streams_before;

/* The outer connection. */
typedef struct {
    app_t         app;
    caller_t      caller;
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
talk_start(talk_t *talk, const pipe_stream_options_t *options, bool inner_http)
{
    *talk = (talk_t) { .app = { .text = &heard, .inner_http = inner_http } };
    text_clear(&heard);
    pipe_stream_create(loop, options, talk->ends);
    talk->caller.session = cn_h2_client(talk->ends[0], NULL, &caller_events, &talk->caller);
    talk->app.session = cn_h2_server(talk->ends[1], NULL, &app_events, &talk->app);
    assert_non_null(talk->caller.session);
    assert_non_null(talk->app.session);
}


static void
talk_end(talk_t *talk)
{
    if (talk->caller.session != NULL) {
        cn_session_close(talk->caller.session, CN_CLOSE_LOCAL);
        talk->caller.session = NULL;
    }

    run_turns(loop, 12);
    assert_int_equal(talk->app.open, 0);
}


static cn_stream_t *
open_tunnel(talk_t *talk)
{
    cn_stream_t  *stream = cn_tunnel_open(talk->caller.session, CN_BYTES("10.0.0.1:9080"), NULL, NULL);

    assert_non_null(stream);

    return stream;
}


static const pipe_stream_options_t  whole = { .piece = 0 }, bytewise = { .piece = 1 }, sevens = { .piece = 7 };
static const pipe_stream_options_t *const  deliveries[] = { &whole, &bytewise, &sevens };


/* --- octets -------------------------------------------------------------------------------------------------- */

static void
octets_and_ends_pass(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(deliveries); i++) {
        talk_t  talk;
        raw_t   raw;

        talk_start(&talk, deliveries[i], false);
        raw_own(&raw, open_tunnel(&talk), &wire);
        raw_write(&raw, CN_BYTES("before the answer, "));
        assert_false(raw.opened);
        run_turns(loop, 8);
        assert_true(raw.opened);
        raw_write(&raw, CN_BYTES("after it"));
        run_turns(loop, 8);
        assert_string_equal(wire.at, "before the answer, after it");
        assert_string_equal(heard.at, "CONNECT  host=10.0.0.1:9080\n");
        assert_int_equal(raw.sent, wire.len);
        assert_int_equal(cn_stream_pending(raw.stream), 0);
        assert_int_equal(cn_stream_info(raw.stream)->peer.port, 9080);
        assert_bytes(cn_stream_info(raw.stream)->authority, "10.0.0.1:9080");
        assert_int_equal(cn_stream_info(raw.stream)->kind, CN_STREAM_TUNNEL);
        cn_stream_end(raw.stream);
        run_turns(loop, 8);
        assert_true(raw.ended);
        assert_true(raw.closed);
        assert_int_equal(raw.reason, CN_CLOSE_END);
        assert_int_equal(cn_session_active(talk.caller.session), 0);
        assert_int_equal(cn_session_active(talk.app.session), 0);
        talk_end(&talk);
    }
}


static void
megabytes_pass_under_back_pressure(void **state)
{
    static uint8_t  big[400 * 1024];
    talk_t          talk;
    raw_t           raw;

    (void) state;
    memset(big, 'm', sizeof(big));
    talk_start(&talk, &whole, false);
    raw_own(&raw, open_tunnel(&talk), &wire);
    raw.keep_credit = true;
    raw_write(&raw, cn_bytes(big, sizeof(big)));
    cn_stream_end(raw.stream);
    run_turns(loop, 40);

    /* the echo stops at the stream's window, and so does what it echoes */
    assert_int_equal(wire.len, CN_STREAM_WINDOW);
    cn_stream_consumed(raw.stream, CN_STREAM_WINDOW);
    raw.keep_credit = false;
    run_turns(loop, 40);
    assert_int_equal(wire.len, sizeof(big));
    assert_memory_equal(wire.at, big, sizeof(big));
    assert_int_equal(raw.sent, sizeof(big));
    assert_true(raw.closed);
    assert_int_equal(raw.reason, CN_CLOSE_END);
    talk_end(&talk);
}


static void
many_tunnels_share_a_connection(void **state)
{
    static text_t  texts[MANY];
    talk_t         talk;
    raw_t          raws[MANY];

    (void) state;
    talk_start(&talk, &whole, false);

    for (unsigned i = 0; i < MANY; i++) {
        raw_own(&raws[i], open_tunnel(&talk), &texts[i]);
        raw_write(&raws[i], CN_BYTES("one"));
    }

    run_turns(loop, 10);

    for (unsigned i = 0; i < MANY; i++) {
        assert_string_equal(texts[i].at, "one");

        if (i % 2 == 0) {
            cn_stream_close(raws[i].stream, i % 4 == 0 ? CN_CLOSE_LOCAL : CN_CLOSE_RESET);
            raws[i].stream = NULL;
        }
    }

    run_turns(loop, 10);
    assert_int_equal(cn_session_active(talk.app.session), MANY / 2);

    for (unsigned i = 1; i < MANY; i += 2) {
        raw_write(&raws[i], CN_BYTES(" two"));
    }

    run_turns(loop, 10);

    for (unsigned i = 1; i < MANY; i += 2) {
        assert_string_equal(texts[i].at, "one two");
    }

    cn_session_close(talk.caller.session, CN_CLOSE_RESET);
    talk.caller.session = NULL;
    run_turns(loop, 6);

    for (unsigned i = 1; i < MANY; i += 2) {
        assert_true(raws[i].closed);
        assert_int_equal(raws[i].reason, CN_CLOSE_RESET);
    }

    talk_end(&talk);
}


static void
an_ordinary_close_delivers_what_was_written(void **state)
{
    talk_t  talk;
    raw_t   raw;

    (void) state;
    talk_start(&talk, &whole, true);
    raw_own(&raw, open_tunnel(&talk), &wire);
    run_turns(loop, 6);
    raw_write(&raw, CN_BYTES("GET /hang HTTP/1.1\r\nhost: in\r\n\r\n"));
    cn_stream_close(raw.stream, CN_CLOSE_LOCAL);
    run_turns(loop, 8);
    assert_true(text_has(&heard, "GET /hang host=in end\n"));

    /* a peer that does not end its side is not waited for longer than a second */
    assert_int_equal(cn_session_active(talk.caller.session), 1);
    run_ms(loop, 1300);
    assert_int_equal(cn_session_active(talk.caller.session), 0);
    assert_true(text_has(&heard, "reset connection termination"));
    talk_end(&talk);
}


static void
a_refused_connect_closes(void **state)
{
    talk_t               talk;
    raw_t                raw;
    cn_stream_t         *ends[2];
    static const uint8_t answer[] = {
        0, 0, 0, 4, 0, 0, 0, 0, 0,                                                      /* SETTINGS */
        0, 0, 13, 1, 4, 0, 0, 0, 1, 0, 7, ':', 's', 't', 'a', 't', 'u', 's', 3, '5', '0', '3', /* HEADERS */
    };
    raw_t                server;

    (void) state;
    talk = (talk_t) { .app = { .text = &heard } };
    pipe_stream_create(loop, &whole, ends);
    talk.caller.session = cn_h2_client(ends[0], NULL, &caller_events, &talk.caller);
    raw_own(&server, ends[1], &inner);
    raw_own(&raw, open_tunnel(&talk), &wire);
    run_turns(loop, 4);
    raw_write(&server, cn_bytes(answer, sizeof(answer)));
    run_turns(loop, 2);
    assert_true(raw.closed);
    assert_int_equal(raw.reason, CN_CLOSE_TUNNEL_REFUSED);
    cn_session_close(talk.caller.session, CN_CLOSE_LOCAL);
    run_turns(loop, 6);
    cn_stream_close(server.stream, CN_CLOSE_RESET);
    run_turns(loop, 2);
}


static void
the_status_of_a_refusal_is_told(void **state)
{
    talk_t  talk;

    (void) state;
    talk_start(&talk, &whole, false);

    cn_stream_t  *stream = open_tunnel(&talk);
    raw_t         raw;

    raw_own(&raw, stream, &wire);
    assert_int_equal(cn_tunnel_refused_status(stream), 0);
    assert_int_equal(cn_tunnel_refused_status(talk.ends[0]), 0);
    cn_stream_close(stream, CN_CLOSE_LOCAL);
    run_turns(loop, 6);
    assert_int_equal(cn_session_active(talk.caller.session), 0);
    talk_end(&talk);
}


static void
a_failed_connection_closes_its_tunnels(void **state)
{
    static const cn_close_reason_t  ways[][2] = {
        { CN_CLOSE_CONNECT_REFUSED, CN_CLOSE_CONNECT_REFUSED },
        { CN_CLOSE_CONNECT_TIMEOUT, CN_CLOSE_CONNECT_TIMEOUT },
        { CN_CLOSE_TLS, CN_CLOSE_CONNECT_REFUSED },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(ways); i++) {
        const pipe_stream_options_t  connecting = { .connecting = true };
        talk_t                       talk;
        raw_t                        raw;

        talk_start(&talk, &connecting, false);
        raw_own(&raw, open_tunnel(&talk), &wire);
        raw_write(&raw, CN_BYTES("x"));
        run_turns(loop, 3);
        pipe_stream_connect(talk.ends[0], ways[i][0]);
        run_turns(loop, 6);
        assert_true(raw.closed);
        assert_false(raw.opened);
        assert_int_equal(raw.reason, ways[i][1]);
        talk_end(&talk);
    }
}


/* --- HTTP/1 inside ------------------------------------------------------------------------------------------------ */

typedef struct {
    caller_t  caller;
    call_t    call;
} inner_t;


static void
inner_start(inner_t *in, talk_t *talk)
{
    *in = (inner_t) { .caller = { NULL, 0, 0, false } };
    in->caller.session = cn_h1_client(open_tunnel(talk), NULL, &caller_events, &in->caller);
    assert_non_null(in->caller.session);
}


static void
inner_end(inner_t *in)
{
    if (in->caller.session != NULL) {
        cn_session_close(in->caller.session, CN_CLOSE_LOCAL);
        in->caller.session = NULL;
    }
}


static void
http_1_goes_through_a_tunnel(void **state)
{
    static const char *const  paths[] = { "/", "/chunked", "/echo", "/empty", "/100", "/", "/big" };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(deliveries); i++) {
        talk_t   talk;
        inner_t  in;

        talk_start(&talk, deliveries[i], true);
        inner_start(&in, &talk);

        for (size_t p = 0; p < CN_COUNT_OF(paths) - (deliveries[i]->piece != 0); p++) {
            if (in.caller.session == NULL) {
                inner_start(&in, &talk);        /* an answer before the request's end cost the connection */
            }

            assert_int_equal(cn_session_room(in.caller.session), 1);
            call_start(&in.call, in.caller.session, "POST", paths[p], CN_BYTES("hello"), p % 2 == 0);
            assert_int_equal(cn_session_room(in.caller.session), 0);
            run_turns(loop, 40);
            unit_check(in.call.ended && !in.call.was_reset, paths[p]);
            unit_check(strcmp(paths[p], "/echo") != 0 || strcmp(in.call.body->at, "hello") == 0, paths[p]);
            unit_check(strcmp(paths[p], "/big") != 0 || in.call.body->len == 300 * 1024, paths[p]);
            call_clear(&in.call);
        }

        assert_int_equal(cn_session_active(talk.caller.session), in.caller.session != NULL);
        inner_end(&in);
        run_turns(loop, 12);
        assert_int_equal(cn_session_active(talk.caller.session), 0);
        talk_end(&talk);
    }
}


static void
a_tunnel_that_dies_resets_what_is_inside(void **state)
{
    talk_t   talk;
    inner_t  in[3];

    (void) state;
    talk_start(&talk, &whole, true);

    for (unsigned i = 0; i < 3; i++) {
        inner_start(&in[i], &talk);
        call_start(&in[i].call, in[i].caller.session, "GET", "/hang", CN_BYTES_NONE, false);
    }

    run_turns(loop, 10);
    cn_session_close(talk.app.session, CN_CLOSE_RESET);
    talk.app.session = NULL;
    run_turns(loop, 10);

    for (unsigned i = 0; i < 3; i++) {
        assert_true(in[i].call.was_reset);
        assert_int_equal(in[i].call.reason, CN_RESET_TERMINATED);
        assert_null(in[i].caller.session);
        call_clear(&in[i].call);
    }

    assert_int_equal(talk.app.open, 0);
    talk_end(&talk);
}


/* --- four sessions, one in another --------------------------------------------------------------------------------- */

/* A server that takes CONNECT as the app does, but with HTTP/2 inside, whose CONNECTs the app takes with HTTP/1. */
static app_t  deepest;


static void
nest_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    (void) owner, (void) end;

    cn_stream_t  *stream = cn_tunnel_accept(exchange, head);

    assert_non_null(stream);
    assert_non_null(cn_h2_server(stream, NULL, &app_events, &deepest));
}


static void
nest_closed(void *owner, cn_close_reason_t reason)
{
    (void) reason;
    *(cn_session_t **) owner = NULL;
}


static const cn_session_events_t  nest_events = { .on_exchange = nest_exchange, .on_closed = nest_closed };


/* Runs one request through h1 > tunnel > h2 > tunnel > h2 > pipe; returns whether it was answered. */
static bool
nested_request(const pipe_stream_options_t *options, unsigned turns)
{
    cn_stream_t   *ends[2];
    caller_t       outer = { NULL, 0, 0, false }, middle = outer, in = outer;
    cn_session_t  *server;
    call_t         call;
    bool           answered;

    deepest = (app_t) { .text = &heard, .inner_http = true };
    text_clear(&heard);
    pipe_stream_create(loop, options, ends);
    server = cn_h2_server(ends[1], NULL, &nest_events, &server);
    outer.session = cn_h2_client(ends[0], NULL, &caller_events, &outer);
    middle.session = cn_h2_client(cn_tunnel_open(outer.session, CN_BYTES("gateway:15008"), NULL, NULL), NULL,
                                  &caller_events, &middle);
    in.session = cn_h1_client(cn_tunnel_open(middle.session, CN_BYTES("10.0.0.1:80"), NULL, NULL), NULL,
                              &caller_events, &in);
    call_start(&call, in.session, "POST", "/echo", CN_BYTES("hello through four sessions"), true);
    assert_non_null(call.exchange);
    run_turns(loop, turns);
    answered = call.ended && strcmp(call.body->at, "hello through four sessions") == 0;
    assert_true(call.ended || call.was_reset);
    call_clear(&call);

    if (in.session != NULL) {
        cn_session_close(in.session, CN_CLOSE_LOCAL);
    }

    if (middle.session != NULL) {
        cn_session_close(middle.session, CN_CLOSE_LOCAL);
    }

    if (outer.session != NULL) {
        cn_session_close(outer.session, CN_CLOSE_LOCAL);
    }

    run_turns(loop, 20);
    assert_null(server);
    assert_int_equal(deepest.open, 0);

    return answered;
}


static void
four_sessions_nest(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(deliveries); i++) {
        assert_true(nested_request(deliveries[i], 30));
    }
}


static void
four_sessions_can_be_cut_anywhere(void **state)
{
    (void) state;

    for (int side = 0; side < 2; side++) {
        bool  answered = false;

        for (size_t cut = 1; !answered && cut < 2000; cut++) {
            pipe_stream_options_t  options = { .piece = 13 };

            options.cut_after[side] = cut;
            answered = nested_request(&options, 30);
        }

        assert_true(answered);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(octets_and_ends_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(megabytes_pass_under_back_pressure, setup, teardown),
        cmocka_unit_test_setup_teardown(many_tunnels_share_a_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(an_ordinary_close_delivers_what_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_connect_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(the_status_of_a_refusal_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_connection_closes_its_tunnels, setup, teardown),
        cmocka_unit_test_setup_teardown(http_1_goes_through_a_tunnel, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tunnel_that_dies_resets_what_is_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(four_sessions_nest, setup, teardown),
        cmocka_unit_test_setup_teardown(four_sessions_can_be_cut_anywhere, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
