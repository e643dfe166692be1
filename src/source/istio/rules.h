/* SPDX-License-Identifier: Apache-2.0 */

/* rules - what VirtualService and HTTPRoute have in common while they are read. */

#ifndef CN_SOURCE_ISTIO_RULES_H
#define CN_SOURCE_ISTIO_RULES_H

#include "source/istio/istio.h"

/* Each with its defaults; node is where it stands.  A set: NULL: memory, reported. */
void cn_rule_init(cn_rule_t *rule, cn_read_t *read, const cn_doc_t *node);
void cn_rule_match_init(cn_rule_match_t *match, cn_read_t *read, const cn_doc_t *node);
void cn_rule_destination_init(cn_rule_destination_t *destination, cn_read_t *read);
cn_rule_set_t *cn_rule_set_new(cn_read_t *read, const cn_resource_t *resource);

/* Copies item to the end of array; memory is reported. */
void cn_rule_add(cn_read_t *read, cn_array_t *array, const void *item);

/* One more service whose traffic the set routes; port 0: all of it. */
void cn_rule_set_serve(cn_read_t *read, cn_rule_set_t *set, cn_kube_service_t *service,
    uint16_t port);

/* Whether a header may have this name, a pseudo header's included; if not, reported. */
bool cn_rule_check_name(cn_read_t *read, const cn_doc_t *node, const char *field, cn_bytes_t name);

/* A header or query match; the name in lower case when it is a header's. */
void cn_rule_add_match(cn_read_t *read, cn_array_t *matches, cn_bytes_t name, bool lower,
    const cn_string_match_t *value);

/* Octets in lower case, in the model's pool. */
cn_bytes_t cn_rule_lower(cn_read_t *read, cn_bytes_t bytes);

int cn_rule_compare_names(const void *a, const void *b);        /* of cn_header_match_t */

/*
 * What a module makes of a field or filter of its own; header operations go to ops.  False: no
 * module claims it.
 */
bool cn_rule_module_field(cn_istio_t *istio, cn_read_t *read, const char *name, bool is_filter,
    cn_doc_t *node,
    const char *field, cn_array_t *filters, cn_array_t *ops);

/*
 * `redirect`, `rewrite` and `directResponse` of a VirtualService's http[], RequestRedirect and
 * URLRewrite of a rule's filters; what is wrong is reported.  (actions.c)
 */
void cn_rule_read_redirect(cn_read_t *read, cn_doc_t *parent, const char *parent_field,
    cn_rule_actions_t *actions);
void cn_rule_read_rewrite(cn_read_t *read, cn_doc_t *parent, const char *parent_field,
    cn_rule_actions_t *actions);
void cn_rule_read_direct(cn_read_t *read, cn_doc_t *parent, const char *parent_field,
    cn_rule_t *rule);
void cn_rule_read_request_redirect(cn_read_t *read, cn_doc_t *filter, const char *filter_field,
    cn_rule_actions_t *actions);
void cn_rule_read_url_rewrite(cn_read_t *read, cn_doc_t *filter, const char *filter_field,
    cn_rule_actions_t *actions);

/* Whether host may be an authority; if not, reported. */
bool cn_rule_check_host(cn_read_t *read, const cn_doc_t *node, const char *field,
    cn_bytes_t host);

/* What a rule does, on the route of one of its matches (route->path is set) on a port. */
cn_status_t cn_rule_set_actions(const cn_rule_t *rule, uint16_t port, cn_pool_t *pool,
    cn_route_t *route) CN_MUST_USE;

/* Takes a set of ":authority" out of ops: the last one's value, none when there is none. */
cn_bytes_t cn_rule_take_authority(cn_array_t *ops);

/* Sorts sets by age, then name and namespace: the older wins. */
int cn_rule_set_compare(const void *a, const void *b);

#endif
