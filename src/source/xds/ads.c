/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ads - per type: asked for in this stream or not, and whether a response waits for its answer.  A
 * second response before the answer takes the first one's place, as its nonce does.
 *
 * Endpoints are asked for by name, and the names follow from the clusters: from what was pushed and
 * from what is still used of a cluster whose newest version is refused.
 */

#include "source/xds/ads.h"

#include "model/decode.h"
#include "source/xds/request.h"
#include "source/xds/state.h"
#include "source/xds/wire.h"

#include "discovery.pb-c.h"

#include <stdio.h>

#define MESSAGE_MAX   ((size_t) 64 * 1024 * 1024)
#define VERSIONS_MAX  ((size_t) 2 * 1024 * 1024)   /* servers take requests of 4 MiB */
#define NONCE_MAX     1024                      /* octets; of a version too */
#define REFUSAL_MAX   4096                      /* octets of a NACK's text */
#define TYPE_FIELD    4                         /* of both kinds of response */
#define NONCE_FIELD   5

typedef struct {
    bool        asked;              /* in this stream */
    bool        came;               /* a response in this stream */
    bool        is_all;             /* the first response of the stream says all there is */
    bool        answered;           /* one, ever */
    uint64_t    waits;              /* the order of those that wait for an answer; 0: it does not */
    uint64_t    buildings;          /* of the state, before it came */
    size_t      nonce_len;
    size_t      version_len;        /* full: what came last */
    size_t      accepted_len;       /* full: what was accepted last */
    uint8_t     nonce[NONCE_MAX];
    uint8_t     version[NONCE_MAX];
    uint8_t     accepted[NONCE_MAX];
} type_t;

/* A name whose endpoints are asked for. */
typedef struct {
    bool      is_gone;              /* the control plane has none */
    uint64_t  wanted;               /* the last look at clusters that found it */
} endpoints_t;

struct cn_ads_s {
    cn_ads_config_t   config;
    cn_pool_t        *pool;         /* of what lives as long as the client */
    cn_bytes_t        node;         /* packed */
    bool              node_told;    /* in this stream */
    type_t            types[CN_XDS_TYPES];
    cn_map_t         *endpoints;    /* name -> endpoints_t */
    uint64_t          looks;        /* counts looks at clusters */
    uint64_t          waiting;      /* counts those that were made to wait */
};


/* ---- making and ending ---- */

static void
destroy_endpoints(cn_map_t *endpoints)
{
    size_t      at = 0;
    cn_bytes_t  name;
    void       *item;

    while (endpoints != NULL && cn_map_next(endpoints, &at, &name, &item)) {
        cn_free(item);
    }

    cn_map_destroy(endpoints);
}


void
cn_ads_destroy(cn_ads_t *ads)
{
    if (ads == NULL) {
        return;
    }

    destroy_endpoints(ads->endpoints);
    cn_pool_destroy(ads->pool);
    cn_free(ads);
}


cn_ads_t *
cn_ads_create(const cn_ads_config_t *config)
{
    cn_ads_t  *ads = cn_alloc_zero(sizeof(*ads));

    if (ads == NULL) {
        return NULL;
    }

    ads->config = *config;
    ads->config.node = (cn_ads_node_t) { .metadata = NULL };    /* borrowed, and not any more */
    ads->config.message_max = config->message_max > 0 ? config->message_max : MESSAGE_MAX;
    ads->pool = cn_pool_create(4096, NULL);
    ads->endpoints = cn_map_create();

    if (ads->pool != NULL) {
        ads->node = cn_request_node(&config->node, ads->pool);
    }

    if (ads->node.len == 0 || ads->endpoints == NULL) {
        cn_ads_destroy(ads);
        return NULL;
    }

    return ads;
}


/* ---- sending ---- */

