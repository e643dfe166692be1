/* SPDX-License-Identifier: Apache-2.0 */

/* The loop: order of a turn's phases, tasks, watches, waiting. */

#include "unit.h"

#include "base/clock.h"
#include "event/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    cn_task_t        task;
    char             name;
    cn_turn_phase_t  then;          /* when repeat > 0: posts `next` there */
    cn_task_t       *next;
    unsigned         repeat;
} step_t;

static cn_loop_t  *loop;
static char        trace[256];
static size_t      traced;


static void
note(char name)
{
    assert_true(traced + 1 < sizeof(trace));
    trace[traced++] = name;
    trace[traced] = '\0';
}


static void
run_step(cn_task_t *task)
{
    step_t  *step = CN_CONTAINER_OF(task, step_t, task);

    note(step->name);

    if (step->repeat > 0) {
        step->repeat--;
        cn_loop_post(loop, step->then, step->next != NULL ? step->next : task);
    }
}


static int
open_loop(void **state)
{
    (void) state;
    loop = cn_loop_create();
    traced = 0;
    trace[0] = '\0';

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
phases_run_in_their_order(void **state)
{
    step_t  steps[4] = {
        { .task.run = run_step, .name = 'r' }, { .task.run = run_step, .name = 'g' },
        { .task.run = run_step, .name = 'w' }, { .task.run = run_step, .name = 'f' },
    };

    (void) state;

    for (int i = CN_PHASE_COUNT - 1; i >= 0; i--) {
        cn_loop_post(loop, (cn_turn_phase_t) i, &steps[i].task);
    }

    cn_loop_turn(loop, 1000);
    assert_string_equal(trace, "rgwf");
    cn_loop_turn(loop, 0);
    assert_string_equal(trace, "rgwf");
}


static void
ready_and_gather_repeat_before_write(void **state)
{
    step_t  ready = { .task.run = run_step, .name = 'r', .then = CN_PHASE_GATHER, .repeat = 3 };
    step_t  gather = { .task.run = run_step, .name = 'g', .then = CN_PHASE_READY, .repeat = 3 };
    step_t  write = { .task.run = run_step, .name = 'w' };

    (void) state;

    ready.next = &gather.task;
    gather.next = &ready.task;
    cn_loop_post(loop, CN_PHASE_WRITE, &write.task);
    cn_loop_post(loop, CN_PHASE_READY, &ready.task);
    cn_loop_turn(loop, 0);
    assert_string_equal(trace, "rgrgrgrw");
}


static void
write_reaches_the_layer_below_in_the_same_turn(void **state)
{
    step_t  below = { .task.run = run_step, .name = 'b' };
    step_t  above = { .task.run = run_step, .name = 'a', .then = CN_PHASE_WRITE,
                      .next = &below.task, .repeat = 1 };

    (void) state;

    cn_loop_post(loop, CN_PHASE_WRITE, &above.task);
    cn_loop_turn(loop, 0);
    assert_string_equal(trace, "ab");
}


static void
what_write_makes_ready_runs_in_the_next_turn(void **state)
{
    step_t    ready = { .task.run = run_step, .name = 'r' };
    step_t    write = { .task.run = run_step, .name = 'w', .then = CN_PHASE_READY,
                        .next = &ready.task, .repeat = 1 };
    uint64_t  before;

    (void) state;

    cn_loop_post(loop, CN_PHASE_WRITE, &write.task);
    cn_loop_turn(loop, 0);
    assert_string_equal(trace, "w");

    before = cn_clock_us_now();
    cn_loop_turn(loop, 5000);
    assert_string_equal(trace, "wr");
    assert_true(cn_clock_us_now() - before < 2000000);
}


static void
a_queued_task_stays_where_it_is_and_can_be_cancelled(void **state)
{
    step_t  step = { .task.run = run_step, .name = 's' }, other = { .task.run = run_step };

    (void) state;

    cn_task_cancel(&step.task);
    cn_loop_post(loop, CN_PHASE_READY, &step.task);
    cn_loop_post(loop, CN_PHASE_READY, &step.task);
    cn_loop_post(loop, CN_PHASE_FREE, &step.task);
    cn_loop_post(loop, CN_PHASE_READY, &other.task);
    cn_task_cancel(&other.task);
    cn_loop_turn(loop, 0);
    assert_string_equal(trace, "s");
}


static cn_task_t  endless, late;
static unsigned   endless_runs, late_runs;

static void
run_endless(cn_task_t *task)
{
    endless_runs++;
    cn_loop_post(loop, CN_PHASE_READY, task);
}


static void
run_late(cn_task_t *task)
{
    (void) task;
    late_runs++;
}


static void
endless_ready_work_is_cut_and_starves_nobody(void **state)
{
    (void) state;

    endless = (cn_task_t) { .run = run_endless };
    late = (cn_task_t) { .run = run_late };
    endless_runs = late_runs = 0;
    cn_loop_post(loop, CN_PHASE_READY, &endless);

    for (unsigned turn = 1; turn <= 3; turn++) {
        cn_loop_post(loop, CN_PHASE_GATHER, &late);
        cn_loop_turn(loop, 1000);
        assert_int_equal(late_runs, turn);
        cn_loop_post(loop, CN_PHASE_WRITE, &late);
        cn_loop_turn(loop, 1000);
        late_runs--;
    }

    assert_in_range(endless_runs, 6, 6 * 20000);
    cn_task_cancel(&endless);
}


static void
run_gather_again(cn_task_t *task)
{
    endless_runs++;
    cn_loop_post(loop, CN_PHASE_GATHER, task);
}


static void
endless_gathering_is_cut_too(void **state)
{
    (void) state;

    endless = (cn_task_t) { .run = run_gather_again };
    endless_runs = 0;
    cn_loop_post(loop, CN_PHASE_GATHER, &endless);
    cn_loop_turn(loop, 0);
    assert_in_range(endless_runs, 1, 20000);
    cn_task_cancel(&endless);
}


typedef struct {
    cn_watch_t   watch;
    unsigned     seen;              /* all events told so far */
    unsigned     times;
    cn_watch_t  *removes;           /* what it removes when told */
} seer_t;

static void
see(cn_watch_t *watch, unsigned events)
{
    seer_t  *seer = CN_CONTAINER_OF(watch, seer_t, watch);

    seer->seen |= events;
    seer->times++;

    if (seer->removes != NULL) {
        cn_watch_remove(loop, seer->removes);
    }
}


static void
make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}


