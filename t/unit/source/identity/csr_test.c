/* SPDX-License-Identifier: Apache-2.0 */

/* A request parses, names the workload, and is signed with the key that came with it. */

#include "unit.h"

#include "source/identity/csr.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define ID  "spiffe://cluster.local/ns/default/sa/waypoint"

static const struct {
    const char       *name;
    cn_key_config_t   key;
    const char       *type;
    int               bits;
    int               signature;
} keys[] = {
    { "by default P-256", { .rsa_bits = 0 }, "EC", 256, NID_ecdsa_with_SHA256 },
    { "P-384", { .kind = CN_KEY_P384 }, "EC", 384, NID_ecdsa_with_SHA384 },
    { "RSA by default 2048", { .kind = CN_KEY_RSA }, "RSA", 2048, NID_sha256WithRSAEncryption },
    { "RSA 3072", { .kind = CN_KEY_RSA, .rsa_bits = 3072 }, "RSA", 3072,
      NID_sha256WithRSAEncryption },
};


static X509_REQ *
parse_request(cn_bytes_t pem)
{
    BIO       *bio = BIO_new_mem_buf(pem.ptr, (int) pem.len);
    X509_REQ  *request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);

    assert_non_null(request);
    BIO_free(bio);

    return request;
}


static EVP_PKEY *
parse_key(cn_bytes_t pem)
{
    BIO       *bio = BIO_new_mem_buf(pem.ptr, (int) pem.len);
    EVP_PKEY  *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

    assert_non_null(key);
    BIO_free(bio);

    return key;
}


static void
check_names(X509_REQ *request, const char *name)
{
    STACK_OF(X509_EXTENSION)  *extensions = X509_REQ_get_extensions(request);
    int                        critical = 0;
    GENERAL_NAMES             *names = X509V3_get_d2i(extensions, NID_subject_alt_name, &critical,
                                                      NULL);
    const GENERAL_NAME        *uri = sk_GENERAL_NAME_value(names, 0);

    unit_check(sk_X509_EXTENSION_num(extensions) == 1, name);
    unit_check(sk_GENERAL_NAME_num(names) == 1, name);
    unit_check(critical == 1, name);
    unit_check(uri->type == GEN_URI, name);
    assert_bytes(cn_bytes(ASN1_STRING_get0_data(uri->d.ia5),
                          (size_t) ASN1_STRING_length(uri->d.ia5)), ID);
    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}


static void
a_request_is_what_a_ca_expects(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(keys); i++) {
        const char  *name = keys[i].name;
        cn_csr_t     csr;
        char         error[CN_IDENTITY_ERROR_MAX] = "";
        X509_REQ    *request;
        EVP_PKEY    *key;

        unit_check(cn_csr_create(keys[i].key, CN_BYTES(ID), &csr, error) == CN_OK, name);
        request = parse_request(csr.csr_pem);
        key = parse_key(csr.key_pem);
        unit_check(cn_bytes_starts_with(csr.csr_pem, CN_BYTES("-----BEGIN CERTIFICATE REQUEST-")),
                   name);
        unit_check(EVP_PKEY_is_a(key, keys[i].type), name);
        unit_check(EVP_PKEY_get_bits(key) == keys[i].bits, name);
        unit_check(EVP_PKEY_eq(key, X509_REQ_get0_pubkey(request)) == 1, name);
        unit_check(X509_REQ_verify(request, key) == 1, name);
        unit_check(X509_REQ_get_signature_nid(request) == keys[i].signature, name);
        unit_check(X509_NAME_entry_count(X509_REQ_get_subject_name(request)) == 0, name);
        check_names(request, name);
        X509_REQ_free(request);
        EVP_PKEY_free(key);
        cn_csr_wipe(&csr);
        unit_check(csr.key_pem.ptr == NULL && csr.csr_pem.ptr == NULL, name);
    }
}


static void
each_request_has_a_key_of_its_own(void **state)
{
    cn_csr_t  first, second;
    char      error[CN_IDENTITY_ERROR_MAX];

    (void) state;

    assert_int_equal(cn_csr_create(keys[0].key, CN_BYTES(ID), &first, error), CN_OK);
    assert_int_equal(cn_csr_create(keys[0].key, CN_BYTES(ID), &second, error), CN_OK);
    assert_false(cn_bytes_equal(first.key_pem, second.key_pem));
    assert_false(cn_bytes_equal(first.csr_pem, second.csr_pem));
    cn_csr_wipe(&first);
    cn_csr_wipe(&second);
}


static void
what_cannot_be_asked_for_is_refused(void **state)
{
    static const struct {
        const char       *name;
        cn_bytes_t        id;
        cn_key_config_t   key;
        cn_status_t       status;
        const char       *text;
    } cases[] = {
        { "no id", CN_BYTES_INIT(""), { .rsa_bits = 0 }, CN_ERR_SYNTAX,
          "it is no workload's SPIFFE id" },
        { "an id of something else", CN_BYTES_INIT("spiffe://cluster.local/node/a"),
          { .rsa_bits = 0 }, CN_ERR_SYNTAX, "spiffe://cluster.local/node/a: it is no workload's" },
        { "a second name in it", CN_BYTES_INIT(ID ",DNS:istiod"), { .rsa_bits = 0 }, CN_ERR_SYNTAX,
          "it is no workload's SPIFFE id" },
        { "an octet of a terminal", CN_BYTES_INIT(ID "\x1b[1m"), { .rsa_bits = 0 }, CN_ERR_SYNTAX,
          "\\x1b[1m: it is no" },
        { "a weak key", CN_BYTES_INIT(ID), { .kind = CN_KEY_RSA, .rsa_bits = 1024 }, CN_ERR_RANGE,
          "an RSA key has 2048 to 8192 bits and not 1024" },
        { "an endless key", CN_BYTES_INIT(ID), { .kind = CN_KEY_RSA, .rsa_bits = 65536 },
          CN_ERR_RANGE, "an RSA key has 2048 to 8192 bits and not 65536" },
        { "a key of no kind", CN_BYTES_INIT(ID), { .kind = (cn_key_kind_t) 7 }, CN_ERR_MEMORY,
          "certificate request: it cannot be made" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_csr_t  csr;
        char      error[CN_IDENTITY_ERROR_MAX] = "";

        unit_check(cn_csr_create(cases[i].key, cases[i].id, &csr, error) == cases[i].status,
                   cases[i].name);
        unit_check(csr.key_pem.ptr == NULL && csr.csr_pem.ptr == NULL, cases[i].name);
        unit_check(strstr(error, cases[i].text) != NULL, cases[i].name);
        unit_check(ERR_peek_error() == 0, cases[i].name);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_request_is_what_a_ca_expects),
        cmocka_unit_test(each_request_has_a_key_of_its_own),
        cmocka_unit_test(what_cannot_be_asked_for_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
