/* SPDX-License-Identifier: Apache-2.0 */

/*
 * route_action - a route's own answers and what it makes of a request's authority and path, at the
 * end of the way in, when every filter has seen the request as it came.
 */

#include "filter/request.h"

#include "route/action.h"


static cn_verdict_t
refuse(cn_request_t *request, cn_status_t status)
{
    return cn_request_reply(request, 500, CN_BYTES_NONE, 0,
                            status == CN_ERR_MEMORY ? "out_of_memory" : "path_rewrite_failed");
}


static cn_verdict_t
redirect(cn_request_t *request)
{
    cn_bytes_t   location;
    cn_status_t  status = cn_route_location(request->service_block, request->route, request->head,
                                            request->pool, &location);

    if (status == CN_OK) {
        status = cn_request_reply_header(request, CN_BYTES("location"), location);
    }

    if (status != CN_OK) {
        return refuse(request, status);
    }

    return cn_request_reply(request, request->route->direct_status, CN_BYTES_NONE, 0,
                            "direct_response");
}


static cn_status_t
rewrite_host(cn_request_t *request)
{
    cn_message_t  *head = request->head;
    cn_bytes_t     host = cn_route_host_rewrite(request->service_block, request->route,
                                                request->destination);
    cn_bytes_t     original = head->authority;

    if (host.len == 0) {
        return CN_OK;
    }

    head->authority = host;

    return cn_headers_set(&head->headers, cn_header_name(CN_HEADER_X_ENVOY_ORIGINAL_HOST),
                          original);
}


static cn_status_t
rewrite_path(cn_request_t *request)
{
    cn_message_t  *head = request->head;
    cn_bytes_t     original = head->path;
    cn_bytes_t     path;
    cn_status_t    status;

    if (request->route->rewrite.kind == CN_REWRITE_NONE) {
        return CN_OK;
    }

    status = cn_route_rewrite(request->service_block, request->route, head->path, request->pool,
                              &path);

    if (status != CN_OK || path.len == 0) {
        return status;
    }

    head->path = path;

    return cn_headers_set(&head->headers, cn_header_name(CN_HEADER_X_ENVOY_ORIGINAL_PATH),
                          original);
}


cn_verdict_t
cn_request_route_action(cn_request_t *request)
{
    const cn_table_route_t  *route = request->route;
    cn_status_t              status;

    if (route->action == CN_ACTION_REDIRECT) {
        return redirect(request);
    }

    if (route->action == CN_ACTION_DIRECT_RESPONSE || request->destination == NULL) {
        return cn_request_reply(request, route->direct_status != 0 ? route->direct_status : 500,
                                cn_block_bytes(request->service_block, route->direct_body), 0,
                                "direct_response");
    }

    status = rewrite_host(request);

    if (status == CN_OK) {
        status = rewrite_path(request);
    }

    return status == CN_OK ? CN_NEXT : refuse(request, status);
}