static void
a_watch_tells_what_it_wants_while_it_is_so(void **state)
{
    seer_t  seer = { .watch.ready = see };
    int     fds[2];
    char    octet;

    (void) state;
    make_pair(fds);
    seer.watch.fd = fds[0];

    assert_int_equal(cn_watch_set(loop, &seer.watch, CN_READABLE), CN_OK);
    cn_loop_turn(loop, 0);
    assert_int_equal(seer.times, 0);

    assert_int_equal(write(fds[1], "x", 1), 1);
    cn_loop_turn(loop, 1000);
    cn_loop_turn(loop, 1000);
    assert_int_equal(seer.times, 2);
    assert_int_equal(seer.seen, CN_READABLE);
    assert_int_equal(read(fds[0], &octet, 1), 1);
    cn_loop_turn(loop, 0);
    assert_int_equal(seer.times, 2);

    assert_int_equal(cn_watch_set(loop, &seer.watch, CN_READABLE | CN_WRITABLE), CN_OK);
    cn_loop_turn(loop, 1000);
    assert_int_equal(seer.seen, CN_READABLE | CN_WRITABLE);
    assert_int_equal(seer.times, 3);

    assert_int_equal(cn_watch_set(loop, &seer.watch, 0), CN_OK);
    assert_int_equal(seer.watch.want, 0);
    cn_loop_turn(loop, 0);
    assert_int_equal(seer.times, 3);
    cn_watch_remove(loop, &seer.watch);
    (void) close(fds[0]);
    (void) close(fds[1]);
}


static void
a_hang_up_is_told(void **state)
{
    seer_t  reader = { .watch.ready = see }, writer = { .watch.ready = see };
    int     a[2], b[2];

    (void) state;
    make_pair(a);
    make_pair(b);
    reader.watch.fd = a[0];
    writer.watch.fd = b[0];

    assert_int_equal(cn_watch_set(loop, &reader.watch, CN_READABLE), CN_OK);
    assert_int_equal(shutdown(a[1], SHUT_WR), 0);
    cn_loop_turn(loop, 1000);
    assert_int_equal(reader.seen, CN_READABLE | CN_HANGUP);

    /* who does not read hears nothing of a half-close, but of the end */
    cn_watch_remove(loop, &reader.watch);
    assert_int_equal(cn_watch_set(loop, &writer.watch, CN_WRITABLE), CN_OK);
    assert_int_equal(shutdown(b[1], SHUT_WR), 0);
    cn_loop_turn(loop, 1000);
    assert_int_equal(writer.seen, CN_WRITABLE);
    (void) close(b[1]);
    cn_loop_turn(loop, 1000);
    assert_true(writer.seen & CN_HANGUP);

    cn_watch_remove(loop, &writer.watch);
    (void) close(a[0]);
    (void) close(a[1]);
    (void) close(b[0]);
}


