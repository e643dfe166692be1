/* SPDX-License-Identifier: Apache-2.0 */

/* A CA's response becomes an identity, or is refused for one clear reason. */

#include "unit.h"

#include "base/log.h"
#include "source/identity/ca_response.h"
#include "source/identity/answers.h"
#include "stream/tls.h"

#include <openssl/err.h>

#include <stdio.h>
#include <time.h>

#define ID     "spiffe://cluster.local/ns/default/sa/waypoint"
#define OTHER  "spiffe://mesh.example/ns/default/sa/waypoint"

static test_ca_t    root, other_root, middle;
static test_cert_t  below_root, below_middle;
static char         error[CN_IDENTITY_ERROR_MAX];
static char         said[4096];


static void
hear(void *context, cn_bytes_t line)
{
    size_t  len = strlen(said);

    (void) context;
    (void) snprintf(said + len, sizeof(said) - len, "%.*s", CN_BYTES_ARG(line));
}


static int
setup(void **state)
{
    static const test_leaf_t  leaf = { .uris = { CN_BYTES_INIT(ID) } };

    (void) state;
    root = test_ca_create("root");
    other_root = test_ca_create("other root");
    middle = answer_intermediate(&root, "middle");
    below_root = test_issue(&root, &leaf);
    below_middle = test_issue(&middle, &leaf);
    cn_log_open("test", hear, NULL);

    return 0;
}


static int
teardown(void **state)
{
    (void) state;
    cn_log_open("test", NULL, NULL);
    test_ca_free(&root);
    test_ca_free(&other_root);
    test_ca_free(&middle);
    test_cert_free(&below_root);
    test_cert_free(&below_middle);

    return 0;
}


/* Reads from a block of its exact size. */
static cn_status_t
read_message(cn_bytes_t message, const char *key, const char *extra_roots, cn_identity_t *identity)
{
    cn_chain_asked_t  asked = {
        .spiffe_id = CN_BYTES(ID),
        .key_pem = cn_bytes_str(key),
        .extra_roots_pem = cn_bytes_str(extra_roots),
    };

    error[0] = '\0';
    said[0] = '\0';

    return cn_ca_response_read(message, &asked, identity, error);
}


static cn_status_t
read_elements(const char *const *elements, const char *key, const char *extra_roots,
    cn_identity_t *identity)
{
    cn_bytes_t   message = answer_pack(elements);
    cn_status_t  status = read_message(message, key, extra_roots, identity);

    unit_free(message);

    return status;
}


static size_t
count_certs(cn_bytes_t pem)
{
    size_t  count = 0, at;

    while ((at = cn_bytes_find(pem, CN_BYTES("-----BEGIN CERTIFICATE-----"))) != SIZE_MAX) {
        pem = cn_bytes_from(pem, at + 1);
        count++;
    }

    return count;
}


/* What the identity proves, to the same functions as a worker's. */
static void
serves(const cn_identity_t *identity, const char *principal)
{
    static const cn_bytes_t   domain = CN_BYTES_INIT("cluster.local");
    cn_tls_identity_t         tls = {
        .chain_pem = identity->chain_pem, .key_pem = identity->key_pem,
        .roots_pem = identity->roots_pem, .trust_domains = &domain, .trust_domain_count = 1,
        .alpn = "h2",
    };
    const char               *why = "";
    cn_tls_context_t         *context = cn_tls_context_create(&tls, &why);

    assert_non_null(context);
    assert_true(cn_bytes_equal(cn_tls_context_principal(context), cn_bytes_str(principal)));
    assert_int_equal(cn_tls_context_expires(context), identity->expires);
    cn_tls_context_unref(context);
}


