/* SPDX-License-Identifier: Apache-2.0 */

/* ca_response - see ca_response.h. */

#include "source/identity/ca_response.h"
#include "base/pool.h"
#include "model/decode.h"

#include "ca.pb-c.h"

#include <stdio.h>


static const Cairn__IstioCertificateResponse *
decode(cn_bytes_t message, cn_pool_t *pool)
{
    cn_read_t  read = { .pool = pool, .report = cn_report_create(pool) };

    /* loosely: a later field of it restricts nothing */
    return read.report == NULL || message.len > CN_CA_RESPONSE_MAX ? NULL
        : cn_decode_loosely(&read, &cairn__istio_certificate_response__descriptor, message, "");
}


static cn_status_t
judge(const Cairn__IstioCertificateResponse *response, cn_pool_t *pool,
    const cn_chain_asked_t *asked, cn_identity_t *identity, char error[CN_IDENTITY_ERROR_MAX])
{
    size_t       count = response->n_cert_chain;
    cn_bytes_t  *elements = cn_pool_alloc(pool, (count + 1) * sizeof(cn_bytes_t));

    if (elements == NULL) {
        (void) snprintf(error, CN_IDENTITY_ERROR_MAX, "out of memory");
        return CN_ERR_MEMORY;
    }

    for (size_t i = 0; i < count; i++) {
        elements[i] = cn_decoded(response->cert_chain[i]);
    }

    return cn_chain_judge(elements, count, asked, identity, error);
}


cn_status_t
cn_ca_response_read(cn_bytes_t message, const cn_chain_asked_t *asked, cn_identity_t *identity,
    char error[CN_IDENTITY_ERROR_MAX])
{
    cn_pool_t                              *pool = cn_pool_create(4096, NULL);
    const Cairn__IstioCertificateResponse  *response;
    cn_status_t                             status;

    *identity = (cn_identity_t) { .begins = 0 };

    if (pool == NULL) {
        (void) snprintf(error, CN_IDENTITY_ERROR_MAX, "out of memory");
        return CN_ERR_MEMORY;
    }

    response = decode(message, pool);

    if (response == NULL) {
        (void) snprintf(error, CN_IDENTITY_ERROR_MAX, "it is no IstioCertificateResponse");
        status = CN_ERR_SYNTAX;

    } else {
        status = judge(response, pool, asked, identity, error);
    }

    cn_pool_destroy(pool);

    return status;
}
