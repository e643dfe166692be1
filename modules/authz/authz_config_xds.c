/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authz_config_xds - an RBAC filter as istiod writes it.  Patterns over the peer's identity become
 * compares again: istiod makes them of a few forms only, and any other is refused.
 */

#include "authz/authz_claims.h"
#include "authz/authz_config.h"

#include "model/decode.h"
#include "model/read.h"

#include "rbac.pb-c.h"


#define URI_TEMPLATE  "type.googleapis.com/" \
                      "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
#define FIELD         "envoy.filters.http.rbac"

static authz_node_t *
new_node(cn_read_t *read, cn_authz_kind_t kind)
{
    authz_node_t  *node = cn_authz_node(read->pool, kind, 0);

    if (node == NULL) {
        cn_read_no_memory(read);
    }

    return node;
}


static void
add_child(cn_read_t *read, authz_node_t *parent, authz_node_t *child)
{
    if (parent != NULL && cn_authz_add_child(parent, child) != CN_OK) {
        cn_read_no_memory(read);
    }
}


/* NOT of `any` is an OR of nothing. */
static authz_node_t *
negate(cn_read_t *read, authz_node_t *child)
{
    authz_node_t  *node = new_node(read, child == NULL ? CN_AUTHZ_OR : CN_AUTHZ_NOT);

    if (child != NULL) {
        add_child(read, node, child);
    }

    return node;
}


/* What is refused is never NULL, which means "any": it matches nothing, and is reported. */
static authz_node_t *
refuse(cn_read_t *read, const char *text)
{
    cn_read_error(read, NULL, FIELD, "%s is not implemented", text);

    return new_node(read, CN_AUTHZ_OR);
}


/* ---- strings ---- */

static cn_bytes_t
lower_copy(cn_read_t *read, cn_bytes_t bytes)
{
    uint8_t  *octets = cn_pool_octets(read->pool, bytes.len);

    if (octets == NULL) {
        cn_read_no_memory(read);
        return CN_BYTES_NONE;
    }

    for (size_t i = 0; i < bytes.len; i++) {
        octets[i] = cn_lower(bytes.ptr[i]);
    }

    return cn_bytes(octets, bytes.len);
}


/* False: a pattern, which the caller may know. */
static bool
read_string(cn_read_t *read, const Cairn__StringMatcher *matcher, cn_string_match_t *match)
{
    *match = (cn_string_match_t) { .kind = CN_STRING_EXACT };

    switch (matcher->pattern_case) {

    case CAIRN__STRING_MATCHER__PATTERN_EXACT:
        match->value = cn_decoded(matcher->exact);
        break;

    case CAIRN__STRING_MATCHER__PATTERN_PREFIX:
        match->kind = CN_STRING_PREFIX;
        match->value = cn_decoded(matcher->prefix);
        break;

    case CAIRN__STRING_MATCHER__PATTERN_SUFFIX:
        match->kind = CN_STRING_SUFFIX;
        match->value = cn_decoded(matcher->suffix);
        break;

    case CAIRN__STRING_MATCHER__PATTERN_SAFE_REGEX:
        if (!cn_bytes_equal(cn_decoded(matcher->safe_regex->regex), CN_BYTES(".+"))) {
            return false;
        }
        match->kind = CN_STRING_ANY;
        break;

    default:
        return false;
    }

    if (matcher->has_ignore_case && matcher->ignore_case) {
        match->ignore_case = true;
        match->value = lower_copy(read, match->value);
    }

    return true;
}


static authz_node_t *
string_node(cn_read_t *read, cn_authz_kind_t kind, const Cairn__StringMatcher *matcher)
{
    authz_node_t  *node = new_node(read, kind);

    if (matcher == NULL || (node != NULL && !read_string(read, matcher, &node->match))) {
        return refuse(read, "a pattern");
    }

    return node;
}


