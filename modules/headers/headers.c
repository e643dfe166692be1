/* SPDX-License-Identifier: Apache-2.0 */

/*
 * headers - adds, sets and removes headers as the destination and then the route say (Envoy applies
 * the most specific first).  Request headers change before the router sends them, response headers
 * on their way back.
 */

#include "headers/headers_table.h"

#include "filter/module.h"
#include "headers/headers_format.h"


/* What op sets or adds; a value that comes to nothing is not added (Envoy's keep_empty_value). */
static cn_status_t
op_value(const cn_request_t *request, const cn_table_header_op_t *op, cn_bytes_t *value)
{
    *value = cn_block_bytes(request->service_block, op->value);

    /* the segment is pinned as long as the request lives, so values may be borrowed from it */
    return op->format ? headers_format(request, *value, value) : CN_OK;
}


static cn_status_t
apply(const cn_table_header_op_t *op, cn_bytes_t name, cn_bytes_t value, cn_headers_t *headers)
{
    if (value.len == 0) {
        return CN_OK;
    }

    return op->op == CN_HEADER_OP_SET ? cn_headers_set(headers, name, value)
                                      : cn_headers_add(headers, name, value);
}


/* What commands say is said of the headers before any of them is set: all of it is worked out. */
static cn_status_t
work_out(const cn_request_t *request, const cn_table_header_op_t *items, uint32_t count,
    bool on_response, cn_bytes_t *values)
{
    cn_status_t  status = CN_OK;

    for (uint32_t i = 0; i < count && status == CN_OK; i++) {
        if (items[i].op != CN_HEADER_OP_REMOVE && (items[i].on_response != 0) == on_response) {
            status = op_value(request, &items[i], &values[i]);
        }
    }

    return status;
}


static bool
has_format(const cn_table_header_op_t *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].format) {
            return true;
        }
    }

    return false;
}


static cn_status_t
apply_values(const cn_request_t *request, const cn_table_header_op_t *items, uint32_t count,
    bool on_response, cn_headers_t *headers)
{
    const cn_block_t  *block = request->service_block;
    cn_bytes_t        *values = NULL;
    cn_status_t        status = CN_OK;

    if (has_format(items, count)) {
        values = cn_pool_alloc(request->pool, count * sizeof(cn_bytes_t));
        status = values == NULL ? CN_ERR_MEMORY
                                : work_out(request, items, count, on_response, values);
    }

    for (uint32_t i = 0; i < count && status == CN_OK; i++) {
        if (items[i].op == CN_HEADER_OP_REMOVE || (items[i].on_response != 0) != on_response) {
            continue;
        }

        status = apply(&items[i], cn_block_bytes(block, items[i].name),
                       values != NULL ? values[i] : cn_block_bytes(block, items[i].value),
                       headers);
    }

    return status;
}


/* Removals first, then what is set and added, in the order of the table. */
static cn_status_t
apply_all(const cn_request_t *request, cn_rel_array_t ops, bool on_response,
    cn_headers_t *headers)
{
    const cn_table_header_op_t  *items
        = CN_BLOCK_ITEMS(request->service_block, ops, cn_table_header_op_t);

    for (uint32_t i = 0; i < ops.count; i++) {
        if (items[i].op == CN_HEADER_OP_REMOVE && (items[i].on_response != 0) == on_response) {
            cn_headers_remove(headers, cn_block_bytes(request->service_block, items[i].name));
        }
    }

    return apply_values(request, items, ops.count, on_response, headers);
}


static cn_status_t
apply_both(const cn_request_t *request, bool on_response, cn_headers_t *headers)
{
    cn_status_t  status = CN_OK;

    if (request->route == NULL) {
        return CN_OK;
    }

    if (request->destination != NULL) {
        status = apply_all(request, request->destination->header_ops, on_response, headers);
    }

    return status != CN_OK ? status
                           : apply_all(request, request->route->header_ops, on_response, headers);
}


static cn_verdict_t
headers_request_headers(cn_request_t *request, const void *config, bool end)
{
    (void) config;
    (void) end;

    if (apply_both(request, false, &request->head->headers) != CN_OK) {
        return cn_request_reply(request, 500, CN_BYTES_NONE, 0, "header_value_failed");
    }

    return CN_NEXT;
}


static void
headers_response_headers(cn_request_t *request, const void *config, bool end)
{
    (void) config;
    (void) end;

    /*
     * a response without one of its headers is better than none: the failure is memory or a value
     * that is too long, and the log tells
     */
    if (apply_both(request, true, &request->response->headers) != CN_OK) {
        request->details = "header_value_failed";
    }
}


static cn_status_t
headers_verify(const cn_block_t *block, uint32_t config, const char **what)
{
    (void) block;
    *what = "headers: a configuration where none belongs";

    return config == 0 ? CN_OK : CN_ERR_SYNTAX;
}


const cn_module_t  cn_headers_module = {
    .name = "headers",
    .on_all_responses = true,
    .verify = headers_verify,
    .on_request_headers = headers_request_headers,
    .on_response_headers = headers_response_headers,
};
