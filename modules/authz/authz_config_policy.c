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

#include "authz/authz_config_reader.h"

#include <stdio.h>

/* from[] or to[]. */
typedef struct {
    const char               *list_name;
    const char               *item_name;
    const authz_condition_t  *conditions;       /* ended by .name NULL */
    const char *const        *unsupported;      /* NULL-ended */
    const authz_node_t       *when;             /* AND: what each alternative must meet too */
} side_t;


static const char *const  unsupported_in_source[] = {
    "requestPrincipals", "notRequestPrincipals", NULL
};

static const char *const  unsupported_in_operation[] = { NULL };


/* The alternatives of one list, or NULL when it is absent: then *found stays. */
static authz_node_t *
read_values(const authz_reader_t *reader, cn_doc_t *parent, const char *key, const char *field,
    authz_value_fn make, bool *found)
{
    cn_read_t     *read = reader->read;
    cn_doc_t      *list = cn_read_sequence(read, parent, key, field);
    authz_node_t  *any;
    size_t         index = 0;

    if (list == NULL) {
        return NULL;
    }

    *found = true;
    any = cn_authz_read_node(reader, CN_AUTHZ_OR, list->line);

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

        cn_authz_read_child(reader, any, make(reader, value, item, path));
    }

    return cn_authz_simplify(any);
}


/* One condition: its values, and the values that it must not have.  False: it has neither. */
static bool
read_condition(const authz_reader_t *reader, cn_doc_t *node, const char *field,
    const authz_condition_t *condition, authz_node_t *all)
{
    bool           found = false;
    bool           found_not = false;
    authz_node_t  *is = read_values(reader, node, condition->name, field, condition->make, &found);
    authz_node_t  *is_not = read_values(reader, node, condition->not_name, field, condition->make,
                                        &found_not);

    if (found) {
        cn_authz_read_child(reader, all, is);
    }

    if (found_not) {
        authz_node_t  *negation = cn_authz_read_node(reader, CN_AUTHZ_NOT,
                                           is_not == NULL ? node->line : is_not->line);

        cn_authz_read_child(reader, negation, is_not);
        cn_authz_read_child(reader, all, negation);
    }

    return found || found_not;
}


/* What all alternatives of a rule have in common: its `when`. */
static void
add_when(const authz_reader_t *reader, authz_node_t *all, const authz_node_t *when)
{
    if (all == NULL || when == NULL) {
        return;
    }

    CN_ARRAY_EACH(&when->children, const authz_node_ref_t, child) {
        cn_authz_read_child(reader, all, *child);
    }
}


/* One source or operation: all of its conditions, and the rule's. */
static authz_node_t *
read_conditions(const authz_reader_t *reader, cn_doc_t *node, const char *field, const side_t *side)
{
    cn_read_t     *read = reader->read;
    authz_node_t  *all = cn_authz_read_node(reader, CN_AUTHZ_AND, node->line);
    bool           any = false;

    cn_read_unsupported(read, node, field, side->unsupported);

    for (size_t i = 0; side->conditions[i].name != NULL; i++) {
        any |= read_condition(reader, node, field, &side->conditions[i], all);
    }

    if (!any && read->errors == 0) {
        cn_read_error(read, node, field, "has no condition");
    }

    add_when(reader, all, side->when);

    return cn_authz_simplify(all);
}


/* from[] or to[]: the alternatives, each with the rule's `when`, or NULL: any. */
static authz_node_t *
read_alternatives(const authz_reader_t *reader, cn_doc_t *rule, const char *field,
    const side_t *side)
{
    cn_read_t     *read = reader->read;
    cn_doc_t      *list = cn_read_sequence(read, rule, side->list_name, field);
    authz_node_t  *any = cn_authz_read_node(reader, CN_AUTHZ_OR, list == NULL ? rule->line
                                            : list->line);
    size_t         index = 0;

    if (list != NULL && list->count == 0) {
        cn_read_error(read, list, cn_read_path(read, "%s.%s", field, side->list_name), "is empty");
    }

    if (list == NULL) {
        authz_node_t  *all = cn_authz_read_node(reader, CN_AUTHZ_AND, rule->line);

        add_when(reader, all, side->when);
        cn_authz_read_child(reader, any, cn_authz_simplify(all));
    }

    CN_DOC_EACH(list, item) {
        const char  *path = cn_read_path(read, "%s.%s[%zu]", field, side->list_name, index++);
        const char  *inner = cn_read_path(read, "%s.%s", path, side->item_name);
        cn_doc_t    *node;

        if (!cn_read_is_mapping(read, item, path)) {
            continue;
        }

        node = cn_read_mapping(read, item, side->item_name, path);

        if (node == NULL) {
            cn_read_error(read, item, inner, "is missing");
            continue;
        }

        cn_authz_read_child(reader, any, read_conditions(reader, node, inner, side));
    }

    return cn_authz_simplify(any);
}


/* ---- when ------------------------------------------------------------------------------------ */


