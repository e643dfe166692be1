/* SPDX-License-Identifier: Apache-2.0 */

/* An identity is asked for, renewed, asked for again when that fails, and missed aloud. */

#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "event/loop.h"
#include "source/identity/rotation.h"

#include <stdio.h>

#define DEADLINE_US  10000000u
#define SLACK_MS     2000               /* of a machine that has other things to do */

/* A maker that does as it is told, when it is asked. */
typedef enum { MAKE, FAIL, REFUSE, HANG } answer_t;

static cn_loop_t      *loop;
static cn_rotation_t  *rotation;
static answer_t        answer;
static int64_t         begins_s, ends_s;        /* of what is made, from now */
static const char     *roots;
static unsigned        asked, cancelled;
static uint64_t        asked_us[32];
static cn_task_t       answering;
static unsigned        identities, root_changes, failures;
static char            last_chain[64], last_roots[64], last_why[256];
static char            log_text[65536];
static size_t          log_len;


static cn_bytes_t
heap(const char *text)
{
    uint8_t  *copy = cn_alloc(strlen(text));

    assert_non_null(copy);
    memcpy(copy, text, strlen(text));

    return cn_bytes(copy, strlen(text));
}


static cn_identity_t
make(unsigned number)
{
    uint64_t       now = cn_clock_wall_ms() / 1000;
    cn_identity_t  identity = {
        .begins = (uint64_t) ((int64_t) now + begins_s),
        .expires = (uint64_t) ((int64_t) now + ends_s),
    };
    char           text[32];

    snprintf(text, sizeof(text), "chain %u", number);
    identity.chain_pem = heap(text);
    snprintf(text, sizeof(text), "key %u", number);
    identity.key_pem = heap(text);
    identity.roots_pem = heap(roots);

    return identity;
}


static void
give_answer(cn_task_t *task)
{
    cn_identity_t  identity;

    (void) task;

    switch (answer) {
    case MAKE:
        identity = make(asked);
        cn_rotation_maker_events.on_made(rotation, &identity);
        assert_null(identity.key_pem.ptr);
        return;
    case FAIL:
        cn_rotation_maker_events.on_failed(rotation, true, "it is away");
        return;
    case REFUSE:
        cn_rotation_maker_events.on_failed(rotation, false, "who are you?");
        return;
    case HANG:
        return;
    }
}


static void
maker_ask(void *maker)
{
    assert_ptr_equal(maker, &answering);
    asked_us[asked++ % CN_COUNT_OF(asked_us)] = cn_clock_us_now();
    cn_loop_post(loop, CN_PHASE_READY, &answering);
}


static void
maker_cancel(void *maker)
{
    assert_ptr_equal(maker, &answering);
    cn_task_cancel(&answering);
    cancelled++;
}


static const cn_maker_t  maker = { .ask = maker_ask, .cancel = maker_cancel };


static void
copy_text(char *to, size_t size, cn_bytes_t text)
{
    snprintf(to, size, "%.*s", CN_BYTES_ARG(text));
}


static void
hear_identity(void *owner, const cn_identity_t *identity)
{
    assert_ptr_equal(owner, last_why);
    identities++;
    copy_text(last_chain, sizeof(last_chain), identity->chain_pem);
}


static void
hear_roots(void *owner, const cn_identity_t *identity)
{
    assert_ptr_equal(owner, last_why);
    assert_true(identities > root_changes);
    root_changes++;
    copy_text(last_roots, sizeof(last_roots), identity->roots_pem);
}


static void
hear_failure(void *owner, const char *why)
{
    assert_ptr_equal(owner, last_why);
    failures++;
    copy_text(last_why, sizeof(last_why), cn_bytes_str(why));
}


static const cn_rotation_events_t  events = {
    .on_identity = hear_identity, .on_roots = hear_roots, .on_failed = hear_failure,
};


