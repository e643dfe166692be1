/* SPDX-License-Identifier: Apache-2.0 */

/* How endpoints of services that are not this waypoint's are reached, and when they are not. */

#include "push.h"

#include "cluster.pb-c.h"

#define SVC_B      "outbound|8000||svc-b.foo.svc.cluster.local"
#define EXT_AUTHZ  "outbound|8000||ext-authz.foo.svc.cluster.local"


/* The text in the item's octets becomes another of the same length, wherever it is. */
static void
change(cn_pool_t *pool, resource_t *item, const char *old, const char *new)
{
    size_t   len = strlen(old), changed = 0;
    uint8_t  *octets = cn_pool_octets(pool, item->value.len);

    assert_int_equal(strlen(new), len);
    memcpy(octets, item->value.ptr, item->value.len);

    for (size_t i = 0; i + len <= item->value.len; i++) {
        if (memcmp(octets + i, old, len) == 0) {
            memcpy(octets + i, new, len);
            changed++;
        }
    }

    assert_true(changed > 0);
    item->value = cn_bytes(octets, item->value.len);
}


/* The endpoints of a cluster in the model of a push, -1: it is not there; and what is refused. */
static int
endpoints_of(cn_pool_t *pool, const push_t *push, const char *name, const char **rejected)
{
    cn_xds_state_t      *state = cn_xds_state_create(NULL);
    cn_source_config_t   config = {
        .waypoint = "default/waypoint", .trust_domain = CN_BYTES("cluster.local"),
        .access_log = true, .modules = cn_module_configs,
    };
    cn_model_t          *model = NULL;
    int                  count = -1;

    assert_non_null(state);
    push_put(state, push);
    assert_int_equal(cn_xds_build(state, &config, cn_report_create(pool), &model), CN_OK);

    CN_ARRAY_EACH(&model->clusters, const cn_cluster_t, cluster) {
        if (cn_bytes_equal(cluster->name, cn_bytes_str(name))) {
            count = (int) cluster->endpoints.count;
        }
    }

    *rejected = push_rejected(state, pool);
    cn_model_destroy(model);
    cn_xds_state_destroy(state);

    return count;
}


