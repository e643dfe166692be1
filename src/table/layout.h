/* SPDX-License-Identifier: Apache-2.0 */

/*
 * layout - what stands in the blocks.  Written by model/compile, read by the data path.  All enums
 * have explicit values: the bytes are an interface between two processes.  at == 0 means
 * absent.  Times are ms unless the name says otherwise.
 */

#ifndef CN_TABLE_LAYOUT_H
#define CN_TABLE_LAYOUT_H

#include "table/block.h"

/* Where in the user's files a thing was said, for explain: file "" when it came over xDS. */
typedef struct {
    cn_rel_bytes_t  file;
    uint32_t        line;
    uint32_t        reserved;
    cn_rel_bytes_t  resource;           /* "VirtualService default/reviews" */
} cn_table_origin_t;

/* ---- strings and headers ---- */

typedef enum {
    CN_STRING_EXACT = 1, CN_STRING_PREFIX = 2, CN_STRING_SUFFIX = 3, CN_STRING_CONTAINS = 4,
    CN_STRING_REGEX = 5, CN_STRING_ANY = 6,
} cn_string_match_kind_t;

typedef struct {
    uint8_t         kind;               /* cn_string_match_kind_t */
    uint8_t         ignore_case;
    uint8_t         reserved[6];
    cn_rel_bytes_t  value;              /* lower case when ignore_case */
} cn_table_string_match_t;

typedef struct {
    /* lower case; ":method", ":authority", ":path", ":scheme" for pseudo headers */
    cn_rel_bytes_t           name;
    uint8_t                  present_only;
    uint8_t                  invert;
    uint8_t                  missing_as_empty;  /* treat_missing_header_as_empty */
    uint8_t                  reserved[5];
    cn_table_string_match_t  value;
} cn_table_header_match_t;

typedef enum {
    CN_HEADER_OP_SET = 1, CN_HEADER_OP_ADD = 2, CN_HEADER_OP_REMOVE = 3,
} cn_header_op_kind_t;

typedef struct {
    uint8_t         op;
    uint8_t         on_response;
    uint8_t         format;             /* value has commands (base/header_format.h) */
    uint8_t         reserved[5];
    cn_rel_bytes_t  name;
    cn_rel_bytes_t  value;
} cn_table_header_op_t;

/* ---- filter configurations ---- */

/*
 * A module's configuration: `module` is an index into cn_modules of this very build (the snapshot
 * carries that list's hash).
 */
typedef struct {
    uint16_t        module;
    uint16_t        reserved;
    /* offset of the module's own packed struct; 0: the module needs none */
    uint32_t        config;
    cn_rel_bytes_t  name;               /* the filter's name in the chain */
} cn_table_filter_t;

/* ---- routes ---- */

typedef enum {
    CN_PATH_MATCH_ANY = 1, CN_PATH_MATCH_EXACT = 2, CN_PATH_MATCH_PREFIX = 3,
    /* /a matches /a and /a/b, not /ab (Gateway API PathPrefix) */
    CN_PATH_MATCH_SEPARATED_PREFIX = 4,
    CN_PATH_MATCH_REGEX = 5,
} cn_path_match_kind_t;

/* What becomes of the path on its way upstream, or in a redirect's location. */
typedef enum {
    CN_REWRITE_NONE = 0,
    CN_REWRITE_PREFIX = 1,              /* the part that the route's path matched */
    CN_REWRITE_REGEX = 2,               /* each find of pattern in the path without its query */
    CN_REWRITE_PATH = 3,                /* all of it, its own query outdoes the request's */
} cn_path_rewrite_kind_t;

typedef struct {
    uint8_t         kind;               /* cn_path_rewrite_kind_t */
    uint8_t         reserved[7];
    cn_rel_bytes_t  pattern;            /* of CN_REWRITE_REGEX */
    cn_rel_bytes_t  value;              /* begins with a slash, but for a pattern's */
} cn_table_path_rewrite_t;

/* Where a redirect leads; what is not set stays as it was asked for. */
typedef struct {
    cn_rel_bytes_t  scheme;
    cn_rel_bytes_t  host;               /* may have a port */
    uint16_t        port;               /* 0: not set */
    uint8_t         reserved[6];
} cn_table_redirect_t;

