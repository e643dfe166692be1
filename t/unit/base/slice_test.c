/* SPDX-License-Identifier: Apache-2.0 */

/* Buffers, slices and chains: references, accounts and order of bytes. */

#include "unit.h"

#include "base/random.h"
#include "base/slice.h"

static cn_account_t  account;


static int
forget_account(void **state)
{
    (void) state;
    account = (cn_account_t) { .limit = 0 };

    return 0;
}


/* Whatever a test did, it must have given everything back. */
static int
check_account(void **state)
{
    (void) state;

    return account.used == 0 ? 0 : -1;
}


/* A slice of a fresh buffer with text in it. */
static cn_slice_t
slice_of(const char *text)
{
    cn_slice_t  slice;

    assert_int_equal(cn_slice_copy(cn_bytes_str(text), &account, &slice), CN_OK);

    return slice;
}


static void
assert_chain(const cn_chain_t *chain, const char *text)
{
    size_t  at = 0;

    assert_int_equal(chain->len, strlen(text));

    for (uint32_t i = 0; i < chain->count; i++) {
        cn_slice_t  slice = cn_chain_at(chain, i);

        assert_true(slice.len > 0 && slice.len <= strlen(text) - at);
        assert_memory_equal(slice.ptr, text + at, slice.len);
        at += slice.len;
    }

    assert_int_equal(at, strlen(text));
}


static void
a_buffer_lives_until_its_last_reference(void **state)
{
    cn_buf_t   *buf = cn_buf_create(100, &account);
    cn_slice_t  slice;

    (void) state;
    assert_non_null(buf);
    assert_true(buf->capacity >= 100);
    assert_int_equal(account.used, buf->capacity);
    memset(buf->data, 'x', buf->capacity);

    slice = cn_slice_of(buf, buf->data + 10, 5);
    assert_int_equal(buf->refs, 2);
    assert_ptr_equal(cn_buf_ref(buf), buf);
    cn_buf_unref(buf);
    cn_buf_unref(buf);
    assert_bytes(cn_slice_bytes(&slice), "xxxxx");
    cn_slice_release(&slice);
    assert_null(slice.ptr);
    assert_int_equal(account.used, 0);
    cn_slice_release(&slice);
    assert_null(cn_buf_ref(NULL));
}


static void
a_buffer_is_refused_past_the_budget(void **state)
{
    cn_account_t  small = { .limit = 1000 };
    cn_slice_t    slice;

    (void) state;

    assert_null(cn_buf_create(2000, &small));
    assert_null(cn_buf_create(SIZE_MAX, NULL));
    assert_null(cn_buf_create((size_t) UINT32_MAX, NULL));
    assert_int_equal(cn_slice_copy(cn_bytes("", 2000), &small, &slice), CN_ERR_MEMORY);
    assert_null(slice.buf);
    assert_int_equal(small.used, 0);
}


static void
a_copy_of_nothing_has_no_buffer(void **state)
{
    cn_slice_t  slice;

    (void) state;

    assert_int_equal(cn_slice_copy(CN_BYTES_NONE, &account, &slice), CN_OK);
    assert_null(slice.buf);
    assert_int_equal(slice.len, 0);
}


static void
compact_copies_short_slices_of_large_buffers_only(void **state)
{
    static const struct {
        size_t  capacity, len;
        bool    copied;
    } cases[] = {
        { 65536, 10, true },        { 65536, CN_SLICE_PIN_MIN - 1, true },
        { 65536, CN_SLICE_PIN_MIN, false }, { 100, 10, false },
        { CN_SLICE_PIN_MIN, CN_SLICE_PIN_MIN - 1, false },
    };

    cn_slice_t  fixed = cn_slice_static(CN_BYTES("static"));

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_buf_t   *buf = cn_buf_create(cases[i].capacity, &account);
        cn_slice_t  slice = cn_slice_of(buf, buf->data + 1, cases[i].len);

        memset(buf->data, 'y', buf->capacity);
        cn_buf_unref(buf);
        assert_int_equal(cn_slice_compact(&slice, &account), CN_OK);
        assert_int_equal(slice.buf != buf, cases[i].copied);
        assert_int_equal(slice.len, cases[i].len);
        assert_int_equal(slice.ptr[slice.len - 1], 'y');
        cn_slice_release(&slice);
        assert_int_equal(account.used, 0);
    }

    assert_int_equal(cn_slice_compact(&fixed, &account), CN_OK);
    assert_null(fixed.buf);
    assert_bytes(cn_slice_bytes(&fixed), "static");
}


