/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each allocation of what makes an identity fails once: there is an error with a reason and nothing else, nothing leaks, and
 * the next attempt succeeds.
 */

#define CN_FAIL_ALLOC

/* own copies, with the fault injection in them; the archive's stay out of the link */
#include "base/block.c"
#include "base/pool.c"

#include "unit.h"

#include "base/log.h"
#include "model/module_config.h"
#include "source/identity/answers.h"
#include "source/identity/ca_response.h"
#include "source/identity/csr.h"
#include "source/identity/secret.h"

#include "secret.pb-c.h"

#define ID          "spiffe://cluster.local/ns/default/sa/waypoint"
#define ROUNDS_MAX  500

static test_ca_t    root, other;
static test_cert_t  cert;
static char         error[CN_IDENTITY_ERROR_MAX];


static void
no_log(void *context, cn_bytes_t line)
{
    (void) context;
    (void) line;
}


static int
setup(void **state)
{
    static const test_leaf_t  leaf = { .uris = { CN_BYTES_INIT(ID) } };

    (void) state;
    cn_log_open("test", no_log, NULL);
    root = test_ca_create("root");
    other = test_ca_create("other");
    cert = test_issue(&root, &leaf);

    return 0;
}


static int
teardown(void **state)
{
    (void) state;
    test_ca_free(&root);
    test_ca_free(&other);
    test_cert_free(&cert);
    cn_log_open("test", NULL, NULL);

    return 0;
}


static bool
is_none(const cn_identity_t *identity)
{
    return identity->chain_pem.ptr == NULL && identity->key_pem.ptr == NULL
           && identity->roots_pem.ptr == NULL && identity->expires == 0;
}


/* True: it succeeded. */
static bool
make_request(void)
{
    cn_csr_t     csr;
    cn_status_t  status = cn_csr_create((cn_key_config_t) { .rsa_bits = 0 }, CN_BYTES(ID), &csr,
                                        error);

    assert_true((status == CN_OK) == (csr.key_pem.ptr != NULL && csr.csr_pem.ptr != NULL));
    assert_true(status == CN_OK || status == CN_ERR_MEMORY);
    cn_csr_wipe(&csr);

    return status == CN_OK;
}


static bool
read_response(void)
{
    const char        *elements[] = { cert.chain, root.pem, NULL };
    cn_bytes_t         message = answer_pack(elements);
    cn_chain_asked_t   asked = {
        .spiffe_id = CN_BYTES(ID),
        .key_pem = cn_bytes_str(cert.key),
        .extra_roots_pem = cn_bytes_str(other.pem),
    };
    cn_identity_t      identity;
    cn_status_t        status = cn_ca_response_read(message, &asked, &identity, error);

    assert_true((status != CN_OK) == is_none(&identity));
    cn_identity_wipe(&identity);
    unit_free(message);

    return status == CN_OK;
}


static size_t
pack_secret(cn_secret_kind_t kind, uint8_t *to)
{
    Cairn__DataSource      first, second;
    Cairn__TlsCertificate  certificate = CAIRN__TLS_CERTIFICATE__INIT;
    Cairn__TrustBundle     bundle = CAIRN__TRUST_BUNDLE__INIT;
    Cairn__Secret          message = CAIRN__SECRET__INIT;

    cairn__data_source__init(&first);
    first.specifier_case = CAIRN__DATA_SOURCE__SPECIFIER_INLINE_BYTES;
    second = first;

    if (kind == CN_SECRET_ROOTS) {
        first.inline_bytes = (ProtobufCBinaryData) { strlen(root.pem), (uint8_t *) root.pem };
        bundle.trusted_ca = &first;
        message.type_case = CAIRN__SECRET__TYPE_VALIDATION_CONTEXT;
        message.validation_context = &bundle;

    } else {
        first.inline_bytes = (ProtobufCBinaryData) { strlen(cert.chain), (uint8_t *) cert.chain };
        second.inline_bytes = (ProtobufCBinaryData) { strlen(cert.key), (uint8_t *) cert.key };
        certificate.certificate_chain = &first;
        certificate.private_key = &second;
        message.type_case = CAIRN__SECRET__TYPE_TLS_CERTIFICATE;
        message.tls_certificate = &certificate;
    }

    return cairn__secret__pack(&message, to);
}


static bool
read_secret(cn_read_t *read, cn_secret_kind_t kind, cn_secret_t *secret)
{
    uint8_t  octets[8192];
    bool     good = cn_secret_read(read, cn_bytes(octets, pack_secret(kind, octets)), secret);

    assert_true(good || (secret->key_pem.ptr == NULL && secret->chain_pem.ptr == NULL
                         && secret->roots_pem.ptr == NULL && secret->name.ptr == NULL));
    assert_true(good || read->errors > 0);

    return good;
}


static bool
read_secrets(void)
{
    cn_pool_t      *pool = cn_pool_create(4096, NULL);
    cn_report_t    *report = pool == NULL ? NULL : cn_report_create(pool);
    cn_read_t       read = { .pool = pool, .report = report };
    cn_secret_t     certificate = { .kind = CN_SECRET_CERTIFICATE }, roots = certificate;
    cn_identity_t   identity = { .expires = 0 };
    bool            good = report != NULL && read_secret(&read, CN_SECRET_CERTIFICATE, &certificate)
        && read_secret(&read, CN_SECRET_ROOTS, &roots);

    if (good) {
        good = cn_secret_identity(&certificate, &roots, CN_BYTES(ID), &identity, error) == CN_OK;
        assert_true(good || error[0] != '\0');
    }

    assert_true(good != is_none(&identity));
    cn_identity_wipe(&identity);
    cn_secret_wipe(&certificate);
    cn_secret_wipe(&roots);
    cn_pool_destroy(pool);

    return good;
}


/* Until no allocation is left to fail; one may fail without harm (a cache, a report). */
static void
fail_each(bool (*attempt)(void), unsigned least)
{
    unsigned  failed = 0;
    bool      reached = true;

    for (size_t at = 1; reached; at++) {
        bool  good;

        assert_true(at < ROUNDS_MAX);
        error[0] = '\0';
        cn_alloc_fail_at(at);
        good = attempt();
        reached = fail_at == 0;
        cn_alloc_fail_at(0);
        failed += good ? 0 : 1;
        assert_true(reached || good);
        assert_true(attempt());
    }

    assert_true(failed >= least);
}


static void
of_a_request(void **state)
{
    (void) state;
    fail_each(make_request, 2);
}


static void
of_a_response(void **state)
{
    (void) state;
    fail_each(read_response, 5);
}


static void
of_secrets(void **state)
{
    (void) state;
    fail_each(read_secrets, 6);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(of_a_request, setup, teardown),
        cmocka_unit_test_setup_teardown(of_a_response, setup, teardown),
        cmocka_unit_test_setup_teardown(of_secrets, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
