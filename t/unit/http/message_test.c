/* SPDX-License-Identifier: Apache-2.0 */

/* Heads: names and their ids, lists of headers, the words of the wire. */

#include "http/message.h"
#include "http/wire.h"

#include "unit.h"


static void
every_known_name_has_its_id(void **state)
{
    (void) state;

    for (int id = 1; id < CN_HEADER_COUNT; id++) {
        cn_bytes_t  name = cn_header_name((cn_header_id_t) id);

        assert_true(name.len > 0);
        assert_int_equal(cn_header_id(name), id);
        assert_true(cn_http_name_valid(name));
        assert_int_equal(cn_header_id(cn_bytes(name.ptr, name.len - 1)), CN_HEADER_OTHER);
    }

    assert_int_equal(cn_header_id(CN_BYTES_NONE), CN_HEADER_OTHER);
    assert_int_equal(cn_header_id(CN_BYTES("x-unknown")), CN_HEADER_OTHER);
    assert_int_equal(cn_header_id(CN_BYTES("Host")), CN_HEADER_OTHER);
    assert_int_equal(cn_header_id(CN_BYTES("a-name-that-is-longer-than-any-that-we-know-of")), CN_HEADER_OTHER);
    assert_int_equal(cn_header_name(CN_HEADER_COUNT).len, 0);
}


static void
lists_keep_order_and_count_octets(void **state)
{
    cn_pool_t     *pool = cn_pool_create(256, NULL);
    cn_headers_t   headers = { .pool = pool }, copy = { .pool = pool };
    char           name[16];

    (void) state;

    for (unsigned i = 0; i < 100; i++) {
        int         len = snprintf(name, sizeof(name), "x-%u", i % 10);
        cn_bytes_t  bytes;

        assert_int_equal(cn_pool_copy(pool, cn_bytes(name, (size_t) len), &bytes), CN_OK);
        assert_int_equal(cn_headers_add(&headers, bytes, CN_BYTES("v")), CN_OK);
    }

    assert_int_equal(headers.count, 100);
    assert_int_equal(headers.octets, 400);
    assert_bytes(headers.items[42].name, "x-2");
    assert_int_equal(cn_headers_remove(&headers, CN_BYTES("x-3")), 10);
    assert_int_equal(headers.count, 90);
    assert_int_equal(headers.octets, 360);
    assert_null(cn_headers_find(&headers, CN_BYTES("x-3")));
    assert_bytes(headers.items[33].name, "x-7");
    assert_int_equal(cn_headers_set(&headers, CN_BYTES("x-4"), CN_BYTES("new")), CN_OK);
    assert_int_equal(headers.count, 81);
    assert_bytes(cn_headers_find(&headers, CN_BYTES("x-4"))->value, "new");
    assert_bytes(headers.items[80].name, "x-4");
    assert_int_equal(cn_headers_copy(&copy, &headers), CN_OK);
    assert_int_equal(copy.count, 81);
    assert_int_equal(copy.octets, headers.octets);
    assert_ptr_not_equal(copy.items[0].name.ptr, headers.items[0].name.ptr);
    cn_pool_destroy(pool);
}


static void
known_names_are_found_by_id_and_by_name(void **state)
{
    cn_pool_t     *pool = cn_pool_create(1024, NULL);
    cn_message_t   message;

    (void) state;
    cn_message_init(&message, pool);
    assert_int_equal(message.content_length, CN_LENGTH_UNKNOWN);
    assert_int_equal(cn_headers_add(&message.headers, CN_BYTES("user-agent"), CN_BYTES("t")), CN_OK);
    assert_int_equal(cn_headers_add_id(&message.headers, CN_HEADER_COOKIE, CN_BYTES("a=1")), CN_OK);
    assert_bytes(cn_headers_find_id(&message.headers, CN_HEADER_USER_AGENT)->value, "t");
    assert_bytes(cn_headers_find(&message.headers, CN_BYTES("cookie"))->value, "a=1");
    assert_null(cn_headers_find_id(&message.headers, CN_HEADER_OTHER));
    assert_int_equal(cn_headers_remove_id(&message.headers, CN_HEADER_OTHER), 0);
    assert_int_equal(cn_headers_remove_id(&message.headers, CN_HEADER_COOKIE), 1);
    assert_int_equal(cn_headers_remove(&message.headers, CN_BYTES("user-agent")), 1);
    assert_int_equal(message.headers.octets, 0);
    cn_pool_destroy(pool);
}


