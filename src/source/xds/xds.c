/* SPDX-License-Identifier: Apache-2.0 */

/*
 * xds - a push that was recorded: cds.pb, eds.pb, lds.pb, and workload.delta.pb and node.json where
 * they are.  They are put into a state as the stream of a control plane would be.
 */

#include "source/xds/xds.h"

#include "discovery.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX  (64u * 1024 * 1024)

typedef struct {
    const char       *directory;
    cn_read_t         read;             /* of what carries the resources */
    cn_xds_state_t   *state;
} recording_t;

typedef struct {
    cn_xds_type_t  type;
    const char    *file;
} push_t;

static const push_t  pushes[] = {
    { CN_XDS_CLUSTERS, "cds.pb" },
    { CN_XDS_ENDPOINTS, "eds.pb" },
    { CN_XDS_LISTENERS, "lds.pb" },
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
read_file(recording_t *recording, const char *name, bool must, cn_bytes_t *content)
{
    cn_pool_t    *pool = recording->read.pool;
    char         *path = cn_pool_printf(pool, "%s/%s", recording->directory, name);
    int           fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    struct stat   info;
    uint8_t      *octets = NULL;
    bool          ok = false;

    if (fd >= 0) {
        if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t) info.st_size <= FILE_MAX) {
            octets = cn_pool_octets(pool, (size_t) info.st_size + 1);
            ok = octets != NULL && read_octets(fd, octets, (size_t) info.st_size);
        }

        close(fd);
    }

    if (ok) {
        *content = cn_bytes(octets, (size_t) info.st_size);

    } else if (must) {
        cn_read_error(&recording->read, NULL, name, "cannot be read from %s",
                      recording->directory);
    }

    return ok;
}


/* ---- resources ---- */

static cn_status_t
put(recording_t *recording, const push_t *push, cn_bytes_t name, const Cairn__Any *any)
{
    cn_bytes_t  type_url = any == NULL ? CN_BYTES_NONE : cn_decoded(any->type_url);

    if (!cn_bytes_equal(type_url, cn_bytes_str(cn_xds_type_url(push->type)))) {
        cn_read_error(&recording->read, NULL, push->file, "%.*s does not belong there",
                      CN_BYTES_ARG(type_url));
        return cn_xds_put_refused(recording->state, push->type, name, "is of another type");
    }

    return cn_xds_put(recording->state, push->type, name, CN_BYTES_NONE, cn_decoded(any->value));
}


static cn_status_t
read_push(recording_t *recording, const push_t *push)
{
    const Cairn__DiscoveryResponse  *response;
    cn_bytes_t                       content;
    cn_status_t                      status = CN_OK;

    /* a waypoint without services asks for no endpoints */
    if (!read_file(recording, push->file, push->type != CN_XDS_ENDPOINTS, &content)) {
        return CN_OK;
    }

    response = cn_decode(&recording->read, &cairn__discovery_response__descriptor, content,
                         push->file);
    cn_xds_push_begin(recording->state, push->type);

    for (size_t i = 0; response != NULL && status == CN_OK && i < response->n_resources; i++) {
        status = put(recording, push, CN_BYTES_NONE, response->resources[i]);
    }

    return status;
}


static cn_status_t
read_workloads(recording_t *recording)
{
    static const push_t                   push = { CN_XDS_WORKLOADS, "workload.delta.pb" };
    const Cairn__DeltaDiscoveryResponse  *response;
    cn_bytes_t                            content;
    cn_status_t                           status = CN_OK;

    if (!read_file(recording, push.file, false, &content)) {
        return CN_OK;
    }

    response = cn_decode(&recording->read, &cairn__delta_discovery_response__descriptor, content,
                         push.file);
    cn_xds_push_begin(recording->state, push.type);

    for (size_t i = 0; response != NULL && status == CN_OK && i < response->n_resources; i++) {
        status = put(recording, &push, cn_decoded(response->resources[i]->name),
                     response->resources[i]->resource);
    }

    return status;
}


/* ---- who we are ---- */

/* What was told to istiod is who asked: "NS/NAME", or NULL. */
static const char *
read_node(recording_t *recording)
{
    cn_bytes_t   content;
    json_t      *root, *metadata;
    const char  *name_space, *name;
    char        *waypoint = NULL;

    if (!read_file(recording, "node.json", false, &content)) {
        return NULL;
    }

    root = json_loadb((const char *) content.ptr, content.len, JSON_REJECT_DUPLICATES, NULL);
    metadata = json_object_get(root, "metadata");
    name_space = json_string_value(json_object_get(metadata, "NAMESPACE"));
    name = json_string_value(json_object_get(json_object_get(metadata, "LABELS"),
                                             "gateway.networking.k8s.io/gateway-name"));

    if (name_space != NULL && name != NULL) {
        waypoint = cn_pool_printf(recording->read.pool, "%s/%s", name_space, name);
    }

    json_decref(root);

    return waypoint;
}


static cn_status_t
read_recording(recording_t *recording, const cn_source_config_t *config, cn_report_t *report,
    cn_model_t **model)
{
    cn_source_config_t  known = *config;
    cn_status_t         status = read_workloads(recording);

    for (size_t i = 0; status == CN_OK && i < CN_COUNT_OF(pushes); i++) {
        status = read_push(recording, &pushes[i]);
    }

    if (status != CN_OK) {
        return status;
    }

    if (known.waypoint == NULL) {
        known.waypoint = read_node(recording);
    }

    return cn_xds_build(recording->state, &known, report, model);
}


cn_status_t
cn_xds_read_directory(const cn_source_config_t *config, cn_report_t *report, cn_model_t **model)
{
    cn_pool_t    *pool = cn_pool_create(4096, NULL);
    recording_t   recording = {
        .directory = config->directory,
        .read = { .pool = pool, .report = report },
        .state = cn_xds_state_create(NULL),
    };
    cn_status_t   status = CN_ERR_MEMORY;

    *model = NULL;

    if (pool != NULL && recording.state != NULL) {
        status = read_recording(&recording, config, report, model);
    }

    cn_xds_state_destroy(recording.state);
    cn_pool_destroy(pool);

    return status;
}
