/* SPDX-License-Identifier: Apache-2.0 */

/*
 * push - recorded pushes of istiod as lists of resources, to be put into a state in any order and
 * with changes.  What is allocated here lives until the test's process ends or in its pool.
 */

#ifndef CN_UNIT_MODULES_PUSH_H
#define CN_UNIT_MODULES_PUSH_H

#include "istio.h"

#include "source/xds/state.h"

#include "discovery.pb-c.h"
#include "listener.pb-c.h"

#include <sys/stat.h>

#define RECORDED  "t/unit/modules/recorded/"

/* A field, number 99, that no message has. */
#define UNKNOWN_FIELD  CN_BYTES("\x98\x06\x01")

typedef struct {
    cn_xds_type_t  type;
    cn_bytes_t     name;            /* as a delta response has it; none */
    cn_bytes_t     value;
} resource_t;

typedef struct {
    resource_t  items[256];
    size_t      count;
} push_t;


static inline cn_bytes_t
push_file(cn_pool_t *pool, const char *path)
{
    struct stat  info;
    FILE        *file = fopen(path, "rb");
    uint8_t     *octets;

    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &info), 0);
    octets = cn_pool_octets(pool, (size_t) info.st_size);
    assert_non_null(octets);
    assert_int_equal(fread(octets, 1, (size_t) info.st_size, file), info.st_size);
    fclose(file);

    return cn_bytes(octets, (size_t) info.st_size);
}


static inline cn_bytes_t
push_join(cn_pool_t *pool, cn_bytes_t left, cn_bytes_t right)
{
    uint8_t  *octets = cn_pool_octets(pool, left.len + right.len);

    assert_non_null(octets);
    memcpy(octets, left.ptr, left.len);
    memcpy(octets + left.len, right.ptr, right.len);

    return cn_bytes(octets, left.len + right.len);
}


static inline cn_bytes_t
push_copy(cn_pool_t *pool, ProtobufCBinaryData data)
{
    cn_bytes_t  copy;

    assert_int_equal(cn_pool_copy(pool, cn_bytes(data.data, data.len), &copy), CN_OK);

    return copy;
}


static inline void
push_add(push_t *push, cn_xds_type_t type, cn_bytes_t name, cn_bytes_t value)
{
    assert_true(push->count < CN_COUNT_OF(push->items));
    push->items[push->count++] = (resource_t) { type, name, value };
}


static inline void
push_read_full(cn_pool_t *pool, const char *path, push_t *push)
{
    cn_bytes_t                 content = push_file(pool, path);
    Cairn__DiscoveryResponse  *response;
    cn_xds_type_t              type;

    response = cairn__discovery_response__unpack(NULL, content.len, content.ptr);
    assert_non_null(response);

    for (size_t i = 0; i < response->n_resources; i++) {
        assert_true(cn_xds_type_of(push_copy(pool, response->resources[i]->type_url), &type));
        push_add(push, type, CN_BYTES_NONE, push_copy(pool, response->resources[i]->value));
    }

    cairn__discovery_response__free_unpacked(response, NULL);
}


static inline void
push_read_delta(cn_pool_t *pool, const char *path, push_t *push)
{
    cn_bytes_t                      content = push_file(pool, path);
    Cairn__DeltaDiscoveryResponse  *response;
    cn_xds_type_t                   type;

    response = cairn__delta_discovery_response__unpack(NULL, content.len, content.ptr);
    assert_non_null(response);

    for (size_t i = 0; i < response->n_resources; i++) {
        const Cairn__Any  *any = response->resources[i]->resource;

        assert_true(cn_xds_type_of(push_copy(pool, any->type_url), &type));
        push_add(push, type, push_copy(pool, response->resources[i]->name),
                 push_copy(pool, any->value));
    }

    cairn__delta_discovery_response__free_unpacked(response, NULL);
}


/* Clusters, endpoints and listeners of a recording, and its workloads. */
static inline push_t *
push_of(cn_pool_t *pool, const char *scenario)
{
    static const char *const  files[] = { "cds.pb", "eds.pb", "lds.pb" };
    push_t                   *push = cn_pool_alloc_zero(pool, sizeof(*push));

    assert_non_null(push);

    for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
        push_read_full(pool, cn_pool_printf(pool, RECORDED "%s/%s", scenario, files[i]), push);
    }

    push_read_delta(pool, cn_pool_printf(pool, RECORDED "%s/workload.delta.pb", scenario), push);

    return push;
}


static inline void
push_shuffle(push_t *push, uint64_t random)
{
    for (size_t i = push->count; i > 1; i--) {
        resource_t  item = push->items[i - 1];
        size_t      other;

        random = random * 6364136223846793005u + 1442695040888963407u;
        other = (size_t) (random >> 33) % i;
        push->items[i - 1] = push->items[other];
        push->items[other] = item;
    }
}


