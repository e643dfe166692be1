/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authz_config_tree - trees of conditions: made simple, printed, packed breadth first, so that
 * children lie behind their parent.
 */

#include "authz/authz_config.h"

#include "model/print.h"

#include <arpa/inet.h>
#include <stdio.h>


authz_node_t *
cn_authz_node(cn_pool_t *pool, cn_authz_kind_t kind, uint32_t line)
{
    static const uint8_t  needs[CN_AUTHZ_KIND_COUNT] = {
        [CN_AUTHZ_PRINCIPAL] = CN_AUTHZ_NEEDS_PRINCIPAL,
        [CN_AUTHZ_NAMESPACE] = CN_AUTHZ_NEEDS_PRINCIPAL,
        [CN_AUTHZ_SERVICE_ACCOUNT] = CN_AUTHZ_NEEDS_PRINCIPAL,
        [CN_AUTHZ_SOURCE_IP] = CN_AUTHZ_NEEDS_ADDRESS,
        [CN_AUTHZ_METHOD] = CN_AUTHZ_NEEDS_REQUEST,
        [CN_AUTHZ_PATH] = CN_AUTHZ_NEEDS_REQUEST,
        [CN_AUTHZ_HOST] = CN_AUTHZ_NEEDS_REQUEST,
        [CN_AUTHZ_PORT] = CN_AUTHZ_NEEDS_PORT,
        [CN_AUTHZ_REMOTE_IP] = CN_AUTHZ_NEEDS_FORWARDED,
        [CN_AUTHZ_DESTINATION_IP] = CN_AUTHZ_NEEDS_ADDRESS,
        [CN_AUTHZ_SNI] = CN_AUTHZ_NEEDS_ADDRESS,
        [CN_AUTHZ_HEADER] = CN_AUTHZ_NEEDS_REQUEST,
    };
    authz_node_t         *node = cn_pool_alloc_zero(pool, sizeof(*node));

    if (node != NULL) {
        node->kind = kind;
        node->needs = needs[kind];
        node->line = line;
        node->children = CN_ARRAY_INIT(pool, authz_node_ref_t);
    }

    return node;
}


cn_status_t
cn_authz_add_child(authz_node_t *parent, authz_node_t *child)
{
    authz_node_ref_t  *slot = cn_array_add(&parent->children);

    if (slot == NULL) {
        return CN_ERR_MEMORY;
    }

    *slot = child;

    if (child != NULL) {
        parent->needs |= child->needs;
    }

    return CN_OK;
}


static authz_node_t *
child_at(const authz_node_t *node, size_t i)
{
    return *CN_ARRAY_AT(&node->children, authz_node_ref_t, i);
}


authz_node_t *
cn_authz_simplify(authz_node_t *node)
{
    size_t  kept = 0;

    if (node == NULL || (node->kind != CN_AUTHZ_AND && node->kind != CN_AUTHZ_OR)) {
        return node;
    }

    node->needs = 0;

    for (size_t i = 0; i < node->children.count; i++) {
        authz_node_t  *child = child_at(node, i);

        if (child == NULL) {
            if (node->kind == CN_AUTHZ_OR) {
                return NULL;                /* any of ... or anything */
            }
            continue;
        }

        *CN_ARRAY_AT(&node->children, authz_node_ref_t, kept++) = child;
        node->needs |= child->needs;
    }

    node->children.count = kept;

    if (kept == 1) {
        return child_at(node, 0);
    }

    return kept == 0 && node->kind == CN_AUTHZ_AND ? NULL : node;
}


authz_node_t *
cn_authz_without_request(authz_node_t *node, cn_pool_t *pool, cn_status_t *status)
{
    authz_node_t  *made;

    if (node == NULL || (node->needs & CN_AUTHZ_NEEDS_REQUEST) == 0) {
        return node;
    }

    if (node->kind != CN_AUTHZ_AND && node->kind != CN_AUTHZ_OR) {
        return NULL;
    }

    made = cn_authz_node(pool, node->kind, node->line);

    for (size_t i = 0; i < node->children.count; i++) {
        authz_node_t  *child = cn_authz_without_request(child_at(node, i), pool, status);

        if (made == NULL || cn_authz_add_child(made, child) != CN_OK) {
            *status = CN_ERR_MEMORY;
            return NULL;
        }
    }

    return cn_authz_simplify(made);
}


