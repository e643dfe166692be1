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
#include "source/source.h"

#include "core.pb-c.h"
#include "http.pb-c.h"

#define CN_XDS_TYPE(name)  "type.googleapis.com/" name

/* "inbound-vip|9080|http/v1|HOST", taken apart. */
typedef struct {
    uint16_t    port;
    bool        is_http;
    cn_bytes_t  host;
} cn_xds_name_t;

typedef struct {
    const cn_source_config_t  *config;
    cn_model_t                *model;
    cn_pool_t                 *pool;        /* the model's */
    cn_read_t                  read;
    cn_map_t                  *clusters;    /* name -> 1 + its position in the model */
    cn_map_t                  *workloads;   /* 16 octets of address -> 1 + its position */
    cn_map_t                  *services;    /* host -> 1 + its position */
    /* what stands before all chains, or which they are, cannot be known: none may serve */
    bool                       all_refused;
} cn_xds_t;

/* Each reads one resource; read.errors tells.  What is refused is not in the model. */
void cn_xds_read_cluster(cn_xds_t *xds, cn_bytes_t value);
void cn_xds_read_assignment(cn_xds_t *xds, cn_bytes_t value);
void cn_xds_read_workload(cn_xds_t *xds, cn_bytes_t value);
void cn_xds_read_listener(cn_xds_t *xds, cn_bytes_t value);

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
