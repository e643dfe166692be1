/* SPDX-License-Identifier: Apache-2.0 */

/*
 * actions - redirects, rewrites and direct responses, of VirtualService and of Gateway API.  What
 * a rule says is turned into what a route does as istiod turns it: a rule may have several matches
 * and be of several ports, and some of it depends on them.
 */

#include "source/istio/rules.h"

#define BODY_MAX  (1024 * 1024)         /* octets: Envoy's max_direct_response_body_size_bytes */

static const uint16_t  redirect_codes[] = { 301, 302, 303, 307, 308 };


/* ---- values ---------------------------------------------------------------------------------- */


static bool
has_only(cn_bytes_t value, const char *others)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t  octet = cn_lower(value.ptr[i]);

        if (!((octet >= 'a' && octet <= 'z') || (octet >= '0' && octet <= '9')
              || (octet != '\0' && strchr(others, octet) != NULL))) {
            return false;
        }
    }

    return value.len > 0;
}


bool
cn_rule_check_host(cn_read_t *read, const cn_doc_t *node, const char *field, cn_bytes_t host)
{
    if (host.len > 300 || !has_only(host, "-._~:[]")) {
        cn_read_error(read, node, field, "\"%.*s\" is no host with or without a port",
                      CN_BYTES_ARG(host));
        return false;
    }

    return true;
}


/* A path that may stand in a request line or a location: no blanks, no controls. */
static bool
check_path(cn_read_t *read, const cn_doc_t *node, const char *field, cn_bytes_t path)
{
    if (path.len == 0 || path.ptr[0] != '/') {
        cn_read_error(read, node, field, "a path begins with /");
        return false;
    }

    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] <= 0x20 || path.ptr[i] >= 0x7f || path.ptr[i] == '#') {
            cn_read_error(read, node, field, "is no path: blanks, controls, # and what is not "
                          "ASCII are percent-encoded");
            return false;
        }
    }

    return true;
}


/*
 * istiod passes "%PREFIX()%" of a VirtualService on as it stands, where it means nothing: the rest
 * of the rules hold, the redirect is answered 500.
 */
static void
check_location(cn_read_t *read, const cn_doc_t *node, const char *field, cn_bytes_t path)
{
    if (cn_bytes_starts_with(path, CN_BYTES("%PREFIX()%"))) {
        cn_read_warn(read, node, field, "%%PREFIX()%% has no meaning in a VirtualService: the "
                     "redirect is answered 500");
        return;
    }

    (void) check_path(read, node, field, path);
}


static void
read_host(cn_read_t *read, cn_doc_t *node, const char *key, const char *field, cn_bytes_t *host)
{
    if (cn_read_string(read, node, key, field, host) && host->len > 0) {
        (void) cn_rule_check_host(read, cn_doc_get(node, key),
                                  cn_read_path(read, "%s.%s", field, key), *host);
    }
}


static void
read_scheme(cn_read_t *read, cn_doc_t *node, const char *field, cn_bytes_t *scheme)
{
    if (cn_read_string(read, node, "scheme", field, scheme) && scheme->len > 0
        && !cn_bytes_equal(*scheme, CN_BYTES("http"))
        && !cn_bytes_equal(*scheme, CN_BYTES("https")))
    {
        cn_read_error(read, cn_doc_get(node, "scheme"), cn_read_path(read, "%s.scheme", field),
                      "\"%.*s\" is none of http, https", CN_BYTES_ARG(*scheme));
    }
}


static void
read_code(cn_read_t *read, cn_doc_t *node, const char *key, const char *field, uint16_t *code)
{
    uint64_t  number = 0;

    if (!cn_read_u64(read, node, key, field, 0, 999, &number) || number == 0) {
        return;
    }

    for (size_t i = 0; i < CN_COUNT_OF(redirect_codes); i++) {
        if (redirect_codes[i] == number) {
            *code = (uint16_t) number;
            return;
        }
    }

    cn_read_error(read, cn_doc_get(node, key), cn_read_path(read, "%s.%s", field, key),
                  "%u is none of 301, 302, 303, 307, 308", (unsigned) number);
}


/* ---- VirtualService -------------------------------------------------------------------------- */