/* ---- leaves ---------------------------------------------------------------------------------- */


/* Clears the host bits, so that equal ranges are equal octets. */
static void
mask(uint8_t ip[16], unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned  kept = bits > i * 8 ? bits - i * 8 : 0;

        if (kept < 8) {
            ip[i] &= (uint8_t) (0xff00u >> kept);
        }
    }
}


bool
cn_authz_read_range(cn_bytes_t text, authz_node_t *node)
{
    static const uint8_t  mapped[12] = { [10] = 0xff, [11] = 0xff };
    cn_bytes_t            address, length;
    uint64_t              bits;
    char                  copy[INET6_ADDRSTRLEN];
    bool                  has_length = cn_bytes_split(text, '/', &address, &length);
    bool                  is_v4;

    if (address.len >= sizeof(copy)) {
        return false;
    }

    snprintf(copy, sizeof(copy), "%.*s", CN_BYTES_ARG(address));
    is_v4 = inet_pton(AF_INET, copy, node->ip + 12) == 1;

    if (is_v4) {
        memcpy(node->ip, mapped, sizeof(mapped));

    } else if (inet_pton(AF_INET6, copy, node->ip) != 1
               || memcmp(node->ip, mapped, sizeof(mapped)) == 0)
    {
        return false;                   /* a mapped address would be taken for one of IPv4 */
    }

    bits = is_v4 ? 32 : 128;

    if (has_length && cn_bytes_to_u64(length, bits, &bits) != CN_OK) {
        return false;
    }

    node->prefix_bits = (uint8_t) (bits + (is_v4 ? 96 : 0));
    mask(node->ip, node->prefix_bits);

    return true;
}


/* What may stand in a template beside its wildcards: a pchar of RFC 3986 but `*`. */
static bool
is_template_octet(uint8_t octet)
{
    uint8_t  lower = cn_lower(octet);

    return (lower >= 'a' && lower <= 'z') || (octet >= '0' && octet <= '9')
           || (octet != 0 && strchr("-._~%!$&'()+,;:@=", octet) != NULL);
}


/*
 * One segment, or one with what ends the template behind its wildcard ("*.m4s").  A wildcard stands
 * for any pchar, `*` and `=` too: so Envoy 1.40 does (t/conformance/rbac).  Its length.
 */
static size_t
segment_pattern(cn_bytes_t segment, char *out, bool *rest)
{
    static const char  one[] = "[a-zA-Z0-9-._~%!$&'()*+,;=:@]+";
    static const char  any[] = "[a-zA-Z0-9-._~%!$&'()*+,;=:@/]*";
    size_t             at = 0, len = 0;

    if (cn_bytes_starts_with(segment, CN_BYTES("**"))) {
        *rest = true;
        len = sizeof(any) - 1;
        memcpy(out, any, len);
        at = 2;

    } else if (cn_bytes_starts_with(segment, CN_BYTES("*"))) {
        len = sizeof(one) - 1;
        memcpy(out, one, len);
        at = 1;
    }

    for (; at < segment.len; at++) {
        if (strchr(".+()$", segment.ptr[at]) != NULL) {
            out[len++] = '\\';
        }
        out[len++] = (char) segment.ptr[at];
    }

    return len;
}


/* Whether a segment may stand there: rest tells that `**` came before, last that none follows. */
static bool
segment_ok(cn_bytes_t segment, bool rest, bool last)
{
    size_t  at = 0;

    if (segment.len == 0) {
        return last;
    }

    while (at < segment.len && at < 2 && segment.ptr[at] == '*') {
        at++;
    }

    if (at > 0 && (rest || (at < segment.len && !last))) {
        return false;
    }

    for (; at < segment.len; at++) {
        if (!is_template_octet(segment.ptr[at])) {
            return false;
        }
    }

    return true;
}


