/* SPDX-License-Identifier: Apache-2.0 */

/* tree - from addresses and ports to chains: which addresses a service has. */

#include "source/xds/xds.h"

#define IP_MATCHER    CN_XDS_TYPE("xds.type.matcher.v3.IPMatcher")
#define DEPTH_MAX     8                 /* matchers within matchers */

#define INPUT(name)  CN_XDS_TYPE("envoy.extensions.matching.common_inputs.network.v3." name)

/* What a tree may ask for: where a connection goes and what it speaks.  Never: who asks. */
static const char *const  inputs[] = {
    INPUT("DestinationIPInput"), INPUT("DestinationPortInput"), INPUT("ApplicationProtocolInput"),
    INPUT("FilterStateInput"),
};

/* What istiod writes for a service without addresses. */
static const uint8_t  unspecified[][16] = { { 0 }, { [10] = 0xff, [11] = 0xff } };

typedef struct {
    cn_xds_t                     *xds;
    const cn_map_t               *only;
    const cn_map_t               *taken;    /* addresses that services have; NULL: none counts */
    cn_xds_tree_t                *found;
    Cairn__CidrRange *const      *ranges;
    size_t                        range_count;
    unsigned                      depth;
} walk_t;


static void
add_address(cn_xds_t *xds, const uint8_t ip[16], cn_service_t *service)
{
    cn_table_ip_t  *slot;

    CN_ARRAY_EACH(&service->addresses, const cn_table_ip_t, known) {
        if (memcmp(known->ip, ip, 16) == 0) {
            return;
        }
    }

    slot = cn_xds_add(xds, &service->addresses);

    if (slot != NULL) {
        memcpy(slot->ip, ip, 16);
    }
}


static void walk_matcher(walk_t walk, const Cairn__Matcher *matcher);


static void
say_broken(const walk_t *walk)
{
    cn_read_error(&walk->xds->read, NULL, "filter_chain_matcher", "is not implemented");
    walk->found->broken = true;
}


static void
say_broken_for(const walk_t *walk, cn_bytes_t host)
{
    cn_read_error(&walk->xds->read, NULL, "filter_chain_matcher",
                  "a range of addresses is not implemented: %.*s", CN_BYTES_ARG(host));

    if (walk->found->hosts == NULL) {
        walk->found->hosts = cn_map_create_in(walk->xds->pool);
    }

    if (walk->found->hosts == NULL
        || cn_map_set(walk->found->hosts, host, walk->found) != CN_OK)
    {
        cn_read_no_memory(&walk->xds->read);
    }
}


/* Addresses that lead to pods themselves, whatever the port. */
static void
say_partial(const walk_t *walk, cn_bytes_t chain)
{
    if (!walk->found->partial) {
        cn_read_error(&walk->xds->read, NULL, "filter_chain_matcher",
                      "%.*s, which is no service's, is not implemented", CN_BYTES_ARG(chain));
    }

    walk->found->partial = true;
}


/* A leaf: all of the ranges belong to the chain's service. */
static void
walk_action(const walk_t *walk, const Cairn__TypedExtension *action)
{
    cn_xds_t       *xds = walk->xds;
    cn_service_t   *service;
    cn_xds_name_t   name;

    if (!cn_xds_parse_name(cn_decoded(action->name), &name)) {
        say_partial(walk, cn_decoded(action->name));
        return;
    }

    if (walk->only != NULL && cn_map_get(walk->only, name.host) == NULL) {
        return;
    }

    service = cn_xds_service(xds, name.host);

    for (size_t i = 0; service != NULL && i < walk->range_count; i++) {
        const Cairn__CidrRange  *range = walk->ranges[i];
        uint8_t                  ip[16];
        uint32_t                 bits = range->prefix_len != NULL && range->prefix_len->has_value
                                        ? range->prefix_len->value : 0;

        if (!cn_xds_ip(cn_decoded(range->address_prefix), ip)
            || (bits != 32 && bits != 128))
        {
            say_broken_for(walk, name.host);
            return;
        }

        if (memcmp(ip, unspecified[0], 16) == 0 || memcmp(ip, unspecified[1], 16) == 0) {
            continue;
        }

        if (walk->taken == NULL || cn_map_get(walk->taken, cn_bytes(ip, sizeof(ip))) == NULL) {
            add_address(xds, ip, service);
        }
    }
}


