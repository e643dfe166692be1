/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bootstrap_control - the keys that name a control plane: `source.istiod` and `identity.istio_ca`.
 *
 * A token never goes out without TLS: whoever reads it is this waypoint to all the mesh.  What
 * istiod cannot be asked for (a life above 90 days) is refused here and not hours later.
 */

#include "server/bootstrap_internal.h"

#include "server/document.h"

#define HOST_MAX              253       /* octets of a DNS name */
#define TTL_MAX_MS            (90ull * 24 * 3600 * 1000)
#define NODE_MAX              (256 * 1024)  /* octets of its JSON */

static const struct {
    const char       *name;
    cn_key_config_t   key;
}  keys[] = {
    { "ecdsa-p256", { CN_KEY_P256, 0 } },
    { "ecdsa-p384", { CN_KEY_P384, 0 } },
    { "rsa-2048",   { CN_KEY_RSA, 2048 } },
    { "rsa-3072",   { CN_KEY_RSA, 3072 } },
    { "rsa-4096",   { CN_KEY_RSA, 4096 } },
};


/* ---- values ---------------------------------------------------------------------------------- */

cn_bootstrap_server_t
cn_bootstrap_default_server(cn_pool_t *pool)
{
    return (cn_bootstrap_server_t) {
        .cluster_id = "Kubernetes",
        .headers = CN_ARRAY_INIT(pool, cn_grpc_metadata_t),
        .keepalive_ms = 30000,
        .keepalive_timeout_ms = 10000,
    };
}


cn_bootstrap_ca_t
cn_bootstrap_default_ca(cn_pool_t *pool)
{
    return (cn_bootstrap_ca_t) {
        .server = cn_bootstrap_default_server(pool),
        .ttl_ms = 24 * 3600 * 1000,
        .key = { CN_KEY_P256, 0 },
        .grace_ppm = 500000,
        .grace_jitter_ppm = 10000,
    };
}


bool
cn_bootstrap_parse_key(cn_bytes_t text, cn_bootstrap_ca_t *ca)
{
    for (size_t i = 0; i < CN_COUNT_OF(keys); i++) {
        if (cn_bytes_equal(text, cn_bytes_str(keys[i].name))) {
            ca->key = keys[i].key;
            return true;
        }
    }

    return false;
}


/* Letters, digits, '-', '_' and '.': what a resolver is asked for, and a certificate can name. */
static bool
is_host(cn_bytes_t host)
{
    if (host.len == 0 || host.len > HOST_MAX) {
        return false;
    }

    for (size_t i = 0; i < host.len; i++) {
        uint8_t  octet = cn_lower(host.ptr[i]);

        if (!(octet >= 'a' && octet <= 'z') && !(octet >= '0' && octet <= '9')
            && octet != '-' && octet != '.' && octet != '_')
        {
            return false;
        }
    }

    return host.ptr[0] != '.' && host.ptr[0] != '-';
}


/* "[::1]:80" without its brackets.  False: not of that form. */
static bool
split_brackets(cn_bytes_t text, cn_bytes_t *host, cn_bytes_t *port)
{
    cn_address_t  address;
    size_t        end = cn_bytes_find_octet(text, ']');

    if (end == SIZE_MAX || end + 1 >= text.len || text.ptr[end + 1] != ':') {
        return false;
    }

    *host = cn_bytes(text.ptr + 1, end - 1);
    *port = cn_bytes_from(text, end + 2);

    return cn_address_parse_ip(*host, &address) == CN_OK;
}


cn_status_t
cn_bootstrap_parse_server(cn_pool_t *pool, cn_bytes_t text, cn_bootstrap_server_t *server)
{
    cn_bytes_t  host, port;
    uint64_t    number;
    bool        split = text.len > 0 && text.ptr[0] == '['
                        ? split_brackets(text, &host, &port)
                        : cn_bytes_split(text, ':', &host, &port) && is_host(host);

    if (!split || cn_bytes_to_u64(port, UINT16_MAX, &number) != CN_OK || number == 0) {
        return CN_ERR_SYNTAX;
    }

    server->address = cn_pool_str(pool, text);
    server->host = cn_pool_str(pool, host);
    server->port = (uint16_t) number;

    if (host.len > 1 && host.ptr[host.len - 1] == '.') {
        host.len--;                     /* the resolver's dot stands in no certificate */
    }

    server->server_name = cn_pool_str(pool, host);

    return server->address != NULL && server->host != NULL && server->server_name != NULL
           ? CN_OK : CN_ERR_MEMORY;
}


/* ---- keys ------------------------------------------------------------------------------------ */

/* The keys of each server; prefix is "source.istiod". */
static void
read_server(reader_t *reader, cn_doc_t *node, const char *prefix, cn_bootstrap_server_t *server)
{
    cn_doc_t    *address = cn_doc_get(node, "address");
    cn_bytes_t   text;
    const char  *field = cn_pool_printf(reader->pool, "%s.address", prefix);

    if (address == NULL || cn_doc_string(address, &text) != CN_OK
        || cn_bootstrap_parse_server(reader->pool, text, server) != CN_OK)
    {
        wrong(reader, address != NULL ? address : node, field,
              "HOST:PORT, for instance \"istiod.istio-system.svc:15012\"");
        return;
    }

    read_path(reader, node, "root", cn_pool_printf(reader->pool, "%s.root", prefix),
              &server->root);

    if (server->root == NULL && cn_doc_get(node, "root") != NULL) {
        wrong(reader, cn_doc_get(node, "root"), "root", "a file");  /* memory, or reported above */
    }

    read_string(reader, node, "server_name",
                cn_pool_printf(reader->pool, "%s.server_name", prefix), &server->server_name);
    read_path(reader, node, "token", cn_pool_printf(reader->pool, "%s.token", prefix),
              &server->token);
    read_string(reader, node, "cluster_id",
                cn_pool_printf(reader->pool, "%s.cluster_id", prefix), &server->cluster_id);
}