static void
good_responses_are_identities(void **state)
{
    static char  leaf_and_middle[16384], roots[16384], three_roots[32768];
    const struct {
        const char         *name;
        const char         *elements[5];
        const test_cert_t  *cert;
        const char         *extra_roots;
        size_t              chain;
        size_t              roots;
    } cases[] = {
        { "a leaf and a root", { below_root.chain, root.pem }, &below_root, NULL, 1, 1 },
        { "a leaf, an intermediate and a root", { below_middle.chain, middle.pem, root.pem },
          &below_middle, NULL, 2, 1 },
        { "leaf and intermediate in one element", { leaf_and_middle, root.pem }, &below_middle,
          NULL, 2, 1 },
        { "two roots in the last element", { below_root.chain, roots }, &below_root, NULL, 1, 2 },
        { "two roots, each an element", { below_root.chain, root.pem, other_root.pem },
          &below_root, NULL, 1, 2 },
        { "two roots, the other first",
          { below_middle.chain, middle.pem, other_root.pem, root.pem }, &below_middle, NULL, 2, 2 },
        { "a root twice", { below_root.chain, root.pem, root.pem }, &below_root, NULL, 1, 1 },
        { "a root besides", { below_root.chain, root.pem }, &below_root, other_root.pem, 1, 2 },
        { "roots besides, one known", { below_root.chain, root.pem }, &below_root, three_roots, 1,
          2 },
    };
    cn_identity_t  identity;

    (void) state;
    snprintf(leaf_and_middle, sizeof(leaf_and_middle), "%s%s", below_middle.chain, middle.pem);
    snprintf(roots, sizeof(roots), "%s\n%s", other_root.pem, root.pem);
    snprintf(three_roots, sizeof(three_roots), "%s%s%s", root.pem, other_root.pem, root.pem);

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_status_t  status = read_elements(cases[i].elements, cases[i].cert->key,
                                            cases[i].extra_roots, &identity);

        if (status != CN_OK) {
            fail_msg("%s: %s", cases[i].name, error);
        }

        unit_check(count_certs(identity.chain_pem) == cases[i].chain, cases[i].name);
        unit_check(count_certs(identity.roots_pem) == cases[i].roots, cases[i].name);
        unit_check(cn_bytes_starts_with(identity.chain_pem, cn_bytes_str(cases[i].cert->chain)),
                   cases[i].name);
        unit_check(cn_bytes_equal(identity.key_pem, cn_bytes_str(cases[i].cert->key)),
                   cases[i].name);
        unit_check(identity.expires - identity.begins == 7200, cases[i].name);
        unit_check(said[0] == '\0', cases[i].name);
        unit_check(ERR_peek_error() == 0, cases[i].name);
        serves(&identity, ID);
        cn_identity_wipe(&identity);
    }
}


static void
text_around_certificates_goes_no_further(void **state)
{
    static char    noisy[16384];
    const char    *elements[] = { noisy, root.pem, NULL };
    cn_identity_t  identity;

    (void) state;
    snprintf(noisy, sizeof(noisy), "subject=/CN=x\n%strailing text\n", below_root.chain);
    assert_int_equal(read_elements(elements, below_root.key, NULL, &identity), CN_OK);
    assert_true(cn_bytes_equal(identity.chain_pem, cn_bytes_str(below_root.chain)));
    cn_identity_wipe(&identity);
}


/* Neither is refused: the CA goes by the token, and an identity that is not yet valid soon is. */
static void
another_id_and_another_time_are_taken_and_told(void **state)
{
    const test_leaf_t  leaf = { .uris = { CN_BYTES(OTHER) }, .begins_s = 60 };
    test_cert_t        cert = test_issue(&root, &leaf);
    const char        *elements[] = { cert.chain, root.pem, NULL };
    cn_identity_t      identity;

    (void) state;
    assert_int_equal(read_elements(elements, cert.key, NULL, &identity), CN_OK);
    assert_non_null(strstr(said, "[warn]"));
    assert_non_null(strstr(said, "take a certificate that is not valid yet: begins_in_s="));
    assert_non_null(strstr(said, "got=\"" OTHER "\" asked=\"" ID "\""));
    serves(&identity, OTHER);
    cn_identity_wipe(&identity);
    test_cert_free(&cert);
}


static void
refuses(const char *name, const char *const *elements, const char *key, const char *text)
{
    cn_identity_t  identity;
    cn_status_t    status = read_elements(elements, key, NULL, &identity);

    if (status == CN_OK || strstr(error, text) == NULL) {
        fail_msg("%s: said \"%s\" and not \"%s\"", name, error, text);
    }

    unit_check(status == CN_ERR_SYNTAX, name);
    unit_check(identity.key_pem.ptr == NULL && identity.chain_pem.ptr == NULL
               && identity.roots_pem.ptr == NULL && identity.expires == 0, name);
    unit_check(ERR_peek_error() == 0, name);
}


static void
bad_elements_are_refused(void **state)
{
    static char        large[300 * 1024], cut[16384], second_cut[32768], locked[16384];
    const char        *many[ANSWER_ELEMENTS_MAX] = { below_root.chain };
    const struct {
        const char    *name;
        const char    *elements[5];
        const char    *text;
    } cases[] = {
        { "none", { NULL }, "it has 0 elements: a leaf and a root are needed" },
        { "a leaf alone", { below_root.chain }, "it has 1 elements" },
        { "an empty leaf", { "", root.pem }, "element 1 of 2: it is no certificate" },
        { "words", { "certificate", root.pem }, "element 1 of 2: it is no certificate" },
        { "a key", { below_root.key, root.pem }, "element 1 of 2: it is no certificate" },
        { "an encrypted one", { locked, root.pem },
          "element 1 of 2: it is no certificate (bad password read)" },
        { "a leaf that is cut off", { cut, root.pem }, "element 1 of 2: it is no certificate" },
        { "an empty root", { below_root.chain, "" }, "element 2 of 2: it is no certificate" },
        { "one is cut off behind a good one", { second_cut, root.pem },
          "element 1 of 2: a certificate in it cannot be read" },
        { "an empty intermediate", { below_middle.chain, "", root.pem },
          "element 2 of 3: it is no certificate" },
        { "a large one", { below_root.chain, large }, "an element of it is larger than 256 KiB" },
        { "the leaf is the root", { root.pem, root.pem }, "chain: it has no readable subject" },
        { "no root", { below_middle.chain, middle.pem },
          "the last element is no self-signed root" },
        { "an intermediate last", { below_middle.chain, root.pem, middle.pem },
          "the last element is no self-signed root" },
        { "the leaf last", { root.pem, below_root.chain },
          "the last element is no self-signed root" },
    };

    (void) state;
    memset(large, 'x', sizeof(large) - 1);
    snprintf(cut, sizeof(cut), "%.*s", (int) strlen(below_root.chain) / 2, below_root.chain);
    snprintf(locked, sizeof(locked), "-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n"
             "DEK-Info: AES-128-CBC,000102030405060708090A0B0C0D0E0F\n\n%s",
             strchr(below_root.chain, '\n') + 1);
    snprintf(second_cut, sizeof(second_cut), "%s%s", below_root.chain, cut);

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        refuses(cases[i].name, cases[i].elements, below_root.key, cases[i].text);
    }

    for (size_t i = 1; i < CN_CHAIN_CERTS_MAX + 1; i++) {
        many[i] = root.pem;
    }

    refuses("too many", many, below_root.key, "it has too many certificates");
}