static void
walk_on_match(const walk_t *walk, const Cairn__Matcher__OnMatch *on_match)
{
    if (on_match == NULL) {
        return;
    }

    if (on_match->on_match_case == CAIRN__MATCHER__ON_MATCH__ON_MATCH_MATCHER) {
        walk_matcher(*walk, on_match->matcher);

    } else if (on_match->on_match_case == CAIRN__MATCHER__ON_MATCH__ON_MATCH_ACTION) {
        walk_action(walk, on_match->action);
    }
}


static void
walk_ranges(walk_t walk, const Cairn__TypedExtension *custom)
{
    const Cairn__IPMatcher  *matcher;

    if (custom->typed_config == NULL
        || !cn_bytes_equal(cn_decoded(custom->typed_config->type_url), CN_BYTES(IP_MATCHER)))
    {
        say_broken(&walk);
        return;
    }

    matcher = cn_decode(&walk.xds->read, &cairn__ipmatcher__descriptor,
                        cn_decoded(custom->typed_config->value), "filter_chain_matcher");

    walk.found->broken = walk.found->broken || matcher == NULL;

    for (size_t i = 0; matcher != NULL && i < matcher->n_range_matchers; i++) {
        walk.ranges = matcher->range_matchers[i]->ranges;
        walk.range_count = matcher->range_matchers[i]->n_ranges;
        walk_on_match(&walk, matcher->range_matchers[i]->on_match);
    }
}


static bool
is_known_input(const Cairn__TypedExtension *input)
{
    for (size_t i = 0; input != NULL && input->typed_config != NULL && i < CN_COUNT_OF(inputs); i++)
    {
        if (cn_bytes_equal(cn_decoded(input->typed_config->type_url), cn_bytes_str(inputs[i]))) {
            return true;
        }
    }

    return false;
}


static void
walk_matcher(walk_t walk, const Cairn__Matcher *matcher)
{
    const Cairn__Matcher__MatcherTree  *tree;

    if (++walk.depth > DEPTH_MAX
        || matcher->matcher_type_case != CAIRN__MATCHER__MATCHER_TYPE_MATCHER_TREE
        || !is_known_input(matcher->matcher_tree->input))
    {
        say_broken(&walk);
        return;
    }

    tree = matcher->matcher_tree;

    if (tree->tree_type_case == CAIRN__MATCHER__MATCHER_TREE__TREE_TYPE_CUSTOM_MATCH) {
        walk_ranges(walk, tree->custom_match);

    } else if (tree->tree_type_case == CAIRN__MATCHER__MATCHER_TREE__TREE_TYPE_EXACT_MATCH_MAP) {
        for (size_t i = 0; i < tree->exact_match_map->n_map; i++) {
            walk_on_match(&walk, tree->exact_match_map->map[i]->value);
        }
    }

    walk_on_match(&walk, matcher->on_no_match);
}


/* One address leads to one service.  NULL: memory. */
static const cn_map_t *
list_taken(cn_xds_t *xds)
{
    cn_map_t  *taken = cn_map_create_in(xds->pool);

    CN_ARRAY_EACH(&xds->model->services, cn_service_t, service) {
        CN_ARRAY_EACH(&service->addresses, const cn_table_ip_t, address) {
            if (taken != NULL
                && cn_map_set(taken, cn_bytes(address->ip, 16), service) != CN_OK)
            {
                taken = NULL;
            }
        }
    }

    return taken;
}


void
cn_xds_walk_tree(cn_xds_t *xds, const Cairn__Matcher *matcher, const cn_map_t *only,
    cn_xds_tree_t *found)
{
    const cn_map_t  *taken = only == NULL ? NULL : list_taken(xds);

    *found = (cn_xds_tree_t) { .broken = false };

    if (only != NULL && taken == NULL) {
        cn_read_no_memory(&xds->read);

    } else if (matcher != NULL) {
        walk_matcher((walk_t) { .xds = xds, .only = only, .taken = taken, .found = found },
                     matcher);
    }
}