/* pool is the request's, and ends here. */
static cn_status_t
send_request(cn_ads_t *ads, cn_request_t *request, cn_pool_t *pool)
{
    cn_bytes_t  message;

    request->node = ads->node_told ? CN_BYTES_NONE : ads->node;
    message = ads->config.kind == CN_ADS_DELTA
              ? cn_request_delta(request, pool) : cn_request_full(request, pool);

    if (message.len > 0) {
        ads->node_told = true;
        ads->config.send(ads->config.owner, message);
    }

    cn_pool_destroy(pool);

    return message.len > 0 ? CN_OK : CN_ERR_MEMORY;
}


static bool
add_name(cn_array_t *names, cn_bytes_t name)
{
    cn_bytes_t  *slot = cn_array_add(names);

    if (slot != NULL) {
        *slot = name;
    }

    return slot != NULL;
}


static bool
add_all_endpoints(const cn_ads_t *ads, cn_array_t *names)
{
    size_t      at = 0;
    cn_bytes_t  name;
    void       *item;

    while (cn_map_next(ads->endpoints, &at, &name, &item)) {
        if (!add_name(names, name)) {
            return false;
        }
    }

    return true;
}


/*
 * What is known of a type already.  When that is too much to be told it is none, and the answer to
 * that is all there is.
 */
static cn_status_t
add_versions(const cn_ads_t *ads, cn_xds_type_t type, cn_request_t *request)
{
    cn_xds_resource_t  *resource;
    size_t              at = 0, len = 0;

    while (cn_xds_next(ads->config.state, type, &at, &resource)) {
        cn_request_version_t  *slot;

        if (resource->refusal != NULL) {
            continue;                           /* its octets are not here */
        }

        len += resource->name.len + resource->version.len + 16;

        if (len > VERSIONS_MAX) {
            request->versions.count = 0;
            return CN_OK;
        }

        slot = cn_array_add(&request->versions);

        if (slot == NULL) {
            return CN_ERR_MEMORY;
        }

        *slot = (cn_request_version_t) { resource->name, resource->version };
    }

    return CN_OK;
}


/* The first request of a type in a stream; endpoints are asked for when there are some. */
static cn_status_t
ask(cn_ads_t *ads, cn_xds_type_t type)
{
    type_t        *own = &ads->types[type];
    cn_pool_t     *pool;
    cn_request_t   request;
    bool           ok = true;

    if (own->asked || (type == CN_XDS_ENDPOINTS && cn_map_count(ads->endpoints) == 0)) {
        return CN_OK;
    }

    pool = cn_pool_create(4096, NULL);

    if (pool == NULL) {
        return CN_ERR_MEMORY;
    }

    cn_request_init(&request, pool, cn_xds_type_url(type));

    if (type == CN_XDS_ENDPOINTS) {
        ok = add_all_endpoints(ads, &request.names);
    }

    if (ads->config.kind == CN_ADS_DELTA) {
        ok = ok && add_versions(ads, type, &request) == CN_OK;
    } else {
        request.version = cn_bytes(own->accepted, own->accepted_len);
    }

    if (!ok) {
        cn_pool_destroy(pool);
        return CN_ERR_MEMORY;
    }

    own->asked = true;
    own->is_all = type != CN_XDS_ENDPOINTS && request.versions.count == 0;

    return send_request(ads, &request, pool);
}


cn_status_t
cn_ads_open(cn_ads_t *ads)
{
    cn_status_t  status;

    ads->node_told = false;

    for (size_t i = 0; i < CN_XDS_TYPES; i++) {
        ads->types[i].asked = false;
        ads->types[i].came = false;
        ads->types[i].waits = 0;
        ads->types[i].nonce_len = 0;
    }

    status = ask(ads, CN_XDS_CLUSTERS);

    if (status == CN_OK) {
        status = ask(ads, CN_XDS_WORKLOADS);
    }

    if (status == CN_OK) {
        status = ask(ads, CN_XDS_ENDPOINTS);
    }

    if (status == CN_OK && ads->types[CN_XDS_LISTENERS].answered) {
        status = ask(ads, CN_XDS_LISTENERS);
    }

    return status;
}


