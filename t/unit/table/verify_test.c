/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever a block refers to is in bounds and of a known kind, or the block is refused with a
 * reason.
 */

#include "table/verify.h"

#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>


/* A copy of exact size, so that ASan sees a read one byte too far. */
static cn_block_t *
finished(cn_block_builder_t *builder)
{
    const cn_block_t  *block;
    cn_block_t        *copy;

    assert_int_equal(cn_block_finish(builder, &block), CN_OK);
    copy = malloc(block->size);
    memcpy(copy, block, block->size);
    cn_block_builder_destroy(builder);

    return copy;
}


static int
setup(void **state)
{
    (void) state;
    cn_table_set_module_verify(sample_module_verify);

    return 0;
}


static void
a_sample_of_each_kind_is_accepted(void **state)
{
    cn_block_builder_t  *builders[] = {
        sample_service(1, 1, "/a"), sample_cluster(2, 2), sample_endpoints(3, 3), sample_workload(4, 4),
        sample_global(5),
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(builders); i++) {
        cn_block_t  *block = finished(builders[i]);
        const char  *what = "";

        assert_int_equal(cn_table_verify(block, &what), CN_OK);
        assert_string_equal(what, "");
        free(block);
    }
}


/* Writable views of a service sample's parts. */
typedef struct {
    cn_table_service_t       *service;
    cn_table_chain_t         *chain;
    cn_table_route_t         *route;
    cn_table_destination_t   *destination;
    cn_table_header_match_t  *header;
    cn_table_header_op_t     *op;
    cn_table_filter_t        *filter;
    cn_table_path_key_t      *exact;
    uint32_t                 *lengths;
    uint32_t                 *scan;
    uint32_t                  size;
} parts_t;

#define PART(block, at)  ((void *) ((uint8_t *) (block) + (at)))

static parts_t
parts_of(cn_block_t *block)
{
    parts_t  parts = { .service = (void *) (block + 1), .size = block->size };

    parts.chain = PART(block, parts.service->chains.at);
    parts.route = PART(block, parts.chain->routes.at);
    parts.filter = PART(block, parts.chain->filters.at);
    parts.destination = PART(block, parts.route->destinations.at);
    parts.header = PART(block, parts.route->headers.at);
    parts.op = PART(block, parts.route->header_ops.at);
    parts.exact = PART(block, parts.chain->index.exact.at);
    parts.lengths = PART(block, parts.chain->index.prefix_lengths.at);
    parts.scan = PART(block, parts.chain->index.scan.at);

    return parts;
}

#define BREAKS(name, statement) \
    static void break_##name(parts_t *parts) { statement; }

BREAKS(host_end, parts->service->host.len = parts->size)
BREAKS(host_none, parts->service->host = ((cn_rel_bytes_t) { 0, 0 }))
BREAKS(file, parts->service->origin.file.at = parts->size + 1)
BREAKS(addresses, parts->service->addresses.count = parts->size / 16)
BREAKS(chains, parts->service->chains.count = 3000)
BREAKS(chains_at, parts->service->chains.at += 4)
BREAKS(protocol, parts->chain->protocol = 4)
BREAKS(path_level, parts->chain->path_level = 4)
BREAKS(refused, parts->chain->refused = 2)
BREAKS(routes, parts->chain->routes.count = UINT32_MAX)
BREAKS(path_kind, parts->route->path_kind = 0)
BREAKS(action, parts->route->action = 9)
BREAKS(direct, (parts->route->action = CN_ACTION_DIRECT_RESPONSE, parts->route->direct_status = 20))
BREAKS(rewrite_kind, parts->route->rewrite.kind = 4)
BREAKS(rewrite_pattern, parts->route->rewrite.pattern.len = parts->size)
BREAKS(rewrite_value, parts->route->rewrite.value.at = 3)
BREAKS(host_rewrite, parts->route->host_rewrite.at = parts->size)
BREAKS(destination_host, parts->destination->host_rewrite.at = parts->size)
BREAKS(redirect_host, parts->route->redirect.host.len = 1u << 30)
BREAKS(redirect_scheme, parts->route->redirect.scheme.at = parts->size - 1)
BREAKS(op_format, parts->op->format = 2)
BREAKS(no_cluster, parts->route->no_cluster_status = 700)
BREAKS(weights, parts->route->total_weight = 101)
BREAKS(retry_on, parts->route->retry.on = 1u << 13)
BREAKS(statuses, parts->route->retry.statuses.at = 41)
BREAKS(path, parts->route->path.at = 1)
BREAKS(destinations, parts->route->destinations.at = 8)
BREAKS(destination_ops, parts->destination->header_ops.count = 70000)
BREAKS(header_name, parts->header->name.len = 0)
BREAKS(header_kind, parts->header->value.kind = 7)
BREAKS(header_flag, parts->header->invert = 255)
BREAKS(op, parts->op->op = 0)
BREAKS(op_value, parts->op->value.at = UINT32_MAX)
BREAKS(module, parts->filter->module = 4)
BREAKS(config_none, parts->filter->config = 0)
BREAKS(config_end, parts->filter->config = parts->size)
BREAKS(config_value, parts->filter->config += 4)
BREAKS(filter_name, parts->filter->name.len = 1u << 31)
BREAKS(key_route, parts->exact->route = 2)
BREAKS(lengths, parts->lengths[1] = 9)
BREAKS(scan_order, parts->scan[0] = 1)
BREAKS(scan_route, parts->scan[1] = 2)