bool
cn_authz_template(cn_pool_t *pool, cn_bytes_t text, cn_bytes_t *pattern)
{
    size_t  size = text.len * 32 + 1;
    char   *out = text.len > CN_AUTHZ_TEMPLATE_MAX ? NULL : (char *) cn_pool_octets(pool, size);
    size_t  len = 0;
    bool    rest = false;
    bool    more = true;

    *pattern = CN_BYTES_NONE;

    if (out == NULL || text.len == 0 || text.ptr[0] != '/') {
        return false;
    }

    text = cn_bytes_from(text, 1);

    while (more) {
        cn_bytes_t  segment, behind;

        more = cn_bytes_split(text, '/', &segment, &behind);

        if (!segment_ok(segment, rest, !more)) {
            return false;
        }

        out[len++] = '/';
        len += segment_pattern(segment, out + len, &rest);
        text = behind;
    }

    *pattern = cn_bytes(out, len);

    return true;
}


/* ---- print ----------------------------------------------------------------------------------- */


static const char *const  kind_names[CN_AUTHZ_KIND_COUNT] = {
    [CN_AUTHZ_AND] = "and", [CN_AUTHZ_OR] = "or", [CN_AUTHZ_NOT] = "not", [CN_AUTHZ_PRINCIPAL]
        = "principal",
    [CN_AUTHZ_NAMESPACE] = "namespace", [CN_AUTHZ_SERVICE_ACCOUNT] = "service_account",
    [CN_AUTHZ_SOURCE_IP] = "source_ip", [CN_AUTHZ_METHOD] = "method", [CN_AUTHZ_PATH] = "path",
    [CN_AUTHZ_HOST] = "host", [CN_AUTHZ_PORT] = "port", [CN_AUTHZ_REMOTE_IP] = "remote_ip",
    [CN_AUTHZ_DESTINATION_IP] = "destination_ip", [CN_AUTHZ_SNI] = "sni",
    [CN_AUTHZ_HEADER] = "header",
};


static json_t *
print_range(const authz_node_t *node)
{
    json_t  *object = json_object();

    cn_print_set(&object, "address", cn_print_ip(node->ip));
    cn_print_set(&object, "prefix_bits", json_integer(node->prefix_bits));

    return object;
}


static json_t *
print_header(const authz_node_t *node)
{
    json_t  *object = json_object();

    cn_print_set_bytes(&object, "name", node->name);
    cn_print_set(&object, "value", cn_print_string_match(&node->match));

    return object;
}


static json_t *print_node(const authz_node_t *node);


static json_t *
print_children(const authz_node_t *node)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(&node->children, const authz_node_ref_t, child) {
        cn_print_append(&list, print_node(*child));
    }

    return list;
}


static json_t *
print_node(const authz_node_t *node)
{
    json_t  *object = json_object();
    json_t  *value;

    if (node == NULL) {
        cn_print_set(&object, "any", json_true());
        return object;
    }

    switch (node->kind) {

    case CN_AUTHZ_AND:
    case CN_AUTHZ_OR:
        value = print_children(node);
        break;

    case CN_AUTHZ_NOT:
        value = print_node(child_at(node, 0));
        break;

    case CN_AUTHZ_SOURCE_IP:
    case CN_AUTHZ_REMOTE_IP:
    case CN_AUTHZ_DESTINATION_IP:
        value = print_range(node);
        break;

    case CN_AUTHZ_HEADER:
        value = print_header(node);
        break;

    case CN_AUTHZ_PORT:
        value = json_integer(node->port);
        break;

    default:
        value = cn_print_string_match(&node->match);
        break;
    }

    cn_print_set(&object, kind_names[node->kind], value);

    return object;
}


json_t *
cn_authz_print(const void *config)
{
    const authz_config_t  *authz = config;
    json_t                *object = json_object();
    json_t                *policies = json_array();

    CN_ARRAY_EACH(&authz->policies, const authz_policy_t, policy) {
        json_t  *item = json_object();

        cn_print_set_bytes(&item, "name", policy->name);
        cn_print_set(&item, "permissions", print_node(policy->permissions));
        cn_print_set(&item, "principals", print_node(policy->principals));
        cn_print_append(&policies, item);
    }

    cn_print_set(&object, "action", json_string(authz->action == CN_AUTHZ_DENY ? "DENY" : "ALLOW"));
    cn_print_set(&object, "policies", policies);

    return object;
}


/* ---- pack ------------------------------------------------------------------------------------ */


