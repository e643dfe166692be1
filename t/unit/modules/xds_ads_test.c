/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A client of aggregated discovery says what Envoy was recorded to say, in that order; and whatever
 * comes back, it answers or ends the stream.
 */

#include "push.h"

#include "model/decode.h"
#include "source/xds/request.h"

#define REVIEWS  "inbound-vip|9080|http|reviews.default.svc.cluster.local"
#define V1       "inbound-vip|9080|http/v1|reviews.default.svc.cluster.local"
#define V2       "inbound-vip|9080|http/v2|reviews.default.svc.cluster.local"

typedef struct {
    cn_pool_t       *pool;
    cn_xds_state_t  *state;
    cn_ads_t        *ads;
    push_t          *push;              /* of recording 01 */
    const char      *said;              /* lines, since they were looked at last */
    const char      *refusal;           /* of the last NACK */
    unsigned         changes;           /* calls of changed */
    bool             is_full;
} client_t;


/* ---- what it says ---- */

static const char *
kind_of(ProtobufCBinaryData type_url)
{
    static const char *const  kinds[CN_XDS_TYPES] = { "CDS", "EDS", "LDS", "WDS" };
    cn_xds_type_t             type;

    assert_true(cn_xds_type_of(cn_decoded(type_url), &type));

    return kinds[type];
}


static const char *
count_text(client_t *client, const char *name, size_t count)
{
    return count == 0 ? "" : cn_pool_printf(client->pool, " %s=%zu", name, count);
}


static const char *
octets_text(client_t *client, const char *name, ProtobufCBinaryData data)
{
    return data.len == 0 ? "" : cn_pool_printf(client->pool, " %s=%.*s", name, (int) data.len,
                                               (const char *) data.data);
}


static void
note_refusal(client_t *client, const Cairn__RpcStatus *detail)
{
    if (detail != NULL) {
        assert_int_equal(detail->code, 3);
        client->refusal = cn_pool_printf(client->pool, "%.*s", (int) detail->message.len,
                                         (const char *) detail->message.data);
    }
}


static void
on_send_delta(client_t *client, cn_bytes_t message)
{
    Cairn__DeltaDiscoveryRequest  *request;

    request = cairn__delta_discovery_request__unpack(NULL, message.len, message.ptr);
    assert_non_null(request);
    note_refusal(client, request->error_detail);
    client->said = cn_pool_printf(client->pool, "%s%s%s%s%s%s%s%s\n", client->said,
        kind_of(request->type_url), request->has_node ? " node" : "",
        count_text(client, "sub", request->n_resource_names_subscribe),
        count_text(client, "unsub", request->n_resource_names_unsubscribe),
        count_text(client, "known", request->n_initial_resource_versions),
        octets_text(client, "nonce", request->response_nonce),
        request->error_detail != NULL ? " refused" : "");
    cairn__delta_discovery_request__free_unpacked(request, NULL);
}


static void
on_send_full(client_t *client, cn_bytes_t message)
{
    Cairn__DiscoveryRequest  *request;

    request = cairn__discovery_request__unpack(NULL, message.len, message.ptr);
    assert_non_null(request);
    note_refusal(client, request->error_detail);
    client->said = cn_pool_printf(client->pool, "%s%s%s%s%s%s%s\n", client->said,
        kind_of(request->type_url), request->has_node ? " node" : "",
        count_text(client, "names", request->n_resource_names),
        octets_text(client, "version", request->version_info),
        octets_text(client, "nonce", request->response_nonce),
        request->error_detail != NULL ? " refused" : "");
    cairn__discovery_request__free_unpacked(request, NULL);
}


static void
on_send(void *owner, cn_bytes_t message)
{
    client_t  *client = owner;

    if (client->is_full) {
        on_send_full(client, message);

    } else {
        on_send_delta(client, message);
    }
}


static void
on_changed(void *owner, cn_xds_type_t type)
{
    client_t  *client = owner;

    assert_true(type < CN_XDS_TYPES);
    client->changes++;
}


/* What was said since the last look, line by line. */
#define assert_said(client, expected)                    \
    do {                                                 \
        assert_string_equal((client)->said, (expected)); \
        (client)->said = "";                             \
    } while (0)


/* ---- what it hears ---- */

