/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authz_config_policy - reads an AuthorizationPolicy.  Anything in its spec that we do not know or
 * do not implement makes the whole policy broken, and a broken policy denies what it targets: a
 * restriction is never dropped.
 *
 * A rule becomes one policy: its `to` the permissions, its `from` the principals; operations and
 * sources are alternatives, the conditions in one are all to be met, the values of one condition
 * are alternatives again.
 */

#include "authz/authz_config.h"

#include "model/read.h"

#include <arpa/inet.h>
#include <stdio.h>

typedef struct {
    cn_read_t              *read;
    const cn_resource_t    *resource;
    size_t                  rule;
} reader_t;

/* Makes the condition for one value; NULL: reported. */
typedef authz_node_t *(*value_fn)(const reader_t *reader, cn_bytes_t value, const cn_doc_t *item,
    const char *field);

typedef struct { const char *name; const char *not_name; value_fn make; } condition_t;


static authz_node_t *
new_node(const reader_t *reader, cn_authz_kind_t kind, uint32_t line)
{
    authz_node_t  *node = cn_authz_node(reader->read->pool, kind, line);

    if (node == NULL) {
        cn_read_no_memory(reader->read);
    }

    return node;
}


static void
add_child(const reader_t *reader, authz_node_t *parent, authz_node_t *child)
{
    if (parent != NULL && cn_authz_add_child(parent, child) != CN_OK) {
        cn_read_no_memory(reader->read);
    }
}


/* ---- values ---------------------------------------------------------------------------------- */


/* "*", "*suffix", "prefix*" or exact. */
static cn_string_match_t
wildcard(cn_bytes_t value)
{
    cn_string_match_t  match = { .kind = CN_STRING_EXACT, .value = value };

    if (cn_bytes_equal(value, CN_BYTES("*"))) {
        return (cn_string_match_t) { .kind = CN_STRING_ANY };
    }

    if (value.ptr[0] == '*') {
        match.kind = CN_STRING_SUFFIX;
        match.value = cn_bytes_from(value, 1);

    } else if (value.ptr[value.len - 1] == '*') {
        match.kind = CN_STRING_PREFIX;
        match.value.len--;
    }

    return match;
}


static authz_node_t *
string_node(const reader_t *reader, cn_authz_kind_t kind, cn_bytes_t value, const cn_doc_t *item)
{
    authz_node_t  *node = new_node(reader, kind, item->line);

    if (node != NULL) {
        node->match = wildcard(value);
    }

    return node;
}


static bool
is_known_domain(const cn_model_t *model, cn_bytes_t domain)
{
    CN_ARRAY_EACH(&model->trust_domains, const cn_bytes_t, known) {
        if (cn_bytes_equal(*known, domain)) {
            return true;
        }
    }

    return false;
}


/* One principal in one trust domain; rest is "/ns/x/sa/y". */
static authz_node_t *
principal_in(const reader_t *reader, cn_string_match_kind_t kind, cn_bytes_t domain,
    cn_bytes_t rest, uint32_t line)
{
    authz_node_t  *node = new_node(reader, CN_AUTHZ_PRINCIPAL, line);
    char          *id = cn_pool_printf(reader->read->pool, "spiffe://%.*s%s%.*s",
                                       CN_BYTES_ARG(domain), rest.len > 0 ? "/" : "",
                                       CN_BYTES_ARG(rest));

    if (node == NULL || id == NULL) {
        cn_read_no_memory(reader->read);
        return NULL;
    }

    node->match = (cn_string_match_t) { .kind = kind, .value = cn_bytes_str(id) };

    return node;
}


