/* SPDX-License-Identifier: Apache-2.0 */

/* Connections are told to go one after another, each in its stages. */

#include "unit.h"

#include "base/clock.h"
#include "filter/drain.h"

#define TIME_MS  8000

/* The stage of a ticket when so much of the drain is over. */
static cn_drain_stage_t
stage_after(uint64_t elapsed_ms, cn_drain_ticket_t ticket)
{
    cn_drain_t  drain = { .active = false };

    cn_drain_begin(&drain, elapsed_ms, TIME_MS);

    return cn_drain_stage(&drain, &ticket);
}


static void
nobody_is_told_before_the_drain(void **state)
{
    cn_drain_t         drain = { .active = false };
    cn_drain_ticket_t  ticket = cn_drain_ticket(&drain);

    (void) state;

    assert_int_equal(cn_drain_stage(&drain, &ticket), CN_DRAIN_NOT_YET);
    assert_false(ticket.late);
}


static void
notices_are_spread_evenly_over_three_quarters(void **state)
{
    cn_drain_t         before = { .active = false };
    cn_drain_ticket_t  tickets[600];

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(tickets); i++) {
        tickets[i] = cn_drain_ticket(&before);
    }

    /* tenths of the window: a tenth of the connections more each time, give or take one in sixty */
    for (unsigned tenth = 0; tenth <= 10; tenth++) {
        size_t  told = 0;

        for (size_t i = 0; i < CN_COUNT_OF(tickets); i++) {
            told += stage_after(tenth * 600, tickets[i]) != CN_DRAIN_NOT_YET;
        }

        assert_in_range(told, tenth == 0 ? 0 : tenth * 60 - 10, tenth * 60 + 10);
    }
}


static void
the_final_word_follows_the_notice(void **state)
{
    cn_drain_t         drain = { .active = false };
    cn_drain_ticket_t  late;

    (void) state;

    cn_drain_begin(&drain, 0, TIME_MS);
    late = cn_drain_ticket(&drain);

    assert_true(late.late);
    assert_int_equal(stage_after(5990, late), CN_DRAIN_NOT_YET);
    assert_int_equal(stage_after(6000, late), CN_DRAIN_NOTICE);
    assert_int_equal(stage_after(6990, late), CN_DRAIN_NOTICE);
    assert_int_equal(stage_after(7000, late), CN_DRAIN_FINAL);
    assert_int_equal(stage_after(90000, late), CN_DRAIN_FINAL);
}


static void
no_time_at_all_tells_everybody_at_once(void **state)
{
    cn_drain_t         drain = { .active = false };
    cn_drain_ticket_t  ticket = cn_drain_ticket(&drain);

    (void) state;

    cn_drain_begin(&drain, 0, 0);
    assert_int_equal(cn_drain_stage(&drain, &ticket), CN_DRAIN_FINAL);
    assert_true(cn_drain_step_ms(&drain) >= 20);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(nobody_is_told_before_the_drain),
        cmocka_unit_test(notices_are_spread_evenly_over_three_quarters),
        cmocka_unit_test(the_final_word_follows_the_notice),
        cmocka_unit_test(no_time_at_all_tells_everybody_at_once),
    };

    cn_clock_update();

    return cmocka_run_group_tests(tests, NULL, NULL);
}
