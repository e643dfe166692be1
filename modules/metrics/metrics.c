/* SPDX-License-Identifier: Apache-2.0 */

/*
 * metrics - Istio's standard metrics with all their labels, as reporter "waypoint": of requests,
 * and of raw connections.
 *
 * The labels of a request are 25 strings; what they depend on is a few numbers.  A small cache by
 * the hash of those numbers leads straight to the series, so that the text is made once for each
 * combination.
 */

#include "metrics/metrics_table.h"

#include "base/hash.h"
#include "filter/module.h"

#define CACHE_ENTRIES  4096         /* a power of two */
#define LABELS_MAX     4096         /* octets */
/* octets of one label's value; names in Kubernetes are shorter */
#define VALUE_MAX      400

typedef struct {
    uint64_t            key;
    cn_series_http_t   *series;
    cn_series_route_t  *route;
} cache_entry_t;

typedef struct {
    cache_entry_t  entries[CACHE_ENTRIES];
} cache_t;

/* What the labels of a request depend on. */
typedef struct {
    uint64_t  generation;
    uint64_t  principal;
    uint64_t  service;              /* hash of the host or authority */
    uint64_t  cluster;              /* hash of the name, where it went */
    uint8_t   source[16];
    uint8_t   destination[16];
    uint32_t  flags;
    uint32_t  route;                /* position in the chain, plus one; 0: none matched */
    uint16_t  code;
    uint16_t  grpc_code;
    uint16_t  port;
    uint8_t   grpc;
    uint8_t   mutual;
} facts_t;

/* Of a raw connection: what was counted so far. */
typedef struct {
    cn_series_tcp_t  *series;           /* good as long as the worker lives */
    uint64_t          sent;
    uint64_t          received;
} tcp_ctx_t;

typedef struct {
    char    octets[LABELS_MAX];
    size_t  len;
} labels_t;

const cn_module_t  cn_metrics_module;


static void
label(labels_t *labels, const char *name, cn_bytes_t value, const char *otherwise)
{
    size_t  name_len = strlen(name);

    if (value.len == 0) {
        value = cn_bytes_str(otherwise);
    }

    if (value.len > VALUE_MAX) {
        value.len = VALUE_MAX;
    }

    if (labels->len + name_len + 4 + 2 * value.len > sizeof(labels->octets)) {
        return;
    }

    if (labels->len > 0) {
        labels->octets[labels->len++] = ',';
    }

    memcpy(labels->octets + labels->len, name, name_len);
    labels->len += name_len;
    labels->octets[labels->len++] = '=';
    labels->octets[labels->len++] = '"';
    labels->len += cn_label_escape(value, labels->octets + labels->len,
                                   sizeof(labels->octets) - labels->len - 1);
    labels->octets[labels->len++] = '"';
}


/* A workload's string, or none when nobody is known at that address. */
#define FIELD(block, field)                                                                     \
    ((block) == NULL ? CN_BYTES_NONE                                                            \
                     : cn_block_bytes((block), ((const cn_table_workload_t *)                   \
                                                cn_block_root(block))->field))


static void
source_labels(labels_t *labels, const cn_request_t *request, const cn_block_t *source)
{
    cn_bytes_t   principal = request->connection->peer_principal;
    cn_bytes_t   name_space = FIELD(source, name_space);
    cn_spiffe_t  parts;

    if (cn_spiffe_parse(principal, &parts) == CN_OK) {
        name_space = parts.name_space;
    }

    label(labels, "source_workload", FIELD(source, workload), "unknown");
    label(labels, "source_canonical_service", FIELD(source, canonical_name), "unknown");
    label(labels, "source_canonical_revision", FIELD(source, canonical_revision), "latest");
    label(labels, "source_workload_namespace", name_space, "unknown");
    label(labels, "source_principal", principal, "unknown");
    label(labels, "source_app", FIELD(source, app), "unknown");
    label(labels, "source_version", FIELD(source, version), "unknown");
    label(labels, "source_cluster", FIELD(source, cluster), "unknown");
}


