/* SPDX-License-Identifier: Apache-2.0 */

/* first_octets_test - what is told of a client's first octets, and that it is told as soon as can be. */

#include "http/first_octets.h"

#include "unit.h"

#define PREFACE  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static const struct {
    const char  *name;
    const char  *input;
    cn_first_t   codec;             /* where HTTP is spoken */
    cn_first_t   protocol;          /* where anything may be */
    size_t       codec_at;          /* octets after which it is told */
    size_t       protocol_at;
} cases[] = {
    { "nothing", "", CN_FIRST_MORE, CN_FIRST_MORE, 0, 0 },
    { "a request", "GET / HTTP/1.1\r\n", CN_FIRST_HTTP1, CN_FIRST_HTTP1, 1, 16 },
    { "a request of HTTP/1.0", "HEAD /x HTTP/1.0\r\n\r\n", CN_FIRST_HTTP1, CN_FIRST_HTTP1, 1, 18 },
    { "a bare line end", "GET / HTTP/1.1\n", CN_FIRST_HTTP1, CN_FIRST_HTTP1, 1, 15 },
    { "the preface", PREFACE, CN_FIRST_HTTP2, CN_FIRST_HTTP2, 12, 24 },
    { "the beginning of the preface", "PRI * HTT", CN_FIRST_MORE, CN_FIRST_MORE, 0, 0 },
    { "a method that begins like it", "PROPFIND /x HTTP/1.1\r\n", CN_FIRST_HTTP1, CN_FIRST_HTTP1,
      3, 22 },
    { "a preface that goes on otherwise", "PRI * HTTP/2.0\r\n\r\nXX", CN_FIRST_HTTP2,
      CN_FIRST_OTHER, 12, 19 },
    { "a method of the user's own", "M-SEARCH * HTTP/1.1\r\n", CN_FIRST_HTTP1, CN_FIRST_HTTP1, 1,
      21 },
    { "TLS", "\x16\x03\x01\x02", CN_FIRST_HTTP1, CN_FIRST_OTHER, 1, 1 },
    { "a lower-case word", "get key\r\n", CN_FIRST_HTTP1, CN_FIRST_OTHER, 1, 1 },
    { "a line of Redis", "SET a b\r\n", CN_FIRST_HTTP1, CN_FIRST_OTHER, 1, 7 },
    { "HTTP/0.9", "GET /\r\n", CN_FIRST_HTTP1, CN_FIRST_OTHER, 1, 6 },
    { "HTTP/2 in a request line", "GET / HTTP/2.0\r\n", CN_FIRST_HTTP1, CN_FIRST_OTHER, 1, 12 },
    { "a version of no digit", "GET / HTTP/1.x", CN_FIRST_HTTP1, CN_FIRST_OTHER, 1, 14 },
    { "more behind the version", "GET / HTTP/1.1 ", CN_FIRST_HTTP1, CN_FIRST_OTHER, 1, 15 },
    { "a line end of CR and something", "GET / HTTP/1.1\rx", CN_FIRST_HTTP1, CN_FIRST_OTHER, 1,
      16 },
    { "a blank first", " GET / HTTP/1.1\r\n", CN_FIRST_HTTP1, CN_FIRST_OTHER, 1, 1 },
    { "two blanks", "GET  / HTTP/1.1\r\n", CN_FIRST_HTTP1, CN_FIRST_OTHER, 1, 5 },
    { "a method too long", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", CN_FIRST_HTTP1, CN_FIRST_OTHER, 1, 25 },
};


/* The answer to the first len octets, from a copy in which one octet too far is seen. */
static cn_first_t
answer(cn_first_t (*look)(cn_bytes_t octets), const char *input, size_t len)
{
    cn_bytes_t  copy = unit_copy(cn_bytes(input, len));
    cn_first_t  first = look(copy);

    unit_free(copy);

    return first;
}


static void
check(cn_first_t (*look)(cn_bytes_t octets), size_t i, cn_first_t wanted, size_t wanted_at)
{
    size_t  len = strlen(cases[i].input);

    for (size_t n = 0; n <= len; n++) {
        cn_first_t  first = answer(look, cases[i].input, n);

        bool        told = wanted != CN_FIRST_MORE && n >= wanted_at;

        unit_check(first == (told ? wanted : CN_FIRST_MORE), cases[i].name);
    }
}


static void
each_case_is_told_at_its_octet_and_not_before(void **state)
{
    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check(cn_first_codec, i, cases[i].codec, cases[i].codec_at);
        check(cn_first_protocol, i, cases[i].protocol, cases[i].protocol_at);
    }
}


static void
a_line_without_end_is_http_s_to_refuse(void **state)
{
    char    line[CN_FIRST_MAX + 1] = "GET /";

    (void) state;
    memset(line + 5, 'a', sizeof(line) - 5);
    assert_int_equal(answer(cn_first_protocol, line, CN_FIRST_MAX - 1), CN_FIRST_MORE);
    assert_int_equal(answer(cn_first_protocol, line, CN_FIRST_MAX), CN_FIRST_HTTP1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(each_case_is_told_at_its_octet_and_not_before),
        cmocka_unit_test(a_line_without_end_is_http_s_to_refuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
