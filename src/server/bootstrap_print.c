/* SPDX-License-Identifier: Apache-2.0 */

/* bootstrap_print - a bootstrap as JSON.  What is not set is left out. */

#include "server/bootstrap.h"

#include "model/print.h"
#include "server/document.h"

#define INDENT  (JSON_INDENT(2) | JSON_SORT_KEYS)


static void
set_text(json_t **object, const char *key, const char *text)
{
    if (text != NULL) {
        cn_print_set(object, key, cn_print_bytes(cn_bytes_str(text)));
    }
}


static void
set_number(json_t **object, const char *key, uint64_t value)
{
    cn_print_set(object, key, json_integer((json_int_t) value));
}


static json_t *
addresses(const cn_array_t *list)
{
    json_t  *array = json_array();
    char     text[CN_ADDRESS_TEXT_MAX];

    CN_ARRAY_EACH(list, const cn_address_t, address) {
        cn_print_append(&array, cn_print_bytes(cn_bytes(text, cn_address_print(address, text))));
    }

    return array;
}


static json_t *
print_server(const cn_bootstrap_server_t *server)
{
    json_t  *object = json_object();
    json_t  *headers = json_array();

    CN_ARRAY_EACH(&server->headers, const cn_grpc_metadata_t, header) {
        cn_print_append(&headers, cn_print_bytes(header->name));
    }

    set_text(&object, "address", server->address);
    set_text(&object, "host", server->host);
    set_number(&object, "port", server->port);
    cn_print_set(&object, "plaintext", json_boolean(server->plaintext));
    set_text(&object, "root", server->root);
    set_text(&object, "server_name", server->server_name);
    set_text(&object, "token", server->token);
    set_text(&object, "cluster_id", server->cluster_id);
    set_number(&object, "keepalive_ms", server->keepalive_ms);
    set_number(&object, "keepalive_timeout_ms", server->keepalive_timeout_ms);
    cn_print_set(&object, "headers", headers);

    return object;
}


static json_t *
print_source(const cn_bootstrap_t *bootstrap)
{
    json_t  *object = json_object();
    json_t  *istiod;

    set_text(&object, "files", bootstrap->source_files);

    if (bootstrap->istiod.server.address == NULL) {
        cn_print_set(&object, "watch", json_boolean(bootstrap->source_watch));
        return object;
    }

    istiod = print_server(&bootstrap->istiod.server);
    cn_print_set(&istiod, "delta", json_boolean(bootstrap->istiod.delta));

    if (bootstrap->istiod.node != NULL) {
        cn_print_set(&istiod, "node", json_loads(bootstrap->istiod.node, 0, NULL));
    }

    cn_print_set(&object, "istiod", istiod);

    return object;
}


static json_t *
print_ca(const cn_bootstrap_ca_t *ca)
{
    static const char *const  keys[] = {
        [CN_KEY_P256] = "ecdsa-p256",
        [CN_KEY_P384] = "ecdsa-p384",
        [CN_KEY_RSA] = "rsa",
    };
    json_t                   *object = print_server(&ca->server);

    set_number(&object, "ttl_ms", ca->ttl_ms);
    set_text(&object, "key", keys[ca->key.kind]);
    cn_print_set_u64(&object, "rsa_bits", ca->key.rsa_bits);
    set_number(&object, "grace_ppm", ca->grace_ppm);
    set_number(&object, "grace_jitter_ppm", ca->grace_jitter_ppm);

    return object;
}


static json_t *
print_files(const cn_bootstrap_t *bootstrap)
{
    json_t  *object = json_object();

    set_text(&object, "certificate", bootstrap->certificate);
    set_text(&object, "key", bootstrap->key);
    set_text(&object, "root", bootstrap->root);

    return object;
}


