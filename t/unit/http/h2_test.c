/* SPDX-License-Identifier: Apache-2.0 */

/* HTTP/2: our client and our server against each other, and the server against frames that no honest peer sends. */

#include "app.h"

#define MANY  60

static cn_loop_t  *loop;
static text_t      heard, wire;
static unsigned    streams_before;      /* so that one failure does not fail what follows */

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
talk_start(talk_t *talk, const pipe_stream_options_t *options, const cn_session_limits_t *limits)
{
    *talk = (talk_t) { .app = { .text = &heard } };
    text_clear(&heard);
    pipe_stream_create(loop, options, talk->ends);
    talk->caller.session = cn_h2_client(talk->ends[0], limits, &caller_events, &talk->caller);
    talk->app.session = cn_h2_server(talk->ends[1], limits, &app_events, &talk->app);
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

    run_turns(loop, 8);
    assert_null(talk->app.session);
    assert_int_equal(talk->app.open, 0);
}


static const pipe_stream_options_t  whole = { .piece = 0 }, bytewise = { .piece = 1 }, sevens = { .piece = 7 };
static const pipe_stream_options_t *const  deliveries[] = { &whole, &bytewise, &sevens };


/* --- honest traffic ---------------------------------------------------------------------------------------- */

static void
a_request_is_answered(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(deliveries); i++) {
        talk_t  talk;
        call_t  call;

        talk_start(&talk, deliveries[i], NULL);
        call_start(&call, talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
        assert_non_null(call.exchange);
        run_turns(loop, 8);
        assert_string_equal(heard.at, "GET / host=reviews:9080 end [x-call: 1]\nend 0\nover\n");
        assert_int_equal(call.status, 200);
        assert_string_equal(call.body->at, "ok");
        assert_string_equal(call.headers, "[x-app: yes]");
        assert_true(call.ended);
        assert_int_equal(cn_session_active(talk.caller.session), 0);
        assert_int_equal(cn_session_active(talk.app.session), 0);
        call_clear(&call);
        talk_end(&talk);
    }
}


static void
bodies_pass_both_ways(void **state)
{
    static uint8_t  big[700 * 1024];

    (void) state;
    memset(big, 'e', sizeof(big));

    for (size_t i = 0; i < CN_COUNT_OF(deliveries); i++) {
        size_t  len = deliveries[i]->piece == 0 ? 500 * 1024 : 3000;
        talk_t  talk;
        call_t  call;

        for (int chunked = 0; chunked < 2; chunked++) {
            talk_start(&talk, deliveries[i], NULL);
            call_start(&call, talk.caller.session, "POST", "/echo", cn_bytes(big, len), chunked);
            run_turns(loop, 60);
            assert_true(call.ended);
            assert_false(call.was_reset);
            assert_int_equal(call.body->len, len);
            assert_int_equal(call.sent, len);
            assert_memory_equal(call.body->at, big, len);
            assert_int_equal(pipe_stream_unconsumed(talk.ends[0]), 0);
            assert_int_equal(pipe_stream_unconsumed(talk.ends[1]), 0);
            call_clear(&call);
            talk_end(&talk);
        }
    }
}


