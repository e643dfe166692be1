/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authz - decides by the chain's policies whether a request may pass (Envoy's RBAC filter).  It is
 * the first of the chain, so that a denied caller learns nothing of what lies behind.
 *
 * A condition answers yes, no or error; an error counts against the request: in DENY it matches, in
 * ALLOW it does not.
 */

#include "authz/authz_table.h"

#include "filter/explain.h"
#include "filter/module.h"

#include <stdio.h>

#define DENIED  CN_BYTES("RBAC: access denied")


static bool
is_mapped(const uint8_t ip[16])
{
    static const uint8_t  mapped[12] = { [10] = 0xff, [11] = 0xff };

    return memcmp(ip, mapped, sizeof(mapped)) == 0;
}


/* A range is of IPv4 or of IPv6: "::/0" has no address of IPv4 in it. */
static cn_match_t
match_ip(const cn_table_authz_node_t *node, const uint8_t ip[16], bool is_v4)
{
    unsigned  bits = node->prefix_bits;
    unsigned  octets = bits / 8;

    if (is_v4 != (bits >= 96 && is_mapped(node->ip)) || memcmp(node->ip, ip, octets) != 0) {
        return CN_MATCH_NO;
    }

    if (bits % 8 == 0) {
        return CN_MATCH_YES;
    }

    return (node->ip[octets] ^ ip[octets]) >> (8 - bits % 8) == 0 ? CN_MATCH_YES : CN_MATCH_NO;
}


static cn_match_t
match_identity(const cn_block_t *block, const cn_table_authz_node_t *node,
    const cn_match_input_t *input)
{
    cn_bytes_t   principal = input->connection->peer_principal;
    cn_spiffe_t  parts;

    if (principal.len == 0) {
        return CN_MATCH_NO;
    }

    if (node->kind == CN_AUTHZ_PRINCIPAL) {
        return cn_match_string(block, &node->match, principal);
    }

    if (cn_spiffe_parse(principal, &parts) != CN_OK) {
        return CN_MATCH_NO;
    }

    return cn_match_string(block, &node->match, node->kind == CN_AUTHZ_NAMESPACE
                           ? parts.name_space : parts.service_account);
}


static cn_match_t evaluate(const cn_block_t *block, const cn_table_authz_node_t *node,
    const cn_match_input_t *input, const cn_table_authz_node_t **failed);


/* AND ends at the first no, OR at the first yes; an error stands unless the end decides. */
static cn_match_t
evaluate_children(const cn_block_t *block, const cn_table_authz_node_t *node,
    const cn_match_input_t *input, const cn_table_authz_node_t **failed)
{
    const cn_table_authz_node_t  *children
        = CN_BLOCK_ITEMS(block, node->children, cn_table_authz_node_t);
    cn_match_t                    decisive = node->kind == CN_AUTHZ_AND ? CN_MATCH_NO
        : CN_MATCH_YES;
    cn_match_t                    result = node->kind == CN_AUTHZ_AND ? CN_MATCH_YES : CN_MATCH_NO;

    for (uint32_t i = 0; i < node->children.count; i++) {
        cn_match_t  one = evaluate(block, &children[i], input, failed);

        if (one == decisive) {
            return one;
        }

        if (one == CN_MATCH_ERROR) {
            result = CN_MATCH_ERROR;
        }
    }

    return result;
}


/* Is it known of a raw connection? */
static bool
is_of_connection(cn_authz_kind_t kind)
{
    switch (kind) {
    case CN_AUTHZ_PRINCIPAL:
    case CN_AUTHZ_NAMESPACE:
    case CN_AUTHZ_SERVICE_ACCOUNT:
    case CN_AUTHZ_SOURCE_IP:
    case CN_AUTHZ_PORT:
    case CN_AUTHZ_REMOTE_IP:
    case CN_AUTHZ_DESTINATION_IP:
    case CN_AUTHZ_SNI:
        return true;
    default:
        return false;
    }
}


