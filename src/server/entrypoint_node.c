/* SPDX-License-Identifier: Apache-2.0 */

/*
 * entrypoint_node - who we are to istiod.  It finds the pod and its Gateway by id and
 * INSTANCE_IPS, compares NAMESPACE and SERVICE_ACCOUNT with the identity that asks, and looks into
 * LABELS, ANNOTATIONS and PROXY_CONFIG for what the configuration depends on.
 */

#include "server/entrypoint_internal.h"

#define META         "ISTIO_META_"
#define META_JSON    "ISTIO_METAJSON_"

#define VERSION_DEFAULT  "1.31.0"       /* whose configuration we understand */


/* Sets key unless memory is spent, which shows at the end: then *metadata is NULL. */
static void
set(json_t **metadata, const char *key, json_t *value)
{
    if (*metadata == NULL || json_object_set_new(*metadata, key, value) != 0) {
        json_decref(*metadata);
        *metadata = NULL;
    }
}


static void
set_text(json_t **metadata, const char *key, const char *value)
{
    if (value != NULL) {
        set(metadata, key, json_string(value));
    }
}


/* ISTIO_META_X of proxyMetadata is X; those of the environment come after it and replace it. */
static void
set_proxy_metadata(cn_entrypoint_t *entry, json_t **metadata)
{
    json_t      *object = json_object_get(entry->proxy_config, "proxyMetadata");
    void        *at;

    for (at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        const char  *name = json_object_iter_key(at);

        if (strncmp(name, META, strlen(META)) == 0) {
            set_text(metadata, name + strlen(META), json_string_value(json_object_iter_value(at)));
        }
    }
}


/* ISTIO_META_X=TEXT; without a text it says nothing. */
static void
set_variable(cn_entrypoint_t *entry, json_t **metadata, const char *variable)
{
    const char  *equals = strchr(variable, '=');
    const char  *key = cn_entrypoint_printf(entry, "%.*s", (int) (equals - variable), variable);
    json_t      *value = json_string(equals + 1);

    if (equals[1] == '\0') {
        json_decref(value);
        return;
    }

    if (value == NULL) {
        cn_entrypoint_wrong(entry, key, "UTF-8");
        return;
    }

    if (entry->failed) {
        json_decref(value);
        return;
    }

    set(metadata, key + strlen(META), value);
}


/* ISTIO_METAJSON_X={...}: its members. */
static void
set_members(cn_entrypoint_t *entry, json_t **metadata, const char *variable)
{
    json_t  *object = json_loads(strchr(variable, '=') + 1, JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(object)) {
        cn_entrypoint_wrong(entry, META_JSON, "behind it a name, and a JSON object as value");

    } else if (*metadata != NULL && json_object_update(*metadata, object) != 0) {
        json_decref(*metadata);
        *metadata = NULL;
    }

    json_decref(object);
}


static void
set_environment(cn_entrypoint_t *entry, json_t **metadata)
{
    char *const  *environment = entry->input->environment;

    for (size_t i = 0; environment[i] != NULL; i++) {
        if (strncmp(environment[i], META, strlen(META)) == 0
            && strchr(environment[i], '=') != NULL)
        {
            set_variable(entry, metadata, environment[i]);
        }
    }

    for (size_t i = 0; environment[i] != NULL; i++) {
        if (strncmp(environment[i], META_JSON, strlen(META_JSON)) == 0
            && strchr(environment[i], '=') != NULL)
        {
            set_members(entry, metadata, environment[i]);
        }
    }
}


/* One string with commas. */
static const char *
instance_ips(cn_entrypoint_t *entry)
{
    const char  *text = "";

    CN_ARRAY_EACH(&entry->addresses, const cn_bytes_t, ip) {
        text = cn_entrypoint_printf(entry, "%s%s%.*s", text, text[0] != '\0' ? "," : "",
                                    CN_BYTES_ARG(*ip));
    }

    return text;
}