static void
every_kind_of_answer_passes(void **state)
{
    static const struct { const char *method; const char *path; uint16_t status; const char *body; } kinds[] = {
        { "GET", "/chunked", 200, "hello" },
        { "GET", "/empty", 204, "" },
        { "GET", "/head", 304, "" },
        { "GET", "/100", 200, "ok" },
        { "GET", "/trailers", 200, "body" },
        { "PROPFIND", "/", 200, "ok" },
        { "HEAD", "/", 200, "" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(kinds); i++) {
        for (size_t d = 0; d < CN_COUNT_OF(deliveries); d++) {
            talk_t  talk;
            call_t  call;

            talk_start(&talk, deliveries[d], NULL);
            call_start(&call, talk.caller.session, kinds[i].method, kinds[i].path, CN_BYTES_NONE, false);
            run_turns(loop, 10);
            unit_check(call.status == kinds[i].status, kinds[i].path);
            unit_check(strcmp(call.body->at, kinds[i].body) == 0, kinds[i].path);
            unit_check(call.ended && !call.was_reset, kinds[i].path);
            unit_check(call.informational == (strcmp(kinds[i].path, "/100") == 0), kinds[i].path);
            unit_check((strcmp(call.trailers, "grpc-status: 0") == 0) == (strcmp(kinds[i].path, "/trailers") == 0),
                       kinds[i].path);
            call_clear(&call);
            talk_end(&talk);
        }
    }
}


static void
many_requests_share_a_connection(void **state)
{
    talk_t  talk;
    call_t  calls[MANY];

    (void) state;
    talk_start(&talk, &whole, NULL);
    assert_int_equal(cn_session_room(talk.caller.session), 100);

    for (unsigned i = 0; i < MANY; i++) {
        call_start(&calls[i], talk.caller.session, "POST", i % 3 == 0 ? "/big" : "/echo", CN_BYTES("hello"), false);
        assert_non_null(calls[i].exchange);
    }

    assert_int_equal(cn_session_room(talk.caller.session), 100 - MANY);
    run_turns(loop, 400);

    for (unsigned i = 0; i < MANY; i++) {
        assert_true(calls[i].ended);
        assert_int_equal(calls[i].body->len, i % 3 == 0 ? 300 * 1024 : 5);
        call_clear(&calls[i]);
    }

    assert_int_equal(cn_session_room(talk.caller.session), 100);
    assert_true(talk.caller.rooms > 0);
    talk_end(&talk);
}


static void
one_slow_reader_stalls_nobody(void **state)
{
    talk_t  talk;
    call_t  slow[8], quick;

    (void) state;
    talk_start(&talk, &whole, NULL);

    for (unsigned i = 0; i < 8; i++) {
        call_start(&slow[i], talk.caller.session, "GET", "/big", CN_BYTES_NONE, false);
        slow[i].keep_credit = true;
    }

    /* together they hold twice the connection's window, and it is open still */
    run_turns(loop, 100);

    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(slow[i].body->len, 256 * 1024);
        assert_false(slow[i].ended);
    }

    call_start(&quick, talk.caller.session, "GET", "/big", CN_BYTES_NONE, false);
    run_turns(loop, 60);
    assert_true(quick.ended);
    assert_int_equal(quick.body->len, 300 * 1024);
    call_clear(&quick);

    cn_exchange_consumed(slow[0].exchange, 256 * 1024);
    run_turns(loop, 20);
    assert_true(slow[0].ended);
    assert_int_equal(slow[0].body->len, 300 * 1024);

    for (unsigned i = 1; i < 8; i++) {
        cn_exchange_reset(slow[i].exchange, CN_RESET_LOCAL);
    }

    run_turns(loop, 20);
    assert_int_equal(talk.app.open, 0);

    for (unsigned i = 0; i < 8; i++) {
        call_clear(&slow[i]);
    }

    talk_end(&talk);
}


static void
output_waits_while_the_stream_below_is_full(void **state)
{
    talk_t  talk;
    call_t  calls[20];

    (void) state;
    talk_start(&talk, &whole, NULL);

    for (unsigned i = 0; i < 20; i++) {
        call_start(&calls[i], talk.caller.session, "GET", "/big", CN_BYTES_NONE, false);
    }

    pipe_stream_stall(talk.ends[1], true);
    run_turns(loop, 40);
    assert_true(cn_stream_pending(talk.ends[1]) < 512 * 1024);
    pipe_stream_stall(talk.ends[1], false);
    run_turns(loop, 400);

    for (unsigned i = 0; i < 20; i++) {
        assert_true(calls[i].ended);
        call_clear(&calls[i]);
    }

    talk_end(&talk);
}


