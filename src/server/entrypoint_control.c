/* SPDX-License-Identifier: Apache-2.0 */

/*
 * entrypoint_control - istiod, and who this waypoint is.
 *
 * The identity comes from the first of: SPIRE's socket, certificates mounted as files, credentials
 * that the platform has put into the pod, istiod's CA.  That order is the agent's.
 */

#include "server/entrypoint_internal.h"

#include <sys/stat.h>

#define XDS_HEADERS  "XDS_HEADER_"
#define CA_HEADERS   "CA_HEADER_"


/* ---- servers --------------------------------------------------------------------------------- */

/* A metadata name as gRPC has them.  "-bin" would mean that the value is base64. */
static bool
is_header(cn_bytes_t name, const char *value)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t  octet = cn_lower(name.ptr[i]);

        if (!(octet >= 'a' && octet <= 'z') && !(octet >= '0' && octet <= '9')
            && octet != '-' && octet != '_' && octet != '.')
        {
            return false;
        }
    }

    for (const char *at = value; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~') {
            return false;
        }
    }

    return name.len > 0 && !cn_bytes_ends_with_nocase(name, CN_BYTES("-bin"));
}


static void
add_header(cn_entrypoint_t *entry, cn_bytes_t name, const char *value, cn_array_t *headers)
{
    cn_grpc_metadata_t  *header = cn_array_add(headers);
    char                *lower = cn_pool_str(entry->pool, name);

    if (header == NULL || lower == NULL) {
        entry->failed = true;
        return;
    }

    for (size_t i = 0; i < name.len; i++) {
        lower[i] = (char) cn_lower((uint8_t) lower[i]);
    }

    *header = (cn_grpc_metadata_t) {
        .name = cn_bytes(lower, name.len),
        .value = cn_bytes_str(cn_entrypoint_printf(entry, "%s", value)),
    };
}


/* XDS_HEADER_NAME=VALUE and the like. */
static void
read_headers(cn_entrypoint_t *entry, const char *prefix, cn_array_t *headers)
{
    for (size_t i = 0; entry->input->environment[i] != NULL; i++) {
        cn_bytes_t   variable = cn_bytes_str(entry->input->environment[i]);
        cn_bytes_t   name, rest;
        const char  *value;

        if (!cn_bytes_starts_with(variable, cn_bytes_str(prefix))
            || !cn_bytes_split(variable, '=', &name, &rest))
        {
            continue;
        }

        value = entry->input->environment[i] + name.len + 1;
        name = cn_bytes_from(name, strlen(prefix));

        if (!is_header(name, value)) {
            cn_entrypoint_wrong(entry, prefix, "behind it a name of letters, digits, '-', '_' and "
                                               "'.', and a value of printable ASCII");
            continue;
        }

        add_header(entry, name, value, headers);
    }
}


/* The authorities that sign istiod's certificate.  NULL: the system's. */
static const char *
root_of(cn_entrypoint_t *entry, const char *variable)
{
    const char  *given = cn_entrypoint_env(entry, variable);
    const char  *provider = cn_entrypoint_env(entry, "PILOT_CERT_PROVIDER");
    const char  *path = "/var/run/secrets/istio/root-cert.pem";

    if (given != NULL) {
        return strcmp(given, "SYSTEM") == 0 ? NULL : cn_entrypoint_path(entry, given);
    }

    if (provider != NULL && strcmp(provider, "kubernetes") == 0) {
        path = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

    } else if (provider != NULL && strcmp(provider, "custom") == 0) {
        path = "/etc/certs/root-cert.pem";
    }

    return cn_entrypoint_path(entry, path);
}