/* A principal of our own trust domain is one in each of its aliases too. */
static authz_node_t *
make_principal(const reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    const cn_model_t   *model = reader->read->model;
    cn_string_match_t   match = wildcard(value);
    cn_bytes_t          domain, rest;
    authz_node_t       *any;

    (void) field;

    if (match.kind == CN_STRING_ANY || match.kind == CN_STRING_SUFFIX) {
        return string_node(reader, CN_AUTHZ_PRINCIPAL, value, item);
    }

    if (!cn_bytes_split(match.value, '/', &domain, &rest) || !is_known_domain(model, domain)
        || model->trust_domains.count == 1) {
        return principal_in(reader, match.kind, match.value, CN_BYTES_NONE, item->line);
    }

    any = new_node(reader, CN_AUTHZ_OR, item->line);

    CN_ARRAY_EACH(&model->trust_domains, const cn_bytes_t, known) {
        add_child(reader, any, principal_in(reader, match.kind, *known, rest, item->line));
    }

    return any;
}


static authz_node_t *
make_namespace(const reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    (void) field;

    return string_node(reader, CN_AUTHZ_NAMESPACE, value, item);
}


/* "account" of the policy's own namespace or "namespace/account". */
static authz_node_t *
make_service_account(const reader_t *reader, cn_bytes_t value, const cn_doc_t *item,
    const char *field)
{
    authz_node_t  *both = new_node(reader, CN_AUTHZ_AND, item->line);
    authz_node_t  *name_space = new_node(reader, CN_AUTHZ_NAMESPACE, item->line);
    authz_node_t  *account = new_node(reader, CN_AUTHZ_SERVICE_ACCOUNT, item->line);
    cn_bytes_t     head, rest;

    if (both == NULL || name_space == NULL || account == NULL) {
        return NULL;
    }

    if (!cn_bytes_split(value, '/', &head, &rest)) {
        rest = value;
        head = reader->resource->name_space;
    }

    if (cn_bytes_find_octet(value, '*') != SIZE_MAX || cn_bytes_find_octet(rest, '/') != SIZE_MAX
        || head.len == 0 || rest.len == 0) {
        cn_read_error(reader->read, item, field,
                      "\"%.*s\" is no service account: expected NAME or NAMESPACE/NAME",
                      CN_BYTES_ARG(value));
        return NULL;
    }

    name_space->match = (cn_string_match_t) { .kind = CN_STRING_EXACT, .value = head };
    account->match = (cn_string_match_t) { .kind = CN_STRING_EXACT, .value = rest };
    add_child(reader, both, name_space);
    add_child(reader, both, account);

    return both;
}


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


/* "10.0.0.0/8", "10.9.9.9", "fd00::/8". */
static bool
read_range(cn_bytes_t value, authz_node_t *node)
{
    static const uint8_t  mapped[12] = { [10] = 0xff, [11] = 0xff };
    cn_bytes_t            address, length;
    uint64_t              bits;
    char                  text[INET6_ADDRSTRLEN];
    bool                  has_length = cn_bytes_split(value, '/', &address, &length);
    bool                  is_v4;

    if (address.len >= sizeof(text)) {
        return false;
    }

    snprintf(text, sizeof(text), "%.*s", CN_BYTES_ARG(address));
    is_v4 = inet_pton(AF_INET, text, node->ip + 12) == 1;

    if (is_v4) {
        memcpy(node->ip, mapped, sizeof(mapped));

    } else if (inet_pton(AF_INET6, text, node->ip) != 1) {
        return false;
    }

    bits = is_v4 ? 32 : 128;

    if (has_length && cn_bytes_to_u64(length, bits, &bits) != CN_OK) {
        return false;
    }

    node->prefix_bits = (uint8_t) (bits + (is_v4 ? 96 : 0));
    mask(node->ip, node->prefix_bits);

    return true;
}


static authz_node_t *
make_source_ip(const reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    authz_node_t  *node = new_node(reader, CN_AUTHZ_SOURCE_IP, item->line);

    if (node != NULL && !read_range(value, node)) {
        cn_read_error(reader->read, item, field, "\"%.*s\" is no IP address and no range",
                      CN_BYTES_ARG(value));
    }

    return node;
}


static authz_node_t *
make_method(const reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    (void) field;

    return string_node(reader, CN_AUTHZ_METHOD, value, item);
}