void
cn_rule_read_redirect(cn_read_t *read, cn_doc_t *parent, const char *parent_field,
    cn_rule_actions_t *actions)
{
    cn_doc_t    *node = cn_read_mapping(read, parent, "redirect", parent_field);
    const char  *field = cn_read_path(read, "%s.redirect", parent_field);
    cn_bytes_t   derive = CN_BYTES_NONE;
    cn_bytes_t   uri = CN_BYTES_NONE;
    uint64_t     port = 0;

    if (node == NULL) {
        return;
    }

    actions->redirect_status = 301;
    read_code(read, node, "redirectCode", field, &actions->redirect_status);
    read_scheme(read, node, field, &actions->redirect.scheme);
    read_host(read, node, "authority", field, &actions->redirect.host);

    if (cn_read_u64(read, node, "port", field, 1, 65535, &port)) {
        actions->redirect.port = (uint16_t) port;
    }

    if (cn_read_string(read, node, "derivePort", field, &derive)) {
        actions->port_of_request = cn_bytes_equal(derive, CN_BYTES("FROM_REQUEST_PORT"));

        if (port != 0 || (!actions->port_of_request
                          && !cn_bytes_equal(derive, CN_BYTES("FROM_PROTOCOL_DEFAULT"))))
        {
            cn_read_error(read, cn_doc_get(node, "derivePort"),
                          cn_read_path(read, "%s.derivePort", field), port != 0
                          ? "port is there too" : "is none of FROM_PROTOCOL_DEFAULT, "
                          "FROM_REQUEST_PORT");
        }
    }

    if (cn_read_string(read, node, "uri", field, &uri) && uri.len > 0) {
        actions->rewrite = (cn_path_rewrite_t) { .kind = CN_REWRITE_PATH, .value = uri };
        check_location(read, cn_doc_get(node, "uri"), cn_read_path(read, "%s.uri", field), uri);
    }

    if (uri.len == 0 && actions->redirect.scheme.len == 0 && actions->redirect.host.len == 0
        && port == 0 && !actions->port_of_request)
    {
        cn_read_error(read, node, field, "needs one of uri, authority, scheme, port");
    }
}


static void
read_regex_rewrite(cn_read_t *read, cn_doc_t *node, const char *field,
    cn_path_rewrite_t *rewrite)
{
    cn_path_rewrite_t  made = { .kind = CN_REWRITE_REGEX };

    if (cn_read_need_string(read, node, "match", field, &made.pattern)) {
        (void) cn_read_string(read, node, "rewrite", field, &made.value);
        (void) cn_read_regex_rewrite(read, node, field, made.pattern, made.value);
        *rewrite = made;
    }
}


void
cn_rule_read_rewrite(cn_read_t *read, cn_doc_t *parent, const char *parent_field,
    cn_rule_actions_t *actions)
{
    cn_doc_t    *node = cn_read_mapping(read, parent, "rewrite", parent_field);
    const char  *field = cn_read_path(read, "%s.rewrite", parent_field);
    cn_doc_t    *regex = cn_read_mapping(read, node, "uriRegexRewrite", field);
    cn_bytes_t   uri = CN_BYTES_NONE;

    if (node == NULL) {
        return;
    }

    read_host(read, node, "authority", field, &actions->host_rewrite);

    if (regex != NULL) {
        read_regex_rewrite(read, regex, cn_read_path(read, "%s.uriRegexRewrite", field),
                           &actions->rewrite);
    }

    if (cn_read_string(read, node, "uri", field, &uri) && uri.len > 0) {
        const char  *path = cn_read_path(read, "%s.uri", field);

        (void) check_path(read, cn_doc_get(node, "uri"), path, uri);
        actions->rewrite = (cn_path_rewrite_t) { .kind = CN_REWRITE_PREFIX, .value = uri };

        if (regex != NULL) {
            cn_read_error(read, cn_doc_get(node, "uri"), path, "uriRegexRewrite is there too");
        }
    }

    if (actions->rewrite.kind == CN_REWRITE_NONE && actions->host_rewrite.len == 0) {
        cn_read_error(read, node, field, "needs one of uri, authority, uriRegexRewrite");
    }
}


static int
base64_value(uint8_t octet)
{
    static const char  digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789+/";
    const char        *found = octet == '\0' ? NULL : strchr(digits, octet);

    return found == NULL ? -1 : (int) (found - digits);
}


/* RFC 4648 section 4, with its padding. */
static bool
decode_base64(cn_read_t *read, cn_bytes_t text, cn_bytes_t *decoded)
{
    uint8_t   *octets = cn_pool_octets(read->pool, text.len / 4 * 3 + 3);
    uint32_t   bits = 0;
    size_t     len = 0;
    size_t     padding = 0;

    if (octets == NULL) {
        cn_read_no_memory(read);
        return true;
    }

    while (padding < 2 && padding < text.len && text.ptr[text.len - 1 - padding] == '=') {
        padding++;
    }

    for (size_t i = 0; i < text.len; i++) {
        int  value = i < text.len - padding ? base64_value(text.ptr[i]) : 0;

        if (value < 0) {
            return false;
        }

        bits = bits << 6 | (uint32_t) value;

        if (i % 4 == 3) {
            octets[len++] = (uint8_t) (bits >> 16);
            octets[len++] = (uint8_t) (bits >> 8);
            octets[len++] = (uint8_t) bits;
        }
    }

    *decoded = cn_bytes(octets, len - padding);
    return text.len % 4 == 0;
}