/* "*" is of something (RE2's ".+"). */
static cn_match_t
match_text(const cn_block_t *block, const cn_table_authz_node_t *node, cn_bytes_t value)
{
    if (node->match.kind == CN_STRING_ANY && value.len == 0) {
        return CN_MATCH_NO;
    }

    return cn_match_string(block, &node->match, value);
}


static cn_match_t
match_header(const cn_block_t *block, const cn_table_authz_node_t *node,
    const cn_match_input_t *input)
{
    const cn_table_header_match_t  match = {
        .name = node->name,
        .present_only = node->match.kind == CN_STRING_ANY,
        .value = node->match,
    };

    return cn_match_header(block, &match, input);
}


static cn_match_t
match_addresses(const cn_table_authz_node_t *node, const cn_match_input_t *input)
{
    uint8_t  ip[16];
    bool     is_v4;

    switch ((cn_authz_kind_t) node->kind) {

    case CN_AUTHZ_SOURCE_IP:
        return match_ip(node, input->connection->peer.ip, is_mapped(input->connection->peer.ip));

    case CN_AUTHZ_DESTINATION_IP:
        return match_ip(node, input->connection->local.ip, is_mapped(input->connection->local.ip));

    default:
        (void) cn_match_remote_ip(input->head, input->connection, ip, &is_v4);
        return match_ip(node, ip, is_v4);
    }
}


static cn_match_t
evaluate_leaf(const cn_block_t *block, const cn_table_authz_node_t *node,
    const cn_match_input_t *input)
{
    /* without a request an ALLOW that asks about it does not apply, and a DENY does */
    if (input->head == NULL && !is_of_connection((cn_authz_kind_t) node->kind)) {
        return CN_MATCH_ERROR;
    }

    switch ((cn_authz_kind_t) node->kind) {

    case CN_AUTHZ_PRINCIPAL:
    case CN_AUTHZ_NAMESPACE:
    case CN_AUTHZ_SERVICE_ACCOUNT:
        return match_identity(block, node, input);

    case CN_AUTHZ_SOURCE_IP:
    case CN_AUTHZ_REMOTE_IP:
    case CN_AUTHZ_DESTINATION_IP:
        return match_addresses(node, input);

    case CN_AUTHZ_SNI:
        return match_text(block, node, input->connection->sni);

    case CN_AUTHZ_HEADER:
        return match_header(block, node, input);

    case CN_AUTHZ_METHOD:
        return match_text(block, node, input->head->method);

    case CN_AUTHZ_PATH:
        return match_text(block, node, input->path);

    case CN_AUTHZ_HOST:
        return match_text(block, node, input->head->authority);

    case CN_AUTHZ_PORT:
        return input->port == node->port ? CN_MATCH_YES : CN_MATCH_NO;

    default:
        return CN_MATCH_ERROR;
    }
}


/* *failed (may be NULL) becomes the leaf that last said no, for explain. */
static cn_match_t
evaluate(const cn_block_t *block, const cn_table_authz_node_t *node,
    const cn_match_input_t *input, const cn_table_authz_node_t **failed)
{
    cn_match_t  match;

    switch ((cn_authz_kind_t) node->kind) {

    case CN_AUTHZ_AND:
    case CN_AUTHZ_OR:
        return evaluate_children(block, node, input, failed);

    case CN_AUTHZ_NOT:
        match = evaluate(block, CN_BLOCK_ITEMS(block, node->children, cn_table_authz_node_t),
                         input, NULL);

        if (match != CN_MATCH_ERROR) {
            match = match == CN_MATCH_YES ? CN_MATCH_NO : CN_MATCH_YES;
        }
        break;

    default:
        match = evaluate_leaf(block, node, input);
    }

    if (match != CN_MATCH_YES && failed != NULL) {
        *failed = node;
    }

    return match;
}


static cn_match_t
evaluate_root(const cn_block_t *block, uint32_t at, const cn_match_input_t *input,
    const cn_table_authz_node_t **failed)
{
    return at == 0 ? CN_MATCH_YES : evaluate(block, cn_block_at(block, at), input, failed);
}


