/* SPDX-License-Identifier: Apache-2.0 */

/*
 * xds_fuzz - any octets as a push: {lengths of cds, eds and workloads (2 each), cds, eds, workloads,
 * lds}.  There is a model or there is none, and what there is prints.
 */

#include "source/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SIZE_MOST  (256u * 1024)
#define LENGTHS    6u

static const char *const  files[] = { "cds.pb", "eds.pb", "workload.delta.pb", "lds.pb" };

static char  directory[] = "/tmp/cairn-fuzz-XXXXXX";

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
path_of(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", directory, name);
}


static void
clean_up(void)
{
    char  path[128];

    for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
        path_of(files[i], path);
        (void) unlink(path);
    }

    (void) rmdir(directory);
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;
    CN_BUG_ON(mkdtemp(directory) == NULL || atexit(clean_up) != 0);

    return 0;
}


static void
put(const char *name, const uint8_t *data, size_t size)
{
    char   path[128];
    FILE  *file;

    path_of(name, path);
    file = fopen(path, "wb");
    CN_BUG_ON(file == NULL);
    CN_BUG_ON(size > 0 && fwrite(data, 1, size, file) != size);
    CN_BUG_ON(fclose(file) != 0);
}


/* Writes all files; the last has what the lengths leave. */
static void
put_push(const uint8_t *data, size_t size)
{
    const uint8_t  *at = data + LENGTHS;
    size_t          left = size - LENGTHS;

    for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
        size_t  len = i < LENGTHS / 2 ? (size_t) data[2 * i] << 8 | data[2 * i + 1] : left;

        len = len < left ? len : left;
        put(files[i], at, len);
        at += len;
        left -= len;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_pool_t           *pool;
    cn_model_t          *model = NULL;
    cn_source_config_t   config = {
        .directory = directory, .waypoint = "default/waypoint",
        .trust_domain = CN_BYTES("cluster.local"), .modules = cn_module_configs,
    };

    if (size < LENGTHS || size > SIZE_MOST) {
        return 0;
    }

    put_push(data, size);
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
