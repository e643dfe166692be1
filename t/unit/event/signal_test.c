/* SPDX-License-Identifier: Apache-2.0 */

/* Signals as events of the loop. */

#include "unit.h"

#include "event/signal.h"

#include <signal.h>
#include <unistd.h>

static cn_loop_t     *loop;
static cn_signals_t  *signals;
static unsigned       seen[65];
static bool           close_when_told;


static void
on_signal(void *owner, int number)
{
    assert_ptr_equal(owner, &seen);
    seen[number]++;

    if (close_when_told) {
        cn_signals_close(signals);
    }
}


static bool
is_blocked(int number)
{
    sigset_t  mask;

    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &mask), 0);

    return sigismember(&mask, number) == 1;
}


static int
open_loop(void **state)
{
    (void) state;
    loop = cn_loop_create();
    memset(seen, 0, sizeof(seen));
    close_when_told = false;

    return loop == NULL ? -1 : 0;
}


static int
close_loop(void **state)
{
    (void) state;
    cn_loop_destroy(loop);

    return 0;
}


static void
listed_signals_come_through_the_loop(void **state)
{
    static const int  numbers[] = { SIGHUP, SIGUSR1, 0 };

    (void) state;

    signals = cn_signals_open(loop, numbers, on_signal, &seen);
    assert_non_null(signals);
    assert_true(is_blocked(SIGHUP));
    assert_false(is_blocked(SIGUSR2));

    assert_int_equal(kill(getpid(), SIGHUP), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(seen[SIGHUP] + seen[SIGUSR1], 0);
    cn_loop_turn(loop, 1000);
    assert_int_equal(seen[SIGHUP], 1);
    assert_int_equal(seen[SIGUSR1], 1);

    cn_signals_close(signals);
    cn_loop_turn(loop, 0);
    assert_false(is_blocked(SIGHUP));
}


static void
a_broken_pipe_does_not_kill(void **state)
{
    static const int  numbers[] = { SIGHUP, 0 };

    int  ends[2];

    (void) state;

    (void) signal(SIGPIPE, SIG_DFL);
    signals = cn_signals_open(loop, numbers, on_signal, &seen);
    assert_non_null(signals);
    assert_int_equal(pipe(ends), 0);
    (void) close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1);
    (void) close(ends[1]);
    cn_signals_close(signals);
    cn_loop_turn(loop, 0);
}


static void
the_handler_may_close(void **state)
{
    static const int  numbers[] = { SIGUSR1, SIGUSR2, 0 };

    (void) state;

    close_when_told = true;
    (void) signal(SIGUSR1, SIG_IGN);
    (void) signal(SIGUSR2, SIG_IGN);
    signals = cn_signals_open(loop, numbers, on_signal, &seen);
    assert_non_null(signals);

    /* an ignored signal is dropped at once unless it is blocked: then it waits */
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(kill(getpid(), SIGUSR2), 0);
    cn_loop_turn(loop, 1000);
    cn_loop_turn(loop, 0);
    assert_int_equal(seen[SIGUSR1] + seen[SIGUSR2], 1);
    assert_false(is_blocked(SIGUSR1));
    (void) signal(SIGUSR1, SIG_DFL);
    (void) signal(SIGUSR2, SIG_DFL);
}


static void
a_number_that_is_no_signal_is_refused(void **state)
{
    static const int  numbers[] = { SIGHUP, 4711, 0 };

    (void) state;

    assert_null(cn_signals_open(loop, numbers, on_signal, &seen));
    assert_false(is_blocked(SIGHUP));
    cn_signals_close(NULL);
}


#define TEST(name)  cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        TEST(listed_signals_come_through_the_loop),
        TEST(a_broken_pipe_does_not_kill),
        TEST(the_handler_may_close),
        TEST(a_number_that_is_no_signal_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