static cn_match_t
policy_applies(const cn_block_t *block, const cn_table_authz_policy_t *policy,
    const cn_match_input_t *input, const cn_table_authz_node_t **failed)
{
    cn_match_t  who = evaluate_root(block, policy->principals, input, failed);
    cn_match_t  what;

    if (who == CN_MATCH_NO) {
        return CN_MATCH_NO;
    }

    what = evaluate_root(block, policy->permissions, input, failed);

    if (what == CN_MATCH_NO) {
        return CN_MATCH_NO;
    }

    return (who == CN_MATCH_YES && what == CN_MATCH_YES) ? CN_MATCH_YES : CN_MATCH_ERROR;
}


/* The policy that decides, or NULL; for ALLOW the one that admits, for DENY the one that denies. */
static const cn_table_authz_policy_t *
deciding_policy(const cn_block_t *block, const cn_table_authz_t *table,
    const cn_match_input_t *input)
{
    const cn_table_authz_policy_t  *policies
        = CN_BLOCK_ITEMS(block, table->policies, cn_table_authz_policy_t);

    for (uint32_t i = 0; i < table->policies.count; i++) {
        cn_match_t  match = policy_applies(block, &policies[i], input, NULL);

        if (match == CN_MATCH_YES || (match == CN_MATCH_ERROR && table->action == CN_AUTHZ_DENY)) {
            return &policies[i];
        }
    }

    return NULL;
}


static const char *
denied_details(cn_request_t *request, const cn_table_authz_policy_t *policy)
{
    cn_bytes_t   name;
    const char  *details;

    if (policy == NULL) {
        return "rbac_access_denied_matched_policy[none]";
    }

    name = cn_block_bytes(request->service_block, policy->name);
    details = cn_pool_printf(request->pool, "rbac_access_denied_matched_policy[%.*s]",
                             CN_BYTES_ARG(name));

    return details != NULL ? details : "rbac_access_denied_matched_policy[?]";
}


static cn_verdict_t
authz_request_headers(cn_request_t *request, const void *config, bool end)
{
    const cn_table_authz_t         *table = config;
    const cn_table_authz_policy_t  *policy
        = deciding_policy(request->service_block, table, &request->input);

    (void) end;

    if ((table->action == CN_AUTHZ_ALLOW) == (policy != NULL)) {
        return CN_NEXT;
    }

    return cn_request_reply(request, 403, DENIED, 0, denied_details(request, policy));
}


/* A raw connection is decided once, by what is known of it. */
static cn_verdict_t
authz_connection(cn_request_t *request, const void *config)
{
    const cn_table_authz_t         *table = config;
    const cn_table_authz_policy_t  *policy
        = deciding_policy(request->service_block, table, &request->input);

    if ((table->action == CN_AUTHZ_ALLOW) == (policy != NULL)) {
        return CN_NEXT;
    }

    cn_request_refuse(request, 0, denied_details(request, policy));

    return CN_REPLIED;
}


/* ---- explain --------------------------------------------------------------------------------- */

static const char *const  kind_names[CN_AUTHZ_KIND_COUNT] = {
    [CN_AUTHZ_PRINCIPAL] = "principal",
    [CN_AUTHZ_NAMESPACE] = "namespace",
    [CN_AUTHZ_SERVICE_ACCOUNT] = "service account",
    [CN_AUTHZ_SOURCE_IP] = "source address",
    [CN_AUTHZ_METHOD] = "method",
    [CN_AUTHZ_PATH] = "path",
    [CN_AUTHZ_HOST] = "host",
    [CN_AUTHZ_PORT] = "port",
    [CN_AUTHZ_REMOTE_IP] = "remote address",
    [CN_AUTHZ_DESTINATION_IP] = "destination address",
    [CN_AUTHZ_SNI] = "server name (SNI)",
    [CN_AUTHZ_HEADER] = "header",
};


#define WANTED_MAX  300                 /* octets of what a condition asks for, with its NUL */

