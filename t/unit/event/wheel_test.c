/* SPDX-License-Identifier: Apache-2.0 */

/* The timer wheel, driven by a made-up clock. */

#include "unit.h"

#include "base/random.h"
#include "event/wheel.h"

typedef struct {
    cn_timer_t  timer;
    uint64_t    set_ms;
    uint64_t    fired_ms;
    unsigned    fired;
} alarm_t;

static cn_wheel_t  wheel;
static uint64_t    now_ms;


static void
ring(cn_timer_t *timer)
{
    alarm_t  *alarm = CN_CONTAINER_OF(timer, alarm_t, timer);

    assert_false(cn_timer_armed(timer));
    assert_true(timer->deadline_ms <= now_ms);
    alarm->fired++;
    alarm->fired_ms = now_ms;
}


static void
set(alarm_t *alarm, uint64_t delay_ms)
{
    alarm->timer.run = ring;
    alarm->set_ms = now_ms;
    cn_wheel_set(&wheel, &alarm->timer, now_ms + delay_ms, now_ms);
}


static void
advance_to(uint64_t ms)
{
    now_ms = ms;
    cn_wheel_run(&wheel, ms);
}


/* Jumps as a loop would: to the next time at which the wheel wants to be run, up to end_ms. */
static unsigned
sleep_until(uint64_t end_ms)
{
    unsigned  turns = 0;

    for (;;) {
        uint64_t  next = cn_wheel_next(&wheel);

        if (next > end_ms) {
            advance_to(end_ms);
            return turns;
        }

        advance_to(next > now_ms ? next : now_ms);
        turns++;
    }
}


static int
start(void **state)
{
    (void) state;
    now_ms = 1000000007;
    cn_wheel_init(&wheel, now_ms);

    return 0;
}


static void
an_empty_wheel_never_wakes(void **state)
{
    (void) state;

    assert_true(cn_wheel_next(&wheel) == CN_WHEEL_NEVER);
    advance_to(now_ms + 1000000);
    assert_true(cn_wheel_next(&wheel) == CN_WHEEL_NEVER);
}


static void
short_delays_are_exact(void **state)
{
    alarm_t  alarms[256] = { 0 };

    (void) state;

    for (uint64_t i = 0; i < 256; i++) {
        set(&alarms[i], i);
    }

    assert_int_equal(cn_wheel_next(&wheel), 0);
    (void) sleep_until(now_ms + 300);

    for (uint64_t i = 0; i < 256; i++) {
        assert_int_equal(alarms[i].fired, 1);
        assert_int_equal(alarms[i].fired_ms - alarms[i].set_ms, i);
    }
}


static void
long_delays_are_late_by_less_than_a_hundredth(void **state)
{
    static const uint64_t  delays[] = {
        256, 300, 1000, 4095, 4096, 5000, 60000, 65536, 3600000, 86400000, 31536000000,
        (uint64_t) 1 << 40,
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(delays); i++) {
        alarm_t   alarm = { .fired = 0 };
        unsigned  turns;

        set(&alarm, delays[i]);
        turns = sleep_until(now_ms + delays[i] * 2);
        assert_int_equal(alarm.fired, 1);
        assert_true(alarm.fired_ms >= alarm.set_ms + delays[i]);
        assert_true(alarm.fired_ms - alarm.set_ms - delays[i] <= delays[i] / 100);
        assert_true(turns <= CN_WHEEL_LEVELS);
    }
}


static void
a_moved_deadline_costs_no_move(void **state)
{
    alarm_t     alarm = { .fired = 0 };
    cn_list_t  *neighbour;

    (void) state;

    set(&alarm, 10000);
    neighbour = alarm.timer.link.next;

    /* activity each 100 ms for 9 s: the timer stays where it hangs */
    for (unsigned i = 0; i < 90; i++) {
        advance_to(now_ms + 100);
        set(&alarm, 10000);
        assert_ptr_equal(alarm.timer.link.next, neighbour);
    }

    (void) sleep_until(alarm.set_ms + 9999);
    assert_int_equal(alarm.fired, 0);
    (void) sleep_until(alarm.set_ms + 10100);
    assert_int_equal(alarm.fired, 1);
}


static void
an_earlier_deadline_moves_the_timer(void **state)
{
    alarm_t  alarm = { .fired = 0 };

    (void) state;

    set(&alarm, 100000);
    set(&alarm, 10);
    (void) sleep_until(now_ms + 10);
    assert_int_equal(alarm.fired, 1);
    assert_int_equal(alarm.fired_ms - alarm.set_ms, 10);
}


static void
a_cancelled_timer_is_silent_and_leaves_no_wake_up(void **state)
{
    alarm_t  alarm = { .fired = 0 }, other = { .fired = 0 };

    (void) state;

    set(&alarm, 50);
    set(&other, 5000);
    assert_true(cn_timer_armed(&alarm.timer));
    cn_timer_cancel(&alarm.timer);
    assert_false(cn_timer_armed(&alarm.timer));
    cn_timer_cancel(&alarm.timer);
    cn_timer_cancel(&other.timer);
    assert_true(cn_wheel_next(&wheel) == CN_WHEEL_NEVER);
    (void) sleep_until(now_ms + 10000);
    assert_int_equal(alarm.fired + other.fired, 0);

    set(&alarm, 50);
    (void) sleep_until(now_ms + 50);
    assert_int_equal(alarm.fired, 1);
}