static void
cookies_are_joined_and_limits_hold_for_crumbs(void **state)
{
    static text_t  body;
    talk_t         talk;

    (void) state;
    talk_start(&talk, &whole, NULL);

    for (unsigned count = 2; count <= 120; count += 118) {
        call_t        call = { .pool = cn_pool_create(4096, NULL), .body = &body };
        cn_message_t  head;

        text_clear(&heard);
        cn_message_init(&head, call.pool);
        head.method = CN_BYTES("GET");
        head.path = CN_BYTES("/empty");
        head.authority = CN_BYTES("a");

        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(cn_headers_add(&head.headers, CN_BYTES("cookie"), cn_bytes(i % 2 ? "b=2" : "a=1", 3)),
                             CN_OK);
        }

        call.exchange = cn_client_request(talk.caller.session, &head, true, call.pool, &call_events, &call);
        assert_non_null(call.exchange);
        run_turns(loop, 8);

        if (count == 2) {
            assert_true(text_has(&heard, "GET /empty host=a end [cookie: a=1; b=2]\n"));
            assert_int_equal(call.status, 204);
        } else {
            assert_string_equal(heard.at, "refused 0 http2.too_many_headers DR\n");
            assert_true(call.was_reset);
        }

        cn_pool_destroy(call.pool);
    }

    talk_end(&talk);
}


/* --- resets and ends ------------------------------------------------------------------------------------------ */

static void
resets_pass_both_ways(void **state)
{
    talk_t  talk;
    call_t  call;

    (void) state;
    talk_start(&talk, &whole, NULL);

    call_start(&call, talk.caller.session, "GET", "/reset", CN_BYTES_NONE, false);
    run_turns(loop, 8);
    assert_true(call.was_reset);
    assert_int_equal(call.reason, CN_RESET_REMOTE);
    call_clear(&call);

    call_start(&call, talk.caller.session, "GET", "/cut", CN_BYTES_NONE, false);
    run_turns(loop, 8);
    assert_true(call.was_reset);
    call_clear(&call);

    text_clear(&heard);
    call_start(&call, talk.caller.session, "GET", "/hang", CN_BYTES_NONE, false);
    run_turns(loop, 8);
    cn_exchange_reset(call.exchange, CN_RESET_LOCAL);
    call_clear(&call);
    run_turns(loop, 8);
    assert_true(text_has(&heard, "reset remote reset http2.remote_reset\n"));
    assert_int_equal(talk.app.open, 0);

    /* before a single frame of it has left */
    call_start(&call, talk.caller.session, "GET", "/hang", CN_BYTES_NONE, false);
    cn_exchange_reset(call.exchange, CN_RESET_LOCAL);
    call_clear(&call);
    run_turns(loop, 8);
    assert_int_equal(cn_session_active(talk.caller.session), 0);
    talk_end(&talk);
}


static void
an_early_answer_stops_the_request(void **state)
{
    talk_t          talk;
    call_t          call;
    static uint8_t  big[400 * 1024];

    (void) state;
    talk_start(&talk, &whole, NULL);
    call_start(&call, talk.caller.session, "POST", "/early", cn_bytes(big, sizeof(big)), false);
    run_turns(loop, 20);
    assert_true(call.ended);
    assert_false(call.was_reset);
    assert_string_equal(call.body->at, "ok");
    assert_true(text_has(&heard, "over\n"));
    assert_int_equal(cn_session_active(talk.app.session), 0);
    assert_int_equal(cn_session_active(talk.caller.session), 0);
    call_clear(&call);
    talk_end(&talk);
}


