/* SPDX-License-Identifier: Apache-2.0 */

/*
 * headers - reads what a VirtualService (headers: {request, response: {set, add, remove}}) and an
 * HTTPRoute (RequestHeaderModifier, ResponseHeaderModifier) do to headers, into the header
 * operations of the route or destination.
 *
 * The order is Envoy's: what is removed first, then what is set, then what is added, each by name.
 */

#include "headers/headers_claims.h"
#include "headers/headers_table.h"

#include "base/header_format.h"
#include "model/read.h"

#define NAME_MAX_LEN   256
#define VALUE_MAX_LEN  (16 * 1024)

/* One set of operations on requests or responses. */
typedef struct {
    cn_read_t   *read;
    const char  *field;
    bool         on_response;
    cn_array_t   set;               /* cn_header_op_t */
    cn_array_t   add;
    cn_array_t   remove;
} ops_t;


/* RFC 9110 tchar. */
static bool
is_token(cn_bytes_t name)
{
    static const char  others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < name.len; i++) {
        uint8_t  octet = cn_lower(name.ptr[i]);

        if (!((octet >= 'a' && octet <= 'z') || (octet >= '0' && octet <= '9')
              || (octet != '\0' && strchr(others, octet) != NULL))) {
            return false;
        }
    }

    return name.len > 0 && name.len <= NAME_MAX_LEN;
}


static bool
is_value(cn_bytes_t value)
{
    for (size_t i = 0; i < value.len; i++) {
        if ((value.ptr[i] < 0x20 && value.ptr[i] != '\t') || value.ptr[i] == 0x7f) {
            return false;
        }
    }

    return value.len <= VALUE_MAX_LEN;
}


/*
 * Headers that frame the message or choose its destination: Envoy and istiod treat each in a way of
 * its own.
 */
static bool
is_special(cn_bytes_t name)
{
    static const char *const  names[] = {
        "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer",
            "keep-alive",
        "proxy-connection",
    };

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        if (cn_bytes_equal_nocase(name, cn_bytes_str(names[i]))) {
            return true;
        }
    }

    return name.len > 0 && name.ptr[0] == ':';
}


/* "%%" is a percent sign; commands stay for the worker.  False: reported. */
static bool
read_value(cn_read_t *read, const cn_doc_t *node, const char *field, cn_bytes_t value,
    cn_header_op_t *op)
{
    cn_bytes_t  command;
    uint8_t    *octets = cn_pool_octets(read->pool, value.len);

    if (octets == NULL) {
        cn_read_no_memory(read);
        return false;
    }

    switch (cn_format_check(value, octets, &op->value, &op->format, &command)) {

    case CN_OK:
        return true;

    case CN_ERR_UNSUPPORTED:
        cn_read_error(read, node, field, "the command %%%.*s%% is not implemented",
                      CN_BYTES_ARG(command));
        return false;

    default:
        cn_read_error(read, node, field, "a percent sign is written %%%%, and a command "
                      "%%NAME%%, %%NAME(argument)%% or %%NAME(argument):length%%");
        return false;
    }
}


/*
 * To set the host is to rewrite the authority: the source makes that of the route when it finds the
 * operation.
 */
static bool
is_authority(const ops_t *ops, cn_header_op_kind_t kind, cn_bytes_t name)
{
    return kind == CN_HEADER_OP_SET && !ops->on_response
           && (cn_bytes_equal_nocase(name, CN_BYTES("host"))
               || cn_bytes_equal_nocase(name, CN_BYTES(":authority")));
}