static void
each_broken_reference_count_and_enum_is_refused(void **state)
{
    static const struct {
        const char  *name;
        void       (*change)(parts_t *parts);
    } cases[] = {
        { "a host that ends past the end", break_host_end },
        { "no host", break_host_none },
        { "an origin past the end", break_file },
        { "more addresses than fit", break_addresses },
        { "more chains than fit", break_chains },
        { "misaligned chains", break_chains_at },
        { "an unknown protocol", break_protocol },
        { "an unknown path level", break_path_level },
        { "a flag of two", break_refused },
        { "as many routes as can be", break_routes },
        { "an unknown path match", break_path_kind },
        { "an unknown action", break_action },
        { "a direct status of 20", break_direct },
        { "a status of 700", break_no_cluster },
        { "an unknown path rewrite", break_rewrite_kind },
        { "a rewrite's pattern of all octets", break_rewrite_pattern },
        { "a rewrite in the header", break_rewrite_value },
        { "a host past the end", break_host_rewrite },
        { "a destination's host past the end", break_destination_host },
        { "a location's host of 1 GiB", break_redirect_host },
        { "a scheme over the end", break_redirect_scheme },
        { "commands twice over", break_op_format },
        { "weights that do not add up", break_weights },
        { "an unknown retry bit", break_retry_on },
        { "misaligned statuses", break_statuses },
        { "a path in the header", break_path },
        { "destinations in the header", break_destinations },
        { "too many header operations", break_destination_ops },
        { "a header match without a name", break_header_name },
        { "an unknown string match", break_header_kind },
        { "a flag of 255", break_header_flag },
        { "an unknown header operation", break_op },
        { "a header value at the last offset", break_op_value },
        { "an unknown module", break_module },
        { "a module without its configuration", break_config_none },
        { "a configuration at the end", break_config_end },
        { "a configuration the module refuses", break_config_value },
        { "a filter name of 2 GiB", break_filter_name },
        { "a key for a third route", break_key_route },
        { "prefix lengths that do not fall", break_lengths },
        { "positions that do not rise", break_scan_order },
        { "a position of a third route", break_scan_route },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_block_t  *block = finished(sample_service(1, 1, "/a"));
        parts_t      parts = parts_of(block);
        const char  *what = NULL;

        print_message("# %s\n", cases[i].name);
        cases[i].change(&parts);
        assert_int_not_equal(cn_table_verify(block, &what), CN_OK);
        assert_non_null(what);
        free(block);
    }
}


