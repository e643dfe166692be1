/* SPDX-License-Identifier: Apache-2.0 */

/* authorizer_table - whom a chain's requests are asked about, as it lies in the table. */

#ifndef CN_AUTHORIZER_TABLE_H
#define CN_AUTHORIZER_TABLE_H

#include "table/layout.h"

/*
 * The most of a body that can be waited for: it is held behind the filter, and what is held comes
 * out of the exchange's window.
 */
#define CN_AUTHORIZER_BODY_MAX  (192u * 1024)

typedef struct {
    uint32_t        cluster;            /* id; 0: there is none now */
    uint32_t        timeout_ms;
    uint32_t        body_max;           /* bytes, at most CN_AUTHORIZER_BODY_MAX */
    uint32_t        reserved;
} cn_table_authorizer_t;

_Static_assert(sizeof(cn_table_authorizer_t) == 16, "the layout is an interface");

#endif
