/* SPDX-License-Identifier: Apache-2.0 */

/* Maps from bytes to pointers. */

#include "unit.h"

#include "base/map.h"
#include "base/random.h"

static int  values[20000];


static void
what_was_set_is_found_until_it_is_removed(void **state)
{
    cn_map_t  *map = cn_map_create();

    (void) state;
    assert_non_null(map);

    assert_null(cn_map_get(map, CN_BYTES("a")));
    assert_null(cn_map_remove(map, CN_BYTES("a")));
    assert_int_equal(cn_map_set(map, CN_BYTES("a"), &values[1]), CN_OK);
    assert_int_equal(cn_map_set(map, CN_BYTES("b"), &values[2]), CN_OK);
    assert_ptr_equal(cn_map_get(map, CN_BYTES("a")), &values[1]);
    assert_int_equal(cn_map_set(map, CN_BYTES("a"), &values[3]), CN_OK);
    assert_ptr_equal(cn_map_get(map, CN_BYTES("a")), &values[3]);
    assert_int_equal(cn_map_count(map), 2);
    assert_ptr_equal(cn_map_remove(map, CN_BYTES("a")), &values[3]);
    assert_null(cn_map_get(map, CN_BYTES("a")));
    assert_null(cn_map_remove(map, CN_BYTES("a")));
    assert_ptr_equal(cn_map_get(map, CN_BYTES("b")), &values[2]);
    assert_int_equal(cn_map_count(map), 1);
    cn_map_destroy(map);
    cn_map_destroy(NULL);
}


static void
keys_are_any_octets_and_copied(void **state)
{
    cn_map_t  *map = cn_map_create();
    char       key[] = "key";

    (void) state;

    assert_int_equal(cn_map_set(map, cn_bytes_str(key), &values[1]), CN_OK);
    key[0] = 'x';
    assert_ptr_equal(cn_map_get(map, CN_BYTES("key")), &values[1]);
    assert_null(cn_map_get(map, CN_BYTES("xey")));

    assert_int_equal(cn_map_set(map, CN_BYTES_NONE, &values[2]), CN_OK);
    assert_int_equal(cn_map_set(map, CN_BYTES("a\0b"), &values[3]), CN_OK);
    assert_ptr_equal(cn_map_get(map, CN_BYTES("")), &values[2]);
    assert_ptr_equal(cn_map_get(map, CN_BYTES("a\0b")), &values[3]);
    assert_null(cn_map_get(map, CN_BYTES("a")));
    assert_null(cn_map_get(map, CN_BYTES("a\0c")));
    cn_map_destroy(map);
}


static void
a_walk_goes_in_insertion_order_and_may_remove_its_item(void **state)
{
    cn_map_t    *map = cn_map_create();
    char         key[20];
    size_t       at = 0, next = 0;
    cn_bytes_t   found;
    void        *value;

    (void) state;
    assert_false(cn_map_next(map, &at, &found, &value));

    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(cn_map_set(map, cn_bytes(key, cn_u64_print(i, key)), &values[i]), CN_OK);
    }

    /* setting anew keeps the place */
    assert_int_equal(cn_map_set(map, CN_BYTES("50"), &values[50]), CN_OK);

    while (cn_map_next(map, &at, &found, &value)) {
        assert_ptr_equal(value, &values[next]);
        assert_true(cn_bytes_equal(found, cn_bytes(key, cn_u64_print(next, key))));

        if (next % 3 != 0) {
            assert_ptr_equal(cn_map_remove(map, found), value);
        }

        next++;
    }

    assert_int_equal(next, 100);
    assert_int_equal(cn_map_count(map), 34);

    at = 0;
    next = 0;

    while (cn_map_next(map, &at, &found, &value)) {
        assert_ptr_equal(value, &values[next]);
        next += 3;
    }

    assert_int_equal(next, 102);
    cn_map_destroy(map);
}


/* Against a plain array, over many sets and removals, so that it is rebuilt both ways. */
static void
it_agrees_with_a_plain_table(void **state)
{
    cn_map_t  *map = cn_map_create();
    void      *table[500] = { NULL };
    size_t     count = 0;
    char       key[20];

    (void) state;

    for (unsigned step = 0; step < 50000; step++) {
        size_t      i = (size_t) cn_random_below(CN_COUNT_OF(table));
        cn_bytes_t  name = cn_bytes(key, cn_u64_print(i * 7919, key));

        assert_ptr_equal(cn_map_get(map, name), table[i]);

        if (cn_random_chance(step % 10000 < 5000 ? 700000 : 300000)) {
            count += table[i] == NULL;
            table[i] = &values[cn_random_below(CN_COUNT_OF(values))];
            assert_int_equal(cn_map_set(map, name, table[i]), CN_OK);

        } else {
            count -= table[i] != NULL;
            assert_ptr_equal(cn_map_remove(map, name), table[i]);
            table[i] = NULL;
        }

        assert_int_equal(cn_map_count(map), count);
    }

    cn_map_destroy(map);
}


static void
a_pool_destroys_its_maps(void **state)
{
    cn_pool_t  *pool = cn_pool_create(256, NULL);
    cn_map_t   *map = cn_map_create_in(pool);

    (void) state;
    assert_non_null(map);
    assert_int_equal(cn_map_set(map, CN_BYTES("a"), &values[0]), CN_OK);
    cn_pool_destroy(pool);          /* the leak checker sees what is left */
}


static void
a_pool_without_room_gives_no_map(void **state)
{
    cn_account_t   account = { .limit = 0 };
    cn_pool_t     *pool = cn_pool_create(256, &account);

    (void) state;

    account.limit = account.used;

    while (cn_pool_alloc(pool, 16) != NULL) {
        assert_non_null(pool);
    }

    assert_null(cn_map_create_in(pool));
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_was_set_is_found_until_it_is_removed),
        cmocka_unit_test(keys_are_any_octets_and_copied),
        cmocka_unit_test(a_walk_goes_in_insertion_order_and_may_remove_its_item),
        cmocka_unit_test(it_agrees_with_a_plain_table),
        cmocka_unit_test(a_pool_destroys_its_maps),
        cmocka_unit_test(a_pool_without_room_gives_no_map),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
