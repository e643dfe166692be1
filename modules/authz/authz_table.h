/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authz_table - what one authorization filter of a chain decides by.  A chain has up to two of
 * them: first the DENY filter, then the ALLOW filter, each with the policies of its action.
 *
 * A policy applies when its permissions (what is asked) and its principals (who asks) both match.
 * DENY: any policy that applies denies.  ALLOW: no policy that applies denies, so a filter of no
 * policies denies all.
 *
 * Both are trees of conditions.  `needs` tells what a tree looks at: a tree that needs nothing of
 * the request has the same answer for the whole connection and can be worked out once, when the
 * connection is accepted.
 */

#ifndef CN_AUTHZ_TABLE_H
#define CN_AUTHZ_TABLE_H

#include "table/layout.h"

#define CN_AUTHZ_DEPTH_MAX  16          /* nodes from root to leaf; verify refuses deeper trees */

typedef enum { CN_AUTHZ_ALLOW = 1, CN_AUTHZ_DENY = 2 } cn_authz_action_t;

/*
 * Bits: what must be known to answer.  PRINCIPAL and ADDRESS stand for a connection, PORT for a
 * connection whose service does.  FORWARDED is the request's where there is one, else the
 * connection's.
 */
typedef enum {
    CN_AUTHZ_NEEDS_PRINCIPAL = 1,       /* the peer's SPIFFE id */
    CN_AUTHZ_NEEDS_ADDRESS = 2,         /* the connection's addresses and SNI */
    CN_AUTHZ_NEEDS_PORT = 4,            /* the service's port */
    CN_AUTHZ_NEEDS_REQUEST = 8,         /* method, path, host, headers */
    CN_AUTHZ_NEEDS_FORWARDED = 16,      /* x-forwarded-for */
} cn_authz_needs_t;

typedef enum {
    CN_AUTHZ_AND = 1,                   /* children: all; none: yes */
    CN_AUTHZ_OR = 2,                    /* children: any; none: no */
    CN_AUTHZ_NOT = 3,                   /* one child; an error stays an error */
    CN_AUTHZ_PRINCIPAL = 4,             /* match on the peer's whole id "spiffe://..."; no id: no */
    /* match on the id's namespace; no id or not /ns/X/sa/Y: no */
    CN_AUTHZ_NAMESPACE = 5,
    CN_AUTHZ_SERVICE_ACCOUNT = 6,       /* match on the id's service account; likewise */
    CN_AUTHZ_SOURCE_IP = 7,             /* the peer's address in ip/prefix_bits */
    CN_AUTHZ_METHOD = 8,                /* match on :method */
    CN_AUTHZ_PATH = 9,                  /* match on the normalised path without query */
    /* match on :authority as it was sent, port and all; ignore_case is set */
    CN_AUTHZ_HOST = 10,
    CN_AUTHZ_PORT = 11,                 /* the service's port is `port` */
    /* the last address of x-forwarded-for, without one the peer's, in ip/prefix_bits */
    CN_AUTHZ_REMOTE_IP = 12,
    CN_AUTHZ_DESTINATION_IP = 13,       /* the address that the client asked for, likewise */
    CN_AUTHZ_SNI = 14,                  /* match on the server name of the client's TLS, or "" */
    CN_AUTHZ_HEADER = 15,               /* match on header `name`; ANY: it is there */
    CN_AUTHZ_KIND_COUNT
} cn_authz_kind_t;

/*
 * Children lie in one array behind their parent (at greater offsets), so that a tree cannot be a
 * ring.
 */
typedef struct {
    uint8_t                  kind;          /* cn_authz_kind_t */
    uint8_t                  needs;         /* cn_authz_needs_t bits of it and all below */
    uint16_t                 port;
    uint32_t                 line;          /* in the policy's file, 0: none; for explain */
    cn_rel_array_t           children;      /* cn_table_authz_node_t */
    cn_rel_bytes_t           name;          /* of a header, lower case */
    cn_table_string_match_t  match;
    uint8_t                  ip[16];        /* IPv4 as ::ffff:a.b.c.d */
    uint8_t                  prefix_bits;   /* of the 128 */
    uint8_t                  reserved[7];
} cn_table_authz_node_t;

_Static_assert(sizeof(cn_table_authz_node_t) == 64, "the layout is an interface");

typedef struct {
    /* "ns[default]-policy[viewer]-rule[0]", of the log's details */
    cn_rel_bytes_t     name;
    uint32_t           permissions;         /* offset of a cn_table_authz_node_t; 0: any request */
    uint32_t           principals;          /* likewise; 0: anybody */
    uint8_t            permissions_need;    /* cn_authz_needs_t bits; 0 for any */
    uint8_t            principals_need;
    uint8_t            reserved[6];
    cn_table_origin_t  origin;              /* the rule's line */
} cn_table_authz_policy_t;

_Static_assert(sizeof(cn_table_authz_policy_t) == 48, "the layout is an interface");

/* The configuration of the filter in a chain.  There is none per route. */
typedef struct {
    uint8_t         action;                 /* cn_authz_action_t */
    /* no policy needs more than PRINCIPAL and ADDRESS: one verdict a connection */
    uint8_t         connection_only;
    uint8_t         reserved[6];
    /* cn_table_authz_policy_t in octet order of their names: evaluated so */
    cn_rel_array_t  policies;
} cn_table_authz_t;

_Static_assert(sizeof(cn_table_authz_t) == 16, "the layout is an interface");

#endif
