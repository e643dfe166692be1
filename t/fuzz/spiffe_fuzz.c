/* SPDX-License-Identifier: Apache-2.0 */

/*
 * spiffe_fuzz - any octets as a SPIFFE id: what is taken can be put together again to the same
 * octets, so an id has one spelling.
 */

#include "stream/spiffe.h"

#include "base/pool.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_spiffe_t  parts = { .trust_domain = CN_BYTES_NONE };
    cn_bytes_t   id = cn_bytes(data, size);
    char         again[2100];
    int          len;

    if (cn_spiffe_parse(id, &parts) != CN_OK) {
        CN_BUG_ON(parts.trust_domain.ptr != NULL);      /* untouched */
        return 0;
    }

    len = snprintf(again, sizeof(again), "spiffe://%.*s/ns/%.*s/sa/%.*s",
                   CN_BYTES_ARG(parts.trust_domain), CN_BYTES_ARG(parts.name_space),
                   CN_BYTES_ARG(parts.service_account));
    CN_BUG_ON(len < 0 || !cn_bytes_equal(cn_bytes(again, (size_t) len), id));

    return 0;
}
