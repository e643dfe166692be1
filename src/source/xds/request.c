/* SPDX-License-Identifier: Apache-2.0 */

/* request - filled into messages of protobuf-c and packed; octets are borrowed until then. */

#include "source/xds/request.h"

#include "discovery.pb-c.h"

#define DEPTH_MAX         32        /* of metadata */
#define INVALID_ARGUMENT  3         /* google.rpc.Code */


static ProtobufCBinaryData
borrow(cn_bytes_t bytes)
{
    return (ProtobufCBinaryData) { .len = bytes.len, .data = (uint8_t *) (uintptr_t) bytes.ptr };
}


static cn_bytes_t
pack(const ProtobufCMessage *message, cn_pool_t *pool)
{
    size_t    len = protobuf_c_message_get_packed_size(message);
    uint8_t  *octets = cn_pool_octets(pool, len);

    return octets == NULL
           ? CN_BYTES_NONE : cn_bytes(octets, protobuf_c_message_pack(message, octets));
}


/* NULL with *count not 0: memory. */
static ProtobufCBinaryData *
borrow_all(const cn_array_t *list, cn_pool_t *pool, size_t *count)
{
    ProtobufCBinaryData  *items = NULL;

    *count = list->count;

    if (list->count > 0) {
        items = cn_pool_alloc(pool, list->count * sizeof(*items));
    }

    for (size_t i = 0; items != NULL && i < list->count; i++) {
        items[i] = borrow(*CN_ARRAY_AT(list, const cn_bytes_t, i));
    }

    return items;
}


void
cn_request_init(cn_request_t *request, cn_pool_t *pool, const char *type_url)
{
    *request = (cn_request_t) {
        .type_url = cn_bytes_str(type_url),
        .names = CN_ARRAY_INIT(pool, cn_bytes_t),
        .gone = CN_ARRAY_INIT(pool, cn_bytes_t),
        .versions = CN_ARRAY_INIT(pool, cn_request_version_t),
    };
}


/* ---- requests ---- */

static void
fill_refusal(Cairn__RpcStatus *detail, const char *refusal)
{
    *detail = (Cairn__RpcStatus) CAIRN__RPC_STATUS__INIT;
    detail->has_code = 1;
    detail->code = INVALID_ARGUMENT;
    detail->has_message = 1;
    detail->message = borrow(cn_bytes_str(refusal));
}


static bool
fill_versions(const cn_array_t *versions, cn_pool_t *pool, Cairn__DeltaDiscoveryRequest *message)
{
    typedef Cairn__DeltaDiscoveryRequest__Version  version_t;

    version_t  *items;

    if (versions->count == 0) {
        return true;
    }

    items = cn_pool_alloc(pool, versions->count * sizeof(*items));
    message->initial_resource_versions = cn_pool_alloc(pool, versions->count * sizeof(items));

    if (items == NULL || message->initial_resource_versions == NULL) {
        return false;
    }

    for (size_t i = 0; i < versions->count; i++) {
        const cn_request_version_t  *known = CN_ARRAY_AT(versions, const cn_request_version_t, i);

        items[i] = (version_t) CAIRN__DELTA_DISCOVERY_REQUEST__VERSION__INIT;
        items[i].has_name = 1;
        items[i].name = borrow(known->name);
        items[i].has_version = 1;
        items[i].version = borrow(known->version);
        message->initial_resource_versions[i] = &items[i];
    }

    message->n_initial_resource_versions = versions->count;

    return true;
}


cn_bytes_t
cn_request_delta(const cn_request_t *request, cn_pool_t *pool)
{
    Cairn__DeltaDiscoveryRequest  message = CAIRN__DELTA_DISCOVERY_REQUEST__INIT;
    Cairn__RpcStatus              detail;

    message.has_node = request->node.len > 0;
    message.node = borrow(request->node);
    message.has_type_url = 1;
    message.type_url = borrow(request->type_url);
    message.has_response_nonce = request->nonce.len > 0;
    message.response_nonce = borrow(request->nonce);
    message.resource_names_subscribe = borrow_all(&request->names, pool,
                                                  &message.n_resource_names_subscribe);
    message.resource_names_unsubscribe = borrow_all(&request->gone, pool,
                                                    &message.n_resource_names_unsubscribe);

    if ((message.n_resource_names_subscribe > 0 && message.resource_names_subscribe == NULL)
        || (message.n_resource_names_unsubscribe > 0 && message.resource_names_unsubscribe == NULL)
        || !fill_versions(&request->versions, pool, &message))
    {
        return CN_BYTES_NONE;
    }

    if (request->refusal != NULL) {
        fill_refusal(&detail, request->refusal);
        message.error_detail = &detail;
    }

    return pack(&message.base, pool);
}


