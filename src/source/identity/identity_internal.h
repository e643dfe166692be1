/* SPDX-License-Identifier: Apache-2.0 */

/* identity_internal - what the files of this folder share.  It shows OpenSSL's types. */

#ifndef CN_SOURCE_IDENTITY_INTERNAL_H
#define CN_SOURCE_IDENTITY_INTERNAL_H

#include "source/identity/identity.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>

/* Writes "path: what", with OpenSSL's reason if there is one, and clears that. */
void cn_identity_error(char error[CN_IDENTITY_ERROR_MAX], const char *path, const char *what);

/*
 * A whole file of at most 1 MiB on the heap (freed by cn_identity_free_pem()).  secret: it must be
 * a file that only its owner may read.  CN_ERR_NOT_FOUND, CN_ERR_REFUSED, CN_ERR_*: error is set.
 */
cn_status_t cn_identity_read_pem(const char *path, bool secret, cn_bytes_t *pem,
    char error[CN_IDENTITY_ERROR_MAX]) CN_MUST_USE;
void cn_identity_free_pem(cn_bytes_t *pem);

/* The first certificate and the first private key of a PEM text; NULL when there is none. */
X509 *cn_identity_parse_cert(cn_bytes_t pem);
EVP_PKEY *cn_identity_parse_key(cn_bytes_t pem);

/*
 * The certificate, the key or both as PEM on the heap (cn_identity_free_pem()); none: memory.
 * Either may be NULL.
 */
cn_bytes_t cn_identity_print_pem(X509 *cert, EVP_PKEY *key) CN_MUST_USE;

/* What a memory BIO holds, on the heap; the BIO, which may be NULL, is freed.  None: memory. */
cn_bytes_t cn_identity_take_bio(BIO *bio) CN_MUST_USE;

/* A heap copy, for cn_identity_free_pem(); none: memory, or there was none to copy. */
cn_bytes_t cn_identity_copy_pem(cn_bytes_t pem) CN_MUST_USE;

/*
 * The names of a certificate that has one URI: the octets as they are, not through the text form
 * of an extension, so that nothing in them can be taken for another name.  NULL: memory.
 */
GENERAL_NAMES *cn_identity_uri_names(cn_bytes_t uri) CN_MUST_USE;

/* The validity of a certificate as s since 1970; 0 for what cannot be told. */
void cn_identity_validity(const X509 *cert, uint64_t *begins, uint64_t *expires);

#endif