static void
read_server(cn_entrypoint_t *entry, const char *name, const char *address,
    cn_bootstrap_server_t *server)
{
    const char  *cluster = cn_entrypoint_env(entry, "ISTIO_META_CLUSTER_ID");

    if (address == NULL
        || cn_bootstrap_parse_server(entry->pool, cn_bytes_str(address), server) != CN_OK)
    {
        cn_entrypoint_wrong(entry, name, "HOST:PORT");
    }

    if (cluster != NULL) {
        server->cluster_id = cn_entrypoint_printf(entry, "%s", cluster);
    }

    server->token = cn_entrypoint_path(entry, "/var/run/secrets/tokens/istio-token");
    cn_entrypoint_env_duration(entry, "GRPC_KEEPALIVE_INTERVAL", &server->keepalive_ms);
    cn_entrypoint_env_duration(entry, "GRPC_KEEPALIVE_TIMEOUT", &server->keepalive_timeout_ms);
}


static void
read_istiod(cn_entrypoint_t *entry)
{
    cn_bootstrap_server_t  *server = &entry->out->istiod.server;
    const char             *name = cn_entrypoint_env(entry, "ISTIOD_SAN");
    const char             *policy = cn_entrypoint_config_string(entry, "controlPlaneAuthPolicy");

    read_server(entry, "discoveryAddress", cn_entrypoint_config_string(entry, "discoveryAddress"),
                server);
    read_headers(entry, XDS_HEADERS, &server->headers);
    server->root = root_of(entry, "XDS_ROOT_CA");

    if (name != NULL) {
        server->server_name = cn_entrypoint_printf(entry, "%s", name);
    }

    if (policy != NULL && strcmp(policy, "NONE") == 0) {
        server->plaintext = true;
        server->token = NULL;
        server->root = NULL;
    }
}


/* ---- the CA ---------------------------------------------------------------------------------- */

/*
 * P-256 unless something else is asked for: istiod signs it, ztunnel has nothing else, and a
 * handshake costs a fraction of RSA's.
 */
static void
read_key(cn_entrypoint_t *entry, cn_bootstrap_ca_t *ca)
{
    const char  *algorithm = cn_entrypoint_env(entry, "ECC_SIGNATURE_ALGORITHM");
    const char  *curve = cn_entrypoint_env(entry, "ECC_CURVE");
    uint32_t     bits = 0;

    cn_entrypoint_env_u32(entry, "WORKLOAD_RSA_KEY_SIZE", 2048, 4096, &bits);

    if (algorithm != NULL && strcmp(algorithm, "ECDSA") != 0) {
        cn_entrypoint_wrong(entry, "ECC_SIGNATURE_ALGORITHM", "ECDSA");
        return;
    }

    if (algorithm == NULL && bits > 0) {
        ca->key = (cn_key_config_t) { CN_KEY_RSA, bits };
        return;
    }

    if (curve != NULL && strcmp(curve, "P256") != 0 && strcmp(curve, "P384") != 0) {
        cn_entrypoint_wrong(entry, "ECC_CURVE", "P256 or P384");
        return;
    }

    if (curve != NULL && strcmp(curve, "P384") == 0) {
        ca->key.kind = CN_KEY_P384;
    }
}


static void
read_ca(cn_entrypoint_t *entry)
{
    cn_bootstrap_ca_t  *ca = &entry->out->ca;
    const char         *address = cn_entrypoint_env(entry, "CA_ADDR");
    const char         *provider = cn_entrypoint_env(entry, "CA_PROVIDER");
    const char         *istiod = cn_entrypoint_config_string(entry, "discoveryAddress");

    entry->out->identity = CN_IDENTITY_ISTIO_CA;

    if (provider != NULL && strcmp(provider, "Citadel") != 0) {
        cn_entrypoint_wrong(entry, "CA_PROVIDER", "Citadel");
    }

    read_server(entry, "CA_ADDR", address != NULL ? address : istiod, &ca->server);
    read_headers(entry, CA_HEADERS, &ca->server.headers);
    ca->server.root = root_of(entry, "CA_ROOT_CA");

    if (address == NULL || (istiod != NULL && strcmp(address, istiod) == 0)) {
        ca->server.server_name = entry->out->istiod.server.server_name;
    }

    cn_entrypoint_env_duration(entry, "SECRET_TTL", &ca->ttl_ms);
    cn_entrypoint_env_ratio(entry, "SECRET_GRACE_PERIOD_RATIO", &ca->grace_ppm);
    cn_entrypoint_env_ratio(entry, "SECRET_GRACE_PERIOD_RATIO_JITTER", &ca->grace_jitter_ppm);
    read_key(entry, ca);

    if (ca->ttl_ms == 0) {
        cn_entrypoint_wrong(entry, "SECRET_TTL", "above 0s");
    }
}


