/* SPDX-License-Identifier: Apache-2.0 */

/*
 * xds - a push that was recorded: cds.pb, eds.pb, lds.pb, and workload.delta.pb and node.json where
 * they are.  Clusters come before what refers to them.
 */

#include "source/xds/xds.h"

#include "discovery.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX  (64u * 1024 * 1024)

typedef void (*reader_fn)(cn_xds_t *xds, cn_bytes_t value);

typedef struct {
    const char  *type_url;
    const char  *file;
    reader_fn    read;
} push_t;

static const push_t  pushes[] = {
    { CN_XDS_TYPE("envoy.config.cluster.v3.Cluster"), "cds.pb", cn_xds_read_cluster },
    { CN_XDS_TYPE("envoy.config.endpoint.v3.ClusterLoadAssignment"), "eds.pb",
      cn_xds_read_assignment },
    { CN_XDS_TYPE("envoy.config.listener.v3.Listener"), "lds.pb", cn_xds_read_listener },
};


/* ---- files ---- */

static bool
read_octets(int fd, uint8_t *octets, size_t size)
{
    size_t  at = 0;

    while (at < size) {
        ssize_t  got = read(fd, octets + at, size - at);

        if (got < 0 && errno == EINTR) {
            continue;
        }

        if (got <= 0) {
            return false;
        }

        at += (size_t) got;
    }

    return true;
}


/* False: it is not there, or cannot be read, which is reported when it must be. */
static bool
read_file(cn_xds_t *xds, const char *name, bool must, cn_bytes_t *content)
{
    char         *path = cn_pool_printf(xds->pool, "%s/%s", xds->config->directory, name);
    int           fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    struct stat   info;
    uint8_t      *octets = NULL;
    bool          ok = false;

    if (fd >= 0) {
        if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t) info.st_size <= FILE_MAX) {
            octets = cn_pool_octets(xds->pool, (size_t) info.st_size + 1);
            ok = octets != NULL && read_octets(fd, octets, (size_t) info.st_size);
        }

        close(fd);
    }

    if (ok) {
        *content = cn_bytes(octets, (size_t) info.st_size);

    } else if (must) {
        cn_read_error(&xds->read, NULL, name, "cannot be read from %s", xds->config->directory);
    }

    return ok;
}


/* ---- resources ---- */

static void
read_push(cn_xds_t *xds, const push_t *push)
{
    const Cairn__DiscoveryResponse  *response;
    cn_bytes_t                       content;

    xds->read.resource = NULL;

    if (!read_file(xds, push->file, true, &content)) {
        return;
    }

    response = cn_decode(&xds->read, &cairn__discovery_response__descriptor, content, push->file);

    for (size_t i = 0; response != NULL && i < response->n_resources; i++) {
        const Cairn__Any  *any = response->resources[i];

        if (!cn_bytes_equal(cn_decoded(any->type_url), cn_bytes_str(push->type_url))) {
            cn_read_error(&xds->read, NULL, push->file, "%.*s does not belong there",
                          CN_BYTES_ARG(cn_decoded(any->type_url)));
            continue;
        }

        push->read(xds, cn_decoded(any->value));
    }
}


static void
read_workloads(cn_xds_t *xds)
{
    const Cairn__DeltaDiscoveryResponse  *response;
    const char                           *file = "workload.delta.pb";
    cn_bytes_t                            content;

    if (!read_file(xds, file, false, &content)) {
        return;
    }

    response = cn_decode(&xds->read, &cairn__delta_discovery_response__descriptor, content, file);

    for (size_t i = 0; response != NULL && i < response->n_resources; i++) {
        const Cairn__Any  *any = response->resources[i]->resource;

        if (any != NULL && cn_bytes_equal(cn_decoded(any->type_url),
                                          CN_BYTES(CN_XDS_TYPE("istio.workload.Workload"))))
        {
            cn_xds_read_workload(xds, cn_decoded(any->value));
        }
    }
}


/* ---- who we are ---- */

static cn_bytes_t
copy_member(cn_xds_t *xds, json_t *object, const char *key)
{
    const char  *text = json_string_value(json_object_get(object, key));
    cn_bytes_t   copy = CN_BYTES_NONE;

    if (text != NULL && cn_pool_copy(xds->pool, cn_bytes_str(text), &copy) != CN_OK) {
        cn_read_no_memory(&xds->read);
    }

    return copy;
}


