/* SPDX-License-Identifier: Apache-2.0 */

/* Splitting SPIFFE ids. */

#include "unit.h"

#include "stream/spiffe.h"

static const struct {
    const char   *id;
    cn_status_t   status;
    const char   *trust_domain, *name_space, *service_account;
} cases[] = {
    { "spiffe://cluster.local/ns/default/sa/sleep", CN_OK, "cluster.local", "default", "sleep" },
    { "spiffe://td/ns/ns/sa/sa", CN_OK, "td", "ns", "sa" },
    { "spiffe://a-b_c~1.x/ns/n.s/sa/bookinfo-productpage", CN_OK, "a-b_c~1.x", "n.s",
      "bookinfo-productpage" },
    { "spiffe://td/ns/x/sa/...", CN_OK, "td", "x", "..." },
    { "spiffe://td", CN_ERR_UNSUPPORTED, NULL, NULL, NULL },
    { "spiffe://td/workload", CN_ERR_UNSUPPORTED, NULL, NULL, NULL },
    { "spiffe://td/ns/x", CN_ERR_UNSUPPORTED, NULL, NULL, NULL },
    { "spiffe://td/sa/y", CN_ERR_UNSUPPORTED, NULL, NULL, NULL },
    { "spiffe://td/sa/y/ns/x", CN_ERR_UNSUPPORTED, NULL, NULL, NULL },
    { "spiffe://td/NS/x/sa/y", CN_ERR_UNSUPPORTED, NULL, NULL, NULL },
    { "spiffe://td/ns/x/sa/y/more", CN_ERR_UNSUPPORTED, NULL, NULL, NULL },
    { "spiffe://td/ns/x/sa/y/pod/z", CN_ERR_UNSUPPORTED, NULL, NULL, NULL },
    { "spiffe://td/pod/z/ns/x/sa/y", CN_ERR_UNSUPPORTED, NULL, NULL, NULL },
    { "", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe:///ns/x/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe:/td/ns/x/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "SPIFFE://td/ns/x/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "https://td/ns/x/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { " spiffe://td/ns/x/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/x/sa/y ", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/x/sa/y/", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/x/sa/", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns//sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td//ns/x/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/x/ns/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/x/sa/y/sa/z", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/x/sa/y/ns/z", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/../sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/./ns/x/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://../ns/x/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/%78/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/x*/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/x/sa/y?q", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/x/sa/y#f", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td:80/ns/x/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://user@td/ns/x/sa/y", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/x/sa/\xc3\xa4", CN_ERR_SYNTAX, NULL, NULL, NULL },
    { "spiffe://td/ns/x/sa/y\n", CN_ERR_SYNTAX, NULL, NULL, NULL },
};

static bool
is(cn_bytes_t bytes, const char *text)
{
    return cn_bytes_equal(bytes, cn_bytes_str(text));
}


static void
ids_are_split_or_refused(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        const char   *name = cases[i].id;
        cn_bytes_t    id = unit_copy(cn_bytes_str(name));
        cn_spiffe_t   parts = { .trust_domain = CN_BYTES_NONE };

        unit_check(cn_spiffe_parse(id, &parts) == cases[i].status, name);
        unit_check(is(parts.trust_domain, cases[i].trust_domain), name);
        unit_check(is(parts.name_space, cases[i].name_space), name);
        unit_check(is(parts.service_account, cases[i].service_account), name);
        unit_free(id);
    }
}


static void
a_nul_ends_nothing(void **state)
{
    cn_spiffe_t  parts;

    (void) state;

    assert_int_equal(cn_spiffe_parse(CN_BYTES("spiffe://td/ns/x/sa/admin\0x"), &parts),
                     CN_ERR_SYNTAX);
    assert_int_equal(cn_spiffe_parse(CN_BYTES("spiffe://td\0/ns/x/sa/y"), &parts), CN_ERR_SYNTAX);
    assert_int_equal(cn_spiffe_parse(CN_BYTES_NONE, &parts), CN_ERR_SYNTAX);
}


static void
an_id_has_a_longest_length(void **state)
{
    static const char  start[] = "spiffe://td/ns/x/sa/";

    uint8_t      id[2049];
    cn_spiffe_t  parts;

    (void) state;

    memset(id, 'y', sizeof(id));
    memcpy(id, start, sizeof(start) - 1);
    assert_int_equal(cn_spiffe_parse(cn_bytes(id, 2048), &parts), CN_OK);
    assert_int_equal(parts.service_account.len, 2048 - (sizeof(start) - 1));
    assert_int_equal(cn_spiffe_parse(cn_bytes(id, 2049), &parts), CN_ERR_SYNTAX);
}


/* Whatever stands at each place of an id: it never reads past it, and what it takes is plain. */
static void
no_octet_slips_through(void **state)
{
    static const char  good[] = "spiffe://td/ns/x/sa/y";

    (void) state;

    for (size_t at = 0; at < sizeof(good) - 1; at++) {
        for (unsigned octet = 0; octet < 256; octet++) {
            char         text[sizeof(good)];
            cn_bytes_t   id;
            cn_spiffe_t  parts;

            memcpy(text, good, sizeof(good));
            text[at] = (char) octet;
            id = unit_copy(cn_bytes(text, sizeof(good) - 1));

            if (cn_spiffe_parse(id, &parts) == CN_OK) {
                assert_true(octet == '-' || octet == '.' || octet == '_' || octet == '~'
                            || (octet >= '0' && octet <= '9') || (octet >= 'a' && octet <= 'z')
                            || (octet >= 'A' && octet <= 'Z') || (char) octet == good[at]);
            }

            unit_free(id);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(ids_are_split_or_refused),
        cmocka_unit_test(a_nul_ends_nothing),
        cmocka_unit_test(an_id_has_a_longest_length),
        cmocka_unit_test(no_octet_slips_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