/* ---- which endpoints ---- */

/* One more name is wanted; *more when it is new. */
static cn_status_t
want(cn_ads_t *ads, cn_bytes_t name, cn_array_t *more)
{
    endpoints_t  *item = name.len == 0 ? NULL : cn_map_get(ads->endpoints, name);

    if (item == NULL && name.len > 0) {
        item = cn_alloc_zero(sizeof(*item));

        if (item == NULL || cn_map_set(ads->endpoints, name, item) != CN_OK) {
            cn_free(item);
            return CN_ERR_MEMORY;
        }

        if (!add_name(more, name)) {
            return CN_ERR_MEMORY;
        }
    }

    if (item != NULL) {
        item->wanted = ads->looks;
    }

    return CN_OK;
}


/* Those that no cluster has any more; their names are copied to pool. */
static cn_status_t
drop_unwanted(cn_ads_t *ads, cn_array_t *gone, cn_pool_t *pool)
{
    size_t      at = 0;
    cn_bytes_t  name, copy;
    void       *item;

    while (cn_map_next(ads->endpoints, &at, &name, &item)) {
        endpoints_t  *endpoints = item;

        if (endpoints->wanted == ads->looks) {
            continue;
        }

        if (cn_pool_copy(pool, name, &copy) != CN_OK || !add_name(gone, copy)) {
            return CN_ERR_MEMORY;
        }

        (void) cn_map_remove(ads->endpoints, copy);
        cn_free(endpoints);
        cn_xds_remove(ads->config.state, CN_XDS_ENDPOINTS, copy);
    }

    return CN_OK;
}


/* What is asked for after a look at all clusters, as a change of what was. */
static cn_status_t
look_at_clusters(cn_ads_t *ads, cn_request_t *request, cn_pool_t *pool)
{
    cn_xds_resource_t  *cluster;
    size_t              at = 0;

    ads->looks++;

    while (cn_xds_next(ads->config.state, CN_XDS_CLUSTERS, &at, &cluster)) {
        if (want(ads, cn_xds_endpoints_name(cluster->pushed), &request->names) != CN_OK
            || want(ads, cn_xds_endpoints_name(cluster->good), &request->names) != CN_OK)
        {
            return CN_ERR_MEMORY;
        }
    }

    return drop_unwanted(ads, &request->gone, pool);
}


static cn_status_t
follow_clusters(cn_ads_t *ads)
{
    type_t        *own = &ads->types[CN_XDS_ENDPOINTS];
    cn_pool_t     *pool = cn_pool_create(4096, NULL);
    cn_request_t   request;

    if (pool == NULL) {
        return CN_ERR_MEMORY;
    }

    cn_request_init(&request, pool, cn_xds_type_url(CN_XDS_ENDPOINTS));

    if (look_at_clusters(ads, &request, pool) != CN_OK) {
        cn_pool_destroy(pool);
        return CN_ERR_MEMORY;
    }

    if (!own->asked || (request.names.count == 0 && request.gone.count == 0)) {
        cn_pool_destroy(pool);
        return CN_OK;               /* asked for whole, when it is */
    }

    if (ads->config.kind == CN_ADS_FULL) {
        request.names.count = 0;
        request.nonce = cn_bytes(own->nonce, own->nonce_len);
        request.version = cn_bytes(own->accepted, own->accepted_len);

        if (!add_all_endpoints(ads, &request.names)) {
            cn_pool_destroy(pool);
            return CN_ERR_MEMORY;
        }
    }

    return send_request(ads, &request, pool);
}


/* ---- answers ---- */