static void
read_body(cn_read_t *read, cn_doc_t *node, const char *field, cn_bytes_t *body)
{
    cn_bytes_t  bytes = CN_BYTES_NONE;
    bool        is_string = cn_read_string(read, node, "string", field, body);

    if (cn_read_string(read, node, "bytes", field, &bytes)) {
        if (is_string) {
            cn_read_error(read, node, field, "has both string and bytes");

        } else if (!decode_base64(read, bytes, body)) {
            cn_read_error(read, cn_doc_get(node, "bytes"),
                          cn_read_path(read, "%s.bytes", field), "is not base64");
            return;
        }
    }

    if (body->len > BODY_MAX) {
        cn_read_error(read, node, field, "is longer than 1 MiB");
    }
}


void
cn_rule_read_direct(cn_read_t *read, cn_doc_t *parent, const char *parent_field,
    cn_rule_t *rule)
{
    cn_doc_t    *node = cn_read_mapping(read, parent, "directResponse", parent_field);
    const char  *field = cn_read_path(read, "%s.directResponse", parent_field);
    cn_doc_t    *body = cn_read_mapping(read, node, "body", field);
    uint64_t     status = 0;

    if (node == NULL) {
        return;
    }

    rule->actions.direct = true;

    if (cn_read_u64(read, node, "status", field, 200, 599, &status)) {
        rule->direct_status = (uint16_t) status;

    } else if (cn_doc_get(node, "status") == NULL) {
        cn_read_error(read, node, cn_read_path(read, "%s.status", field), "is missing");
    }

    if (body != NULL) {
        read_body(read, body, cn_read_path(read, "%s.body", field), &rule->actions.direct_body);
    }
}


/* ---- Gateway API ----------------------------------------------------------------------------- */


/* {type: ReplaceFullPath, replaceFullPath: x} or {type: ReplacePrefixMatch, ...}. */
static void
read_path_modifier(cn_read_t *read, cn_doc_t *parent, const char *parent_field,
    cn_rule_actions_t *actions)
{
    cn_doc_t    *node = cn_read_mapping(read, parent, "path", parent_field);
    const char  *field = cn_read_path(read, "%s.path", parent_field);
    cn_bytes_t   type = CN_BYTES_NONE;
    cn_bytes_t   value = CN_BYTES_NONE;
    const char  *key = "replaceFullPath";

    if (node == NULL || !cn_read_need_string(read, node, "type", field, &type)) {
        return;
    }

    if (cn_bytes_equal(type, CN_BYTES("ReplacePrefixMatch"))) {
        key = "replacePrefixMatch";
        actions->replace_prefix = true;

    } else if (!cn_bytes_equal(type, CN_BYTES("ReplaceFullPath"))) {
        cn_read_error(read, cn_doc_get(node, "type"), cn_read_path(read, "%s.type", field),
                      "%.*s is none of ReplaceFullPath, ReplacePrefixMatch", CN_BYTES_ARG(type));
        return;
    }

    (void) cn_read_string(read, node, key, field, &value);
    actions->rewrite = (cn_path_rewrite_t) { .kind = CN_REWRITE_PATH, .value = value };

    /* a prefix may be taken away */
    if (value.len > 0 || !actions->replace_prefix) {
        (void) check_path(read, node, cn_read_path(read, "%s.%s", field, key), value);
    }
}


void
cn_rule_read_request_redirect(cn_read_t *read, cn_doc_t *filter, const char *filter_field,
    cn_rule_actions_t *actions)
{
    cn_doc_t    *node = cn_read_mapping(read, filter, "requestRedirect", filter_field);
    const char  *field = cn_read_path(read, "%s.requestRedirect", filter_field);
    uint64_t     port = 0;

    if (node == NULL) {
        cn_read_error(read, filter, field, "is missing");
        return;
    }

    actions->redirect_status = 302;
    read_code(read, node, "statusCode", field, &actions->redirect_status);
    read_scheme(read, node, field, &actions->redirect.scheme);
    read_host(read, node, "hostname", field, &actions->redirect.host);
    read_path_modifier(read, node, field, actions);

    if (cn_read_u64(read, node, "port", field, 1, 65535, &port)) {
        actions->redirect.port = (uint16_t) port;
    }

    /* without a port: that of the new scheme, or else the one that was asked for */
    actions->port_of_request = port == 0 && actions->redirect.scheme.len == 0;
}


