/* SPDX-License-Identifier: Apache-2.0 */

/* rules - what VirtualService and HTTPRoute have in common while they are read. */

#include "source/istio/rules.h"


void
cn_rule_init(cn_rule_t *rule, cn_read_t *read, const cn_doc_t *node)
{
    *rule = (cn_rule_t) {
        .matches = CN_ARRAY_INIT(read->pool, cn_rule_match_t),
        .destinations = CN_ARRAY_INIT(read->pool, cn_rule_destination_t),
        .header_ops = CN_ARRAY_INIT(read->pool, cn_header_op_t),
        .filters = CN_ARRAY_INIT(read->pool, cn_filter_config_t),
        .no_cluster_status = 503,
        .origin = cn_istio_origin(read, node),
    };
}


void
cn_rule_match_init(cn_rule_match_t *match, cn_read_t *read, const cn_doc_t *node)
{
    *match = (cn_rule_match_t) {
        .path_kind = CN_PATH_MATCH_PREFIX,
        .path = CN_BYTES("/"),
        .headers = CN_ARRAY_INIT(read->pool, cn_header_match_t),
        .query = CN_ARRAY_INIT(read->pool, cn_header_match_t),
        .line = node->line,
        .file = node->file,
    };
}


void
cn_rule_destination_init(cn_rule_destination_t *destination, cn_read_t *read)
{
    *destination = (cn_rule_destination_t) {
        .weight = 1,
        .header_ops = CN_ARRAY_INIT(read->pool, cn_header_op_t),
        .filters = CN_ARRAY_INIT(read->pool, cn_filter_config_t),
    };
}


cn_rule_set_t *
cn_rule_set_new(cn_read_t *read, const cn_resource_t *resource)
{
    cn_rule_set_t  *set = cn_istio_new(read, sizeof(*set));

    if (set != NULL) {
        *set = (cn_rule_set_t) {
            .name = resource->name,
            .name_space = resource->name_space,
            .created = resource->created,
            .services = CN_ARRAY_INIT(read->pool, cn_service_ref_t),
            .ports = CN_ARRAY_INIT(read->pool, uint16_t),
            .rules = CN_ARRAY_INIT(read->pool, cn_rule_t),
        };
    }

    return set;
}


void
cn_rule_add(cn_read_t *read, cn_array_t *array, const void *item)
{
    void  *slot = cn_array_add(array);

    if (slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    memcpy(slot, item, array->item_size);
}


void
cn_rule_set_serve(cn_read_t *read, cn_rule_set_t *set, cn_kube_service_t *service, uint16_t port)
{
    for (size_t i = 0; i < set->services.count; i++) {
        if (*CN_ARRAY_AT(&set->services, cn_service_ref_t, i) == service
            && *CN_ARRAY_AT(&set->ports, uint16_t, i) == port) {
            return;
        }
    }

    cn_rule_add(read, &set->services, &service);
    cn_rule_add(read, &set->ports, &port);
}


cn_bytes_t
cn_rule_lower(cn_read_t *read, cn_bytes_t bytes)
{
    cn_bytes_t  lower = cn_istio_lower(read->pool, bytes);

    if (lower.ptr == NULL && bytes.len > 0) {
        cn_read_no_memory(read);
    }

    return lower;
}


/* RFC 9110 5.6.2. */
static bool
is_token(cn_bytes_t name)
{
    static const char  others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < name.len; i++) {
        uint8_t  octet = cn_lower(name.ptr[i]);

        if ((octet < 'a' || octet > 'z') && (octet < '0' || octet > '9')
            && (octet == '\0' || strchr(others, octet) == NULL))
        {
            return false;
        }
    }

    return name.len > 0;
}


bool
cn_rule_check_name(cn_read_t *read, const cn_doc_t *node, const char *field, cn_bytes_t name)
{
    cn_bytes_t  bare = name.len > 0 && name.ptr[0] == ':' ? cn_bytes_from(name, 1) : name;

    if (cn_bytes_starts_with(name, CN_BYTES("@request.auth."))) {
        cn_read_error(read, node, field, "a match of a token's claims is not implemented");
        return false;
    }

    if (!is_token(bare)) {
        cn_read_error(read, node, field, "is no name of a header");
        return false;
    }

    return true;
}


void
cn_rule_add_match(cn_read_t *read, cn_array_t *matches, cn_bytes_t name, bool lower,
    const cn_string_match_t *value)
{
    cn_header_match_t  match = {
        .name = lower ? cn_rule_lower(read, name) : name,
        .present_only = value->kind == CN_STRING_ANY,
        .value = *value,
    };

    cn_rule_add(read, matches, &match);
}


int
cn_rule_compare_names(const void *a, const void *b)
{
    const cn_header_match_t  *left = a;
    const cn_header_match_t  *right = b;

    return cn_bytes_compare(left->name, right->name);
}


static bool
claims(const char *const *names, const char *name)
{
    for (; names != NULL && *names != NULL; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
    }

    return false;
}


static void
set_filter(cn_read_t *read, cn_array_t *filters, const cn_module_config_t *module, void *config)
{
    cn_filter_config_t  filter = { .module = module, .name = cn_bytes_str(module->filter_name),
        .config = config };

    CN_ARRAY_EACH(filters, cn_filter_config_t, known) {
        if (known->module == module) {
            known->config = config;         /* extended */
            return;
        }
    }

    cn_rule_add(read, filters, &filter);
}


bool
cn_rule_module_field(cn_istio_t *istio, cn_read_t *read, const char *name, bool is_filter,
    cn_doc_t *node,
    const char *field, cn_array_t *filters, cn_array_t *ops)
{
    for (const cn_module_config_t *const *slot = istio->config->modules; *slot != NULL; slot++) {
        const cn_module_config_t  *module = *slot;
        void                      *config = NULL;
        cn_status_t                status;
        size_t                     errors = read->errors;

        if (!claims(is_filter ? module->route_filters : module->route_fields, name)) {
            continue;
        }

        CN_ARRAY_EACH(filters, cn_filter_config_t, known) {
            config = known->module == module ? known->config : config;
        }

        read->header_ops = ops;
        status = module->read_route(read, name, node, field, &config);
        read->header_ops = NULL;

        if (status != CN_OK && read->errors == errors) {
            cn_read_error(read, node, field, "cannot be read: %s", cn_status_name(status));
        }

        if (config != NULL) {
            set_filter(read, filters, module, config);
        }

        return true;
    }

    return false;
}


cn_bytes_t
cn_rule_take_authority(cn_array_t *ops)
{
    cn_header_op_t  *items = ops->items;
    cn_bytes_t       host = CN_BYTES_NONE;
    size_t           kept = 0;

    for (size_t i = 0; i < ops->count; i++) {
        if (cn_bytes_equal(items[i].name, CN_BYTES(":authority"))) {
            host = items[i].value;

        } else {
            items[kept++] = items[i];
        }
    }

    ops->count = kept;
    return host;
}


int
cn_rule_set_compare(const void *a, const void *b)
{
    const cn_rule_set_t  *left = *(const cn_rule_set_ref_t *) a;
    const cn_rule_set_t  *right = *(const cn_rule_set_ref_t *) b;
    int                   order;

    if (left->created != right->created) {
        return left->created < right->created ? -1 : 1;
    }

    order = cn_bytes_compare(left->name, right->name);

    return order != 0 ? order : cn_bytes_compare(left->name_space, right->name_space);
}