static void
a_watch_removed_by_another_of_the_turn_is_told_nothing(void **state)
{
    seer_t  seers[2] = { { .watch.ready = see }, { .watch.ready = see } };
    int     fds[2][2];

    (void) state;

    for (size_t i = 0; i < 2; i++) {
        make_pair(fds[i]);
        seers[i].watch.fd = fds[i][0];
        seers[i].removes = &seers[1 - i].watch;
        assert_int_equal(cn_watch_set(loop, &seers[i].watch, CN_READABLE), CN_OK);
        assert_int_equal(write(fds[i][1], "x", 1), 1);
    }

    cn_loop_turn(loop, 1000);
    assert_int_equal(seers[0].times + seers[1].times, 1);

    for (size_t i = 0; i < 2; i++) {
        cn_watch_remove(loop, &seers[i].watch);
        (void) close(fds[i][0]);
        (void) close(fds[i][1]);
    }
}


static void
an_exclusive_watch_can_be_changed(void **state)
{
    seer_t  seer = { .watch = { .ready = see, .exclusive = true } };
    int     fds[2];

    (void) state;
    make_pair(fds);
    seer.watch.fd = fds[0];

    assert_int_equal(cn_watch_set(loop, &seer.watch, CN_READABLE), CN_OK);
    assert_int_equal(cn_watch_set(loop, &seer.watch, CN_WRITABLE), CN_OK);
    cn_loop_turn(loop, 1000);
    assert_int_equal(seer.seen, CN_WRITABLE);
    cn_watch_remove(loop, &seer.watch);
    (void) close(fds[0]);
    (void) close(fds[1]);
}


static void
what_epoll_cannot_watch_is_an_error(void **state)
{
    seer_t  seer = { .watch = { .ready = see, .fd = -1 } };

    (void) state;

    assert_int_equal(cn_watch_set(loop, &seer.watch, CN_READABLE), CN_ERR_IO);
    assert_int_equal(seer.watch.want, 0);

    seer.watch.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(seer.watch.fd >= 0);
    assert_int_equal(cn_watch_set(loop, &seer.watch, CN_READABLE), CN_ERR_IO);
    assert_int_equal(seer.watch.want, 0);
    (void) close(seer.watch.fd);
}


typedef struct {
    cn_timer_t  timer;
    uint64_t    fired_us;
} alarm_t;

static void
ring(cn_timer_t *timer)
{
    CN_CONTAINER_OF(timer, alarm_t, timer)->fired_us = cn_clock_us_now();
    note('t');
}


static void
the_wait_ends_at_the_next_deadline(void **state)
{
    alarm_t   alarm = { .timer.run = ring }, never = { .timer.run = ring };
    uint64_t  start_us = cn_clock_us_now();

    (void) state;

    cn_clock_update();
    cn_timer_set(loop, &alarm.timer, 30);
    cn_timer_set(loop, &never.timer, UINT64_MAX);
    assert_true(cn_timer_armed(&alarm.timer));

    while (alarm.fired_us == 0) {
        cn_loop_turn(loop, UINT32_MAX);
    }

    assert_true(alarm.fired_us - start_us >= 30000);
    assert_true(cn_loop_stats(loop)->turns < 20);
    assert_true(cn_timer_armed(&never.timer));
    cn_timer_cancel(&never.timer);
}


static void
the_wait_is_no_longer_than_asked(void **state)
{
    alarm_t   alarm = { .timer.run = ring };
    uint64_t  start_us = cn_clock_us_now();

    (void) state;

    cn_timer_set(loop, &alarm.timer, 60000);
    cn_loop_turn(loop, 20);
    assert_in_range(cn_clock_us_now() - start_us, 19000, 10000000);
    assert_int_equal(alarm.fired_us, 0);
    cn_timer_cancel(&alarm.timer);
}


static void
timers_run_after_watches_and_before_ready_tasks(void **state)
{
    alarm_t  alarm = { .timer.run = ring };
    step_t   step = { .task.run = run_step, .name = 'r' };

    (void) state;

    cn_timer_set(loop, &alarm.timer, 0);
    cn_loop_post(loop, CN_PHASE_READY, &step.task);
    cn_loop_turn(loop, 1000);
    assert_string_equal(trace, "tr");
}


static unsigned  waits;

static void
stop_at_third(void *arg)
{
    assert_ptr_equal(arg, &waits);
    waits++;

    if (waits == 3) {
        cn_loop_stop(loop);
    }
}