/* ---- identity -------------------------------------------------------------------------------- */

static bool
is_there(const char *path, mode_t type)
{
    struct stat  info;

    return path != NULL && stat(path, &info) == 0 && (info.st_mode & S_IFMT) == type;
}


static void
use_files(cn_entrypoint_t *entry, const char *directory)
{
    cn_bootstrap_t  *out = entry->out;
    const char      *base = cn_entrypoint_path(entry, directory);

    out->identity = CN_IDENTITY_FILES;
    out->certificate = cn_entrypoint_printf(entry, "%s/cert-chain.pem", base);
    out->key = cn_entrypoint_printf(entry, "%s/key.pem", base);
    out->root = cn_entrypoint_printf(entry, "%s/root-cert.pem", base);
}


static bool
has_credentials(cn_entrypoint_t *entry, const char *directory)
{
    static const char *const  names[] = { "cert-chain.pem", "key.pem", "root-cert.pem" };

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        const char  *path = cn_entrypoint_printf(entry, "%s/%s", directory, names[i]);

        if (!is_there(cn_entrypoint_path(entry, path), S_IFREG)) {
            return false;
        }
    }

    return true;
}


static void
read_identity(cn_entrypoint_t *entry)
{
    const char  *name = cn_entrypoint_env(entry, "WORKLOAD_IDENTITY_SOCKET_FILE");
    const char  *credentials = "/var/run/secrets/workload-spiffe-credentials";
    const char  *socket;
    bool         mounted = false;

    if (name != NULL && strchr(name, '/') != NULL) {
        cn_entrypoint_wrong(entry, "WORKLOAD_IDENTITY_SOCKET_FILE", "a name, not a path");
        return;
    }

    socket = cn_entrypoint_printf(entry, "/var/run/secrets/workload-spiffe-uds/%s",
                            name != NULL ? name : "socket");
    socket = cn_entrypoint_path(entry, socket);
    cn_entrypoint_env_bool(entry, "FILE_MOUNTED_CERTS", &mounted);

    if (is_there(socket, S_IFSOCK)) {
        entry->out->identity = CN_IDENTITY_SOCKET;
        entry->out->identity_socket = socket;

    } else if (mounted) {
        use_files(entry, "/etc/certs");

    } else if (has_credentials(entry, credentials)) {
        use_files(entry, credentials);

    } else {
        read_ca(entry);
    }
}


/* The mesh's own names; aliases come over xDS with the listener, or, before that, from here. */
static void
read_trust_domain(cn_entrypoint_t *entry)
{
    const char  *domain = cn_entrypoint_env(entry, "TRUST_DOMAIN");
    cn_bytes_t   aliases = cn_bytes_str(cn_entrypoint_env(entry, "CAIRN_TRUST_DOMAIN_ALIASES"));

    if (domain != NULL) {
        entry->out->trust_domain = cn_entrypoint_printf(entry, "%s", domain);
    }

    while (aliases.len > 0) {
        cn_bytes_t   name, rest;
        cn_bytes_t  *item;

        (void) cn_bytes_split(aliases, ',', &name, &rest);
        aliases = rest;
        name = cn_bytes_trim(name);

        if (name.len == 0) {
            continue;
        }

        item = cn_array_add(&entry->out->trust_aliases);

        if (item == NULL || cn_pool_copy(entry->pool, name, item) != CN_OK) {
            entry->failed = true;
            return;
        }
    }
}


void
cn_entrypoint_read_control(cn_entrypoint_t *entry)
{
    read_istiod(entry);
    read_trust_domain(entry);
    read_identity(entry);
}
