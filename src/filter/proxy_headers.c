/* SPDX-License-Identifier: Apache-2.0 */

/*
 * proxy_headers - what the waypoint does to every head, before any filter and after the last
 * (Envoy's connection manager as istiod configures it: use_remote_address false, server_name
 * istio-envoy, XFCC sanitised, UUID request ids).
 */

#include "filter/chain.h"

#include "base/clock.h"
#include "base/random.h"
#include "http/normalize.h"

/* A client may not steer the proxy: stripped before routing (goldens 1). */
static const cn_bytes_t  stripped[] = {
    CN_BYTES_INIT("x-envoy-upstream-rq-timeout-ms"),
    CN_BYTES_INIT("x-envoy-upstream-rq-per-try-timeout-ms"),
    CN_BYTES_INIT("x-envoy-upstream-rq-timeout-alt-response"),
    CN_BYTES_INIT("x-envoy-upstream-alt-stat-name"),
    CN_BYTES_INIT("x-envoy-upstream-stream-duration-ms"),
    CN_BYTES_INIT("x-envoy-expected-rq-timeout-ms"),
    CN_BYTES_INIT("x-envoy-max-retries"),
    CN_BYTES_INIT("x-envoy-retry-on"),
    CN_BYTES_INIT("x-envoy-retry-grpc-on"),
    CN_BYTES_INIT("x-envoy-retriable-header-names"),
    CN_BYTES_INIT("x-envoy-retriable-status-codes"),
    CN_BYTES_INIT("x-envoy-hedge-on-per-try-timeout"),
    CN_BYTES_INIT("x-envoy-force-trace"),
    CN_BYTES_INIT("x-envoy-decorator-operation"),
    CN_BYTES_INIT("x-envoy-internal"),
    CN_BYTES_INIT("x-envoy-ip-tags"),
    CN_BYTES_INIT("x-forwarded-client-cert"),
};

/* The lengths above, as a bit set: most headers are passed over by one test. */
static uint64_t
stripped_lengths(void)
{
    static uint64_t  lengths;

    if (lengths == 0) {
        for (size_t i = 0; i < CN_COUNT_OF(stripped); i++) {
            lengths |= 1ull << stripped[i].len;
        }
    }

    return lengths;
}


static bool
is_stripped(cn_bytes_t name)
{
    if (name.len > 63 || name.len < 2 || name.ptr[0] != 'x' || name.ptr[1] != '-'
        || (stripped_lengths() & (1ull << name.len)) == 0)
    {
        return false;
    }

    for (size_t i = 0; i < CN_COUNT_OF(stripped); i++) {
        if (cn_bytes_equal(name, stripped[i])) {
            return true;
        }
    }

    return false;
}


static void
strip_headers(cn_request_t *request)
{
    cn_headers_t  *headers = &request->head->headers;
    uint32_t       kept = 0;

    for (uint32_t i = 0; i < headers->count; i++) {
        cn_header_t  *header = &headers->items[i];

        if (is_stripped(header->name)) {
            request->suppress_decorator |= header->id == CN_HEADER_X_ENVOY_DECORATOR_OPERATION;
            headers->octets -= header->name.len + header->value.len;
            continue;
        }

        headers->items[kept++] = *header;
    }

    headers->count = kept;
}


/* The values of all lines of the same name as items[first], separated by ','. */
static cn_status_t
join_line(cn_headers_t *headers, uint32_t first)
{
    cn_header_t  *line = &headers->items[first];
    size_t        size = 0, len = 0;
    uint32_t      kept = first + 1;
    uint8_t      *octets;

    for (uint32_t i = first; i < headers->count; i++) {
        size += headers->items[i].id == line->id ? headers->items[i].value.len + 1 : 0;
    }

    octets = cn_pool_octets(headers->pool, size);

    if (octets == NULL) {
        return CN_ERR_MEMORY;
    }

    for (uint32_t i = first; i < headers->count; i++) {
        const cn_header_t  header = headers->items[i];

        if (header.id != line->id) {
            headers->items[kept++] = header;
            continue;
        }

        /* Envoy appends nothing for an empty value, no ',' either */
        if (len > 0 && header.value.len > 0) {
            octets[len++] = ',';
        }

        if (header.value.len > 0) {
            memcpy(octets + len, header.value.ptr, header.value.len);
            len += header.value.len;
        }

        headers->octets -= i > first ? header.name.len + header.value.len : header.value.len;
    }

    line->value = cn_bytes(octets, len);
    headers->octets += len;
    headers->count = kept;

    return CN_OK;
}


/* Of an id that is there. */
static uint32_t
first_line(const cn_headers_t *headers, cn_header_id_t id)
{
    return (uint32_t) (cn_headers_find_id(headers, id) - headers->items);
}


/*
 * One canonical request: what Envoy keeps as one value is one line, for policy, log and upstream
 * (goldens 4).
 */
