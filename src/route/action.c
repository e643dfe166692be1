/* SPDX-License-Identifier: Apache-2.0 */

/*
 * action - paths rewritten and locations built as Envoy does it: a prefix is exchanged for another,
 * octet for octet ("/a" to "/" makes "//b" of "/a/b"); a pattern sees the path without its query; a
 * redirect keeps the query unless its own path has one.
 */

#include "route/action.h"

#include "http/normalize.h"
#include "route/regex_cache.h"


/* How much of a path without its query the route's match took. */
static size_t
matched_len(const cn_table_route_t *route, cn_bytes_t bare)
{
    bool    prefix = route->path_kind == CN_PATH_MATCH_PREFIX
                     || route->path_kind == CN_PATH_MATCH_SEPARATED_PREFIX;
    size_t  len = prefix ? route->path.len : bare.len;

    return len < bare.len ? len : bare.len;
}


static cn_status_t
join(cn_pool_t *pool, cn_bytes_t left, cn_bytes_t right, cn_bytes_t *joined)
{
    uint8_t  *octets = cn_pool_octets(pool, left.len + right.len);

    if (octets == NULL) {
        return CN_ERR_MEMORY;
    }

    if (left.len > 0) {
        memcpy(octets, left.ptr, left.len);
    }

    if (right.len > 0) {
        memcpy(octets + left.len, right.ptr, right.len);
    }

    *joined = cn_bytes(octets, left.len + right.len);
    return CN_OK;
}


/* Of a path of another's choice: its own query outdoes the request's. */
static cn_status_t
whole_path(cn_bytes_t value, cn_bytes_t query, cn_pool_t *pool, cn_bytes_t *rewritten)
{
    if (query.len == 0 || cn_bytes_find_octet(value, '?') != SIZE_MAX) {
        *rewritten = value;
        return CN_OK;
    }

    return join(pool, value, query, rewritten);
}


static cn_status_t
rewrite(const cn_block_t *block, const cn_table_route_t *route, cn_bytes_t path, cn_pool_t *pool,
    cn_bytes_t *rewritten)
{
    cn_bytes_t   value = cn_block_bytes(block, route->rewrite.value);
    cn_bytes_t   bare = cn_path_without_query(path);
    cn_bytes_t   query = cn_bytes_from(path, bare.len);
    cn_bytes_t   made;
    cn_status_t  status;

    switch ((cn_path_rewrite_kind_t) route->rewrite.kind) {

    case CN_REWRITE_PREFIX:
        return join(pool, value, cn_bytes_from(path, matched_len(route, bare)), rewritten);

    case CN_REWRITE_PATH:
        return whole_path(value, query, pool, rewritten);

    case CN_REWRITE_REGEX:
        status = cn_regex_cached_replace(cn_block_bytes(block, route->rewrite.pattern), value,
                                         bare, pool, &made);

        return status != CN_OK || made.len == 0 ? status : join(pool, made, query, rewritten);

    case CN_REWRITE_NONE:
    default:
        return CN_OK;
    }
}


cn_status_t
cn_route_rewrite(const cn_block_t *block, const cn_table_route_t *route, cn_bytes_t path,
    cn_pool_t *pool, cn_bytes_t *rewritten)
{
    cn_status_t  status;

    *rewritten = CN_BYTES_NONE;
    status = rewrite(block, route, path, pool, rewritten);

    if (status == CN_OK && rewritten->len > 0 && rewritten->ptr[0] != '/') {
        return CN_ERR_SYNTAX;
    }

    return status;
}


cn_bytes_t
cn_route_host_rewrite(const cn_block_t *block, const cn_table_route_t *route,
    const cn_table_destination_t *destination)
{
    cn_bytes_t  host = cn_block_bytes(block, route->host_rewrite);

    if (host.len == 0 && destination != NULL) {
        host = cn_block_bytes(block, destination->host_rewrite);
    }

    return host;
}


/* The scheme that the client used; one that is none never leaves in a location. */
static cn_bytes_t
client_scheme(const cn_message_t *head)
{
    return cn_bytes_equal_nocase(head->scheme, CN_BYTES("https")) ? CN_BYTES("https")
                                                                  : CN_BYTES("http");
}


/*
 * The authority without its port, where the redirect has one of its own, or where the port was the
 * default of a scheme that it leaves.
 */
static cn_bytes_t
kept_host(cn_bytes_t authority, cn_bytes_t from, cn_bytes_t to, bool has_port)
{
    size_t      colon = cn_bytes_find_last_octet(authority, ':');
    cn_bytes_t  port;

    if (colon == SIZE_MAX || cn_bytes_find_octet(cn_bytes_from(authority, colon), ']') != SIZE_MAX)
    {
        return authority;
    }

    port = cn_bytes_from(authority, colon);

    if (!cn_bytes_equal_nocase(from, to)) {
        has_port |= cn_bytes_equal(port, CN_BYTES(":80"))
                    && cn_bytes_equal_nocase(from, CN_BYTES("http"));
        has_port |= cn_bytes_equal(port, CN_BYTES(":443"))
                    && cn_bytes_equal_nocase(from, CN_BYTES("https"));
    }

    return has_port ? cn_bytes(authority.ptr, colon) : authority;
}


cn_status_t
cn_route_location(const cn_block_t *block, const cn_table_route_t *route, const cn_message_t *head,
    cn_pool_t *pool, cn_bytes_t *location)
{
    cn_bytes_t   from = client_scheme(head);
    cn_bytes_t   scheme = cn_block_bytes(block, route->redirect.scheme);
    cn_bytes_t   host = cn_block_bytes(block, route->redirect.host);
    cn_bytes_t   path;
    char         port[24] = "";
    size_t       port_len = 0;
    cn_status_t  status = cn_route_rewrite(block, route, head->path, pool, &path);

    if (status != CN_OK) {
        return status;
    }

    if (scheme.len == 0) {
        scheme = from;
    }

    if (host.len == 0) {
        host = kept_host(head->authority, from, scheme, route->redirect.port != 0);
    }

    if (path.len == 0) {
        path = head->path;
    }

    if (route->redirect.port != 0) {
        port[0] = ':';
        port_len = 1 + cn_u64_print(route->redirect.port, port + 1);
    }

    const cn_bytes_t  parts[] = { scheme, CN_BYTES("://"), host, cn_bytes(port, port_len), path };
    size_t            len = 0;

    for (size_t i = 0; i < CN_COUNT_OF(parts); i++) {
        len += parts[i].len;
    }

    uint8_t  *octets = cn_pool_octets(pool, len);

    if (octets == NULL) {
        return CN_ERR_MEMORY;
    }

    *location = cn_bytes(octets, len);

    for (size_t i = 0; i < CN_COUNT_OF(parts); i++) {
        if (parts[i].len > 0) {
            memcpy(octets, parts[i].ptr, parts[i].len);
            octets += parts[i].len;
        }
    }

    return CN_OK;
}
