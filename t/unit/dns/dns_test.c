/* SPDX-License-Identifier: Apache-2.0 */

/* Names become addresses, whatever the server on the other side of a loopback socket says. */

#include "server.h"
#include "unit.h"

#include "base/clock.h"
#include "dns/dns.h"

#include <unistd.h>

#define DEADLINE_US  10000000u
#define TEXT_MAX     512

/* What an owner was told. */
typedef struct {
    unsigned         told;
    cn_dns_result_t  result;
    size_t           count;
    uint32_t         ttl_ms;
    char             text[TEXT_MAX];    /* the addresses with blanks between them, cut */
    cn_dns_t       **destroy;           /* destroyed in the event */
} got_t;

static const dns_entry_t  zone[] = {
    { "a.test", DNS_A, "10.0.0.1", 30, DNS_ANSWER, 0 },
    { "six.test", DNS_AAAA, "fd00::1 fd00::2", 30, DNS_ANSWER, 0 },
    { "both.test", DNS_A, "10.0.0.2 10.0.0.1 10.0.0.3", 20, DNS_ANSWER, 0 },
    { "both.test", DNS_AAAA, "fd00::9", 10, DNS_ANSWER, 0 },
    { "alias.test", DNS_CNAME, "next.test", 7, DNS_ANSWER, 0 },
    { "next.test", DNS_CNAME, "a.test", 90, DNS_ANSWER, 0 },
    { "zero.test", DNS_A, "10.0.0.4", 0, DNS_ANSWER, 0 },
    { "huge.test", DNS_A, "10.0.0.5", 0x7fffffff, DNS_ANSWER, 0 },
    { "negative.test", DNS_A, "10.0.0.5", 0xffffffff, DNS_ANSWER, 0 },
    { "servfail.test", DNS_A, "10.0.0.6", 30, DNS_SERVFAIL, 0 },
    { "half.test", DNS_A, "10.0.0.7", 30, DNS_ANSWER, 0 },
    { "half.test", DNS_AAAA, "fd00::7", 30, DNS_SERVFAIL, 0 },
    { "refused.test", DNS_A, "10.0.0.6", 30, DNS_REFUSED, 0 },
    { "silent.test", DNS_A, "10.0.0.6", 30, DNS_SILENT, 0 },
    { "silent.test", DNS_AAAA, "fd00::1", 30, DNS_SILENT, 0 },
    { "once.test", DNS_A, "10.0.0.8", 30, DNS_SILENT_ONCE, 0 },
    { "cut.test", DNS_A, "10.0.0.9", 30, DNS_TRUNCATED, 0 },
    { "hangs.test", DNS_A, "10.0.0.9", 30, DNS_HANGS_UP, 0 },
    { "mute.test", DNS_A, "10.0.0.9", 30, DNS_SILENT_TCP, 0 },
    { "id.test", DNS_A, "10.0.0.10", 30, DNS_WRONG_ID, 0 },
    { "question.test", DNS_A, "10.0.0.11", 30, DNS_WRONG_QUESTION, 0 },
    { "garbage.test", DNS_A, "10.0.0.12", 30, DNS_GARBAGE, 0 },
    { "loop.test", DNS_A, "10.0.0.13", 30, DNS_LOOP, 0 },
    { "short.test", DNS_A, "10.0.0.14", 30, DNS_SHORT, 0 },
    { "empty.test", DNS_A, "10.0.0.15", 30, DNS_EMPTY, 0 },
    { "type.test", DNS_A, "10.0.0.16", 30, DNS_WRONG_TYPE, 0 },
    { "type.test", DNS_AAAA, "fd00::16", 30, DNS_WRONG_TYPE, 0 },
    { "mapped.test", DNS_AAAA, "::ffff:10.0.0.17", 30, DNS_ANSWER, 0 },
    { "some.test", DNS_AAAA, "::ffff:10.0.0.18 fd00::18", 30, DNS_ANSWER, 0 },
    { "circle.test", DNS_CNAME, "circle.test", 30, DNS_ANSWER, 0 },
    { "many.test", DNS_A, "", 30, DNS_MANY, 1000 },
    { "more.test", DNS_A, "", 30, DNS_MANY, 1500 },
    { "web.one.search", DNS_A, "10.0.1.1", 30, DNS_ANSWER, 0 },
    { "deep.web.two.search", DNS_A, "10.0.1.2", 30, DNS_ANSWER, 0 },
    { "web.other.search", DNS_A, "10.0.1.3", 30, DNS_ANSWER, 0 },
    { NULL, 0, NULL, 0, DNS_ANSWER, 0 },
};

static cn_loop_t        *loop;
static dns_server_t     *server;
static cn_dns_t         *dns;
static cn_dns_config_t   config;
static char              top[64];
static char              servers[64];
static char              resolv_conf[128];
static char              hosts[128];


/* ---- help ------------------------------------------------------------------------------------ */

