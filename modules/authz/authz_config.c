/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authz_config - which policies stand in which chain: those that target the waypoint's Gateway, and those that target
 * the chain's Service; in two filters, first DENY, then ALLOW.  A broken policy is a DENY of everything where it might apply.
 */

#include "authz/authz_config.h"


static bool
targets(const cn_chain_question_t *question, const cn_model_t *model, size_t i)
{
    const cn_resource_t     *resource = question->resources[i];
    const authz_resource_t  *parsed = question->parsed[i];
    bool                     of_service = cn_bytes_equal(resource->name_space, question->service->name_space);
    bool                     of_gateway = cn_bytes_equal(resource->name_space, model->name_space);

    if (parsed == NULL || !parsed->targets_known) {
        return of_service || of_gateway;    /* nobody knows: all that it could mean */
    }

    CN_ARRAY_EACH(&parsed->targets, const authz_target_t, target) {
        cn_bytes_t  name = target->is_gateway ? model->waypoint : question->service->name;

        if ((target->is_gateway ? of_gateway : of_service) && cn_bytes_equal(target->name, name)) {
            return true;
        }
    }

    return false;
}


static cn_status_t
add_policy(authz_config_t *config, const authz_policy_t *policy)
{
    authz_policy_t  *slot = cn_array_add(&config->policies);

    if (slot == NULL) {
        return CN_ERR_MEMORY;
    }

    *slot = *policy;

    return CN_OK;
}


static cn_status_t
deny_all(cn_pool_t *pool, const cn_resource_t *resource, authz_config_t *config)
{
    char            *name = cn_pool_printf(pool, "ns[%.*s]-policy[%.*s]-broken", CN_BYTES_ARG(resource->name_space),
                                           CN_BYTES_ARG(resource->name));
    authz_policy_t   policy = {
        .name = cn_bytes_str(name),
        .origin = { .file = resource->root->file, .line = resource->root->line, .resource = resource->label },
    };

    return name == NULL ? CN_ERR_MEMORY : add_policy(config, &policy);
}


/* On TCP there is no request: an ALLOW that asks for one never applies, a DENY applies whatever it would be. */
static cn_status_t
add_for_tcp(cn_pool_t *pool, const authz_policy_t *policy, authz_config_t *config)
{
    authz_policy_t  made = *policy;
    cn_status_t     status = CN_OK;
    bool            asks = policy->permissions != NULL && (policy->permissions->needs & CN_AUTHZ_NEEDS_REQUEST) != 0;

    if (asks && config->action == CN_AUTHZ_ALLOW) {
        return CN_OK;
    }

    if (asks) {
        made.permissions = cn_authz_without_request(policy->permissions, pool, &status);
    }

    return status == CN_OK ? add_policy(config, &made) : status;
}


static cn_status_t
add_resource(cn_pool_t *pool, const cn_chain_question_t *question, const authz_resource_t *parsed, authz_config_t *config)
{
    CN_ARRAY_EACH(&parsed->policies, const authz_policy_t, policy) {
        cn_status_t  status = question->chain->protocol == CN_PROTOCOL_TCP ? add_for_tcp(pool, policy, config)
                                                                           : add_policy(config, policy);

        if (status != CN_OK) {
            return status;
        }
    }

    return CN_OK;
}


static int
compare_policies(const void *a, const void *b)
{
    return cn_bytes_compare(((const authz_policy_t *) a)->name, ((const authz_policy_t *) b)->name);
}


/* The filter of one action; *config NULL: no policy of that action is for this chain. */
static cn_status_t
make_filter(cn_read_t *read, const cn_chain_question_t *question, cn_authz_action_t action, authz_config_t **config)
{
    authz_config_t  *made = cn_pool_alloc_zero(read->pool, sizeof(*made));
    bool             any = false;

    if (made == NULL) {
        return CN_ERR_MEMORY;
    }

    made->action = action;
    made->policies = CN_ARRAY_INIT(read->pool, authz_policy_t);

    for (size_t i = 0; i < question->resource_count; i++) {
        const authz_resource_t  *parsed = question->parsed[i];
        bool                     broken = question->broken[i];
        cn_status_t              status;

        if ((broken ? CN_AUTHZ_DENY : parsed->action) != action || !targets(question, read->model, i)) {
            continue;
        }

        any = true;
        status = broken ? deny_all(read->pool, question->resources[i], made) : add_resource(read->pool, question, parsed, made);

        if (status != CN_OK) {
            return status;
        }
    }

    if (cn_array_sort(&made->policies, compare_policies) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    *config = any ? made : NULL;

    return CN_OK;
}


static cn_status_t
read_chain(cn_read_t *read, const cn_chain_question_t *question, void **config)
{
    static const cn_authz_action_t  order[] = { CN_AUTHZ_DENY, CN_AUTHZ_ALLOW };
    size_t                          ordinal = 0;

    for (size_t i = 0; i < CN_COUNT_OF(order); i++) {
        authz_config_t  *made = NULL;
        cn_status_t      status = make_filter(read, question, order[i], &made);

        if (status != CN_OK) {
            return status;
        }

        if (made != NULL && ordinal++ == question->ordinal) {
            *config = made;
            return CN_OK;
        }
    }

    return CN_OK;
}


static const char *const  authz_versions[] = { "v1", "v1beta1", NULL };

static const cn_kind_t  authz_kinds[] = {
    { .group = "security.istio.io", .versions = authz_versions, .kind = "AuthorizationPolicy" },
    { .kind = NULL }
};


const cn_module_config_t  cn_authz_module_config = {
    .name = "authz",
    .filter_name = "envoy.filters.http.rbac",
    .kinds = authz_kinds,
    .read_resource = cn_authz_read_resource,
    .read_chain = read_chain,
    .print = cn_authz_print,
    .pack = cn_authz_pack,
};
