/* SPDX-License-Identifier: Apache-2.0 */

/*
 * xds - what the readers of this folder share.  Resources come as istiod writes them for Envoy;
 * what they say goes into the same model that files make.
 */

#ifndef CN_SOURCE_XDS_XDS_H
#define CN_SOURCE_XDS_XDS_H

#include "base/map.h"
#include "model/decode.h"
#include "model/read.h"
#include "source/xds/state.h"

#include "cluster.pb-c.h"
#include "core.pb-c.h"
#include "http.pb-c.h"
#include "listener.pb-c.h"

#define CN_XDS_TYPE(name)  "type.googleapis.com/" name

/* "inbound-vip|9080|http/v1|HOST", taken apart. */
typedef struct {
    uint16_t    port;
    bool        is_http;
    cn_bytes_t  host;
} cn_xds_name_t;

typedef struct {
    const cn_source_config_t  *config;
    cn_xds_state_t            *state;
    cn_model_t                *model;
    cn_pool_t                 *pool;        /* the model's */
    cn_read_t                  read;
    cn_map_t                  *clusters;    /* name -> 1 + its position in the model */
    cn_map_t                  *workloads;   /* 16 octets of address -> 1 + its position */
    cn_map_t                  *services;    /* host -> 1 + its position */
    cn_map_t                  *original;    /* clusters that go where they were sent */
    cn_bytes_t                 endpoints;   /* under which name the last cluster's are */
    cn_array_t                 trust_domains;   /* cn_bytes_t, of connect_terminate */
    bool                       by_mode;     /* its endpoints' labels say how they are reached */
    bool                       main_known;  /* which services there are is known */
    /* what stands before all chains, or which they are, cannot be known: none may serve */
    bool                       all_refused;
} cn_xds_t;

/*
 * Each reads one resource's octets; false or read.errors grown: it cannot be used.  What is refused
 * is not in the model, but an assignment as far as it can be read.  A cluster that has endpoints
 * is the model's last, and says in xds->endpoints whose assignment is its own.
 */
bool cn_xds_read_cluster(cn_xds_t *xds, cn_bytes_t value);
bool cn_xds_read_assignment(cn_xds_t *xds, cn_bytes_t value);
bool cn_xds_read_workload(cn_xds_t *xds, cn_bytes_t value);

/* As they: connect_terminate.  xds->trust_domains has its trust domains, or none.  (terminate.c) */
bool cn_xds_read_terminate(cn_xds_t *xds, cn_bytes_t value);

/* How a cluster's endpoints are reached; sets by_mode.  (transport.c) */
void cn_xds_read_transport(cn_xds_t *xds, const Cairn__Cluster *message);

/* False: the endpoint of such a cluster cannot be reached as its labels say; reported. */
bool cn_xds_check_mode(cn_xds_t *xds, const Cairn__Metadata *metadata, bool has_tunnel);

/* A text of an object, or none. */
cn_bytes_t cn_xds_struct_string(const Cairn__Struct *object, const char *key);
/* Its endpoints out of an assignment, in the place of those that it had. */
bool cn_xds_read_endpoints(cn_xds_t *xds, cn_bytes_t value, cn_cluster_t *cluster);

/* main_internal, chain by chain, and the tree of addresses.  (listener.c) */
void cn_xds_read_main(cn_xds_t *xds, cn_xds_resource_t *resource);

/*
 * Reads what was pushed of a resource; when it cannot be used, blames it and reads its last good
 * octets.  False: they cannot be used either.  (build.c)
 */
bool cn_xds_contain(cn_xds_t *xds, cn_xds_type_t type, cn_xds_resource_t *resource,
    bool (*read)(cn_xds_t *xds, cn_bytes_t value));

/* Rejects a resource for the errors that the report has from its entry `first` on. */
void cn_xds_blame(cn_xds_t *xds, cn_xds_type_t type, const cn_xds_resource_t *resource,
    const char *label, size_t first);

/*
 * What is wrong with old octets was told when they were new: reports go to nobody.  Returns the
 * report that the caller sets again.
 */
cn_report_t *cn_xds_hush(cn_xds_t *xds) CN_MUST_USE;

/* ---- services and their chains (service.c) ---- */

/* A chain of a listener, and its name as it is and taken apart. */
typedef struct {
    cn_bytes_t     value;
    cn_bytes_t     full_name;
    cn_xds_name_t  name;
} cn_xds_half_t;

/* Into the model's chain of its port; what cannot be read makes that refused. */
void cn_xds_read_half(cn_xds_t *xds, const cn_xds_half_t *half);

/* The service of that host, or NULL; until the next one is made. */
cn_service_t *cn_xds_service(const cn_xds_t *xds, cn_bytes_t host);

/* Its chain of that port, or NULL. */
cn_chain_config_t *cn_xds_chain_of_port(const cn_service_t *service, uint16_t port);

/* ---- the tree of addresses (tree.c) ---- */

/* What a walk found wrong. */
typedef struct {
    bool       broken;          /* with the tree: anything may be missing */
    bool       partial;         /* what leads to no service is not there */
    cn_map_t  *hosts;           /* with the addresses of these alone */
} cn_xds_tree_t;

/*
 * Gives services the addresses that lead to their chains.  only: to those hosts alone, and no
 * address that another service has; NULL: to all.
 */
void cn_xds_walk_tree(cn_xds_t *xds, const Cairn__Matcher *matcher, const cn_map_t *only,
    cn_xds_tree_t *found);

/* An HTTP chain's filters and routes out of an HttpConnectionManager.  (chain.c) */
void cn_xds_read_http(cn_xds_t *xds, cn_bytes_t value, const cn_service_t *service,
    cn_chain_config_t *chain);

/* One network filter of a TCP chain. */
void cn_xds_read_network_filter(cn_xds_t *xds, cn_bytes_t type_url, cn_bytes_t value,
    cn_chain_config_t *chain);

/* Behind the last of them: what no source of xDS names. */
void cn_xds_finish_tcp(cn_xds_t *xds, const cn_service_t *service, cn_chain_config_t *chain);

/* One route.  (routes.c) */
void cn_xds_read_route(cn_xds_t *xds, const Cairn__Route *message, const char *field,
    cn_route_t *route);

/* False: it is no such name. */
bool cn_xds_parse_name(cn_bytes_t name, cn_xds_name_t *parts);

/* What is reported from now on is of this resource; "Cluster", "x": "Cluster x". */
void cn_xds_label(cn_xds_t *xds, const char *kind, cn_bytes_t name);

/* For what is read and not kept, charged to the model until its end; NULL: memory. */
cn_pool_t *cn_xds_borrow_pool(cn_xds_t *xds) CN_MUST_USE;

/* A new zeroed item; NULL: memory, reported. */
void *cn_xds_add(cn_xds_t *xds, cn_array_t *array);

/* Octets of an address as the tables have it; false: it is none. */
bool cn_xds_ip(cn_bytes_t text, uint8_t ip[16]);

/* ms; at least 1 when it is more than nothing.  NULL: 0. */
uint32_t cn_xds_duration(cn_xds_t *xds, const Cairn__Duration *duration, const char *field);

/* The module that reads type_url; NULL: none.  *skipped: it only observes, or does nothing here. */
const cn_module_config_t *cn_xds_module(const cn_xds_t *xds, cn_bytes_t type_url, cn_bytes_t value,
    bool *skipped);

#endif