/* "Cluster x: y; Listener z: ..." of what the latest push of the type has; "": nothing. */
static void
print_refusal(const cn_ads_t *ads, cn_xds_type_t type, char *out, size_t size)
{
    const cn_xds_rejected_t  *list;
    size_t                    count = cn_xds_rejected(ads->config.state, &list);
    size_t                    at = 0, more = 0;
    char                      name[CN_XDS_NAME_MAX + 1], reason[1024], text[2 * 1024 + 128];

    out[0] = '\0';

    for (size_t i = 0; i < count; i++) {
        int  len;

        if (list[i].type != type || !cn_xds_is_in_push(ads->config.state, type, list[i].name)) {
            continue;
        }

        cn_bytes_escape(list[i].name, name, sizeof(name));
        cn_bytes_escape(cn_bytes_str(list[i].reason), reason, sizeof(reason));
        len = snprintf(text, sizeof(text), "%s%s %s: %s", at == 0 ? "" : "; ", cn_xds_kind(type),
                       name, reason);

        if (more > 0 || len < 0 || (size_t) len >= size - 32 - at) {
            more++;                 /* there is room left to say how many */
            continue;
        }

        memcpy(out + at, text, (size_t) len + 1);
        at += (size_t) len;
    }

    if (more > 0) {
        snprintf(out + at, size - at, "%s%zu more", at == 0 ? "" : "; and ", more);
    }
}


static cn_status_t
send_answer(cn_ads_t *ads, cn_xds_type_t type, const char *refusal)
{
    type_t        *own = &ads->types[type];
    cn_pool_t     *pool = cn_pool_create(4096, NULL);
    cn_request_t   request;

    if (pool == NULL) {
        return CN_ERR_MEMORY;
    }

    cn_request_init(&request, pool, cn_xds_type_url(type));
    request.nonce = cn_bytes(own->nonce, own->nonce_len);
    request.refusal = refusal;

    if (ads->config.kind == CN_ADS_FULL) {
        if (refusal == NULL) {
            memcpy(own->accepted, own->version, own->version_len);
            own->accepted_len = own->version_len;
        }

        request.version = cn_bytes(own->accepted, own->accepted_len);

        if (type == CN_XDS_ENDPOINTS && !add_all_endpoints(ads, &request.names)) {
            cn_pool_destroy(pool);
            return CN_ERR_MEMORY;
        }
    }

    own->waits = 0;

    return send_request(ads, &request, pool);
}


/* What is asked for next, after the first answers of a stream. */
static cn_status_t
ask_next(cn_ads_t *ads)
{
    cn_status_t  status;

    if (!ads->types[CN_XDS_CLUSTERS].came || ads->types[CN_XDS_CLUSTERS].waits != 0) {
        return CN_OK;
    }

    status = ask(ads, CN_XDS_ENDPOINTS);

    if (status == CN_OK
        && (ads->types[CN_XDS_ENDPOINTS].came || !ads->types[CN_XDS_ENDPOINTS].asked))
    {
        status = ask(ads, CN_XDS_LISTENERS);
    }

    return status;
}


static cn_status_t
answer(cn_ads_t *ads, cn_xds_type_t type, const char *failure)
{
    char  refusal[REFUSAL_MAX];

    if (failure != NULL) {
        cn_bytes_escape(cn_bytes_str(failure), refusal, sizeof(refusal));

    } else {
        print_refusal(ads, type, refusal, sizeof(refusal));
    }

    ads->types[type].answered = true;

    return send_answer(ads, type, refusal[0] == '\0' ? NULL : refusal);
}


cn_status_t
cn_ads_answer(cn_ads_t *ads, const char *failure)
{
    if (cn_xds_is_building(ads->config.state)) {
        return CN_AGAIN;
    }

    for ( ;; ) {
        size_t       first = CN_XDS_TYPES;
        cn_status_t  status;

        for (size_t i = 0; i < CN_XDS_TYPES; i++) {
            const type_t  *own = &ads->types[i];

            if (own->waits != 0 && own->buildings != ads->config.state->buildings
                && (first == CN_XDS_TYPES || own->waits < ads->types[first].waits))
            {
                first = i;
            }
        }

        if (first == CN_XDS_TYPES) {
            return ask_next(ads);
        }

        status = answer(ads, (cn_xds_type_t) first, failure);

        if (status != CN_OK) {
            return status;
        }
    }
}


