/* SPDX-License-Identifier: Apache-2.0 */

/* answers - what a mesh's CA answers, for the tests of who asks it. */

#ifndef CN_T_IDENTITY_ANSWERS_H
#define CN_T_IDENTITY_ANSWERS_H

#include "stream/certs.h"

#include "ca.pb-c.h"

#define ANSWER_ELEMENTS_MAX  80

/* A CA below another. */
static inline test_ca_t
answer_intermediate(const test_ca_t *above, const char *name)
{
    test_ca_t  ca = test_ca_create(name);

    X509_set_issuer_name(ca.cert, X509_get_subject_name(above->cert));
    assert_true(X509_sign(ca.cert, above->key, EVP_sha256()) > 0);
    free(ca.pem);
    ca.pem = test_cert_pem(ca.cert);

    return ca;
}

/* The message, to be freed as unit_free() does; elements end with a NULL. */
static inline cn_bytes_t
answer_pack(const char *const *elements)
{
    Cairn__IstioCertificateResponse  response = CAIRN__ISTIO_CERTIFICATE_RESPONSE__INIT;
    ProtobufCBinaryData              data[ANSWER_ELEMENTS_MAX];
    uint8_t                         *octets;
    size_t                           len;

    response.cert_chain = data;

    while (elements[response.n_cert_chain] != NULL) {
        assert_true(response.n_cert_chain < ANSWER_ELEMENTS_MAX);
        data[response.n_cert_chain] = (ProtobufCBinaryData) {
            .len = strlen(elements[response.n_cert_chain]),
            .data = (uint8_t *) (uintptr_t) elements[response.n_cert_chain],
        };
        response.n_cert_chain++;
    }

    len = cairn__istio_certificate_response__get_packed_size(&response);
    octets = malloc(len == 0 ? 1 : len);
    assert_non_null(octets);
    assert_int_equal(cairn__istio_certificate_response__pack(&response, octets), len);

    return cn_bytes(octets, len);
}

/* A certificate for the key of a PEM request, as leaf says: PEM. */
static inline char *
answer_sign(const test_ca_t *ca, cn_bytes_t csr_pem, const test_leaf_t *leaf)
{
    BIO       *bio = BIO_new_mem_buf(csr_pem.ptr, (int) csr_pem.len);
    X509_REQ  *request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    X509      *cert;
    char      *pem;

    assert_non_null(request);
    assert_int_equal(X509_REQ_verify(request, X509_REQ_get0_pubkey(request)), 1);
    cert = test_cert_begin(X509_REQ_get0_pubkey(request),
                           leaf->begins_s == 0 ? -120 : leaf->begins_s,
                           leaf->ends_s == 0 ? 3600 : leaf->ends_s);
    X509_set_issuer_name(cert, X509_get_subject_name(ca->cert));
    test_extend(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE");
    test_extend(cert, ca->cert, NID_key_usage, "critical,digitalSignature,keyEncipherment");
    test_extend(cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth");
    test_add_names(cert, leaf);
    assert_true(X509_sign(cert, ca->key, EVP_sha256()) > 0);
    pem = test_cert_pem(cert);
    X509_free(cert);
    X509_REQ_free(request);
    BIO_free(bio);

    return pem;
}

#endif
