/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bootstrap_fuzz - any octets as the bootstrap file: it is refused with a reason, or what it says
 * is within its bounds.
 */

#include "server/bootstrap.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int               fd = -1;
    char                     path[64];
    cn_pool_t               *pool = cn_pool_create(4096, NULL);
    cn_report_t             *report = cn_report_create(pool);
    cn_bootstrap_options_t   options = { .file = path };
    cn_bootstrap_t           bootstrap;

    if (fd < 0) {
        fd = memfd_create("bootstrap", MFD_CLOEXEC);
    }

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CN_BUG_ON(ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t) size);

    if (cn_bootstrap_read(&options, pool, report, &bootstrap) == CN_OK) {
        CN_BUG_ON(report->errors > 0);
        CN_BUG_ON(bootstrap.workers < 1 || bootstrap.workers > 64);
        CN_BUG_ON(bootstrap.drain_deadline_ms < bootstrap.drain_ms);
        CN_BUG_ON(bootstrap.admin.count > 1);

        CN_ARRAY_EACH(&bootstrap.plaintext, const cn_plain_listener_t, listener) {
            CN_BUG_ON((listener->certificate == NULL) != (listener->key == NULL));
        }

    } else {
        CN_BUG_ON(report->errors == 0);
    }

    cn_pool_destroy(pool);

    return 0;
}
