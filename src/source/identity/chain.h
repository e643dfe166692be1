/* SPDX-License-Identifier: Apache-2.0 */

/*
 * chain - an identity of the certificates that somebody sent, judged.  A pure function but for the
 * time of day.
 */

#ifndef CN_SOURCE_IDENTITY_CHAIN_H
#define CN_SOURCE_IDENTITY_CHAIN_H

#include "source/identity/identity.h"

#define CN_CHAIN_CERTS_MAX  64              /* certificates of all elements */

/* Whom they are for; borrowed. */
typedef struct {
    cn_bytes_t  spiffe_id;
    cn_bytes_t  key_pem;
    cn_bytes_t  extra_roots_pem;            /* trusted besides those sent; may be none */
} cn_chain_asked_t;

/*
 * Elements are PEM, of one certificate or several: the leaf first, a root last.  What is
 * self-signed is a root and the rest is the chain, so that all roots of a mesh that is changing
 * them are trusted, however they are cut into elements.
 *
 * They are refused (CN_ERR_SYNTAX; error says why) when a worker could not use them or no peer
 * would accept them: fewer than two elements, too many or unreadable ones, a leaf that is not for
 * the key, has expired, or has other than one URI name, which is a workload's SPIFFE id, and a
 * chain that does not lead to a root.  Another id than the one that was asked for (a CA goes by the
 * token), and a leaf that is not valid yet, are told in the log and taken.  *identity is none but
 * by CN_OK.
 */
cn_status_t cn_chain_judge(const cn_bytes_t *elements, size_t count, const cn_chain_asked_t *asked,
    cn_identity_t *identity, char error[CN_IDENTITY_ERROR_MAX]) CN_MUST_USE;

#endif