static authz_node_t *
make_path(const reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    if (cn_bytes_find_octet(value, '{') != SIZE_MAX) {
        cn_read_error(reader->read, item, field, "a path template is not implemented");
    }

    return string_node(reader, CN_AUTHZ_PATH, value, item);
}


static authz_node_t *
make_host(const reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    authz_node_t  *node = string_node(reader, CN_AUTHZ_HOST, value, item);
    uint8_t       *lower;

    (void) field;

    if (node == NULL || node->match.kind == CN_STRING_ANY) {
        return node;
    }

    lower = cn_pool_octets(reader->read->pool, node->match.value.len);

    if (lower == NULL) {
        cn_read_no_memory(reader->read);
        return NULL;
    }

    for (size_t i = 0; i < node->match.value.len; i++) {
        lower[i] = cn_lower(node->match.value.ptr[i]);
    }

    node->match.value.ptr = lower;
    node->match.ignore_case = true;

    return node;
}


static authz_node_t *
make_port(const reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    authz_node_t  *node = new_node(reader, CN_AUTHZ_PORT, item->line);
    uint64_t       port = 0;

    if (cn_bytes_to_u64(value, 65535, &port) != CN_OK || port == 0) {
        cn_read_error(reader->read, item, field, "\"%.*s\" is no port in 1..65535",
                      CN_BYTES_ARG(value));
        return NULL;
    }

    if (node != NULL) {
        node->port = (uint16_t) port;
    }

    return node;
}


/* ---- conditions ------------------------------------------------------------------------------ */


/* In istiod's order. */
static const condition_t  source_conditions[] = {
    { "principals", "notPrincipals", make_principal },
    { "serviceAccounts", "notServiceAccounts", make_service_account },
    { "namespaces", "notNamespaces", make_namespace },
    { "ipBlocks", "notIpBlocks", make_source_ip },
};

static const condition_t  operation_conditions[] = {
    { "hosts", "notHosts", make_host },
    { "methods", "notMethods", make_method },
    { "paths", "notPaths", make_path },
    { "ports", "notPorts", make_port },
};

static const char *const  unsupported_in_source[] = {
    "requestPrincipals", "notRequestPrincipals", "remoteIpBlocks", "notRemoteIpBlocks", NULL
};

static const char *const  unsupported_in_operation[] = { NULL };


/* The alternatives of one list, or NULL when it is absent: then *found stays. */
static authz_node_t *
read_values(const reader_t *reader, cn_doc_t *parent, const char *key, const char *field,
    value_fn make, bool *found)
{
    cn_read_t     *read = reader->read;
    cn_doc_t      *list = cn_read_sequence(read, parent, key, field);
    authz_node_t  *any;
    size_t         index = 0;

    if (list == NULL) {
        return NULL;
    }

    *found = true;
    any = new_node(reader, CN_AUTHZ_OR, list->line);

    if (list->count == 0) {
        cn_read_error(read, list, cn_read_path(read, "%s.%s", field, key), "is empty");
    }

    CN_DOC_EACH(list, item) {
        const char  *path = cn_read_path(read, "%s.%s[%zu]", field, key, index++);
        cn_bytes_t   value;

        if (!cn_read_item_string(read, item, path, &value)) {
            continue;
        }

        if (value.len == 0) {
            cn_read_error(read, item, path, "is empty");
            continue;
        }

        add_child(reader, any, make(reader, value, item, path));
    }

    return cn_authz_simplify(any);
}