static void
hear_log(void *context, cn_bytes_t line)
{
    (void) context;

    if (line.len < sizeof(log_text) - log_len) {
        memcpy(log_text + log_len, line.ptr, line.len);
        log_len += line.len;
        log_text[log_len] = '\0';
    }
}


/* Whether one line has both. */
static bool
was_said(const char *level, const char *text)
{
    cn_bytes_t  rest = cn_bytes(log_text, log_len), line;

    while (rest.len > 0) {
        (void) cn_bytes_split(rest, '\n', &line, &rest);

        if (cn_bytes_find(line, cn_bytes_str(level)) != SIZE_MAX
            && cn_bytes_find(line, cn_bytes_str(text)) != SIZE_MAX)
        {
            return true;
        }
    }

    return false;
}


static void
turn_until(const unsigned *count, unsigned wanted)
{
    uint64_t  until = cn_clock_us_now() + DEADLINE_US;

    while (*count < wanted && cn_clock_us_now() < until) {
        cn_loop_turn(loop, 20);
    }

    assert_true(*count >= wanted);
}


static void
turn_for(uint64_t ms)
{
    uint64_t  until = cn_clock_us_now() + ms * 1000;

    while (cn_clock_us_now() < until) {
        cn_loop_turn(loop, 5);
    }
}


static void
start(const cn_rotation_config_t *config)
{
    rotation = cn_rotation_create(loop, config, &events, last_why);
    assert_non_null(rotation);
    assert_null(cn_rotation_identity(rotation));
    cn_rotation_hurry(rotation);            /* before the start it does nothing */
    cn_rotation_start(rotation, &maker, &answering);
}


/* The gap before an asking; the first has none. */
static uint64_t
gap_ms(unsigned number)
{
    return (asked_us[number] - asked_us[number - 1]) / 1000;
}


static int
setup(void **state)
{
    (void) state;
    loop = cn_loop_create();
    answering.run = give_answer;
    answer = MAKE;
    begins_s = -120;
    ends_s = 86400;
    roots = "roots";
    asked = cancelled = identities = root_changes = failures = 0;
    last_why[0] = '\0';
    log_len = 0;
    log_text[0] = '\0';
    rotation = NULL;
    cn_log_open("test", hear_log, NULL);

    return loop == NULL;
}


static int
teardown(void **state)
{
    (void) state;
    cn_rotation_close(rotation);
    cn_task_cancel(&answering);
    cn_loop_destroy(loop);
    cn_log_open("test", NULL, NULL);

    return 0;
}


static void
it_is_renewed_when_half_its_life_is_left(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();
    uint64_t              life_ms = (86400 + 120) * 1000u;
    uint64_t              end_ms, least = UINT64_MAX, most = 0;

    (void) state;
    start(&config);
    assert_true(cn_rotation_view(rotation).asking);
    assert_int_equal(identities, 0);        /* not within the call */
    turn_until(&identities, 1);

    for (unsigned i = 1; i <= 200; i++) {
        uint64_t  left;

        turn_until(&identities, i);
        end_ms = cn_rotation_identity(rotation)->expires * 1000;
        left = end_ms - cn_rotation_view(rotation).renew_at_ms;
        least = left < least ? left : least;
        most = left > most ? left : most;
        cn_rotation_hurry(rotation);
    }

    /* 0.5 -+ 0.01 of its life, and drawn anew each time */
    assert_in_range(least, life_ms / 100 * 49, life_ms / 1000 * 495);
    assert_in_range(most, life_ms / 1000 * 505, life_ms / 100 * 51 + 1000);
}