typedef struct {
    uint32_t        cluster;            /* id of a CN_BLOCK_CLUSTER; 0: the name has no cluster */
    uint32_t        weight;
    /* for the log and for explain, also when there is no cluster */
    cn_rel_bytes_t  cluster_name;
    cn_rel_bytes_t  host_rewrite;       /* where the route itself has none */
    cn_rel_array_t  header_ops;         /* cn_table_header_op_t, of this destination */
    cn_rel_array_t  filters;            /* cn_table_filter_t: per-destination configuration */
} cn_table_destination_t;

typedef enum {
    CN_RETRY_CONNECT_FAILURE = 1, CN_RETRY_REFUSED_STREAM = 2, CN_RETRY_UNAVAILABLE = 4,
    CN_RETRY_CANCELLED = 8, CN_RETRY_RETRIABLE_STATUS_CODES = 16, CN_RETRY_5XX = 32,
    CN_RETRY_GATEWAY_ERROR = 64, CN_RETRY_RESET = 128, CN_RETRY_RETRIABLE_4XX = 256,
    CN_RETRY_RESET_BEFORE_REQUEST = 512, CN_RETRY_DEADLINE_EXCEEDED = 1024,
    CN_RETRY_INTERNAL = 2048, CN_RETRY_RESOURCE_EXHAUSTED = 4096,
} cn_retry_on_t;

typedef struct {
    uint32_t        on;                 /* cn_retry_on_t bits */
    uint32_t        tries;              /* more than the first; 0: no retry */
    uint32_t        per_try_timeout_ms; /* 0: none */
    uint32_t        base_backoff_ms;    /* default 25 */
    uint32_t        max_backoff_ms;     /* default 250 */
    /* how often another host is drawn (previous_hosts); 0: any host */
    uint32_t        host_attempts;
    cn_rel_array_t  statuses;           /* uint32_t */
} cn_table_retry_t;

typedef enum {
    CN_ACTION_FORWARD = 1,              /* destinations; one or weighted */
    CN_ACTION_DIRECT_RESPONSE = 2,
    CN_ACTION_REDIRECT = 3,
} cn_route_action_t;

typedef struct {
    cn_rel_bytes_t           name;      /* ROUTE_NAME of the log; "default" */
    uint8_t                  path_kind;         /* cn_path_match_kind_t */
    uint8_t                  path_ignore_case;
    uint8_t                  action;            /* cn_route_action_t */
    uint8_t                  reserved;
    uint16_t                 direct_status;     /* of a direct response or a redirect */
    /* when a destination has no cluster: 503, or 500 for HTTPRoute */
    uint16_t                 no_cluster_status;
    cn_rel_bytes_t           path;
    cn_rel_array_t           headers;           /* cn_table_header_match_t: all must match */
    /* cn_table_header_match_t, name is the parameter's */
    cn_rel_array_t           query;
    cn_rel_array_t           destinations;      /* cn_table_destination_t */
    uint32_t                 total_weight;
    uint32_t                 timeout_ms;        /* 0: none */
    uint32_t                 max_grpc_timeout_ms;   /* 0: the client's own without a cap */
    uint32_t                 reserved2;
    cn_table_retry_t         retry;
    cn_rel_array_t           header_ops;        /* cn_table_header_op_t, after the destination's */
    cn_rel_array_t           filters;           /* cn_table_filter_t: per-route configuration */
    cn_rel_bytes_t           direct_body;
    cn_table_path_rewrite_t  rewrite;
    cn_rel_bytes_t           host_rewrite;      /* none: the authority stays */
    cn_table_redirect_t      redirect;
    cn_rel_bytes_t           decorator;         /* "reviews.default.svc.cluster.local:9080/x*" */
    cn_table_origin_t        origin;
} cn_table_route_t;

/*
 * The index that spares a walk: routes whose path is exact, by hash of the path; prefixes as a
 * sorted list for longest-to-shortest search.  Both give candidate positions; the lowest matching
 * position wins, so first-match order is kept.
 */
typedef struct {
    uint64_t  hash;                     /* cn_hash of the path (lower case when ignore_case) */
    uint32_t  route;                    /* position in routes */
    uint32_t  length;                   /* octets of the path or prefix */
} cn_table_path_key_t;

