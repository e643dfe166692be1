/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Files of the downward API on any octets: no more keys than lines, values that are UTF-8 and no
 * longer than what they were unquoted from.
 */

#include "server/pod_info.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_bytes_t   text = cn_bytes(data, size);
    cn_pool_t   *pool = cn_pool_create(1024, NULL);
    size_t       bad = 0;
    size_t       lines = 1;
    cn_bytes_t   value;
    json_t      *object;

    CN_BUG_ON(pool == NULL);

    for (size_t i = 0; i < size; i++) {
        lines += data[i] == '\n';
    }

    object = cn_pod_info_read(text, pool, &bad);
    CN_BUG_ON(object == NULL);
    CN_BUG_ON(json_object_size(object) + bad > lines);
    CN_BUG_ON(json_object_size(object) > CN_POD_INFO_LINES_MAX);
    CN_BUG_ON(json_dumpb(object, NULL, 0, 0) == 0);
    json_decref(object);

    if (cn_pod_info_unquote(text, pool, &value) == CN_OK) {
        CN_BUG_ON(value.len > size - 2);
    }

    cn_pool_destroy(pool);

    return 0;
}