static void
bad_leaves_are_refused(void **state)
{
    const struct {
        const char   *name;
        test_leaf_t   leaf;
        const char   *text;
    } cases[] = {
        { "no name", { .begins_s = 0 }, "chain: " },
        { "a DNS name alone", { .dns = "waypoint.default" }, "chain: " },
        { "two ids", { .uris = { CN_BYTES(ID), CN_BYTES(OTHER) } }, "chain: " },
        { "an id and another URI", { .uris = { CN_BYTES(ID), CN_BYTES("https://a/") } },
          "chain: " },
        { "a URI that is no id", { .uris = { CN_BYTES("https://cluster.local/ns/a/sa/b") } },
          "chain: its URI name is no workload's SPIFFE id" },
        { "a node's id", { .uris = { CN_BYTES("spiffe://cluster.local/node/a") } },
          "chain: its URI name is no workload's SPIFFE id" },
        { "expired", { .uris = { CN_BYTES(ID) }, .ends_s = -10 }, "the leaf expired 1" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        test_cert_t  cert = test_issue(&root, &cases[i].leaf);
        const char  *elements[] = { cert.chain, root.pem, NULL };

        refuses(cases[i].name, elements, cert.key, cases[i].text);
        test_cert_free(&cert);
    }
}


static void
what_does_not_belong_together_is_refused(void **state)
{
    test_ca_t      twin = test_ca_create("root");
    const char    *elements[] = { below_root.chain, root.pem, NULL };
    const char    *strange[] = { below_root.chain, other_root.pem, NULL };
    const char    *forged[] = { below_root.chain, twin.pem, NULL };
    const char    *gap[] = { below_middle.chain, root.pem, NULL };
    cn_identity_t  identity;

    (void) state;
    refuses("another's key", elements, below_middle.key, "key: it does not match");
    refuses("another's root", strange, below_root.key, "the chain does not lead to its root: ");
    refuses("a root of the same name", forged, below_root.key,
            "the chain does not lead to its root: ");
    refuses("an intermediate is missing", gap, below_middle.key,
            "the chain does not lead to its root: ");

    /* .. and our own are no less looked at */
    assert_int_equal(read_elements(elements, below_root.key, "roots", &identity), CN_ERR_SYNTAX);
    assert_non_null(strstr(error, "the additional roots: it is no certificate"));
    test_ca_free(&twin);
}


static void
octets_that_are_no_message_are_refused(void **state)
{
    static uint8_t  large[CN_CA_RESPONSE_MAX + 1];
    cn_identity_t   identity;
    const char     *elements[] = { below_root.chain, root.pem, NULL };
    cn_bytes_t      whole = answer_pack(elements);

    (void) state;
    assert_int_equal(read_message(CN_BYTES("\x0a\xff"), below_root.key, NULL, &identity),
                     CN_ERR_SYNTAX);
    assert_string_equal(error, "it is no IstioCertificateResponse");
    assert_int_equal(read_message(cn_bytes(large, sizeof(large)), below_root.key, NULL, &identity),
                     CN_ERR_SYNTAX);
    assert_string_equal(error, "it is no IstioCertificateResponse");

    for (size_t len = 0; len < whole.len; len++) {
        cn_bytes_t  part = unit_copy(cn_bytes(whole.ptr, len));

        assert_int_equal(read_message(part, below_root.key, NULL, &identity), CN_ERR_SYNTAX);
        unit_free(part);
    }

    unit_free(whole);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(good_responses_are_identities),
        cmocka_unit_test(text_around_certificates_goes_no_further),
        cmocka_unit_test(another_id_and_another_time_are_taken_and_told),
        cmocka_unit_test(bad_elements_are_refused),
        cmocka_unit_test(bad_leaves_are_refused),
        cmocka_unit_test(what_does_not_belong_together_is_refused),
        cmocka_unit_test(octets_that_are_no_message_are_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