/* The attribute that key names; NULL: reported. */
static const authz_attribute_t *
attribute_of(authz_reader_t *reader, cn_bytes_t key, const cn_doc_t *node, const char *field)
{
    const authz_attribute_t  *attribute = cn_authz_attribute(reader, key);
    bool                known = cn_bytes_starts_with(key, CN_BYTES("request.auth."))
        || cn_bytes_starts_with(key, CN_BYTES("experimental."));

    if (attribute == NULL) {
        cn_read_error(reader->read, node, field,
                      known ? "the attribute \"%.*s\" is not implemented"
                      : "\"%.*s\" is no attribute (a header is request.headers[NAME])",
                      CN_BYTES_ARG(key));
    }

    return attribute;
}


/* One entry of `when`, into the side of the rule that it belongs to. */
static void
read_when_entry(authz_reader_t *reader, cn_doc_t *node, const char *field, authz_node_t *principals,
    authz_node_t *permissions)
{
    cn_read_t          *read = reader->read;
    const authz_attribute_t  *attribute;
    authz_condition_t         condition = { .name = "values", .not_name = "notValues" };
    cn_bytes_t          key;

    if (!cn_read_is_mapping(read, node, field)
        || !cn_read_need_string(read, node, "key", field, &key))
    {
        return;
    }

    attribute = attribute_of(reader, key, cn_doc_get(node, "key"),
                             cn_read_path(read, "%s.key", field));

    if (attribute == NULL) {
        cn_doc_use_all(node);
        return;
    }

    condition.make = attribute->make;

    if (!read_condition(reader, node, field, &condition,
                        attribute->of_permission ? permissions : principals))
    {
        cn_read_error(read, node, field, "has neither values nor notValues");
    }
}


static void
read_when(authz_reader_t *reader, cn_doc_t *rule, const char *field, authz_node_t *principals,
    authz_node_t *permissions)
{
    cn_doc_t  *list = cn_read_sequence(reader->read, rule, "when", field);
    size_t     index = 0;

    CN_DOC_EACH(list, item) {
        read_when_entry(reader, item, cn_read_path(reader->read, "%s.when[%zu]", field, index++),
                        principals, permissions);
    }
}


/* ---- the resource ---------------------------------------------------------------------------- */


