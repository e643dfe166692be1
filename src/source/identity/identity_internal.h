/* SPDX-License-Identifier: Apache-2.0 */

/* identity_internal - what the files of this folder share.  It shows OpenSSL's types. */

#ifndef CN_SOURCE_IDENTITY_INTERNAL_H
#define CN_SOURCE_IDENTITY_INTERNAL_H

#include "source/identity/identity.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

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

/* The validity of a certificate as s since 1970; 0 for what cannot be told. */
void cn_identity_validity(const X509 *cert, uint64_t *begins, uint64_t *expires);

#endif
