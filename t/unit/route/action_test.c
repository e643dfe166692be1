/* SPDX-License-Identifier: Apache-2.0 */

/* Paths as they go upstream and locations of redirects, as Envoy was seen to make them. */

#include "unit.h"

#include "route/action.h"
#include "route/regex_cache.h"
#include "table/verify.h"

typedef struct {
    const char              *name;
    cn_path_match_kind_t     match;
    const char              *path;          /* the route's */
    cn_path_rewrite_kind_t   kind;
    const char              *pattern;
    const char              *value;
    const char              *asked;
    const char              *upstream;      /* NULL: it stays; "": it fails */
} rewrite_t;

static const rewrite_t  rewrites[] = {
    { "nothing is rewritten", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_NONE, "", "", "/x", NULL },
    { "the prefix", CN_PATH_MATCH_PREFIX, "/foo", CN_REWRITE_PREFIX, "", "/bar", "/foo", "/bar" },
    { "and what follows", CN_PATH_MATCH_PREFIX, "/foo", CN_REWRITE_PREFIX, "", "/bar",
      "/foo/x?y=1", "/bar/x?y=1" },
    { "not at a slash", CN_PATH_MATCH_PREFIX, "/foo", CN_REWRITE_PREFIX, "", "/bar", "/foobar",
      "/barbar" },
    { "to the root", CN_PATH_MATCH_PREFIX, "/foo", CN_REWRITE_PREFIX, "", "/", "/foo/x", "//x" },
    { "to the root, with its slash", CN_PATH_MATCH_PREFIX, "/foo/", CN_REWRITE_PREFIX, "", "/",
      "/foo/", "/" },
    { "from the root", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_PREFIX, "", "/base", "/x", "/basex" },
    { "a separated prefix", CN_PATH_MATCH_SEPARATED_PREFIX, "/foo", CN_REWRITE_PREFIX, "", "/",
      "/foo?q=1", "/?q=1" },
    { "an exact path", CN_PATH_MATCH_EXACT, "/foo", CN_REWRITE_PREFIX, "", "/bar", "/foo?q=1",
      "/bar?q=1" },
    { "all that a pattern matched", CN_PATH_MATCH_REGEX, "/f.*", CN_REWRITE_PREFIX, "", "/bar",
      "/foo/x?q", "/bar?q" },
    { "each find", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_REGEX, "/v1/", "/v2/",
      "/a/v1/b/v1/c?/v1/", "/a/v2/b/v2/c?/v1/" },
    { "groups", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_REGEX, "^/service/([^/]+)(/.*)$",
      "\\2/instance/\\1", "/service/foo/v1/api", "/v1/api/instance/foo" },
    { "no find", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_REGEX, "^/nope", "/x", "/foo?q", "/foo?q" },
    { "nothing is left", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_REGEX, "^/foo", "", "/foo", NULL },
    { "no slash is left", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_REGEX, "^/", "", "/foo", "" },
    { "a pattern that cannot be", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_REGEX, "(", "", "/foo", "" },
    { "a path that is not UTF-8", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_REGEX, "a", "b", "/\xff",
      "" },
    { "a whole path", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_PATH, "", "/new", "/a/b?x=1",
      "/new?x=1" },
    { "a path with its own query", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_PATH, "", "/new?y=2",
      "/a/b?x=1", "/new?y=2" },
    { "what is no path", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_PATH, "", "%PREFIX()%/x", "/a", "" },
};

typedef struct {
    const char  *name;
    const char  *scheme;
    const char  *host;
    uint16_t     port;
    const char  *used;              /* the request's own scheme; NULL: none */
    const char  *authority;
    const char  *location;          /* of /a/b?x=1 */
} redirect_t;

static const redirect_t  redirects[] = {
    { "a host", "", "new.example", 0, "http", "svc.example:9080", "http://new.example/a/b?x=1" },
    { "a port", "", "", 8080, "http", "svc.example:9080", "http://svc.example:8080/a/b?x=1" },
    { "https leaves port 80", "https", "", 0, "http", "svc.example:80",
      "https://svc.example/a/b?x=1" },
    { "https with its own port", "https", "", 443, "http", "svc.example:9080",
      "https://svc.example:443/a/b?x=1" },
    { "https keeps another port", "https", "", 0, "http", "svc.example:9080",
      "https://svc.example:9080/a/b?x=1" },
    { "http leaves port 443", "http", "", 0, "https", "svc.example:443",
      "http://svc.example/a/b?x=1" },
    { "http keeps another port", "http", "", 0, "https", "svc.example:9080",
      "http://svc.example:9080/a/b?x=1" },
    { "the scheme that was used", "", "n.e", 0, "https", "svc.example:9080",
      "https://n.e/a/b?x=1" },
    { "a scheme that is none", "", "n.e", 0, "javascript", "svc.example", "http://n.e/a/b?x=1" },
    { "no scheme", "", "n.e", 0, NULL, "svc.example", "http://n.e/a/b?x=1" },
    { "an IPv6 address", "", "", 81, "http", "[::1]:80", "http://[::1]:81/a/b?x=1" },
    { "an IPv6 address without a port", "", "", 81, "http", "[::1]", "http://[::1]:81/a/b?x=1" },
};


