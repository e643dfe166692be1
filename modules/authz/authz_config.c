/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authz_config - which policies stand in which chain: those that target the waypoint's Gateway or
 * its class, and those that target the chain's Service or ServiceEntry; in two filters, first DENY,
 * then ALLOW.  A broken policy is a DENY of everything where it might apply.
 */

#include "authz/authz_claims.h"
#include "authz/authz_config.h"

#include "base/map.h"

/* Which resources may apply where, so that a chain does not look at all of them. */
typedef struct {
    /* "kind namespace/name" -> cn_array_t of size_t: positions among the resources */
    cn_map_t    *by_target;
    /* size_t: of the Gateway, and those whose targets nobody knows */
    cn_array_t   everywhere;
} memo_t;


static bool
applies_everywhere(const cn_chain_question_t *question, const cn_model_t *model, size_t i)
{
    const cn_resource_t     *resource = question->resources[i];
    const authz_resource_t  *parsed = question->parsed[i];

    if (parsed == NULL || !parsed->targets_known) {
        return true;
    }

    CN_ARRAY_EACH(&parsed->targets, const authz_target_t, target) {
        if (target->kind == AUTHZ_GATEWAY_CLASS
            || (target->kind == AUTHZ_GATEWAY && cn_bytes_equal(target->name, model->waypoint)
                && cn_bytes_equal(resource->name_space, model->name_space)))
        {
            return true;
        }
    }

    return false;
}


/* Of those of `everywhere`: one with unknown targets is for what it could mean. */
static bool
may_apply(const cn_chain_question_t *question, const cn_model_t *model, size_t i)
{
    const authz_resource_t  *parsed = question->parsed[i];
    cn_bytes_t               name_space = question->resources[i]->name_space;

    return (parsed != NULL && parsed->targets_known)
        || cn_bytes_equal(name_space, question->service->name_space)
        || cn_bytes_equal(name_space, model->name_space)
        || cn_bytes_equal(name_space, model->root_namespace);
}


static cn_status_t
add_position(cn_array_t *list, size_t i)
{
    size_t  *slot;

    if (list->count > 0 && *CN_ARRAY_AT(list, size_t, list->count - 1) == i) {
        return CN_OK;                   /* it names the service twice */
    }

    slot = cn_array_add(list);

    if (slot == NULL) {
        return CN_ERR_MEMORY;
    }

    *slot = i;

    return CN_OK;
}


/* The policies for a target, made when it is new; NULL: memory. */
static cn_array_t *
target_list(cn_pool_t *pool, const memo_t *memo, cn_bytes_t name_space,
    const authz_target_t *target)
{
    char        *key = cn_pool_printf(pool, "%d %.*s/%.*s", (int) target->kind,
                                      CN_BYTES_ARG(name_space), CN_BYTES_ARG(target->name));
    cn_array_t  *list = key == NULL ? NULL : cn_map_get(memo->by_target, cn_bytes_str(key));

    if (list != NULL || key == NULL) {
        return list;
    }

    list = cn_pool_alloc(pool, sizeof(*list));

    if (list == NULL || cn_map_set(memo->by_target, cn_bytes_str(key), list) != CN_OK) {
        return NULL;
    }

    *list = CN_ARRAY_INIT(pool, size_t);

    return list;
}