static json_t *
print_identity(const cn_bootstrap_t *bootstrap)
{
    json_t  *object = json_object();
    json_t  *aliases = json_array();

    CN_ARRAY_EACH(&bootstrap->trust_aliases, const cn_bytes_t, alias) {
        cn_print_append(&aliases, cn_print_bytes(*alias));
    }

    switch (bootstrap->identity) {
    case CN_IDENTITY_FILES:
        cn_print_set(&object, "files", print_files(bootstrap));
        break;
    case CN_IDENTITY_ISTIO_CA:
        cn_print_set(&object, "istio_ca", print_ca(&bootstrap->ca));
        break;
    case CN_IDENTITY_SOCKET:
        set_text(&object, "socket", bootstrap->identity_socket);
        break;
    case CN_IDENTITY_DEVELOPMENT:
    default:
        set_text(&object, "development", bootstrap->ca_directory);
        break;
    }

    set_text(&object, "trust_domain", bootstrap->trust_domain);
    cn_print_set(&object, "trust_domain_aliases", aliases);
    set_text(&object, "service_account", bootstrap->waypoint_account);

    return object;
}


static json_t *
print_plain(const cn_array_t *list)
{
    json_t  *array = json_array();
    char     text[CN_ADDRESS_TEXT_MAX];

    CN_ARRAY_EACH(list, const cn_plain_listener_t, listener) {
        json_t  *object = json_object();

        (void) cn_address_print(&listener->address, text);
        set_text(&object, "address", text);
        set_text(&object, "service", listener->service);
        set_text(&object, "certificate", listener->certificate);
        set_text(&object, "key", listener->key);
        cn_print_append(&array, object);
    }

    return array;
}


static json_t *
print_drain(const cn_bootstrap_t *bootstrap)
{
    json_t  *object = json_object();

    set_number(&object, "time_ms", bootstrap->drain_ms);
    set_number(&object, "minimum_ms", bootstrap->drain_minimum_ms);
    cn_print_set(&object, "term_waits_for_idle", json_boolean(bootstrap->term_waits_for_idle));

    if (bootstrap->drain_deadline_ms != CN_DRAIN_FOREVER) {
        set_number(&object, "deadline_ms", bootstrap->drain_deadline_ms);
    }

    return object;
}


const char *
cn_bootstrap_print(const cn_bootstrap_t *bootstrap)
{
    static const char *const  levels[] = { "alert", "error", "warn", "info", "debug" };
    json_t                   *object = json_object();
    char                     *text = NULL;
    size_t                    len;

    set_text(&object, "prefix", bootstrap->prefix);
    set_number(&object, "workers", bootstrap->workers);
    set_text(&object, "log_level", levels[bootstrap->log_level]);
    set_text(&object, "log_path", bootstrap->log_path);
    set_text(&object, "access_log_path", bootstrap->access_log_path);
    set_text(&object, "pid", bootstrap->pid_path != NULL ? bootstrap->pid_path : "off");
    cn_print_set(&object, "drain", print_drain(bootstrap));
    set_text(&object, "waypoint", bootstrap->waypoint);
    cn_print_set(&object, "source", print_source(bootstrap));
    set_text(&object, "policies", bootstrap->policies);
    cn_print_set(&object, "identity", print_identity(bootstrap));
    cn_print_set(&object, "http_10", json_boolean(bootstrap->http_10));
    cn_print_set(&object, "hbone", addresses(&bootstrap->hbone));
    cn_print_set(&object, "plaintext", print_plain(&bootstrap->plaintext));
    cn_print_set(&object, "admin", addresses(&bootstrap->admin));
    cn_print_set(&object, "status", addresses(&bootstrap->status));
    cn_print_set(&object, "metrics", addresses(&bootstrap->metrics));

    if (object != NULL) {
        len = json_dumpb(object, NULL, 0, INDENT);
        text = (char *) cn_pool_octets(bootstrap->pool, len + 2);

        if (text != NULL) {
            (void) json_dumpb(object, text, len, INDENT);
            memcpy(text + len, "\n", 2);
        }
    }

    json_decref(object);

    return text;
}