static cn_status_t
join_lines(cn_headers_t *headers)
{
    uint64_t  seen[(CN_HEADER_COUNT + 63) / 64] = { 0 };
    uint32_t  i = 0;

    while (i < headers->count) {
        cn_header_id_t  id = headers->items[i].id;
        uint64_t        bit = (uint64_t) 1 << (id % 64);

        if (id == CN_HEADER_OTHER || !(seen[id / 64] & bit) || !cn_header_is_list(id)) {
            seen[id / 64] |= bit;
            i++;
            continue;
        }

        /* this line and all behind it go into the first: another stands here then */
        if (join_line(headers, first_line(headers, id)) != CN_OK) {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


static cn_status_t
add_request_id(cn_request_t *request)
{
    const cn_header_t  *own = cn_headers_find_id(&request->head->headers, CN_HEADER_X_REQUEST_ID);
    uint8_t            *uuid;

    if (own != NULL && own->value.len > 0) {
        return CN_OK;
    }

    uuid = cn_pool_octets(request->pool, 36);

    if (uuid == NULL) {
        return CN_ERR_MEMORY;
    }

    cn_random_uuid((char *) uuid);
    cn_headers_remove_id(&request->head->headers, CN_HEADER_X_REQUEST_ID);

    return cn_headers_add_id(&request->head->headers, CN_HEADER_X_REQUEST_ID,
                             cn_bytes(uuid, 36));
}


static cn_verdict_t
normalize(cn_request_t *request)
{
    cn_message_t  *head = request->head;
    cn_status_t    status;

    if (cn_bytes_equal(head->method, CN_BYTES("CONNECT")) && head->path.len == 0) {
        request->reply_last = true;
        return cn_request_reply(request, 404, CN_BYTES_NONE, CN_FLAG(NR), "route_not_found");
    }

    if (head->path.len == 0 || head->path.ptr[0] != '/') {
        return cn_request_reply(request, 404, CN_BYTES_NONE, 0, "absolute_path_rejected");
    }

    status = cn_path_normalize(head->path, request->chain->path_level, request->pool, &head->path);

    if (status == CN_ERR_MEMORY) {
        return cn_request_reply(request, 500, CN_BYTES_NONE, 0, "out_of_memory");
    }

    if (status != CN_OK) {
        request->reply_last = true;
        return cn_request_reply(request, 400, CN_BYTES_NONE, 0, "path_normalization_failed");
    }

    request->original_path = head->path;

    return CN_NEXT;
}


cn_verdict_t
cn_proxy_request_head(cn_request_t *request)
{
    cn_message_t  *head = request->head;

    if (head->authority.len == 0) {
        request->reply_last = true;
        return cn_request_reply(request, 400, CN_BYTES_NONE, 0, "missing_host_header");
    }

    if (normalize(request) == CN_REPLIED) {
        return CN_REPLIED;
    }

    strip_headers(request);

    if (join_lines(&head->headers) != CN_OK) {
        return cn_request_reply(request, 500, CN_BYTES_NONE, 0, "out_of_memory");
    }

    if (cn_headers_find_id(&head->headers, CN_HEADER_X_FORWARDED_PROTO) == NULL
        && cn_headers_add_id(&head->headers, CN_HEADER_X_FORWARDED_PROTO,
                             request->connection->kind == CN_STREAM_TLS ? CN_BYTES("https")
                                                                        : CN_BYTES("http"))
           != CN_OK)
    {
        return cn_request_reply(request, 500, CN_BYTES_NONE, 0, "out_of_memory");
    }

    if (add_request_id(request) != CN_OK) {
        return cn_request_reply(request, 500, CN_BYTES_NONE, 0, "out_of_memory");
    }

    return CN_NEXT;
}


/* The date of this second, the same for all responses of the worker in it. */
static cn_status_t
add_date(cn_headers_t *headers)
{
    static uint64_t  second;
    static char      text[29];
    uint64_t         now = cn_clock_wall_ms() / 1000;
    cn_bytes_t       copy;

    if (now != second) {
        cn_clock_print_http(now * 1000, text);
        second = now;
    }

    if (cn_pool_copy(headers->pool, cn_bytes(text, sizeof(text)), &copy) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    return cn_headers_add_id(headers, CN_HEADER_DATE, copy);
}


cn_status_t
cn_proxy_response_head(cn_request_t *request, cn_message_t *head)
{
    cn_headers_t  *headers = &head->headers;
    cn_header_t   *server;
    cn_bytes_t     decorator;

    if (cn_headers_find_id(headers, CN_HEADER_DATE) == NULL && add_date(headers) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    server = (cn_header_t *) cn_headers_find_id(headers, CN_HEADER_SERVER);

    if (server != NULL) {
        server->value = CN_BYTES("istio-envoy");

    } else if (cn_headers_add_id(headers, CN_HEADER_SERVER, CN_BYTES("istio-envoy")) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    if (request->route == NULL || request->suppress_decorator) {
        return CN_OK;
    }

    decorator = cn_block_bytes(request->service_block, request->route->decorator);

    if (decorator.len == 0) {
        return CN_OK;
    }

    cn_headers_remove_id(headers, CN_HEADER_X_ENVOY_DECORATOR_OPERATION);

    return cn_headers_add_id(headers, CN_HEADER_X_ENVOY_DECORATOR_OPERATION, decorator);
}