static ProtobufCBinaryData
data_of(cn_bytes_t bytes)
{
    return (ProtobufCBinaryData) { .len = bytes.len, .data = (uint8_t *) (uintptr_t) bytes.ptr };
}


typedef Cairn__DeltaDiscoveryResponse__Resource  delta_resource_t;


/* A response with all of the push's resources of that type, in the client's protocol. */
static cn_bytes_t
response_of(client_t *client, cn_xds_type_t type, const char *nonce, const char *removed)
{
    static Cairn__Any                               anys[256];
    static delta_resource_t                         resources[256];
    Cairn__Any                                     *any_list[256];
    delta_resource_t                               *list[256];
    Cairn__DeltaDiscoveryResponse                   delta = CAIRN__DELTA_DISCOVERY_RESPONSE__INIT;
    Cairn__DiscoveryResponse                        full = CAIRN__DISCOVERY_RESPONSE__INIT;
    ProtobufCBinaryData                             gone;
    size_t                                          count = 0;
    const ProtobufCMessage                         *message = client->is_full ? &full.base
                                                                              : &delta.base;
    uint8_t                                        *octets;

    for (size_t i = 0; i < client->push->count; i++) {
        const resource_t  *item = &client->push->items[i];
        cn_bytes_t         name = item->name;

        if (item->type != type) {
            continue;
        }

        if (name.len == 0) {
            cn_bytes_t  rest = item->value;

            /* the name is each one's first field, below 128 octets */
            assert_int_equal(rest.ptr[0], 0x0a);
            name = cn_bytes(rest.ptr + 2, rest.ptr[1]);
        }

        anys[count] = (Cairn__Any) CAIRN__ANY__INIT;
        anys[count].has_type_url = anys[count].has_value = 1;
        anys[count].type_url = data_of(cn_bytes_str(cn_xds_type_url(type)));
        anys[count].value = data_of(item->value);
        any_list[count] = &anys[count];
        resources[count] = (delta_resource_t) CAIRN__DELTA_DISCOVERY_RESPONSE__RESOURCE__INIT;
        resources[count].has_name = 1;
        resources[count].name = data_of(name);
        resources[count].resource = &anys[count];
        list[count] = &resources[count];
        count++;
    }

    delta.has_type_url = full.has_type_url = 1;
    delta.type_url = full.type_url = data_of(cn_bytes_str(cn_xds_type_url(type)));
    delta.has_nonce = full.has_nonce = 1;
    delta.nonce = full.nonce = data_of(cn_bytes_str(nonce));
    full.has_version_info = 1;
    full.version_info = full.nonce;
    delta.n_resources = full.n_resources = count;
    delta.resources = list;
    full.resources = any_list;

    if (removed != NULL) {
        gone = data_of(cn_bytes_str(removed));
        delta.n_removed_resources = 1;
        delta.removed_resources = &gone;
    }

    octets = cn_pool_octets(client->pool, protobuf_c_message_get_packed_size(message));
    assert_non_null(octets);

    return cn_bytes(octets, protobuf_c_message_pack(message, octets));
}


static void
hear(client_t *client, cn_xds_type_t type, const char *nonce, const char *removed)
{
    cn_bytes_t  message = unit_copy(response_of(client, type, nonce, removed));

    assert_int_equal(cn_ads_receive(client->ads, message), CN_OK);
    unit_free(message);
}


/* Builds and answers; the model, or NULL. */
static const char *
build(client_t *client)
{
    const char  *text = push_build(client->state, client->pool);

    assert_int_equal(cn_ads_answer(client->ads, NULL), CN_OK);

    return text;
}


static client_t *
client_create(cn_ads_kind_t kind)
{
    cn_pool_t       *pool = cn_pool_create(4096, NULL);
    client_t        *client = cn_pool_alloc_zero(pool, sizeof(*client));
    cn_ads_config_t  config = {
        .node = { .id = CN_BYTES("waypoint~10.0.0.1~wp.default~default.svc.cluster.local") },
        .kind = kind, .message_max = 200 * 1024, .owner = client, .send = on_send,
        .changed = on_changed,
    };

    assert_non_null(client);
    client->pool = pool;
    client->said = "";
    client->is_full = kind == CN_ADS_FULL;
    client->push = push_of(pool, "01-plain");
    client->state = config.state = cn_xds_state_create(NULL);
    client->ads = cn_ads_create(&config);
    assert_non_null(client->ads);
    assert_int_equal(cn_ads_open(client->ads), CN_OK);

    return client;
}