static void
ratio_and_jitter_can_be_set(void **state)
{
    static const struct {
        const char  *name;
        double       ratio, jitter;
        uint64_t     least_s, most_s;       /* left at the renewal */
    } cases[] = {
        { "a quarter", 0.25, 0.0, 21630, 21630 },
        { "at its very end", 0.0, 0.0, 0, 0 },
        { "nearly at once", 0.99, 0.0, 85654, 85655 },
        { "anywhere in the second half", 0.25, 0.25, 0, 43260 },
        { "what jitter puts outside is cut", 0.0, 0.1, 0, 8652 },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_rotation_config_t  config = cn_rotation_defaults();
        uint64_t              left_s;

        identities = root_changes = 0;
        config.grace_ratio = cases[i].ratio;
        config.grace_jitter = cases[i].jitter;
        start(&config);
        turn_until(&identities, 1);
        left_s = (cn_rotation_identity(rotation)->expires * 1000
                  - cn_rotation_view(rotation).renew_at_ms) / 1000;
        unit_check(left_s >= cases[i].least_s && left_s <= cases[i].most_s, cases[i].name);
        cn_rotation_close(rotation);
        rotation = NULL;
        asked = 0;
    }
}


static void
each_time_another_comes(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();
    uint64_t              before;

    (void) state;
    config.grace_jitter = 0.0;
    config.look_ms = 100;                   /* it rests in many short looks at the clock */
    begins_s = 0;
    ends_s = 2;
    start(&config);
    turn_until(&identities, 1);
    before = cn_clock_wall_ms();
    assert_int_equal(cn_rotation_view(rotation).renew_at_ms,
                     (cn_rotation_identity(rotation)->expires - 1) * 1000);
    assert_string_equal(last_chain, "chain 1");
    assert_int_equal(root_changes, 1);
    turn_until(&identities, 2);
    assert_string_equal(last_chain, "chain 2");
    assert_bytes(cn_rotation_identity(rotation)->key_pem, "key 2");
    assert_true(cn_clock_wall_ms() - before <= 1000 + SLACK_MS);
    assert_int_equal(asked, 2);

    /* the roots are told when they are others */
    assert_int_equal(root_changes, 1);
    roots = "roots and others";
    turn_until(&identities, 3);
    assert_int_equal(root_changes, 2);
    assert_string_equal(last_roots, "roots and others");
    assert_int_equal(failures, 0);
    assert_int_equal(cn_rotation_view(rotation).renewals, 3);
}


static void
a_transient_failure_is_soon_tried_again(void **state)
{
    static const uint64_t  wanted_ms[] = { 20, 40, 80, 160, 200, 400, 500, 500 };
    cn_rotation_config_t   config = cn_rotation_defaults();

    (void) state;
    config.quick_ms = 20;
    config.slow_min_ms = 200;
    config.slow_max_ms = 500;
    answer = FAIL;
    start(&config);
    turn_until(&asked, 9);

    for (unsigned i = 0; i < CN_COUNT_OF(wanted_ms); i++) {
        uint64_t  least = i < 4 ? wanted_ms[i] * 9 / 10 : wanted_ms[i] * 8 / 10;

        /* never earlier; how much later is the machine's matter, within reason */
        assert_in_range(gap_ms(i + 1) + 1, least, wanted_ms[i] * 5 / 4 + SLACK_MS);
    }

    assert_string_equal(last_why, "it is away");
    assert_true(was_said("[warn]", "failures=5 again_in_ms="));
    assert_true(was_said("[warn]", "reason=\"it is away\""));
    assert_null(cn_rotation_identity(rotation));
    assert_int_equal(cn_rotation_view(rotation).failures, failures);

    /* success begins anew */
    answer = MAKE;
    turn_until(&identities, 1);
    assert_int_equal(cn_rotation_view(rotation).failures, 0);
    assert_string_equal(cn_rotation_view(rotation).why, "");
    answer = FAIL;
    asked = 0;
    cn_rotation_hurry(rotation);
    turn_until(&asked, 2);
    assert_in_range(gap_ms(1) + 1, 18, 22 + SLACK_MS);
}


static void
what_is_refused_is_tried_again_later(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();

    (void) state;
    config.quick_ms = 1;
    config.slow_min_ms = 150;
    config.slow_max_ms = 300;
    answer = REFUSE;
    start(&config);
    turn_until(&asked, 4);
    assert_in_range(gap_ms(1) + 1, 120, 180 + SLACK_MS);
    assert_in_range(gap_ms(2) + 1, 240, 360 + SLACK_MS);
    assert_in_range(gap_ms(3) + 1, 240, 360 + SLACK_MS);
    assert_string_equal(last_why, "who are you?");
}


