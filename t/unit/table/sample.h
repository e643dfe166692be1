/* SPDX-License-Identifier: Apache-2.0 */

/*
 * sample - one block of each kind that uses every array and string of layout.h once, for the tests
 * of this room and the fuzzer.  The builders are the caller's to destroy; pointers into a builder
 * are taken anew after each add.
 */

#ifndef CN_T_TABLE_SAMPLE_H
#define CN_T_TABLE_SAMPLE_H

#include "base/hash.h"
#include "table/verify.h"

#include <stdio.h>

#define SAMPLE_MODULE  3                /* the only module that sample_module_verify() knows */
#define SAMPLE_MAGIC   0x600df00du      /* what its configuration must be */

#define SAMPLE_ROOT(builder, type)  ((type *) cn_block_builder_root(builder))
#define SAMPLE_AT(builder, at, type) ((type *) cn_block_builder_at((builder), (at)))


static inline cn_rel_bytes_t
sample_string(cn_block_builder_t *builder, const char *text)
{
    return cn_block_add_bytes(builder, cn_bytes_str(text));
}


static inline cn_status_t
sample_module_verify(uint16_t module, const cn_block_t *block, uint32_t config)
{
    const uint32_t  *policy;

    if (module != SAMPLE_MODULE) {
        return CN_ERR_UNSUPPORTED;
    }

    if (!cn_block_range(block, (cn_rel_array_t) { config, 1 }, sizeof(*policy), _Alignof(uint32_t))) {
        return CN_ERR_SYNTAX;
    }

    policy = cn_block_at(block, config);

    return *policy == SAMPLE_MAGIC ? CN_OK : CN_ERR_RANGE;
}


static inline cn_rel_array_t
sample_filters(cn_block_builder_t *builder)
{
    cn_rel_array_t      filters = cn_block_add_array(builder, 1, sizeof(cn_table_filter_t), 4);
    uint32_t            config = cn_block_add(builder, 1, sizeof(uint32_t), 4);
    cn_rel_bytes_t      name = sample_string(builder, "envoy.filters.http.fault");

    *SAMPLE_AT(builder, config, uint32_t) = SAMPLE_MAGIC;
    *SAMPLE_AT(builder, filters.at, cn_table_filter_t) = (cn_table_filter_t) {
        .module = SAMPLE_MODULE, .config = config, .name = name,
    };

    return filters;
}


static inline cn_rel_array_t
sample_matches(cn_block_builder_t *builder)
{
    cn_rel_array_t  matches = cn_block_add_array(builder, 2, sizeof(cn_table_header_match_t), 4);
    cn_rel_bytes_t  name = sample_string(builder, "end-user");
    cn_rel_bytes_t  value = sample_string(builder, "jason");

    SAMPLE_AT(builder, matches.at, cn_table_header_match_t)[0] = (cn_table_header_match_t) {
        .name = name, .value = { .kind = CN_STRING_EXACT, .value = value },
    };
    SAMPLE_AT(builder, matches.at, cn_table_header_match_t)[1] = (cn_table_header_match_t) {
        .name = name, .present_only = 1,
    };

    return matches;
}


static inline cn_rel_array_t
sample_ops(cn_block_builder_t *builder)
{
    cn_rel_array_t  ops = cn_block_add_array(builder, 1, sizeof(cn_table_header_op_t), 4);
    cn_rel_bytes_t  name = sample_string(builder, "x-added");
    cn_rel_bytes_t  value = sample_string(builder, "yes");

    *SAMPLE_AT(builder, ops.at, cn_table_header_op_t) = (cn_table_header_op_t) {
        .op = CN_HEADER_OP_SET, .name = name, .value = value,
    };

    return ops;
}


static inline cn_rel_array_t
sample_destinations(cn_block_builder_t *builder, uint32_t cluster)
{
    cn_rel_array_t  list = cn_block_add_array(builder, 2, sizeof(cn_table_destination_t), 4);
    cn_rel_bytes_t  name = sample_string(builder, "inbound-vip|9080|http/v1|reviews");
    cn_rel_array_t  ops = sample_ops(builder);
    cn_rel_array_t  filters = sample_filters(builder);

    for (uint32_t i = 0; i < 2; i++) {
        SAMPLE_AT(builder, list.at, cn_table_destination_t)[i] = (cn_table_destination_t) {
            .cluster = cluster + i, .weight = i == 0 ? 90 : 10, .cluster_name = name,
            .host_rewrite = name, .header_ops = ops, .filters = filters,
        };
    }

    return list;
}


