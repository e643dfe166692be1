/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authz_config_values - the conditions of an AuthorizationPolicy, and the node that each makes of a
 * value: names with a star at one end, identities, ranges, ports, path templates.
 */

#include "authz/authz_config_reader.h"


authz_node_t *
cn_authz_read_node(const authz_reader_t *reader, cn_authz_kind_t kind, uint32_t line)
{
    authz_node_t  *node = cn_authz_node(reader->read->pool, kind, line);

    if (node == NULL) {
        cn_read_no_memory(reader->read);
    }

    return node;
}


void
cn_authz_read_child(const authz_reader_t *reader, authz_node_t *parent, authz_node_t *child)
{
    if (parent != NULL && cn_authz_add_child(parent, child) != CN_OK) {
        cn_read_no_memory(reader->read);
    }
}


/* ---- values ---------------------------------------------------------------------------------- */


/* "*", "*suffix", "prefix*" or exact. */
static cn_string_match_t
wildcard(cn_bytes_t value)
{
    cn_string_match_t  match = { .kind = CN_STRING_EXACT, .value = value };

    if (cn_bytes_equal(value, CN_BYTES("*"))) {
        return (cn_string_match_t) { .kind = CN_STRING_ANY };
    }

    if (value.ptr[0] == '*') {
        match.kind = CN_STRING_SUFFIX;
        match.value = cn_bytes_from(value, 1);

    } else if (value.ptr[value.len - 1] == '*') {
        match.kind = CN_STRING_PREFIX;
        match.value.len--;
    }

    return match;
}


static authz_node_t *
string_node(const authz_reader_t *reader, cn_authz_kind_t kind, cn_bytes_t value,
    const cn_doc_t *item)
{
    authz_node_t  *node = cn_authz_read_node(reader, kind, item->line);

    if (node != NULL) {
        node->match = wildcard(value);
    }

    return node;
}


static bool
is_known_domain(const cn_model_t *model, cn_bytes_t domain)
{
    CN_ARRAY_EACH(&model->trust_domains, const cn_bytes_t, known) {
        if (cn_bytes_equal(*known, domain)) {
            return true;
        }
    }

    return false;
}


/* One principal in one trust domain; rest is "/ns/x/sa/y". */
static authz_node_t *
principal_in(const authz_reader_t *reader, cn_string_match_kind_t kind, cn_bytes_t domain,
    cn_bytes_t rest, uint32_t line)
{
    authz_node_t  *node = cn_authz_read_node(reader, CN_AUTHZ_PRINCIPAL, line);
    char          *id = cn_pool_printf(reader->read->pool, "spiffe://%.*s%s%.*s",
                                       CN_BYTES_ARG(domain), rest.len > 0 ? "/" : "",
                                       CN_BYTES_ARG(rest));

    if (node == NULL || id == NULL) {
        cn_read_no_memory(reader->read);
        return NULL;
    }

    node->match = (cn_string_match_t) { .kind = kind, .value = cn_bytes_str(id) };

    return node;
}


/* A principal of our own trust domain is one in each of its aliases too. */
static authz_node_t *
make_principal(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item,
    const char *field)
{
    const cn_model_t   *model = reader->read->model;
    cn_string_match_t   match = wildcard(value);
    cn_bytes_t          domain, rest;
    authz_node_t       *any;

    (void) field;

    if (match.kind == CN_STRING_ANY || match.kind == CN_STRING_SUFFIX) {
        return string_node(reader, CN_AUTHZ_PRINCIPAL, value, item);
    }

    if (!cn_bytes_split(match.value, '/', &domain, &rest) || !is_known_domain(model, domain)
        || model->trust_domains.count == 1) {
        return principal_in(reader, match.kind, match.value, CN_BYTES_NONE, item->line);
    }

    any = cn_authz_read_node(reader, CN_AUTHZ_OR, item->line);

    CN_ARRAY_EACH(&model->trust_domains, const cn_bytes_t, known) {
        cn_authz_read_child(reader, any, principal_in(reader, match.kind, *known, rest,
                                                      item->line));
    }

    return any;
}


