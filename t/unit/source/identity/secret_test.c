/* SPDX-License-Identifier: Apache-2.0 */

/* Secrets as SDS carries them become an identity; what restricts and is not implemented is refused. */

#include "unit.h"

#include "base/pool.h"
#include "model/module_config.h"
#include "source/identity/secret.h"
#include "stream/certs.h"

#include "secret.pb-c.h"

#include <stdio.h>

#define ID  "spiffe://cluster.local/ns/default/sa/waypoint"

static test_ca_t     root;
static test_cert_t   cert;
static cn_pool_t    *pool;
static cn_report_t  *report;
static cn_read_t     read_state;
static uint8_t       octets[65536];


static int
setup(void **state)
{
    static const test_leaf_t  leaf = { .uris = { CN_BYTES_INIT(ID) } };

    (void) state;
    root = test_ca_create("root");
    cert = test_issue(&root, &leaf);
    pool = cn_pool_create(4096, NULL);
    report = cn_report_create(pool);
    read_state = (cn_read_t) { .pool = pool, .report = report };

    return report == NULL;
}


static int
teardown(void **state)
{
    (void) state;
    test_ca_free(&root);
    test_cert_free(&cert);
    cn_pool_destroy(pool);

    return 0;
}


static Cairn__DataSource
text_source(const char *text)
{
    Cairn__DataSource  source;

    cairn__data_source__init(&source);
    source.specifier_case = CAIRN__DATA_SOURCE__SPECIFIER_INLINE_BYTES;
    source.inline_bytes = (ProtobufCBinaryData) {
        .len = strlen(text), .data = (uint8_t *) (uintptr_t) text,
    };

    return source;
}


static bool
read_message(const Cairn__Secret *message, cn_secret_t *secret)
{
    cn_bytes_t  packed = cn_bytes(octets, cairn__secret__pack(message, octets));
    cn_bytes_t  copy = unit_copy(packed);
    bool        good = cn_secret_read(&read_state, copy, secret);

    unit_free(copy);

    return good;
}


static bool
read_certificate(Cairn__DataSource *chain, Cairn__DataSource *key, cn_secret_t *secret)
{
    Cairn__TlsCertificate  certificate = CAIRN__TLS_CERTIFICATE__INIT;
    Cairn__Secret          message = CAIRN__SECRET__INIT;

    certificate.certificate_chain = chain;
    certificate.private_key = key;
    message.has_name = true;
    message.name = (ProtobufCBinaryData) { .len = 7, .data = (uint8_t *) (uintptr_t) "default" };
    message.type_case = CAIRN__SECRET__TYPE_TLS_CERTIFICATE;
    message.tls_certificate = &certificate;

    return read_message(&message, secret);
}


static bool
read_roots(Cairn__DataSource *roots, cn_secret_t *secret)
{
    Cairn__TrustBundle  bundle = CAIRN__TRUST_BUNDLE__INIT;
    Cairn__Secret       message = CAIRN__SECRET__INIT;

    bundle.trusted_ca = roots;
    message.has_name = true;
    message.name = (ProtobufCBinaryData) { .len = 6, .data = (uint8_t *) (uintptr_t) "ROOTCA" };
    message.type_case = CAIRN__SECRET__TYPE_VALIDATION_CONTEXT;
    message.validation_context = &bundle;

    return read_message(&message, secret);
}


static void
a_certificate_and_roots_are_an_identity(void **state)
{
    Cairn__DataSource  chain = text_source(cert.chain);
    Cairn__DataSource  key = text_source(cert.key);
    Cairn__DataSource  roots = text_source(root.pem);
    cn_secret_t        certificate, bundle;
    cn_identity_t      identity;
    char               error[CN_IDENTITY_ERROR_MAX];

    (void) state;
    key.specifier_case = CAIRN__DATA_SOURCE__SPECIFIER_INLINE_STRING;
    assert_true(read_certificate(&chain, &key, &certificate));
    assert_bytes(certificate.name, "default");
    assert_int_equal(certificate.kind, CN_SECRET_CERTIFICATE);
    assert_true(cn_bytes_equal(certificate.key_pem, cn_bytes_str(cert.key)));
    assert_true(read_roots(&roots, &bundle));
    assert_bytes(bundle.name, "ROOTCA");
    assert_int_equal(bundle.kind, CN_SECRET_ROOTS);

    assert_int_equal(cn_secret_identity(&certificate, &bundle, CN_BYTES(ID), &identity, error),
                     CN_OK);
    assert_true(cn_bytes_equal(identity.chain_pem, cn_bytes_str(cert.chain)));
    assert_true(cn_bytes_equal(identity.key_pem, cn_bytes_str(cert.key)));
    assert_true(cn_bytes_equal(identity.roots_pem, cn_bytes_str(root.pem)));
    assert_int_equal(identity.expires - identity.begins, 7200);
    cn_identity_wipe(&identity);

    assert_int_equal(cn_secret_identity(&bundle, &certificate, CN_BYTES(ID), &identity, error),
                     CN_ERR_REFUSED);
    assert_non_null(strstr(error, "are of other kinds"));
    assert_int_equal(read_state.errors, 0);
    cn_secret_wipe(&certificate);
    assert_null(certificate.key_pem.ptr);
    cn_secret_wipe(&bundle);
}


