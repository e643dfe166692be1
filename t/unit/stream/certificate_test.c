/* SPDX-License-Identifier: Apache-2.0 */

/* What certificates say of themselves: all of a text, up to what is none. */

#include "unit.h"

#include "base/clock.h"
#include "certs.h"
#include "stream/certificate.h"

#define ID  "spiffe://cluster.local/ns/default/sa/waypoint"

static test_ca_t  ca;


static const cn_certificate_t *
described(cn_pool_t *pool, const char *pem, size_t count)
{
    cn_array_t  list = CN_ARRAY_INIT(pool, cn_certificate_t);
    cn_bytes_t  text = unit_copy(cn_bytes_str(pem));

    assert_int_equal(cn_certificates_describe(text, pool, &list), CN_OK);
    assert_int_equal(list.count, count);
    unit_free(text);

    return list.items;
}


static char *
joined(const char *first, const char *second)
{
    size_t  len = strlen(first) + strlen(second) + 1;
    char   *text = malloc(len);

    assert_non_null(text);
    snprintf(text, len, "%s%s", first, second);

    return text;
}


static void
names_and_times_are_told(void **state)
{
    const test_leaf_t        leaf = {
        .uris = { CN_BYTES_INIT(ID), CN_BYTES_INIT("https://a\0b/") }, .dns = "a.example",
        .begins_s = -600, .ends_s = 86400,
    };
    test_cert_t              made = test_issue(&ca, &leaf);
    cn_pool_t               *pool = cn_pool_create(4096, NULL);
    const cn_certificate_t  *one = described(pool, made.chain, 1);
    uint64_t                 now = cn_clock_wall_ms() / 1000;

    (void) state;
    assert_int_equal(one->uris.count, 2);
    assert_bytes(*CN_ARRAY_AT(&one->uris, const cn_bytes_t, 0), ID);
    assert_true(cn_bytes_equal(*CN_ARRAY_AT(&one->uris, const cn_bytes_t, 1),
                               CN_BYTES("https://a\0b/")));
    assert_int_equal(one->hosts.count, 1);
    assert_bytes(*CN_ARRAY_AT(&one->hosts, const cn_bytes_t, 0), "a.example");
    assert_in_range(one->begins, now - 660, now - 540);
    assert_in_range(one->expires, now + 86340, now + 86460);
    assert_true(one->serial.len > 0);

    for (size_t i = 0; i < one->serial.len; i++) {
        assert_non_null(strchr("0123456789abcdef", one->serial.ptr[i]));
    }

    cn_pool_destroy(pool);
    test_cert_free(&made);
}


static void
all_are_told_up_to_what_is_none(void **state)
{
    cn_pool_t  *pool = cn_pool_create(4096, NULL);
    char       *two = joined(ca.pem, ca.pem);
    char       *broken = joined(two, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    char       *more = joined(broken, ca.pem);

    (void) state;
    (void) described(pool, "", 0);
    (void) described(pool, "no certificate", 0);
    (void) described(pool, two, 2);
    (void) described(pool, broken, 2);
    (void) described(pool, more, 2);
    free(two);
    free(broken);
    free(more);
    cn_pool_destroy(pool);
}


static void
there_is_a_limit(void **state)
{
    cn_pool_t  *pool = cn_pool_create(4096, NULL);
    char       *text = joined("", "");

    (void) state;

    for (size_t i = 0; i < CN_CERTIFICATES_MAX + 3; i++) {
        char  *longer = joined(text, ca.pem);

        free(text);
        text = longer;
    }

    (void) described(pool, text, CN_CERTIFICATES_MAX);
    free(text);
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(names_and_times_are_told),
        cmocka_unit_test(all_are_told_up_to_what_is_none),
        cmocka_unit_test(there_is_a_limit),
    };
    int                      result;

    ca = test_ca_create("root");
    result = cmocka_run_group_tests(tests, NULL, NULL);
    test_ca_free(&ca);

    return result;
}