static void
broken_clusters_endpoints_and_globals_are_refused(void **state)
{
    const char            *what;
    cn_block_t            *block = finished(sample_cluster(1, 1));
    cn_table_cluster_t    *cluster = (void *) (block + 1);

    (void) state;

    cluster->lb = 0;
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);
    free(block);

    block = finished(sample_endpoints(1, 1));
    cn_table_endpoints_t  *set = (void *) (block + 1);
    cn_table_endpoint_t   *endpoint = PART(block, set->endpoints.at);

    endpoint->weight = 0;
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);
    endpoint->weight = 2;
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);     /* the sum says 1 */
    endpoint->weight = 1;
    assert_int_equal(cn_table_verify(block, &what), CN_OK);
    endpoint->weight_before = 1;
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);
    endpoint->weight_before = 0;
    set->weight_unit = 2;
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);
    set->weight_unit = 1;
    set->usable = 0;
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);     /* one may be chosen */
    set->usable = 2;
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);     /* the second may not */
    set->usable = 3;
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);     /* there is no third */
    set->usable = 1;
    endpoint->flags |= 8;
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);
    free(block);

    block = finished(sample_global(1));
    cn_table_set_modules_hash(42);
    assert_int_equal(cn_table_verify(block, &what), CN_OK);
    cn_table_set_modules_hash(43);
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);
    cn_table_set_modules_hash(0);
    assert_int_equal(cn_table_verify(block, &what), CN_OK);
    ((cn_table_global_t *) (void *) (block + 1))->trust_domains.count = 1u << 30;
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);
    free(block);
}


static void
a_block_shorter_than_its_root_is_refused(void **state)
{
    const char  *what;

    (void) state;

    for (uint16_t kind = 1; kind < CN_BLOCK_KIND_COUNT; kind++) {
        cn_block_t  *block = finished(cn_block_builder_create((cn_block_kind_t) kind, 1, 8));

        assert_int_equal(cn_block_check(block, block->size), CN_OK);
        assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);
        free(block);
    }
}


static void
filters_are_refused_when_nobody_can_verify_them(void **state)
{
    cn_block_t  *block = finished(sample_service(1, 1, "/a"));
    const char  *what;

    (void) state;

    cn_table_set_module_verify(NULL);
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);
    cn_table_set_module_verify(sample_module_verify);
    assert_int_equal(cn_table_verify(block, &what), CN_OK);
    free(block);
}


static void
one_array_named_by_all_is_refused_before_it_takes_long(void **state)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_SERVICE, 1, sizeof(cn_table_service_t));
    cn_rel_array_t       chains = cn_block_add_array(builder, 10000, sizeof(cn_table_chain_t), 8);
    cn_rel_array_t       scan = cn_block_add_array(builder, 100000, sizeof(uint32_t), 4);
    cn_rel_bytes_t       host = sample_string(builder, "host");
    cn_table_chain_t    *chain = cn_block_builder_at(builder, chains.at);
    cn_block_t          *block;
    const char          *what = "";

    (void) state;

    for (uint16_t i = 0; i < 10000; i++) {
        chain[i] = (cn_table_chain_t) { .port = i, .protocol = CN_PROTOCOL_TCP };
        chain[i].index.prefix_lengths = scan;
    }

    for (uint32_t i = 0; i < scan.count; i++) {
        SAMPLE_AT(builder, scan.at, uint32_t)[i] = scan.count - i;
    }

    SAMPLE_ROOT(builder, cn_table_service_t)->host = host;
    SAMPLE_ROOT(builder, cn_table_service_t)->chains = chains;

    block = finished(builder);
    assert_int_equal(cn_table_verify(block, &what), CN_ERR_SYNTAX);
    assert_string_equal(what, "arrays overlap too often");
    free(block);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_sample_of_each_kind_is_accepted),
        cmocka_unit_test(each_broken_reference_count_and_enum_is_refused),
        cmocka_unit_test(broken_clusters_endpoints_and_globals_are_refused),
        cmocka_unit_test(a_block_shorter_than_its_root_is_refused),
        cmocka_unit_test(filters_are_refused_when_nobody_can_verify_them),
        cmocka_unit_test(one_array_named_by_all_is_refused_before_it_takes_long),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