static authz_node_t *
exact_node(cn_read_t *read, cn_authz_kind_t kind, cn_bytes_t value)
{
    authz_node_t  *node = new_node(read, kind);

    if (node != NULL) {
        node->match = (cn_string_match_t) { .kind = CN_STRING_EXACT, .value = value };
    }

    return node;
}


/* ---- identities ---- */

/* A name as Kubernetes allows it: nothing in it means anything in a pattern. */
static bool
is_plain(cn_bytes_t name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t  octet = name.ptr[i];

        if (!((octet >= 'a' && octet <= 'z') || (octet >= '0' && octet <= '9') || octet == '-'
              || octet == '/'))
        {
            return false;
        }
    }

    return name.len > 0;
}


/* Cuts what stands between before and after out of text. */
static bool
between(cn_bytes_t text, cn_bytes_t before, cn_bytes_t after, cn_bytes_t *inner)
{
    if (text.len < before.len + after.len || !cn_bytes_starts_with(text, before)
        || !cn_bytes_ends_with(text, after))
    {
        return false;
    }

    *inner = cn_bytes(text.ptr + before.len, text.len - before.len - after.len);

    return true;
}


/* "NS/(.+/|)sa/SA". */
static authz_node_t *
service_account_node(cn_read_t *read, cn_bytes_t text)
{
    static const cn_bytes_t  middle = CN_BYTES_INIT("/(.+/|)sa/");
    size_t                   at = cn_bytes_find(text, middle);
    authz_node_t            *both;
    cn_bytes_t               name_space, account;

    if (at == SIZE_MAX) {
        return refuse(read, "a pattern over identities");
    }

    name_space = cn_bytes(text.ptr, at);
    account = cn_bytes_from(text, at + middle.len);

    if (!is_plain(name_space) || !is_plain(account)) {
        return refuse(read, "a pattern over identities");
    }

    both = new_node(read, CN_AUTHZ_AND);
    add_child(read, both, exact_node(read, CN_AUTHZ_NAMESPACE, name_space));
    add_child(read, both, exact_node(read, CN_AUTHZ_SERVICE_ACCOUNT, account));

    return both;
}


static authz_node_t *
identity_pattern(cn_read_t *read, cn_bytes_t regex)
{
    authz_node_t  *node;
    cn_bytes_t     inner;

    if (between(regex, CN_BYTES(".*/ns/"), CN_BYTES("/.*"), &inner)) {
        cn_string_match_t  match;

        if (!cn_authz_namespace(read->pool, inner, CN_BYTES(".*"), &match)
            || (match.kind != CN_STRING_ANY && match.kind != CN_STRING_REGEX
                && !is_plain(match.value))) {
            return refuse(read, "a pattern over identities");
        }

        node = new_node(read, CN_AUTHZ_NAMESPACE);

        if (node != NULL) {
            node->match = match;
        }

        return node;
    }

    if (between(regex, CN_BYTES("spiffe://.+/ns/"), CN_BYTES("(/.+)?"), &inner)) {
        return service_account_node(read, inner);
    }

    if (between(regex, CN_BYTES("spiffe://.*"), CN_BYTES(""), &inner) && is_plain(inner)) {
        node = exact_node(read, CN_AUTHZ_PRINCIPAL, inner);

        if (node != NULL) {
            node->match.kind = CN_STRING_SUFFIX;
        }

        return node;
    }

    return refuse(read, "a pattern over identities");
}


static authz_node_t *
identity_node(cn_read_t *read, const Cairn__FilterStateMatcher *state)
{
    const Cairn__StringMatcher  *matcher;
    authz_node_t                *node;

    if (!cn_bytes_equal(cn_decoded(state->key), CN_BYTES("io.istio.peer_principal"))
        || state->matcher_case != CAIRN__FILTER_STATE_MATCHER__MATCHER_STRING_MATCH)
    {
        return refuse(read, "a filter state other than the peer's principal");
    }

    matcher = state->string_match;
    node = new_node(read, CN_AUTHZ_PRINCIPAL);

    if (node == NULL || read_string(read, matcher, &node->match)) {
        return node;
    }

    if (matcher->pattern_case != CAIRN__STRING_MATCHER__PATTERN_SAFE_REGEX
        || (matcher->has_ignore_case && matcher->ignore_case))
    {
        return refuse(read, "a match over identities");
    }

    return identity_pattern(read, cn_decoded(matcher->safe_regex->regex));
}