/* One that has all of recording 01. */
static client_t *
serving(cn_ads_kind_t kind)
{
    static const cn_xds_type_t  order[] = {
        CN_XDS_CLUSTERS, CN_XDS_WORKLOADS, CN_XDS_ENDPOINTS, CN_XDS_LISTENERS,
    };
    client_t                   *client = client_create(kind);

    for (size_t i = 0; i < CN_COUNT_OF(order); i++) {
        hear(client, order[i], "start", NULL);
        (void) build(client);
    }

    assert_true(cn_ads_is_ready(client->ads));
    client->said = "";
    client->changes = 0;

    return client;
}


static void
client_end(client_t *client)
{
    cn_ads_destroy(client->ads);
    cn_xds_state_destroy(client->state);
    cn_pool_destroy(client->pool);
}


/* The same cluster and endpoints under another name. */
static void
add_copy(client_t *client, cn_xds_type_t type, const char *name)
{
    const resource_t  *item = push_find(client->push, type, REVIEWS);
    size_t             len = strlen(name);
    const char        *named = cn_pool_printf(client->pool, "\x0a%c%s", (int) len, name);
    cn_bytes_t         value = push_join(client->pool, item->value, cn_bytes(named, len + 2));

    if (type == CN_XDS_CLUSTERS) {
        named = cn_pool_printf(client->pool, "\x1a%c\x12%c%s", (int) len + 2, (int) len, name);
        value = push_join(client->pool, value, cn_bytes(named, len + 4));
    }

    push_add(client->push, type, cn_bytes_str(name), value);
}


static void
take_away(client_t *client, cn_xds_type_t type, const char *name)
{
    for (size_t i = 0; i < client->push->count; i++) {
        resource_t  *item = &client->push->items[i];

        if (item->type == type && cn_bytes_equal(item->name, cn_bytes_str(name))) {
            *item = client->push->items[--client->push->count];
            return;
        }
    }

    fail();
}


/* ---- delta ---- */

static void
a_first_stream_goes_as_envoys(void **state)
{
    client_t            *client = client_create(CN_ADS_DELTA);
    cn_source_config_t   config = {
        .directory = RECORDED "01-plain", .waypoint = "default/waypoint", .access_log = true,
        .trust_domain = CN_BYTES("cluster.local"), .modules = cn_module_configs,
    };
    cn_model_t          *model = NULL;

    (void) state;
    assert_said(client, "CDS node\nWDS\n");

    hear(client, CN_XDS_CLUSTERS, "c1", NULL);
    assert_said(client, "");
    assert_int_equal(client->changes, 1);
    assert_null(build(client));                     /* there is no service yet */
    assert_said(client, "CDS nonce=c1\nEDS sub=17\n");

    hear(client, CN_XDS_ENDPOINTS, "e1", NULL);
    assert_said(client, "LDS\n");
    assert_null(build(client));
    assert_said(client, "EDS nonce=e1\n");
    assert_false(cn_ads_is_ready(client->ads));

    hear(client, CN_XDS_LISTENERS, "l1", NULL);
    hear(client, CN_XDS_WORKLOADS, "w1", NULL);
    assert_said(client, "");
    assert_false(cn_ads_is_ready(client->ads));
    assert_false(cn_ads_has_answered(client->ads, CN_XDS_WORKLOADS));
    assert_int_equal(cn_xds_read_directory(&config, cn_report_create(client->pool), &model),
                     CN_OK);
    assert_string_equal(build(client), cn_model_print(model, client->pool));
    cn_model_destroy(model);
    assert_said(client, "LDS nonce=l1\nWDS nonce=w1\n");
    assert_true(cn_ads_is_ready(client->ads));
    assert_true(cn_ads_has_answered(client->ads, CN_XDS_WORKLOADS));
    client_end(client);
}