/* What was told to istiod is who asked. */
static void
read_node(cn_xds_t *xds)
{
    cn_bytes_t   content;
    json_t      *root, *metadata;

    if (!read_file(xds, "node.json", false, &content)) {
        return;
    }

    root = json_loadb((const char *) content.ptr, content.len, JSON_REJECT_DUPLICATES, NULL);
    metadata = json_object_get(root, "metadata");
    xds->model->name_space = copy_member(xds, metadata, "NAMESPACE");
    xds->model->waypoint = copy_member(xds, json_object_get(metadata, "LABELS"),
                                       "gateway.networking.k8s.io/gateway-name");
    json_decref(root);
}


static cn_status_t
set_globals(cn_xds_t *xds)
{
    const cn_source_config_t  *config = xds->config;
    cn_model_t                *model = xds->model;

    model->access_log = config->access_log;
    model->http_10 = config->http_10;

    for (size_t i = 0; i <= config->trust_alias_count; i++) {
        cn_bytes_t   domain = i == 0 ? config->trust_domain : config->trust_aliases[i - 1];
        cn_bytes_t  *slot = cn_array_add(&model->trust_domains);

        domain = domain.len > 0 ? domain : CN_BYTES("cluster.local");

        if (slot == NULL || cn_pool_copy(model->pool, domain, slot) != CN_OK) {
            return CN_ERR_MEMORY;
        }
    }

    if (config->waypoint == NULL) {
        read_node(xds);

    } else if (!cn_bytes_split(cn_bytes_str(config->waypoint), '/', &model->name_space,
                               &model->waypoint))
    {
        model->waypoint = model->name_space;
        model->name_space = CN_BYTES("default");
    }

    return CN_OK;
}


/* ---- order ---- */

static int
compare_services(const void *a, const void *b)
{
    return cn_bytes_compare(((const cn_service_t *) a)->host, ((const cn_service_t *) b)->host);
}


static int
compare_clusters(const void *a, const void *b)
{
    return cn_bytes_compare(((const cn_cluster_t *) a)->name, ((const cn_cluster_t *) b)->name);
}


static int
compare_workloads(const void *a, const void *b)
{
    return cn_bytes_compare(((const cn_workload_t *) a)->uid, ((const cn_workload_t *) b)->uid);
}


static int
compare_chains(const void *a, const void *b)
{
    const cn_chain_config_t  *left = a;
    const cn_chain_config_t  *right = b;

    return (left->port > right->port) - (left->port < right->port);
}


static cn_status_t
sort_model(cn_model_t *model)
{
    CN_ARRAY_EACH(&model->services, cn_service_t, service) {
        if (cn_array_sort(&service->chains, compare_chains) != CN_OK) {
            return CN_ERR_MEMORY;
        }
    }

    if (cn_array_sort(&model->services, compare_services) != CN_OK
        || cn_array_sort(&model->clusters, compare_clusters) != CN_OK
        || cn_array_sort(&model->workloads, compare_workloads) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    return CN_OK;
}


static cn_status_t
read_all(cn_xds_t *xds)
{
    cn_status_t  status;

    xds->clusters = cn_map_create_in(xds->pool);
    xds->workloads = cn_map_create_in(xds->pool);
    xds->services = cn_map_create_in(xds->pool);

    if (xds->clusters == NULL || xds->workloads == NULL || xds->services == NULL) {
        return CN_ERR_MEMORY;
    }

    status = set_globals(xds);

    if (status != CN_OK) {
        return status;
    }

    read_workloads(xds);

    for (size_t i = 0; i < CN_COUNT_OF(pushes); i++) {
        read_push(xds, &pushes[i]);
    }

    xds->read.resource = NULL;

    if (xds->model->services.count == 0) {
        cn_read_error(&xds->read, NULL, "lds.pb", "has no service");
        return CN_ERR_NOT_FOUND;
    }

    return sort_model(xds->model);
}


static void
refuse_all(cn_model_t *model)
{
    CN_ARRAY_EACH(&model->services, cn_service_t, service) {
        CN_ARRAY_EACH(&service->chains, cn_chain_config_t, chain) {
            chain->refused = true;
        }
    }
}


cn_status_t
cn_xds_read_directory(const cn_source_config_t *config, cn_report_t *report, cn_model_t **model)
{
    cn_xds_t     xds = { .config = config, .model = cn_model_create() };
    cn_status_t  status;

    *model = NULL;

    if (xds.model == NULL) {
        return CN_ERR_MEMORY;
    }

    xds.pool = xds.model->pool;
    xds.read = (cn_read_t) { .pool = xds.pool, .report = report, .model = xds.model };
    status = read_all(&xds);

    if (cn_model_check_memory(xds.model, report) != CN_OK) {
        status = CN_ERR_LIMIT;
    }

    if (status != CN_OK) {
        cn_model_destroy(xds.model);
        return status;
    }

    if (xds.all_refused) {
        refuse_all(xds.model);
    }

    *model = xds.model;

    return CN_OK;
}