/* ---- addresses ---- */

static authz_node_t *
range_node(cn_read_t *read, cn_authz_kind_t kind, const Cairn__CidrRange *range)
{
    authz_node_t  *node = new_node(read, kind);
    bool           has_length = range->prefix_len != NULL && range->prefix_len->has_value;
    char          *text = cn_pool_printf(read->pool, "%.*s/%u",
                                         CN_BYTES_ARG(cn_decoded(range->address_prefix)),
                                         has_length ? range->prefix_len->value : 0u);

    if (node == NULL || text == NULL) {
        cn_read_no_memory(read);
        return node;
    }

    if (!cn_authz_read_range(cn_bytes_str(text), node)) {
        return refuse(read, "a range that is none");
    }

    return node;
}


/* ---- trees ---- */

static bool
is_plain_header(const Cairn__HeaderMatcher *header)
{
    return !(header->has_invert_match && header->invert_match)
           && !(header->has_treat_missing_header_as_empty && header->treat_missing_header_as_empty);
}


static authz_node_t *
header_node(cn_read_t *read, const Cairn__HeaderMatcher *header)
{
    cn_bytes_t     name = cn_decoded(header->name);
    authz_node_t  *node;

    if (is_plain_header(header) && name.len > 0
        && header->specifier_case == CAIRN__HEADER_MATCHER__SPECIFIER_PRESENT_MATCH
        && header->present_match)
    {
        node = new_node(read, CN_AUTHZ_HEADER);

        if (node != NULL) {
            node->name = lower_copy(read, name);
            node->match.kind = CN_STRING_ANY;
        }
        return node;
    }

    if (!is_plain_header(header) || name.len == 0
        || header->specifier_case != CAIRN__HEADER_MATCHER__SPECIFIER_STRING_MATCH)
    {
        return refuse(read, "a header match other than of a string");
    }

    if (cn_bytes_equal(name, CN_BYTES(":method"))) {
        return string_node(read, CN_AUTHZ_METHOD, header->string_match);
    }

    if (cn_bytes_equal(name, CN_BYTES(":authority"))) {
        return string_node(read, CN_AUTHZ_HOST, header->string_match);
    }

    node = string_node(read, CN_AUTHZ_HEADER, header->string_match);

    if (node != NULL && node->kind == CN_AUTHZ_HEADER) {
        node->name = lower_copy(read, name);
    }

    return node;
}


static authz_node_t *
template_node(cn_read_t *read, const Cairn__TypedExtension *extension)
{
    const Cairn__UriTemplateMatchConfig  *config;
    authz_node_t                         *node = new_node(read, CN_AUTHZ_PATH);

    if (extension->typed_config == NULL
        || !cn_bytes_equal(cn_decoded(extension->typed_config->type_url), CN_BYTES(URI_TEMPLATE)))
    {
        return refuse(read, "a path template of an unknown type");
    }

    config = cn_decode(read, &cairn__uri_template_match_config__descriptor,
                       cn_decoded(extension->typed_config->value), FIELD);

    if (node == NULL || config == NULL) {
        return new_node(read, CN_AUTHZ_OR);
    }

    node->match.kind = CN_STRING_REGEX;

    if (!cn_authz_template(read->pool, cn_decoded(config->path_template), &node->match.value)) {
        return refuse(read, "a path template that is none");
    }

    return node;
}


