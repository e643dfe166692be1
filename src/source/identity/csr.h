/* SPDX-License-Identifier: Apache-2.0 */

/* csr - a new key, and the request (PKCS #10, RFC 2986) by which a CA certifies it. */

#ifndef CN_SOURCE_IDENTITY_CSR_H
#define CN_SOURCE_IDENTITY_CSR_H

#include "source/identity/identity.h"

#define CN_KEY_RSA_BITS_MIN  2048
#define CN_KEY_RSA_BITS_MAX  8192

typedef enum {
    CN_KEY_P256,
    CN_KEY_P384,
    CN_KEY_RSA,
} cn_key_kind_t;

/* Zeroed is P-256. */
typedef struct {
    cn_key_kind_t  kind;
    uint32_t       rsa_bits;        /* CN_KEY_RSA_BITS_MIN..MAX; 0: the least */
} cn_key_config_t;

/* PEM texts on the heap, owned by the struct.  Zeroed is none. */
typedef struct {
    cn_bytes_t  key_pem;
    cn_bytes_t  csr_pem;            /* no subject, one URI name */
} cn_csr_t;

/*
 * A new key and a request for a workload's SPIFFE id, signed with it.  An RSA key takes tenths of a
 * second to make, and of 8192 bits seconds.  CN_ERR_SYNTAX: no workload's id; CN_ERR_RANGE: no such
 * key; CN_ERR_MEMORY.  *csr is none then, and error is set.
 */
cn_status_t cn_csr_create(cn_key_config_t key, cn_bytes_t spiffe_id, cn_csr_t *csr,
    char error[CN_IDENTITY_ERROR_MAX]) CN_MUST_USE;

/* Overwrites the texts, frees them and zeroes the struct. */
void cn_csr_wipe(cn_csr_t *csr);

#endif
