/* SPDX-License-Identifier: Apache-2.0 */

/* build - what the makers of the model's parts share. */

#ifndef CN_SOURCE_ISTIO_BUILD_H
#define CN_SOURCE_ISTIO_BUILD_H

#include "source/istio/istio.h"

typedef struct {
    cn_istio_t  *istio;
    cn_map_t    *pods_by_label;     /* "namespace key=value" -> cn_array_t of cn_pod_ref_t */
    cn_map_t    *pods_by_ip;        /* 16 octets -> cn_pod_t */
    cn_map_t    *clusters;          /* name -> anything: which are there */
} cn_istio_builder_t;

/* Resources of a module's kinds, oldest first, as its read_chain wants them. */
typedef struct {
    const cn_resource_t **resources;
    void                **parsed;
    bool                 *broken;
    size_t                count;
} cn_istio_resources_t;

/* A module where it stands in a chain. */
typedef struct {
    const cn_module_config_t  *module;
    cn_istio_resources_t       resources;
    void                      *memo;        /* the module's own */
} cn_istio_placed_t;

/* Pods by label and by address, so that a service does not look at all of them.  (endpoints.c) */
cn_status_t cn_istio_index_pods(cn_istio_builder_t *builder) CN_MUST_USE;

/*
 * The pods (cn_pod_ref_t) that one of the selector's labels finds, of which the rest is to be
 * checked; NULL: none.
 */
const cn_array_t *cn_istio_candidates(cn_istio_builder_t *builder,
    const cn_kube_service_t *service);

/* Adds the endpoints of a port to endpoints, sorted.  subset NULL: all. */
cn_status_t cn_istio_add_endpoints(cn_istio_builder_t *builder, const cn_kube_service_t *service,
    const cn_kube_port_t *port, const cn_subset_t *subset, cn_array_t *endpoints) CN_MUST_USE;

/* The modules (cn_istio_placed_t) in chain order, with their resources.  (chains.c) */
cn_status_t cn_istio_place_modules(const cn_istio_t *istio, cn_array_t *placed) CN_MUST_USE;

/* The chain of one port of service, which is made from `from`. */
cn_status_t cn_istio_add_chain(cn_istio_builder_t *builder, const cn_array_t *placed,
    cn_kube_service_t *from, const cn_kube_port_t *port, const cn_service_t *service,
    cn_chain_config_t *chain) CN_MUST_USE;

#endif