/* "header x-kind: one", "source address: 10.0.0.0/8", "not method: GET". */
static void
describe(const cn_block_t *block, const cn_table_authz_node_t *node, char out[WANTED_MAX])
{
    const cn_table_authz_node_t  *leaf = node;
    bool                          negated = node->kind == CN_AUTHZ_NOT;
    cn_bytes_t                    name, value;
    char                          text[CN_ADDRESS_TEXT_MAX + 8] = "";

    while (leaf->kind <= CN_AUTHZ_NOT && leaf->children.count > 0) {
        leaf = CN_BLOCK_ITEMS(block, leaf->children, cn_table_authz_node_t);
    }

    name = cn_block_bytes(block, leaf->name);
    value = cn_block_bytes(block, leaf->match.value);

    if (leaf->kind == CN_AUTHZ_PORT) {
        snprintf(text, sizeof(text), "%u", leaf->port);
        value = cn_bytes_str(text);

    } else if (leaf->kind == CN_AUTHZ_SOURCE_IP || leaf->kind == CN_AUTHZ_REMOTE_IP
               || leaf->kind == CN_AUTHZ_DESTINATION_IP)
    {
        cn_address_t  address = { .port = 0 };
        size_t        len;

        memcpy(address.ip, leaf->ip, 16);
        len = cn_address_print_ip(&address, text);
        snprintf(text + len, sizeof(text) - len, "/%u",
                 leaf->prefix_bits - (cn_address_is_v4(&address) ? 96u : 0u));
        value = cn_bytes_str(text);

    } else if (leaf->match.kind == CN_STRING_ANY) {
        value = CN_BYTES("*");
    }

    snprintf(out, WANTED_MAX, "%s%s%s%.*s: %.*s", negated ? "not " : "",
             kind_names[leaf->kind] != NULL ? kind_names[leaf->kind] : "nothing",
             name.len > 0 ? " " : "", CN_BYTES_ARG(name), CN_BYTES_ARG(value));
}


static void
explain_misses(cn_explain_t *explain, const cn_block_t *block, const cn_table_authz_t *table,
    const cn_match_input_t *input)
{
    const cn_table_authz_policy_t  *policies
        = CN_BLOCK_ITEMS(block, table->policies, cn_table_authz_policy_t);

    for (uint32_t i = 0; i < table->policies.count; i++) {
        const cn_table_authz_node_t  *failed = NULL;
        cn_bytes_t                    name = cn_block_bytes(block, policies[i].name);
        char                          wanted[WANTED_MAX];

        if (policy_applies(block, &policies[i], input, &failed) == CN_MATCH_YES || failed == NULL) {
            continue;
        }

        describe(block, failed, wanted);
        cn_explain_line(explain, block, &policies[i].origin,
                        "  %.*s does not admit it: it wants %s", CN_BYTES_ARG(name), wanted);
    }
}


static void
authz_explain(cn_explain_t *explain, const cn_block_t *block, const void *config,
    const void *route_config, const cn_match_input_t *input)
{
    const cn_table_authz_t         *table = config;
    const cn_table_authz_policy_t  *policy = deciding_policy(block, table, input);
    bool                            allow = table->action == CN_AUTHZ_ALLOW;

    (void) route_config;

    if (policy != NULL) {
        cn_explain_line(explain, block, &policy->origin, "authz: %s by %.*s",
                        allow ? "allowed" : "denied",
                        CN_BYTES_ARG(cn_block_bytes(block, policy->name)));

    } else if (allow) {
        cn_explain_line(explain, block, NULL,
                        "authz: denied: there are ALLOW policies and none admits the request");
        explain_misses(explain, block, table, input);
    }

    if (allow != (policy != NULL)) {
        explain->status = 403;
        explain->denied = true;
    }
}


/* ---- verify ---------------------------------------------------------------------------------- */

static bool
string_match_ok(const cn_block_t *block, const cn_table_string_match_t *match)
{
    return match->kind >= CN_STRING_EXACT && match->kind <= CN_STRING_ANY
           && cn_block_bytes_ok(block, match->value);
}


