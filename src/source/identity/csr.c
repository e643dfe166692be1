/* SPDX-License-Identifier: Apache-2.0 */

/* csr - see csr.h. */

#include "source/identity/csr.h"
#include "source/identity/identity_internal.h"
#include "stream/spiffe.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <stdio.h>


static bool
check_key(cn_key_config_t *key, char error[CN_IDENTITY_ERROR_MAX])
{
    if (key->kind != CN_KEY_RSA) {
        return true;
    }

    if (key->rsa_bits == 0) {
        key->rsa_bits = CN_KEY_RSA_BITS_MIN;
    }

    if (key->rsa_bits >= CN_KEY_RSA_BITS_MIN && key->rsa_bits <= CN_KEY_RSA_BITS_MAX) {
        return true;
    }

    (void) snprintf(error, CN_IDENTITY_ERROR_MAX, "an RSA key has %d to %d bits and not %u",
                    CN_KEY_RSA_BITS_MIN, CN_KEY_RSA_BITS_MAX, key->rsa_bits);

    return false;
}


static EVP_PKEY *
make_key(cn_key_config_t key)
{
    switch (key.kind) {
    case CN_KEY_P256:
        return EVP_EC_gen("P-256");
    case CN_KEY_P384:
        return EVP_EC_gen("P-384");
    case CN_KEY_RSA:
        return EVP_RSA_gen(key.rsa_bits);
    }

    return NULL;
}


static bool
add_names(X509_REQ *request, cn_bytes_t uri)
{
    GENERAL_NAMES             *names = cn_identity_uri_names(uri);
    STACK_OF(X509_EXTENSION)  *extensions = NULL;
    /* critical, because the subject is empty */
    bool                       good = names != NULL
        && X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT) == 1
        && X509_REQ_add_extensions(request, extensions) == 1;

    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);

    return good;
}


static cn_bytes_t
print_request(EVP_PKEY *key, cn_key_kind_t kind, cn_bytes_t uri)
{
    X509_REQ    *request = X509_REQ_new();
    BIO         *bio = BIO_new(BIO_s_mem());
    cn_bytes_t   pem = CN_BYTES_NONE;

    if (request != NULL && bio != NULL
        && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1
        && X509_REQ_set_pubkey(request, key) == 1
        && add_names(request, uri)
        && X509_REQ_sign(request, key, kind == CN_KEY_P384 ? EVP_sha384() : EVP_sha256()) > 0
        && PEM_write_bio_X509_REQ(bio, request) == 1)
    {
        pem = cn_identity_take_bio(bio);
        bio = NULL;
    }

    BIO_free(bio);
    X509_REQ_free(request);

    return pem;
}


cn_status_t
cn_csr_create(cn_key_config_t key, cn_bytes_t spiffe_id, cn_csr_t *csr,
    char error[CN_IDENTITY_ERROR_MAX])
{
    cn_spiffe_t   parts;
    EVP_PKEY     *made;
    char          escaped[256];

    *csr = (cn_csr_t) { .key_pem = CN_BYTES_NONE };
    ERR_clear_error();

    if (cn_spiffe_parse(spiffe_id, &parts) != CN_OK) {
        (void) snprintf(error, CN_IDENTITY_ERROR_MAX, "%s: it is no workload's SPIFFE id",
                        cn_bytes_escape(spiffe_id, escaped, sizeof(escaped)));
        return CN_ERR_SYNTAX;
    }

    if (!check_key(&key, error)) {
        return CN_ERR_RANGE;
    }

    made = make_key(key);

    if (made != NULL) {
        csr->key_pem = cn_identity_print_pem(NULL, made);
        csr->csr_pem = print_request(made, key.kind, spiffe_id);
    }

    EVP_PKEY_free(made);                    /* OpenSSL wipes it */

    if (csr->key_pem.len == 0 || csr->csr_pem.len == 0) {
        cn_identity_error(error, "certificate request", "it cannot be made");
        cn_csr_wipe(csr);
        return CN_ERR_MEMORY;
    }

    return CN_OK;
}


void
cn_csr_wipe(cn_csr_t *csr)
{
    cn_identity_free_pem(&csr->key_pem);
    cn_identity_free_pem(&csr->csr_pem);
}
