/* SPDX-License-Identifier: Apache-2.0 */

/* A block is built by offsets, checked as bytes, and never read past its size. */

#include "table/block.h"

#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

typedef struct {
    cn_rel_bytes_t  name;
    cn_rel_array_t  numbers;            /* uint64_t */
} root_t;


static void
a_block_holds_what_was_added_and_passes_its_check(void **state)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_SERVICE, 7, sizeof(root_t));
    cn_rel_bytes_t       name = cn_block_add_bytes(builder, CN_BYTES("odd"));
    cn_rel_array_t       numbers = cn_block_add_array(builder, 300, sizeof(uint64_t), 8);
    const cn_block_t    *block;
    const root_t        *root;

    (void) state;

    ((uint64_t *) cn_block_builder_at(builder, numbers.at))[299] = 99;
    ((root_t *) cn_block_builder_root(builder))->name = name;
    ((root_t *) cn_block_builder_root(builder))->numbers = numbers;

    assert_int_equal(cn_block_finish(builder, &block), CN_OK);
    assert_int_equal(cn_block_check(block, block->size), CN_OK);
    assert_int_equal(block->size % 8, 0);
    assert_int_equal(block->id, 7);

    root = cn_block_root(block);
    assert_true(cn_bytes_equal(cn_block_bytes(block, root->name), CN_BYTES("odd")));
    assert_int_equal(root->numbers.at % 8, 0);
    assert_int_equal(CN_BLOCK_ITEMS(block, root->numbers, uint64_t)[0], 0);
    assert_int_equal(CN_BLOCK_ITEMS(block, root->numbers, uint64_t)[299], 99);

    cn_block_builder_destroy(builder);
}


static void
equal_strings_are_stored_once_and_none_is_stored_for_an_empty_one(void **state)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_SERVICE, 1, sizeof(root_t));
    cn_rel_bytes_t       refs[500];
    const cn_block_t    *block;

    (void) state;

    for (uint32_t i = 0; i < 500; i++) {
        refs[i] = cn_block_add_bytes(builder, cn_bytes(&i, sizeof(i)));
    }

    for (uint32_t i = 0; i < 500; i++) {
        cn_rel_bytes_t  again = cn_block_add_bytes(builder, cn_bytes(&i, sizeof(i)));

        assert_int_equal(again.at, refs[i].at);
        assert_int_equal(again.len, sizeof(i));
        assert_memory_equal(cn_block_builder_at(builder, again.at), &i, sizeof(i));
    }

    assert_int_equal(cn_block_add_bytes(builder, CN_BYTES_NONE).at, 0);
    assert_int_equal(cn_block_finish(builder, &block), CN_OK);
    assert_int_equal(block->size, sizeof(cn_block_t) + sizeof(root_t) + 500 * sizeof(uint32_t));

    cn_block_builder_destroy(builder);
}


static void
a_block_over_the_limit_is_not_finished(void **state)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_SERVICE, 1, sizeof(root_t));
    const cn_block_t    *block = NULL;

    (void) state;

    assert_int_equal(cn_block_add(builder, 0, 8, 8), 0);
    assert_int_not_equal(cn_block_add(builder, 1, 8, 8), 0);
    assert_int_equal(cn_block_add(builder, SIZE_MAX / 4, 8, 8), 0);
    assert_int_equal(cn_block_add(builder, 1, 8, 8), 0);            /* spoiled */
    assert_int_equal(cn_block_finish(builder, &block), CN_ERR_LIMIT);
    assert_null(block);
    cn_block_builder_destroy(builder);

    builder = cn_block_builder_create(CN_BLOCK_SERVICE, 1, sizeof(root_t));
    assert_int_not_equal(cn_block_add(builder, CN_BLOCK_MAX / 2, 1, 1), 0);
    assert_int_equal(cn_block_add(builder, CN_BLOCK_MAX / 2, 1, 1), 0);
    assert_int_equal(cn_block_finish(builder, &block), CN_ERR_LIMIT);
    cn_block_builder_destroy(builder);
}


static void
offsets_are_in_range_only_within_the_block(void **state)
{
    static const struct {
        const char      *name;
        cn_rel_array_t   ref;
        size_t           size;
        size_t           align;
        bool             ok;
    } cases[] = {
        { "none at nowhere",             { 0, 0 },            8, 8, true },
        { "some at nowhere",             { 0, 1 },            8, 8, false },
        { "the first behind the header", { 40, 1 },           8, 8, true },
        { "within the header",           { 39, 1 },           1, 1, false },
        { "all of it",                   { 40, 3 },           8, 8, true },
        { "one item too many",           { 40, 4 },           8, 8, false },
        { "none at the end",             { 64, 0 },           8, 8, true },
        { "one at the end",              { 64, 1 },           1, 1, false },
        { "none past the end",           { 72, 0 },           8, 8, false },
        { "misaligned",                  { 44, 1 },           8, 8, false },
        { "aligned to less",             { 44, 1 },           8, 4, true },
        { "a count that wraps",          { 40, UINT32_MAX },  8, 8, false },
        { "an offset that wraps",        { UINT32_MAX, 1 },   1, 1, false },
    };
    cn_block_t  block = { .size = 64 };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        print_message("# %s\n", cases[i].name);
        assert_int_equal(cn_block_range(&block, cases[i].ref, cases[i].size, cases[i].align),
                         cases[i].ok);
    }
}


static void
any_changed_or_missing_byte_fails_the_check(void **state)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_CLUSTER, 1, sizeof(root_t));
    const cn_block_t    *block;
    uint8_t             *copy;

    (void) state;

    assert_int_not_equal(cn_block_add_bytes(builder, CN_BYTES("some text")).at, 0);
    assert_int_equal(cn_block_finish(builder, &block), CN_OK);

    for (size_t size = 0; size < block->size; size++) {
        copy = malloc(size + (size == 0));      /* exact, so that ASan sees a read too far */
        memcpy(copy, block, size);
        assert_int_equal(cn_block_check(copy, size), CN_ERR_SYNTAX);
        free(copy);
    }

    copy = malloc(block->size);

    for (size_t i = 0; i < block->size; i++) {
        if (i >= offsetof(cn_block_t, id) && i < offsetof(cn_block_t, checksum)) {
            continue;                           /* id and generation: any value is one */
        }

        memcpy(copy, block, block->size);
        copy[i] ^= 0x40;
        assert_int_equal(cn_block_check(copy, block->size), CN_ERR_SYNTAX);
    }

    free(copy);
    cn_block_builder_destroy(builder);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_block_holds_what_was_added_and_passes_its_check),
        cmocka_unit_test(equal_strings_are_stored_once_and_none_is_stored_for_an_empty_one),
        cmocka_unit_test(a_block_over_the_limit_is_not_finished),
        cmocka_unit_test(offsets_are_in_range_only_within_the_block),
        cmocka_unit_test(any_changed_or_missing_byte_fails_the_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