/* Two clusters come with the other types of the push, and go again, as it was recorded. */
static void
endpoints_follow_clusters(void **state)
{
    client_t    *client = serving(CN_ADS_DELTA);
    const char  *before = push_build(client->state, client->pool);
    const char  *text;

    (void) state;
    add_copy(client, CN_XDS_CLUSTERS, V1);
    add_copy(client, CN_XDS_CLUSTERS, V2);
    hear(client, CN_XDS_CLUSTERS, "c2", NULL);
    assert_said(client, "EDS sub=2\n");
    assert_false(cn_ads_is_ready(client->ads));     /* they would have no endpoints */
    hear(client, CN_XDS_LISTENERS, "l2", NULL);
    hear(client, CN_XDS_ENDPOINTS, "e2", NULL);
    assert_said(client, "");
    add_copy(client, CN_XDS_ENDPOINTS, V1);
    add_copy(client, CN_XDS_ENDPOINTS, V2);
    hear(client, CN_XDS_ENDPOINTS, "e3", NULL);
    assert_true(cn_ads_is_ready(client->ads));
    text = build(client);
    assert_non_null(strstr(text, "\"name\": \"" V1 "\""));
    assert_said(client, "CDS nonce=c2\nLDS nonce=l2\nEDS nonce=e3\n");

    /* their endpoints come once more, after they were asked for no more */
    take_away(client, CN_XDS_CLUSTERS, V1);
    take_away(client, CN_XDS_CLUSTERS, V2);
    hear(client, CN_XDS_CLUSTERS, "c3", V1);
    assert_said(client, "EDS unsub=1\n");
    hear(client, CN_XDS_CLUSTERS, "c4", V2);
    assert_said(client, "EDS unsub=1\n");
    hear(client, CN_XDS_ENDPOINTS, "e4", NULL);
    assert_null(cn_xds_find(client->state, CN_XDS_ENDPOINTS, CN_BYTES(V1)));
    assert_string_equal(build(client), before);
    assert_said(client, "CDS nonce=c4\nEDS nonce=e4\n");
    client_end(client);
}


static void
a_new_stream_says_what_is_known(void **state)
{
    client_t    *client = serving(CN_ADS_DELTA);
    const char  *before = push_build(client->state, client->pool);

    (void) state;
    hear(client, CN_XDS_CLUSTERS, "lost", NULL);
    client->said = "";
    assert_int_equal(cn_ads_open(client->ads), CN_OK);
    assert_said(client, "CDS node known=22\nWDS known=13\nEDS sub=17 known=17\nLDS known=5\n");
    assert_true(cn_ads_is_ready(client->ads));      /* it serves on meanwhile */

    /* all of it comes again, and brings nothing new: no building, an answer at once */
    hear(client, CN_XDS_CLUSTERS, "c1", NULL);
    hear(client, CN_XDS_ENDPOINTS, "e1", NULL);
    hear(client, CN_XDS_LISTENERS, "l1", NULL);
    assert_int_equal(client->changes, 0);
    assert_said(client, "CDS nonce=c1\nEDS nonce=e1\nLDS nonce=l1\n");
    assert_string_equal(push_build(client->state, client->pool), before);

    /* what went meanwhile */
    hear(client, CN_XDS_LISTENERS, "l2", "inner_connect_originate");
    assert_int_equal(client->changes, 1);
    assert_null(cn_xds_find(client->state, CN_XDS_LISTENERS, CN_BYTES("inner_connect_originate")));
    client_end(client);
}


static void
a_nack_names_what_is_refused_and_why(void **state)
{
    client_t    *client = serving(CN_ADS_DELTA);
    const char  *before = push_build(client->state, client->pool);
    resource_t  *cluster = push_find(client->push, CN_XDS_CLUSTERS, REVIEWS);
    cn_bytes_t   good = cluster->value;

    (void) state;
    cluster->value = push_join(client->pool, good, UNKNOWN_FIELD);
    hear(client, CN_XDS_CLUSTERS, "c2", NULL);
    assert_string_equal(build(client), before);
    assert_said(client, "CDS nonce=c2 refused\n");
    assert_string_equal(client->refusal, "Cluster " REVIEWS ": cluster: field 99 of Cluster is not "
                        "implemented");

    /* as before, once more: refused at once */
    client->refusal = NULL;
    hear(client, CN_XDS_CLUSTERS, "c3", NULL);
    assert_said(client, "CDS nonce=c3 refused\n");
    assert_non_null(client->refusal);

    /* other types are not to blame */
    hear(client, CN_XDS_LISTENERS, "l2", NULL);
    assert_said(client, "LDS nonce=l2\n");
    push_change_chain(client->pool, client->push, REVIEWS, UNKNOWN_FIELD);
    hear(client, CN_XDS_LISTENERS, "l3", NULL);
    assert_string_equal(build(client), before);
    assert_said(client, "LDS nonce=l3 refused\n");
    assert_string_equal(client->refusal, "Listener main_internal: FilterChain " REVIEWS ": "
                        "filter_chain: field 99 of FilterChain is not implemented");

    cluster->value = good;
    hear(client, CN_XDS_CLUSTERS, "c4", NULL);
    assert_string_equal(build(client), before);
    assert_said(client, "CDS nonce=c4\n");
    client_end(client);
}


