/* SPDX-License-Identifier: Apache-2.0 */

/* Each allocation of some ordinary work fails once: nothing leaks, breaks or is half done. */

#define CN_FAIL_ALLOC

/* own copies, with the fault injection in them; the archive's stay out of the link */
#include "base/block.c"
#include "base/pool.c"

#include "unit.h"

#include "base/array.h"
#include "base/map.h"
#include "base/slice.h"

static cn_account_t  account;
static char          long_text[300];


static int
by_octet(const void *a, const void *b)
{
    return memcmp(a, b, 1);
}


static cn_status_t
use_pool(void)
{
    cn_pool_t    *pool = cn_pool_create(256, &account);
    cn_array_t    array = CN_ARRAY_INIT(pool, char);
    cn_bytes_t    copy;
    cn_map_t     *map;
    cn_status_t   status = CN_ERR_MEMORY;

    if (pool == NULL) {
        return CN_ERR_MEMORY;
    }

    map = cn_map_create_in(pool);

    if (map == NULL || cn_pool_str(pool, CN_BYTES("text")) == NULL
        || cn_pool_printf(pool, "%500d", 1) == NULL
        || cn_pool_copy(pool, cn_bytes(long_text, sizeof(long_text)), &copy) != CN_OK)
    {
        goto fail;
    }

    for (char i = 0; i < 100; i++) {
        char  *item = cn_array_add(&array);

        if (item == NULL) {
            assert_int_equal(array.count, i);
            goto fail;
        }

        *item = (char) (100 - i);

        if (cn_map_set(map, cn_bytes(item, 1), pool) != CN_OK) {
            assert_int_equal(cn_map_count(map), i);
            assert_null(cn_map_get(map, cn_bytes(item, 1)));
            goto fail;
        }
    }

    status = cn_array_sort(&array, by_octet);
    assert_int_equal(*CN_ARRAY_AT(&array, char, 0), status == CN_OK ? 1 : 100);

fail:
    cn_pool_destroy(pool);

    return status;
}


static cn_status_t
use_chain(void)
{
    cn_chain_t   chain = { .account = &account }, other = { .account = &account };
    uint8_t      bytes[300] = { 0 };
    cn_status_t  status = CN_OK;

    for (unsigned i = 0; i < 100 && status == CN_OK; i++) {
        size_t      len = chain.len;
        cn_slice_t  slice;

        status = cn_chain_append(&chain, cn_bytes(bytes, sizeof(bytes)));
        assert_int_equal(chain.len, len + (status == CN_OK ? sizeof(bytes) : 0));

        if (status == CN_OK) {
            status = cn_slice_copy(cn_bytes(bytes, 10), &account, &slice);
        }

        if (status == CN_OK) {
            status = cn_chain_push(&chain, slice);
        }

        if (status == CN_OK) {
            status = cn_chain_push(&other, cn_slice_static(CN_BYTES("x")));
        }
    }

    if (status == CN_OK) {
        status = cn_chain_move(&other, &chain);
        assert_true(status == CN_OK ? chain.len == 0 : chain.len > 0);
    }

    cn_chain_clear(&chain);
    cn_chain_clear(&other);

    return status;
}


/* Runs work with its first, second, third... allocation failing, until it no longer meets one. */
static void
fail_each(cn_status_t (*work)(void), size_t least)
{
    size_t       at = 0;
    cn_status_t  status;

    do {
        cn_alloc_fail_at(++at);
        status = work();
        cn_alloc_fail_at(0);
        assert_true(status == CN_OK || status == CN_ERR_MEMORY);
        assert_int_equal(account.used, 0);
    } while (status != CN_OK);

    assert_true(at > least);
}


static void
pools_arrays_and_maps_survive(void **state)
{
    (void) state;
    fail_each(use_pool, 110);
}


static void
chains_survive(void **state)
{
    (void) state;
    fail_each(use_chain, 100);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(pools_arrays_and_maps_survive),
        cmocka_unit_test(chains_survive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