static void
put_file(const char *path, const char *text)
{
    FILE  *file = fopen(path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}


/* The resolver anew, with what config now says. */
static void
create(void)
{
    cn_dns_destroy(dns);
    dns = cn_dns_create(loop, &config);
    assert_non_null(dns);
}


static int
setup(void **state)
{
    (void) state;
    snprintf(top, sizeof(top), "/tmp/cairn-dns-XXXXXX");
    loop = cn_loop_create();

    if (loop == NULL || mkdtemp(top) == NULL) {
        return -1;
    }

    server = dns_server_open(loop, zone);
    snprintf(servers, sizeof(servers), "127.0.0.1:%u", dns_server_port(server));
    snprintf(resolv_conf, sizeof(resolv_conf), "%s/resolv.conf", top);
    snprintf(hosts, sizeof(hosts), "%s/hosts", top);
    put_file(resolv_conf, "nameserver 127.0.0.1\n");
    put_file(hosts, "10.9.9.9 listed.test listed\nfd00::99 listed.test\n");

    config = cn_dns_defaults;
    config.servers = servers;
    config.resolv_conf = resolv_conf;
    config.hosts = hosts;
    config.timeout_ms = 2000;
    config.tries = 2;
    create();

    return 0;
}


static int
teardown(void **state)
{
    (void) state;
    cn_dns_destroy(dns);
    dns = NULL;
    dns_server_close(server);
    assert_true(cn_loop_finish(loop, 1000));
    cn_loop_destroy(loop);
    unlink(resolv_conf);
    unlink(hosts);
    rmdir(top);

    return 0;
}


static void
note(void *owner, const cn_dns_answer_t *answer)
{
    got_t   *got = owner;
    size_t   at = 0;

    got->told++;
    got->result = answer->result;
    got->count = answer->count;
    got->ttl_ms = answer->ttl_ms;
    got->text[0] = '\0';
    assert_true((answer->result == CN_DNS_OK) == (answer->count > 0));

    for (size_t i = 0; i < answer->count && at + CN_ADDRESS_TEXT_MAX < TEXT_MAX; i++) {
        char  text[CN_ADDRESS_TEXT_MAX];

        cn_address_print(&answer->addresses[i], text);
        at += (size_t) snprintf(got->text + at, TEXT_MAX - at, "%s%s", i == 0 ? "" : " ", text);
    }

    if (got->destroy != NULL) {
        cn_dns_destroy(*got->destroy);
        *got->destroy = NULL;
    }
}


static cn_dns_query_t *
start(got_t *got, const char *name, cn_dns_family_t family)
{
    cn_bytes_t       copy = unit_copy(cn_bytes_str(name));
    cn_dns_query_t  *query;

    memset(got, 0, sizeof(*got));
    query = cn_dns_resolve(dns, copy, 80, family, note, got);
    assert_non_null(query);
    assert_int_equal(got->told, 0);
    unit_free(copy);

    return query;
}


static void
turn_until(const unsigned *count, unsigned wanted)
{
    uint64_t  until = cn_clock_us_now() + DEADLINE_US;

    while (*count < wanted && cn_clock_us_now() < until) {
        cn_loop_turn(loop, 20);
    }

    assert_int_equal(*count, wanted);
}


static void
turn_for(uint64_t ms)
{
    uint64_t  until = cn_clock_us_now() + ms * 1000;

    while (cn_clock_us_now() < until) {
        cn_loop_turn(loop, 5);
    }
}


static got_t
ask(const char *name, cn_dns_family_t family)
{
    got_t  got;

    (void) start(&got, name, family);
    turn_until(&got.told, 1);

    return got;
}


/* ---- cases ----------------------------------------------------------------------------------- */

typedef struct {
    const char       *name;
    cn_dns_family_t   family;
    cn_dns_result_t   result;
    const char       *text;
} case_t;


static void
check_cases(const case_t *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        got_t  got = ask(cases[i].name, cases[i].family);

        if (got.result != cases[i].result || strcmp(got.text, cases[i].text) != 0) {
            print_error("%s, family %d: %s \"%s\"\n", cases[i].name, cases[i].family,
                        cn_dns_result_text(got.result), got.text);
        }

        unit_check(got.result == cases[i].result, cases[i].name);
        unit_check(strcmp(got.text, cases[i].text) == 0, cases[i].name);
    }
}


