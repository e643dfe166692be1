/* SPDX-License-Identifier: Apache-2.0 */

/*
 * xds_fuzz - any octets as a push: {length of cds(2), length of eds(2), cds, eds, lds}.  There is a
 * model or there is none, and what there is prints.
 */

#include "source/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SIZE_MOST  (256u * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static const char *
directory(void)
{
    static char  path[] = "/tmp/cairn-fuzz-XXXXXX";
    static bool  made;

    if (!made) {
        CN_BUG_ON(mkdtemp(path) == NULL);
        made = true;
    }

    return path;
}


static void
put(const char *name, const uint8_t *data, size_t size)
{
    char   path[128];
    FILE  *file;

    snprintf(path, sizeof(path), "%s/%s", directory(), name);
    file = fopen(path, "wb");
    CN_BUG_ON(file == NULL);
    CN_BUG_ON(size > 0 && fwrite(data, 1, size, file) != size);
    CN_BUG_ON(fclose(file) != 0);
}


static size_t
take_length(const uint8_t *at, size_t most)
{
    size_t  len = (size_t) at[0] << 8 | at[1];

    return len < most ? len : most;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_pool_t           *pool;
    cn_model_t          *model = NULL;
    cn_source_config_t   config = {
        .directory = directory(), .waypoint = "default/waypoint",
        .trust_domain = CN_BYTES("cluster.local"), .modules = cn_module_configs,
    };
    size_t               cds, eds;

    if (size < 4 || size > SIZE_MOST) {
        return 0;
    }

    cds = take_length(data, size - 4);
    eds = take_length(data + 2, size - 4 - cds);
    put("cds.pb", data + 4, cds);
    put("eds.pb", data + 4 + cds, eds);
    put("lds.pb", data + 4 + cds + eds, size - 4 - cds - eds);

    pool = cn_pool_create(4096, NULL);

    if (pool != NULL
        && cn_xds_read_directory(&config, cn_report_create(pool), &model) == CN_OK)
    {
        CN_BUG_ON(cn_model_print(model, pool) == NULL);
        cn_model_destroy(model);
    }

    cn_pool_destroy(pool);

    return 0;
}