static void
what_does_not_belong_together_is_refused(void **state)
{
    test_ca_t          other = test_ca_create("other");
    Cairn__DataSource  chain = text_source(cert.chain);
    Cairn__DataSource  key = text_source(cert.key);
    Cairn__DataSource  roots = text_source(other.pem);
    cn_secret_t        certificate, bundle;
    cn_identity_t      identity;
    char               error[CN_IDENTITY_ERROR_MAX];

    (void) state;
    assert_true(read_certificate(&chain, &key, &certificate));
    assert_true(read_roots(&roots, &bundle));
    assert_int_equal(cn_secret_identity(&certificate, &bundle, CN_BYTES(ID), &identity, error),
                     CN_ERR_SYNTAX);
    assert_non_null(strstr(error, "the chain does not lead to its root"));
    assert_null(identity.key_pem.ptr);
    cn_secret_wipe(&certificate);
    cn_secret_wipe(&bundle);
    test_ca_free(&other);
}


/* The last of the report. */
static void
was_reported(const char *field, const char *text)
{
    const cn_report_entry_t  *entry = CN_ARRAY_AT(&report->entries, cn_report_entry_t,
                                                  report->entries.count - 1);

    assert_non_null(strstr(entry->field, field));
    assert_non_null(strstr(entry->text, text));
}


static void
a_text_that_is_not_there_is_refused(void **state)
{
    Cairn__DataSource  good = text_source("text");
    Cairn__DataSource  empty = text_source("");
    Cairn__DataSource  none;
    Cairn__DataSource  file = text_source("/etc/key.pem");
    cn_secret_t        secret;

    (void) state;
    cairn__data_source__init(&none);
    file.specifier_case = CAIRN__DATA_SOURCE__SPECIFIER_REFUSED_FILENAME;
    assert_false(read_certificate(&good, NULL, &secret));
    was_reported("tls_certificate.private_key", "is needed, as inline_bytes or inline_string");
    assert_null(secret.chain_pem.ptr);
    assert_false(read_certificate(NULL, &good, &secret));
    was_reported("tls_certificate.certificate_chain", "is needed");
    assert_null(secret.key_pem.ptr);
    assert_false(read_certificate(&empty, &good, &secret));
    was_reported("tls_certificate.certificate_chain", "is needed");
    assert_false(read_certificate(&none, &good, &secret));
    was_reported("tls_certificate.certificate_chain", "is needed");
    assert_false(read_certificate(&good, &file, &secret));
    was_reported("tls_certificate.private_key.filename", "is not implemented");
    assert_false(read_roots(NULL, &secret));
    was_reported("validation_context.trusted_ca", "is needed");
}


static void
what_restricts_is_refused(void **state)
{
    Cairn__DataSource   revoked = text_source("-----BEGIN CERTIFICATE-----\n-----BEGIN X509 CRL-----\n");
    Cairn__DataSource   roots = text_source(root.pem);
    Cairn__TrustBundle  bundle = CAIRN__TRUST_BUNDLE__INIT;
    Cairn__Secret       message = CAIRN__SECRET__INIT;
    cn_secret_t         secret;

    (void) state;
    assert_false(read_roots(&revoked, &secret));
    was_reported("validation_context.trusted_ca", "a revocation list, which is not implemented");
    assert_null(secret.roots_pem.ptr);

    bundle.trusted_ca = &roots;
    bundle.has_refused_crl = true;
    bundle.refused_crl = (ProtobufCBinaryData) { .len = 0, .data = octets };
    message.type_case = CAIRN__SECRET__TYPE_VALIDATION_CONTEXT;
    message.validation_context = &bundle;
    assert_false(read_message(&message, &secret));
    was_reported("validation_context.crl", "is not implemented");

    message = (Cairn__Secret) CAIRN__SECRET__INIT;
    message.type_case = CAIRN__SECRET__TYPE_REFUSED_GENERIC_SECRET;
    message.refused_generic_secret = (ProtobufCBinaryData) { .len = 0, .data = octets };
    assert_false(read_message(&message, &secret));
    was_reported("generic_secret", "is not implemented");

    message = (Cairn__Secret) CAIRN__SECRET__INIT;
    assert_false(read_message(&message, &secret));
    was_reported("", "has neither tls_certificate nor validation_context");

    assert_false(cn_secret_read(&read_state, CN_BYTES("\x0a\xff"), &secret));
    was_reported("", "is no Secret");
    assert_false(cn_secret_read(&read_state, CN_BYTES("\x32\x01x"), &secret));
    was_reported("", "field 6 of Secret is not implemented");
}


#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        CASE(a_certificate_and_roots_are_an_identity),
        CASE(what_does_not_belong_together_is_refused),
        CASE(a_text_that_is_not_there_is_refused),
        CASE(what_restricts_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