static void
answers_are_told_by_family(void **state)
{
    static const case_t  cases[] = {
        { "a.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.1:80" },
        { "A.TeSt", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.1:80" },
        { "a.test.", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.1:80" },
        { "a.test", CN_DNS_V6_ONLY, CN_DNS_NO_DATA, "" },
        { "six.test", CN_DNS_V6_ONLY, CN_DNS_OK, "[fd00::1]:80 [fd00::2]:80" },
        { "six.test", CN_DNS_V4_ONLY, CN_DNS_NO_DATA, "" },
        { "six.test", CN_DNS_V4_PREFERRED, CN_DNS_OK, "[fd00::1]:80 [fd00::2]:80" },
        { "a.test", CN_DNS_AUTO, CN_DNS_OK, "10.0.0.1:80" },
        { "both.test", CN_DNS_V4_PREFERRED, CN_DNS_OK, "10.0.0.2:80 10.0.0.1:80 10.0.0.3:80" },
        { "both.test", CN_DNS_AUTO, CN_DNS_OK, "[fd00::9]:80" },
        { "both.test", CN_DNS_ALL, CN_DNS_OK,
          "10.0.0.2:80 10.0.0.1:80 10.0.0.3:80 [fd00::9]:80" },
        { "a.test", CN_DNS_ALL, CN_DNS_OK, "10.0.0.1:80" },
        { "alias.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.1:80" },
        { "alias.test", CN_DNS_V6_ONLY, CN_DNS_NO_DATA, "" },
    };

    (void) state;
    check_cases(cases, CN_COUNT_OF(cases));
}


static void
a_second_family_is_asked_for_only_if_need_be(void **state)
{
    (void) state;

    (void) ask("both.test", CN_DNS_V4_PREFERRED);
    assert_int_equal(dns_server_asked_for(server, "both.test", DNS_AAAA), 0);
    (void) ask("six.test", CN_DNS_V4_PREFERRED);
    assert_int_equal(dns_server_asked_for(server, "six.test", DNS_A), 1);
    assert_int_equal(dns_server_asked_for(server, "six.test", DNS_AAAA), 1);
}


static void
failures_are_typed(void **state)
{
    static const case_t  cases[] = {
        { "gone.test", CN_DNS_V4_ONLY, CN_DNS_NOT_FOUND, "" },
        { "gone.test", CN_DNS_ALL, CN_DNS_NOT_FOUND, "" },
        { "gone.test.", CN_DNS_V4_ONLY, CN_DNS_NOT_FOUND, "" },
        { "a.test.", CN_DNS_V6_ONLY, CN_DNS_NO_DATA, "" },
        { "servfail.test", CN_DNS_V4_ONLY, CN_DNS_SERVER_FAILURE, "" },
        { "refused.test", CN_DNS_V4_ONLY, CN_DNS_REFUSED, "" },
        { "half.test", CN_DNS_V6_ONLY, CN_DNS_SERVER_FAILURE, "" },
        /* one family is enough */
        { "half.test", CN_DNS_ALL, CN_DNS_OK, "10.0.0.7:80" },
        { "half.test", CN_DNS_AUTO, CN_DNS_OK, "10.0.0.7:80" },
    };

    (void) state;
    check_cases(cases, CN_COUNT_OF(cases));
}


static void
a_search_domain_does_not_hide_a_failure(void **state)
{
    static const case_t  cases[] = {
        { "gone.test.", CN_DNS_V4_ONLY, CN_DNS_NOT_FOUND, "" },
        { "six.test.", CN_DNS_V4_ONLY, CN_DNS_NO_DATA, "" },
        { "gone.test", CN_DNS_V4_ONLY, CN_DNS_NOT_FOUND, "" },
        { "six.test", CN_DNS_V4_ONLY, CN_DNS_NO_DATA, "" },
    };

    (void) state;
    put_file(resolv_conf, "search one.search two.search\n");
    create();
    check_cases(cases, CN_COUNT_OF(cases));
    assert_int_equal(dns_server_asked_for(server, "gone.test", DNS_A), 2);
    assert_int_equal(dns_server_asked_for(server, "gone.test.one.search", DNS_A), 1);
}


static void
bad_names_are_refused_unasked(void **state)
{
    static const char *const  names[] = {
        "", ".", "..", "a..test", ".a.test", "a b.test", "a.test/", "a.test:80", "[::1]", "a\\.test",
        "*.test", "caf\xc3\xa9.test", "1.2.3", "10.0.0.256", "1.2.3.4.", "2130706433",
        "a123456789012345678901234567890123456789012345678901234567890123.test",
    };
    char  longest[CN_DNS_NAME_MAX + 8];

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        unit_check(ask(names[i], CN_DNS_ALL).result == CN_DNS_BAD_NAME, names[i]);
    }

    for (size_t len = CN_DNS_NAME_MAX; len < sizeof(longest); len++) {
        memset(longest, 'a', sizeof(longest));

        for (size_t i = 50; i < len - 1; i += 50) {
            longest[i] = '.';
        }

        longest[len] = '\0';
        assert_int_equal(ask(longest, CN_DNS_V4_ONLY).result, CN_DNS_BAD_NAME);
    }

    assert_int_equal(dns_server_asked(server), 0);
}


static void
the_longest_name_is_asked_for(void **state)
{
    char  longest[CN_DNS_NAME_MAX + 1];

    (void) state;
    memset(longest, 'a', sizeof(longest));

    for (size_t i = 50; i < CN_DNS_NAME_MAX - 1; i += 50) {
        longest[i] = '.';
    }

    longest[CN_DNS_NAME_MAX - 1] = '\0';
    assert_int_equal(ask(longest, CN_DNS_V4_ONLY).result, CN_DNS_NOT_FOUND);
    assert_int_equal(dns_server_asked_for(server, longest, DNS_A), 1);
}


static void
literals_need_no_server(void **state)
{
    static const case_t  cases[] = {
        { "10.1.2.3", CN_DNS_V4_ONLY, CN_DNS_OK, "10.1.2.3:80" },
        { "10.1.2.3", CN_DNS_ALL, CN_DNS_OK, "10.1.2.3:80" },
        { "10.1.2.3", CN_DNS_AUTO, CN_DNS_OK, "10.1.2.3:80" },
        { "10.1.2.3", CN_DNS_V6_ONLY, CN_DNS_NO_DATA, "" },
        { "fd00::1", CN_DNS_V6_ONLY, CN_DNS_OK, "[fd00::1]:80" },
        { "FD00::1", CN_DNS_V4_PREFERRED, CN_DNS_OK, "[fd00::1]:80" },
        { "fd00::1", CN_DNS_V4_ONLY, CN_DNS_NO_DATA, "" },
    };

    (void) state;
    check_cases(cases, CN_COUNT_OF(cases));
    assert_int_equal(dns_server_asked(server), 0);
    assert_int_equal(cn_dns_stats(dns)->lookups, 0);
}


static void
the_hosts_file_comes_first(void **state)
{
    static const case_t  cases[] = {
        { "listed.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.9.9.9:80" },
        { "listed", CN_DNS_V4_ONLY, CN_DNS_OK, "10.9.9.9:80" },
        { "listed.test", CN_DNS_V6_ONLY, CN_DNS_OK, "[fd00::99]:80" },
        { "listed.test", CN_DNS_ALL, CN_DNS_OK, "10.9.9.9:80 [fd00::99]:80" },
    };

    (void) state;
    check_cases(cases, CN_COUNT_OF(cases));
    assert_int_equal(dns_server_asked(server), 0);
}


static void
search_domains_and_ndots_hold(void **state)
{
    static const case_t  cases[] = {
        { "web", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.1.1:80" },
        { "deep.web", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.1.2:80" },
        { "a.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.1:80" },
    };

    (void) state;
    put_file(resolv_conf, "search one.search two.search\noptions ndots:3\n");
    create();
    check_cases(cases, CN_COUNT_OF(cases));
    assert_int_equal(dns_server_asked_for(server, "deep.web.one.search", DNS_A), 1);
    assert_int_equal(dns_server_asked_for(server, "deep.web", DNS_A), 0);

    /* fewer dots than ndots: as it stands it comes last; with a final dot it is all there is */
    assert_int_equal(dns_server_asked_for(server, "a.test.one.search", DNS_A), 1);
    assert_int_equal(ask("a.test.", CN_DNS_V4_ONLY).result, CN_DNS_OK);
    assert_int_equal(dns_server_asked_for(server, "a.test.one.search", DNS_A), 1);
}


static void
a_changed_resolv_conf_is_read_again(void **state)
{
    (void) state;
    put_file(resolv_conf, "search one.search\n");
    create();
    assert_string_equal(ask("web", CN_DNS_V4_ONLY).text, "10.0.1.1:80");
    put_file(resolv_conf, "search other.search\n");

    /* looked at once a second, and what was known of the old one is forgotten then */
    assert_string_equal(ask("web", CN_DNS_V4_ONLY).text, "10.0.1.1:80");
    turn_for(1050);
    assert_int_equal(ask("gone.test", CN_DNS_V4_ONLY).result, CN_DNS_NOT_FOUND);
    assert_int_equal(cn_dns_stats(dns)->reloads, 1);
    assert_string_equal(ask("web", CN_DNS_V4_ONLY).text, "10.0.1.3:80");
}


static void
what_is_under_way_ends_with_the_old_resolv_conf(void **state)
{
    got_t  slow, next;

    (void) state;
    config.timeout_ms = 2000;
    config.tries = 1;
    put_file(resolv_conf, "search one.search\n");
    create();
    (void) start(&slow, "silent.test.", CN_DNS_V4_ONLY);
    turn_for(1050);
    put_file(resolv_conf, "search other.search\n");
    (void) start(&next, "web", CN_DNS_V4_ONLY);
    turn_until(&next.told, 1);
    assert_string_equal(next.text, "10.0.1.3:80");
    assert_int_equal(slow.told, 0);
    turn_until(&slow.told, 1);
    assert_int_equal(slow.result, CN_DNS_TIMEOUT);
}


static void
a_lost_question_is_asked_again(void **state)
{
    uint64_t  start_us = cn_clock_us_now();
    got_t     got;

    (void) state;
    config.timeout_ms = 100;
    create();
    got = ask("once.test", CN_DNS_V4_ONLY);
    assert_string_equal(got.text, "10.0.0.8:80");
    assert_int_equal(dns_server_asked_for(server, "once.test", DNS_A), 2);
    assert_true(cn_clock_us_now() - start_us >= 100000);
}


static void
silence_ends_in_a_timeout(void **state)
{
    uint64_t  start_us = cn_clock_us_now();

    (void) state;
    config.timeout_ms = 50;
    create();
    assert_int_equal(ask("silent.test", CN_DNS_ALL).result, CN_DNS_TIMEOUT);
    assert_int_equal(dns_server_asked_for(server, "silent.test", DNS_A), 2);
    assert_true(cn_clock_us_now() - start_us >= 100000);

    /* and is not kept */
    assert_int_equal(ask("silent.test", CN_DNS_V4_ONLY).result, CN_DNS_TIMEOUT);
    assert_int_equal(dns_server_asked_for(server, "silent.test", DNS_A), 4);
}


static void
nobody_there_is_told(void **state)
{
    dns_server_t  *gone = dns_server_open(loop, zone);

    (void) state;
    snprintf(servers, sizeof(servers), "127.0.0.1:%u", dns_server_port(gone));
    dns_server_close(gone);
    create();
    assert_int_equal(ask("a.test", CN_DNS_V4_ONLY).result, CN_DNS_UNREACHABLE);
}


static void
a_truncated_answer_comes_over_tcp(void **state)
{
    (void) state;
    assert_string_equal(ask("cut.test", CN_DNS_V4_ONLY).text, "10.0.0.9:80");
    assert_int_equal(dns_server_asked_tcp(server), 1);
    assert_int_equal(dns_server_asked_for(server, "cut.test", DNS_A), 2);
}


static void
a_connection_without_an_answer_ends_too(void **state)
{
    (void) state;
    config.timeout_ms = 100;
    create();
    assert_int_equal(ask("hangs.test", CN_DNS_V4_ONLY).result, CN_DNS_UNREACHABLE);
    assert_int_equal(ask("mute.test", CN_DNS_V4_ONLY).result, CN_DNS_TIMEOUT);
    assert_true(dns_server_asked_tcp(server) >= 2);
    assert_int_equal(ask("cut.test", CN_DNS_V4_ONLY).result, CN_DNS_OK);
}


static void
the_next_server_answers_for_one_that_fails(void **state)
{
    static const dns_entry_t  failing[] = {
        { "a.test", DNS_A, "", 0, DNS_SERVFAIL, 0 },
        { "both.test", DNS_A, "", 0, DNS_REFUSED, 0 },
        { "huge.test", DNS_A, "", 0, DNS_SILENT, 0 },
        { "next.test", DNS_A, "", 0, DNS_HANGS_UP, 0 },
        { NULL, 0, NULL, 0, DNS_ANSWER, 0 },
    };
    static const case_t  cases[] = {
        { "a.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.1:80" },
        { "both.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.2:80 10.0.0.1:80 10.0.0.3:80" },
        { "huge.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.5:80" },
        { "next.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.1:80" },
        /* a no is an answer */
        { "alias.test", CN_DNS_V4_ONLY, CN_DNS_NOT_FOUND, "" },
    };
    dns_server_t  *first = dns_server_open(loop, failing);
    got_t          got;

    (void) state;
    snprintf(servers, sizeof(servers), "127.0.0.1:%u,127.0.0.1:%u", dns_server_port(first),
             dns_server_port(server));
    config.timeout_ms = 100;
    create();
    check_cases(cases, CN_COUNT_OF(cases));

    /* and when it is gone */
    dns_server_close(first);
    got = ask("cut.test", CN_DNS_V4_ONLY);
    assert_string_equal(got.text, "10.0.0.9:80");
}


static void
many_addresses_stay_in_order_within_bounds(void **state)
{
    FILE   *file;
    got_t   got;

    (void) state;
    got = ask("many.test", CN_DNS_V4_ONLY);
    assert_int_equal(got.count, 1000);
    assert_memory_equal(got.text, "10.1.0.0:80 10.1.0.1:80 10.1.0.2:80 ", 36);
    assert_int_equal(cn_dns_stats(dns)->cut, 0);

    /* what would take too long to read is not read */
    assert_int_equal(ask("more.test", CN_DNS_V4_ONLY).result, CN_DNS_BAD_ANSWER);
    assert_int_equal(ask("a.test", CN_DNS_V4_ONLY).result, CN_DNS_OK);

    file = fopen(hosts, "we");
    assert_non_null(file);

    for (unsigned i = 0; i < CN_DNS_ADDRESSES_MAX + 10; i++) {
        fprintf(file, "10.2.%u.%u local.test\n", i / 256, i % 256);
    }

    assert_int_equal(fclose(file), 0);
    got = ask("local.test", CN_DNS_V4_ONLY);
    assert_int_equal(got.count, CN_DNS_ADDRESSES_MAX);
    assert_memory_equal(got.text, "10.2.0.0:80 10.2.0.1:80 10.2.0.2:80 ", 36);
    assert_int_equal(cn_dns_stats(dns)->cut, 1);
}


static void
hostile_answers_give_nobody_an_address(void **state)
{
    static const case_t  cases[] = {
        { "id.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.10:80" },
        { "question.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.11:80" },
        { "empty.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.15:80" },
        { "type.test", CN_DNS_V4_ONLY, CN_DNS_NO_DATA, "" },
        { "type.test", CN_DNS_V6_ONLY, CN_DNS_NO_DATA, "" },
        { "mapped.test", CN_DNS_V6_ONLY, CN_DNS_NO_DATA, "" },
        { "some.test", CN_DNS_V6_ONLY, CN_DNS_OK, "[fd00::18]:80" },
        { "garbage.test", CN_DNS_V4_ONLY, CN_DNS_BAD_ANSWER, "" },
        { "loop.test", CN_DNS_V4_ONLY, CN_DNS_BAD_ANSWER, "" },
        { "short.test", CN_DNS_V4_ONLY, CN_DNS_BAD_ANSWER, "" },
        { "circle.test", CN_DNS_V4_ONLY, CN_DNS_NO_DATA, "" },
        { "a.test", CN_DNS_V4_ONLY, CN_DNS_OK, "10.0.0.1:80" },
    };

    (void) state;
    config.timeout_ms = 200;
    create();
    check_cases(cases, CN_COUNT_OF(cases));
}


/* ---- the cache ------------------------------------------------------------------------------- */

static void
answers_are_kept_for_their_ttl(void **state)
{
    got_t  got;

    (void) state;
    config.ttl_min_ms = 300;
    config.ttl_max_ms = 600;
    create();

    got = ask("zero.test", CN_DNS_V4_ONLY);
    assert_true(got.ttl_ms <= 300 && got.ttl_ms > 0);
    (void) ask("zero.test", CN_DNS_V4_ONLY);
    assert_int_equal(dns_server_asked(server), 1);
    turn_for(310);
    (void) ask("zero.test", CN_DNS_V4_ONLY);
    assert_int_equal(dns_server_asked(server), 2);

    got = ask("huge.test", CN_DNS_V4_ONLY);
    assert_true(got.ttl_ms <= 600 && got.ttl_ms > 300);
    (void) ask("huge.test", CN_DNS_V4_ONLY);
    assert_int_equal(dns_server_asked(server), 3);
    turn_for(610);
    (void) ask("huge.test", CN_DNS_V4_ONLY);
    assert_int_equal(dns_server_asked(server), 4);
}


static void
the_least_ttl_on_the_way_counts(void **state)
{
    static const struct {
        const char       *name;
        cn_dns_family_t   family;
        uint32_t          ttl_ms;
    } cases[] = {
        { "a.test", CN_DNS_V4_ONLY, 30000 },
        { "alias.test", CN_DNS_V4_ONLY, 7000 },
        { "both.test", CN_DNS_ALL, 10000 },
        { "huge.test", CN_DNS_V4_ONLY, 3600000 },
        { "zero.test", CN_DNS_V4_ONLY, 0 },
        { "negative.test", CN_DNS_V4_ONLY, 0 },
        { "gone.test", CN_DNS_V4_ONLY, 5000 },
        { "servfail.test", CN_DNS_V4_ONLY, 0 },
        { "listed.test", CN_DNS_V4_ONLY, 0 },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        got_t  got = ask(cases[i].name, cases[i].family);

        unit_check(got.ttl_ms <= cases[i].ttl_ms, cases[i].name);
        unit_check(got.ttl_ms + 1000 >= cases[i].ttl_ms, cases[i].name);
    }
}


static void
a_ttl_of_zero_is_asked_for_each_time(void **state)
{
    (void) state;
    (void) ask("zero.test", CN_DNS_V4_ONLY);
    (void) ask("zero.test", CN_DNS_V4_ONLY);
    assert_int_equal(dns_server_asked(server), 2);
    assert_int_equal(cn_dns_stats(dns)->cache_hits, 0);
}


static void
a_no_is_kept_for_its_own_time(void **state)
{
    (void) state;
    config.negative_ttl_ms = 300;
    create();
    (void) ask("gone.test", CN_DNS_V4_ONLY);
    (void) ask("six.test", CN_DNS_V4_ONLY);
    assert_int_equal(ask("gone.test", CN_DNS_V4_ONLY).result, CN_DNS_NOT_FOUND);
    assert_int_equal(ask("six.test", CN_DNS_V4_ONLY).result, CN_DNS_NO_DATA);
    assert_int_equal(dns_server_asked(server), 2);
    turn_for(310);
    (void) ask("gone.test", CN_DNS_V4_ONLY);
    assert_int_equal(dns_server_asked(server), 3);

    config.negative_ttl_ms = 0;
    create();
    (void) ask("gone.test", CN_DNS_V4_ONLY);
    (void) ask("gone.test", CN_DNS_V4_ONLY);
    assert_int_equal(dns_server_asked(server), 5);
}


static void
the_least_recently_used_answer_goes(void **state)
{
    (void) state;
    config.cache_max = 2;
    create();
    (void) ask("a.test", CN_DNS_V4_ONLY);
    (void) ask("both.test", CN_DNS_V4_ONLY);
    (void) ask("a.test", CN_DNS_V4_ONLY);
    assert_int_equal(dns_server_asked(server), 2);
    (void) ask("huge.test", CN_DNS_V4_ONLY);            /* in the place of both.test */
    assert_int_equal(cn_dns_stats(dns)->evicted, 1);
    (void) ask("a.test", CN_DNS_V4_ONLY);
    (void) ask("huge.test", CN_DNS_V4_ONLY);
    assert_int_equal(dns_server_asked(server), 3);
    (void) ask("both.test", CN_DNS_V4_ONLY);
    assert_int_equal(dns_server_asked(server), 4);

    config.cache_max = 0;
    create();
    (void) ask("a.test", CN_DNS_V4_ONLY);
    (void) ask("a.test", CN_DNS_V4_ONLY);
    assert_int_equal(dns_server_asked(server), 6);
}


/* ---- queries under way ----------------------------------------------------------------------- */

static void
equal_questions_are_asked_once(void **state)
{
    got_t  got[20];

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(got); i++) {
        (void) start(&got[i], i % 2 == 0 ? "both.test" : "BOTH.test", CN_DNS_ALL);
    }

    for (size_t i = 0; i < CN_COUNT_OF(got); i++) {
        turn_until(&got[i].told, 1);
        assert_string_equal(got[i].text, "10.0.0.2:80 10.0.0.1:80 10.0.0.3:80 [fd00::9]:80");
    }

    assert_int_equal(dns_server_asked(server), 2);
    assert_int_equal(cn_dns_stats(dns)->lookups, 2);
    assert_int_equal(cn_dns_stats(dns)->merged, 38);
}


static void
many_names_are_asked_for_at_once(void **state)
{
    static got_t  got[200];
    char          name[32];

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(got); i++) {
        snprintf(name, sizeof(name), "%s%zu.test", i % 2 == 0 ? "gone" : "lost", i);
        (void) start(&got[i], name, CN_DNS_V4_ONLY);
    }

    for (size_t i = 0; i < CN_COUNT_OF(got); i++) {
        turn_until(&got[i].told, 1);
        assert_int_equal(got[i].result, CN_DNS_NOT_FOUND);
    }

    assert_int_equal(cn_dns_stats(dns)->lookups, CN_COUNT_OF(got));
    assert_int_equal(cn_dns_stats(dns)->failures, CN_COUNT_OF(got));
}


static void
lookups_under_way_are_bounded(void **state)
{
    got_t  got[4];

    (void) state;
    config.pending_max = 2;
    config.timeout_ms = 100;
    config.tries = 1;
    create();
    (void) start(&got[0], "silent.test", CN_DNS_ALL);
    (void) start(&got[1], "a.test", CN_DNS_V4_ONLY);
    (void) start(&got[2], "10.0.0.1", CN_DNS_V4_ONLY);
    (void) start(&got[3], "silent.test", CN_DNS_V4_ONLY);
    turn_until(&got[1].told, 1);
    assert_int_equal(got[1].result, CN_DNS_TOO_MANY);
    turn_until(&got[2].told, 1);
    assert_int_equal(got[2].result, CN_DNS_OK);
    turn_until(&got[3].told, 1);
    assert_int_equal(got[3].result, CN_DNS_TIMEOUT);
    turn_until(&got[0].told, 1);
    assert_int_equal(ask("a.test", CN_DNS_V4_ONLY).result, CN_DNS_OK);
}


static void
no_event_follows_a_cancel(void **state)
{
    got_t            got[5];
    cn_dns_query_t  *queries[5];

    (void) state;
    (void) ask("huge.test", CN_DNS_V4_ONLY);
    queries[0] = start(&got[0], "a.test", CN_DNS_V4_ONLY);      /* before it is asked for */
    cn_dns_cancel(queries[0]);
    queries[1] = start(&got[1], "10.0.0.1", CN_DNS_V4_ONLY);
    cn_dns_cancel(queries[1]);
    queries[2] = start(&got[2], "huge.test", CN_DNS_V4_ONLY);
    cn_dns_cancel(queries[2]);
    cn_loop_turn(loop, 0);
    assert_int_equal(dns_server_asked(server), 1);

    queries[3] = start(&got[3], "both.test", CN_DNS_ALL);
    queries[4] = start(&got[4], "both.test", CN_DNS_ALL);
    cn_loop_turn(loop, 0);
    cn_dns_cancel(queries[3]);
    turn_until(&got[4].told, 1);
    turn_for(20);
    cn_dns_cancel(NULL);

    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(got[i].told, 0);
    }

    /* the answer to a question that nobody asks any more is kept all the same */
    queries[0] = start(&got[0], "a.test", CN_DNS_V4_ONLY);
    cn_loop_turn(loop, 0);
    cn_dns_cancel(queries[0]);
    turn_for(20);
    assert_int_equal(dns_server_asked_for(server, "a.test", DNS_A), 1);
    assert_int_equal(ask("a.test", CN_DNS_V4_ONLY).result, CN_DNS_OK);
    assert_int_equal(dns_server_asked_for(server, "a.test", DNS_A), 1);
    assert_int_equal(got[0].told, 0);
}


