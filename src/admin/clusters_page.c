/* SPDX-License-Identifier: Apache-2.0 */

/* clusters_page - /clusters.json: the published endpoints and what each worker has on them now. */

#include "admin/pages.h"
#include "model/print.h"


/* The sum is what every worker chooses by; the parts are what each has added to it. */
static void
set_active(json_t **object, const cn_admin_view_t *view, uint32_t cell)
{
    cn_slab_t  *slab = view->slab;
    json_t     *parts = json_array();

    for (uint32_t i = 0; i < cn_slab_config(slab)->workers; i++) {
        if (cn_page_has_worker(view, i)) {
            cn_print_append(&parts, json_integer(cn_slab_worker_active(slab, i, cell)));
        }
    }

    cn_print_set(object, "active", json_integer(cn_slab_active(slab, cell)));
    cn_print_set(object, "active_by_worker", parts);
}


static json_t *
describe_endpoint(const cn_admin_view_t *view, const cn_table_endpoint_t *endpoint)
{
    json_t        *object = json_object();
    cn_address_t   address = { .port = endpoint->port };
    char           text[CN_ADDRESS_TEXT_MAX];

    memcpy(address.ip, endpoint->ip, sizeof(address.ip));
    cn_address_print(&address, text);
    cn_print_set(&object, "address", json_string(text));
    cn_print_set(&object, "healthy", json_boolean((endpoint->flags & CN_ENDPOINT_HEALTHY) != 0));
    cn_print_set_bool(&object, "draining", (endpoint->flags & CN_ENDPOINT_DRAINING) != 0);
    cn_print_set(&object, "weight", json_integer(endpoint->weight));
    set_active(&object, view, endpoint->cell);

    return object;
}


static json_t *
describe_cluster(const cn_admin_view_t *view, const cn_block_t *block)
{
    const cn_table_cluster_t  *cluster = cn_block_root(block);
    const cn_block_t          *endpoints = cn_tables_endpoints(view->tables, cluster->id, NULL);
    json_t                    *object = json_object();
    json_t                    *list = json_array();

    if (endpoints != NULL) {
        const cn_table_endpoints_t  *table = cn_block_root(endpoints);
        const cn_table_endpoint_t   *items =
            CN_BLOCK_ITEMS(endpoints, table->endpoints, cn_table_endpoint_t);

        for (uint32_t i = 0; i < table->endpoints.count; i++) {
            cn_print_append(&list, describe_endpoint(view, &items[i]));
        }
    }

    cn_print_set(&object, "name", cn_print_bytes(cn_block_bytes(block, cluster->name)));
    set_active(&object, view, cluster->cell);
    cn_print_set(&object, "endpoints", list);

    return object;
}


void
cn_page_clusters(cn_page_t *page)
{
    const cn_tables_t  *tables = page->view->tables;
    const cn_block_t   *block;
    json_t             *object = json_object();
    json_t             *list = json_array();
    size_t              at = 0;

    while ((block = cn_tables_next(tables, &at)) != NULL) {
        if (block->kind == CN_BLOCK_CLUSTER) {
            cn_print_append(&list, describe_cluster(page->view, block));
        }
    }

    cn_print_set(&object, "clusters", list);
    cn_page_json(page, object);
}