static void
run_goes_on_until_stop(void **state)
{
    (void) state;

    endless = (cn_task_t) { .run = run_endless };
    cn_loop_post(loop, CN_PHASE_READY, &endless);
    waits = 0;
    cn_loop_run(loop, stop_at_third, &waits);
    assert_int_equal(waits, 3);
    assert_int_equal(cn_loop_stats(loop)->turns, 3);

    /* and can be run again */
    waits = 0;
    cn_loop_run(loop, stop_at_third, &waits);
    assert_int_equal(waits, 3);
    cn_task_cancel(&endless);
}


static void
busy(cn_task_t *task)
{
    uint64_t  start_us = cn_clock_us_now();

    (void) task;

    while (cn_clock_us_now() - start_us < 2000) {
        continue;
    }
}


static void
the_longest_turn_is_told_without_its_wait(void **state)
{
    cn_task_t  task = { .run = busy };

    (void) state;

    cn_loop_post(loop, CN_PHASE_READY, &task);
    cn_loop_turn(loop, 0);
    assert_true(cn_loop_stats(loop)->longest_turn_us >= 2000);
    assert_true(cn_loop_stats(loop)->busy_us >= 2000);
    cn_loop_reset_longest(loop);
    assert_int_equal(cn_loop_stats(loop)->longest_turn_us, 0);
    cn_loop_turn(loop, 50);
    assert_true(cn_loop_stats(loop)->longest_turn_us < 50000);
}


/* What was closed: it waits for its peer's end, and is freed after that. */
typedef struct {
    cn_watch_t   watch;
    cn_task_t    free;
    bool         freed;
} closed_t;


static void
set_freed(cn_task_t *task)
{
    CN_CONTAINER_OF(task, closed_t, free)->freed = true;
}


static void
let_go(cn_watch_t *watch, unsigned events)
{
    closed_t  *closed = CN_CONTAINER_OF(watch, closed_t, watch);

    (void) events;
    cn_watch_remove(loop, watch);
    cn_loop_post(loop, CN_PHASE_FREE, &closed->free);
}


static void
finish_turns_until_nothing_is_left(void **state)
{
    closed_t  closed = { .watch.ready = let_go, .free.run = set_freed };
    int       pair[2];

    (void) state;
    make_pair(pair);
    closed.watch.fd = pair[0];

    assert_true(cn_loop_finish(loop, 0));
    assert_int_equal(cn_watch_set(loop, &closed.watch, CN_READABLE), CN_OK);
    assert_false(cn_loop_finish(loop, 10));
    assert_false(closed.freed);

    (void) close(pair[1]);
    assert_true(cn_loop_finish(loop, 1000));
    assert_true(closed.freed);
    (void) close(pair[0]);
}


static void
destroy_unlinks_what_is_left(void **state)
{
    cn_loop_t  *other = cn_loop_create();
    alarm_t     alarm = { .timer.run = ring };
    step_t      step = { .task.run = run_step };

    (void) state;
    assert_non_null(other);
    cn_timer_set(other, &alarm.timer, 1000);
    cn_loop_post(other, CN_PHASE_FREE, &step.task);
    cn_loop_destroy(other);
    assert_false(cn_timer_armed(&alarm.timer));
    cn_timer_cancel(&alarm.timer);
    cn_task_cancel(&step.task);
    cn_loop_destroy(NULL);
}


#define TEST(name)  cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        TEST(phases_run_in_their_order),
        TEST(ready_and_gather_repeat_before_write),
        TEST(write_reaches_the_layer_below_in_the_same_turn),
        TEST(what_write_makes_ready_runs_in_the_next_turn),
        TEST(a_queued_task_stays_where_it_is_and_can_be_cancelled),
        TEST(endless_ready_work_is_cut_and_starves_nobody),
        TEST(endless_gathering_is_cut_too),
        TEST(a_watch_tells_what_it_wants_while_it_is_so),
        TEST(a_hang_up_is_told),
        TEST(a_watch_removed_by_another_of_the_turn_is_told_nothing),
        TEST(an_exclusive_watch_can_be_changed),
        TEST(what_epoll_cannot_watch_is_an_error),
        TEST(the_wait_ends_at_the_next_deadline),
        TEST(the_wait_is_no_longer_than_asked),
        TEST(timers_run_after_watches_and_before_ready_tasks),
        TEST(run_goes_on_until_stop),
        TEST(the_longest_turn_is_told_without_its_wait),
        TEST(finish_turns_until_nothing_is_left),
        TEST(destroy_unlinks_what_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