static void
add_op(ops_t *ops, cn_header_op_kind_t kind, const cn_doc_t *node, const char *field,
    cn_bytes_t name, cn_bytes_t value)
{
    cn_read_t       *read = ops->read;
    cn_array_t      *list = kind == CN_HEADER_OP_SET ? &ops->set : kind == CN_HEADER_OP_ADD
        ? &ops->add : &ops->remove;
    cn_header_op_t   made = { .op = kind, .on_response = ops->on_response };
    uint8_t         *lower;
    cn_header_op_t  *slot;

    if (is_authority(ops, kind, name)) {
        name = CN_BYTES(":authority");

    } else if (is_special(name)) {
        cn_read_error(read, node, field, "a change of header %.*s is not implemented",
                      CN_BYTES_ARG(name));
        return;

    } else if (!is_token(name)) {
        cn_read_error(read, node, field, "\"%.*s\" is no header name", CN_BYTES_ARG(name));
        return;
    }

    if (!is_value(value)) {
        cn_read_error(read, node, field,
                      "is no header value: control characters, or more than 16 KiB");
        return;
    }

    if (!read_value(read, node, field, value, &made)) {
        return;
    }

    lower = cn_pool_octets(read->pool, name.len);
    slot = cn_array_add(list);

    if (lower == NULL || slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    for (size_t i = 0; i < name.len; i++) {
        lower[i] = cn_lower(name.ptr[i]);
    }

    made.name = cn_bytes(lower, name.len);
    *slot = made;
}


static int
compare_ops(const void *a, const void *b)
{
    return cn_bytes_compare(((const cn_header_op_t *) a)->name, ((const cn_header_op_t *) b)->name);
}


static void
append(cn_read_t *read, const cn_array_t *from)
{
    CN_ARRAY_EACH(from, const cn_header_op_t, op) {
        cn_header_op_t  *slot = cn_array_add(read->header_ops);

        if (slot == NULL) {
            cn_read_no_memory(read);
            return;
        }

        *slot = *op;
    }
}


static ops_t
begin(cn_read_t *read, const char *field, bool on_response)
{
    return (ops_t) {
        .read = read,
        .field = field,
        .on_response = on_response,
        .set = CN_ARRAY_INIT(read->pool, cn_header_op_t),
        .add = CN_ARRAY_INIT(read->pool, cn_header_op_t),
        .remove = CN_ARRAY_INIT(read->pool, cn_header_op_t),
    };
}


/* Removals keep their order, as istiod leaves it; sets and adds come from maps and are sorted. */
static void
end(ops_t *ops)
{
    if (cn_array_sort(&ops->set, compare_ops) != CN_OK
        || cn_array_sort(&ops->add, compare_ops) != CN_OK) {
        cn_read_no_memory(ops->read);
    }

    append(ops->read, &ops->remove);
    append(ops->read, &ops->set);
    append(ops->read, &ops->add);
}


static void
read_removals(ops_t *ops, cn_doc_t *parent)
{
    cn_doc_t  *list = cn_read_sequence(ops->read, parent, "remove", ops->field);
    size_t     index = 0;

    CN_DOC_EACH(list, item) {
        const char  *path = cn_read_path(ops->read, "%s.remove[%zu]", ops->field, index++);
        cn_bytes_t   name;

        if (cn_read_item_string(ops->read, item, path, &name)) {
            add_op(ops, CN_HEADER_OP_REMOVE, item, path, name, CN_BYTES_NONE);
        }
    }
}


/* ---- VirtualService: {set: {name: value}, add: {name: value}, remove: [name]} ---------------- */


static void
read_map(ops_t *ops, cn_doc_t *parent, const char *key, cn_header_op_kind_t kind)
{
    cn_doc_t  *mapping = cn_read_mapping(ops->read, parent, key, ops->field);

    CN_DOC_EACH(mapping, item) {
        const char  *path = cn_read_path(ops->read, "%s.%s.%.*s", ops->field, key,
                                         CN_BYTES_ARG(item->key));
        cn_bytes_t   value = CN_BYTES_NONE;

        item->used = true;

        if (item->kind == CN_DOC_NULL || cn_read_item_string(ops->read, item, path, &value)) {
            add_op(ops, kind, item, path, item->key, value);
        }
    }
}


static void
read_istio(cn_read_t *read, cn_doc_t *node, const char *field)
{
    static const char *const  directions[] = { "request", "response" };

    if (!cn_read_is_mapping(read, node, field)) {
        return;
    }

    for (size_t i = 0; i < CN_COUNT_OF(directions); i++) {
        cn_doc_t  *part = cn_read_mapping(read, node, directions[i], field);
        ops_t      ops = begin(read, cn_read_path(read, "%s.%s", field, directions[i]), i == 1);

        if (part != NULL) {
            read_map(&ops, part, "set", CN_HEADER_OP_SET);
            read_map(&ops, part, "add", CN_HEADER_OP_ADD);
            read_removals(&ops, part);
            end(&ops);
        }
    }
}


/* ---- HTTPRoute: {set: [{name, value}], add: [{name, value}], remove: [name]} ----------------- */


static void
read_list(ops_t *ops, cn_doc_t *parent, const char *key, cn_header_op_kind_t kind)
{
    cn_read_t  *read = ops->read;
    cn_doc_t   *list = cn_read_sequence(read, parent, key, ops->field);
    size_t      index = 0;

    CN_DOC_EACH(list, item) {
        const char  *path = cn_read_path(read, "%s.%s[%zu]", ops->field, key, index++);
        cn_bytes_t   name = CN_BYTES_NONE;
        cn_bytes_t   value = CN_BYTES_NONE;

        if (cn_read_is_mapping(read, item, path)
            && cn_read_need_string(read, item, "name", path, &name)) {
            (void) cn_read_string(read, item, "value", path, &value);
            add_op(ops, kind, item, path, name, value);
        }
    }
}


static void
read_gateway_api(cn_read_t *read, const char *type, cn_doc_t *node, const char *field)
{
    bool         on_response = strcmp(type, "ResponseHeaderModifier") == 0;
    const char  *key = on_response ? "responseHeaderModifier" : "requestHeaderModifier";
    cn_doc_t    *part = cn_read_mapping(read, node, key, field);
    ops_t        ops = begin(read, cn_read_path(read, "%s.%s", field, key), on_response);

    if (part == NULL) {
        if (cn_doc_get(node, key) == NULL) {
            cn_read_error(read, node, ops.field, "is missing");
        }
        return;
    }

    read_list(&ops, part, "set", CN_HEADER_OP_SET);
    read_list(&ops, part, "add", CN_HEADER_OP_ADD);
    read_removals(&ops, part);
    end(&ops);
}


static cn_status_t
read_route(cn_read_t *read, const char *name, cn_doc_t *node, const char *field, void **config)
{
    *config = NULL;         /* all stands in the route */

    if (strcmp(name, "headers") == 0) {
        read_istio(read, node, field);

    } else {
        read_gateway_api(read, name, node, field);
    }

    return CN_OK;
}


const cn_module_config_t  cn_headers_module_config = {
    HEADERS_CLAIMS,
    .header_ops = true,
    .always = true,
    .read_route = read_route,
};
