/* SPDX-License-Identifier: Apache-2.0 */

/*
 * entrypoint - arguments and environment of Istio's agent, as a bootstrap.
 *
 * A flag that is not known is told and passed over, as the agent's own successors bring new ones.
 * A value that is wrong is an error: what it was meant to say cannot be known.
 */

#include "server/entrypoint_internal.h"

#include "server/document.h"

#define WORKERS_MAX        64
#define DRAIN_DEFAULT_MS   5000


/* ---- flags ----------------------------------------------------------------------------------- */

static void
take_concurrency(cn_entrypoint_t *entry, const char *value)
{
    uint64_t  number;

    if (cn_bytes_to_u64(cn_bytes_str(value), UINT16_MAX, &number) != CN_OK) {
        cn_entrypoint_wrong(entry, "--concurrency", "a number");
        return;
    }

    entry->concurrency = (uint32_t) number;
}


/* A flag that takes a value.  False: none of ours. */
static bool
take_flag(cn_entrypoint_t *entry, cn_bytes_t name, const char *value)
{
    const struct {
        const char   *name;
        const char  **to;
    } flags[] = {
        { "domain",                 &entry->domain },
        { "serviceCluster",         &entry->service_cluster },
        { "proxyLogLevel",          &entry->proxy_log_level },
        { "log_output_level",       &entry->log_output_level },
    };

    for (size_t i = 0; i < CN_COUNT_OF(flags); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(flags[i].name))) {
            *flags[i].to = value;
            return true;
        }
    }

    if (cn_bytes_equal(name, CN_BYTES("concurrency"))) {
        take_concurrency(entry, value);
        return true;
    }

    return false;
}


/* Known, and without a value of its own behind it. */
static bool
is_switch(cn_bytes_t name)
{
    static const char *const  switches[] = { "log_as_json", "print", "profiling" };

    for (size_t i = 0; i < CN_COUNT_OF(switches); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(switches[i]))) {
            return true;
        }
    }

    return false;
}


static void
note_unused(cn_entrypoint_t *entry, cn_bytes_t name)
{
    cn_report_add(entry->report, CN_REPORT_NOTE, NULL, "",
                  cn_entrypoint_printf(entry, "--%.*s", CN_BYTES_ARG(name)),
                  "has no effect here");
}


/*
 * --name=value, --name value, --switch.  Of a flag that is not known, the next word is its value
 * unless it begins with '-'.
 */
static void
read_flags(cn_entrypoint_t *entry, char *const *words)
{
    for (size_t i = 0; words[i] != NULL; i++) {
        cn_bytes_t   word = cn_bytes_str(words[i]);
        cn_bytes_t   name, rest;
        const char  *value = NULL;

        if (!cn_bytes_starts_with(word, CN_BYTES("--"))) {
            cn_report_add(entry->report, CN_REPORT_NOTE, NULL, "", words[i],
                          "has no effect here");
            continue;
        }

        if (cn_bytes_split(cn_bytes_from(word, 2), '=', &name, &rest)) {
            value = words[i] + 2 + name.len + 1;

        } else if (!is_switch(name) && words[i + 1] != NULL && words[i + 1][0] != '-') {
            value = words[++i];
        }

        if (cn_bytes_equal(name, CN_BYTES("print"))) {
            continue;                   /* the command line's own */
        }

        if (value == NULL || !take_flag(entry, name, value)) {
            note_unused(entry, name);
        }
    }
}


static bool
read_arguments(cn_entrypoint_t *entry)
{
    char *const  *words = entry->input->arguments;

    if (words[0] == NULL || strcmp(words[0], "waypoint") != 0) {
        cn_entrypoint_wrong(entry, "proxy", "waypoint: nothing else is served here");
        return false;
    }

    read_flags(entry, words + 1);

    return true;
}


/* ---- the process ----------------------------------------------------------------------------- */

/* The agent's and Envoy's names. */
static bool
parse_level(cn_bytes_t name, cn_log_level_t *level)
{
    static const struct {
        const char      *name;
        cn_log_level_t   level;
    } levels[] = {
        { "none",     CN_LOG_ALERT }, { "off",      CN_LOG_ALERT }, { "fatal", CN_LOG_ALERT },
        { "critical", CN_LOG_ALERT }, { "error",    CN_LOG_ERROR }, { "warn",  CN_LOG_WARN },
        { "warning",  CN_LOG_WARN },  { "info",     CN_LOG_INFO },  { "debug", CN_LOG_DEBUG },
        { "trace",    CN_LOG_DEBUG },
    };

    for (size_t i = 0; i < CN_COUNT_OF(levels); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(levels[i].name))) {
            *level = levels[i].level;
            return true;
        }
    }

    return false;
}