/* Fills the route at an offset; text tells one service's routes from another's. */
static inline void
sample_route(cn_block_builder_t *builder, uint32_t at, const char *path, uint32_t cluster)
{
    cn_rel_array_t    statuses = cn_block_add_array(builder, 1, sizeof(uint32_t), 4);
    cn_table_route_t  route = {
        .name = sample_string(builder, "default"),
        .path_kind = CN_PATH_MATCH_EXACT,
        .action = CN_ACTION_FORWARD,
        .no_cluster_status = 503,
        .path = sample_string(builder, path),
        .headers = sample_matches(builder),
        .query = sample_matches(builder),
        .destinations = sample_destinations(builder, cluster),
        .total_weight = 100,
        .retry = { .on = CN_RETRY_CONNECT_FAILURE, .tries = 2, .statuses = statuses },
        .header_ops = sample_ops(builder),
        .filters = sample_filters(builder),
        .direct_body = sample_string(builder, "no"),
        .rewrite = { .kind = CN_REWRITE_REGEX, .pattern = sample_string(builder, "^/a"),
                     .value = sample_string(builder, "/b") },
        .host_rewrite = sample_string(builder, "other"),
        .redirect = { .scheme = sample_string(builder, "https"),
                      .host = sample_string(builder, "new"), .port = 8443 },
        .decorator = sample_string(builder, "reviews:9080/*"),
        .origin = { .file = sample_string(builder, "reviews.yaml"), .line = 7,
                    .resource = sample_string(builder, "VirtualService default/reviews") },
    };

    *SAMPLE_AT(builder, statuses.at, uint32_t) = 503;
    *SAMPLE_AT(builder, at, cn_table_route_t) = route;
}


static inline void
sample_index(cn_block_builder_t *builder, uint32_t chain, const char *path)
{
    cn_rel_array_t  exact = cn_block_add_array(builder, 1, sizeof(cn_table_path_key_t), 8);
    cn_rel_array_t  prefix = cn_block_add_array(builder, 1, sizeof(cn_table_path_key_t), 8);
    cn_rel_array_t  lengths = cn_block_add_array(builder, 2, sizeof(uint32_t), 4);
    cn_rel_array_t  scan = cn_block_add_array(builder, 2, sizeof(uint32_t), 4);
    uint64_t        hash = cn_hash(cn_bytes_str(path));

    *SAMPLE_AT(builder, exact.at, cn_table_path_key_t)
        = (cn_table_path_key_t) { hash, 0, (uint32_t) strlen(path) };
    *SAMPLE_AT(builder, prefix.at, cn_table_path_key_t)
        = (cn_table_path_key_t) { hash, 1, (uint32_t) strlen(path) };
    SAMPLE_AT(builder, lengths.at, uint32_t)[0] = 9;
    SAMPLE_AT(builder, lengths.at, uint32_t)[1] = (uint32_t) strlen(path);
    SAMPLE_AT(builder, scan.at, uint32_t)[1] = 1;

    SAMPLE_AT(builder, chain, cn_table_chain_t)->index
        = (cn_table_route_index_t) { exact, prefix, lengths, scan };
}


/* Service number `number`: host svcN.default, VIP 10.B.C.D of the number, port 80, two routes. */
static inline cn_block_builder_t *
sample_service(uint64_t id, uint32_t number, const char *path)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_SERVICE, id, sizeof(cn_table_service_t));
    char                 host[64];
    cn_rel_array_t       chains = cn_block_add_array(builder, 1, sizeof(cn_table_chain_t), 8);
    cn_rel_array_t       routes = cn_block_add_array(builder, 2, sizeof(cn_table_route_t), 4);
    cn_rel_array_t       addresses = cn_block_add_array(builder, 1, sizeof(cn_table_ip_t), 1);
    cn_rel_array_t       filters = sample_filters(builder);

    snprintf(host, sizeof(host), "svc%u.default.svc.cluster.local", number);

    cn_table_chain_t     chain = {
        .port = 80, .protocol = CN_PROTOCOL_HTTP, .path_level = 1,
        .name = sample_string(builder, "inbound-vip|80|http|svc"),
        .filters = filters, .routes = routes,
    };
    cn_table_service_t   service = {
        .host = sample_string(builder, host),
        .name = sample_string(builder, "svc"),
        .name_space = sample_string(builder, "default"),
        .addresses = addresses,
        .chains = chains,
        .origin = { .file = sample_string(builder, "services.yaml"), .line = 1,
                    .resource = sample_string(builder, "Service default/svc") },
    };

    *SAMPLE_AT(builder, addresses.at, cn_table_ip_t) = (cn_table_ip_t) {
        { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, (uint8_t) (number >> 16), (uint8_t) (number >> 8),
          (uint8_t) number }
    };
    *SAMPLE_AT(builder, chains.at, cn_table_chain_t) = chain;
    sample_route(builder, routes.at, path, number);
    sample_route(builder, routes.at + (uint32_t) sizeof(cn_table_route_t), path, number);
    sample_index(builder, chains.at, path);
    *SAMPLE_ROOT(builder, cn_table_service_t) = service;

    return builder;
}


