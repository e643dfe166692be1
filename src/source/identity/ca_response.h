/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ca_response - an IstioCertificateResponse, judged.  A pure function but for the time of day.
 */

#ifndef CN_SOURCE_IDENTITY_CA_RESPONSE_H
#define CN_SOURCE_IDENTITY_CA_RESPONSE_H

#include "source/identity/identity.h"

#define CN_CA_RESPONSE_MAX  ((size_t) 1024 * 1024)     /* octets of the message */
#define CN_CA_CERTS_MAX     64                          /* certificates of all elements */

/* What was asked for; borrowed. */
typedef struct {
    cn_bytes_t  spiffe_id;
    cn_bytes_t  key_pem;
    cn_bytes_t  extra_roots_pem;        /* trusted besides the CA's own; may be none */
} cn_ca_asked_t;

/*
 * Makes an identity of the response.  Its elements are PEM, of one certificate or, as older istiods
 * send, several: the leaf first, a root last.  What is self-signed is a root and the rest is the
 * chain, so that all roots of a mesh that is changing them are trusted, however they are cut into
 * elements.
 *
 * It is refused (CN_ERR_SYNTAX; error says why) when a worker could not use it or no peer would
 * accept it: fewer than two elements, too many or unreadable ones, a leaf that is not for our key,
 * has expired, or has other than one URI name, which is a workload's SPIFFE id, and a chain that
 * does not lead to a root.  Another id than the one that was asked for (the CA goes by the token),
 * and a leaf that is not valid yet, are told in the log and taken.  CN_ERR_MEMORY.  *identity is
 * none but by CN_OK.
 */
cn_status_t cn_ca_response_read(cn_bytes_t message, const cn_ca_asked_t *asked,
    cn_identity_t *identity, char error[CN_IDENTITY_ERROR_MAX]) CN_MUST_USE;

#endif