/* Whether several stars may stand around it: it means nothing of its own in a pattern. */
static bool
is_name_part(cn_bytes_t text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t  lower = cn_lower(text.ptr[i]);

        if (!((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') || lower == '-')) {
            return false;
        }
    }

    return true;
}


/* Stars in the middle, or several. */
static bool
namespace_pattern(cn_pool_t *pool, cn_bytes_t name, cn_bytes_t star, cn_string_match_t *match)
{
    uint8_t  *out = cn_pool_octets(pool, name.len * 2);
    size_t    len = 0;

    if (out == NULL) {
        return false;
    }

    while (name.len > 0) {
        size_t      at = cn_bytes_find(name, star);
        cn_bytes_t  part = cn_bytes(name.ptr, at == SIZE_MAX ? name.len : at);

        if (!is_name_part(part)) {
            return false;
        }

        if (part.len > 0) {
            memcpy(out + len, part.ptr, part.len);
            len += part.len;
        }

        if (at == SIZE_MAX) {
            break;
        }

        out[len++] = '.';
        out[len++] = '*';
        name = cn_bytes_from(name, at + star.len);
    }

    *match = (cn_string_match_t) { .kind = CN_STRING_REGEX, .value = cn_bytes(out, len) };

    return true;
}


bool
cn_authz_namespace(cn_pool_t *pool, cn_bytes_t name, cn_bytes_t star, cn_string_match_t *match)
{
    size_t      first = cn_bytes_find(name, star);
    cn_bytes_t  behind;

    *match = (cn_string_match_t) { .kind = CN_STRING_EXACT, .value = name };

    if (first == SIZE_MAX) {
        return true;
    }

    behind = cn_bytes_from(name, first + star.len);

    if (name.len == star.len) {
        match->kind = CN_STRING_ANY;

    } else if (behind.len == 0) {
        match->kind = CN_STRING_PREFIX;
        match->value.len = first;

    } else if (first == 0 && cn_bytes_find(behind, star) == SIZE_MAX) {
        match->kind = CN_STRING_SUFFIX;
        match->value = behind;

    } else {
        return namespace_pattern(pool, name, star, match);
    }

    return true;
}


static authz_node_t *
make_namespace(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item,
    const char *field)
{
    authz_node_t  *node = cn_authz_read_node(reader, CN_AUTHZ_NAMESPACE, item->line);

    if (node != NULL
        && !cn_authz_namespace(reader->read->pool, value, CN_BYTES("*"), &node->match))
    {
        cn_read_error(reader->read, item, field, "\"%.*s\" is no pattern of namespaces",
                      CN_BYTES_ARG(value));
    }

    return node;
}


/* "account" of the policy's own namespace or "namespace/account". */
static authz_node_t *
make_service_account(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item,
    const char *field)
{
    authz_node_t  *both = cn_authz_read_node(reader, CN_AUTHZ_AND, item->line);
    authz_node_t  *name_space = cn_authz_read_node(reader, CN_AUTHZ_NAMESPACE, item->line);
    authz_node_t  *account = cn_authz_read_node(reader, CN_AUTHZ_SERVICE_ACCOUNT, item->line);
    cn_bytes_t     head, rest;

    if (both == NULL || name_space == NULL || account == NULL) {
        return NULL;
    }

    if (!cn_bytes_split(value, '/', &head, &rest)) {
        rest = value;
        head = reader->resource->name_space;
    }

    if (cn_bytes_find_octet(value, '*') != SIZE_MAX || cn_bytes_find_octet(rest, '/') != SIZE_MAX
        || head.len == 0 || rest.len == 0) {
        cn_read_error(reader->read, item, field,
                      "\"%.*s\" is no service account: expected NAME or NAMESPACE/NAME",
                      CN_BYTES_ARG(value));
        return NULL;
    }

    name_space->match = (cn_string_match_t) { .kind = CN_STRING_EXACT, .value = head };
    account->match = (cn_string_match_t) { .kind = CN_STRING_EXACT, .value = rest };
    cn_authz_read_child(reader, both, name_space);
    cn_authz_read_child(reader, both, account);

    return both;
}


static authz_node_t *
range_node(const authz_reader_t *reader, cn_authz_kind_t kind, cn_bytes_t value,
    const cn_doc_t *item,
    const char *field)
{
    authz_node_t  *node = cn_authz_read_node(reader, kind, item->line);

    if (node != NULL && !cn_authz_read_range(value, node)) {
        cn_read_error(reader->read, item, field, "\"%.*s\" is no IP address and no range",
                      CN_BYTES_ARG(value));
    }

    return node;
}


static authz_node_t *
make_source_ip(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item,
    const char *field)
{
    return range_node(reader, CN_AUTHZ_SOURCE_IP, value, item, field);
}


static authz_node_t *
make_remote_ip(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item,
    const char *field)
{
    return range_node(reader, CN_AUTHZ_REMOTE_IP, value, item, field);
}


static authz_node_t *
make_destination_ip(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item,
    const char *field)
{
    return range_node(reader, CN_AUTHZ_DESTINATION_IP, value, item, field);
}


static authz_node_t *
make_sni(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    (void) field;

    return string_node(reader, CN_AUTHZ_SNI, value, item);
}


static authz_node_t *
make_method(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    (void) field;

    return string_node(reader, CN_AUTHZ_METHOD, value, item);
}


/* "{*}" and "{**}" as whole segments, in the form without braces; none: it has other braces. */
static cn_bytes_t
template_of(const authz_reader_t *reader, cn_bytes_t value)
{
    uint8_t  *out = cn_pool_octets(reader->read->pool, value.len);
    size_t    len = 0;
    bool      more = true;

    if (out == NULL) {
        cn_read_no_memory(reader->read);
        return CN_BYTES_NONE;
    }

    while (more) {
        cn_bytes_t  segment, rest;

        more = cn_bytes_split(value, '/', &segment, &rest);

        if (cn_bytes_equal(segment, CN_BYTES("{*}")) || cn_bytes_equal(segment, CN_BYTES("{**}"))) {
            segment = cn_bytes(segment.ptr + 1, segment.len - 2);

        } else if (cn_bytes_find_octet(segment, '*') != SIZE_MAX) {
            return CN_BYTES_NONE;
        }

        if (segment.len > 0) {
            memcpy(out + len, segment.ptr, segment.len);
        }
        len += segment.len;

        if (more) {
            out[len++] = '/';
        }

        value = rest;
    }

    return cn_bytes(out, len);
}


static authz_node_t *
make_path(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    authz_node_t  *node;

    if (cn_bytes_find_octet(value, '{') == SIZE_MAX
        && cn_bytes_find_octet(value, '}') == SIZE_MAX) {
        return string_node(reader, CN_AUTHZ_PATH, value, item);
    }

    node = cn_authz_read_node(reader, CN_AUTHZ_PATH, item->line);

    if (node != NULL) {
        node->match.kind = CN_STRING_REGEX;

        if (!cn_authz_template(reader->read->pool, template_of(reader, value),
                               &node->match.value)) {
            cn_read_error(reader->read, item, field,
                          "\"%.*s\" is no path template: expected segments, {*} for any one, {**} "
                          "once for any rest",
                          CN_BYTES_ARG(value));
        }
    }

    return node;
}


static void
to_lower(const authz_reader_t *reader, cn_bytes_t *bytes)
{
    uint8_t  *lower = cn_pool_octets(reader->read->pool, bytes->len);

    if (lower == NULL) {
        cn_read_no_memory(reader->read);
        return;
    }

    for (size_t i = 0; i < bytes->len; i++) {
        lower[i] = cn_lower(bytes->ptr[i]);
    }

    bytes->ptr = lower;
}


static authz_node_t *
make_host(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    authz_node_t  *node = string_node(reader, CN_AUTHZ_HOST, value, item);

    (void) field;

    if (node != NULL && node->match.kind != CN_STRING_ANY) {
        to_lower(reader, &node->match.value);
        node->match.ignore_case = true;
    }

    return node;
}


static authz_node_t *
make_header(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    authz_node_t  *node = string_node(reader, CN_AUTHZ_HEADER, value, item);

    (void) field;

    if (node == NULL) {
        return NULL;
    }

    if (node->match.kind != CN_STRING_ANY && cn_bytes_equal(reader->header, CN_BYTES(":method"))) {
        node->kind = CN_AUTHZ_METHOD;

    } else if (node->match.kind != CN_STRING_ANY
               && cn_bytes_equal(reader->header, CN_BYTES(":authority")))
    {
        node->kind = CN_AUTHZ_HOST;

    } else {
        node->name = reader->header;
    }

    return node;
}


static authz_node_t *
make_port(const authz_reader_t *reader, cn_bytes_t value, const cn_doc_t *item, const char *field)
{
    authz_node_t  *node = cn_authz_read_node(reader, CN_AUTHZ_PORT, item->line);
    uint64_t       port = 0;

    if (cn_bytes_to_u64(value, 65535, &port) != CN_OK || port == 0) {
        cn_read_error(reader->read, item, field, "\"%.*s\" is no port in 1..65535",
                      CN_BYTES_ARG(value));
        return NULL;
    }

    if (node != NULL) {
        node->port = (uint16_t) port;
    }

    return node;
}


/* ---- conditions ------------------------------------------------------------------------------ */


const authz_condition_t  cn_authz_source_conditions[] = {
    { "principals", "notPrincipals", make_principal },
    { "serviceAccounts", "notServiceAccounts", make_service_account },
    { "namespaces", "notNamespaces", make_namespace },
    { "remoteIpBlocks", "notRemoteIpBlocks", make_remote_ip },
    { "ipBlocks", "notIpBlocks", make_source_ip },
    { NULL, NULL, NULL }
};

const authz_condition_t  cn_authz_operation_conditions[] = {
    { "hosts", "notHosts", make_host },
    { "methods", "notMethods", make_method },
    { "paths", "notPaths", make_path },
    { "ports", "notPorts", make_port },
    { NULL, NULL, NULL }
};

static const authz_attribute_t  attributes[] = {
    { "source.ip", make_source_ip, false },
    { "remote.ip", make_remote_ip, false },
    { "source.namespace", make_namespace, false },
    { "source.principal", make_principal, false },
    { "source.serviceAccount", make_service_account, false },
    { "destination.ip", make_destination_ip, true },
    { "destination.port", make_port, true },
    { "connection.sni", make_sni, true },
};


static bool
is_header_name(cn_bytes_t name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t  octet = name.ptr[i];

        if (octet <= 0x20 || octet >= 0x7f || (octet == ':' && i > 0)
            || strchr("\"(),/;<=>?@[\\]{}", octet) != NULL)
        {
            return false;
        }
    }

    return name.len > 0;
}


const authz_attribute_t *
cn_authz_attribute(authz_reader_t *reader, cn_bytes_t key)
{
    static const authz_attribute_t  header = { "request.headers", make_header, false };
    const cn_bytes_t                before = CN_BYTES("request.headers[");
    cn_bytes_t                      name;

    for (size_t i = 0; i < CN_COUNT_OF(attributes); i++) {
        if (cn_bytes_equal(key, cn_bytes_str(attributes[i].key))) {
            return &attributes[i];
        }
    }

    if (!cn_bytes_starts_with(key, before) || key.len <= before.len
        || key.ptr[key.len - 1] != ']')
    {
        return NULL;
    }

    name = cn_bytes(key.ptr + before.len, key.len - before.len - 1);

    if (!is_header_name(name)) {
        return NULL;
    }

    to_lower(reader, &name);
    reader->header = name;

    return &header;
}