cn_bytes_t
cn_request_full(const cn_request_t *request, cn_pool_t *pool)
{
    Cairn__DiscoveryRequest  message = CAIRN__DISCOVERY_REQUEST__INIT;
    Cairn__RpcStatus         detail;

    message.has_node = request->node.len > 0;
    message.node = borrow(request->node);
    message.has_type_url = 1;
    message.type_url = borrow(request->type_url);
    message.has_version_info = request->version.len > 0;
    message.version_info = borrow(request->version);
    message.has_response_nonce = request->nonce.len > 0;
    message.response_nonce = borrow(request->nonce);
    message.resource_names = borrow_all(&request->names, pool, &message.n_resource_names);

    if (message.n_resource_names > 0 && message.resource_names == NULL) {
        return CN_BYTES_NONE;
    }

    if (request->refusal != NULL) {
        fill_refusal(&detail, request->refusal);
        message.error_detail = &detail;
    }

    return pack(&message.base, pool);
}


/* ---- nodes ---- */

static Cairn__Value *value_of(const json_t *json, cn_pool_t *pool, unsigned depth);


static Cairn__Struct *
struct_of(const json_t *json, cn_pool_t *pool, unsigned depth)
{
    json_t                *object = (json_t *) (uintptr_t) json;    /* jansson walks no const */
    size_t                 count = json_object_size(object);
    Cairn__Struct         *made = cn_pool_alloc(pool, sizeof(*made));
    Cairn__Struct__Field  *fields = cn_pool_alloc(pool, (count + 1) * sizeof(*fields));

    if (made == NULL || fields == NULL) {
        return NULL;
    }

    *made = (Cairn__Struct) CAIRN__STRUCT__INIT;
    made->fields = cn_pool_alloc(pool, (count + 1) * sizeof(*made->fields));

    if (made->fields == NULL) {
        return NULL;
    }

    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        Cairn__Struct__Field  *field = &fields[made->n_fields];

        *field = (Cairn__Struct__Field) CAIRN__STRUCT__FIELD__INIT;
        field->has_key = 1;
        field->key = borrow(cn_bytes_str(json_object_iter_key(at)));
        field->value = value_of(json_object_iter_value(at), pool, depth + 1);

        if (field->value == NULL) {
            return NULL;
        }

        made->fields[made->n_fields++] = field;
    }

    return made;
}


static Cairn__ListValue *
list_of(const json_t *json, cn_pool_t *pool, unsigned depth)
{
    size_t             count = json_array_size(json);
    Cairn__ListValue  *made = cn_pool_alloc(pool, sizeof(*made));

    if (made == NULL) {
        return NULL;
    }

    *made = (Cairn__ListValue) CAIRN__LIST_VALUE__INIT;
    made->values = cn_pool_alloc(pool, (count + 1) * sizeof(*made->values));

    for (size_t i = 0; made->values != NULL && i < count; i++) {
        made->values[i] = value_of(json_array_get(json, i), pool, depth + 1);

        if (made->values[i] == NULL) {
            return NULL;
        }

        made->n_values++;
    }

    return made->values == NULL ? NULL : made;
}


/* NULL: memory, or too deep. */
static Cairn__Value *
value_of(const json_t *json, cn_pool_t *pool, unsigned depth)
{
    Cairn__Value  *made = depth > DEPTH_MAX ? NULL : cn_pool_alloc(pool, sizeof(*made));

    if (made == NULL) {
        return NULL;
    }

    *made = (Cairn__Value) CAIRN__VALUE__INIT;

    if (json_is_object(json)) {
        made->kind_case = CAIRN__VALUE__KIND_STRUCT_VALUE;
        made->struct_value = struct_of(json, pool, depth);
        return made->struct_value == NULL ? NULL : made;
    }

    if (json_is_array(json)) {
        made->kind_case = CAIRN__VALUE__KIND_LIST_VALUE;
        made->list_value = list_of(json, pool, depth);
        return made->list_value == NULL ? NULL : made;
    }

    if (json_is_string(json)) {
        made->kind_case = CAIRN__VALUE__KIND_STRING_VALUE;
        made->string_value = borrow(cn_bytes(json_string_value(json), json_string_length(json)));

    } else if (json_is_number(json)) {
        made->kind_case = CAIRN__VALUE__KIND_NUMBER_VALUE;
        made->number_value = json_number_value(json);

    } else if (json_is_boolean(json)) {
        made->kind_case = CAIRN__VALUE__KIND_BOOL_VALUE;
        made->bool_value = json_is_true(json);

    } else {
        made->kind_case = CAIRN__VALUE__KIND_NULL_VALUE;
    }

    return made;
}


cn_bytes_t
cn_request_node(const cn_ads_node_t *node, cn_pool_t *pool)
{
    Cairn__Node  message = CAIRN__NODE__INIT;

    message.has_id = 1;
    message.id = borrow(node->id);
    message.has_cluster = 1;
    message.cluster = borrow(node->cluster);
    message.has_user_agent_name = node->agent_name.len > 0;
    message.user_agent_name = borrow(node->agent_name);
    message.has_user_agent_version = node->agent_version.len > 0;
    message.user_agent_version = borrow(node->agent_version);

    if (node->metadata != NULL) {
        message.metadata = struct_of(node->metadata, pool, 0);

        if (message.metadata == NULL) {
            return CN_BYTES_NONE;
        }
    }

    return pack(&message.base, pool);
}