/* "default:info,ads:debug": the level of "default", or of all: "info". */
static bool
parse_output_level(cn_bytes_t text, cn_log_level_t *level)
{
    while (text.len > 0) {
        cn_bytes_t  item, rest, scope, name;

        (void) cn_bytes_split(text, ',', &item, &rest);
        text = rest;

        if (!cn_bytes_split(item, ':', &scope, &name)) {
            name = item;

        } else if (!cn_bytes_equal(scope, CN_BYTES("default"))
                   && !cn_bytes_equal(scope, CN_BYTES("all")))
        {
            continue;
        }

        if (!parse_level(name, level)) {
            return false;
        }
    }

    return true;
}


/*
 * Agent and Envoy are two programs with a level each, warning and info unless told.  This is both,
 * so the one that says more holds.
 */
static void
read_log(cn_entrypoint_t *entry)
{
    cn_log_level_t  proxy = CN_LOG_WARN;
    cn_log_level_t  agent = CN_LOG_INFO;

    if (entry->proxy_log_level != NULL
        && !parse_level(cn_bytes_str(entry->proxy_log_level), &proxy))
    {
        cn_entrypoint_wrong(entry, "--proxyLogLevel",
                            "off, critical, error, warning, info, debug or trace");
    }

    if (entry->log_output_level != NULL
        && !parse_output_level(cn_bytes_str(entry->log_output_level), &agent))
    {
        cn_entrypoint_wrong(entry, "--log_output_level",
                            "SCOPE:LEVEL with none, fatal, error, warn, info or debug");
    }

    entry->out->log_level = proxy > agent ? proxy : agent;
}


/*
 * ProxyConfig's concurrency, else the CPU limit; 0 is a worker a core, and more than the cores is
 * never of use.
 */
static void
read_workers(cn_entrypoint_t *entry)
{
    uint32_t  count = 0;
    uint32_t  cores = entry->input->cores;

    cn_entrypoint_env_u32(entry, "ISTIO_CPU_LIMIT", 0, UINT16_MAX, &count);
    cn_entrypoint_config_u32(entry, "concurrency", UINT16_MAX, &count);

    if (entry->concurrency > 0) {
        count = entry->concurrency;
    }

    if (count > 0) {                    /* istiod is told what has come of it */
        (void) json_object_set_new(entry->proxy_config, "concurrency", json_integer(count));
    }

    if (count == 0 || count > cores) {
        count = cores;
    }

    entry->out->workers = count > WORKERS_MAX ? WORKERS_MAX : count;
}


/*
 * TERM: drain for terminationDrainDuration, then end.  With EXIT_ON_ZERO_ACTIVE_CONNECTIONS: no end
 * before MINIMUM_DRAIN_DURATION and before nobody is connected; there is no deadline but
 * Kubernetes' own, so peers are told to go within the minimum.
 */
static void
read_drain(cn_entrypoint_t *entry)
{
    cn_bootstrap_t  *out = entry->out;
    bool             wait = false;
    uint64_t         minimum_ms = DRAIN_DEFAULT_MS;

    out->drain_ms = DRAIN_DEFAULT_MS;
    cn_entrypoint_config_duration(entry, "terminationDrainDuration", &out->drain_ms);
    cn_entrypoint_env_bool(entry, "EXIT_ON_ZERO_ACTIVE_CONNECTIONS", &wait);
    cn_entrypoint_env_duration(entry, "MINIMUM_DRAIN_DURATION", &minimum_ms);
    out->drain_minimum_ms = 0;
    out->drain_deadline_ms = out->drain_ms;

    if (wait) {
        out->term_waits_for_idle = true;
        out->drain_ms = minimum_ms;
        out->drain_minimum_ms = minimum_ms;
        out->drain_deadline_ms = CN_DRAIN_FOREVER;
    }
}


/* ---- listening ------------------------------------------------------------------------------- */

static void
add_address(cn_entrypoint_t *entry, cn_array_t *list, const char *ip, uint32_t port)
{
    cn_address_t   address;
    cn_address_t  *item;

    if (cn_address_parse_ip(cn_bytes_str(ip), &address) != CN_OK) {
        return;
    }

    item = cn_array_add(list);

    if (item == NULL) {
        entry->failed = true;
        return;
    }

    address.port = (uint16_t) port;
    *item = address;
}


static bool
is_v6(cn_bytes_t ip)
{
    return cn_bytes_find_octet(ip, ':') != SIZE_MAX;
}


/* On every address of the families that the pod has. */
static void
add_everywhere(cn_entrypoint_t *entry, cn_array_t *list, uint32_t port)
{
    bool  v4 = false;
    bool  v6 = false;

    CN_ARRAY_EACH(&entry->addresses, const cn_bytes_t, ip) {
        if (is_v6(*ip)) {
            v6 = true;
        } else {
            v4 = true;
        }
    }

    if (v4) {
        add_address(entry, list, "0.0.0.0", port);
    }

    if (v6) {
        add_address(entry, list, "::", port);
    }
}


