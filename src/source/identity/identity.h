/* SPDX-License-Identifier: Apache-2.0 */

/*
 * identity - where a workload's certificate, key and roots come from: files, the mesh's CA
 * (istio_ca.h), or a development CA of our own.  For the master and client programs; workers get
 * the PEM texts as a message.
 */

#ifndef CN_SOURCE_IDENTITY_H
#define CN_SOURCE_IDENTITY_H

#include "base/bytes.h"

#define CN_IDENTITY_ERROR_MAX  512      /* octets of an error's text, NUL included */

/* PEM texts on the heap, owned by the struct.  Zeroed is none. */
typedef struct {
    cn_bytes_t  chain_pem;              /* leaf first */
    cn_bytes_t  key_pem;
    cn_bytes_t  roots_pem;
    uint64_t    begins;                 /* of the leaf, s since 1970 */
    uint64_t    expires;
} cn_identity_t;

/* Overwrites the texts, frees them and zeroes the struct. */
void cn_identity_wipe(cn_identity_t *identity);

/*
 * Reads PEM files and checks that they belong together: the key is the leaf's, there is a root
 * (roots NULL: none is wanted).  certificate NULL, and key with it: the roots alone.
 * What peers would think of the names and the time is left to the TLS context.  CN_ERR_*: *identity
 * is none and error names the file and what is wrong with it.
 */
cn_status_t cn_identity_read_files(const char *certificate, const char *key, const char *roots,
    cn_identity_t *identity, char error[CN_IDENTITY_ERROR_MAX]) CN_MUST_USE;

/*
 * A certificate authority for one machine: whoever can read its directory can be anybody in its
 * mesh.
 */
typedef struct cn_identity_ca_s cn_identity_ca_t;

/*
 * Opens the CA of directory.  When there is none it is made: the directory (mode 0700), root.pem
 * (0600: certificate and key, P-256, 10 years) and root-cert.pem (the certificate alone, for other
 * programs).  Processes that do so at once end up with the same root.  NULL: error names the file
 * and what is wrong; a root.pem that others may read or that has expired is refused.
 */
cn_identity_ca_t *cn_identity_ca_open(const char *directory,
    char error[CN_IDENTITY_ERROR_MAX]) CN_MUST_USE;
void cn_identity_ca_close(cn_identity_ca_t *ca);

/* The root's certificate; lives as long as the CA. */
cn_bytes_t cn_identity_ca_root(const cn_identity_ca_t *ca);

/*
 * A new key and a certificate for a workload's SPIFFE id: P-256, 24 hours, for both sides of TLS,
 * no subject. CN_ERR_SYNTAX: no workload's id; CN_ERR_MEMORY.  *identity is none then, and error is
 * set.
 */
cn_status_t cn_identity_ca_issue(const cn_identity_ca_t *ca, cn_bytes_t spiffe_id,
    cn_identity_t *identity,
    char error[CN_IDENTITY_ERROR_MAX]) CN_MUST_USE;

#endif