static void
goaway_lets_what_is_open_finish(void **state)
{
    talk_t  talk;
    call_t  open, late;

    (void) state;
    talk_start(&talk, &whole, NULL);
    call_start(&open, talk.caller.session, "GET", "/big", CN_BYTES_NONE, false);
    open.keep_credit = true;
    run_turns(loop, 10);
    cn_session_drain(talk.app.session, false);
    run_turns(loop, 4);
    assert_int_equal(cn_session_room(talk.caller.session), 0);
    call_start(&late, talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
    assert_null(late.exchange);
    call_clear(&late);
    cn_session_drain(talk.app.session, true);
    run_turns(loop, 4);
    assert_non_null(talk.app.session);
    assert_non_null(talk.caller.session);
    cn_exchange_consumed(open.exchange, open.body->len);
    run_turns(loop, 20);
    assert_true(open.ended);
    assert_null(talk.app.session);
    assert_null(talk.caller.session);
    assert_int_equal(talk.caller.reason, CN_CLOSE_LOCAL);
    call_clear(&open);
    talk_end(&talk);
}


static void
a_failed_connect_is_told_to_each_request(void **state)
{
    static const struct { cn_close_reason_t close; cn_reset_reason_t reset; } ways[] = {
        { CN_CLOSE_CONNECT_REFUSED, CN_RESET_CONNECT_FAILED },
        { CN_CLOSE_CONNECT_TIMEOUT, CN_RESET_CONNECT_TIMEOUT },
        { CN_CLOSE_TLS, CN_RESET_CONNECT_FAILED },
        { CN_CLOSE_TUNNEL_REFUSED, CN_RESET_TERMINATED },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(ways); i++) {
        const pipe_stream_options_t  connecting = { .connecting = true };
        talk_t                       talk;
        call_t                       calls[2];

        talk_start(&talk, &connecting, NULL);
        call_start(&calls[0], talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
        call_start(&calls[1], talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
        run_turns(loop, 3);
        pipe_stream_connect(talk.ends[0], ways[i].close);
        run_turns(loop, 6);
        assert_true(calls[0].was_reset && calls[1].was_reset);
        assert_int_equal(calls[0].reason, ways[i].reset);
        assert_int_equal(talk.caller.reason, ways[i].close);
        call_clear(&calls[0]);
        call_clear(&calls[1]);
        talk_end(&talk);
    }
}


static void
requests_wait_for_the_connection(void **state)
{
    const pipe_stream_options_t  connecting = { .connecting = true };
    talk_t                       talk;
    call_t                       call;

    (void) state;
    talk_start(&talk, &connecting, NULL);
    call_start(&call, talk.caller.session, "POST", "/echo", CN_BYTES("later"), true);
    run_turns(loop, 5);
    assert_int_equal(talk.app.started, 0);
    pipe_stream_connect(talk.ends[0], CN_CLOSE_NONE);
    run_turns(loop, 10);
    assert_true(talk.caller.opened);
    assert_string_equal(call.body->at, "later");
    call_clear(&call);
    talk_end(&talk);
}


static void
the_owner_may_close_the_session_in_any_event(void **state)
{
    talk_t  talk;
    call_t  calls[3];

    (void) state;
    talk_start(&talk, &whole, NULL);

    for (unsigned i = 0; i < 3; i++) {
        call_start(&calls[i], talk.caller.session, "GET", i == 1 ? "/leave" : "/hang", CN_BYTES_NONE, false);
    }

    run_turns(loop, 10);
    assert_null(talk.app.session);
    assert_int_equal(talk.app.open, 0);
    assert_false(text_has(&heard, "closed"));
    assert_null(talk.caller.session);

    for (unsigned i = 0; i < 3; i++) {
        assert_true(calls[i].was_reset);
        call_clear(&calls[i]);
    }

    talk_end(&talk);
}


static void
a_silent_peer_is_given_up(void **state)
{
    cn_session_limits_t  limits = cn_session_limits_default;
    talk_t               talk;

    (void) state;
    limits.ping_interval_ms = 40;
    limits.ping_timeout_ms = 60;
    talk_start(&talk, &whole, &limits);
    run_ms(loop, 250);
    assert_non_null(talk.caller.session);       /* the peer answers */
    pipe_stream_stall(talk.ends[1], true);
    run_ms(loop, 250);
    assert_null(talk.caller.session);
    assert_int_equal(talk.caller.reason, CN_CLOSE_TIMEOUT);
    talk_end(&talk);
}


static void
an_idle_session_ends(void **state)
{
    cn_session_limits_t  limits = cn_session_limits_default;
    talk_t               talk;
    call_t               call;

    (void) state;
    limits.idle_timeout_ms = 60;
    talk_start(&talk, &whole, &limits);
    call_start(&call, talk.caller.session, "GET", "/", CN_BYTES_NONE, false);
    run_ms(loop, 200);
    assert_true(call.ended);
    assert_null(talk.caller.session);
    assert_null(talk.app.session);
    call_clear(&call);
    talk_end(&talk);
}


static void
a_connection_cut_anywhere_leaves_nothing(void **state)
{
    (void) state;

    for (int side = 0; side < 2; side++) {
        for (size_t cut = 1; cut < 420; cut++) {
            pipe_stream_options_t  options = { .piece = 11 };
            talk_t                 talk;
            call_t                 calls[3];

            options.cut_after[side] = cut;
            talk_start(&talk, &options, NULL);
            call_start(&calls[0], talk.caller.session, "POST", "/echo", CN_BYTES("hello, hello"), true);
            call_start(&calls[1], talk.caller.session, "GET", "/trailers", CN_BYTES_NONE, false);
            call_start(&calls[2], talk.caller.session, "POST", "/early", CN_BYTES("hello"), false);
            run_turns(loop, 12);

            for (unsigned i = 0; i < 3; i++) {
                assert_true(calls[i].ended || calls[i].was_reset);
                call_clear(&calls[i]);
            }

            talk_end(&talk);
        }
    }
}


/* --- hostile frames ------------------------------------------------------------------------------------------------ */

typedef struct {
    uint8_t  at[256 * 1024];
    size_t   len;
} frames_t;

static frames_t  frames;


static void
put(const void *bytes, size_t len)
{
    assert_true(frames.len + len <= sizeof(frames.at));
    memcpy(frames.at + frames.len, bytes, len);
    frames.len += len;
}


static void
frame(uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t len)
{
    uint8_t  head[9] = {
        (uint8_t) (len >> 16), (uint8_t) (len >> 8), (uint8_t) len, type, flags, (uint8_t) (id >> 24),
        (uint8_t) (id >> 16), (uint8_t) (id >> 8), (uint8_t) id,
    };

    put(head, sizeof(head));

    if (len > 0) {
        put(payload, len);
    }
}


/* A literal field without indexing (RFC 7541 6.2.2), names and values shorter than 127. */
static size_t
field(uint8_t *out, const char *name, const char *value)
{
    size_t  name_len = strlen(name), value_len = strlen(value);

    out[0] = 0;
    out[1] = (uint8_t) name_len;
    memcpy(out + 2, name, name_len);
    out[2 + name_len] = (uint8_t) value_len;
    memcpy(out + 3 + name_len, value, value_len);

    return 3 + name_len + value_len;
}


static void
request_frame(uint32_t id, uint8_t flags, const char *const (*fields)[2])
{
    uint8_t  block[2048];
    size_t   len = 0;

    for (size_t i = 0; fields[i][0] != NULL; i++) {
        len += field(block + len, fields[i][0], fields[i][1]);
    }

    frame(1, flags, id, block, len);
}


static void
start_frames(void)
{
    frames.len = 0;
    put("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    frame(4, 0, 0, NULL, 0);
}


typedef struct {
    app_t         app;
    raw_t         raw;
    cn_stream_t  *ends[2];
} raw_talk_t;


static void
raw_start(raw_talk_t *talk)
{
    *talk = (raw_talk_t) { .app = { .text = &heard } };
    text_clear(&heard);
    pipe_stream_create(loop, &whole, talk->ends);
    raw_own(&talk->raw, talk->ends[0], &wire);
    talk->app.session = cn_h2_server(talk->ends[1], NULL, &app_events, &talk->app);
    assert_non_null(talk->app.session);
}


static void
raw_send(raw_talk_t *talk)
{
    raw_write(&talk->raw, cn_bytes(frames.at, frames.len));
    frames.len = 0;
    run_turns(loop, 12);
}


static void
raw_end(raw_talk_t *talk)
{
    if (talk->raw.stream != NULL) {
        cn_stream_close(talk->raw.stream, CN_CLOSE_RESET);
        talk->raw.stream = NULL;
    }

    run_turns(loop, 6);
    assert_null(talk->app.session);
    assert_int_equal(talk->app.open, 0);
}


/* The error code of the first frame of type on stream id that the server sent; -1: there is none. */
static long
sent_code(uint8_t type, uint32_t id)
{
    const uint8_t  *at = (const uint8_t *) wire.at, *end = at + wire.len;

    while (end - at >= 9) {
        size_t    len = (size_t) at[0] << 16 | (size_t) at[1] << 8 | at[2];
        uint32_t  stream = (uint32_t) at[5] << 24 | (uint32_t) at[6] << 16 | (uint32_t) at[7] << 8 | at[8];

        if (at[3] == type && stream == id) {
            const uint8_t  *code = type == 7 ? at + 13 : at + 9;

            return (long) code[0] << 24 | (long) code[1] << 16 | (long) code[2] << 8 | code[3];
        }

        at += 9 + len;
    }

    return -1;
}

#define RST     3
#define GOAWAY  7
#define BASE    { ":method", "GET" }, { ":scheme", "http" }, { ":path", "/hang" }, { ":authority", "a" }
#define END     { NULL, NULL }


static void
malformed_requests_are_refused_alone(void **state)
{
    static const struct { const char *name; const char *fields[8][2]; } cases[] = {
        { "upper case", { BASE, { "X-A", "1" }, END } },
        { "LF in a value", { BASE, { "x-a", "b\nc" }, END } },
        { "CR in a value", { BASE, { "x-a", "b\rc" }, END } },
        { "a space in a name", { BASE, { "x a", "1" }, END } },
        { "connection", { BASE, { "connection", "close" }, END } },
        { "transfer-encoding", { BASE, { "transfer-encoding", "chunked" }, END } },
        { "upgrade", { BASE, { "upgrade", "x" }, END } },
        { "te: gzip", { BASE, { "te", "gzip" }, END } },
        { "two paths", { BASE, { ":path", "/b" }, END } },
        { "an unknown pseudo header", { { ":x", "1" }, BASE, END } },
        { "a pseudo header after others", { { ":method", "GET" }, { "x", "y" }, { ":scheme", "http" }, { ":path", "/" },
                                            { ":authority", "a" }, END } },
        { "a response's pseudo header", { BASE, { ":status", "200" }, END } },
        { "no method", { { ":scheme", "http" }, { ":path", "/" }, { ":authority", "a" }, END } },
        { "no path", { { ":method", "GET" }, { ":scheme", "http" }, { ":authority", "a" }, END } },
        { "an empty path", { { ":method", "GET" }, { ":scheme", "http" }, { ":path", "" }, { ":authority", "a" }, END } },
        { "a path without a slash", { { ":method", "GET" }, { ":scheme", "http" }, { ":path", "x" }, { ":authority", "a" }, END } },
        { "a space in the path", { { ":method", "GET" }, { ":scheme", "http" }, { ":path", "/a b" }, { ":authority", "a" }, END } },
        { "CRLF in the path", { { ":method", "GET" }, { ":scheme", "http" }, { ":path", "/a\r\nx: y" }, { ":authority", "a" }, END } },
        { "octets above ASCII in the path", { { ":method", "GET" }, { ":scheme", "http" }, { ":path", "/\xc3\xa9" },
                                              { ":authority", "a" }, END } },
        { "a slash in the authority", { { ":method", "GET" }, { ":scheme", "http" }, { ":path", "/" }, { ":authority", "a/b" }, END } },
        { "CONNECT with a path", { { ":method", "CONNECT" }, { ":path", "/" }, { ":scheme", "http" }, { ":authority", "a:1" }, END } },
        { "CONNECT to nowhere", { { ":method", "CONNECT" }, END } },
        { "CONNECT to nothing", { { ":method", "CONNECT" }, { ":authority", "" }, END } },
        { "two lengths", { BASE, { "content-length", "1" }, { "content-length", "1" }, END } },
        { "a length that is none", { BASE, { "content-length", "x" }, END } },
        { "a length of nothing with no body to come", { BASE, { "content-length", "5" }, END } },
    };
    static const char *const  honest[][2] = { { ":method", "GET" }, { ":scheme", "http" }, { ":path", "/" },
                                              { ":authority", "a" }, END };
    unsigned                  failed = 0;

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        raw_talk_t  talk;

        raw_start(&talk);
        start_frames();
        request_frame(1, 5, cases[i].fields);
        request_frame(3, 5, honest);
        raw_send(&talk);

        if (sent_code(RST, 1) < 0 || talk.app.started != 1 || !text_has(&heard, "GET / host=a")) {
            print_error("%s: code %ld, heard\n%s", cases[i].name, sent_code(RST, 1), heard.at);
            failed++;
        }

        raw_end(&talk);
    }

    assert_int_equal(failed, 0);
}


static void
a_length_must_be_kept(void **state)
{
    static const char *const  fields[][2] = { { ":method", "POST" }, { ":scheme", "http" }, { ":path", "/hang" },
                                              { ":authority", "a" }, { "content-length", "3" }, END };

    (void) state;

    for (unsigned more = 0; more < 2; more++) {
        raw_talk_t  talk;

        raw_start(&talk);
        start_frames();
        request_frame(1, 4, fields);
        frame(0, 1, 1, "abcd", more ? 4 : 2);
        raw_send(&talk);
        assert_int_equal(sent_code(RST, 1), 1);
        assert_true(text_has(&heard, "reset protocol error http2.remote_reset\n"));
        assert_false(text_has(&heard, "end "));
        raw_end(&talk);
    }
}


/* A thing that is repeated until the server has enough; it must end in GOAWAY with ENHANCE_YOUR_CALM, or (any) just end. */
static void
flood(const char *name, void (*once)(uint32_t round), unsigned rounds)
{
    raw_talk_t  talk;
    unsigned    done = 0;

    raw_start(&talk);
    start_frames();

    while (done < rounds && talk.raw.stream != NULL && !talk.raw.ended) {
        for (unsigned i = 0; i < 50; i++, done++) {
            once(done);
        }

        raw_send(&talk);

        if (wire.len > TEXT_MAX / 2) {
            break;
        }
    }

    unit_check(talk.raw.stream == NULL || talk.raw.ended, name);
    unit_check(done < rounds, name);
    unit_check(sent_code(GOAWAY, 0) == 11 || sent_code(GOAWAY, 0) == 1, name);
    unit_check(talk.app.open == 0, name);
    raw_end(&talk);
}


static const char *const  hang[][2] = { BASE, END };


static void
rapid_reset(uint32_t round)
{
    request_frame(round * 2 + 1, 5, hang);
    frame(RST, 0, round * 2 + 1, "\0\0\0\x8", 4);
}


static void
made_reset_by_update(uint32_t round)
{
    request_frame(round * 2 + 1, 5, hang);
    frame(8, 0, round * 2 + 1, "\0\0\0\0", 4);          /* a window update of 0 */
}


static void
made_reset_by_overflow(uint32_t round)
{
    request_frame(round * 2 + 1, 5, hang);
    frame(8, 0, round * 2 + 1, "\x7f\xff\xff\xff", 4);
}


static void
made_reset_by_length(uint32_t round)
{
    static const char *const  fields[][2] = { BASE, { "content-length", "1" }, END };

    request_frame(round * 2 + 1, 4, fields);
    frame(0, 1, round * 2 + 1, "ab", 2);
}


static void
made_reset_by_name(uint32_t round)
{
    static const char *const  fields[][2] = { BASE, { "X", "1" }, END };

    request_frame(round * 2 + 1, 5, fields);
}


static void
pings(uint32_t round)
{
    (void) round;
    frame(6, 0, 0, "12345678", 8);
}


static void
settings(uint32_t round)
{
    (void) round;
    frame(4, 0, 0, NULL, 0);
}


static void
priorities(uint32_t round)
{
    (void) round;
    frame(2, 0, 1, "\0\0\0\0\x10", 5);
}


static void
updates(uint32_t round)
{
    (void) round;
    frame(8, 0, 0, "\0\0\0\x1", 4);
}


static void
empty_data(uint32_t round)
{
    static const char *const  fields[][2] = { { ":method", "POST" }, { ":scheme", "http" }, { ":path", "/hang" },
                                              { ":authority", "a" }, END };

    if (round == 0) {
        request_frame(1, 4, fields);
    }

    frame(0, 0, 1, NULL, 0);
}


static void
floods_end_in_goaway(void **state)
{
    (void) state;
    flood("rapid reset", rapid_reset, 1000);
    flood("window update of nothing", made_reset_by_update, 1000);
    flood("window overflow", made_reset_by_overflow, 1000);
    flood("length not kept", made_reset_by_length, 1000);
    flood("bad names", made_reset_by_name, 1000);
    flood("pings", pings, 4000);
    flood("settings", settings, 4000);
    flood("priorities", priorities, 4000);
    flood("window updates", updates, 4000);
    flood("empty data", empty_data, 4000);
}


static void
continuations_have_a_limit(void **state)
{
    raw_talk_t  talk;
    uint8_t     block[2048];

    (void) state;
    raw_start(&talk);
    start_frames();
    frame(1, 1, 1, block, field(block, ":method", "GET"));

    for (unsigned i = 0; i < 100; i++) {
        frame(9, 0, 1, block, field(block, "x-a", "b"));
    }

    raw_send(&talk);
    assert_null(talk.app.session);
    assert_int_equal(talk.app.started, 0);
    raw_end(&talk);
}


static void
too_large_a_head_resets_its_stream_only(void **state)
{
    static const char *const  honest[][2] = { { ":method", "GET" }, { ":scheme", "http" }, { ":path", "/" },
                                              { ":authority", "a" }, END };
    raw_talk_t  talk;
    uint8_t     block[16000];
    char        value[127];

    (void) state;
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    raw_start(&talk);
    start_frames();

    for (unsigned part = 0; part < 5; part++) {
        size_t  len = 0;

        if (part == 0) {
            for (size_t i = 0; i < 4; i++) {
                len += field(block + len, honest[i][0], honest[i][1]);
            }
        }

        while (len < 15000) {
            len += field(block + len, "x-large", value);
        }

        frame(part == 0 ? 1 : 9, part == 0 ? 1 : (part == 4 ? 4 : 0), 1, block, len);
    }

    request_frame(3, 5, honest);
    raw_send(&talk);
    assert_int_equal(sent_code(RST, 1), 2);
    assert_true(text_has(&heard, "refused 0 http2.too_many_headers DR\n"));
    assert_int_equal(talk.app.started, 1);
    raw_end(&talk);
}


static void
broken_framing_ends_the_connection(void **state)
{
    (void) state;

    for (unsigned way = 0; way < 5; way++) {
        raw_talk_t  talk;

        raw_start(&talk);
        start_frames();

        switch (way) {
        case 0: frame(0, 0, 0, "x", 1); break;                          /* DATA on stream 0 */
        case 1: request_frame(2, 5, hang); break;                       /* an even stream */
        case 2: frame(4, 0, 0, "\0\2\0\0\0\2", 6); break;               /* ENABLE_PUSH 2 */
        case 3: frame(1, 4, 1, "\xff\xff\xff\xff\xff\xff", 6); break;   /* HPACK that is none */
        case 4: frames.len = 0; put("GET / HTTP/1.1\r\nhost: a\r\n\r\n", 27); break;
        }

        raw_send(&talk);
        assert_null(talk.app.session);
        assert_int_equal(talk.app.started, 0);
        raw_end(&talk);
    }
}


static void
data_after_the_end_is_not_taken(void **state)
{
    raw_talk_t  talk;

    (void) state;
    raw_start(&talk);
    start_frames();
    request_frame(1, 5, hang);
    frame(0, 1, 1, "x", 1);
    raw_send(&talk);
    assert_true(text_has(&heard, "GET /hang host=a end\nend 0\nreset "));
    assert_false(text_has(&heard, "body"));
    raw_end(&talk);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(a_request_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(bodies_pass_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(every_kind_of_answer_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(many_requests_share_a_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(one_slow_reader_stalls_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(output_waits_while_the_stream_below_is_full, setup, teardown),
        cmocka_unit_test_setup_teardown(cookies_are_joined_and_limits_hold_for_crumbs, setup, teardown),
        cmocka_unit_test_setup_teardown(resets_pass_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(an_early_answer_stops_the_request, setup, teardown),
        cmocka_unit_test_setup_teardown(goaway_lets_what_is_open_finish, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_connect_is_told_to_each_request, setup, teardown),
        cmocka_unit_test_setup_teardown(requests_wait_for_the_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(the_owner_may_close_the_session_in_any_event, setup, teardown),
        cmocka_unit_test_setup_teardown(a_silent_peer_is_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(an_idle_session_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(a_connection_cut_anywhere_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_requests_are_refused_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_length_must_be_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(floods_end_in_goaway, setup, teardown),
        cmocka_unit_test_setup_teardown(continuations_have_a_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(too_large_a_head_resets_its_stream_only, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_framing_ends_the_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(data_after_the_end_is_not_taken, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