static void
grpc_is_told_by_its_content_type(void **state)
{
    static const struct { const char *type; bool grpc; } cases[] = {
        { "application/grpc", true }, { "application/grpc+proto", true }, { "Application/GRPC;x", true },
        { "application/grpc-web", false }, { "application/grp", false }, { "text/plain", false }, { "", false },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_pool_t     *pool = cn_pool_create(1024, NULL);
        cn_message_t   message;

        cn_message_init(&message, pool);
        assert_false(cn_message_is_grpc(&message));
        assert_int_equal(cn_headers_add_id(&message.headers, CN_HEADER_CONTENT_TYPE, cn_bytes_str(cases[i].type)), CN_OK);
        unit_check(cn_message_is_grpc(&message) == cases[i].grpc, cases[i].type);
        cn_pool_destroy(pool);
    }
}


static void
authorities_paths_and_values_are_judged(void **state)
{
    (void) state;
    assert_true(cn_http_authority_valid(CN_BYTES("a.b-c_d~:80")));
    assert_true(cn_http_authority_valid(CN_BYTES("[fe80::1%25eth0]:80")));
    assert_true(cn_http_authority_valid(CN_BYTES("user@host")));
    assert_true(cn_http_authority_valid(CN_BYTES_NONE));
    assert_false(cn_http_authority_valid(CN_BYTES("a b")));
    assert_false(cn_http_authority_valid(CN_BYTES("a/b")));
    assert_false(cn_http_authority_valid(CN_BYTES("a\0b")));
    assert_false(cn_http_authority_valid(CN_BYTES("a\r\nb")));
    assert_false(cn_http_authority_valid(CN_BYTES("\xc3\xa9")));
    assert_true(cn_http_path_valid(CN_BYTES("/a?b#c")));
    assert_true(cn_http_path_valid(CN_BYTES("*")));
    assert_false(cn_http_path_valid(CN_BYTES("")));
    assert_false(cn_http_path_valid(CN_BYTES("a")));
    assert_false(cn_http_path_valid(CN_BYTES("/a b")));
    assert_false(cn_http_path_valid(CN_BYTES("/\x7f")));
    assert_true(cn_http_value_valid(CN_BYTES("a\tb \xff")));
    assert_false(cn_http_value_valid(CN_BYTES("a\rb")));
    assert_false(cn_http_value_valid(CN_BYTES("a\0b")));

    /* each octet at each place of values that are looked at in words and in what is left over */
    for (unsigned octet = 0; octet < 256; octet++) {
        bool  valid = octet == '\t' || (octet >= 0x20 && octet != 0x7f);

        for (size_t len = 1; len <= 19; len++) {
            for (size_t at = 0; at < len; at++) {
                uint8_t  value[19];

                memset(value, at % 2 == 0 ? 0xff : 'a', sizeof(value));
                value[at] = (uint8_t) octet;
                assert_int_equal(cn_http_value_valid(cn_bytes(value, len)), valid);
            }
        }
    }
    assert_true(cn_http_name_valid(CN_BYTES("x_a-b.c")));
    assert_false(cn_http_name_valid(CN_BYTES("X")));
    assert_false(cn_http_name_valid(CN_BYTES("x:")));
    assert_false(cn_http_name_valid(CN_BYTES("")));
    assert_true(cn_http_list_has(CN_BYTES("a, Close ,b"), CN_BYTES("close")));
    assert_false(cn_http_list_has(CN_BYTES("closed"), CN_BYTES("close")));
}


static void
reasons_are_known_by_status(void **state)
{
    (void) state;
    assert_string_equal(cn_http_reason(100), "Continue");
    assert_string_equal(cn_http_reason(404), "Not Found");
    assert_string_equal(cn_http_reason(431), "Request Header Fields Too Large");
    assert_string_equal(cn_http_reason(599), "Last Unassigned Server Error Code");
    assert_string_equal(cn_http_reason(600), "Unknown");
    assert_string_equal(cn_http_reason(0), "Unknown");
    assert_int_equal(cn_http_date().len, 29);

    for (int reason = CN_RESET_NONE; reason <= CN_RESET_LOCAL; reason++) {
        assert_true(strlen(cn_reset_reason_name((cn_reset_reason_t) reason)) > 0);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_known_name_has_its_id),
        cmocka_unit_test(lists_keep_order_and_count_octets),
        cmocka_unit_test(known_names_are_found_by_id_and_by_name),
        cmocka_unit_test(grpc_is_told_by_its_content_type),
        cmocka_unit_test(authorities_paths_and_values_are_judged),
        cmocka_unit_test(reasons_are_known_by_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