/* A block with this route as its only content; *route lies in it.  Freed by the builder. */
static cn_block_builder_t *
block_of(const rewrite_t *rewrite, const redirect_t *redirect, const cn_block_t **block,
    const cn_table_route_t **route)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_SERVICE, 1,
                                                           sizeof(cn_table_route_t));
    cn_table_route_t     made = { .path_kind = CN_PATH_MATCH_PREFIX };

    assert_non_null(builder);

    if (rewrite != NULL) {
        made.path_kind = (uint8_t) rewrite->match;
        made.path = cn_block_add_bytes(builder, cn_bytes_str(rewrite->path));
        made.rewrite.kind = (uint8_t) rewrite->kind;
        made.rewrite.pattern = cn_block_add_bytes(builder, cn_bytes_str(rewrite->pattern));
        made.rewrite.value = cn_block_add_bytes(builder, cn_bytes_str(rewrite->value));
    }

    if (redirect != NULL) {
        made.redirect.scheme = cn_block_add_bytes(builder, cn_bytes_str(redirect->scheme));
        made.redirect.host = cn_block_add_bytes(builder, cn_bytes_str(redirect->host));
        made.redirect.port = redirect->port;
    }

    memcpy(cn_block_builder_root(builder), &made, sizeof(made));
    assert_int_equal(cn_block_finish(builder, block), CN_OK);
    *route = cn_block_root(*block);

    return builder;
}


static void
paths_are_rewritten(void **state)
{
    cn_pool_t  *pool = cn_pool_create(4096, NULL);

    (void) state;
    assert_non_null(pool);

    for (size_t i = 0; i < CN_COUNT_OF(rewrites); i++) {
        const cn_block_t        *block;
        const cn_table_route_t  *route;
        cn_block_builder_t      *builder = block_of(&rewrites[i], NULL, &block, &route);
        cn_bytes_t               asked = unit_copy(cn_bytes_str(rewrites[i].asked));
        cn_bytes_t               upstream;
        cn_status_t              status = cn_route_rewrite(block, route, asked, pool, &upstream);

        if (rewrites[i].upstream == NULL) {
            unit_check(status == CN_OK && upstream.len == 0, rewrites[i].name);

        } else if (rewrites[i].upstream[0] == '\0') {
            unit_check(status != CN_OK, rewrites[i].name);

        } else {
            unit_check(status == CN_OK, rewrites[i].name);
            unit_check(cn_bytes_equal(upstream, cn_bytes_str(rewrites[i].upstream)),
                       rewrites[i].name);
        }

        unit_free(asked);
        cn_block_builder_destroy(builder);
    }

    cn_regex_cache_clear();
    cn_pool_destroy(pool);
}


static void
redirects_lead_where_they_should(void **state)
{
    cn_pool_t  *pool = cn_pool_create(4096, NULL);

    (void) state;
    assert_non_null(pool);

    for (size_t i = 0; i < CN_COUNT_OF(redirects); i++) {
        const cn_block_t        *block;
        const cn_table_route_t  *route;
        cn_block_builder_t      *builder = block_of(NULL, &redirects[i], &block, &route);
        cn_message_t             head;
        cn_bytes_t               location;

        cn_message_init(&head, pool);
        head.authority = unit_copy(cn_bytes_str(redirects[i].authority));
        head.path = CN_BYTES("/a/b?x=1");
        head.scheme = cn_bytes_str(redirects[i].used);

        unit_check(cn_route_location(block, route, &head, pool, &location) == CN_OK,
                   redirects[i].name);
        unit_check(cn_bytes_equal(location, cn_bytes_str(redirects[i].location)),
                   redirects[i].name);
        unit_free(head.authority);
        cn_block_builder_destroy(builder);
    }

    cn_pool_destroy(pool);
}


static void
a_redirect_whose_path_fails_has_no_location(void **state)
{
    cn_pool_t               *pool = cn_pool_create(4096, NULL);
    const rewrite_t          rewrite = { "", CN_PATH_MATCH_PREFIX, "/", CN_REWRITE_PATH, "", "x",
                                         "", "" };
    const cn_block_t        *block;
    const cn_table_route_t  *route;
    cn_block_builder_t      *builder = block_of(&rewrite, &redirects[0], &block, &route);
    cn_message_t             head;
    cn_bytes_t               location;

    (void) state;
    assert_non_null(pool);
    cn_message_init(&head, pool);
    head.authority = CN_BYTES("a");
    head.path = CN_BYTES("/");
    assert_int_equal(cn_route_location(block, route, &head, pool, &location), CN_ERR_SYNTAX);
    cn_block_builder_destroy(builder);
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(paths_are_rewritten),
        cmocka_unit_test(redirects_lead_where_they_should),
        cmocka_unit_test(a_redirect_whose_path_fails_has_no_location),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
