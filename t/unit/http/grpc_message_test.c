/* SPDX-License-Identifier: Apache-2.0 */

/* grpc_message_test - messages out of bodies that come in pieces. */

#include "http/grpc_message.h"

#include "unit.h"

#define MAX  1000

/* Reads a body that comes as two pieces; writes "[message]" for each, then how it ended. */
static void
read_split(cn_bytes_t body, size_t at, size_t max, char *out, size_t size)
{
    cn_grpc_reader_t  reader;
    cn_status_t       status = CN_AGAIN;
    size_t            len = 0;

    cn_grpc_reader_init(&reader, max);

    for (int i = 0; i < 2 && status == CN_AGAIN; i++) {
        cn_bytes_t  piece = unit_copy(i == 0 ? cn_bytes(body.ptr, at) : cn_bytes_from(body, at));
        cn_bytes_t  rest = piece, message;

        while ((status = cn_grpc_reader_next(&reader, &rest, &message)) == CN_OK) {
            len += (size_t) snprintf(out + len, size - len, "[%.*s]", CN_BYTES_ARG(message));
            assert_true(len < size);
        }

        assert_true(status != CN_AGAIN || rest.len == 0);
        unit_free(piece);
    }

    (void) snprintf(out + len, size - len, "%s%s", cn_status_name(status),
                    cn_grpc_reader_is_between(&reader) ? "" : " within");
    cn_grpc_reader_clear(&reader);
}


static const struct {
    const char  *name;
    cn_bytes_t   body;
    const char  *read;
} bodies[] = {
    { "nothing", CN_BYTES_INIT(""), "CN_AGAIN" },
    { "an empty message", CN_BYTES_INIT("\0\0\0\0\0"), "[]CN_AGAIN" },
    { "a message", CN_BYTES_INIT("\0\0\0\0\5hello"), "[hello]CN_AGAIN" },
    { "three messages", CN_BYTES_INIT("\0\0\0\0\1a\0\0\0\0\0\0\0\0\0\2bc"), "[a][][bc]CN_AGAIN" },
    { "a message that is cut", CN_BYTES_INIT("\0\0\0\0\5hell"), "CN_AGAIN within" },
    { "a prefix that is cut", CN_BYTES_INIT("\0\0\0\0\1a\0\0\0"), "[a]CN_AGAIN within" },
    { "a compressed message", CN_BYTES_INIT("\0\0\0\0\1a\1\0\0\0\1b"), "[a]CN_ERR_UNSUPPORTED within" },
    { "an unknown flag", CN_BYTES_INIT("\2\0\0\0\1b"), "CN_ERR_SYNTAX within" },
    { "one octet over the limit", CN_BYTES_INIT("\0\0\0\3\xe9"), "CN_ERR_LIMIT within" },
    { "as long as the limit", CN_BYTES_INIT("\0\0\0\3\xe8"), "CN_AGAIN within" },
    { "4 GiB", CN_BYTES_INIT("\0\xff\xff\xff\xffx"), "CN_ERR_LIMIT within" },
};


static void
a_body_may_be_cut_at_every_octet(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(bodies); i++) {
        for (size_t at = 0; at <= bodies[i].body.len; at++) {
            char  read[128];

            read_split(bodies[i].body, at, MAX, read, sizeof(read));
            unit_check(strcmp(read, bodies[i].read) == 0, bodies[i].name);
        }
    }
}


static void
octets_may_come_one_by_one(void **state)
{
    static uint8_t    body[CN_GRPC_PREFIX + 100000];
    cn_grpc_reader_t  reader;
    size_t            messages = 0;

    (void) state;

    for (size_t i = 0; i < sizeof(body); i++) {
        body[i] = (uint8_t) (i * 7);
    }

    cn_grpc_prefix(sizeof(body) - CN_GRPC_PREFIX, body);
    cn_grpc_reader_init(&reader, sizeof(body));

    /* twice: the second message needs a buffer again */
    for (size_t i = 0; i < 2 * sizeof(body); i++) {
        cn_bytes_t   rest = cn_bytes(body + i % sizeof(body), 1);
        cn_bytes_t   message;
        cn_status_t  status = cn_grpc_reader_next(&reader, &rest, &message);

        assert_int_equal(rest.len, 0);

        if (status == CN_OK) {
            messages++;
            assert_int_equal((i + 1) % sizeof(body), 0);
            assert_int_equal(message.len, sizeof(body) - CN_GRPC_PREFIX);
            assert_memory_equal(message.ptr, body + CN_GRPC_PREFIX, message.len);
        } else {
            assert_int_equal(status, CN_AGAIN);
        }
    }

    assert_int_equal(messages, 2);
    cn_grpc_reader_clear(&reader);
}


static void
a_whole_message_is_not_copied(void **state)
{
    cn_bytes_t        body = unit_copy(CN_BYTES("\0\0\0\0\3abc\0\0\0\0\2de"));
    cn_bytes_t        rest = body, message;
    cn_grpc_reader_t  reader;

    (void) state;
    cn_grpc_reader_init(&reader, MAX);
    assert_int_equal(cn_grpc_reader_next(&reader, &rest, &message), CN_OK);
    assert_ptr_equal(message.ptr, body.ptr + 5);
    assert_int_equal(cn_grpc_reader_next(&reader, &rest, &message), CN_OK);
    assert_ptr_equal(message.ptr, body.ptr + 13);
    assert_int_equal(reader.capacity, 0);
    cn_grpc_reader_clear(&reader);
    unit_free(body);
}


static void
a_length_alone_costs_no_memory(void **state)
{
    cn_bytes_t        rest = CN_BYTES("\0\x3f\xff\xff\xff");
    cn_bytes_t        message;
    cn_grpc_reader_t  reader;

    (void) state;
    cn_grpc_reader_init(&reader, SIZE_MAX);
    assert_int_equal(cn_grpc_reader_next(&reader, &rest, &message), CN_AGAIN);
    assert_int_equal(reader.capacity, 0);
    rest = CN_BYTES("0123456789");
    assert_int_equal(cn_grpc_reader_next(&reader, &rest, &message), CN_AGAIN);
    assert_true(reader.capacity <= 4096);
    cn_grpc_reader_clear(&reader);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_body_may_be_cut_at_every_octet),
        cmocka_unit_test(octets_may_come_one_by_one),
        cmocka_unit_test(a_whole_message_is_not_copied),
        cmocka_unit_test(a_length_alone_costs_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