static alarm_t  victim;

static void
cancel_victim(cn_timer_t *timer)
{
    CN_CONTAINER_OF(timer, alarm_t, timer)->fired++;
    cn_timer_cancel(&victim.timer);
}


static void
put_victim_off(cn_timer_t *timer)
{
    CN_CONTAINER_OF(timer, alarm_t, timer)->fired++;
    set(&victim, 100);
}


static void
a_timer_may_cancel_or_put_off_one_due_at_once(void **state)
{
    alarm_t  first = { .timer.run = cancel_victim };

    (void) state;

    victim = (alarm_t) { .fired = 0 };
    cn_wheel_set(&wheel, &first.timer, now_ms + 5, now_ms);
    set(&victim, 5);
    advance_to(now_ms + 5);
    assert_int_equal(first.fired, 1);
    assert_int_equal(victim.fired, 0);
    assert_false(cn_timer_armed(&victim.timer));

    first.timer.run = put_victim_off;
    cn_wheel_set(&wheel, &first.timer, now_ms + 5, now_ms);
    set(&victim, 5);
    advance_to(now_ms + 5);
    assert_int_equal(first.fired, 2);
    assert_int_equal(victim.fired, 0);
    (void) sleep_until(now_ms + 100);
    assert_int_equal(victim.fired, 1);
}


static void
ring_again_at_once(cn_timer_t *timer)
{
    ring(timer);
    cn_wheel_set(&wheel, timer, now_ms, now_ms);
}


static void
a_timer_set_for_now_within_a_run_waits_for_the_next(void **state)
{
    alarm_t  alarm = { .timer.run = ring_again_at_once };

    (void) state;

    cn_wheel_set(&wheel, &alarm.timer, now_ms, now_ms);
    advance_to(now_ms);
    assert_int_equal(alarm.fired, 1);
    assert_int_equal(cn_wheel_next(&wheel), 0);
    advance_to(now_ms);
    assert_int_equal(alarm.fired, 2);
    cn_timer_cancel(&alarm.timer);
}


static void
clear_disarms_all(void **state)
{
    alarm_t  alarms[3] = { 0 };

    (void) state;

    set(&alarms[0], 0);
    set(&alarms[1], 70);
    set(&alarms[2], 1000000);
    cn_wheel_clear(&wheel);

    for (size_t i = 0; i < 3; i++) {
        assert_false(cn_timer_armed(&alarms[i].timer));
    }

    assert_true(cn_wheel_next(&wheel) == CN_WHEEL_NEVER);
}


static uint64_t
random_delay(void)
{
    return cn_random_below((uint64_t) 1 << (1 + cn_random_below(22)));
}


/* Many timers, set, moved and cancelled at random, with sleeps of any length between. */
static void
no_timer_is_early_late_or_lost(void **state)
{
    static alarm_t  alarms[500];

    (void) state;
    memset(alarms, 0, sizeof(alarms));

    for (unsigned step = 0; step < 20000; step++) {
        alarm_t  *alarm = &alarms[cn_random_below(CN_COUNT_OF(alarms))];

        switch (cn_random_below(8)) {
        case 0:
            cn_timer_cancel(&alarm->timer);
            break;
        case 1:
            (void) sleep_until(now_ms + cn_random_below(2000));
            break;
        case 2:
            advance_to(now_ms + cn_random_below(20));
            break;
        default:
            set(alarm, random_delay());
        }

        for (size_t i = 0; step % 50 == 0 && i < CN_COUNT_OF(alarms); i++) {
            cn_timer_t  *timer = &alarms[i].timer;
            uint64_t     delay = timer->deadline_ms - alarms[i].set_ms;

            /* a hundredth of its delay, and what one step may oversleep */
            assert_true(!cn_timer_armed(timer)
                        || timer->deadline_ms + delay / 100 + 20 >= now_ms);
            assert_true(alarms[i].fired == 0 || alarms[i].fired_ms <= now_ms);
        }
    }

    (void) sleep_until(now_ms + 10000000);
    assert_true(cn_wheel_next(&wheel) == CN_WHEEL_NEVER);

    for (size_t i = 0; i < CN_COUNT_OF(alarms); i++) {
        assert_false(cn_timer_armed(&alarms[i].timer));
    }
}


#define TEST(name)  cmocka_unit_test_setup(name, start)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        TEST(an_empty_wheel_never_wakes),
        TEST(short_delays_are_exact),
        TEST(long_delays_are_late_by_less_than_a_hundredth),
        TEST(a_moved_deadline_costs_no_move),
        TEST(an_earlier_deadline_moves_the_timer),
        TEST(a_cancelled_timer_is_silent_and_leaves_no_wake_up),
        TEST(a_timer_may_cancel_or_put_off_one_due_at_once),
        TEST(a_timer_set_for_now_within_a_run_waits_for_the_next),
        TEST(clear_disarms_all),
        TEST(no_timer_is_early_late_or_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