static void
destination_labels(labels_t *labels, const cn_request_t *request, const cn_block_t *destination)
{
    const cn_table_service_t  *service = request->service;
    const cn_block_t          *block = request->service_block;
    cn_bytes_t                 none = CN_BYTES_NONE;

    label(labels, "destination_workload", FIELD(destination, workload), "unknown");
    label(labels, "destination_workload_namespace", FIELD(destination, name_space), "unknown");
    label(labels, "destination_principal", FIELD(destination, principal), "unknown");
    label(labels, "destination_app", FIELD(destination, app), "unknown");
    label(labels, "destination_version", FIELD(destination, version), "unknown");
    label(labels, "destination_service", service ? cn_block_bytes(block, service->host) : none,
          "unknown");
    label(labels, "destination_canonical_service", FIELD(destination, canonical_name), "unknown");
    label(labels, "destination_canonical_revision", FIELD(destination, canonical_revision),
          "latest");
    label(labels, "destination_service_name",
          service ? cn_block_bytes(block, service->name) : none, "unknown");
    label(labels, "destination_service_namespace",
          service ? cn_block_bytes(block, service->name_space) : none, "unknown");
    label(labels, "destination_cluster", FIELD(destination, cluster), "unknown");
}


static void
put_series_labels(labels_t *labels, const cn_request_t *request)
{
    const cn_tables_t  *tables = request->env->tables;
    const cn_block_t   *destination = NULL;

    labels->len = 0;

    if (request->host != NULL) {
        destination = cn_tables_workload(tables, request->host->address.ip, NULL);
    }

    label(labels, "reporter", CN_BYTES("waypoint"), "");
    source_labels(labels, request,
                  cn_tables_workload(tables, request->connection->peer.ip, NULL));
    destination_labels(labels, request, destination);
}


static void
put_last_labels(labels_t *labels, const cn_request_t *request)
{
    char  text[128];

    label(labels, "response_flags",
          cn_bytes(text, cn_flags_print(request->flags, text, sizeof(text))), "-");
    label(labels, "connection_security_policy",
          request->connection->peer_principal.len > 0 ? CN_BYTES("mutual_tls") : CN_BYTES("none"),
          "");
}


static cn_bytes_t
print_number(uint64_t value, char digits[20])
{
    return cn_bytes(digits, cn_u64_print(value, digits));
}


static cn_series_http_t *
find_series(cn_request_t *request, const facts_t *facts)
{
    labels_t  labels;
    char      text[20];

    put_series_labels(&labels, request);
    label(&labels, "request_protocol", facts->grpc ? CN_BYTES("grpc") : CN_BYTES("http"), "");
    label(&labels, "response_code", print_number(facts->code, text), "0");
    label(&labels, "grpc_response_status",
          facts->grpc ? print_number(facts->grpc_code, text) : CN_BYTES_NONE, "");
    put_last_labels(&labels, request);

    return cn_series_http(request->env->series, cn_bytes(labels.octets, labels.len));
}


/* For the page: which route of which port, and where it led. */
static cn_series_route_t *
find_route_series(cn_request_t *request, const facts_t *facts)
{
    labels_t           labels = { .len = 0 };
    const cn_block_t  *block = request->service_block;
    char               text[20];

    label(&labels, "host", cn_block_bytes(block, request->service->host), "");
    label(&labels, "port", print_number(facts->port, text), "");
    label(&labels, "route", facts->route == 0 ? CN_BYTES_NONE
                                              : print_number(facts->route - 1, text), "");
    label(&labels, "cluster", facts->cluster == 0 ? CN_BYTES_NONE : request->upstream_cluster, "");

    return cn_series_route(request->env->series, cn_bytes(labels.octets, labels.len));
}


static uint32_t
position_of(const cn_request_t *request)
{
    const cn_table_route_t  *first;

    if (request->route == NULL || request->chain == NULL) {
        return 0;
    }

    first = CN_BLOCK_ITEMS(request->service_block, request->chain->routes, cn_table_route_t);

    return (uint32_t) (request->route - first) + 1;
}


static uint16_t
grpc_code(const cn_request_t *request)
{
    const cn_header_t  *header = request->response == NULL ? NULL
        : cn_headers_find_id(&request->response->headers, CN_HEADER_GRPC_STATUS);
    uint64_t            value;

    if (header == NULL || cn_bytes_to_u64(header->value, 999, &value) != CN_OK) {
        return 0;
    }

    return (uint16_t) value;
}


static facts_t
collect_facts(const cn_request_t *request)
{
    facts_t  facts;

    memset(&facts, 0, sizeof(facts));
    facts.generation = cn_tables_generation(request->env->tables);
    facts.principal = cn_hash(request->connection->peer_principal);
    memcpy(facts.source, request->connection->peer.ip, 16);
    facts.flags = request->flags;
    facts.code = request->response != NULL ? request->response->status : 0;
    facts.grpc = cn_message_is_grpc(request->head);
    facts.grpc_code = facts.grpc ? grpc_code(request) : 0;
    facts.mutual = request->connection->peer_principal.len > 0;

    if (request->service != NULL) {
        facts.service = cn_hash(cn_block_bytes(request->service_block, request->service->host));
    }

    if (request->host != NULL) {
        memcpy(facts.destination, request->host->address.ip, 16);
        facts.cluster = cn_hash(request->upstream_cluster);
    }

    if (request->chain != NULL) {
        facts.port = request->chain->port;
        facts.route = position_of(request);
    }

    return facts;
}