static authz_node_t *
port_node(cn_read_t *read, uint32_t port)
{
    authz_node_t  *node;

    if (port == 0 || port > 65535) {
        return refuse(read, "a port that is none");
    }

    node = new_node(read, CN_AUTHZ_PORT);

    if (node != NULL) {
        node->port = (uint16_t) port;
    }

    return node;
}


static authz_node_t *permission_node(cn_read_t *read, const Cairn__Permission *permission);


static authz_node_t *
permission_set(cn_read_t *read, cn_authz_kind_t kind, Cairn__Permission *const *items,
    size_t count)
{
    authz_node_t  *node = new_node(read, kind);

    for (size_t i = 0; i < count; i++) {
        add_child(read, node, permission_node(read, items[i]));
    }

    return cn_authz_simplify(node);
}


/* The depth was bounded when the message was decoded. */
static authz_node_t *
permission_node(cn_read_t *read, const Cairn__Permission *permission)
{
    switch (permission->rule_case) {

    case CAIRN__PERMISSION__RULE_AND_RULES:
        return permission_set(read, CN_AUTHZ_AND, permission->and_rules->rules,
                              permission->and_rules->n_rules);

    case CAIRN__PERMISSION__RULE_OR_RULES:
        return permission_set(read, CN_AUTHZ_OR, permission->or_rules->rules,
                              permission->or_rules->n_rules);

    case CAIRN__PERMISSION__RULE_ANY:
        return permission->any ? NULL : new_node(read, CN_AUTHZ_OR);

    case CAIRN__PERMISSION__RULE_NOT_RULE:
        return negate(read, permission_node(read, permission->not_rule));

    case CAIRN__PERMISSION__RULE_HEADER:
        return header_node(read, permission->header);

    case CAIRN__PERMISSION__RULE_DESTINATION_PORT:
        return port_node(read, permission->destination_port);

    case CAIRN__PERMISSION__RULE_DESTINATION_IP:
        return range_node(read, CN_AUTHZ_DESTINATION_IP, permission->destination_ip);

    case CAIRN__PERMISSION__RULE_REQUESTED_SERVER_NAME:
        return string_node(read, CN_AUTHZ_SNI, permission->requested_server_name);

    case CAIRN__PERMISSION__RULE_URI_TEMPLATE:
        return template_node(read, permission->uri_template);

    case CAIRN__PERMISSION__RULE_URL_PATH:
        return string_node(read, CN_AUTHZ_PATH, permission->url_path->path);

    default:
        return refuse(read, "a permission");
    }
}


static authz_node_t *principal_node(cn_read_t *read, const Cairn__Principal *principal);


static authz_node_t *
principal_set(cn_read_t *read, cn_authz_kind_t kind, Cairn__Principal *const *items, size_t count)
{
    authz_node_t  *node = new_node(read, kind);

    for (size_t i = 0; i < count; i++) {
        add_child(read, node, principal_node(read, items[i]));
    }

    return cn_authz_simplify(node);
}


static authz_node_t *
principal_node(cn_read_t *read, const Cairn__Principal *principal)
{
    switch (principal->identifier_case) {

    case CAIRN__PRINCIPAL__IDENTIFIER_AND_IDS:
        return principal_set(read, CN_AUTHZ_AND, principal->and_ids->ids,
                             principal->and_ids->n_ids);

    case CAIRN__PRINCIPAL__IDENTIFIER_OR_IDS:
        return principal_set(read, CN_AUTHZ_OR, principal->or_ids->ids, principal->or_ids->n_ids);

    case CAIRN__PRINCIPAL__IDENTIFIER_ANY:
        return principal->any ? NULL : new_node(read, CN_AUTHZ_OR);

    case CAIRN__PRINCIPAL__IDENTIFIER_NOT_ID:
        return negate(read, principal_node(read, principal->not_id));

    case CAIRN__PRINCIPAL__IDENTIFIER_DIRECT_REMOTE_IP:
        return range_node(read, CN_AUTHZ_SOURCE_IP, principal->direct_remote_ip);

    case CAIRN__PRINCIPAL__IDENTIFIER_REMOTE_IP:
        return range_node(read, CN_AUTHZ_REMOTE_IP, principal->remote_ip);

    case CAIRN__PRINCIPAL__IDENTIFIER_HEADER:
        return header_node(read, principal->header);

    case CAIRN__PRINCIPAL__IDENTIFIER_FILTER_STATE:
        return identity_node(read, principal->filter_state);

    default:
        return refuse(read, "a principal");
    }
}


