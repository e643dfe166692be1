/* SPDX-License-Identifier: Apache-2.0 */

/* Work that rests is done in slices, whatever its depth, and once. */

#include "unit.h"

#include "base/clock.h"
#include "base/fiber.h"

typedef struct {
    unsigned  depth;
    unsigned  leaves;
    unsigned  slices;
    bool      done;
} work_t;


/* A tree of calls, each of which has something on its stack that must be there afterwards. */
static unsigned
climb(work_t *work, unsigned depth)
{
    volatile uint8_t  mine[256];
    unsigned          sum = 1;

    memset((void *) (uintptr_t) mine, (int) depth, sizeof(mine));
    cn_fiber_rest();

    if (depth < work->depth) {
        sum += climb(work, depth + 1);
        sum += climb(work, depth + 1);

    } else {
        work->leaves++;
    }

    for (size_t i = 0; i < sizeof(mine); i++) {
        assert_int_equal(mine[i], depth);
    }

    return sum;
}


static void
work_on(void *arg)
{
    work_t  *work = arg;

    assert_int_equal(climb(work, 0), (2u << work->depth) - 1);
    work->done = true;
}


static void
work_rests_and_goes_on(void **state)
{
    work_t       work = { .depth = 12 };
    cn_fiber_t  *fiber = cn_fiber_create(work_on, &work);

    (void) state;

    assert_non_null(fiber);
    assert_int_equal(work.leaves, 0);

    /* without a budget it rests at each look at the clock that shows a later time */
    while (!cn_fiber_run(fiber, 0)) {
        assert_false(work.done);
        work.slices++;
        assert_true(work.slices < 1000000);
    }

    assert_true(work.done);
    assert_int_equal(work.leaves, 1u << 12);
    assert_true(work.slices > 10);
    assert_true(cn_fiber_run(fiber, 0));
    cn_fiber_destroy(fiber);
}


static void
work_within_its_budget_is_one_slice(void **state)
{
    work_t       work = { .depth = 4 };
    cn_fiber_t  *fiber = cn_fiber_create(work_on, &work);

    (void) state;

    assert_non_null(fiber);
    assert_true(cn_fiber_run(fiber, 60000000));
    assert_true(work.done);
    cn_fiber_destroy(fiber);
}


static void
two_fibers_take_turns(void **state)
{
    work_t       first = { .depth = 10 };
    work_t       second = { .depth = 11 };
    cn_fiber_t  *a = cn_fiber_create(work_on, &first);
    cn_fiber_t  *b = cn_fiber_create(work_on, &second);
    bool         over_a = false;
    bool         over_b = false;

    (void) state;

    assert_non_null(a);
    assert_non_null(b);

    while (!over_a || !over_b) {
        over_a = cn_fiber_run(a, 0);
        over_b = cn_fiber_run(b, 0);
    }

    assert_int_equal(first.leaves, 1u << 10);
    assert_int_equal(second.leaves, 1u << 11);
    cn_fiber_destroy(a);
    cn_fiber_destroy(b);
}


static void
resting_outside_a_fiber_does_nothing(void **state)
{
    work_t  work = { .depth = 3 };

    (void) state;

    work_on(&work);
    assert_int_equal(work.leaves, 8);
    cn_fiber_destroy(NULL);
}


static void
one_that_is_not_over_can_be_dropped(void **state)
{
    work_t       work = { .depth = 12 };
    cn_fiber_t  *fiber = cn_fiber_create(work_on, &work);

    (void) state;

    assert_non_null(fiber);
    assert_false(cn_fiber_run(fiber, 0));
    cn_fiber_destroy(fiber);
    assert_false(work.done);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(work_rests_and_goes_on),
        cmocka_unit_test(work_within_its_budget_is_one_slice),
        cmocka_unit_test(two_fibers_take_turns),
        cmocka_unit_test(resting_outside_a_fiber_does_nothing),
        cmocka_unit_test(one_that_is_not_over_can_be_dropped),
    };

    cn_clock_update();

    return cmocka_run_group_tests(tests, NULL, NULL);
}