/* One source or operation: all of its conditions. */
static authz_node_t *
read_conditions(const reader_t *reader, cn_doc_t *node, const char *field,
    const condition_t *conditions, size_t count)
{
    cn_read_t     *read = reader->read;
    authz_node_t  *all = new_node(reader, CN_AUTHZ_AND, node->line);
    bool           any = false;

    for (size_t i = 0; i < count; i++) {
        bool           found = false;
        bool           found_not = false;
        authz_node_t  *is = read_values(reader, node, conditions[i].name, field,
                                        conditions[i].make, &found);
        authz_node_t  *is_not = read_values(reader, node, conditions[i].not_name, field,
                                            conditions[i].make, &found_not);

        if (found) {
            add_child(reader, all, is);
        }

        if (found_not) {
            authz_node_t  *negation = new_node(reader, CN_AUTHZ_NOT, is_not == NULL ? node->line
                                               : is_not->line);

            add_child(reader, negation, is_not);
            add_child(reader, all, negation);
        }

        any = any || found || found_not;
    }

    if (!any && read->errors == 0) {
        cn_read_error(read, node, field, "has no condition");
    }

    return cn_authz_simplify(all);
}


/* from[] or to[]: the alternatives, or NULL: any. */
static authz_node_t *
read_alternatives(const reader_t *reader, cn_doc_t *rule, const char *list_name,
    const char *item_name, const char *field)
{
    cn_read_t     *read = reader->read;
    bool           from = strcmp(list_name, "from") == 0;
    cn_doc_t      *list = cn_read_sequence(read, rule, list_name, field);
    authz_node_t  *any;
    size_t         index = 0;

    if (list == NULL || list->count == 0) {
        if (list != NULL) {
            cn_read_error(read, list, cn_read_path(read, "%s.%s", field, list_name), "is empty");
        }
        return NULL;
    }

    any = new_node(reader, CN_AUTHZ_OR, list->line);

    CN_DOC_EACH(list, item) {
        const char  *path = cn_read_path(read, "%s.%s[%zu]", field, list_name, index++);
        const char  *inner = cn_read_path(read, "%s.%s", path, item_name);
        cn_doc_t    *node;

        if (!cn_read_is_mapping(read, item, path)) {
            continue;
        }

        node = cn_read_mapping(read, item, item_name, path);

        if (node == NULL) {
            cn_read_error(read, item, inner, "is missing");
            continue;
        }

        cn_read_unsupported(read, node, inner, from ? unsupported_in_source
                            : unsupported_in_operation);
        add_child(reader, any, read_conditions(reader, node, inner, from ? source_conditions
                                               : operation_conditions,
                                               from ? CN_COUNT_OF(source_conditions)
                                                   : CN_COUNT_OF(operation_conditions)));
    }

    return cn_authz_simplify(any);
}


/* ---- the resource ---------------------------------------------------------------------------- */


static cn_bytes_t
policy_name(const reader_t *reader)
{
    const cn_resource_t  *resource = reader->resource;
    char                 *name = cn_pool_printf(reader->read->pool,
                                                "ns[%.*s]-policy[%.*s]-rule[%zu]",
                                                CN_BYTES_ARG(resource->name_space),
                                                    CN_BYTES_ARG(resource->name), reader->rule);

    if (name == NULL) {
        cn_read_no_memory(reader->read);
    }

    return cn_bytes_str(name);
}


static void
add_policy(const reader_t *reader, authz_resource_t *out, const cn_doc_t *node,
    authz_node_t *permissions, authz_node_t *principals)
{
    authz_policy_t  *slot = cn_array_add(&out->policies);

    if (slot == NULL) {
        cn_read_no_memory(reader->read);
        return;
    }

    *slot = (authz_policy_t) {
        .name = policy_name(reader),
        .permissions = permissions,
        .principals = principals,
        .origin = { .file = node->file, .line = node->line, .resource = reader->resource->label },
    };
}


static void
read_rules(reader_t *reader, cn_doc_t *spec, authz_resource_t *out)
{
    static const char *const  unsupported[] = { "when", NULL };
    cn_read_t                *read = reader->read;
    cn_doc_t                 *rules = cn_read_sequence(read, spec, "rules", "spec");

    CN_DOC_EACH(rules, item) {
        const char    *field = cn_read_path(read, "spec.rules[%zu]", reader->rule);
        authz_node_t  *permissions, *principals;

        if (!cn_read_is_mapping(read, item, field)) {
            continue;
        }

        principals = read_alternatives(reader, item, "from", "source", field);
        permissions = read_alternatives(reader, item, "to", "operation", field);
        cn_read_unsupported(read, item, field, unsupported);
        add_policy(reader, out, item, permissions, principals);
        reader->rule++;
    }

    /* no rule: istiod has one that never applies, so that ALLOW denies all */
    if ((rules == NULL || rules->count == 0) && read->errors == 0) {
        add_policy(reader, out, reader->resource->root,
                   new_node(reader, CN_AUTHZ_OR, reader->resource->root->line),
                   new_node(reader, CN_AUTHZ_OR, reader->resource->root->line));
    }
}


