/* SPDX-License-Identifier: Apache-2.0 */

/*
 * route - the first route that matches, without a walk.  The index names the positions whose path
 * can match: exact paths and prefixes by hash (one look-up for each distinct prefix length), the
 * rest in a short list. Candidates are tried in ascending position, so that the order of the
 * configuration is kept.
 */

#include "route/match.h"

#include "base/hash.h"
#include "route/regex_cache.h"

#include <stdio.h>


const cn_table_chain_t *
cn_service_chain(const cn_block_t *block, uint16_t port)
{
    const cn_table_service_t  *service = cn_block_root(block);
    const cn_table_chain_t    *chains = CN_BLOCK_ITEMS(block, service->chains, cn_table_chain_t);

    for (uint32_t i = 0; i < service->chains.count; i++) {
        if (chains[i].port == port) {
            return &chains[i];
        }
    }

    return NULL;
}


static bool
separated_prefix(cn_bytes_t path, cn_bytes_t prefix, bool fold)
{
    if (fold ? !cn_bytes_starts_with_nocase(path, prefix) : !cn_bytes_starts_with(path, prefix)) {
        return false;
    }

    return path.len == prefix.len || path.ptr[prefix.len] == '/'
           || (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/');
}


static cn_match_t
match_path(const cn_block_t *block, const cn_table_route_t *route, cn_bytes_t path)
{
    cn_bytes_t  want = cn_block_bytes(block, route->path);
    bool        fold = route->path_ignore_case != 0;
    bool        yes;

    switch ((cn_path_match_kind_t) route->path_kind) {

    case CN_PATH_MATCH_ANY:
        yes = true;
        break;

    case CN_PATH_MATCH_EXACT:
        yes = fold ? cn_bytes_equal_nocase(path, want) : cn_bytes_equal(path, want);
        break;

    case CN_PATH_MATCH_PREFIX:
        yes = fold ? cn_bytes_starts_with_nocase(path, want) : cn_bytes_starts_with(path, want);
        break;

    case CN_PATH_MATCH_SEPARATED_PREFIX:
        yes = separated_prefix(path, want, fold);
        break;

    case CN_PATH_MATCH_REGEX:
        return cn_regex_cached_match(want, path);

    default:
        return CN_MATCH_ERROR;
    }

    return yes ? CN_MATCH_YES : CN_MATCH_NO;
}


/* The first value of a query parameter, raw (goldens 21); false when it is absent. */
static bool
query_value(cn_bytes_t query, cn_bytes_t name, cn_bytes_t *value)
{
    cn_bytes_t  rest = query;

    while (rest.len > 0) {
        cn_bytes_t  pair, key;

        if (!cn_bytes_split(rest, '&', &pair, &rest)) {
            rest = CN_BYTES_NONE;
        }

        cn_bytes_split(pair, '=', &key, value);

        if (cn_bytes_equal(key, name)) {
            return true;
        }
    }

    return false;
}


static cn_match_t
match_query(const cn_block_t *block, const cn_table_header_match_t *match, cn_bytes_t query)
{
    cn_bytes_t  value = CN_BYTES_NONE;
    bool        present = query_value(query, cn_block_bytes(block, match->name), &value);

    if (match->present_only || !present) {
        return present ? CN_MATCH_YES : CN_MATCH_NO;
    }

    return cn_match_string(block, &match->value, value);
}


/* ---- in words -------------------------------------------------------------------------------- */

#define WHY_SIZE  160

/* "prefix /api": what a matcher wants, cut to fit. */
static void
want_of(const cn_block_t *block, const cn_table_string_match_t *match, char out[WHY_SIZE])
{
    static const char *const  kinds[] = { "", "", "prefix ", "suffix ", "part ", "pattern ",
                                          "any " };
    char                      text[100];

    cn_bytes_escape(cn_block_bytes(block, match->value), text, sizeof(text));
    snprintf(out, WHY_SIZE, "%s%s%s", match->kind <= CN_STRING_ANY ? kinds[match->kind] : "",
             text, match->ignore_case ? " in any case" : "");
}


static void
say_path(const cn_block_t *block, const cn_table_route_t *route, cn_match_t match,
    char why[WHY_SIZE])
{
    static const char *const  kinds[] = { "", "any", "exact", "prefix", "separated prefix",
                                          "pattern" };
    char                      text[100];

    if (why == NULL) {
        return;
    }

    cn_bytes_escape(cn_block_bytes(block, route->path), text, sizeof(text));
    snprintf(why, WHY_SIZE, "the path %s %s %s%s",
             match == CN_MATCH_ERROR ? "cannot be matched with" : "does not match",
             kinds[route->path_kind], text, route->path_ignore_case ? " in any case" : "");
}


/* `what` is "header" or "parameter". */
static void
say_match(const cn_block_t *block, const char *what, const cn_table_header_match_t *item,
    cn_match_t match, char why[WHY_SIZE])
{
    char  name[48];
    char  want[WHY_SIZE];

    if (why == NULL) {
        return;
    }

    cn_bytes_escape(cn_block_bytes(block, item->name), name, sizeof(name));
    want_of(block, &item->value, want);

    if (match == CN_MATCH_ERROR) {
        snprintf(why, WHY_SIZE, "%s %s cannot be matched with %.60s", what, name, want);

    } else if (item->present_only) {
        snprintf(why, WHY_SIZE, "%s %s is %s", what, name, item->invert ? "there" : "not there");

    } else {
        snprintf(why, WHY_SIZE, "%s %s %s %.60s", what, name,
                 item->invert ? "is what it must not be:" : "is not", want);
    }
}


cn_match_t
cn_route_matches(const cn_block_t *block, const cn_table_route_t *route,
    const cn_match_input_t *input, char why[160])
{
    const cn_table_header_match_t  *headers;
    const cn_table_header_match_t  *query;
    cn_match_t                      match = match_path(block, route, input->path);

    if (match != CN_MATCH_YES) {
        say_path(block, route, match, why);
        return match;
    }

    headers = CN_BLOCK_ITEMS(block, route->headers, cn_table_header_match_t);

    for (uint32_t i = 0; i < route->headers.count; i++) {
        match = cn_match_header(block, &headers[i], input);

        if (match != CN_MATCH_YES) {
            say_match(block, "header", &headers[i], match, why);
            return match;
        }
    }

    query = CN_BLOCK_ITEMS(block, route->query, cn_table_header_match_t);

    for (uint32_t i = 0; i < route->query.count; i++) {
        match = match_query(block, &query[i], input->query);

        if (match != CN_MATCH_YES) {
            say_match(block, "parameter", &query[i], match, why);
            return match;
        }
    }

    return CN_MATCH_YES;
}


/* ---- the search ------------------------------------------------------------------------------ */

/* The best (lowest matching) position so far, while candidates are tried. */
typedef struct {
    const cn_block_t        *block;
    const cn_table_chain_t  *chain;
    const cn_table_route_t  *routes;
    const cn_match_input_t  *input;
    uint32_t                 best;
    uint32_t                 failed;        /* the lowest position whose matcher failed */
} search_t;


static void
try_route(search_t *search, uint32_t position)
{
    if (position >= search->best || position >= search->chain->routes.count) {
        return;
    }

    switch (cn_route_matches(search->block, &search->routes[position], search->input, NULL)) {

    case CN_MATCH_YES:
        search->best = position;
        return;

    case CN_MATCH_ERROR:
        if (position < search->failed) {
            search->failed = position;
        }
        return;

    case CN_MATCH_NO:
        return;
    }
}


static void
try_keys(search_t *search, cn_rel_array_t ref, cn_bytes_t path)
{
    const cn_table_path_key_t  *keys = CN_BLOCK_ITEMS(search->block, ref, cn_table_path_key_t);
    uint64_t                    hash = cn_hash(path);
    uint32_t                    low = 0;
    uint32_t                    high = ref.count;

    while (low < high) {
        uint32_t  middle = low + (high - low) / 2;

        if (keys[middle].hash < hash) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    for (; low < ref.count && keys[low].hash == hash; low++) {
        if (keys[low].length == path.len) {
            try_route(search, keys[low].route);
        }
    }
}


const cn_table_route_t *
cn_route_find(const cn_block_t *block, const cn_table_chain_t *chain,
    const cn_match_input_t *input, bool *error)
{
    const cn_table_route_index_t  *index = &chain->index;
    const uint32_t                *lengths = CN_BLOCK_ITEMS(block, index->prefix_lengths, uint32_t);
    const uint32_t                *scan = CN_BLOCK_ITEMS(block, index->scan, uint32_t);
    search_t                       search = {
        .block = block,
        .chain = chain,
        .routes = CN_BLOCK_ITEMS(block, chain->routes, cn_table_route_t),
        .input = input,
        .best = UINT32_MAX,
        .failed = UINT32_MAX,
    };

    if (index->exact.count > 0) {
        try_keys(&search, index->exact, input->path);
    }

    for (uint32_t i = 0; i < index->prefix_lengths.count; i++) {
        if (lengths[i] <= input->path.len) {
            try_keys(&search, index->prefix, cn_bytes(input->path.ptr, lengths[i]));
        }
    }

    for (uint32_t i = 0; i < index->scan.count && scan[i] < search.best; i++) {
        try_route(&search, scan[i]);
    }

    *error = search.failed < search.best;

    return (*error || search.best == UINT32_MAX) ? NULL : &search.routes[search.best];
}


const cn_table_destination_t *
cn_route_destination(const cn_block_t *block, const cn_table_route_t *route,
    const cn_match_input_t *input)
{
    const cn_table_destination_t  *destinations
        = CN_BLOCK_ITEMS(block, route->destinations, cn_table_destination_t);
    uint64_t                       draw;

    if (route->destinations.count == 0) {
        return NULL;
    }

    if (route->destinations.count == 1 || route->total_weight == 0) {
        return &destinations[0];
    }

    draw = input->random % route->total_weight;

    for (uint32_t i = 0; i < route->destinations.count; i++) {
        if (draw < destinations[i].weight) {
            return &destinations[i];
        }

        draw -= destinations[i].weight;
    }

    return &destinations[route->destinations.count - 1];
}