static void
read_node(reader_t *reader, cn_doc_t *istiod)
{
    cn_doc_t    *node = cn_doc_get(istiod, "node");
    cn_doc_t    *id = cn_doc_get(node, "id");
    cn_doc_t    *cluster = cn_doc_get(node, "cluster");
    cn_doc_t    *metadata = cn_doc_get(node, "metadata");
    cn_bytes_t   text;

    if (cn_doc_string(id, &text) != CN_OK
        || (cluster != NULL && cn_doc_string(cluster, &text) != CN_OK)
        || (metadata != NULL && metadata->kind != CN_DOC_MAPPING))
    {
        wrong(reader, node != NULL ? node : istiod, "source.istiod.node",
              "{id: \"waypoint~IP~POD.NAMESPACE~DOMAIN\", cluster: TEXT, metadata: {...}}");
        return;
    }

    cn_doc_use_all(metadata);
    cn_doc_use_all(cn_doc_get(node, "locality"));
    reader->out->istiod.node = cn_document_print(node, reader->pool);

    if (reader->out->istiod.node == NULL || strlen(reader->out->istiod.node) > NODE_MAX) {
        wrong(reader, node, "source.istiod.node", "at most 256 KiB");
    }
}


void
cn_bootstrap_read_istiod(reader_t *reader, cn_doc_t *istiod)
{
    cn_bootstrap_istiod_t  *out = &reader->out->istiod;
    cn_doc_t               *plaintext = cn_doc_get(istiod, "plaintext");
    cn_doc_t               *delta = cn_doc_get(istiod, "delta");

    read_server(reader, istiod, "source.istiod", &out->server);

    if (plaintext != NULL && cn_doc_bool(plaintext, &out->server.plaintext) != CN_OK) {
        wrong(reader, plaintext, "source.istiod.plaintext", "true or false");
    }

    if (delta != NULL && cn_doc_bool(delta, &out->delta) != CN_OK) {
        wrong(reader, delta, "source.istiod.delta", "true or false");
    }

    if (out->server.plaintext && (out->server.token != NULL || out->server.root != NULL)) {
        wrong(reader, istiod, "source.istiod", "neither token nor root with plaintext");
    }

    read_node(reader, istiod);
}


/* 0..1, as parts of a million. */
static void
read_ratio(reader_t *reader, cn_doc_t *parent, const char *key, const char *field, uint32_t *ppm)
{
    cn_doc_t  *node = cn_doc_get(parent, key);
    double     value;

    if (node == NULL) {
        return;
    }

    if (cn_doc_double(node, &value) != CN_OK || !(value >= 0 && value <= 1)) {
        wrong(reader, node, field, "a number of 0..1");
        return;
    }

    *ppm = (uint32_t) (value * 1e6 + 0.5);
}


void
cn_bootstrap_read_ca(reader_t *reader, cn_doc_t *node)
{
    cn_bootstrap_ca_t  *ca = &reader->out->ca;
    cn_doc_t           *key = cn_doc_get(node, "key");
    cn_bytes_t          text;

    reader->out->identity = CN_IDENTITY_ISTIO_CA;
    read_server(reader, node, "identity.istio_ca", &ca->server);
    read_string(reader, node, "trust_domain", "identity.istio_ca.trust_domain",
                &reader->out->trust_domain);
    read_string(reader, node, "service_account", "identity.istio_ca.service_account",
                &reader->out->waypoint_account);
    read_duration(reader, node, "ttl", "identity.istio_ca.ttl", &ca->ttl_ms);
    read_ratio(reader, node, "grace_ratio", "identity.istio_ca.grace_ratio", &ca->grace_ppm);
    read_ratio(reader, node, "grace_jitter", "identity.istio_ca.grace_jitter",
               &ca->grace_jitter_ppm);

    if (ca->ttl_ms == 0 || ca->ttl_ms > TTL_MAX_MS) {
        wrong(reader, cn_doc_get(node, "ttl"), "identity.istio_ca.ttl",
              "above 0s and at most 2160h (90 days)");
    }

    if (key != NULL && (cn_doc_string(key, &text) != CN_OK || !cn_bootstrap_parse_key(text, ca))) {
        wrong(reader, key, "identity.istio_ca.key",
              "ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072 or rsa-4096");
    }
}


/* ---- what this build does -------------------------------------------------------------------- */

cn_status_t
cn_bootstrap_check_built(const cn_bootstrap_t *bootstrap, cn_report_t *report)
{
    const struct {
        const char  *field;
        const char  *text;
        bool         asked;
    } missing[] = {
        { "identity", "a SPIFFE socket is not implemented yet",
          bootstrap->identity == CN_IDENTITY_SOCKET },
        { "policies", "not implemented yet", bootstrap->policies != NULL },
    };
    cn_status_t  status = CN_OK;

    for (size_t i = 0; i < CN_COUNT_OF(missing); i++) {
        if (missing[i].asked) {
            cn_report_add(report, CN_REPORT_ERROR, NULL, "", missing[i].field, "%s",
                          missing[i].text);
            status = CN_ERR_UNSUPPORTED;
        }
    }

    return status;
}