/* The node at an offset, when what it says of itself is in range; else NULL. */
static const cn_table_authz_node_t *
node_in_range(const cn_block_t *block, uint32_t at)
{
    const cn_table_authz_node_t  *node;
    const cn_rel_array_t          self = { at, 1 };

    if (at == 0 || !cn_block_range(block, self, sizeof(cn_table_authz_node_t), 4)) {
        return NULL;
    }

    node = cn_block_at(block, at);

    if (node->kind == 0 || node->kind >= CN_AUTHZ_KIND_COUNT || node->prefix_bits > 128
        || !cn_block_range(block, node->children, sizeof(cn_table_authz_node_t), 4))
    {
        return NULL;
    }

    return node;
}


static bool
leaf_ok(const cn_block_t *block, const cn_table_authz_node_t *node)
{
    switch ((cn_authz_kind_t) node->kind) {

    case CN_AUTHZ_SOURCE_IP:
    case CN_AUTHZ_REMOTE_IP:
    case CN_AUTHZ_DESTINATION_IP:
    case CN_AUTHZ_PORT:
        return true;

    case CN_AUTHZ_HEADER:
        return node->name.len > 0 && cn_block_bytes_ok(block, node->name)
               && string_match_ok(block, &node->match);

    default:
        return string_match_ok(block, &node->match);
    }
}


static cn_status_t
verify_node(const cn_block_t *block, uint32_t at, unsigned depth)
{
    const cn_table_authz_node_t  *node = node_in_range(block, at);

    if (node == NULL || depth > CN_AUTHZ_DEPTH_MAX) {
        return CN_ERR_SYNTAX;
    }

    if (node->kind > CN_AUTHZ_NOT) {
        return leaf_ok(block, node) ? CN_OK : CN_ERR_SYNTAX;
    }

    if ((node->kind == CN_AUTHZ_NOT && node->children.count != 1)
        || (node->children.count > 0 && node->children.at <= at))
    {
        return CN_ERR_SYNTAX;
    }

    for (uint32_t i = 0; i < node->children.count; i++) {
        uint32_t     child = node->children.at + i * (uint32_t) sizeof(cn_table_authz_node_t);
        cn_status_t  status = verify_node(block, child, depth + 1);

        if (status != CN_OK) {
            return status;
        }
    }

    return CN_OK;
}


static cn_status_t
verify_policy(const cn_block_t *block, const cn_table_authz_policy_t *policy)
{
    if (!cn_block_bytes_ok(block, policy->name)
        || !cn_block_bytes_ok(block, policy->origin.file)
        || !cn_block_bytes_ok(block, policy->origin.resource))
    {
        return CN_ERR_SYNTAX;
    }

    if (policy->permissions != 0 && verify_node(block, policy->permissions, 0) != CN_OK) {
        return CN_ERR_SYNTAX;
    }

    if (policy->principals != 0 && verify_node(block, policy->principals, 0) != CN_OK) {
        return CN_ERR_SYNTAX;
    }

    return CN_OK;
}


static cn_status_t
authz_verify(const cn_block_t *block, uint32_t config, const char **what)
{
    const cn_rel_array_t            self = { config, 1 };
    const cn_table_authz_t         *table;
    const cn_table_authz_policy_t  *policies;

    *what = "authz: policies out of range";

    if (config == 0 || !cn_block_range(block, self, sizeof(cn_table_authz_t), 4)) {
        return CN_ERR_SYNTAX;
    }

    table = cn_block_at(block, config);

    if ((table->action != CN_AUTHZ_ALLOW && table->action != CN_AUTHZ_DENY)
        || !cn_block_range(block, table->policies, sizeof(cn_table_authz_policy_t), 4))
    {
        return CN_ERR_SYNTAX;
    }

    policies = CN_BLOCK_ITEMS(block, table->policies, cn_table_authz_policy_t);

    for (uint32_t i = 0; i < table->policies.count; i++) {
        if (verify_policy(block, &policies[i]) != CN_OK) {
            *what = "authz: a policy's conditions are not well-formed";
            return CN_ERR_SYNTAX;
        }
    }

    return CN_OK;
}


const cn_module_t  cn_authz_module = {
    .name = "authz",
    .verify = authz_verify,
    .on_request_headers = authz_request_headers,
    .on_connection = authz_connection,
    .explain = authz_explain,
};