static void
a_resolver_ends_with_queries_under_way(void **state)
{
    got_t  got[6];

    (void) state;
    (void) ask("a.test", CN_DNS_V4_ONLY);
    (void) start(&got[0], "silent.test", CN_DNS_ALL);
    (void) start(&got[1], "silent.test", CN_DNS_AUTO);
    (void) start(&got[2], "cut.test", CN_DNS_V4_ONLY);
    cn_loop_turn(loop, 0);
    cn_loop_turn(loop, 0);
    (void) start(&got[3], "a.test", CN_DNS_V4_ONLY);
    (void) start(&got[4], "both.test", CN_DNS_ALL);
    (void) start(&got[5], "10.0.0.1", CN_DNS_ALL);
    cn_dns_destroy(dns);
    dns = NULL;
    turn_for(30);

    for (size_t i = 0; i < CN_COUNT_OF(got); i++) {
        assert_int_equal(got[i].told, 0);
    }

    cn_dns_destroy(NULL);
}


static void
a_resolver_may_end_in_an_event(void **state)
{
    got_t  got, other[2];

    (void) state;
    (void) start(&got, "both.test", CN_DNS_ALL);
    got.destroy = &dns;
    (void) start(&other[0], "both.test", CN_DNS_ALL);
    (void) start(&other[1], "silent.test", CN_DNS_ALL);
    turn_until(&got.told, 1);
    assert_null(dns);
    turn_for(20);
    assert_int_equal(other[0].told + other[1].told, 0);
}