static void
an_asking_that_hangs_is_given_up(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();

    (void) state;
    config.attempt_ms = 400;
    config.quick_ms = 10;
    answer = HANG;
    start(&config);
    turn_until(&asked, 1);
    turn_for(50);
    cn_rotation_hurry(rotation);            /* one at a time */
    assert_int_equal(asked, 1);
    turn_until(&failures, 1);
    assert_int_equal(cancelled, 1);
    assert_string_equal(last_why, "no answer within 400 ms");
    assert_true(was_said("[warn]", "no answer within 400 ms"));
    turn_until(&asked, 2);
    assert_in_range(gap_ms(1) + 1, 400 + 9, 411 + SLACK_MS);
    answer = MAKE;
    turn_until(&identities, 1);
}


static void
what_there_is_serves_while_its_renewal_fails(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();

    (void) state;
    config.quick_ms = 5;
    config.slow_min_ms = config.slow_max_ms = 20;
    start(&config);
    turn_until(&identities, 1);
    answer = FAIL;
    cn_rotation_hurry(rotation);
    turn_until(&failures, 8);
    assert_int_equal(identities, 1);
    assert_bytes(cn_rotation_identity(rotation)->chain_pem, "chain 1");
}


/* Between two looks at the time. */
static void
the_end_is_told_when_it_comes(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();

    (void) state;
    config.quick_count = 0;
    config.slow_min_ms = config.slow_max_ms = 60000;
    begins_s = -18;
    ends_s = 4;                             /* less than a tenth are left after 1..2 s */
    start(&config);
    turn_until(&identities, 1);
    answer = FAIL;
    cn_rotation_hurry(rotation);
    turn_until(&failures, 1);
    assert_false(was_said("[error]", ""));
    turn_for(2300);
    assert_true(was_said("[error]", "about to expire: left_s="));
    turn_for(2100);
    assert_true(was_said("[alert]", "serve with an expired certificate: expired_for_s="));
}


/* Ten seconds: a pause is a second at most, however often it failed. */
static void
a_short_life_has_short_pauses(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();

    (void) state;
    config.quick_count = 0;
    config.slow_min_ms = 400;
    config.slow_jitter = 0.0;
    begins_s = 0;
    ends_s = 10;
    start(&config);
    turn_until(&identities, 1);
    answer = REFUSE;
    cn_rotation_hurry(rotation);
    turn_until(&failures, 5);
    assert_in_range(gap_ms(2) + 1, 400, 400 + SLACK_MS);
    assert_in_range(gap_ms(3) + 1, 800, 800 + SLACK_MS);
    assert_in_range(gap_ms(4) + 1, 1000, 1000 + SLACK_MS);
    assert_in_range(gap_ms(5) + 1, 1000, 1000 + SLACK_MS);
}


static void
little_time_left_is_an_error_and_none_an_alert(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();

    (void) state;
    config.quick_count = 0;
    config.slow_min_ms = config.slow_max_ms = 10000;
    config.look_ms = 50;
    begins_s = -1000;
    ends_s = 500;
    start(&config);
    turn_until(&identities, 1);
    answer = FAIL;
    cn_rotation_hurry(rotation);
    turn_until(&failures, 1);
    turn_for(200);
    assert_false(was_said("[error]", ""));
    assert_false(was_said("[alert]", ""));
    cn_rotation_close(rotation);

    /* a tenth of its life is 100 s, and 2 are left: no harm while it may well be renewed */
    answer = MAKE;
    identities = root_changes = failures = asked = 0;
    begins_s = -998;
    ends_s = 2;
    start(&config);
    turn_until(&identities, 1);
    turn_for(120);
    assert_false(was_said("[error]", ""));
    answer = FAIL;
    cn_rotation_hurry(rotation);
    turn_until(&failures, 1);
    turn_for(120);
    assert_true(was_said("[error]", "about to expire: left_s="));
    assert_true(was_said("[error]", "failures=1 reason=\"it is away\""));
    assert_false(was_said("[alert]", ""));

    turn_for(2200);
    assert_true(was_said("[alert]", "serve with an expired certificate: expired_for_s="));
    assert_bytes(cn_rotation_identity(rotation)->chain_pem, "chain 1");

    /* again and again, though the log counts what comes too often within a second */
    log_len = 0;
    turn_for(1300);
    assert_true(was_said("[alert]", "failures=1 reason=\"it is away\""));

    answer = MAKE;
    ends_s = 86400;
    cn_rotation_hurry(rotation);
    turn_until(&identities, 2);
    cn_log_flush();
    log_len = 0;
    turn_for(200);
    assert_false(was_said("[alert]", "serve with"));
    assert_false(was_said("[error]", ""));
}


