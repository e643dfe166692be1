/* SPDX-License-Identifier: Apache-2.0 */

/* Growing arrays and their stable sort. */

#include "unit.h"

#include "base/array.h"
#include "base/random.h"

typedef struct {
    uint32_t  key;
    uint32_t  place;            /* where it was put in */
    uint8_t   more[5];
} item_t;


static int
by_key(const void *a, const void *b)
{
    const item_t  *left = a, *right = b;

    return (left->key > right->key) - (left->key < right->key);
}


static void
items_are_zero_and_keep_their_values_while_it_grows(void **state)
{
    cn_pool_t   *pool = cn_pool_create(256, NULL);
    cn_array_t   array = CN_ARRAY_INIT(pool, item_t);
    uint32_t     seen = 0;

    (void) state;

    CN_ARRAY_EACH(&array, item_t, item) {
        assert_null(item);
    }

    for (uint32_t i = 0; i < 1000; i++) {
        item_t  *item = cn_array_add(&array);

        assert_non_null(item);
        assert_int_equal(item->key + item->place + item->more[4], 0);
        *item = (item_t) { .key = i, .place = ~i, .more = { 1, 2, 3, 4, 5 } };
    }

    assert_int_equal(array.count, 1000);
    assert_int_equal(CN_ARRAY_AT(&array, item_t, 500)->key, 500);

    CN_ARRAY_EACH(&array, item_t, item) {
        assert_int_equal(item->key, seen);
        seen++;
    }

    assert_int_equal(seen, 1000);
    cn_pool_destroy(pool);
}


static void
adding_without_memory_changes_nothing(void **state)
{
    cn_account_t   account = { .limit = 4000 };
    cn_pool_t     *pool = cn_pool_create(256, &account);
    cn_array_t     array = CN_ARRAY_INIT(pool, item_t), huge = CN_ARRAY_INIT(pool, item_t);
    size_t         count = 0;

    (void) state;

    while (cn_array_add(&array) != NULL) {
        count++;
    }

    assert_true(count > 8);
    assert_int_equal(array.count, count);
    assert_int_equal(array.capacity, count);

    /* a product that does not fit */
    huge.item_size = SIZE_MAX / 4;
    huge.capacity = huge.count = 4;
    assert_null(cn_array_add(&huge));
    assert_int_equal(huge.count, 4);
    cn_pool_destroy(pool);
}


static void
sort_is_stable_at_every_size(void **state)
{
    (void) state;

    for (uint32_t count = 0; count < 300; count += count < 20 ? 1 : 37) {
        cn_pool_t   *pool = cn_pool_create(256, NULL);
        cn_array_t   array = CN_ARRAY_INIT(pool, item_t);

        for (uint32_t i = 0; i < count; i++) {
            item_t  *item = cn_array_add(&array);

            assert_non_null(item);
            *item = (item_t) { .key = (uint32_t) cn_random_below(10), .place = i };
        }

        assert_int_equal(cn_array_sort(&array, by_key), CN_OK);
        assert_int_equal(array.count, count);

        for (uint32_t i = 1; i < count; i++) {
            const item_t  *before = CN_ARRAY_AT(&array, item_t, i - 1);
            const item_t  *item = CN_ARRAY_AT(&array, item_t, i);

            assert_true(before->key < item->key
                        || (before->key == item->key && before->place < item->place));
        }

        cn_pool_destroy(pool);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(items_are_zero_and_keep_their_values_while_it_grows),
        cmocka_unit_test(adding_without_memory_changes_nothing),
        cmocka_unit_test(sort_is_stable_at_every_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
