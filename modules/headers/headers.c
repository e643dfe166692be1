/* SPDX-License-Identifier: Apache-2.0 */

/*
 * headers - adds, sets and removes headers as the destination and then the route say (Envoy applies
 * the most specific first).  Request headers change before the router sends them, response headers
 * on their way back.
 */

#include "headers/headers_table.h"

#include "filter/module.h"


static cn_status_t
apply(const cn_block_t *block, const cn_table_header_op_t *op, cn_headers_t *headers)
{
    cn_bytes_t  name = cn_block_bytes(block, op->name);
    cn_bytes_t  value = cn_block_bytes(block, op->value);

    switch ((cn_header_op_kind_t) op->op) {

    case CN_HEADER_OP_SET:
        return cn_headers_set(headers, name, value);

    case CN_HEADER_OP_ADD:
        return cn_headers_add(headers, name, value);

    case CN_HEADER_OP_REMOVE:
        cn_headers_remove(headers, name);
        return CN_OK;
    }

    return CN_ERR_SYNTAX;
}


static cn_status_t
apply_all(const cn_request_t *request, cn_rel_array_t ops, bool on_response,
    cn_headers_t *headers)
{
    const cn_table_header_op_t  *items
        = CN_BLOCK_ITEMS(request->service_block, ops, cn_table_header_op_t);

    for (uint32_t i = 0; i < ops.count; i++) {
        cn_status_t  status;

        if ((items[i].on_response != 0) != on_response) {
            continue;
        }

        /* the segment is pinned as long as the request lives, so values may be borrowed from it */
        status = apply(request->service_block, &items[i], headers);

        if (status != CN_OK) {
            return status;
        }
    }

    return CN_OK;
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
        return cn_request_reply(request, 500, CN_BYTES_NONE, 0, "out_of_memory");
    }

    return CN_NEXT;
}


static void
headers_response_headers(cn_request_t *request, const void *config, bool end)
{
    (void) config;
    (void) end;

    /*
     * a response without one of its headers is better than none: the failure is memory, and it is
     * logged where it is met
     */
    if (apply_both(request, true, &request->response->headers) != CN_OK) {
        request->details = "out_of_memory";
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
    .verify = headers_verify,
    .on_request_headers = headers_request_headers,
    .on_response_headers = headers_response_headers,
};
