/* SPDX-License-Identifier: Apache-2.0 */

/* Path normalisation on any octets: twice is once, and no dot segment is left. */

#include "http/normalize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(cn_bytes_t path, cn_path_level_t level)
{
    cn_pool_t   *pool = cn_pool_create(1024, NULL);
    cn_bytes_t   once, twice, bare;

    CN_BUG_ON(pool == NULL);

    if (cn_path_normalize(path, level, pool, &once) == CN_OK) {
        CN_BUG_ON(cn_path_normalize(once, level, pool, &twice) != CN_OK);
        CN_BUG_ON(!cn_bytes_equal(once, twice));
        CN_BUG_ON(cn_bytes_find_octet(once, '#') != SIZE_MAX);
        bare = cn_path_without_query(once);

        if (level != CN_PATH_NONE) {
            CN_BUG_ON(cn_bytes_find(bare, CN_BYTES("/../")) != SIZE_MAX);
            CN_BUG_ON(cn_bytes_find(bare, CN_BYTES("/./")) != SIZE_MAX);
            CN_BUG_ON(cn_bytes_find(bare, CN_BYTES("\\")) != SIZE_MAX);
            CN_BUG_ON(cn_bytes_ends_with(bare, CN_BYTES("/..")));
        }
    }

    cn_pool_destroy(pool);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int level = CN_PATH_NONE; level <= CN_PATH_DECODE_AND_MERGE_SLASHES; level++) {
        check(cn_bytes(data, size), (cn_path_level_t) level);
    }

    return 0;
}
