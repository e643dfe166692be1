/* SPDX-License-Identifier: Apache-2.0 */

/* Accounts, blocks and pools. */

#include "unit.h"

#include "base/pool.h"


static void
sums_and_products_are_checked(void **state)
{
    size_t  result;

    (void) state;

    assert_int_equal(cn_size_add(1, 2, &result), CN_OK);
    assert_int_equal(result, 3);
    assert_int_equal(cn_size_add(SIZE_MAX, 0, &result), CN_OK);
    assert_int_equal(cn_size_add(SIZE_MAX, 1, &result), CN_ERR_RANGE);
    assert_int_equal(cn_size_mul(6, 7, &result), CN_OK);
    assert_int_equal(result, 42);
    assert_int_equal(cn_size_mul(SIZE_MAX, 0, &result), CN_OK);
    assert_int_equal(cn_size_mul(SIZE_MAX / 2, 3, &result), CN_ERR_RANGE);
}


static void
the_heap_gives_even_nothing_a_place(void **state)
{
    uint8_t  *ptr = cn_alloc_zero(64);

    (void) state;
    assert_non_null(ptr);

    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(ptr[i], 0);
    }

    ptr[0] = 7;
    ptr = cn_realloc(ptr, 4096);
    assert_non_null(ptr);
    assert_int_equal(ptr[0], 7);
    cn_free(ptr);

    ptr = cn_alloc(0);
    assert_non_null(ptr);
    cn_free(ptr);
    cn_free(NULL);
}


static void
an_account_charges_its_parents_or_nobody(void **state)
{
    cn_account_t  worker = { .limit = 100 };
    cn_account_t  conn = { .parent = &worker, .limit = 60 };
    cn_account_t  other = { .parent = &worker };

    (void) state;

    assert_int_equal(cn_account_charge(NULL, 1000), CN_OK);
    assert_int_equal(cn_account_charge(&conn, 60), CN_OK);
    assert_int_equal(cn_account_charge(&conn, 1), CN_ERR_LIMIT);
    assert_int_equal(conn.used, 60);
    assert_int_equal(worker.used, 60);

    assert_int_equal(cn_account_charge(&other, 41), CN_ERR_LIMIT);
    assert_int_equal(other.used, 0);
    assert_int_equal(cn_account_charge(&other, 40), CN_OK);
    assert_int_equal(worker.used, 100);

    cn_account_release(&conn, 60);
    cn_account_release(&other, 40);
    assert_int_equal(conn.used + other.used + worker.used, 0);
    assert_int_equal(worker.peak, 100);
    assert_int_equal(conn.peak, 60);
    cn_account_release(NULL, 5);
}


static void
a_charge_that_would_wrap_is_refused(void **state)
{
    cn_account_t  account = { .limit = 0 };

    (void) state;

    assert_int_equal(cn_account_charge(&account, SIZE_MAX), CN_OK);
    assert_int_equal(cn_account_charge(&account, 1), CN_ERR_LIMIT);
    cn_account_release(&account, SIZE_MAX);
}


static void
items_are_aligned_and_apart(void **state)
{
    cn_account_t  account = { .limit = 0 };
    uint8_t      *items[500];

    (void) state;

    for (size_t first = 0; first < 3000; first = first * 2 + 100) {
        cn_pool_t  *pool = cn_pool_create(first, &account);

        assert_non_null(pool);

        for (size_t i = 0; i < 500; i++) {
            uint8_t  *odd = cn_pool_octets(pool, i % 5);

            items[i] = cn_pool_alloc(pool, i);
            assert_non_null(odd);
            assert_non_null(items[i]);
            assert_int_equal((uintptr_t) items[i] % 16, 0);
            memset(odd, 0xff, i % 5);
            memset(items[i], (int) (i & 0xff), i);
        }

        for (size_t i = 1; i < 500; i++) {
            assert_int_equal(items[i][0], i & 0xff);
            assert_int_equal(items[i][i - 1], i & 0xff);
        }

        assert_int_equal(account.used, cn_pool_size(pool));
        cn_pool_destroy(pool);
        assert_int_equal(account.used, 0);
    }
}


static void
zeroed_items_are_zero_in_used_memory(void **state)
{
    (void) state;

    for (unsigned round = 0; round < 3; round++) {
        cn_pool_t  *pool = cn_pool_create(512, NULL);

        for (unsigned i = 0; i < 100; i++) {
            uint8_t  *item = cn_pool_alloc_zero(pool, 33);

            assert_non_null(item);

            for (size_t j = 0; j < 33; j++) {
                assert_int_equal(item[j], 0);
            }

            memset(item, 0xee, 33);
        }

        cn_pool_destroy(pool);
    }
}