static void
read_action(const reader_t *reader, cn_doc_t *spec, authz_resource_t *out)
{
    static const char *const  unsupported[] = { "provider", NULL };
    cn_read_t                *read = reader->read;
    cn_bytes_t                action = CN_BYTES("ALLOW");

    out->action = CN_AUTHZ_ALLOW;
    (void) cn_read_string(read, spec, "action", "spec", &action);
    cn_read_unsupported(read, spec, "spec", unsupported);

    if (cn_bytes_equal(action, CN_BYTES("DENY"))) {
        out->action = CN_AUTHZ_DENY;

    } else if (cn_bytes_equal(action, CN_BYTES("AUDIT"))
               || cn_bytes_equal(action, CN_BYTES("CUSTOM"))) {
        cn_read_error(read, cn_doc_get(spec, "action"), "spec.action", "%.*s is not implemented",
                      CN_BYTES_ARG(action));

    } else if (!cn_bytes_equal(action, CN_BYTES("ALLOW"))) {
        cn_read_error(read, cn_doc_get(spec, "action"), "spec.action",
                      "\"%.*s\" is no action: expected ALLOW or DENY",
                      CN_BYTES_ARG(action));
    }
}


static void
add_target(const reader_t *reader, cn_doc_t *node, const char *field, authz_target_t target,
    authz_resource_t *out)
{
    cn_read_t       *read = reader->read;
    static const char *const  kinds[] = {
        [AUTHZ_GATEWAY] = "Gateway", [AUTHZ_SERVICE] = "Service",
        [AUTHZ_SERVICE_ENTRY] = "ServiceEntry",
    };
    const char      *kind = kinds[target.kind];
    authz_target_t  *slot;

    if (read->has != NULL && !read->has(read, kind, reader->resource->name_space, target.name)) {
        cn_read_error(read, cn_doc_get(node, "name"), cn_read_path(read, "%s.name", field),
                      "there is no %s %.*s/%.*s", kind,
                      CN_BYTES_ARG(reader->resource->name_space), CN_BYTES_ARG(target.name));
        return;
    }

    slot = cn_array_add(&out->targets);

    if (slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    *slot = target;
}


/* Whether a kind of a group can be a target, and which it is. */
static bool
target_kind(cn_bytes_t group, cn_bytes_t kind, authz_target_kind_t *found)
{
    static const struct { const char *group, *kind; authz_target_kind_t found; } known[] = {
        { "", "Service", AUTHZ_SERVICE },
        { "core", "Service", AUTHZ_SERVICE },
        { "gateway.networking.k8s.io", "Gateway", AUTHZ_GATEWAY },
        { "networking.istio.io", "ServiceEntry", AUTHZ_SERVICE_ENTRY },
    };

    for (size_t i = 0; i < CN_COUNT_OF(known); i++) {
        if (cn_bytes_equal(group, cn_bytes_str(known[i].group))
            && cn_bytes_equal(kind, cn_bytes_str(known[i].kind)))
        {
            *found = known[i].found;
            return true;
        }
    }

    return false;
}


static void
read_target(const reader_t *reader, cn_doc_t *node, const char *field, authz_resource_t *out)
{
    cn_read_t       *read = reader->read;
    cn_bytes_t       group = CN_BYTES_NONE;
    cn_bytes_t       kind = CN_BYTES_NONE;
    cn_bytes_t       name_space = reader->resource->name_space;
    authz_target_t   target = { .kind = AUTHZ_SERVICE };

    if (!cn_read_is_mapping(read, node, field)
        || !cn_read_need_string(read, node, "kind", field, &kind)
        || !cn_read_need_string(read, node, "name", field, &target.name))
    {
        return;
    }

    (void) cn_read_string(read, node, "group", field, &group);
    (void) cn_read_string(read, node, "namespace", field, &name_space);

    if (!target_kind(group, kind, &target.kind)) {
        cn_read_error(read, cn_doc_get(node, "kind"), cn_read_path(read, "%s.kind", field),
                      "a target of kind %.*s%s%.*s is not implemented",
                      CN_BYTES_ARG(kind), group.len > 0 ? " of " : "", CN_BYTES_ARG(group));
        return;
    }

    if (!cn_bytes_equal(name_space, reader->resource->name_space)) {
        cn_read_error(read, node, cn_read_path(read, "%s.namespace", field),
                      "a target of another namespace is not possible");
        return;
    }

    add_target(reader, node, field, target, out);
}


static void
read_targets(const reader_t *reader, cn_doc_t *spec, authz_resource_t *out)
{
    cn_read_t  *read = reader->read;
    cn_doc_t   *single = cn_read_mapping(read, spec, "targetRef", "spec");
    cn_doc_t   *list = cn_read_sequence(read, spec, "targetRefs", "spec");
    cn_doc_t   *selector = cn_read_mapping(read, spec, "selector", "spec");
    size_t      index = 0;

    if (single != NULL) {
        read_target(reader, single, "spec.targetRef", out);
    }

    CN_DOC_EACH(list, item) {
        read_target(reader, item, cn_read_path(read, "spec.targetRefs[%zu]", index++), out);
    }

    out->targets_known = read->errors == 0;

    if (selector != NULL) {
        cn_doc_use_all(selector);

        if (single != NULL || list != NULL) {
            cn_read_error(read, selector, "spec.selector", "cannot stand beside targetRefs");
        }
    }

    if (out->targets_known && single == NULL && (list == NULL || list->count == 0)) {
        cn_read_warn(read, selector == NULL ? reader->resource->root : selector, selector == NULL
                     ? "spec" : "spec.selector",
                     "without targetRefs the policy is for the workloads' own ztunnel: a waypoint "
                     "does not apply it");
    }
}


cn_status_t
cn_authz_read_resource(cn_read_t *read, const cn_resource_t *resource, void **parsed)
{
    static const char *const  ignored[] = { "status", NULL };
    authz_resource_t         *out = cn_pool_alloc_zero(read->pool, sizeof(*out));
    reader_t                  reader = { .read = read, .resource = resource };
    cn_doc_t                 *annotations = cn_doc_path(resource->root, "metadata.annotations");
    bool                      dry_run = false;

    if (out == NULL) {
        return CN_ERR_MEMORY;
    }

    out->targets = CN_ARRAY_INIT(read->pool, authz_target_t);
    out->policies = CN_ARRAY_INIT(read->pool, authz_policy_t);
    *parsed = out;

    read_targets(&reader, resource->spec, out);
    read_action(&reader, resource->spec, out);
    read_rules(&reader, resource->spec, out);

    if (cn_doc_get(annotations, "istio.io/dry-run") != NULL) {
        cn_bytes_t  value = cn_doc_get(annotations, "istio.io/dry-run")->text;

        dry_run = cn_bytes_equal(value, CN_BYTES("true"));
    }

    if (dry_run) {
        cn_read_error(read, cn_doc_get(annotations, "istio.io/dry-run"), "metadata.annotations",
                      "a dry run is not implemented");
    }

    cn_read_ignore(resource->root, ignored);
    cn_read_finish(read, resource->spec, "spec", true);
    cn_doc_use_all(resource->spec);
    cn_read_finish(read, resource->root, "", false);

    return read->errors == 0 ? CN_OK : CN_ERR_UNSUPPORTED;
}
