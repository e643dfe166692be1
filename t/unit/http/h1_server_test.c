/* SPDX-License-Identifier: Apache-2.0 */

/* The HTTP/1 server: what it understands of octets, what it refuses, what it answers, at every byte boundary. */

#include "app.h"

static cn_loop_t  *loop;
static text_t      heard, wire;
static unsigned    streams_before;      /* so that one failure does not fail what follows */

typedef struct {
    app_t         app;
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
talk_start(talk_t *talk, size_t piece, const cn_session_limits_t *limits)
{
    const pipe_stream_options_t  options = { .piece = piece };

    *talk = (talk_t) { .app = { .text = &heard } };
    text_clear(&heard);
    pipe_stream_create(loop, &options, talk->ends);
    raw_own(&talk->raw, talk->ends[0], &wire);
    talk->app.session = cn_h1_server(talk->ends[1], limits, &app_events, &talk->app);
    assert_non_null(talk->app.session);
}


static void
talk_end(talk_t *talk)
{
    if (talk->raw.stream != NULL) {
        cn_stream_close(talk->raw.stream, CN_CLOSE_RESET);
        talk->raw.stream = NULL;
    }

    run_turns(loop, 6);

    if (talk->app.session != NULL) {
        print_error("the session is still there; heard:\n%s", heard.at);
    }

    assert_null(talk->app.session);
    assert_int_equal(talk->app.open, 0);
}


/* --- what is understood ------------------------------------------------------------------------------ */

typedef struct {
    const char  *name;
    const char  *input;
    const char  *heard;         /* the beginning of what the application hears */
    const char  *wire;          /* the beginning of the answer's octets */
} case_t;

#define OK_WIRE  "HTTP/1.1 200 OK\r\nx-app: yes\r\ncontent-length: 2\r\n\r\nok"

static const case_t  good[] = {
    { "a plain GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / host=a end\nend 0\nover\n", OK_WIRE },
    { "names become lower case, values are trimmed",
      "GET / HTTP/1.1\r\nhost: a\r\nX-Yes:  b c \t\r\n\r\n", "GET / host=a end [x-yes: b c]\n", OK_WIRE },
    { "an empty value stays", "GET / HTTP/1.1\r\nhost: a\r\nx-a:\r\n\r\n", "GET / host=a end [x-a: ]\n", OK_WIRE },
    { "octets above ASCII stay in values", "GET / HTTP/1.1\r\nhost: a\r\nx-a: \xc3\xa9\r\n\r\n",
      "GET / host=a end [x-a: \xc3\xa9]\n", OK_WIRE },
    { "no host is passed up", "GET / HTTP/1.1\r\n\r\n", "GET / host=(none) end\n", OK_WIRE },
    { "an empty host is a host", "GET / HTTP/1.1\r\nhost:\r\n\r\n", "GET / host= end\n", OK_WIRE },
    { "userinfo, IPv6 and ports are hosts", "GET / HTTP/1.1\r\nhost: u@[::1]:80\r\n\r\n", "GET / host=u@[::1]:80 end\n",
      OK_WIRE },
    { "leading empty lines are skipped", "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / host=a end\n", OK_WIRE },
    { "an absolute target gives the authority", "GET http://b.example/p?q HTTP/1.1\r\nhost: a\r\n\r\n",
      "GET /p?q host=b.example end\n", OK_WIRE },
    { "an absolute target without a path", "GET https://b.example HTTP/1.1\r\nhost: a\r\n\r\n",
      "GET / host=b.example end\n", OK_WIRE },
    { "an absolute target with a query only", "GET http://b?x=1 HTTP/1.1\r\n\r\n", "GET /?x=1 host=b end\n", OK_WIRE },
    { "OPTIONS *", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", "OPTIONS * host=a end\n", OK_WIRE },
    { "a body with a length", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
      "POST / host=a length=3\nbody ", OK_WIRE },
    { "a length of nothing", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", "POST / host=a length=0 end\n",
      OK_WIRE },
    { "a chunked body with an extension",
      "POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
      "POST / host=a chunked\nbody ", OK_WIRE },
    { "trailers are dropped",
      "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-t: 1\r\n\r\n",
      "POST / host=a chunked\nend 0\nover\n", OK_WIRE },
    { "what connection names is gone",
      "GET / HTTP/1.1\r\nhost: a\r\nconnection: X-A, keep-alive, connection\r\nx-a: 1\r\nx-b: 2\r\nkeep-alive: 5\r\n"
      "te: trailers, gzip\r\nproxy-connection: keep-alive\r\n\r\n",
      "GET / host=a end [x-b: 2] [te: trailers]\n", OK_WIRE },
    { "te other than trailers is gone", "GET / HTTP/1.1\r\nhost: a\r\nte: gzip\r\n\r\n", "GET / host=a end\n", OK_WIRE },
    { "h2c is no upgrade",
      "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: A\r\n\r\n",
      "GET / host=a end\n", OK_WIRE },
    { "another upgrade is told",
      "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n",
      "GET / host=a end protocol=websocket\n", OK_WIRE },
    { "an upgrade that connection does not name is none", "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n",
      "GET / host=a end\n", OK_WIRE },
    { "expect is told", "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx",
      "POST / host=a length=1 expect\n", OK_WIRE },
    { "another expectation stays a header", "POST / HTTP/1.1\r\nhost: a\r\nexpect: x\r\ncontent-length: 0\r\n\r\n",
      "POST / host=a length=0 end [expect: x]\n", OK_WIRE },
    { "two requests, one after the other",
      "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /chunked HTTP/1.1\r\nhost: b\r\n\r\n",
      "GET / host=a end\nend 0\nover\nGET /chunked host=b end\nend 0\nover\n", OK_WIRE "HTTP/1.1 200 OK\r\n" },
    { "a body without a length goes out in chunks", "GET /chunked HTTP/1.1\r\nhost: a\r\n\r\n", "GET /chunked",
      "HTTP/1.1 200 OK\r\nx-app: yes\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n" },
    { "HEAD has no body", "HEAD / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
      "HEAD / host=a end\nend 0\nover\n", "HTTP/1.1 200 OK\r\nx-app: yes\r\ncontent-length: 2\r\n\r\nHTTP/1.1 200" },
    { "204 has no length", "GET /empty HTTP/1.1\r\nhost: a\r\n\r\n", "GET /empty",
      "HTTP/1.1 204 No Content\r\nx-app: yes\r\n\r\n" },
    { "304 has none either", "GET /head HTTP/1.1\r\nhost: a\r\n\r\n", "GET /head",
      "HTTP/1.1 304 Not Modified\r\nx-app: yes\r\n\r\n" },
    { "an interim response comes first",
      "POST /100 HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx", "POST /100",
      "HTTP/1.1 100 Continue\r\n\r\n" OK_WIRE },
    { "close is answered by close", "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "GET / host=a close end\n",
      "HTTP/1.1 200 OK\r\nx-app: yes\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok" },
    { "proxy-connection: close counts", "GET / HTTP/1.1\r\nhost: a\r\nproxy-connection: close\r\n\r\n",
      "GET / host=a close end\n", "HTTP/1.1 200 OK\r\nx-app: yes\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok" },
};


/* Writes input in two parts cut at `at`. */
static void
run_case(const case_t *test, size_t piece, size_t at)
{
    talk_t      talk;
    cn_bytes_t  input = cn_bytes_str(test->input);

    talk_start(&talk, piece, NULL);
    raw_write(&talk.raw, cn_bytes(input.ptr, at));

    if (at > 0 && at < input.len) {
        run_turns(loop, 2);
    }

    raw_write(&talk.raw, cn_bytes_from(input, at));
    run_turns(loop, 12);

    if (strncmp(heard.at, test->heard, strlen(test->heard)) != 0
        || strncmp(wire.at, test->wire, strlen(test->wire)) != 0)
    {
        print_error("%s, piece %zu, cut at %zu: heard\n%s\nsent\n%s\n", test->name, piece, at, heard.at, wire.at);
        fail();
    }

    talk_end(&talk);
}


static void
it_understands_what_is_well_formed(void **state)
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


/* --- what is refused ------------------------------------------------------------------------------------ */

typedef struct {
    const char  *name;
    const char  *input;
    uint16_t     status;
    const char  *detail;
} refusal_t;

#define POST  "POST / HTTP/1.1\r\nhost: a\r\n"
#define CL_TE "http1.content_length_and_chunked_not_allowed"

static const refusal_t  bad[] = {
    { "HTTP/1.0", "GET / HTTP/1.0\r\nhost: a\r\n\r\n", 426, "low_version" },
    { "HTTP/0.9", "GET /\r\n\r\n", 426, "low_version" },
    { "HTTP/1.2", "GET / HTTP/1.2\r\nhost: a\r\n\r\n", 426, "low_version" },
    { "HTTP/2.0 in a line", "GET / HTTP/2.0\r\nhost: a\r\n\r\n", 426, "low_version" },
    { "garbage", "garbage\r\n\r\n", 400, "http1.codec_error" },
    { "a TLS hello", "\x16\x03\x01\x01hello\r\n\r\n", 400, "http1.codec_error" },
    { "a method in lower case", "get / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "http1.codec_error" },
    { "an unknown method", "FOO / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "http1.codec_error" },
    { "a space in the path", "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", 400, "http1.codec_error" },
    { "octets above ASCII in the path", "GET /\xc3\xa9 HTTP/1.1\r\nhost: a\r\n\r\n", 400, "http1.codec_error" },
    { "a path without a slash", "GET foo HTTP/1.1\r\nhost: a\r\n\r\n", 400, "http1.codec_error" },
    { "GET *", "GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400, "http1.codec_error" },
    { "another scheme", "GET ftp://b/p HTTP/1.1\r\nhost: a\r\n\r\n", 400, "http1.invalid_scheme" },
    { "an absolute target without a host", "GET http:///p HTTP/1.1\r\nhost: a\r\n\r\n", 400, NULL },
    { "a space in the host", "GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400, "http.invalid_authority" },
    { "a slash in the host", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", 400, "http.invalid_authority" },
    { "two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "http1.codec_error" },
    { "two equal hosts", "GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n", 400, "http1.codec_error" },
    { "bare LF at line ends", "GET / HTTP/1.1\nhost: a\n\n", 400, "http1.codec_error" },
    { "bare LF after a header", "GET / HTTP/1.1\r\nhost: a\nx-a: b\r\n\r\n", 400, "http1.codec_error" },
    { "bare CR in a value", "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\rc\r\n\r\n", 400, "http1.codec_error" },
    { "a header ended by CR only", "GET / HTTP/1.1\r\nhost: a\r\nx: \rtransfer-encoding: chunked\r\n\r\n", 400,
      "http1.codec_error" },
    { "a folded line", "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\n c\r\n\r\n", 400, "http1.codec_error" },
    { "a space before the colon", "GET / HTTP/1.1\r\nhost: a\r\nx-a : b\r\n\r\n", 400, "http1.codec_error" },
    { "a space in a name", "GET / HTTP/1.1\r\nhost: a\r\nx a: b\r\n\r\n", 400, "http1.codec_error" },
    { "no name", "GET / HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n", 400, "http1.codec_error" },
    { "a pseudo header", "GET / HTTP/1.1\r\nhost: a\r\n:path: /x\r\n\r\n", 400, "http1.codec_error" },
    { "no colon", "GET / HTTP/1.1\r\nhost: a\r\nnocolon\r\n\r\n", 400, "http1.codec_error" },
    { "length and chunked", POST "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400, CL_TE },
    { "chunked and length", POST "transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400, CL_TE },
    { "identity and length", POST "transfer-encoding: identity\r\ncontent-length: 3\r\n\r\nabc", 400, CL_TE },
    { "gzip, chunked", POST "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "http1.invalid_transfer_encoding" },
    { "chunked, chunked", POST "transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501, "http1.invalid_transfer_encoding" },
    { ", chunked", POST "transfer-encoding: , chunked\r\n\r\n0\r\n\r\n", 501, "http1.invalid_transfer_encoding" },
    { "xchunked", POST "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 501, NULL },
    { "two codings", POST "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 501,
      "http1.invalid_transfer_encoding" },
    { "an empty coding", POST "transfer-encoding:\r\n\r\n0\r\n\r\n", 501, NULL },
    { "two lengths", POST "content-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400, "http1.codec_error" },
    { "two equal lengths", POST "content-length: 3\r\ncontent-length: 3\r\n\r\nabc", 400, "http1.codec_error" },
    { "a list of lengths", POST "content-length: 3, 3\r\n\r\nabc", 400, "http1.codec_error" },
    { "a signed length", POST "content-length: +3\r\n\r\nabc", 400, "http1.codec_error" },
    { "a negative length", POST "content-length: -1\r\n\r\nabc", 400, "http1.codec_error" },
    { "a length in hex", POST "content-length: 0x3\r\n\r\nabc", 400, "http1.codec_error" },
    { "an empty length", POST "content-length: \r\n\r\nabc", 400, "http1.codec_error" },
    { "a length in two parts", POST "content-length: 3 3\r\n\r\nabc", 400, "http1.codec_error" },
    { "a length of 65 bits", POST "content-length: 36893488147419103233\r\n\r\na", 400, "http1.codec_error" },
    { "CONNECT with a body", "CONNECT a:80 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", 400, "http1.codec_error" },
    { "CONNECT to nowhere", "CONNECT a/b HTTP/1.1\r\nhost: a\r\n\r\n", 400, NULL },
    { "a length of 64 bits", POST "content-length: 18446744073709551615\r\n\r\na", 400, "http1.codec_error" },
};


static unsigned
run_refusal(const refusal_t *test, size_t piece)
{
    unsigned  failed = 0;
    talk_t  talk;
    char    line[128];

    talk_start(&talk, piece, NULL);
    raw_write(&talk.raw, cn_bytes_str(test->input));
    run_turns(loop, 8);

    (void) snprintf(line, sizeof(line), "refused %u %s", test->status, test->detail != NULL ? test->detail : "");

    if (strncmp(heard.at, line, strlen(line)) != 0 || talk.app.started != 0) {
        print_error("%s, piece %zu: heard\n%s", test->name, piece, heard.at);
        failed = 1;
    }

    (void) snprintf(line, sizeof(line), "HTTP/1.1 %u ", test->status);

    /* and then a delayed close */
    if (strncmp(wire.at, line, strlen(line)) != 0 || !text_has(&wire, "\r\nconnection: close\r\n")
        || talk.raw.ended)
    {
        print_error("%s, piece %zu: sent\n%s", test->name, piece, wire.at);
        failed = 1;
    }

    talk_end(&talk);

    return failed;
}


static void
it_refuses_what_is_not(void **state)
{
    unsigned  failed = 0;

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(bad); i++) {
        failed += run_refusal(&bad[i], 0);
        failed += run_refusal(&bad[i], 1);
    }

    assert_int_equal(failed, 0);
}


static void
a_nul_is_refused_by_its_own_name(void **state)
{
    static const char  value[] = "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\0c\r\n\r\n";
    static const char  name[] = "GET / HTTP/1.1\r\nhost: a\r\nx\0a: b\r\n\r\n";
    talk_t             talk;

    (void) state;
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, cn_bytes(value, sizeof(value) - 1));
    run_turns(loop, 6);
    assert_string_equal(heard.at, "refused 400 http1.invalid_characters DPE\n");
    talk_end(&talk);

    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, cn_bytes(name, sizeof(name) - 1));
    run_turns(loop, 6);
    assert_string_equal(heard.at, "refused 400 http1.invalid_characters DPE\n");
    talk_end(&talk);
}


static void
too_much_head_is_431(void **state)
{
    static char  big[70 * 1024];
    talk_t       talk;
    size_t       len;

    (void) state;

    /* a value of 61000 fits, one over 60 KiB does not */
    for (size_t value = 61000; value <= 62000; value += 1000) {
        len = (size_t) snprintf(big, sizeof(big), "GET / HTTP/1.1\r\nhost: a\r\nx-a: ");
        memset(big + len, 'a', value);
        len += value;
        memcpy(big + len, "\r\n\r\n", 4);
        talk_start(&talk, 0, NULL);
        raw_write(&talk.raw, cn_bytes(big, len + 4));
        run_turns(loop, 12);

        if (value == 61000) {
            assert_true(text_has(&wire, "HTTP/1.1 200 OK"));
        } else {
            assert_string_equal(heard.at, "refused 431 http1.headers_too_large DPE\n");
            assert_true(text_has(&wire, "\r\n\r\nRequest Header Fields Too Large"));
        }

        talk_end(&talk);
    }

    for (unsigned count = 99; count <= 100; count++) {
        len = (size_t) snprintf(big, sizeof(big), "GET / HTTP/1.1\r\nhost: a\r\n");

        for (unsigned i = 0; i < count; i++) {
            len += (size_t) snprintf(big + len, sizeof(big) - len, "x-%u: a\r\n", i);
        }

        memcpy(big + len, "\r\n", 2);
        talk_start(&talk, 0, NULL);
        raw_write(&talk.raw, cn_bytes(big, len + 2));
        run_turns(loop, 12);

        if (count == 99) {
            assert_true(text_has(&wire, "HTTP/1.1 200 OK"));
        } else {
            assert_string_equal(heard.at, "refused 431 http1.too_many_headers DPE\n");
        }

        talk_end(&talk);
    }
}


static void
chunk_extensions_and_trailers_have_limits(void **state)
{
    static char  big[100 * 1024];
    talk_t       talk;
    size_t       len = (size_t) snprintf(big, sizeof(big), POST "transfer-encoding: chunked\r\n\r\n3;x=");

    (void) state;
    memset(big + len, 'y', 5000);
    memcpy(big + len + 5000, "\r\nabc", 5);
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, cn_bytes(big, len + 5005));
    run_turns(loop, 8);
    assert_true(text_has(&heard, "reset protocol error http1.codec_error\n"));
    assert_true(text_has(&wire, "HTTP/1.1 400 Bad Request"));
    talk_end(&talk);

    len = (size_t) snprintf(big, sizeof(big), POST "transfer-encoding: chunked\r\n\r\n0\r\nx-t: ");
    memset(big + len, 'y', 70000);
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, cn_bytes(big, len + 70000));
    run_turns(loop, 8);
    assert_true(text_has(&heard, "reset protocol error http1.headers_too_large\n"));
    talk_end(&talk);
}


static void
a_bad_chunk_resets_and_is_answered_400(void **state)
{
    static const char *const  chunks[] = {
        "ZZ\r\nabc\r\n", "3\r\nabcd\r\n0\r\n\r\n", "0x3\r\nabc\r\n", "-1\r\n", " 3\r\nabc\r\n", "3\nabc\r\n0\r\n\r\n",
        "11111111111111111\r\nabc", "3\r\nabc\n0\r\n\r\n", "3 \r\nabc\r\n0\r\n\r\n", "\r\n",
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(chunks); i++) {
        talk_t  talk;

        talk_start(&talk, 0, NULL);
        raw_write(&talk.raw, CN_BYTES(POST "transfer-encoding: chunked\r\n\r\n"));
        raw_write(&talk.raw, cn_bytes_str(chunks[i]));
        run_turns(loop, 8);
        unit_check(text_has(&heard, "reset protocol error http1.codec_error\n"), chunks[i]);
        unit_check(strncmp(wire.at, "HTTP/1.1 400 Bad Request\r\n", 26) == 0, chunks[i]);
        talk_end(&talk);
    }
}


/* --- ending ---------------------------------------------------------------------------------------------- */

static void
a_half_closed_client_still_gets_its_answer(void **state)
{
    talk_t  talk;

    (void) state;
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, CN_BYTES("GET /chunked HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: b\r\n\r\n"));
    cn_stream_end(talk.raw.stream);
    run_turns(loop, 12);
    assert_true(text_has(&wire, "0\r\n\r\nHTTP/1.1 200 OK\r\n"));
    assert_true(text_has(&wire, "\r\n\r\nok"));
    assert_true(talk.raw.closed);
    assert_int_equal(talk.raw.reason, CN_CLOSE_END);
    talk_end(&talk);
}


static void
a_client_that_ends_within_its_request_is_gone(void **state)
{
    talk_t  talk;

    (void) state;
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, CN_BYTES(POST "content-length: 10\r\n\r\nabc"));
    cn_stream_end(talk.raw.stream);
    run_turns(loop, 8);
    assert_true(text_has(&heard, "body abc\nreset connection termination \nclosed"));
    talk_end(&talk);

    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, CN_BYTES("GET / HTTP/1.1\r\nhos"));
    cn_stream_end(talk.raw.stream);
    run_turns(loop, 8);
    assert_int_equal(talk.app.started, 0);
    assert_true(talk.raw.closed);
    talk_end(&talk);
}


static void
close_is_at_once_after_a_complete_request(void **state)
{
    talk_t  talk;

    (void) state;
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, CN_BYTES("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
    run_turns(loop, 8);
    assert_true(text_has(&wire, "connection: close"));
    assert_true(talk.raw.ended);
    cn_stream_end(talk.raw.stream);
    run_turns(loop, 8);
    assert_true(talk.raw.closed);
    assert_null(talk.app.session);
    talk_end(&talk);
}


static void
an_early_answer_waits_a_second_before_the_end(void **state)
{
    talk_t  talk;

    (void) state;
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, CN_BYTES("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc"));
    run_turns(loop, 8);
    assert_true(text_has(&wire, "connection: close\r\n\r\nok"));
    assert_true(text_has(&heard, "over\n"));
    assert_false(talk.raw.ended);
    raw_write(&talk.raw, CN_BYTES("defghijGET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    run_turns(loop, 4);
    assert_int_equal(talk.app.started, 1);
    assert_int_equal(pipe_stream_unconsumed(talk.ends[1]), 0);
    run_ms(loop, 600);
    assert_false(talk.raw.ended);
    run_ms(loop, 700);
    assert_true(talk.raw.ended);
    talk_end(&talk);
}


static void
a_reset_within_a_response_ends_it_short(void **state)
{
    talk_t  talk;

    (void) state;
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, CN_BYTES("GET /cut HTTP/1.1\r\nhost: a\r\n\r\n"));
    run_turns(loop, 8);
    assert_true(text_has(&wire, "4\r\npart\r\n"));
    assert_false(text_has(&wire, "0\r\n\r\n"));
    assert_true(talk.raw.ended);
    talk_end(&talk);

    talk_start(&talk, 1, NULL);
    raw_write(&talk.raw, CN_BYTES("GET /reset HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    run_turns(loop, 8);
    assert_int_equal(wire.len, 0);
    assert_int_equal(talk.app.started, 1);
    assert_true(talk.raw.ended);
    talk_end(&talk);
}


static void
the_owner_may_close_the_session_within_an_event(void **state)
{
    talk_t  talk;

    (void) state;
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, CN_BYTES("GET /leave HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    run_turns(loop, 8);
    assert_true(text_has(&heard, "reset connection termination \n"));
    assert_false(text_has(&heard, "closed"));
    talk_end(&talk);
}


static void
draining_says_close_with_the_next_answer(void **state)
{
    talk_t  talk;

    (void) state;
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, CN_BYTES("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    run_turns(loop, 6);
    assert_false(text_has(&wire, "connection: close"));
    cn_session_drain(talk.app.session, false);
    run_turns(loop, 2);
    assert_false(talk.raw.ended);
    raw_write(&talk.raw, CN_BYTES("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    run_turns(loop, 6);
    assert_true(text_has(&wire, "connection: close"));
    assert_true(talk.raw.ended);
    talk_end(&talk);

    talk_start(&talk, 0, NULL);
    cn_session_drain(talk.app.session, true);
    run_turns(loop, 4);
    assert_true(talk.raw.ended);
    talk_end(&talk);
}


static void
slow_heads_and_idle_connections_end(void **state)
{
    cn_session_limits_t  limits = cn_session_limits_default;
    talk_t               talk;

    (void) state;
    limits.head_timeout_ms = 50;
    limits.idle_timeout_ms = 60;
    talk_start(&talk, 0, &limits);
    raw_write(&talk.raw, CN_BYTES("GET / HTTP/1.1\r\nho"));
    run_ms(loop, 150);
    assert_true(text_has(&heard, "refused 408 request_header_timeout \n"));
    assert_true(text_has(&wire, "HTTP/1.1 408 Request Timeout"));
    talk_end(&talk);

    talk_start(&talk, 0, &limits);
    run_ms(loop, 150);
    assert_true(talk.raw.ended);
    assert_int_equal(wire.len, 0);
    talk_end(&talk);
}


/* --- flow ---------------------------------------------------------------------------------------------------- */

static void
a_body_that_nobody_consumes_stops_at_the_window(void **state)
{
    static uint8_t  big[600 * 1024];
    talk_t          talk;

    (void) state;
    memset(big, 'x', sizeof(big));
    talk_start(&talk, 0, NULL);
    talk.app.keep_credit = true;
    raw_write(&talk.raw, CN_BYTES("POST /hang HTTP/1.1\r\nhost: a\r\ncontent-length: 614400\r\n\r\n"));
    raw_write(&talk.raw, cn_bytes(big, sizeof(big)));
    run_turns(loop, 20);
    assert_int_equal(pipe_stream_unconsumed(talk.ends[1]), CN_STREAM_WINDOW);
    assert_false(text_has(&heard, "end "));
    talk_end(&talk);
}


static void
what_is_pipelined_waits_within_the_window(void **state)
{
    static uint8_t  big[600 * 1024];
    talk_t          talk;

    (void) state;
    memset(big, '\r', sizeof(big));
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, CN_BYTES("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n"));
    raw_write(&talk.raw, cn_bytes(big, sizeof(big)));
    run_turns(loop, 20);
    assert_int_equal(pipe_stream_unconsumed(talk.ends[1]), CN_STREAM_WINDOW);
    talk_end(&talk);
}


static void
a_large_answer_leaves_under_back_pressure(void **state)
{
    talk_t  talk;

    (void) state;
    talk_start(&talk, 0, NULL);
    raw_write(&talk.raw, CN_BYTES("GET /big HTTP/1.1\r\nhost: a\r\n\r\n"));
    run_turns(loop, 2);
    pipe_stream_stall(talk.ends[1], true);
    run_turns(loop, 4);
    assert_false(text_has(&heard, "over"));
    pipe_stream_stall(talk.ends[1], false);
    run_turns(loop, 30);
    assert_true(text_has(&heard, "over\n"));
    assert_int_equal(wire.len, 300 * 1024 + strlen("HTTP/1.1 200 OK\r\nx-app: yes\r\ncontent-length: 307200\r\n\r\n"));
    talk_end(&talk);
}


static void
an_upgrade_becomes_a_stream(void **state)
{
    (void) state;

    for (size_t piece = 0; piece < 2; piece++) {
        talk_t  talk;

        talk_start(&talk, piece, NULL);
        raw_write(&talk.raw, CN_BYTES("GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n"
                                      "upgrade: websocket\r\n\r\nfirst"));
        run_turns(loop, 6);
        raw_write(&talk.raw, CN_BYTES(" and GET / HTTP/1.1\r\n\r\n"));
        run_turns(loop, 6);
        assert_true(text_has(&wire, "HTTP/1.1 101 Switching Protocols\r\nx-app: yes\r\nconnection: upgrade\r\n"
                                    "upgrade: websocket\r\n\r\nfirst and GET / HTTP/1.1\r\n\r\n"));
        assert_int_equal(talk.app.started, 1);
        cn_stream_end(talk.raw.stream);
        run_turns(loop, 8);
        assert_true(talk.raw.closed);
        assert_int_equal(talk.raw.reason, CN_CLOSE_END);
        talk_end(&talk);
    }
}


static void
http_1_0_is_served_where_it_is_allowed(void **state)
{
    cn_session_limits_t  limits = cn_session_limits_default;
    talk_t               talk;

    (void) state;
    limits.allow_http_10 = true;
    talk_start(&talk, 0, &limits);
    raw_write(&talk.raw, CN_BYTES("GET /chunked HTTP/1.0\r\n\r\n"));
    run_turns(loop, 8);
    assert_string_equal(wire.at, "HTTP/1.0 200 OK\r\nx-app: yes\r\nconnection: close\r\n\r\nhello");
    assert_true(talk.raw.ended);
    talk_end(&talk);

    talk_start(&talk, 0, &limits);
    raw_write(&talk.raw, CN_BYTES("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"));
    run_turns(loop, 8);
    assert_string_equal(wire.at,
                        "HTTP/1.0 200 OK\r\nx-app: yes\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok");
    assert_false(talk.raw.ended);
    talk_end(&talk);

    talk_start(&talk, 0, &limits);
    raw_write(&talk.raw, CN_BYTES("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"));
    run_turns(loop, 8);
    assert_true(text_has(&heard, "refused 400"));
    talk_end(&talk);
}


static void
a_connection_cut_anywhere_leaves_nothing(void **state)
{
    static const char  session[] = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
                                   "5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";

    (void) state;

    for (size_t cut = 1; cut < sizeof(session) - 1; cut++) {
        const pipe_stream_options_t  options = { .piece = 7, .cut_after = { 0, cut } };
        talk_t                       talk = { .app = { .text = &heard } };

        text_clear(&heard);
        pipe_stream_create(loop, &options, talk.ends);
        raw_own(&talk.raw, talk.ends[0], &wire);
        talk.app.session = cn_h1_server(talk.ends[1], NULL, &app_events, &talk.app);
        assert_non_null(talk.app.session);
        raw_write(&talk.raw, cn_bytes(session, sizeof(session) - 1));
        run_turns(loop, 12);
        talk_end(&talk);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(it_understands_what_is_well_formed, setup, teardown),
        cmocka_unit_test_setup_teardown(every_byte_boundary_is_as_good, setup, teardown),
        cmocka_unit_test_setup_teardown(it_refuses_what_is_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_nul_is_refused_by_its_own_name, setup, teardown),
        cmocka_unit_test_setup_teardown(too_much_head_is_431, setup, teardown),
        cmocka_unit_test_setup_teardown(chunk_extensions_and_trailers_have_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_chunk_resets_and_is_answered_400, setup, teardown),
        cmocka_unit_test_setup_teardown(a_half_closed_client_still_gets_its_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_ends_within_its_request_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(close_is_at_once_after_a_complete_request, setup, teardown),
        cmocka_unit_test_setup_teardown(an_early_answer_waits_a_second_before_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reset_within_a_response_ends_it_short, setup, teardown),
        cmocka_unit_test_setup_teardown(the_owner_may_close_the_session_within_an_event, setup, teardown),
        cmocka_unit_test_setup_teardown(draining_says_close_with_the_next_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_heads_and_idle_connections_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_that_nobody_consumes_stops_at_the_window, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_pipelined_waits_within_the_window, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_answer_leaves_under_back_pressure, setup, teardown),
        cmocka_unit_test_setup_teardown(an_upgrade_becomes_a_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(http_1_0_is_served_where_it_is_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_connection_cut_anywhere_leaves_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