typedef struct {
    cn_rel_array_t  exact;              /* cn_table_path_key_t sorted by (hash, route) */
    cn_rel_array_t  prefix;             /* cn_table_path_key_t sorted by (hash, route) */
    cn_rel_array_t  prefix_lengths;     /* uint32_t, distinct, descending */
    /* uint32_t positions that must be tried one by one (regex, ignore_case), ascending */
    cn_rel_array_t  scan;
} cn_table_route_index_t;

/* ---- services ---- */

typedef enum {
    CN_PROTOCOL_HTTP = 1, CN_PROTOCOL_TCP = 2, CN_PROTOCOL_AUTO = 3,
} cn_service_protocol_t;

/* One port of a service: the filter chain inbound-vip|PORT|http|HOST. */
typedef struct {
    uint16_t                port;
    uint8_t                 protocol;           /* cn_service_protocol_t */
    uint8_t                 path_level;         /* cn_path_level_t of http/normalize.h */
    uint8_t                 http2_upstream;     /* the port's name says http2 or grpc */
    /* closed: its configuration is broken and there is no last good one: all requests are denied */
    uint8_t                 refused;
    uint8_t                 http_10;            /* HTTP/1.0 is answered; else 426 */
    uint8_t                 reserved;
    /* "inbound-vip|9080|http|reviews.default.svc.cluster.local" */
    cn_rel_bytes_t          name;
    /* cn_table_filter_t in order; the last is the router */
    cn_rel_array_t          filters;
    cn_rel_array_t          routes;             /* cn_table_route_t in order */
    cn_table_route_index_t  index;
    uint32_t                tcp_cluster;        /* of TCP: the cluster id */
    uint32_t                tcp_idle_timeout_ms;        /* 0: an hour */
    uint32_t                tcp_max_duration_ms;        /* 0: none */
    uint32_t                reserved2;
} cn_table_chain_t;

typedef struct {
    cn_rel_bytes_t     host;            /* "reviews.default.svc.cluster.local" */
    cn_rel_bytes_t     name;            /* "reviews" */
    cn_rel_bytes_t     name_space;
    cn_rel_array_t     addresses;       /* cn_table_ip_t: its VIPs */
    cn_rel_array_t     chains;          /* cn_table_chain_t, ascending port */
    cn_table_origin_t  origin;
} cn_table_service_t;

typedef struct { uint8_t ip[16]; } cn_table_ip_t;       /* IPv4 as ::ffff:a.b.c.d */

/* ---- clusters and endpoints ---- */

typedef enum { CN_LB_LEAST_REQUEST = 1, CN_LB_ROUND_ROBIN = 2, CN_LB_RANDOM = 3 } cn_lb_policy_t;

typedef struct {
    uint32_t           id;
    uint8_t            lb;              /* cn_lb_policy_t */
    uint8_t            http2;           /* talk HTTP/2 to the endpoints */
    uint8_t            client_protocol; /* talk to them as the client talks to us */
    uint8_t            reserved;
    /* "inbound-vip|9080|http/v1|reviews.default.svc.cluster.local" */
    cn_rel_bytes_t     name;
    cn_rel_bytes_t     service_host;    /* metric labels destination_service, _name, _namespace */
    cn_rel_bytes_t     service_name;
    cn_rel_bytes_t     service_namespace;
    uint32_t           connect_timeout_ms;      /* 10000 */
    uint32_t           idle_timeout_ms;         /* 3600000 */
    uint32_t           max_connections;         /* UINT32_MAX: none; likewise below */
    uint32_t           max_pending;
    uint32_t           max_requests;
    uint32_t           max_retries;
    /* slab cell of the cluster's own active counts; UINT32_MAX: none */
    uint32_t           cell;
    uint32_t           reserved2;
    cn_table_origin_t  origin;
} cn_table_cluster_t;

typedef enum {
    CN_ENDPOINT_HBONE = 1,              /* reach it by a CONNECT to its address:15008 */
    CN_ENDPOINT_HEALTHY = 2,
    CN_ENDPOINT_DRAINING = 4,
} cn_endpoint_flags_t;

