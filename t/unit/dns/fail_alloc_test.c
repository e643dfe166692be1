/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each allocation of a resolver's work fails once, those of c-ares too: nothing leaks or breaks,
 * and who asked is told something or got no query.
 */

#define CN_FAIL_ALLOC

/* own copies, with the fault injection in them; the archive's stay out of the link */
#include "base/block.c"
#include "base/pool.c"

#include "server.h"
#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "dns/dns.h"

#include <unistd.h>

#define ROUNDS_MAX  5000u

static const dns_entry_t  zone[] = {
    { "both.test", DNS_A, "10.0.0.2 10.0.0.1 10.0.0.3", 20, DNS_ANSWER, 0 },
    { "both.test", DNS_AAAA, "fd00::9", 10, DNS_ANSWER, 0 },
    { "alias.test", DNS_CNAME, "both.test", 7, DNS_ANSWER, 0 },
    { "cut.one.search", DNS_A, "10.0.0.9", 30, DNS_TRUNCATED, 0 },
    { NULL, 0, NULL, 0, DNS_ANSWER, 0 },
};

typedef struct {
    unsigned         told;
    cn_dns_result_t  result;
    size_t           count;
} got_t;

static cn_loop_t     *loop;
static dns_server_t  *server;
static char           servers[64];


static void
note(void *owner, const cn_dns_answer_t *answer)
{
    got_t  *got = owner;

    got->told++;
    got->result = answer->result;
    got->count = answer->count;
}


static void
no_log(void *context, cn_bytes_t line)
{
    (void) context;
    (void) line;
}


/* Asks and waits; how many addresses there were, 0 also if there was no memory to ask. */
static size_t
ask(cn_dns_t *dns, cn_bytes_t name)
{
    got_t     got = { .told = 0 };
    uint64_t  until = cn_clock_us_now() + 10000000;

    if (cn_dns_resolve(dns, name, 80, CN_DNS_ALL, note, &got) == NULL) {
        return 0;
    }

    while (got.told == 0 && cn_clock_us_now() < until) {
        cn_loop_turn(loop, 20);
    }

    assert_int_equal(got.told, 1);

    return got.count;
}


/* Whether all went as it should. */
static bool
work(const cn_dns_config_t *config)
{
    cn_dns_t        *dns = cn_dns_create(loop, config);
    cn_dns_watch_t  *watch;
    got_t            watched = { .told = 0 };
    bool             right;

    if (dns == NULL) {
        return false;
    }

    watch = cn_dns_watch(dns, CN_BYTES("both.test"), 80, CN_DNS_ALL, 1000, note, &watched);
    right = watch != NULL;
    right = ask(dns, CN_BYTES("alias.test")) == 4 && right;
    right = ask(dns, CN_BYTES("both.test")) == 4 && right;
    right = ask(dns, CN_BYTES("cut")) == 1 && right;
    right = ask(dns, CN_BYTES("gone")) == 0 && right;
    right = watched.told == 1 && watched.count == 4 && right;
    cn_dns_destroy(dns);

    return right;
}


static void
each_allocation_may_fail(void **state)
{
    cn_dns_config_t  config = cn_dns_defaults;
    char             path[] = "/tmp/cairn-dns-XXXXXX";
    int              fd = mkstemp(path);
    size_t           round = 0;
    bool             reached = true;

    (void) state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "search one.search\n", 18), 18);
    close(fd);

    loop = cn_loop_create();
    assert_non_null(loop);
    server = dns_server_open(loop, zone);
    snprintf(servers, sizeof(servers), "127.0.0.1:%u", dns_server_port(server));
    config.servers = servers;
    config.resolv_conf = path;
    config.hosts = "/dev/null";
    config.timeout_ms = 10;
    config.tries = 1;

    assert_true(work(&config));

    /* until the first round whose allocation is never reached; some are not missed */
    while (reached && round < ROUNDS_MAX) {
        cn_alloc_fail_at(++round);
        (void) work(&config);
        reached = fail_at == 0;
        cn_alloc_fail_at(0);
    }

    assert_false(reached);
    assert_true(round > 100);
    assert_true(work(&config));

    dns_server_close(server);
    assert_true(cn_loop_finish(loop, 1000));
    cn_loop_destroy(loop);
    unlink(path);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(each_allocation_may_fail),
    };

    cn_log_open("test", no_log, NULL);
    cn_clock_update();

    return cmocka_run_group_tests(tests, NULL, NULL);
}