/* ---- watches --------------------------------------------------------------------------------- */

#define WATCHED(data, manner)                             \
    (dns_entry_t) { "w.test", DNS_A, data, 0, manner, 0 }

/* What w.test is; changed by the cases. */
static dns_entry_t  watched[2];

static cn_dns_watch_t *
watch(got_t *got, const char *data, dns_manner_t manner, uint32_t refresh_ms)
{
    cn_dns_watch_t  *made;

    watched[0] = WATCHED(data, manner);
    dns_server_use(server, watched);
    memset(got, 0, sizeof(*got));
    made = cn_dns_watch(dns, CN_BYTES("w.test"), 80, CN_DNS_V4_ONLY, refresh_ms, note, got);
    assert_non_null(made);
    assert_int_equal(got->told, 0);

    return made;
}


/* Until the server was asked so many times more. */
static void
turn_until_asked(unsigned more)
{
    unsigned  wanted = dns_server_asked(server) + more;
    uint64_t  until = cn_clock_us_now() + DEADLINE_US;

    while (dns_server_asked(server) < wanted && cn_clock_us_now() < until) {
        cn_loop_turn(loop, 5);
    }

    assert_true(dns_server_asked(server) >= wanted);
}


static void
a_watch_tells_only_what_is_new(void **state)
{
    got_t            got;
    cn_dns_watch_t  *made = watch(&got, "10.0.0.1 10.0.0.2", DNS_ANSWER, 20);

    (void) state;
    turn_until(&got.told, 1);
    assert_string_equal(got.text, "10.0.0.1:80 10.0.0.2:80");

    turn_until_asked(3);
    watched[0] = WATCHED("10.0.0.2 10.0.0.1 10.0.0.2", DNS_ANSWER);     /* the same set */
    turn_until_asked(3);
    assert_int_equal(got.told, 1);

    watched[0] = WATCHED("10.0.0.2 10.0.0.3", DNS_ANSWER);
    turn_until(&got.told, 2);
    assert_string_equal(got.text, "10.0.0.2:80 10.0.0.3:80");
    watched[0] = WATCHED("10.0.0.3", DNS_ANSWER);
    turn_until(&got.told, 3);
    assert_string_equal(got.text, "10.0.0.3:80");
    cn_dns_unwatch(made);
    turn_for(60);
    assert_int_equal(got.told, 3);
}