static void
a_nack_has_a_limit_and_says_how_many_more(void **state)
{
    client_t  *client = serving(CN_ADS_DELTA);

    (void) state;

    for (unsigned i = 0; i < 100; i++) {
        const char  *name = cn_pool_printf(client->pool, "inbound-vip|80|http|broken-%03u", i);

        add_copy(client, CN_XDS_CLUSTERS, name);
        client->push->items[client->push->count - 1].value =
            push_join(client->pool, client->push->items[client->push->count - 1].value,
                      UNKNOWN_FIELD);
    }

    hear(client, CN_XDS_CLUSTERS, "c2", NULL);
    (void) build(client);
    assert_said(client, "EDS sub=100\nCDS nonce=c2 refused\n");
    assert_true(strlen(client->refusal) < 4096 && strlen(client->refusal) > 3500);
    assert_non_null(strstr(client->refusal, "broken-000"));
    assert_non_null(strstr(client->refusal, " more"));
    client_end(client);
}


static void
nothing_of_a_push_can_be_used(void **state)
{
    client_t  *client = serving(CN_ADS_DELTA);

    (void) state;
    hear(client, CN_XDS_LISTENERS, "l2", "main_internal");
    client->said = "";
    hear(client, CN_XDS_LISTENERS, "l3", "main_internal");
    assert_null(push_build(client->state, client->pool));
    assert_int_equal(cn_ads_answer(client->ads, "no \"service\"\n"), CN_OK);
    assert_said(client, "LDS nonce=l3 refused\n");
    assert_string_equal(client->refusal, "no \\x22service\\x22\\x0a");
    client_end(client);
}


/* Between building and answering, which is when tables are made, more comes. */
static void
what_was_not_built_is_not_answered(void **state)
{
    client_t    *client = serving(CN_ADS_DELTA);
    resource_t  *cluster = push_find(client->push, CN_XDS_CLUSTERS, REVIEWS);

    (void) state;
    hear(client, CN_XDS_LISTENERS, "l2", "inner_connect_originate");
    (void) push_build(client->state, client->pool);
    cluster->value = push_join(client->pool, cluster->value, UNKNOWN_FIELD);
    hear(client, CN_XDS_CLUSTERS, "c2", NULL);
    client->said = "";
    assert_int_equal(cn_ads_answer(client->ads, NULL), CN_OK);
    assert_said(client, "LDS nonce=l2\n");
    (void) build(client);
    assert_said(client, "CDS nonce=c2 refused\n");
    client_end(client);
}


/* ---- what is no answer ---- */