static json_t *
port_of(const cn_array_t *addresses, uint16_t otherwise)
{
    return json_integer(addresses->count > 0
                        ? CN_ARRAY_AT(addresses, cn_address_t, addresses->count - 1)->port
                        : otherwise);
}


/* Labels and annotations of the files, over those that the environment has given. */
static void
set_pod_info(json_t **metadata, const char *key, json_t *info)
{
    json_t  *before = *metadata != NULL ? json_object_get(*metadata, key) : NULL;

    if (info == NULL || (json_object_size(info) == 0 && before != NULL)) {
        return;
    }

    if (!json_is_object(before)) {
        set(metadata, key, json_deep_copy(info));

    } else if (json_object_update(before, info) != 0) {
        json_decref(*metadata);
        *metadata = NULL;
    }
}


/* What the agent says whatever the environment does; then what it only does not contradict. */
static void
set_constants(cn_entrypoint_t *entry, json_t **metadata)
{
    static const struct {
        const char  *key;
        const char  *value;
    } defaults[] = {
        { "CLUSTER_ID",                    "Kubernetes" },
        { "ENABLE_HBONE",                  "true" },
        { "ENVOY_SKIP_DEPRECATED_LOGS",    "true" },
        { "ISTIO_VERSION",                 VERSION_DEFAULT },
        { "METADATA_DISCOVERY",            "true" },
    };
    const char  *socket = cn_entrypoint_env(entry, "WORKLOAD_IDENTITY_SOCKET_FILE");

    for (size_t i = 0; i < CN_COUNT_OF(defaults); i++) {
        if (*metadata != NULL && json_object_get(*metadata, defaults[i].key) == NULL) {
            set_text(metadata, defaults[i].key, defaults[i].value);
        }
    }

    set_text(metadata, "WORKLOAD_IDENTITY_SOCKET_FILE", socket != NULL ? socket : "socket");
    set(metadata, "ENVOY_STATUS_PORT", port_of(&entry->out->status, 15021));
    set(metadata, "ENVOY_PROMETHEUS_PORT", port_of(&entry->out->metrics, 15090));

    if (entry->out->term_waits_for_idle) {
        set_text(metadata, "EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "true");
    }
}


static json_t *
make_metadata(cn_entrypoint_t *entry)
{
    json_t  *metadata = json_object();

    set_proxy_metadata(entry, &metadata);
    set_environment(entry, &metadata);
    set_constants(entry, &metadata);
    set_text(&metadata, "NAME", entry->pod_name);
    set_text(&metadata, "NAMESPACE", entry->name_space);
    set_text(&metadata, "SERVICE_ACCOUNT", entry->service_account);
    set_text(&metadata, "INSTANCE_IPS", instance_ips(entry));
    set(&metadata, "PILOT_SAN", json_pack("[s]", entry->out->istiod.server.server_name));
    set(&metadata, "PROXY_CONFIG", json_deep_copy(entry->proxy_config));
    set_pod_info(&metadata, "LABELS", entry->labels);
    set_pod_info(&metadata, "ANNOTATIONS", entry->annotations);

    return metadata;
}


json_t *
cn_entrypoint_node(cn_entrypoint_t *entry)
{
    const char  *cluster = entry->service_cluster;
    const char  *id;

    if (entry->out->istiod.server.server_name == NULL) {
        return NULL;
    }

    id = cn_entrypoint_printf(entry, "waypoint~%.*s~%s.%s~%s",
                        CN_BYTES_ARG(*CN_ARRAY_AT(&entry->addresses, cn_bytes_t, 0)),
                        entry->pod_name, entry->name_space, entry->domain);

    if (cluster == NULL) {
        cluster = cn_entrypoint_printf(entry, "%s.%s", entry->service_account, entry->name_space);
    }

    return json_pack("{s:s, s:s, s:{}, s:o}", "id", id, "cluster", cluster, "locality",
                     "metadata", make_metadata(entry));
}
