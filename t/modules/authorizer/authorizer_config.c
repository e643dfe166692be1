/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authorizer - reads the kind that only the tests have:
 *
 *   apiVersion: cairn/v1
 *   kind: TestAuthorizer
 *   spec:
 *     service: reviews.default.svc.cluster.local      whose requests are asked about
 *     cluster: inbound-vip|9080|http|asked.default.svc.cluster.local
 *     timeout: 1s
 *     maxRequestBytes: 65536
 */

#include "authorizer/authorizer_table.h"

#include "model/print.h"
#include "model/read.h"

typedef struct {
    cn_bytes_t  service;
    cn_bytes_t  cluster;
    uint32_t    timeout_ms;
    uint64_t    body_max;
} authorizer_config_t;


static cn_status_t
read_resource(cn_read_t *read, const cn_resource_t *resource, void **parsed)
{
    authorizer_config_t  *config = cn_pool_alloc_zero(read->pool, sizeof(*config));
    cn_doc_t             *spec = resource->spec;

    if (config == NULL) {
        return CN_ERR_MEMORY;
    }

    config->timeout_ms = 1000;
    config->body_max = CN_AUTHORIZER_BODY_MAX;
    *parsed = config;

    if (spec == NULL) {
        cn_read_error(read, resource->root, "spec", "is missing");
        return CN_ERR_SYNTAX;
    }

    (void) cn_read_need_string(read, spec, "service", "spec", &config->service);
    (void) cn_read_need_string(read, spec, "cluster", "spec", &config->cluster);
    (void) cn_read_duration_ms(read, spec, "timeout", "spec", &config->timeout_ms);
    (void) cn_read_u64(read, spec, "maxRequestBytes", "spec", 0, CN_AUTHORIZER_BODY_MAX,
                       &config->body_max);
    cn_read_finish(read, spec, "spec", true);

    if (config->timeout_ms == 0) {
        cn_read_error(read, spec, "spec.timeout", "must be above zero");
    }

    return read->errors == 0 ? CN_OK : CN_ERR_SYNTAX;
}


/* What cannot be read may have been meant for any service: it closes all of them. */
static cn_status_t
read_chain(cn_read_t *read, const cn_chain_question_t *question, void **config)
{
    size_t  found = 0;

    (void) read;

    for (size_t i = 0; i < question->resource_count; i++) {
        const authorizer_config_t  *parsed = question->parsed[i];

        if (question->broken[i] || parsed == NULL) {
            return CN_ERR_SYNTAX;
        }

        if (!cn_bytes_equal(parsed->service, question->service->host)) {
            continue;
        }

        if (question->chain->protocol == CN_PROTOCOL_TCP) {
            return CN_ERR_UNSUPPORTED;
        }

        if (found++ == question->ordinal) {
            *config = question->parsed[i];
            return CN_OK;
        }
    }

    return CN_OK;
}


static json_t *
print(const void *config)
{
    const authorizer_config_t  *authorizer = config;
    json_t                     *object = json_object();

    cn_print_set_bytes(&object, "cluster", authorizer->cluster);
    cn_print_set(&object, "timeout_ms", json_integer(authorizer->timeout_ms));
    cn_print_set(&object, "body_max", json_integer((json_int_t) authorizer->body_max));

    return object;
}


static cn_status_t
pack(const void *config, bool on_route, cn_block_builder_t *builder, uint32_t *at)
{
    const authorizer_config_t  *authorizer = config;
    cn_table_authorizer_t       made = {
        .cluster = cn_pack_cluster(builder, authorizer->cluster),
        .timeout_ms = authorizer->timeout_ms,
        .body_max = (uint32_t) authorizer->body_max,
    };
    void                       *out;

    (void) on_route;
    *at = cn_block_add(builder, 1, sizeof(made), _Alignof(cn_table_authorizer_t));
    out = cn_block_builder_at(builder, *at);

    if (*at == 0 || out == NULL) {
        return CN_ERR_MEMORY;
    }

    memcpy(out, &made, sizeof(made));

    return CN_OK;
}


static const char *const  authorizer_versions[] = { "v1", NULL };

static const cn_kind_t  authorizer_kinds[] = {
    { .group = "cairn", .versions = authorizer_versions, .kind = "TestAuthorizer" },
    { .kind = NULL }
};


const cn_module_config_t  cn_authorizer_module_config = {
    .name = "authorizer",
    .filter_name = "cairn.test.authorizer",
    .kinds = authorizer_kinds,
    .read_resource = read_resource,
    .read_chain = read_chain,
    .print = print,
    .pack = pack,
};