/* ---- responses ---- */

static cn_status_t
put(cn_ads_t *ads, cn_xds_type_t type, cn_bytes_t name, cn_bytes_t version, const Cairn__Any *any)
{
    cn_xds_type_t  own;
    cn_bytes_t     wanted = name;

    if (type == CN_XDS_ENDPOINTS) {
        if (name.len == 0 && any != NULL) {
            (void) cn_wire_bytes(cn_decoded(any->value), 1, &wanted);
        }

        if (cn_map_get(ads->endpoints, wanted) == NULL) {
            return CN_OK;           /* not asked for, or not any more */
        }
    }

    if (any == NULL || !cn_xds_type_of(cn_decoded(any->type_url), &own) || own != type) {
        return cn_xds_put_refused(ads->config.state, type, name, "is of another type");
    }

    return cn_xds_put(ads->config.state, type, name, version, cn_decoded(any->value));
}


static cn_status_t
take_delta(cn_ads_t *ads, cn_xds_type_t type, const Cairn__DeltaDiscoveryResponse *response)
{
    type_t       *own = &ads->types[type];
    cn_status_t   status = CN_OK;

    if (!own->came) {
        cn_xds_forget_unnamed(ads->config.state, type);
    }

    cn_xds_push_begin(ads->config.state, type);

    for (size_t i = 0; status == CN_OK && i < response->n_resources; i++) {
        const Cairn__DeltaDiscoveryResponse__Resource  *resource = response->resources[i];

        status = put(ads, type, cn_decoded(resource->name), cn_decoded(resource->version),
                     resource->resource);
    }

    for (size_t i = 0; status == CN_OK && i < response->n_removed_resources; i++) {
        cn_bytes_t    name = cn_decoded(response->removed_resources[i]);
        endpoints_t  *item = type == CN_XDS_ENDPOINTS ? cn_map_get(ads->endpoints, name) : NULL;

        cn_xds_remove(ads->config.state, type, name);

        if (item != NULL) {
            item->is_gone = true;
        }
    }

    if (status == CN_OK && !own->came && own->is_all) {
        cn_xds_push_end_full(ads->config.state, type);
    }

    return status;
}


static cn_status_t
take_full(cn_ads_t *ads, cn_xds_type_t type, const Cairn__DiscoveryResponse *response)
{
    type_t       *own = &ads->types[type];
    cn_bytes_t    version = cn_decoded(response->version_info);
    cn_status_t   status = CN_OK;

    if (version.len > NONCE_MAX) {
        return CN_ERR_SYNTAX;
    }

    if (version.len > 0) {
        memcpy(own->version, version.ptr, version.len);
    }

    own->version_len = version.len;
    cn_xds_push_begin(ads->config.state, type);

    for (size_t i = 0; status == CN_OK && i < response->n_resources; i++) {
        status = put(ads, type, CN_BYTES_NONE, CN_BYTES_NONE, response->resources[i]);
    }

    if (status == CN_OK && type != CN_XDS_ENDPOINTS) {
        cn_xds_push_end_full(ads->config.state, type);
    }

    return status;
}


/* An ACK would tell the control plane that all of it is used: it is refused as a whole, now. */
static cn_status_t
refuse_response(cn_ads_t *ads, cn_xds_type_t type, const cn_report_t *report, cn_pool_t *pool)
{
    const char  *text = report->entries.count == 0
        ? "the response cannot be read"
        : cn_report_line(CN_ARRAY_AT(&report->entries, const cn_report_entry_t, 0), pool);
    char         escaped[REFUSAL_MAX];

    if (text == NULL) {
        return CN_ERR_MEMORY;
    }

    /* one that waited is in the state, and will not be answered: its nonce is of the past */
    ads->types[type].answered = ads->types[type].answered || ads->types[type].waits != 0;

    return send_answer(ads, type, cn_bytes_escape(cn_bytes_str(text), escaped, sizeof(escaped)));
}