static void
compact_without_memory_leaves_the_slice(void **state)
{
    cn_account_t  full = { .limit = 1 };
    cn_buf_t     *buf = cn_buf_create(65536, &account);
    cn_slice_t    slice = cn_slice_of(buf, buf->data, 10);

    (void) state;

    cn_buf_unref(buf);
    assert_int_equal(cn_slice_compact(&slice, &full), CN_ERR_MEMORY);
    assert_ptr_equal(slice.buf, buf);
    cn_slice_release(&slice);
}


static void
a_chain_keeps_order_and_counts_bytes(void **state)
{
    cn_chain_t  chain = { .account = &account };

    (void) state;

    assert_int_equal(cn_chain_first(&chain).len, 0);
    assert_int_equal(cn_chain_push(&chain, slice_of("one")), CN_OK);
    assert_int_equal(cn_chain_push(&chain, cn_slice_static(CN_BYTES("two"))), CN_OK);
    assert_int_equal(cn_chain_push(&chain, slice_of("three")), CN_OK);
    assert_int_equal(cn_chain_push(&chain, cn_slice_static(CN_BYTES_NONE)), CN_OK);
    assert_int_equal(chain.count, 3);
    assert_chain(&chain, "onetwothree");

    cn_slice_t  first = cn_chain_first(&chain);

    assert_bytes(cn_slice_bytes(&first), "one");
    cn_chain_drop(&chain, 4);
    assert_chain(&chain, "wothree");
    cn_chain_drop(&chain, 0);
    cn_chain_drop(&chain, 7);
    assert_int_equal(chain.count, 0);
    assert_null(chain.ring);
}


static void
pop_hands_over_a_slice_or_a_part_of_one(void **state)
{
    cn_chain_t  chain = { .account = &account };
    cn_slice_t  part, rest, none;

    (void) state;

    assert_int_equal(cn_chain_push(&chain, slice_of("abcdef")), CN_OK);
    part = cn_chain_pop(&chain, 2);
    assert_bytes(cn_slice_bytes(&part), "ab");
    assert_int_equal(part.buf->refs, 2);
    assert_chain(&chain, "cdef");
    none = cn_chain_pop(&chain, 0);
    assert_int_equal(none.len, 0);

    rest = cn_chain_pop(&chain, SIZE_MAX);
    assert_bytes(cn_slice_bytes(&rest), "cdef");
    assert_int_equal(chain.count, 0);
    none = cn_chain_pop(&chain, 10);
    assert_null(none.buf);

    cn_slice_release(&part);
    assert_bytes(cn_slice_bytes(&rest), "cdef");
    cn_slice_release(&rest);
}


static void
appended_bytes_fill_the_chain_s_own_buffer(void **state)
{
    cn_chain_t  chain = { .account = &account };

    (void) state;

    assert_int_equal(cn_chain_append(&chain, CN_BYTES_NONE), CN_OK);
    assert_null(chain.ring);
    assert_int_equal(cn_chain_append(&chain, CN_BYTES("ab")), CN_OK);
    assert_int_equal(cn_chain_append(&chain, CN_BYTES("cd")), CN_OK);
    assert_int_equal(chain.count, 1);
    assert_chain(&chain, "abcd");

    /* dropping from the front moves nothing and frees no room behind */
    cn_chain_drop(&chain, 3);
    assert_int_equal(cn_chain_append(&chain, CN_BYTES("ef")), CN_OK);
    assert_int_equal(chain.count, 1);
    assert_chain(&chain, "def");
    cn_chain_clear(&chain);
}


static void
append_leaves_a_buffer_alone_that_somebody_else_sees(void **state)
{
    cn_chain_t  chain = { .account = &account };
    cn_slice_t  held;

    (void) state;

    assert_int_equal(cn_chain_append(&chain, CN_BYTES("abcd")), CN_OK);
    held = cn_chain_pop(&chain, 2);
    assert_int_equal(cn_chain_append(&chain, CN_BYTES("ef")), CN_OK);
    assert_int_equal(chain.count, 2);
    assert_chain(&chain, "cdef");
    cn_slice_release(&held);

    assert_int_equal(cn_chain_push(&chain, cn_slice_static(CN_BYTES("static"))), CN_OK);
    assert_int_equal(cn_chain_append(&chain, CN_BYTES("!")), CN_OK);
    assert_int_equal(chain.count, 4);
    assert_chain(&chain, "cdefstatic!");
    cn_chain_clear(&chain);
}