static cn_status_t
memo_add(cn_read_t *read, const cn_chain_question_t *question, memo_t *memo, size_t i)
{
    const authz_resource_t  *parsed = question->parsed[i];

    if (applies_everywhere(question, read->model, i)) {
        return add_position(&memo->everywhere, i);
    }

    CN_ARRAY_EACH(&parsed->targets, const authz_target_t, target) {
        cn_array_t  *list;

        if (target->kind == AUTHZ_GATEWAY) {
            continue;                   /* another waypoint's */
        }

        list = target_list(read->pool, memo, question->resources[i]->name_space, target);

        if (list == NULL || add_position(list, i) != CN_OK) {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


static const memo_t *
get_memo(cn_read_t *read, const cn_chain_question_t *question)
{
    memo_t  *memo = *question->memo;

    if (memo != NULL) {
        return memo;
    }

    memo = cn_pool_alloc(read->pool, sizeof(*memo));

    if (memo == NULL) {
        return NULL;
    }

    memo->by_target = cn_map_create_in(read->pool);
    memo->everywhere = CN_ARRAY_INIT(read->pool, size_t);

    for (size_t i = 0; memo->by_target != NULL && i < question->resource_count; i++) {
        if (memo_add(read, question, memo, i) != CN_OK) {
            return NULL;
        }
    }

    *question->memo = memo;

    return memo->by_target == NULL ? NULL : memo;
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
    char            *name = cn_pool_printf(pool, "ns[%.*s]-policy[%.*s]-broken",
                                           CN_BYTES_ARG(resource->name_space),
                                           CN_BYTES_ARG(resource->name));
    authz_policy_t   policy = {
        .name = cn_bytes_str(name),
        .origin = { .file = resource->root->file, .line = resource->root->line,
            .resource = resource->label },
    };

    return name == NULL ? CN_ERR_MEMORY : add_policy(config, &policy);
}


/*
 * On TCP there is no request: an ALLOW that asks for one never applies, a DENY applies whatever it
 * would be.
 */
static cn_status_t
add_for_tcp(cn_pool_t *pool, const authz_policy_t *policy, authz_config_t *config)
{
    authz_policy_t  made = *policy;
    cn_status_t     status = CN_OK;
    uint8_t         needs = (policy->permissions == NULL ? 0 : policy->permissions->needs)
        | (policy->principals == NULL ? 0 : policy->principals->needs);

    if ((needs & CN_AUTHZ_NEEDS_REQUEST) == 0) {
        return add_policy(config, policy);
    }

    if (config->action == CN_AUTHZ_ALLOW) {
        return CN_OK;
    }

    made.permissions = cn_authz_without_request(policy->permissions, pool, &status);
    made.principals = cn_authz_without_request(policy->principals, pool, &status);

    return status == CN_OK ? add_policy(config, &made) : status;
}


static cn_status_t
add_resource(cn_pool_t *pool, const cn_chain_question_t *question, const authz_resource_t *parsed,
    authz_config_t *config)
{
    CN_ARRAY_EACH(&parsed->policies, const authz_policy_t, policy) {
        bool         tcp = question->chain->protocol == CN_PROTOCOL_TCP;
        cn_status_t  status = tcp ? add_for_tcp(pool, policy, config) : add_policy(config, policy);

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


typedef struct {
    cn_read_t                  *read;
    const cn_chain_question_t  *question;
    authz_config_t             *config;
    bool                        any;    /* a policy of that action is for this chain */
} maker_t;


static cn_status_t
take(maker_t *maker, const cn_array_t *positions)
{
    const cn_chain_question_t  *question = maker->question;
    cn_pool_t                  *pool = maker->read->pool;

    CN_ARRAY_EACH(positions, const size_t, slot) {
        size_t                   i = *slot;
        const authz_resource_t  *parsed = question->parsed[i];
        bool                     broken = question->broken[i];
        cn_status_t              status;

        if ((broken ? CN_AUTHZ_DENY : parsed->action) != maker->config->action
            || (!broken && parsed->observes) || !may_apply(question, maker->read->model, i))
        {
            continue;
        }

        maker->any = true;
        status = broken ? deny_all(pool, question->resources[i], maker->config)
                        : add_resource(pool, question, parsed, maker->config);

        if (status != CN_OK) {
            return status;
        }
    }

    return CN_OK;
}


/* The filter of one action; *config NULL: no policy of that action is for this chain. */
static cn_status_t
make_filter(cn_read_t *read, const cn_chain_question_t *question, cn_authz_action_t action,
    authz_config_t **config)
{
    const cn_service_t  *service = question->service;
    const memo_t        *memo = get_memo(read, question);
    authz_target_t       target = {
        .kind = service->entry.len > 0 ? AUTHZ_SERVICE_ENTRY : AUTHZ_SERVICE,
        .name = service->entry.len > 0 ? service->entry : service->name,
    };
    const cn_array_t    *own = memo == NULL ? NULL
        : target_list(read->pool, memo, service->name_space, &target);
    authz_config_t      *made = cn_pool_alloc_zero(read->pool, sizeof(*made));
    maker_t              maker = { .read = read, .question = question, .config = made };

    if (made == NULL || memo == NULL || own == NULL) {
        return CN_ERR_MEMORY;
    }

    made->action = action;
    made->policies = CN_ARRAY_INIT(read->pool, authz_policy_t);

    if (take(&maker, &memo->everywhere) != CN_OK || take(&maker, own) != CN_OK
        || cn_array_sort(&made->policies, compare_policies) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    *config = maker.any ? made : NULL;

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


const cn_module_config_t  cn_authz_module_config = {
    AUTHZ_CLAIMS,
    .read_resource = cn_authz_read_resource,
    .read_chain = read_chain,
    .read_xds = cn_authz_read_xds,
    .print = cn_authz_print,
    .pack = cn_authz_pack,
};