static void
a_large_item_leaves_the_current_chunk_in_use(void **state)
{
    cn_pool_t  *pool = cn_pool_create(1024, NULL);
    uint8_t    *small, *large, *next;

    (void) state;

    small = cn_pool_alloc(pool, 16);
    large = cn_pool_alloc(pool, 300000);
    next = cn_pool_alloc(pool, 16);
    assert_non_null(small);
    assert_non_null(large);
    assert_true(next > small && (size_t) (next - small) < 1024);
    memset(large, 1, 300000);
    assert_true(cn_pool_size(pool) > 300000);
    cn_pool_destroy(pool);
}


static void
a_pool_keeps_its_account_s_limit(void **state)
{
    cn_account_t  account = { .limit = 20000 };
    cn_pool_t    *pool = cn_pool_create(1024, &account);
    cn_bytes_t    copy;
    size_t        used;

    (void) state;
    assert_non_null(pool);

    used = account.used;
    assert_null(cn_pool_alloc(pool, 20000));
    assert_null(cn_pool_alloc_zero(pool, 20000));
    assert_null(cn_pool_octets(pool, 20000));
    assert_null(cn_pool_alloc(pool, SIZE_MAX));
    assert_null(cn_pool_alloc(pool, SIZE_MAX - 20));
    assert_int_equal(cn_pool_copy(pool, cn_bytes("", 30000), &copy), CN_ERR_MEMORY);
    assert_int_equal(copy.len, 0);
    assert_int_equal(account.used, used);

    while (cn_pool_alloc(pool, 700) != NULL) {
        assert_true(account.used <= 20000);
    }

    cn_pool_destroy(pool);
    assert_int_equal(account.used, 0);

    account.limit = 100;
    assert_null(cn_pool_create(1024, &account));
    assert_int_equal(account.used, 0);
}


static void
strings_are_copied_and_printed(void **state)
{
    cn_pool_t   *pool = cn_pool_create(256, NULL);
    cn_bytes_t   copy;
    char        *text;

    (void) state;

    assert_int_equal(cn_pool_copy(pool, CN_BYTES("abc\0d"), &copy), CN_OK);
    assert_bytes(copy, "abc\0d");
    assert_int_equal(cn_pool_copy(pool, CN_BYTES_NONE, &copy), CN_OK);
    assert_int_equal(copy.len, 0);
    assert_string_equal(cn_pool_str(pool, CN_BYTES("host")), "host");
    assert_string_equal(cn_pool_str(pool, CN_BYTES_NONE), "");
    assert_string_equal(cn_pool_printf(pool, "%s:%d", "host", 80), "host:80");
    assert_string_equal(cn_pool_printf(pool, "%s", ""), "");
    text = cn_pool_printf(pool, "%*d", 5000, 1);
    assert_int_equal(strlen(text), 5000);
    assert_null(cn_pool_str(pool, cn_bytes("", SIZE_MAX)));
    cn_pool_destroy(pool);
}


static char    order[8];
static size_t  ran;

static void
note(void *arg)
{
    order[ran++] = *(const char *) arg;
}


static void
note_and_add(void *arg)
{
    static char  late = 'l';

    note("m");
    assert_int_equal(cn_pool_on_destroy(arg, note, &late), CN_OK);
}


static void
cleanups_run_last_added_first_and_may_add_one(void **state)
{
    cn_pool_t  *pool = cn_pool_create(256, NULL);
    char        first = 'a', last = 'z';

    (void) state;

    ran = 0;
    assert_int_equal(cn_pool_on_destroy(pool, note, &first), CN_OK);
    assert_int_equal(cn_pool_on_destroy(pool, note_and_add, pool), CN_OK);
    assert_int_equal(cn_pool_on_destroy(pool, note, &last), CN_OK);
    cn_pool_destroy(pool);
    assert_bytes(cn_bytes(order, ran), "zmla");
    cn_pool_destroy(NULL);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(sums_and_products_are_checked),
        cmocka_unit_test(the_heap_gives_even_nothing_a_place),
        cmocka_unit_test(an_account_charges_its_parents_or_nobody),
        cmocka_unit_test(a_charge_that_would_wrap_is_refused),
        cmocka_unit_test(items_are_aligned_and_apart),
        cmocka_unit_test(zeroed_items_are_zero_in_used_memory),
        cmocka_unit_test(a_large_item_leaves_the_current_chunk_in_use),
        cmocka_unit_test(a_pool_keeps_its_account_s_limit),
        cmocka_unit_test(strings_are_copied_and_printed),
        cmocka_unit_test(cleanups_run_last_added_first_and_may_add_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