static void
append_without_memory_adds_nothing(void **state)
{
    cn_account_t  small = { .limit = 4500 };
    cn_chain_t    chain = { .account = &small };
    uint8_t       bytes[3000] = { 0 };
    size_t        len;

    (void) state;

    assert_int_equal(cn_chain_append(&chain, CN_BYTES("a")), CN_OK);
    len = chain.len;
    assert_int_equal(cn_chain_append(&chain, cn_bytes(bytes, sizeof(bytes))), CN_ERR_MEMORY);
    assert_int_equal(chain.len, len);
    assert_int_equal(chain.count, 1);
    assert_int_equal(cn_chain_append(&chain, CN_BYTES("b")), CN_OK);
    assert_chain(&chain, "ab");
    cn_chain_clear(&chain);
    assert_int_equal(small.used, 0);
}


static void
move_takes_all_and_keeps_accounts(void **state)
{
    cn_account_t  other = { .limit = 0 };
    cn_chain_t    from = { .account = &account }, to = { .account = &other };

    (void) state;

    assert_int_equal(cn_chain_move(&to, &from), CN_OK);
    assert_int_equal(cn_chain_append(&from, CN_BYTES("ab")), CN_OK);
    assert_int_equal(cn_chain_move(&to, &from), CN_OK);
    assert_ptr_equal(to.account, &other);
    assert_ptr_equal(from.account, &account);
    assert_int_equal(from.count + from.len, 0);
    assert_chain(&to, "ab");

    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(cn_chain_push(&from, cn_slice_static(CN_BYTES("x"))), CN_OK);
    }

    cn_chain_drop(&from, 18);
    assert_int_equal(cn_chain_move(&to, &from), CN_OK);
    assert_null(from.ring);
    assert_chain(&to, "abxx");
    cn_chain_clear(&to);
    cn_chain_clear(&to);
}


/* Any series of calls leaves the bytes that a plain queue would have. */
static void
a_chain_is_a_queue_of_bytes(void **state)
{
    cn_chain_t  chain = { .account = &account }, spare = { .account = &account };
    uint8_t     put = 0, got = 0, bytes[5000];

    (void) state;

    for (unsigned step = 0; step < 20000; step++) {
        size_t  len = (size_t) cn_random_below(cn_random_chance(20000) ? sizeof(bytes) : 40);

        switch (cn_random_below(chain.len > 100000 ? 6 : 4)) {
        case 0:
        case 1:
        case 2:
            for (size_t i = 0; i < len; i++) {
                bytes[i] = put++;
            }

            if (cn_random_chance(500000)) {
                assert_int_equal(cn_chain_append(&chain, cn_bytes(bytes, len)), CN_OK);

            } else {
                cn_slice_t  slice;

                assert_int_equal(cn_slice_copy(cn_bytes(bytes, len), &account, &slice), CN_OK);
                assert_int_equal(cn_chain_push(&chain, slice), CN_OK);
            }

            break;
        case 3: {
            cn_slice_t  slice = cn_chain_pop(&chain, len);

            for (size_t i = 0; i < slice.len; i++) {
                assert_int_equal(slice.ptr[i], got++);
            }

            cn_slice_release(&slice);
            break;
        }
        case 4:
            cn_chain_drop(&chain, len);
            got = (uint8_t) (got + len);
            break;
        default:
            assert_int_equal(cn_chain_move(&spare, &chain), CN_OK);
            assert_int_equal(cn_chain_move(&chain, &spare), CN_OK);
        }

        if (step % 64 == 0) {
            size_t  sum = 0;

            for (uint32_t i = 0; i < chain.count; i++) {
                sum += cn_chain_at(&chain, i).len;
            }

            assert_int_equal(sum, chain.len);
            assert_int_equal((uint8_t) (put - got), (uint8_t) chain.len);
        }
    }

    cn_chain_clear(&chain);
}


#define TEST(name)  cmocka_unit_test_setup_teardown(name, forget_account, check_account)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        TEST(a_buffer_lives_until_its_last_reference),
        TEST(a_buffer_is_refused_past_the_budget),
        TEST(a_copy_of_nothing_has_no_buffer),
        TEST(compact_copies_short_slices_of_large_buffers_only),
        TEST(compact_without_memory_leaves_the_slice),
        TEST(a_chain_keeps_order_and_counts_bytes),
        TEST(pop_hands_over_a_slice_or_a_part_of_one),
        TEST(appended_bytes_fill_the_chain_s_own_buffer),
        TEST(append_leaves_a_buffer_alone_that_somebody_else_sees),
        TEST(append_without_memory_adds_nothing),
        TEST(move_takes_all_and_keeps_accounts),
        TEST(a_chain_is_a_queue_of_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
