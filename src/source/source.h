/* SPDX-License-Identifier: Apache-2.0 */

/*
 * source - where configuration comes from.  A source makes a whole model of its input; what is
 * broken is reported and contained: a broken resource keeps its last good version or is left out
 * closed.
 */

#ifndef CN_SOURCE_SOURCE_H
#define CN_SOURCE_SOURCE_H

#include "model/module_config.h"

typedef struct {
    const char                       *directory;        /* of YAML files, or of recorded *.pb */
    /* "default/waypoint", or NULL: the directory has just one */
    const char                       *waypoint;
    cn_bytes_t                        trust_domain;     /* "cluster.local" */
    const cn_bytes_t                 *trust_aliases;
    size_t                            trust_alias_count;
    bool                              access_log;
    bool                              http_10;          /* HTTP/1.0 is answered */
    const cn_module_config_t *const  *modules;          /* NULL-ended */
} cn_source_config_t;

/*
 * May take a while: within a fiber (base/fiber.h) it rests now and then; *state, report and *model
 * are its own until it returns.
 *
 * Reads a directory of YAML (sorted order, multi-document, kind: List).  previous is the model's
 * source state of the last good reading (NULL at first): where a resource is broken now, its last
 * good documents are used again. CN_OK: *model is usable, report may hold errors of contained
 * resources; CN_ERR_*: there is no waypoint or no service, or memory: no model.
 */
typedef struct cn_istio_state_s cn_istio_state_t;
cn_status_t cn_istio_read(const cn_source_config_t *config, cn_istio_state_t **state,
    cn_report_t *report, cn_model_t **model) CN_MUST_USE;
void cn_istio_state_destroy(cn_istio_state_t *state);

/*
 * Whether a change of that name in the directory is one of its configuration: a file that is read,
 * or the link behind which a mounted ConfigMap changes all of its files at once.
 */
bool cn_istio_is_watched(const char *name);

/* What istiod says, in which types of resources. */
typedef enum {
    CN_XDS_CLUSTERS,
    CN_XDS_ENDPOINTS,                   /* ClusterLoadAssignment */
    CN_XDS_LISTENERS,
    CN_XDS_WORKLOADS,                   /* istio.workload.Workload */
    CN_XDS_TYPES                        /* how many there are */
} cn_xds_type_t;

/* "type.googleapis.com/envoy.config.cluster.v3.Cluster". */
const char *cn_xds_type_url(cn_xds_type_t type);

/* False: nothing reads resources of that type. */
bool cn_xds_type_of(cn_bytes_t type_url, cn_xds_type_t *type);

/*
 * The newest octets of every resource by type and name, and of those that cannot be used the last
 * that could: what a control plane said so far, whichever way it came.  (source/xds/state.h)
 */
typedef struct cn_xds_state_s cn_xds_state_t;

/* 0: what stands behind. */
typedef struct {
    size_t  total_max;                  /* octets of all, last good ones too: 512 MiB */
    size_t  resource_max;               /* octets of one: 64 MiB */
} cn_xds_limits_t;

/* limits may be NULL.  NULL: memory. */
cn_xds_state_t *cn_xds_state_create(const cn_xds_limits_t *limits) CN_MUST_USE;
void cn_xds_state_destroy(cn_xds_state_t *state);

/*
 * One response is begun: what is put from now on is of it.  _end_full: it said all that there is of
 * that type; what it did not name is forgotten, unless something in it could not be named.
 */
void cn_xds_push_begin(cn_xds_state_t *state, cn_xds_type_t type);
void cn_xds_push_end_full(cn_xds_state_t *state, cn_xds_type_t type);

/*
 * A resource, whose octets are copied.  name none: as it says itself.  What is too large, has no
 * name, or another, or came twice in one push is remembered as refused: the next building tells,
 * and goes on with its last good version.  CN_ERR_MEMORY: nothing is known of it; the stream must
 * be ended.
 */
cn_status_t cn_xds_put(cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name,
    cn_bytes_t version, cn_bytes_t value) CN_MUST_USE;
void cn_xds_remove(cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name);

/* Whether a resource came, went or has other octets since the last building. */
bool cn_xds_is_changed(const cn_xds_state_t *state);

/* A resource whose newest version cannot be used, and why.  One may have several reasons. */
typedef struct {
    cn_xds_type_t  type;
    cn_bytes_t     name;                /* none: it has none that can be read */
    const char    *reason;              /* "FilterChain x: http_filters: y is not implemented" */
} cn_xds_rejected_t;

/* Those of the last building, until the next; *list is the state's. */
size_t cn_xds_rejected(const cn_xds_state_t *state, const cn_xds_rejected_t **list);

/*
 * Makes a whole model of the newest resources.  As cn_istio_read(): CN_OK: *model is usable, and
 * report may hold errors of contained resources, which cn_xds_rejected() names too: their last good
 * versions are in the model, or if there is none they are closed.  CN_ERR_NOT_FOUND: there is no
 * service (clusters come before listeners: the list of the rejected is right all the same);
 * CN_ERR_LIMIT, CN_ERR_MEMORY: no model.  config->directory is not looked at.  Within a fiber it
 * rests; state is its own until it returns: nothing may be put meanwhile.
 */
cn_status_t cn_xds_build(cn_xds_state_t *state, const cn_source_config_t *config,
    cn_report_t *report, cn_model_t **model) CN_MUST_USE;
bool cn_xds_is_building(const cn_xds_state_t *state);

/*
 * What changes most and touches least: when since the last building, which made model, nothing but
 * the endpoints of a few clusters has changed, model gets them, and positions (size_t) the places
 * of these clusters in it.  This counts as a building; what was rejected stays so.  CN_AGAIN: more
 * has changed, or one of them cannot be used: all is to be built, and model is as it was.
 */
cn_status_t cn_xds_update_endpoints(cn_xds_state_t *state, cn_report_t *report, cn_model_t *model,
    cn_array_t *positions) CN_MUST_USE;

/*
 * Reads lds.pb, cds.pb, eds.pb (and workload files if present) of a recorded push into a state of
 * its own, and builds.
 */
cn_status_t cn_xds_read_directory(const cn_source_config_t *config, cn_report_t *report,
    cn_model_t **model) CN_MUST_USE;

#endif