static inline cn_block_builder_t *
sample_cluster(uint64_t id, uint32_t number)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_CLUSTER, id, sizeof(cn_table_cluster_t));
    cn_table_cluster_t   cluster = {
        .id = number, .lb = CN_LB_LEAST_REQUEST,
        .name = sample_string(builder, "inbound-vip|80|http|svc"),
        .service_host = sample_string(builder, "svc.default.svc.cluster.local"),
        .service_name = sample_string(builder, "svc"),
        .service_namespace = sample_string(builder, "default"),
        .connect_timeout_ms = 10000, .cell = UINT32_MAX,
    };

    *SAMPLE_ROOT(builder, cn_table_cluster_t) = cluster;

    return builder;
}


static inline cn_block_builder_t *
sample_endpoints(uint64_t id, uint32_t number)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_ENDPOINTS, id, sizeof(cn_table_endpoints_t));
    cn_rel_array_t       list = cn_block_add_array(builder, 2, sizeof(cn_table_endpoint_t), 8);
    cn_rel_bytes_t       uid = sample_string(builder, "Kubernetes//Pod/default/svc-1");
    cn_rel_bytes_t       principal = sample_string(builder, "spiffe://cluster.local/ns/default/sa/svc");

    for (uint32_t i = 0; i < 2; i++) {
        SAMPLE_AT(builder, list.at, cn_table_endpoint_t)[i] = (cn_table_endpoint_t) {
            .port = 8080, .hbone_port = 15008, .weight = 1,
            .flags = i == 0 ? CN_ENDPOINT_HBONE | CN_ENDPOINT_HEALTHY : CN_ENDPOINT_DRAINING,
            .principal = principal, .uid = uid,
        };
    }

    *SAMPLE_ROOT(builder, cn_table_endpoints_t) = (cn_table_endpoints_t) { number, 1, 1, 1, list };

    return builder;
}


static inline cn_block_builder_t *
sample_workload(uint64_t id, uint32_t number)
{
    cn_block_builder_t   *builder = cn_block_builder_create(CN_BLOCK_WORKLOAD, id, sizeof(cn_table_workload_t));
    cn_rel_array_t        addresses = cn_block_add_array(builder, 1, sizeof(cn_table_ip_t), 1);
    cn_table_workload_t   workload = {
        .addresses = addresses,
        .uid = sample_string(builder, "Kubernetes//Pod/default/svc-1"),
        .name = sample_string(builder, "svc-1"),
        .name_space = sample_string(builder, "default"),
        .workload = sample_string(builder, "svc"),
        .cluster = sample_string(builder, "Kubernetes"),
    };

    SAMPLE_AT(builder, addresses.at, cn_table_ip_t)->ip[0] = 0xfd;
    SAMPLE_AT(builder, addresses.at, cn_table_ip_t)->ip[15] = (uint8_t) number;
    *SAMPLE_ROOT(builder, cn_table_workload_t) = workload;

    return builder;
}


static inline cn_block_builder_t *
sample_global(uint64_t id)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_GLOBAL, id, sizeof(cn_table_global_t));
    cn_rel_array_t       domains = cn_block_add_array(builder, 1, sizeof(cn_rel_bytes_t), 4);
    cn_rel_array_t       pins = cn_block_add_array(builder, 1, sizeof(cn_table_pin_t), 4);
    cn_rel_bytes_t       domain = sample_string(builder, "cluster.local");
    cn_rel_bytes_t       host = sample_string(builder, "svc1.default.svc.cluster.local");
    cn_table_global_t    global = {
        .waypoint = sample_string(builder, "waypoint"),
        .name_space = sample_string(builder, "default"),
        .cluster_domain = domain,
        .trust_domains = domains,
        .modules_hash = 42,
        .access_log = 1,
        .pins = pins,
    };

    *SAMPLE_AT(builder, domains.at, cn_rel_bytes_t) = domain;
    *SAMPLE_AT(builder, pins.at, cn_table_pin_t) = (cn_table_pin_t) { .port = 8080, .service_port = 80, .service_host = host };
    *SAMPLE_ROOT(builder, cn_table_global_t) = global;

    return builder;
}

#endif