/* Fills the node at an offset and, behind everything so far, its children. */
static cn_status_t
pack_node(const authz_node_t *node, cn_block_builder_t *builder, uint32_t at)
{
    cn_rel_bytes_t           name = cn_block_add_bytes(builder, node->name);
    cn_table_string_match_t  match = cn_pack_string_match(&node->match, builder);
    cn_rel_array_t           children = cn_block_add_array(builder, node->children.count,
                                                           sizeof(cn_table_authz_node_t),
                                                           _Alignof(cn_table_authz_node_t));
    cn_table_authz_node_t   *out = cn_block_builder_at(builder, at);

    if (out == NULL || (node->children.count > 0 && children.at == 0)) {
        return CN_ERR_MEMORY;
    }

    *out = (cn_table_authz_node_t) {
        .kind = (uint8_t) node->kind,
        .needs = node->needs,
        .port = node->port,
        .line = node->line,
        .children = children,
        .name = name,
        .match = match,
        .prefix_bits = node->prefix_bits,
    };
    memcpy(out->ip, node->ip, sizeof(out->ip));

    for (size_t i = 0; i < node->children.count; i++) {
        cn_status_t  status = pack_node(child_at(node, i), builder,
                                        children.at + (uint32_t) (i * sizeof(*out)));

        if (status != CN_OK) {
            return status;
        }
    }

    return CN_OK;
}


/* *at 0: any. */
static cn_status_t
pack_tree(const authz_node_t *root, cn_block_builder_t *builder, uint32_t *at)
{
    *at = 0;

    if (root == NULL) {
        return CN_OK;
    }

    *at = cn_block_add(builder, 1, sizeof(cn_table_authz_node_t), _Alignof(cn_table_authz_node_t));

    return *at == 0 ? CN_ERR_MEMORY : pack_node(root, builder, *at);
}


static cn_status_t
pack_policy(const authz_policy_t *policy, cn_block_builder_t *builder, uint32_t at)
{
    cn_table_authz_policy_t   made = {
        .name = cn_block_add_bytes(builder, policy->name),
        .permissions_need = policy->permissions == NULL ? 0 : policy->permissions->needs,
        .principals_need = policy->principals == NULL ? 0 : policy->principals->needs,
        .origin = cn_pack_origin(&policy->origin, builder),
    };
    cn_table_authz_policy_t  *out;

    if (pack_tree(policy->permissions, builder, &made.permissions) != CN_OK
        || pack_tree(policy->principals, builder, &made.principals) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    out = cn_block_builder_at(builder, at);

    if (out == NULL) {
        return CN_ERR_MEMORY;
    }

    *out = made;

    return CN_OK;
}


cn_status_t
cn_authz_pack(const void *config, bool on_route, cn_block_builder_t *builder, uint32_t *at)
{
    const authz_config_t  *authz = config;
    cn_rel_array_t         policies;
    cn_table_authz_t      *out;
    uint32_t               at_of_policy;
    uint8_t                needs = 0;

    (void) on_route;
    *at = cn_block_add(builder, 1, sizeof(*out), _Alignof(cn_table_authz_t));
    policies = cn_block_add_array(builder, authz->policies.count, sizeof(cn_table_authz_policy_t),
                                  _Alignof(cn_table_authz_policy_t));

    if (*at == 0 || (authz->policies.count > 0 && policies.at == 0)) {
        return CN_ERR_MEMORY;
    }

    at_of_policy = policies.at;

    for (size_t i = 0; i < authz->policies.count; i++) {
        const authz_policy_t  *policy = CN_ARRAY_AT(&authz->policies, const authz_policy_t, i);

        needs |= policy->permissions == NULL ? 0 : policy->permissions->needs;
        needs |= policy->principals == NULL ? 0 : policy->principals->needs;

        if (pack_policy(policy, builder, at_of_policy) != CN_OK) {
            return CN_ERR_MEMORY;
        }

        at_of_policy += (uint32_t) sizeof(cn_table_authz_policy_t);
    }

    out = cn_block_builder_at(builder, *at);

    if (out == NULL) {
        return CN_ERR_MEMORY;
    }

    *out = (cn_table_authz_t) {
        .action = (uint8_t) authz->action,
        .connection_only = (needs & ~(CN_AUTHZ_NEEDS_PRINCIPAL | CN_AUTHZ_NEEDS_ADDRESS)) == 0,
        .policies = policies,
    };

    return CN_OK;
}
