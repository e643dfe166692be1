/* SPDX-License-Identifier: Apache-2.0 */

/*
 * state - what was pushed, and what of it can be used.
 *
 * A resource holds the octets that were pushed last.  When they could be used they are its last
 * good ones; when newer ones cannot, the good ones are kept beside them until they are replaced or
 * the resource is removed:
 *
 *     pushed  is_good   good
 *     v1      yes       -          v1 serves
 *     v2      no        v1         v2 is refused, v1 serves
 *     v3      yes       -          v3 serves
 *
 * One listener, main_internal, has the chains of all services, of which each stands or falls by
 * itself.  So the last good octets are kept by chain too: a `unit` is what makes one port of one
 * service (an HTTP half, a TCP half, or both).  A unit that cannot be used is read again from its
 * own last good octets; a unit without any is there, closed.  The listener's own good octets are
 * the last in which the frame could be read: every chain's name and the whole tree of addresses.
 */

#ifndef CN_SOURCE_XDS_STATE_H
#define CN_SOURCE_XDS_STATE_H

#include "base/map.h"
#include "source/source.h"

#define CN_XDS_NAME_MAX  1024           /* octets of a resource's name, or its version */

typedef struct {
    cn_bytes_t   name;
    cn_bytes_t   version;
    cn_bytes_t   pushed;
    cn_bytes_t   good;                  /* of an earlier push; none while pushed is good */
    bool         is_good;
    const char  *refusal;               /* why pushed is not there at all; NULL: it is.  Literal. */
    uint64_t     push;                  /* the last that named it */
    bool         touched;               /* has other octets than when it was last built */
} cn_xds_resource_t;

typedef struct {
    cn_map_t  *resources;               /* name -> cn_xds_resource_t */
    uint64_t   push;                    /* counts them */
    bool       unnamed;                 /* one came whose name cannot be known */
    uint64_t   unnamed_push;            /* the last such push */
} cn_xds_resources_t;

/* The chains of one port of one service, as they could last be used. */
typedef struct {
    cn_bytes_t  octets;                 /* what listener.c made of them */
    uint64_t    building;               /* the last that saw it */
} cn_xds_unit_t;

struct cn_xds_state_s {
    cn_xds_resources_t  types[CN_XDS_TYPES];
    cn_map_t           *units;          /* "PORT|HOST" -> cn_xds_unit_t */
    size_t              used;           /* octets of names, versions and contents */
    size_t              total_max;
    size_t              resource_max;
    bool                changed;
    bool                changed_more;   /* .. and not only octets of known assignments */
    bool                shared;         /* a cluster has endpoints by another name than its own */
    bool                building;
    uint64_t            buildings;      /* counts them */
    cn_pool_t          *rejected_pool;  /* of the list below */
    cn_array_t          rejected;       /* cn_xds_rejected_t */
};

/* NULL: it is not there. */
cn_xds_resource_t *cn_xds_find(const cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name);

/* As cn_map_next(). */
bool cn_xds_next(const cn_xds_state_t *state, cn_xds_type_t type, size_t *at,
    cn_xds_resource_t **resource);

/* All of that type come again: if one had no name, it is told again. */
void cn_xds_forget_unnamed(cn_xds_state_t *state, cn_xds_type_t type);

/* What was pushed could be used: what was good before is forgotten. */
void cn_xds_set_good(cn_xds_state_t *state, cn_xds_resource_t *resource);

/* The last good octets of a unit, or none. */
cn_bytes_t cn_xds_good_unit(const cn_xds_state_t *state, cn_bytes_t key);

/*
 * Octets of a unit that could be used; none: it was seen in this building.  When there is no room,
 * what was known of it is forgotten: should its next version be refused, it is closed.
 */
void cn_xds_set_good_unit(cn_xds_state_t *state, cn_bytes_t key, cn_bytes_t octets);

/* What is pushed was built: all of it, or the assignments that had changed. */
void cn_xds_set_built(cn_xds_state_t *state);

/* Forgets the units that the last building did not see. */
void cn_xds_sweep_units(cn_xds_state_t *state);

/* Empties the list of the rejected, for a building. */
void cn_xds_reject_none(cn_xds_state_t *state);

/* One more; name and reason are copied.  Past 1000 and without memory it is only in the report. */
void cn_xds_reject(cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name, const char *reason);

/* "Cluster", for people. */
const char *cn_xds_kind(cn_xds_type_t type);

/*
 * As cn_xds_put() of something that was named, or not, and cannot be a resource of that type.
 * reason is a literal.
 */
cn_status_t cn_xds_put_refused(cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name,
    const char *reason) CN_MUST_USE;

/* Whether the last push of the type named it; one without a name counts as named. */
bool cn_xds_is_in_push(const cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name);

/* Under which name a cluster's endpoints are asked for; none: it has no EDS. */
cn_bytes_t cn_xds_endpoints_name(cn_bytes_t cluster);

#endif