static void
garbage_is_refused_or_ends_the_stream(void **state)
{
    client_t    *client = serving(CN_ADS_DELTA);
    const char  *before = push_build(client->state, client->pool);
    cn_bytes_t   good = response_of(client, CN_XDS_CLUSTERS, "c2", NULL);
    uint8_t     *large = cn_pool_octets(client->pool, 200 * 1024 + 1);

    (void) state;
    assert_int_equal(cn_ads_receive(client->ads, CN_BYTES("garbage")), CN_ERR_SYNTAX);
    assert_int_equal(cn_ads_receive(client->ads, cn_bytes(good.ptr, good.len - 1)), CN_ERR_SYNTAX);
    memset(large, 0, 200 * 1024 + 1);
    assert_int_equal(cn_ads_receive(client->ads, cn_bytes(large, 200 * 1024 + 1)), CN_ERR_LIMIT);

    /* of a type that nobody asked for, and of none */
    assert_int_equal(cn_ads_receive(client->ads, CN_BYTES("\x22\x03" "x.Y\x2a\x01n")), CN_OK);
    assert_int_equal(cn_ads_receive(client->ads, CN_BYTES_NONE), CN_OK);
    assert_said(client, "");

    /* with a field that nobody knows: of the whole response nothing is used */
    assert_int_equal(cn_ads_receive(client->ads, push_join(client->pool, good, UNKNOWN_FIELD)),
                     CN_OK);
    assert_said(client, "CDS nonce=c2 refused\n");
    assert_non_null(strstr(client->refusal, "field 99"));
    assert_false(cn_xds_is_changed(client->state));

    /* a listener that comes as a cluster */
    {
        resource_t  *cluster = push_find(client->push, CN_XDS_CLUSTERS, REVIEWS);
        uint8_t     *at;
        cn_bytes_t   wrong;

        cluster->value = push_join(client->pool, cluster->value, CN_BYTES("\xa2\x01\x00"));
        wrong = response_of(client, CN_XDS_CLUSTERS, "c3", NULL);
        at = memmem(wrong.ptr, wrong.len, "v3.Cluster", 10);      /* in the first one's Any */
        assert_non_null(at);
        at[9] = 'x';
        assert_int_equal(cn_ads_receive(client->ads, wrong), CN_OK);
        assert_string_equal(build(client), before);
        assert_said(client, "CDS nonce=c3 refused\n");
        assert_non_null(strstr(client->refusal, ": is of another type"));
    }

    client_end(client);
}


/* Cut or flipped anywhere: the stream ends, or there is an answer; a model is there all the time. */
static void
damaged_responses_do_no_harm(void **state)
{
    client_t  *client = serving(CN_ADS_DELTA);
    uint64_t   random = 88172645463325252u;

    (void) state;

    for (unsigned round = 0; round < 200; round++) {
        cn_xds_type_t  type = (cn_xds_type_t) (round % CN_XDS_TYPES);
        cn_bytes_t     message = unit_copy(response_of(client, type, "n", NULL));
        cn_pool_t     *scratch = cn_pool_create(4096, NULL);
        uint8_t       *octets = (uint8_t *) (uintptr_t) message.ptr;
        cn_status_t    status;

        random = random * 6364136223846793005u + 1442695040888963407u;
        octets[(random >> 33) % message.len] ^= (uint8_t) (1 + random % 255);
        status = cn_ads_receive(client->ads, message);
        assert_true(status == CN_OK || status == CN_ERR_SYNTAX);
        (void) push_build(client->state, scratch);
        assert_int_equal(cn_ads_answer(client->ads, NULL), CN_OK);
        client->said = "";
        unit_free(message);
        cn_pool_destroy(scratch);
    }

    client_end(client);
}


/* ---- the state of the world ---- */

static void
the_state_of_the_world_has_versions(void **state)
{
    client_t    *client = client_create(CN_ADS_FULL);
    resource_t  *cluster;
    const char  *before;
    cn_bytes_t   good;

    (void) state;
    assert_said(client, "CDS node\nWDS\n");
    hear(client, CN_XDS_CLUSTERS, "c1", NULL);
    assert_null(build(client));
    assert_said(client, "CDS version=c1 nonce=c1\nEDS names=17\n");
    hear(client, CN_XDS_ENDPOINTS, "e1", NULL);
    assert_said(client, "LDS\n");
    hear(client, CN_XDS_WORKLOADS, "w1", NULL);
    hear(client, CN_XDS_LISTENERS, "l1", NULL);
    before = build(client);
    assert_non_null(before);
    assert_said(client, "EDS names=17 version=e1 nonce=e1\nWDS version=w1 nonce=w1\n"
                "LDS version=l1 nonce=l1\n");
    assert_true(cn_ads_is_ready(client->ads));

    add_copy(client, CN_XDS_CLUSTERS, V1);
    hear(client, CN_XDS_CLUSTERS, "c2", NULL);
    assert_said(client, "EDS names=18 version=e1 nonce=e1\n");
    assert_non_null(build(client));
    assert_said(client, "CDS version=c2 nonce=c2\n");

    /* what is not named is gone */
    take_away(client, CN_XDS_CLUSTERS, V1);
    hear(client, CN_XDS_CLUSTERS, "c3", NULL);
    assert_said(client, "EDS names=17 version=e1 nonce=e1\n");
    assert_string_equal(build(client), before);
    assert_said(client, "CDS version=c3 nonce=c3\n");

    cluster = push_find(client->push, CN_XDS_CLUSTERS, REVIEWS);
    good = cluster->value;
    cluster->value = push_join(client->pool, good, UNKNOWN_FIELD);
    hear(client, CN_XDS_CLUSTERS, "c4", NULL);
    assert_string_equal(build(client), before);
    assert_said(client, "CDS version=c3 nonce=c4 refused\n");

    assert_int_equal(cn_ads_open(client->ads), CN_OK);
    assert_said(client, "CDS node version=c3\nWDS version=w1\nEDS names=17 version=e1\n"
                "LDS version=l1\n");
    client_end(client);
}


