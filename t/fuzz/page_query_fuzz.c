/* SPDX-License-Identifier: Apache-2.0 */

/*
 * page_query_fuzz - any octets as the query of an admin page: a parameter is decoded to no more
 * than it was, or there is none.
 */

#include "admin/pages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const  names[] = { "a", "method", "header", "" };
    cn_page_t                 page = { .pool = cn_pool_create(1024, NULL),
                                       .query = cn_bytes(data, size) };

    CN_BUG_ON(page.pool == NULL);

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        for (unsigned at = 0; at < 3; at++) {
            CN_BUG_ON(cn_page_parameter(&page, names[i], at).len > size);
        }
    }

    cn_pool_destroy(page.pool);

    return 0;
}
