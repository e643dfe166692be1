/* SPDX-License-Identifier: Apache-2.0 */

/*
 * secret - certificates and roots as SDS carries them (SPIRE's agent over workload-spiffe-uds, and
 * whoever else speaks it): "default" is a certificate with its key, "ROOTCA" are the roots.
 */

#ifndef CN_SOURCE_IDENTITY_SECRET_H
#define CN_SOURCE_IDENTITY_SECRET_H

#include "model/module_config.h"
#include "source/identity/identity.h"

#define CN_SECRET_TYPE  \
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

typedef enum {
    CN_SECRET_CERTIFICATE,
    CN_SECRET_ROOTS,
} cn_secret_kind_t;

/* Texts on the heap, owned by the struct, PEM as it came.  Zeroed is none. */
typedef struct {
    cn_secret_kind_t  kind;
    cn_bytes_t        name;
    cn_bytes_t        chain_pem;        /* of a certificate; leaf first */
    cn_bytes_t        key_pem;
    cn_bytes_t        roots_pem;        /* of roots */
} cn_secret_t;

/*
 * Reads an envoy.extensions.transport_sockets.tls.v3.Secret.  False: reported (read->errors grows):
 * a message that is none, a kind or a field that is not implemented, texts that are not inline, a
 * revocation list among the roots.  *secret is none then.  The key's octets in read->pool are wiped
 * before it returns, unless the message was refused before they were looked at; those of value are
 * the caller's.
 */
bool cn_secret_read(cn_read_t *read, cn_bytes_t value, cn_secret_t *secret) CN_MUST_USE;

/* Overwrites the texts, frees them and zeroes the struct. */
void cn_secret_wipe(cn_secret_t *secret);

/*
 * An identity of a certificate and roots, judged as cn_chain_judge() does.  spiffe_id is what is
 * expected.  CN_ERR_SYNTAX; CN_ERR_REFUSED: they are of other kinds.  *identity is none then, and
 * error is set.
 */
cn_status_t cn_secret_identity(const cn_secret_t *certificate, const cn_secret_t *roots,
    cn_bytes_t spiffe_id, cn_identity_t *identity, char error[CN_IDENTITY_ERROR_MAX]) CN_MUST_USE;

#endif