/* "/.*" is the whole path, as istiod writes it; what it becomes has no groups to name. */
void
cn_rule_read_url_rewrite(cn_read_t *read, cn_doc_t *filter, const char *filter_field,
    cn_rule_actions_t *actions)
{
    cn_doc_t           *node = cn_read_mapping(read, filter, "urlRewrite", filter_field);
    const char         *field = cn_read_path(read, "%s.urlRewrite", filter_field);
    cn_path_rewrite_t  *rewrite = &actions->rewrite;

    if (node == NULL) {
        cn_read_error(read, filter, field, "is missing");
        return;
    }

    read_host(read, node, "hostname", field, &actions->host_rewrite);
    read_path_modifier(read, node, field, actions);

    if (rewrite->kind == CN_REWRITE_PATH && !actions->replace_prefix) {
        rewrite->kind = CN_REWRITE_REGEX;
        rewrite->pattern = CN_BYTES("/.*");
        (void) cn_read_regex_rewrite(read, node, cn_read_path(read, "%s.path", field),
                                     rewrite->pattern, rewrite->value);
    }
}


/* ---- a route's ------------------------------------------------------------------------------- */


/* "^" QUOTED "(/?)(.*)": a prefix and its slash. */
static cn_status_t
prefix_pattern(cn_pool_t *pool, cn_bytes_t prefix, cn_bytes_t *pattern)
{
    static const char  tail[] = "(/?)(.*)";
    uint8_t           *octets = cn_pool_octets(pool, 2 * prefix.len + sizeof(tail));
    size_t             len = 0;

    if (octets == NULL) {
        return CN_ERR_MEMORY;
    }

    octets[len++] = '^';

    for (size_t i = 0; i < prefix.len; i++) {
        if (strchr("\\.+*?()|[]{}^$", prefix.ptr[i]) != NULL) {
            octets[len++] = '\\';
        }

        octets[len++] = prefix.ptr[i];
    }

    memcpy(octets + len, tail, sizeof(tail) - 1);
    *pattern = cn_bytes(octets, len + sizeof(tail) - 1);
    return CN_OK;
}


/* Gateway API: "/" and "" take the prefix away, and a slash at the end says nothing. */
static cn_status_t
replace_prefix(cn_pool_t *pool, cn_bytes_t prefix, cn_path_rewrite_t *rewrite)
{
    if (rewrite->value.len > 0 && rewrite->value.ptr[rewrite->value.len - 1] == '/') {
        rewrite->value.len--;
    }

    if (rewrite->value.len > 0) {
        rewrite->kind = CN_REWRITE_PREFIX;
        return CN_OK;
    }

    rewrite->kind = CN_REWRITE_REGEX;
    rewrite->value = CN_BYTES("/\\2");
    return prefix_pattern(pool, prefix, &rewrite->pattern);
}


static void
set_redirect(const cn_rule_actions_t *actions, uint16_t port, cn_route_t *route)
{
    bool  https = cn_bytes_equal(actions->redirect.scheme, CN_BYTES("https"));

    route->action = CN_ACTION_REDIRECT;
    route->direct_status = actions->redirect_status;
    route->redirect = actions->redirect;

    if (actions->replace_prefix) {
        route->rewrite.kind = CN_REWRITE_PREFIX;
    }

    if (actions->port_of_request) {
        route->redirect.port = port;
    }

    if (route->redirect.port == (https ? 443 : 80)) {
        route->redirect.port = 0;       /* the scheme says it */
    }
}


cn_status_t
cn_rule_set_actions(const cn_rule_t *rule, uint16_t port, cn_pool_t *pool, cn_route_t *route)
{
    const cn_rule_actions_t  *actions = &rule->actions;

    route->rewrite = actions->rewrite;
    route->host_rewrite = actions->host_rewrite;

    if (actions->redirect_status != 0) {
        set_redirect(actions, port, route);
        return CN_OK;
    }

    if (rule->direct_status != 0) {
        route->action = CN_ACTION_DIRECT_RESPONSE;
        route->direct_status = rule->direct_status;
        route->direct_body = actions->direct_body;
        return CN_OK;
    }

    return actions->replace_prefix ? replace_prefix(pool, route->path, &route->rewrite) : CN_OK;
}