/* Our clock may be hours ahead, and a file may be the one of before. */
static void
a_grace_that_is_over_is_no_loop(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();

    (void) state;
    config.slow_min_ms = 100;
    config.slow_max_ms = 200;
    begins_s = -80000;
    ends_s = 1000;
    start(&config);
    turn_until(&asked, 3);
    assert_in_range(gap_ms(1) + 1, 200, 200 + SLACK_MS);
    assert_in_range(gap_ms(2) + 1, 200, 200 + SLACK_MS);
}


/* As a file that nobody renews. */
static void
the_same_at_the_end_is_an_error(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();
    cn_identity_t         same;

    (void) state;
    config.slow_min_ms = config.slow_max_ms = 20;
    config.look_ms = 20;
    begins_s = -1000;
    ends_s = 50;
    answer = HANG;
    start(&config);
    same = make(1);
    cn_rotation_maker_events.on_made(rotation, &same);
    turn_until(&asked, 2);
    same = make(1);
    cn_rotation_maker_events.on_made(rotation, &same);
    turn_for(100);
    assert_int_equal(identities, 1);
    assert_true(was_said("[error]", "about to expire: left_s="));
    assert_true(was_said("[error]", "failures=0 reason=\"none\""));
}


static void
the_same_again_is_no_event(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();
    cn_identity_t         same;

    (void) state;
    start(&config);
    turn_until(&identities, 1);
    same = make(1);
    cn_rotation_maker_events.on_made(rotation, &same);
    assert_null(same.key_pem.ptr);
    assert_int_equal(identities, 1);
    assert_int_equal(root_changes, 1);

    /* unasked is as good as asked */
    same = make(7);
    cn_rotation_maker_events.on_made(rotation, &same);
    assert_int_equal(identities, 2);
    assert_string_equal(last_chain, "chain 7");
}


static void
closing_cancels(void **state)
{
    cn_rotation_config_t  config = cn_rotation_defaults();

    (void) state;
    answer = HANG;
    start(&config);
    turn_for(20);
    cn_rotation_close(rotation);
    rotation = NULL;
    assert_int_equal(cancelled, 1);
    turn_for(20);
    assert_int_equal(identities + failures, 0);
    cn_rotation_close(NULL);
}


#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        CASE(it_is_renewed_when_half_its_life_is_left),
        CASE(ratio_and_jitter_can_be_set),
        CASE(each_time_another_comes),
        CASE(a_transient_failure_is_soon_tried_again),
        CASE(what_is_refused_is_tried_again_later),
        CASE(an_asking_that_hangs_is_given_up),
        CASE(what_there_is_serves_while_its_renewal_fails),
        CASE(the_end_is_told_when_it_comes),
        CASE(a_short_life_has_short_pauses),
        CASE(little_time_left_is_an_error_and_none_an_alert),
        CASE(a_grace_that_is_over_is_no_loop),
        CASE(the_same_at_the_end_is_an_error),
        CASE(the_same_again_is_no_event),
        CASE(closing_cancels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