static void
read_ports(cn_entrypoint_t *entry)
{
    cn_bootstrap_t  *out = entry->out;
    uint32_t         hbone = 15008;
    uint32_t         admin = 15000;
    uint32_t         agent = 15020;
    uint32_t         status = 15021;
    uint32_t         prometheus = 15090;
    cn_bytes_t       pod_ip = *CN_ARRAY_AT(&entry->addresses, cn_bytes_t, 0);

    cn_entrypoint_config_u32(entry, "proxyAdminPort", UINT16_MAX, &admin);
    cn_entrypoint_config_u32(entry, "statusPort", UINT16_MAX, &agent);
    cn_entrypoint_env_u32(entry, "STATUS_PORT", 1, UINT16_MAX, &agent);
    cn_entrypoint_env_u32(entry, "ENVOY_STATUS_PORT", 1, UINT16_MAX, &status);
    cn_entrypoint_env_u32(entry, "ENVOY_PROMETHEUS_PORT", 1, UINT16_MAX, &prometheus);
    cn_entrypoint_env_u32(entry, "CAIRN_HBONE_PORT", 1, UINT16_MAX, &hbone);

    out->hbone.count = 0;
    out->admin.count = 0;
    out->status.count = 0;
    out->metrics.count = 0;
    add_everywhere(entry, &out->hbone, hbone);
    add_everywhere(entry, &out->status, status);
    add_everywhere(entry, &out->metrics, agent);
    add_everywhere(entry, &out->metrics, prometheus);
    add_address(entry, &out->admin, is_v6(pod_ip) ? "::1" : "127.0.0.1", admin);
}


/* ---- all of it ------------------------------------------------------------------------------- */

/* Its Gateway: the label that istiod's deployment gives the pod. */
static void
read_waypoint(cn_entrypoint_t *entry)
{
    const char  *gateway = json_string_value(
        json_object_get(entry->labels, "gateway.networking.k8s.io/gateway-name"));

    if (gateway == NULL) {
        gateway = cn_entrypoint_env(entry, "ISTIO_META_WORKLOAD_NAME");
    }

    if (gateway == NULL) {
        gateway = entry->service_account;
    }

    entry->out->waypoint = cn_entrypoint_printf(entry, "%s/%s", entry->name_space, gateway);
    entry->out->waypoint_account = cn_entrypoint_printf(entry, "%s", entry->service_account);
}


static cn_status_t
read_all(cn_entrypoint_t *entry)
{
    json_t  *node;

    if (!read_arguments(entry)) {
        return CN_ERR_SYNTAX;
    }

    cn_entrypoint_read_pod(entry);
    cn_entrypoint_read_config(entry);

    if (entry->report->errors > 0 || entry->failed) {
        return CN_ERR_SYNTAX;           /* the rest would only say it again */
    }

    read_log(entry);
    read_workers(entry);
    read_drain(entry);
    read_ports(entry);
    read_waypoint(entry);
    cn_entrypoint_read_control(entry);

    if (entry->report->errors > 0) {
        return CN_ERR_SYNTAX;
    }

    node = cn_entrypoint_node(entry);
    entry->out->istiod.node = cn_document_text(node, entry->pool);
    json_decref(node);

    if (entry->report->errors > 0) {
        return CN_ERR_SYNTAX;
    }

    return entry->out->istiod.node != NULL ? CN_OK : CN_ERR_MEMORY;
}


cn_status_t
cn_entrypoint_read(const cn_entrypoint_input_t *input, cn_pool_t *pool, cn_report_t *report,
    cn_bootstrap_t *bootstrap)
{
    const char       *root = cn_entrypoint_find(input->environment, "CAIRN_ROOT");
    reader_t          reader = { bootstrap, report, pool };
    cn_entrypoint_t   entry = {
        .input = input,
        .pool = pool,
        .report = report,
        .out = bootstrap,
        .root = root != NULL ? root : "",
        .addresses = CN_ARRAY_INIT(pool, cn_bytes_t),
    };
    cn_status_t       status;

    *bootstrap = (cn_bootstrap_t) {
        .pool = pool,
        .prefix = input->prefix != NULL ? input->prefix : ".",
    };
    cn_bootstrap_set_defaults(&reader);
    bootstrap->pid_path = NULL;         /* nothing is written; in a container it is process 1 */
    status = read_all(&entry);
    status = entry.failed ? CN_ERR_MEMORY : status;
    json_decref(entry.labels);
    json_decref(entry.annotations);
    json_decref(entry.proxy_config);

    return status;
}