static cn_bytes_t
policy_name(const authz_reader_t *reader)
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
add_policy(const authz_reader_t *reader, authz_resource_t *out, const cn_doc_t *node,
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
read_rule(authz_reader_t *reader, cn_doc_t *node, const char *field, authz_resource_t *out)
{
    side_t  from = {
        .list_name = "from", .item_name = "source",
        .conditions = cn_authz_source_conditions,
        .unsupported = unsupported_in_source,
    };
    side_t  to = {
        .list_name = "to", .item_name = "operation",
        .conditions = cn_authz_operation_conditions,
        .unsupported = unsupported_in_operation,
    };
    authz_node_t  *who = cn_authz_read_node(reader, CN_AUTHZ_AND, node->line);
    authz_node_t  *what = cn_authz_read_node(reader, CN_AUTHZ_AND, node->line);

    if (who == NULL || what == NULL) {
        return;
    }

    read_when(reader, node, field, who, what);
    from.when = who;
    to.when = what;
    who = read_alternatives(reader, node, field, &from);
    what = read_alternatives(reader, node, field, &to);
    add_policy(reader, out, node, what, who);
}


static void
read_rules(authz_reader_t *reader, cn_doc_t *spec, authz_resource_t *out)
{
    cn_read_t  *read = reader->read;
    cn_doc_t   *rules = cn_read_sequence(read, spec, "rules", "spec");

    CN_DOC_EACH(rules, item) {
        const char  *field = cn_read_path(read, "spec.rules[%zu]", reader->rule);

        if (!cn_read_is_mapping(read, item, field)) {
            continue;
        }

        read_rule(reader, item, field, out);
        reader->rule++;
    }

    /* no rule: istiod has one that never applies, so that ALLOW denies all */
    if ((rules == NULL || rules->count == 0) && read->errors == 0) {
        add_policy(reader, out, reader->resource->root,
                   cn_authz_read_node(reader, CN_AUTHZ_OR, reader->resource->root->line),
                   cn_authz_read_node(reader, CN_AUTHZ_OR, reader->resource->root->line));
    }
}


static void
read_action(const authz_reader_t *reader, cn_doc_t *spec, authz_resource_t *out)
{
    static const char *const  unsupported[] = { "provider", NULL };
    cn_read_t                *read = reader->read;
    cn_bytes_t                action = CN_BYTES("ALLOW");

    out->action = CN_AUTHZ_ALLOW;
    (void) cn_read_string(read, spec, "action", "spec", &action);
    cn_read_unsupported(read, spec, "spec", unsupported);

    if (cn_bytes_equal(action, CN_BYTES("DENY"))) {
        out->action = CN_AUTHZ_DENY;

    } else if (cn_bytes_equal(action, CN_BYTES("AUDIT"))) {
        out->observes = true;

    } else if (cn_bytes_equal(action, CN_BYTES("CUSTOM"))) {
        cn_read_error(read, cn_doc_get(spec, "action"), "spec.action", "CUSTOM is not implemented");

    } else if (!cn_bytes_equal(action, CN_BYTES("ALLOW"))) {
        cn_read_error(read, cn_doc_get(spec, "action"), "spec.action",
                      "\"%.*s\" is no action: expected ALLOW, DENY or AUDIT",
                      CN_BYTES_ARG(action));
    }
}


typedef struct { const char *group; const char *kind; } target_kind_t;

static const target_kind_t  target_kinds[AUTHZ_TARGET_KIND_COUNT] = {
    [AUTHZ_GATEWAY] = { "gateway.networking.k8s.io", "Gateway" },
    [AUTHZ_GATEWAY_CLASS] = { "gateway.networking.k8s.io", "GatewayClass" },
    [AUTHZ_SERVICE] = { "", "Service" },
    [AUTHZ_SERVICE_ENTRY] = { "networking.istio.io", "ServiceEntry" },
};


/* AUTHZ_TARGET_KIND_COUNT: none of ours. */
static authz_target_kind_t
target_kind(cn_bytes_t group, cn_bytes_t kind)
{
    if (cn_bytes_equal(group, CN_BYTES("core"))) {
        group = CN_BYTES_NONE;
    }

    for (int i = 0; i < AUTHZ_TARGET_KIND_COUNT; i++) {
        if (cn_bytes_equal(group, cn_bytes_str(target_kinds[i].group))
            && cn_bytes_equal(kind, cn_bytes_str(target_kinds[i].kind)))
        {
            return (authz_target_kind_t) i;
        }
    }

    return AUTHZ_TARGET_KIND_COUNT;
}


static void
add_target(const authz_reader_t *reader, cn_doc_t *node, const char *field, authz_target_t target,
    authz_resource_t *out)
{
    cn_read_t       *read = reader->read;
    const char      *kind = target_kinds[target.kind].kind;
    cn_bytes_t       name_space = reader->resource->name_space;
    authz_target_t  *slot;

    if (target.kind != AUTHZ_GATEWAY_CLASS && read->has != NULL
        && !read->has(read, kind, name_space, target.name))
    {
        cn_read_error(read, cn_doc_get(node, "name"), cn_read_path(read, "%s.name", field),
                      "there is no %s %.*s/%.*s", kind, CN_BYTES_ARG(name_space),
                      CN_BYTES_ARG(target.name));
        return;
    }

    slot = cn_array_add(&out->targets);

    if (slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    *slot = target;
}


/* A policy for a whole class of waypoints is the mesh's: it stands in the root namespace. */
static bool
class_ok(const authz_reader_t *reader, cn_doc_t *node, const char *field, cn_bytes_t name)
{
    cn_read_t   *read = reader->read;
    cn_bytes_t   root = read->model->root_namespace;

    if (!cn_bytes_equal(reader->resource->name_space, root)) {
        cn_read_error(read, cn_doc_get(node, "kind"), cn_read_path(read, "%s.kind", field),
                      "a GatewayClass is a target in the root namespace %.*s only",
                      CN_BYTES_ARG(root));
        return false;
    }

    if (!cn_bytes_equal(name, CN_BYTES("istio-waypoint"))) {
        cn_read_error(read, cn_doc_get(node, "name"), cn_read_path(read, "%s.name", field),
                      "\"%.*s\" is no class of waypoints: expected istio-waypoint",
                      CN_BYTES_ARG(name));
        return false;
    }

    return true;
}


static void
read_target(const authz_reader_t *reader, cn_doc_t *node, const char *field, authz_resource_t *out)
{
    cn_read_t       *read = reader->read;
    cn_bytes_t       group = CN_BYTES_NONE;
    cn_bytes_t       kind = CN_BYTES_NONE;
    cn_bytes_t       name_space = reader->resource->name_space;
    authz_target_t   target;

    if (!cn_read_is_mapping(read, node, field)
        || !cn_read_need_string(read, node, "kind", field, &kind)
        || !cn_read_need_string(read, node, "name", field, &target.name))
    {
        return;
    }

    (void) cn_read_string(read, node, "group", field, &group);
    (void) cn_read_string(read, node, "namespace", field, &name_space);
    target.kind = target_kind(group, kind);

    if (target.kind == AUTHZ_TARGET_KIND_COUNT) {
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

    if (target.kind != AUTHZ_GATEWAY_CLASS || class_ok(reader, node, field, target.name)) {
        add_target(reader, node, field, target, out);
    }
}


static void
read_targets(const authz_reader_t *reader, cn_doc_t *spec, authz_resource_t *out)
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
    authz_reader_t                  reader = { .read = read, .resource = resource };
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
        out->observes = true;
        cn_read_warn(read, cn_doc_get(annotations, "istio.io/dry-run"), "metadata.annotations",
                     "a dry run decides nothing, and what it would decide is not counted");
    }

    cn_read_ignore(resource->root, ignored);
    cn_read_finish(read, resource->spec, "spec", true);
    cn_doc_use_all(resource->spec);
    cn_read_finish(read, resource->root, "", false);

    return read->errors == 0 ? CN_OK : CN_ERR_UNSUPPORTED;
}