/* Counts one of the page's figures up; relaxed: nobody needs them to be of one moment. */
static void
count(_Atomic uint64_t *value, uint64_t more)
{
    atomic_fetch_add_explicit(value, more, memory_order_relaxed);
}


static void
count_route(cn_series_route_t *route, const cn_request_t *request, const facts_t *facts)
{
    unsigned  class = facts->code / 100;

    if (route == NULL) {
        return;
    }

    count(&route->requests, 1);
    count(&route->by_class[class < CN_COUNT_OF(route->by_class) ? class : 0], 1);
    count(&route->duration_us, request->end_us - request->start_us);

    if (request->details != NULL && strncmp(request->details, "rbac_access_denied", 18) == 0) {
        count(&route->denied, 1);
    }
}


static void
metrics_log(cn_request_t *request, const void *config)
{
    cache_t           *cache = cn_worker_state(request->env, &cn_metrics_module, sizeof(cache_t));
    cache_entry_t      uncached = { .key = 0 };
    cache_entry_t     *entry = &uncached;
    facts_t            facts;
    uint64_t           key;

    (void) config;

    if (request->head == NULL) {
        return;                 /* no request: nothing was understood of it */
    }

    facts = collect_facts(request);
    key = cn_hash(cn_bytes(&facts, sizeof(facts))) | 1;

    if (cache != NULL) {
        entry = &cache->entries[(key >> 1) & (CACHE_ENTRIES - 1)];
    }

    if (entry->key != key) {
        entry->series = find_series(request, &facts);
        entry->route = request->service != NULL && request->chain != NULL
            ? find_route_series(request, &facts) : NULL;
        entry->key = key;
    }

    count(&entry->series->requests, 1);
    count_route(entry->route, request, &facts);
    cn_histogram_add(&entry->series->duration_ms, request->end_us - request->start_us);
    cn_histogram_add(&entry->series->request_bytes,
                     (request->downstream != NULL ? request->downstream->wire_received : 0)
                     * 1000);
    cn_histogram_add(&entry->series->response_bytes,
                     (request->downstream != NULL ? request->downstream->wire_sent : 0) * 1000);
}


/* ---- raw connections ------------------------------------------------------------------------- */

static cn_series_tcp_t *
find_tcp_series(cn_request_t *connection)
{
    labels_t  labels;

    put_series_labels(&labels, connection);
    label(&labels, "request_protocol", CN_BYTES("tcp"), "");
    put_last_labels(&labels, connection);

    return cn_series_tcp(connection->env->series, cn_bytes(labels.octets, labels.len));
}


/*
 * Labels are those of the first report: what was counted as opened is counted as closed.  Sent and
 * received are the proxy's view of its client, as of requests.
 */
static void
metrics_report(cn_request_t *connection, const void *config, bool over)
{
    tcp_ctx_t  *ctx = cn_request_context(connection, &cn_metrics_module);

    (void) config;

    if (ctx == NULL) {
        return;
    }

    if (ctx->series == NULL) {
        ctx->series = find_tcp_series(connection);
        atomic_fetch_add_explicit(&ctx->series->opened, 1, memory_order_relaxed);
    }

    atomic_fetch_add_explicit(&ctx->series->sent_bytes, connection->body_sent - ctx->sent,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&ctx->series->received_bytes,
                              connection->body_received - ctx->received, memory_order_relaxed);
    ctx->sent = connection->body_sent;
    ctx->received = connection->body_received;

    if (over) {
        atomic_fetch_add_explicit(&ctx->series->closed, 1, memory_order_relaxed);
    }
}


static cn_status_t
metrics_verify(const cn_block_t *block, uint32_t config, const char **what)
{
    (void) block;
    *what = "metrics: a configuration where none belongs";

    return config == 0 ? CN_OK : CN_ERR_SYNTAX;
}


const cn_module_t  cn_metrics_module = {
    .name = "metrics",
    .verify = metrics_verify,
    .ctx_size = sizeof(tcp_ctx_t),
    .on_log = metrics_log,
    .on_connection_report = metrics_report,
};