/* Into the state; *refused when it was answered already. */
static cn_status_t
take(cn_ads_t *ads, cn_xds_type_t type, cn_bytes_t message, bool *refused)
{
    bool          is_delta = ads->config.kind == CN_ADS_DELTA;
    cn_pool_t    *pool = cn_pool_create(4096, NULL);
    cn_report_t  *report = pool == NULL ? NULL : cn_report_create(pool);
    cn_read_t     read = { .pool = pool, .report = report };
    void         *response;
    cn_status_t   status;

    if (report == NULL) {
        cn_pool_destroy(pool);
        return CN_ERR_MEMORY;
    }

    response = cn_decode(&read, is_delta ? &cairn__delta_discovery_response__descriptor
                                         : &cairn__discovery_response__descriptor,
                         message, "response");

    if (response == NULL) {
        *refused = true;
        status = refuse_response(ads, type, report, pool);

    } else {
        status = is_delta ? take_delta(ads, type, response) : take_full(ads, type, response);
    }

    cn_pool_destroy(pool);

    return status;
}


/* The state has it: what follows from that, and who answers. */
static cn_status_t
go_on(cn_ads_t *ads, cn_xds_type_t type)
{
    type_t       *own = &ads->types[type];
    cn_status_t   status = CN_OK;

    own->came = true;
    own->waits = ++ads->waiting;
    own->buildings = ads->config.state->buildings;

    if (type == CN_XDS_CLUSTERS) {
        status = follow_clusters(ads);

    } else if (type == CN_XDS_ENDPOINTS) {
        status = ask_next(ads);
    }

    if (status != CN_OK) {
        return status;
    }

    if (cn_xds_is_changed(ads->config.state)) {
        ads->config.changed(ads->config.owner, type);
        return CN_OK;
    }

    status = answer(ads, type, NULL);       /* what the last building said holds */

    return status == CN_OK ? ask_next(ads) : status;
}


cn_status_t
cn_ads_receive(cn_ads_t *ads, cn_bytes_t message)
{
    cn_bytes_t      type_url, nonce;
    cn_xds_type_t   type;
    type_t         *own;
    bool            refused = false;
    cn_status_t     status;

    if (cn_xds_is_building(ads->config.state)) {
        return CN_AGAIN;
    }

    if (message.len > ads->config.message_max) {
        return CN_ERR_LIMIT;
    }

    if (!cn_wire_bytes(message, TYPE_FIELD, &type_url)
        || !cn_wire_bytes(message, NONCE_FIELD, &nonce) || nonce.len > NONCE_MAX)
    {
        return CN_ERR_SYNTAX;
    }

    if (!cn_xds_type_of(type_url, &type) || !ads->types[type].asked) {
        return CN_OK;
    }

    own = &ads->types[type];

    if (nonce.len > 0) {
        memcpy(own->nonce, nonce.ptr, nonce.len);
    }

    own->nonce_len = nonce.len;
    status = take(ads, type, message, &refused);

    return status == CN_OK && !refused ? go_on(ads, type) : status;
}


/* ---- readiness ---- */

bool
cn_ads_has_all(const cn_ads_t *ads)
{
    return ads->types[CN_XDS_CLUSTERS].came && ads->types[CN_XDS_LISTENERS].came;
}


bool
cn_ads_has_answered(const cn_ads_t *ads, cn_xds_type_t type)
{
    return ads->types[type].answered;
}


bool
cn_ads_is_ready(const cn_ads_t *ads)
{
    size_t      at = 0;
    cn_bytes_t  name;
    void       *item;

    if (!ads->types[CN_XDS_CLUSTERS].answered || !ads->types[CN_XDS_LISTENERS].answered) {
        return false;
    }

    while (cn_map_next(ads->endpoints, &at, &name, &item)) {
        const endpoints_t  *endpoints = item;

        if (!endpoints->is_gone
            && cn_xds_find(ads->config.state, CN_XDS_ENDPOINTS, name) == NULL)
        {
            return false;
        }
    }

    return true;
}
