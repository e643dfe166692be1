/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authz_config - an AuthorizationPolicy as the configuration part holds it: trees of conditions,
 * made simple while they are made (an AND of one is that one, NULL is "any"), so that both sources
 * come to the same tree.
 */

#ifndef CN_AUTHZ_CONFIG_H
#define CN_AUTHZ_CONFIG_H

#include "authz/authz_table.h"

#include "model/module_config.h"

#define CN_AUTHZ_TEMPLATE_MAX  1024     /* octets of a path template */

typedef struct authz_node_s authz_node_t;
typedef authz_node_t *authz_node_ref_t;             /* arrays hold these */

struct authz_node_s {
    cn_authz_kind_t    kind;
    uint8_t            needs;                       /* cn_authz_needs_t bits of it and all below */
    uint16_t           port;
    uint32_t           line;
    cn_array_t         children;                    /* authz_node_ref_t */
    cn_bytes_t         name;                        /* of a header, lower case */
    cn_string_match_t  match;
    uint8_t            ip[16];
    uint8_t            prefix_bits;
};

typedef struct {
    cn_bytes_t     name;
    authz_node_t  *permissions;                     /* NULL: any */
    authz_node_t  *principals;                      /* NULL: any */
    cn_origin_t    origin;
} authz_policy_t;

/* What stands in a chain. */
typedef struct {
    cn_authz_action_t  action;
    cn_array_t         policies;                    /* authz_policy_t by name */
} authz_config_t;

/* ---- authz_config_tree.c: making, printing and packing trees --------------------------------- */

/* A leaf or an empty AND, OR, NOT.  NULL: memory. */
authz_node_t *cn_authz_node(cn_pool_t *pool, cn_authz_kind_t kind, uint32_t line) CN_MUST_USE;

/* CN_ERR_MEMORY. */
cn_status_t cn_authz_add_child(authz_node_t *parent, authz_node_t *child) CN_MUST_USE;

/*
 * The simplest tree that says the same.  An OR that has NULL (any) among its children, or an AND of
 * nothing but it, is NULL.
 */
authz_node_t *cn_authz_simplify(authz_node_t *node);

/*
 * node without conditions that need the request: NULL, any, where nothing is left.  For DENY on
 * TCP.
 */
authz_node_t *cn_authz_without_request(authz_node_t *node, cn_pool_t *pool, cn_status_t *status);

/*
 * "10.0.0.0/8", "10.9.9.9", "fd00::/8" into node, host bits cleared.  False: it is none of these.
 */
bool cn_authz_read_range(cn_bytes_t text, authz_node_t *node);

/*
 * A path template, `*` for a segment and `**` for any rest, as a pattern over whole paths.  False:
 * it is none, or memory (*pattern is then "").
 */
bool cn_authz_template(cn_pool_t *pool, cn_bytes_t text, cn_bytes_t *pattern);

/*
 * A namespace with any number of stars, each written as `star` is, as what matches it.  False: the
 * text between several stars is no part of a name, or memory.
 */
bool cn_authz_namespace(cn_pool_t *pool, cn_bytes_t name, cn_bytes_t star,
    cn_string_match_t *match);

/* The module's print and pack (model/module_config.h); config is an authz_config_t. */
json_t *cn_authz_print(const void *config);
cn_status_t cn_authz_pack(const void *config, bool on_route, cn_block_builder_t *builder,
    uint32_t *at);

/* ---- authz_config_policy.c: reading the resource --------------------------------------------- */

typedef enum {
    AUTHZ_GATEWAY, AUTHZ_GATEWAY_CLASS, AUTHZ_SERVICE, AUTHZ_SERVICE_ENTRY, AUTHZ_TARGET_KIND_COUNT
} authz_target_kind_t;

typedef struct {
    authz_target_kind_t  kind;
    cn_bytes_t           name;                      /* in the policy's namespace, if in any */
} authz_target_t;

typedef struct {
    cn_authz_action_t  action;
    bool               observes;                    /* AUDIT, or a dry run: decides nothing */
    bool               targets_known;               /* false: the targetRefs could not be read */
    cn_array_t         targets;                     /* authz_target_t; none: not for this one */
    cn_array_t         policies;                    /* authz_policy_t, one a rule */
} authz_resource_t;

/* The module's read_resource; *parsed is set to what could be read even when it is broken. */
cn_status_t cn_authz_read_resource(cn_read_t *read, const cn_resource_t *resource, void **parsed);

/* ---- authz_config_xds.c ---- */


/* The module's read_xds: *config is an authz_config_t, or NULL for a filter that only rehearses. */
cn_status_t cn_authz_read_xds(cn_read_t *read, cn_bytes_t type_url, cn_bytes_t value,
    bool on_route, void **config);

#endif
