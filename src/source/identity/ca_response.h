/* SPDX-License-Identifier: Apache-2.0 */

/* ca_response - an IstioCertificateResponse becomes an identity. */

#ifndef CN_SOURCE_IDENTITY_CA_RESPONSE_H
#define CN_SOURCE_IDENTITY_CA_RESPONSE_H

#include "source/identity/chain.h"

#define CN_CA_RESPONSE_MAX  ((size_t) 1024 * 1024)     /* octets of the message */

/*
 * What cn_chain_judge() makes of its elements.  CN_ERR_SYNTAX: refused, or no such message, or one
 * that is too long; CN_ERR_MEMORY.  *identity is none then, and error is set.
 */
cn_status_t cn_ca_response_read(cn_bytes_t message, const cn_chain_asked_t *asked,
    cn_identity_t *identity, char error[CN_IDENTITY_ERROR_MAX]) CN_MUST_USE;

#endif