/* ---- policies ---- */

static void
add_policy(cn_read_t *read, const Cairn__Rbac__Entry *entry, authz_config_t *config)
{
    const Cairn__Policy  *policy = entry->value;
    authz_policy_t       *slot;

    if (policy == NULL || policy->n_permissions == 0 || policy->n_principals == 0) {
        cn_read_error(read, NULL, FIELD, "a policy without permissions or principals");
        return;
    }

    slot = cn_array_add(&config->policies);

    if (slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    *slot = (authz_policy_t) {
        .name = cn_decoded(entry->key),
        .permissions = permission_set(read, CN_AUTHZ_OR, policy->permissions,
                                      policy->n_permissions),
        .principals = principal_set(read, CN_AUTHZ_OR, policy->principals, policy->n_principals),
        .origin = { .file = "", .resource = "" },
    };
}


static int
compare_policies(const void *a, const void *b)
{
    return cn_bytes_compare(((const authz_policy_t *) a)->name,
                            ((const authz_policy_t *) b)->name);
}


static const Cairn__Rbac *
decode_rules(cn_read_t *read, cn_bytes_t type_url, cn_bytes_t value)
{
    if (cn_bytes_equal(type_url, CN_BYTES(AUTHZ_NETWORK_RBAC))) {
        const Cairn__NetworkRbac  *filter = cn_decode(read, &cairn__network_rbac__descriptor,
                                                      value, FIELD);

        return filter == NULL ? NULL : filter->rules;
    }

    const Cairn__HttpRbac  *filter = cn_decode(read, &cairn__http_rbac__descriptor, value, FIELD);

    return filter == NULL ? NULL : filter->rules;
}


cn_status_t
cn_authz_read_xds(cn_read_t *read, cn_bytes_t type_url, cn_bytes_t value, bool on_route,
    void **config)
{
    size_t              errors = read->errors;
    const Cairn__Rbac  *rules = on_route ? NULL : decode_rules(read, type_url, value);
    authz_config_t     *made;
    int32_t             action;

    *config = NULL;

    if (on_route) {
        cn_read_error(read, NULL, FIELD, "a policy of a route is not implemented");
    }

    if (rules == NULL) {
        return read->errors == errors ? CN_OK : CN_ERR_UNSUPPORTED;
    }

    made = cn_pool_alloc_zero(read->pool, sizeof(*made));

    if (made == NULL) {
        return CN_ERR_MEMORY;
    }

    action = rules->has_action ? rules->action : CAIRN__RBAC__ACTION__ALLOW;

    if (action == CAIRN__RBAC__ACTION__LOG) {
        return CN_OK;                   /* AUDIT: it observes */
    }

    if (action != CAIRN__RBAC__ACTION__ALLOW && action != CAIRN__RBAC__ACTION__DENY) {
        cn_read_error(read, NULL, FIELD, "an unknown action");
    }

    made->action = action == CAIRN__RBAC__ACTION__DENY ? CN_AUTHZ_DENY : CN_AUTHZ_ALLOW;
    made->policies = CN_ARRAY_INIT(read->pool, authz_policy_t);

    for (size_t i = 0; i < rules->n_policies; i++) {
        add_policy(read, rules->policies[i], made);
    }

    if (cn_array_sort(&made->policies, compare_policies) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    *config = made;

    return read->errors == errors ? CN_OK : CN_ERR_UNSUPPORTED;
}
