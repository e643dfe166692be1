/* SPDX-License-Identifier: Apache-2.0 */

/* certs - good and bad certificates, for the tests of whatever verifies them. */

#ifndef CN_T_STREAM_CERTS_H
#define CN_T_STREAM_CERTS_H

#include "base/bytes.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct {
    EVP_PKEY  *key;
    X509      *cert;
    char      *pem;             /* the certificate */
} test_ca_t;

/* What a leaf says; zeroed is a good one but for its names. */
typedef struct {
    cn_bytes_t   uris[3];
    const char  *dns;           /* a DNS name besides */
    const char  *ip;            /* an IP address besides, as text */
    const char  *common_name;   /* of the subject, which has none otherwise */
    long         begins_s;      /* from now; 0: an hour ago */
    long         ends_s;        /* from now; 0: in an hour */
    const char  *usage;         /* extended key usage; NULL: both sides */
    bool         is_ca;
    bool         two_extensions;
} test_leaf_t;

typedef struct {
    char  *chain;
    char  *key;
} test_cert_t;


static inline char *
test_pem(BIO *bio)
{
    char  *data;
    long   len = BIO_get_mem_data(bio, &data);
    char  *pem = malloc((size_t) len + 1);

    assert_non_null(pem);
    memcpy(pem, data, (size_t) len);
    pem[len] = '\0';
    BIO_free(bio);

    return pem;
}

static inline char *
test_cert_pem(X509 *cert)
{
    BIO  *bio = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_X509(bio, cert), 1);

    return test_pem(bio);
}

static inline void
test_extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX       context;
    X509_EXTENSION  *extension;

    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline X509 *
test_cert_begin(EVP_PKEY *key, long begins_s, long ends_s)
{
    static long  serial = 1000;
    X509        *cert = X509_new();

    assert_non_null(cert);
    assert_int_equal(X509_set_version(cert, 2), 1);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), begins_s);
    X509_gmtime_adj(X509_getm_notAfter(cert), ends_s);
    assert_int_equal(X509_set_pubkey(cert, key), 1);

    return cert;
}

static inline test_ca_t
test_ca_create(const char *name)
{
    test_ca_t   ca = { .key = EVP_EC_gen("P-256") };
    X509_NAME  *subject;

    assert_non_null(ca.key);
    ca.cert = test_cert_begin(ca.key, -3600, 36000);
    subject = X509_get_subject_name(ca.cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *) name, -1, -1, 0);
    X509_set_issuer_name(ca.cert, subject);
    test_extend(ca.cert, ca.cert, NID_basic_constraints, "critical,CA:TRUE");
    test_extend(ca.cert, ca.cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    assert_true(X509_sign(ca.cert, ca.key, EVP_sha256()) > 0);
    ca.pem = test_cert_pem(ca.cert);

    return ca;
}

static inline void
test_ca_free(test_ca_t *ca)
{
    EVP_PKEY_free(ca->key);
    X509_free(ca->cert);
    free(ca->pem);
}

static inline void
test_add_name(GENERAL_NAMES *names, int type, cn_bytes_t text)
{
    GENERAL_NAME    *name = GENERAL_NAME_new();
    ASN1_IA5STRING  *string = ASN1_IA5STRING_new();

    assert_int_equal(ASN1_STRING_set(string, text.ptr, (int) text.len), 1);
    GENERAL_NAME_set0_value(name, type, string);
    sk_GENERAL_NAME_push(names, name);
}

static inline void
test_add_names(X509 *cert, const test_leaf_t *leaf)
{
    GENERAL_NAMES  *names = sk_GENERAL_NAME_new_null();

    if (leaf->dns != NULL) {
        test_add_name(names, GEN_DNS, cn_bytes_str(leaf->dns));
    }

    if (leaf->ip != NULL) {
        GENERAL_NAME       *name = GENERAL_NAME_new();
        ASN1_OCTET_STRING  *octets = a2i_IPADDRESS(leaf->ip);

        assert_non_null(octets);
        GENERAL_NAME_set0_value(name, GEN_IPADD, octets);
        sk_GENERAL_NAME_push(names, name);
    }

    for (size_t i = 0; i < CN_COUNT_OF(leaf->uris) && leaf->uris[i].len > 0; i++) {
        test_add_name(names, GEN_URI, leaf->uris[i]);
    }

    if (sk_GENERAL_NAME_num(names) > 0) {
        assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 1, X509V3_ADD_APPEND), 1);

        if (leaf->two_extensions) {
            assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 1, X509V3_ADD_APPEND), 1);
        }
    }

    GENERAL_NAMES_free(names);
}

static inline test_cert_t
test_issue(const test_ca_t *ca, const test_leaf_t *leaf)
{
    EVP_PKEY     *key = EVP_EC_gen("P-256");
    X509         *cert = test_cert_begin(key, leaf->begins_s == 0 ? -3600 : leaf->begins_s,
                                         leaf->ends_s == 0 ? 3600 : leaf->ends_s);
    BIO          *bio = BIO_new(BIO_s_mem());
    test_cert_t   made;

    X509_set_issuer_name(cert, X509_get_subject_name(ca->cert));

    if (leaf->common_name != NULL) {
        X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                                   (const unsigned char *) leaf->common_name, -1, -1, 0);
    }

    test_extend(cert, ca->cert, NID_basic_constraints, leaf->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    test_extend(cert, ca->cert, NID_key_usage, leaf->is_ca ? "critical,digitalSignature,keyCertSign"
                                                           : "critical,digitalSignature");
    test_extend(cert, ca->cert, NID_ext_key_usage, leaf->usage == NULL ? "serverAuth,clientAuth" : leaf->usage);
    test_add_names(cert, leaf);
    assert_true(X509_sign(cert, ca->key, EVP_sha256()) > 0);
    made.chain = test_cert_pem(cert);
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    made.key = test_pem(bio);
    X509_free(cert);
    EVP_PKEY_free(key);

    return made;
}

static inline void
test_cert_free(test_cert_t *cert)
{
    free(cert->chain);
    free(cert->key);
}

#endif