static void
a_watch_keeps_the_last_good_answer(void **state)
{
    got_t            got;
    cn_dns_watch_t  *made;

    (void) state;
    config.negative_ttl_ms = 0;
    create();
    made = watch(&got, "10.0.0.1", DNS_ANSWER, 10);
    turn_until(&got.told, 1);
    watched[0] = WATCHED("10.0.0.1", DNS_SERVFAIL);
    turn_until_asked(2);
    watched[0].name = "gone.test";
    turn_until_asked(1);
    watched[0] = WATCHED("10.0.0.1", DNS_ANSWER);
    turn_until_asked(2);
    assert_int_equal(got.told, 1);

    watched[0] = WATCHED("10.0.0.2", DNS_ANSWER);
    turn_until(&got.told, 2);
    assert_string_equal(got.text, "10.0.0.2:80");
    cn_dns_unwatch(made);
}


static void
a_watch_that_begins_with_a_failure_says_so_once(void **state)
{
    got_t            got;
    cn_dns_watch_t  *made = watch(&got, "10.0.0.1", DNS_REFUSED, 10);

    (void) state;
    turn_until(&got.told, 1);
    assert_int_equal(got.result, CN_DNS_REFUSED);
    turn_until_asked(2);
    assert_int_equal(got.told, 1);
    watched[0] = WATCHED("10.0.0.1", DNS_ANSWER);
    turn_until(&got.told, 2);
    assert_int_equal(got.result, CN_DNS_OK);
    cn_dns_unwatch(made);
}


