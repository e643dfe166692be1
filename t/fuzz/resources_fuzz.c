/* SPDX-License-Identifier: Apache-2.0 */

/*
 * resources_fuzz - any octets as a file of resources, read as a start and as a reload after a good
 * one: there is a model or there is none, and what there is prints.
 */

#include "source/source.h"

#include <sys/mman.h>
#include <stdio.h>
#include <unistd.h>

#define SIZE_MOST  (64u * 1024)

static const char  base[] =
    "{apiVersion: v1, kind: Namespace, metadata: {name: default,"
    " labels: {istio.io/use-waypoint: waypoint}}}\n---\n"
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: waypoint},"
    " spec: {gatewayClassName: istio-waypoint}}\n---\n"
    "{apiVersion: v1, kind: Service, metadata: {name: web},"
    " spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}], selector: {app: web}}}\n---\n"
    "{apiVersion: v1, kind: Pod, metadata: {name: web-1, labels: {app: web}},"
    " status: {podIP: 10.0.0.1}}\n---\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
read_once(int fd, const uint8_t *data, size_t size, cn_istio_state_t **state)
{
    cn_pool_t           *pool = cn_pool_create(4096, NULL);
    cn_report_t         *report = pool == NULL ? NULL : cn_report_create(pool);
    cn_model_t          *model = NULL;
    char                 path[64];
    cn_source_config_t   config = {
        .directory = path, .trust_domain = CN_BYTES("cluster.local"), .modules = cn_module_configs,
    };

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

    if (report != NULL && ftruncate(fd, 0) == 0
        && pwrite(fd, base, sizeof(base) - 1, 0) == (ssize_t) sizeof(base) - 1
        && pwrite(fd, data, size, sizeof(base) - 1) == (ssize_t) size
        && cn_istio_read(&config, state, report, &model) == CN_OK)
    {
        CN_BUG_ON(cn_model_print(model, pool) == NULL);
        cn_model_destroy(model);
    }

    cn_pool_destroy(pool);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_istio_state_t  *state = NULL;
    int                fd = memfd_create("resources", MFD_CLOEXEC);

    if (fd < 0 || size > SIZE_MOST) {
        return 0;
    }

    read_once(fd, data, size, &state);
    read_once(fd, data, size / 2, &state);
    cn_istio_state_destroy(state);
    close(fd);

    return 0;
}
