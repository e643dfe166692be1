/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ads - one client's part in an aggregated discovery stream, delta or state of the world.  Pure: it
 * is given messages and gives messages; who owns the stream moves them, and opens a new one when it
 * ends.  What was received goes into a state (source/source.h), which outlives streams.
 *
 *     open ─▶ clusters, workloads ─▶ [clusters came] answer, endpoints of these clusters
 *          ─▶ [endpoints came] listeners, answer ─▶ [listeners came] answer ─▶ ready
 *
 * Of clusters that come later the endpoints are asked for at once, of those that go no more.  A
 * control plane says the types of one change one after another: who builds should wait a little
 * after `changed`, and publish only what was built while cn_ads_is_ready().
 */

#ifndef CN_SOURCE_XDS_ADS_H
#define CN_SOURCE_XDS_ADS_H

#include "base/doc.h"
#include "source/source.h"

#define CN_ADS_DELTA_PATH \
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
#define CN_ADS_FULL_PATH \
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"

/* Who asks; copied. */
typedef struct {
    cn_bytes_t     id;                  /* "waypoint~10.0.0.1~POD.NS~NS.svc.cluster.local" */
    cn_bytes_t     cluster;
    const json_t  *metadata;            /* an object, or NULL */
    cn_bytes_t     agent_name;
    cn_bytes_t     agent_version;
} cn_ads_node_t;

typedef enum { CN_ADS_DELTA, CN_ADS_FULL } cn_ads_kind_t;

typedef struct {
    cn_ads_node_t    node;
    cn_ads_kind_t    kind;
    size_t           message_max;       /* octets of one received; 0: 64 MiB */
    cn_xds_state_t  *state;             /* outlives the client */
    void            *owner;
    /*
     * A message for the stream, without gRPC's frame; borrowed during the call, in which the client
     * must not be called.
     */
    void           (*send)(void *owner, cn_bytes_t message);
    /* The state has changed: it is to be built, and then answered.  As above. */
    void           (*changed)(void *owner, cn_xds_type_t type);
} cn_ads_config_t;

typedef struct cn_ads_s cn_ads_t;

/* NULL: memory, or metadata that nests deeper than 32. */
cn_ads_t *cn_ads_create(const cn_ads_config_t *config) CN_MUST_USE;
void cn_ads_destroy(cn_ads_t *ads);

/*
 * A stream has begun: asks for all that is known of again, and says what it has.  CN_ERR_MEMORY:
 * the stream must be ended, here and below.
 */
cn_status_t cn_ads_open(cn_ads_t *ads) CN_MUST_USE;

/*
 * A response.  What cannot be used of it is refused by the answer; what was not asked for is passed
 * over.  A response that brings nothing new is answered at once.  CN_AGAIN: the state is being
 * built, give it again when that is over; CN_ERR_SYNTAX: it is no response; CN_ERR_LIMIT: too
 * large.
 */
cn_status_t cn_ads_receive(cn_ads_t *ads, cn_bytes_t message) CN_MUST_USE;

/*
 * The state was built: answers the responses that came before, each with an ACK, or with a NACK
 * that names what of it is refused, in what field and why.  failure: why nothing of it can be used
 * at all; or NULL.  CN_AGAIN: it is being built.
 */
cn_status_t cn_ads_answer(cn_ads_t *ads, const char *failure) CN_MUST_USE;

/*
 * Whether clusters and listeners came and were answered once, and the endpoints of every cluster
 * are known.
 */
bool cn_ads_is_ready(const cn_ads_t *ads);

/* Whether clusters and listeners came in this stream: it works. */
bool cn_ads_has_all(const cn_ads_t *ads);

/* Whether a response of that type came and was answered once. */
bool cn_ads_has_answered(const cn_ads_t *ads, cn_xds_type_t type);

#endif