/* A whole push of every type: what it does not name is gone. */
static inline void
push_put(cn_xds_state_t *state, const push_t *push)
{
    for (size_t i = 0; i < CN_XDS_TYPES; i++) {
        cn_xds_push_begin(state, (cn_xds_type_t) i);
    }

    for (size_t i = 0; i < push->count; i++) {
        cn_bytes_t  name = unit_copy(push->items[i].name);
        cn_bytes_t  value = unit_copy(push->items[i].value);

        assert_int_equal(cn_xds_put(state, push->items[i].type, name, CN_BYTES_NONE, value), CN_OK);
        unit_free(name);
        unit_free(value);
    }

    for (size_t i = 0; i < CN_XDS_TYPES; i++) {
        cn_xds_push_end_full(state, (cn_xds_type_t) i);
    }
}


/* The model of a state as text, in pool; NULL: there is none. */
static inline const char *
push_build(cn_xds_state_t *state, cn_pool_t *pool)
{
    cn_source_config_t   config = {
        .waypoint = "default/waypoint", .trust_domain = CN_BYTES("cluster.local"),
        .access_log = true, .modules = cn_module_configs,
    };
    cn_model_t          *model = NULL;
    const char          *text = NULL;

    if (cn_xds_build(state, &config, cn_report_create(pool), &model) == CN_OK) {
        text = cn_model_print(model, pool);
        assert_non_null(text);
    }

    cn_model_destroy(model);

    return text;
}


static inline resource_t *
push_find(push_t *push, cn_xds_type_t type, const char *needle)
{
    for (size_t i = 0; i < push->count; i++) {
        resource_t  *item = &push->items[i];

        if (item->type == type && memmem(item->value.ptr, item->value.len < 256 ? item->value.len
                                         : 256, needle, strlen(needle)) != NULL)
        {
            return item;
        }
    }

    fail_msg("no %s in the push", needle);

    return NULL;
}


/* The rejected as "TYPE NAME: REASON" lines. */
static inline const char *
push_rejected(const cn_xds_state_t *state, cn_pool_t *pool)
{
    const cn_xds_rejected_t  *list;
    size_t                    count = cn_xds_rejected(state, &list);
    const char               *text = "";

    for (size_t i = 0; i < count; i++) {
        text = cn_pool_printf(pool, "%s%s %.*s: %s\n", text, cn_xds_kind(list[i].type),
                              CN_BYTES_ARG(list[i].name), list[i].reason);
        assert_non_null(text);
    }

    return text;
}


static inline Cairn__Listener *
push_listener(const resource_t *item)
{
    Cairn__Listener  *listener = cairn__listener__unpack(NULL, item->value.len, item->value.ptr);

    assert_non_null(listener);

    return listener;
}


/* The listener's octets become the item's; the listener is gone. */
static inline void
push_repack(cn_pool_t *pool, Cairn__Listener *listener, resource_t *item)
{
    size_t    len = cairn__listener__get_packed_size(listener);
    uint8_t  *octets = cn_pool_octets(pool, len);

    assert_non_null(octets);
    assert_int_equal(cairn__listener__pack(listener, octets), len);
    item->value = cn_bytes(octets, len);
    cairn__listener__free_unpacked(listener, NULL);
}


/* The chain's place in the listener. */
static inline ProtobufCBinaryData *
push_chain(Cairn__Listener *listener, const char *name)
{
    for (size_t i = 0; i < listener->n_filter_chains; i++) {
        ProtobufCBinaryData  *value = &listener->filter_chains[i];
        Cairn__ChainName     *first = cairn__chain_name__unpack(NULL, value->len, value->data);
        bool                  it;

        assert_non_null(first);
        it = first->name.len == strlen(name) && memcmp(first->name.data, name, first->name.len) == 0;
        cairn__chain_name__free_unpacked(first, NULL);

        if (it) {
            return value;
        }
    }

    fail_msg("no chain %s", name);

    return NULL;
}


/* Octets behind those of a field, which the listener then owns. */
static inline void
push_append(ProtobufCBinaryData *data, cn_bytes_t more)
{
    uint8_t  *octets = realloc(data->data, data->len + more.len);

    assert_non_null(octets);
    memcpy(octets + data->len, more.ptr, more.len);
    data->data = octets;
    data->len += more.len;
}


/* main_internal with something more in one of its chains. */
static inline void
push_change_chain(cn_pool_t *pool, push_t *push, const char *chain, cn_bytes_t more)
{
    resource_t       *item = push_find(push, CN_XDS_LISTENERS, "main_internal");
    Cairn__Listener  *listener = push_listener(item);

    push_append(push_chain(listener, chain), more);
    push_repack(pool, listener, item);
}

#endif