static void
labels_of_endpoints_choose_how_they_are_reached(void **state)
{
    static const struct {
        const char     *name;
        cn_xds_type_t   type;
        const char     *old;
        const char     *new;
        int             endpoints;
        const char     *rejected;
    } cases[] = {
        { "a tunnel to an internal address", CN_XDS_ENDPOINTS, "tunnel", "tunnel", 1, NULL },
        { "an internal address without its label", CN_XDS_ENDPOINTS, "tunnel", "tunneX", 0,
          "ClusterLoadAssignment " SVC_B ": endpoint.metadata: is of another kind than the "
          "address\n" },
        { "a match by a label that nobody knows", CN_XDS_CLUSTERS, "tlsMode", "tlsModX", -1,
          "Cluster " SVC_B ": transport_socket_matches: tlsModX-istio is not "
          "implemented\n" },
        { "a filter before endpoints that nobody knows", CN_XDS_CLUSTERS, "MetadataExchange",
          "MetadataExchangX", -1, "Cluster " SVC_B ": filters: istio.metadata_exchange is not "
          "implemented\n" },
        { "a tunnel with something else around what is sent", CN_XDS_CLUSTERS, "RawBuffer",
          "RawBuffeX", -1, "Cluster " SVC_B ": transport_socket_matches.transport_socket: "
          "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffeX is not "
          "implemented; transport_socket_matches: other than a raw buffer is not implemented\n" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_pool_t   *pool = cn_pool_create(4096, NULL);
        push_t      *push = push_of(pool, "05-vs-all");
        const char  *rejected;
        int          count;

        change(pool, push_find(push, cases[i].type, SVC_B), cases[i].old, cases[i].new);
        count = endpoints_of(pool, push, SVC_B, &rejected);
        unit_check(count == cases[i].endpoints, cases[i].name);
        unit_check(cases[i].rejected == NULL ? strstr(rejected, SVC_B) == NULL
                   : strstr(rejected, cases[i].rejected) != NULL, cases[i].name);
        cn_pool_destroy(pool);
    }
}


/* {"envoy.transport_socket_match": {KEY: VALUE}} as octets of a Metadata. */
static cn_bytes_t
label(cn_pool_t *pool, char *key, char *value)
{
    static char              mode[] = "envoy.transport_socket_match";
    Cairn__Value             text = CAIRN__VALUE__INIT;
    Cairn__Struct__Field     field = CAIRN__STRUCT__FIELD__INIT;
    Cairn__Struct__Field    *fields[] = { &field };
    Cairn__Struct            labels = CAIRN__STRUCT__INIT;
    Cairn__Metadata__Entry   entry = CAIRN__METADATA__ENTRY__INIT;
    Cairn__Metadata__Entry  *entries[] = { &entry };
    Cairn__Metadata          metadata = CAIRN__METADATA__INIT;
    uint8_t                 *octets;

    text.kind_case = CAIRN__VALUE__KIND_STRING_VALUE;
    text.string_value = (ProtobufCBinaryData) { strlen(value), (uint8_t *) value };
    field.has_key = 1;
    field.key = (ProtobufCBinaryData) { strlen(key), (uint8_t *) key };
    field.value = &text;
    labels.n_fields = 1;
    labels.fields = fields;
    entry.has_key = 1;
    entry.key = (ProtobufCBinaryData) { sizeof(mode) - 1, (uint8_t *) mode };
    entry.value = &labels;
    metadata.n_filter_metadata = 1;
    metadata.filter_metadata = entries;
    octets = cn_pool_octets(pool, cairn__metadata__get_packed_size(&metadata));

    return cn_bytes(octets, cairn__metadata__pack(&metadata, octets));
}


/* The same endpoint, by its label: as it is; a sidecar's, which wants mutual TLS; a tunnel's. */
static void
an_endpoint_with_a_sidecar_is_refused_and_not_reached_in_clear(void **state)
{
    static const struct {
        const char  *key, *value;
        int          endpoints;
        const char  *rejected;
    } cases[] = {
        { "anything", "else", 1, NULL },
        { "tlsMode", "disabled", 1, NULL },
        { "tlsMode", "istio", 0, "ClusterLoadAssignment " EXT_AUTHZ ": endpoint.metadata: mutual "
          "TLS with a sidecar is not implemented\n" },
        { "tunnel", "http", 0, "ClusterLoadAssignment " EXT_AUTHZ ": endpoint.metadata: is of "
          "another kind than the address\n" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_pool_t                     *pool = cn_pool_create(4096, NULL);
        push_t                        *push = push_of(pool, "04-authz");
        resource_t                    *item = push_find(push, CN_XDS_ENDPOINTS, EXT_AUTHZ);
        const char                    *rejected;
        cn_bytes_t                     octets = label(pool, (char *) (uintptr_t) cases[i].key,
                                                      (char *) (uintptr_t) cases[i].value);
        Cairn__ClusterLoadAssignment  *message;
        Cairn__LbEndpoint             *endpoint;
        uint8_t                       *packed;

        message = cairn__cluster_load_assignment__unpack(NULL, item->value.len, item->value.ptr);
        assert_non_null(message);
        endpoint = message->endpoints[0]->lb_endpoints[0];
        cairn__metadata__free_unpacked(endpoint->metadata, NULL);
        endpoint->metadata = cairn__metadata__unpack(NULL, octets.len, octets.ptr);
        packed = cn_pool_octets(pool, cairn__cluster_load_assignment__get_packed_size(message));
        item->value = cn_bytes(packed, cairn__cluster_load_assignment__pack(message, packed));
        cairn__cluster_load_assignment__free_unpacked(message, NULL);

        unit_check(endpoints_of(pool, push, EXT_AUTHZ, &rejected) == cases[i].endpoints,
                   cases[i].value);
        unit_check(cases[i].rejected == NULL ? strstr(rejected, EXT_AUTHZ) == NULL
                   : strstr(rejected, cases[i].rejected) != NULL, cases[i].value);
        cn_pool_destroy(pool);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(labels_of_endpoints_choose_how_they_are_reached),
        cmocka_unit_test(an_endpoint_with_a_sidecar_is_refused_and_not_reached_in_clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