typedef struct {
    uint8_t         ip[16];
    uint16_t        port;               /* the application's, host order */
    uint16_t        hbone_port;         /* 15008 */
    uint32_t        flags;              /* cn_endpoint_flags_t */
    uint32_t        weight;             /* >= 1 */
    uint32_t        weight_before;      /* of all that stand before it and may be chosen */
    uint32_t        reserved;
    /* slab cell: active requests, outlier state; UINT32_MAX: the overflow cell */
    uint32_t        cell;
    uint64_t        cell_key;           /* what the cell must hold to be this endpoint's */
    /* the SPIFFE id its HBONE server must prove; none: any of the trust domain */
    cn_rel_bytes_t  principal;
    cn_rel_bytes_t  uid;                /* the workload's, part of the pool's key */
} cn_table_endpoint_t;

/* Those that may be chosen, healthy and not draining, stand first: a choice looks at few. */
typedef struct {
    uint32_t        cluster;            /* id */
    uint32_t        usable;             /* how many may be chosen */
    uint32_t        total_weight;       /* of these */
    uint32_t        weight_unit;        /* the greatest that divides each of their weights */
    cn_rel_array_t  endpoints;          /* cn_table_endpoint_t */
} cn_table_endpoints_t;

static inline bool
cn_endpoint_usable(const cn_table_endpoint_t *endpoint)
{
    return (endpoint->flags & (CN_ENDPOINT_HEALTHY | CN_ENDPOINT_DRAINING)) == CN_ENDPOINT_HEALTHY;
}

/* The greatest common divisor; of 0 and a: a. */
static inline uint64_t
cn_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t  rest = a % b;

        a = b;
        b = rest;
    }

    return a;
}

/* ---- workloads ---- */

/* Who has this address: labels of metrics (semantics: Istio's WDS Workload). */
typedef struct {
    cn_rel_array_t  addresses;          /* cn_table_ip_t */
    cn_rel_bytes_t  uid;
    cn_rel_bytes_t  name;               /* the pod's */
    cn_rel_bytes_t  name_space;
    cn_rel_bytes_t  workload;           /* its owner: "reviews-v1" */
    cn_rel_bytes_t  canonical_name;
    cn_rel_bytes_t  canonical_revision;
    cn_rel_bytes_t  app;
    cn_rel_bytes_t  version;
    cn_rel_bytes_t  cluster;            /* "Kubernetes" */
    cn_rel_bytes_t  principal;
} cn_table_workload_t;

/* ---- global ---- */

/* A plain listener pinned to one service. */
typedef struct {
    uint8_t         ip[16];
    uint16_t        port;
    uint16_t        service_port;
    uint32_t        reserved;
    cn_rel_bytes_t  service_host;
} cn_table_pin_t;

typedef struct {
    cn_rel_bytes_t  waypoint;           /* "waypoint" */
    cn_rel_bytes_t  name_space;
    cn_rel_bytes_t  cluster_domain;     /* "cluster.local": of service host names */
    cn_rel_array_t  trust_domains;      /* cn_rel_bytes_t, the own one first */
    cn_rel_bytes_t  cluster_id;         /* "Kubernetes" */
    /* of the names of cn_modules, in order: another build's table is refused */
    uint64_t        modules_hash;
    uint8_t         access_log;         /* 0 off, 1 on */
    uint8_t         http_10;            /* on listeners that are no chain's */
    uint8_t         reserved[6];
    cn_rel_bytes_t  access_log_format;  /* none: Istio's default text */
    cn_rel_array_t  pins;               /* cn_table_pin_t */
} cn_table_global_t;

/*
 * Directory keys (snapshot.h): the octets that are hashed, by kind of look-up.
 *   'A' ip[16] port(be16)     -> CN_BLOCK_SERVICE that has this VIP and port
 *   'H' host ':' port (text)  -> CN_BLOCK_SERVICE by lower-case full host name and port
 *   'C' id(be32)              -> CN_BLOCK_CLUSTER
 *   'E' id(be32)              -> CN_BLOCK_ENDPOINTS
 *   'W' ip[16]                -> CN_BLOCK_WORKLOAD
 *   'G'                       -> CN_BLOCK_GLOBAL
 */

#endif