static void
a_failing_watch_asks_less_and_less_often(void **state)
{
    got_t            got;
    cn_dns_watch_t  *made = watch(&got, "10.0.0.1", DNS_SERVFAIL, 20);
    uint64_t         start_us = cn_clock_us_now();

    (void) state;
    turn_until(&got.told, 1);
    turn_until_asked(4 * dns_server_asked(server));
    assert_true(cn_clock_us_now() - start_us >= 20000 + 40000 + 80000 + 160000);
    assert_int_equal(got.told, 1);
    cn_dns_unwatch(made);
}


static void
a_watch_waits_for_the_ttl(void **state)
{
    got_t            got;
    cn_dns_watch_t  *made;

    (void) state;
    config.ttl_min_ms = 300;
    create();
    made = watch(&got, "10.0.0.1", DNS_ANSWER, 10);
    turn_until(&got.told, 1);
    watched[0] = WATCHED("10.0.0.2", DNS_ANSWER);
    turn_for(200);
    assert_int_equal(dns_server_asked(server), 1);
    turn_until(&got.told, 2);
    assert_string_equal(got.text, "10.0.0.2:80");
    cn_dns_unwatch(made);
}


static void
a_watch_may_be_of_a_literal_or_a_bad_name(void **state)
{
    got_t            good, bad, longest;
    char             text[4096];
    cn_dns_watch_t  *watches[3];

    (void) state;
    memset(&good, 0, sizeof(good));
    memset(&bad, 0, sizeof(bad));
    memset(&longest, 0, sizeof(longest));
    memset(text, 'a', sizeof(text));
    watches[0] = cn_dns_watch(dns, CN_BYTES("10.0.0.1"), 80, CN_DNS_ALL, 10, note, &good);
    watches[1] = cn_dns_watch(dns, CN_BYTES_NONE, 80, CN_DNS_ALL, 10, note, &bad);
    watches[2] = cn_dns_watch(dns, cn_bytes(text, sizeof(text)), 80, CN_DNS_ALL, 10, note,
                              &longest);
    turn_until(&good.told, 1);
    turn_until(&bad.told, 1);
    turn_until(&longest.told, 1);
    assert_string_equal(good.text, "10.0.0.1:80");
    assert_int_equal(bad.result, CN_DNS_BAD_NAME);
    assert_int_equal(longest.result, CN_DNS_BAD_NAME);
    turn_for(50);
    assert_int_equal(good.told + bad.told + longest.told, 3);
    cn_dns_unwatch(watches[1]);
    cn_dns_unwatch(NULL);

    /* the others end with the resolver */
    assert_non_null(watches[0]);
    assert_non_null(watches[2]);
}


