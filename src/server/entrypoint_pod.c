/* SPDX-License-Identifier: Apache-2.0 */

/*
 * entrypoint_pod - the pod that this process is in, and ProxyConfig.
 *
 * ProxyConfig is put together as Istio's agent does it: its defaults, then PROXY_CONFIG of the
 * environment, then the pod's annotation proxy.istio.io/config; messages and maps are merged.
 */

#include "server/entrypoint_internal.h"

#include "server/document.h"
#include "server/pod_info.h"
#include "source/istio/yaml.h"

#include <errno.h>
#include <unistd.h>

#define CONFIG_MAX  (64 * 1024)         /* octets of one ProxyConfig */

static const char  config_defaults[] =
    "{\"binaryPath\": \"/usr/local/bin/envoy\", \"configPath\": \"./etc/istio/proxy\","
    " \"controlPlaneAuthPolicy\": \"MUTUAL_TLS\","
    " \"discoveryAddress\": \"istiod.istio-system.svc:15012\", \"drainDuration\": \"45s\","
    " \"proxyAdminPort\": 15000, \"serviceCluster\": \"istio-proxy\", \"statNameLength\": 189,"
    " \"statusPort\": 15020, \"terminationDrainDuration\": \"5s\"}";

/* What would change how the waypoint behaves, and is not done here. */
static const char *const  config_unused[] = {
    "caCertificatesPem", "customConfigFile", "envoyAccessLogService", "envoyMetricsService",
    "extraStatTags", "privateKeyProvider", "proxyBootstrapTemplatePath", "proxyStatsMatcher",
    "readinessProbe", "runtimeValues", "statsdUdpAddress",
};


/* ---- the pod --------------------------------------------------------------------------------- */

static const char *
required(cn_entrypoint_t *entry, const char *name)
{
    const char  *value = cn_entrypoint_env(entry, name);

    if (value == NULL) {
        cn_entrypoint_wrong(entry, name, "to be set in the environment");
    }

    return value;
}


/* An IP, unless it is there already. */
static void
add_ip(cn_entrypoint_t *entry, const char *ip)
{
    cn_bytes_t  *item;

    CN_ARRAY_EACH(&entry->addresses, const cn_bytes_t, other) {
        if (cn_bytes_equal(*other, cn_bytes_str(ip))) {
            return;
        }
    }

    item = cn_array_add(&entry->addresses);

    if (item == NULL) {
        entry->failed = true;
        return;
    }

    *item = cn_bytes_str(ip);
}


/* The pod's own first: istiod takes that one for the waypoint's address. */
static void
read_addresses(cn_entrypoint_t *entry)
{
    const char    *pod_ip = required(entry, "INSTANCE_IP");
    cn_address_t   address;

    if (pod_ip == NULL) {
        return;
    }

    if (cn_address_parse_ip(cn_bytes_str(pod_ip), &address) != CN_OK) {
        cn_entrypoint_wrong(entry, "INSTANCE_IP", "an IP");
        return;
    }

    add_ip(entry, pod_ip);

    for (size_t i = 0; entry->input->addresses != NULL && entry->input->addresses[i] != NULL;
         i++)
    {
        add_ip(entry, entry->input->addresses[i]);
    }
}


/* A file of the downward API; without it the object is empty, as outside Kubernetes. */
static json_t *
read_info(cn_entrypoint_t *entry, const char *path)
{
    const char  *file = cn_entrypoint_path(entry, path);
    cn_bytes_t   text = CN_BYTES_NONE;
    size_t       bad;
    json_t      *object;

    if (access(file, F_OK) != 0) {
        cn_report_add(entry->report, CN_REPORT_WARNING, NULL, "", path, "%s", strerror(errno));

    } else if (cn_bootstrap_read_file(entry->pool, entry->report, file, &text) != CN_OK) {
        return NULL;
    }

    object = cn_pod_info_read(text, entry->pool, &bad);
    entry->failed |= object == NULL;

    if (bad > 0) {
        cn_report_add(entry->report, CN_REPORT_WARNING, NULL, "", path,
                      "%zu lines are no key=\"value\" and are left out", bad);
    }

    return object;
}


void
cn_entrypoint_read_pod(cn_entrypoint_t *entry)
{
    entry->pod_name = required(entry, "POD_NAME");
    entry->name_space = required(entry, "POD_NAMESPACE");
    entry->service_account = cn_entrypoint_env(entry, "ISTIO_META_SERVICE_ACCOUNT");

    if (entry->service_account == NULL) {
        entry->service_account = required(entry, "SERVICE_ACCOUNT");
    }

    read_addresses(entry);
    entry->labels = read_info(entry, "/etc/istio/pod/labels");
    entry->annotations = read_info(entry, "/etc/istio/pod/annotations");

    if (entry->domain == NULL && entry->name_space != NULL) {
        entry->domain = cn_entrypoint_printf(entry, "%s.svc.cluster.local", entry->name_space);
    }
}


/* ---- ProxyConfig ----------------------------------------------------------------------------- */

/* YAML, of which JSON is a part.  NULL: reported. */
static json_t *
parse_config(cn_entrypoint_t *entry, const char *name, cn_bytes_t text)
{
    cn_array_t   documents = CN_ARRAY_INIT(entry->pool, cn_doc_t *);
    json_t      *value;
    cn_status_t  status;

    if (text.len > CONFIG_MAX) {
        cn_entrypoint_wrong(entry, name, "at most 64 KiB");
        return NULL;
    }

    status = cn_yaml_read(name, text, entry->pool, entry->report, &documents);
    entry->failed |= status == CN_ERR_MEMORY;

    if (status != CN_OK) {
        return NULL;
    }

    if (documents.count == 0) {
        return json_object();
    }

    value = cn_document_json(*CN_ARRAY_AT(&documents, cn_doc_t *, 0));

    if (documents.count > 1 || !json_is_object(value)) {
        cn_entrypoint_wrong(entry, name, "one mapping");
        json_decref(value);
        return NULL;
    }

    return value;
}


static void
overlay_config(cn_entrypoint_t *entry, const char *name, const char *text)
{
    json_t  *value;

    if (text == NULL) {
        return;
    }

    value = parse_config(entry, name, cn_bytes_str(text));

    if (value != NULL && json_object_update_recursive(entry->proxy_config, value) != 0) {
        entry->failed = true;
    }

    json_decref(value);
}


static void
warn_unused(cn_entrypoint_t *entry)
{
    for (size_t i = 0; i < CN_COUNT_OF(config_unused); i++) {
        if (json_object_get(entry->proxy_config, config_unused[i]) != NULL) {
            cn_report_add(entry->report, CN_REPORT_WARNING, NULL, "", "PROXY_CONFIG",
                          "%s is not implemented yet", config_unused[i]);
        }
    }
}


void
cn_entrypoint_read_config(cn_entrypoint_t *entry)
{
    const char  *given = cn_entrypoint_env(entry, "PROXY_CONFIG");

    entry->proxy_config = json_loads(config_defaults, 0, NULL);

    if (entry->proxy_config == NULL) {
        entry->failed = true;
        return;
    }

    overlay_config(entry, "PROXY_CONFIG", given);
    overlay_config(entry, "proxy.istio.io/config",
                   json_string_value(json_object_get(entry->annotations,
                                                     "proxy.istio.io/config")));
    warn_unused(entry);
}