/* ---- who asks ---- */

static void
a_node_is_what_it_was_given(void **state)
{
    static const char    *text = "{\"LABELS\": {\"a\": \"b\"}, \"N\": 1.5, \"T\": true, "
                                 "\"L\": [null, \"x\"]}";
    char                  deep[200] = "";
    client_t              client = { .said = "", .is_full = false };
    json_t               *metadata = json_loads(text, 0, NULL);
    cn_ads_config_t       config = {
        .node = { .id = CN_BYTES("me"), .cluster = CN_BYTES("wp.default"), .metadata = metadata,
                  .agent_name = CN_BYTES("cairn"), .agent_version = CN_BYTES("1") },
        .owner = &client, .send = on_send, .changed = on_changed,
        .state = cn_xds_state_create(NULL),
    };
    cn_ads_t             *ads = cn_ads_create(&config);
    Cairn__Node          *node;
    const Cairn__Struct  *root;
    cn_bytes_t            packed;
    cn_pool_t            *pool = cn_pool_create(4096, NULL);

    (void) state;
    client.pool = pool;
    assert_non_null(ads);
    json_decref(metadata);
    assert_int_equal(cn_ads_open(ads), CN_OK);
    assert_said(&client, "CDS node\nWDS\n");

    metadata = json_loads(text, 0, NULL);
    config.node.metadata = metadata;
    packed = cn_request_node(&config.node, pool);
    node = cairn__node__unpack(NULL, packed.len, packed.ptr);
    assert_non_null(node);
    assert_bytes(cn_decoded(node->id), "me");
    assert_bytes(cn_decoded(node->cluster), "wp.default");
    assert_bytes(cn_decoded(node->user_agent_name), "cairn");
    assert_bytes(cn_decoded(node->user_agent_version), "1");
    root = node->metadata;
    assert_int_equal(root->n_fields, 4);
    assert_bytes(cn_decoded(root->fields[0]->key), "LABELS");
    assert_bytes(cn_decoded(root->fields[0]->value->struct_value->fields[0]->key), "a");
    assert_bytes(cn_decoded(root->fields[0]->value->struct_value->fields[0]->value->string_value),
                 "b");
    assert_true(root->fields[1]->value->number_value > 1.4);
    assert_true(root->fields[2]->value->bool_value);
    assert_int_equal(root->fields[3]->value->list_value->n_values, 2);
    assert_int_equal(root->fields[3]->value->list_value->values[0]->kind_case,
                     CAIRN__VALUE__KIND_NULL_VALUE);
    cairn__node__free_unpacked(node, NULL);
    json_decref(metadata);
    cn_ads_destroy(ads);

    /* deeper than anything that means something */
    memset(deep, '[', 80);
    memset(deep + 80, ']', 80);
    metadata = json_pack("{s:o}", "x", json_loads(deep, 0, NULL));
    assert_non_null(metadata);
    config.node.metadata = metadata;
    assert_null(cn_ads_create(&config));
    json_decref(metadata);
    cn_xds_state_destroy(config.state);
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_first_stream_goes_as_envoys),
        cmocka_unit_test(endpoints_follow_clusters),
        cmocka_unit_test(a_new_stream_says_what_is_known),
        cmocka_unit_test(a_nack_names_what_is_refused_and_why),
        cmocka_unit_test(a_nack_has_a_limit_and_says_how_many_more),
        cmocka_unit_test(nothing_of_a_push_can_be_used),
        cmocka_unit_test(what_was_not_built_is_not_answered),
        cmocka_unit_test(garbage_is_refused_or_ends_the_stream),
        cmocka_unit_test(damaged_responses_do_no_harm),
        cmocka_unit_test(the_state_of_the_world_has_versions),
        cmocka_unit_test(a_node_is_what_it_was_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
