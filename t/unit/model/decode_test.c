/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A message is read as far as it is understood; what is not, nests too deep or would fill the
 * memory is refused.
 */

#include "unit.h"

#include "model/decode.h"

#include "discovery.pb-c.h"
#include "rbac.pb-c.h"


static void
what_is_not_known_in_a_message_is_refused(void **state)
{
    static const struct { const char *name; cn_bytes_t bytes; const char *line; } cases[] = {
        { "not protobuf", CN_BYTES_INIT("\xff\xff"), "error: f: is no Permission" },
        { "cut short", CN_BYTES_INIT("\x0a\x05\x0a"), "error: f: is no Permission" },
        { "a group", CN_BYTES_INIT("\x0b"), "error: f: is no Permission" },
        { "an unknown field", CN_BYTES_INIT("\x98\x06\x01"),
          "error: f: field 99 of Permission is not implemented" },
        { "a known field that is not implemented", CN_BYTES_INIT("\x3a\x00"),
          "error: f.metadata: is not implemented" },
        { "one in a message in it", CN_BYTES_INIT("\x42\x02\x3a\x00"),
          "error: f.not_rule.metadata: is not implemented" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_pool_t   *pool = cn_pool_create(4096, NULL);
        cn_read_t    read = { .pool = pool, .report = cn_report_create(pool) };
        cn_bytes_t   copy = unit_copy(cases[i].bytes);
        const char  *line;

        unit_check(cn_decode(&read, &cairn__permission__descriptor, copy, "f") == NULL,
                   cases[i].name);
        unit_check(read.report->entries.count == 1, cases[i].name);
        line = cn_report_line(read.report->entries.items, pool);

        if (strcmp(line, cases[i].line) != 0) {
            print_error("%s\n", line);
        }

        unit_check(strcmp(line, cases[i].line) == 0, cases[i].name);
        unit_free(copy);
        cn_pool_destroy(pool);
    }
}


/* not_rule in not_rule in not_rule ... */
static void
depth_is_bounded(void **state)
{
    uint8_t      octets[2 * 4096];
    size_t       at = sizeof(octets);
    cn_pool_t   *pool = cn_pool_create(4096, NULL);
    cn_read_t    read = { .pool = pool, .report = cn_report_create(pool) };

    (void) state;

    for (unsigned depth = 0; depth < 60; depth++) {
        size_t  len = sizeof(octets) - at;

        octets[--at] = (uint8_t) len;
        octets[--at] = 0x42;
    }

    assert_null(cn_decode(&read, &cairn__permission__descriptor,
                          cn_bytes(octets + at, sizeof(octets) - at), "f"));
    assert_non_null(cn_decode(&read, &cairn__permission__descriptor,
                              cn_bytes(octets + sizeof(octets) - 80, 80), "f"));
    cn_pool_destroy(pool);
}


/* ---- memory ---- */

#define LARGE_OCTETS  ((size_t) 8 * 1024 * 1024)

/* Of each: as many as fit into `octets`, and what reading them may take. */
static const struct {
    const char                        *name;
    const ProtobufCMessageDescriptor  *type;
    cn_bytes_t                         unit;
    bool                               refused;
} crowds[] = {
    { "empty messages", &cairn__discovery_response__descriptor, CN_BYTES_INIT("\x12\x00"), true },
    { "empty messages within each other", &cairn__permission__descriptor,
      CN_BYTES_INIT("\x0a\x04\x0a\x02\x0a\x00"), true },
    { "numbers that nobody knows", &cairn__discovery_response__descriptor,
      CN_BYTES_INIT("\x98\x06\x01"), true },
    { "empty strings", &cairn__delta_discovery_response__descriptor, CN_BYTES_INIT("\x32\x00"),
      true },
    { "one field over and over", &cairn__discovery_response__descriptor,
      CN_BYTES_INIT("\x0a\x01x"), true },
    { "strings of some length", &cairn__delta_discovery_response__descriptor,
      CN_BYTES_INIT("\x32\x2bspiffe://cluster.local/ns/default/sa/client"), false },
};


static void
memory_is_bounded_by_size(void **state)
{
    uint8_t  *octets = malloc(LARGE_OCTETS);

    (void) state;
    assert_non_null(octets);

    for (size_t i = 0; i < CN_COUNT_OF(crowds); i++) {
        size_t         count = LARGE_OCTETS / crowds[i].unit.len;
        size_t         len = count * crowds[i].unit.len;
        cn_account_t   account = { .limit = 0 };
        cn_pool_t     *pool = cn_pool_create(4096, &account);
        cn_read_t      read = { .pool = pool, .report = cn_report_create(pool) };
        const void    *message;
        const char    *line;

        for (size_t j = 0; j < count; j++) {
            memcpy(octets + j * crowds[i].unit.len, crowds[i].unit.ptr, crowds[i].unit.len);
        }

        message = cn_decode(&read, crowds[i].type, cn_bytes(octets, len), "f");
        unit_check((message == NULL) == crowds[i].refused, crowds[i].name);
        unit_check(account.peak < 17 * len + 2 * 1024 * 1024, crowds[i].name);

        if (crowds[i].refused) {
            unit_check(read.report->entries.count == 1, crowds[i].name);
            line = cn_report_line(read.report->entries.items, pool);
            unit_check(strstr(line, "KiB of memory") != NULL, crowds[i].name);
        }

        cn_pool_destroy(pool);
        assert_int_equal(account.used, 0);
    }

    free(octets);
}


/* Small messages may be crowded: the base is for them. */
static void
small_messages_have_room(void **state)
{
    uint8_t      octets[4096];
    cn_pool_t   *pool = cn_pool_create(4096, NULL);
    cn_read_t    read = { .pool = pool, .report = cn_report_create(pool) };
    const Cairn__DiscoveryResponse  *message;

    (void) state;

    for (size_t i = 0; i < sizeof(octets); i += 2) {
        octets[i] = 0x12;
        octets[i + 1] = 0;
    }

    message = cn_decode(&read, &cairn__discovery_response__descriptor,
                        cn_bytes(octets, sizeof(octets)), "f");
    assert_non_null(message);
    assert_int_equal(message->n_resources, sizeof(octets) / 2);
    cn_pool_destroy(pool);
}


/* A message of nothing but what is not known says so often enough, and not for ever. */
static void
complaints_are_bounded(void **state)
{
    uint8_t      octets[3 * 1024];
    cn_pool_t   *pool = cn_pool_create(4096, NULL);
    cn_read_t    read = { .pool = pool, .report = cn_report_create(pool) };

    (void) state;

    for (size_t i = 0; i < sizeof(octets); i += 3) {
        memcpy(octets + i, "\x98\x06\x01", 3);
    }

    assert_null(cn_decode(&read, &cairn__permission__descriptor,
                          cn_bytes(octets, sizeof(octets)), "f"));
    assert_int_equal(read.errors, 64);
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_is_not_known_in_a_message_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(memory_is_bounded_by_size),
        cmocka_unit_test(small_messages_have_room),
        cmocka_unit_test(complaints_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