static void
a_resolver_may_end_in_the_event_of_a_watch(void **state)
{
    got_t  got, other;

    (void) state;
    memset(&got, 0, sizeof(got));
    got.destroy = &dns;
    assert_non_null(cn_dns_watch(dns, CN_BYTES("a.test"), 80, CN_DNS_ALL, 10, note, &got));
    (void) start(&other, "silent.test", CN_DNS_ALL);
    turn_until(&got.told, 1);
    assert_null(dns);
    turn_for(50);
    assert_int_equal(got.told, 1);
    assert_int_equal(other.told, 0);
}


static void
servers_that_cannot_be_read_are_refused(void **state)
{
    static const char *const  bad[] = { "not an address", "10.0.0.1:port", "10.0.0.1,what" };
    static const char *const  good[] = { "10.0.0.1", "[fd00::1]:53,10.0.0.1:5353", "fd00::1" };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(bad); i++) {
        config.servers = bad[i];
        unit_check(cn_dns_create(loop, &config) == NULL, bad[i]);
    }

    for (size_t i = 0; i < CN_COUNT_OF(good); i++) {
        config.servers = good[i];
        create();
    }
}


static void
each_result_has_words(void **state)
{
    (void) state;

    for (int i = CN_DNS_OK; i <= CN_DNS_MEMORY; i++) {
        const char  *text = cn_dns_result_text((cn_dns_result_t) i);

        assert_true(strlen(text) > 4);

        for (int j = CN_DNS_OK; j < i; j++) {
            assert_string_not_equal(text, cn_dns_result_text((cn_dns_result_t) j));
        }
    }
}


int
main(void)
{
#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest  tests[] = {
        CASE(answers_are_told_by_family),
        CASE(a_second_family_is_asked_for_only_if_need_be),
        CASE(failures_are_typed),
        CASE(a_search_domain_does_not_hide_a_failure),
        CASE(bad_names_are_refused_unasked),
        CASE(the_longest_name_is_asked_for),
        CASE(literals_need_no_server),
        CASE(the_hosts_file_comes_first),
        CASE(search_domains_and_ndots_hold),
        CASE(a_changed_resolv_conf_is_read_again),
        CASE(what_is_under_way_ends_with_the_old_resolv_conf),
        CASE(a_lost_question_is_asked_again),
        CASE(silence_ends_in_a_timeout),
        CASE(nobody_there_is_told),
        CASE(a_truncated_answer_comes_over_tcp),
        CASE(a_connection_without_an_answer_ends_too),
        CASE(the_next_server_answers_for_one_that_fails),
        CASE(many_addresses_stay_in_order_within_bounds),
        CASE(hostile_answers_give_nobody_an_address),
        CASE(answers_are_kept_for_their_ttl),
        CASE(the_least_ttl_on_the_way_counts),
        CASE(a_ttl_of_zero_is_asked_for_each_time),
        CASE(a_no_is_kept_for_its_own_time),
        CASE(the_least_recently_used_answer_goes),
        CASE(equal_questions_are_asked_once),
        CASE(many_names_are_asked_for_at_once),
        CASE(lookups_under_way_are_bounded),
        CASE(no_event_follows_a_cancel),
        CASE(a_resolver_ends_with_queries_under_way),
        CASE(a_resolver_may_end_in_an_event),
        CASE(a_watch_tells_only_what_is_new),
        CASE(a_watch_keeps_the_last_good_answer),
        CASE(a_watch_that_begins_with_a_failure_says_so_once),
        CASE(a_failing_watch_asks_less_and_less_often),
        CASE(a_watch_waits_for_the_ttl),
        CASE(a_watch_may_be_of_a_literal_or_a_bad_name),
        CASE(a_resolver_may_end_in_the_event_of_a_watch),
        CASE(servers_that_cannot_be_read_are_refused),
        CASE(each_result_has_words),
    };

    unsetenv("LOCALDOMAIN");
    unsetenv("RES_OPTIONS");
    cn_clock_update();

    return cmocka_run_group_tests(tests, NULL, NULL);
}
