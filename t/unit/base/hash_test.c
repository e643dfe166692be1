/* SPDX-License-Identifier: Apache-2.0 */

/* Hashes are the same on every machine: tables are found by them. */

#include "unit.h"

#include "base/hash.h"


static void
hashes_are_those_of_xxh3(void **state)
{
    (void) state;

    /* published for the empty input; the others from another implementation of the algorithm */
    assert_true(cn_hash(CN_BYTES("")) == 0x2d06800538d394c2u);
    assert_true(cn_hash(CN_BYTES_NONE) == 0x2d06800538d394c2u);
    assert_true(cn_hash(CN_BYTES("a")) == 0xe6c632b61e964e1fu);
    assert_true(cn_hash(CN_BYTES("reviews.default.svc.cluster.local")) == 0x26defaa49dc350d7u);
}


static void
a_seed_makes_another_hash(void **state)
{
    cn_bytes_t  key = unit_copy(CN_BYTES("key"));

    (void) state;

    assert_true(cn_hash_seeded(key, 0) == cn_hash(key));
    assert_true(cn_hash_seeded(key, 1) != cn_hash(key));
    assert_true(cn_hash_seeded(key, 1) == cn_hash_seeded(key, 1));
    assert_true(cn_hash_seeded(CN_BYTES("kez"), 1) != cn_hash_seeded(key, 1));
    unit_free(key);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(hashes_are_those_of_xxh3),
        cmocka_unit_test(a_seed_makes_another_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
