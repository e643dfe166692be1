/* SPDX-License-Identifier: Apache-2.0 */

/* metrics - Prometheus text: Istio's series as the workers count them, and cairn's own. */

#include "admin/pages.h"
#include "base/version.h"
#include "stats/ring.h"
#include "stats/series.h"

typedef struct {
    const char  *name;
    const char  *type;
    double       scale;                     /* of the slot's unit to the metric's */
    size_t       offset;                    /* in cn_slab_worker_t, an _Atomic uint64_t */
} worker_metric_t;

#define FIELD(field)  offsetof(cn_slab_worker_t, field)

static const worker_metric_t  worker_metrics[] = {
    { "cairn_worker_connections", "gauge", 1, FIELD(connections) },
    { "cairn_worker_tunnels", "gauge", 1, FIELD(tunnels) },
    { "cairn_worker_active_requests", "gauge", 1, FIELD(active) },
    { "cairn_worker_requests_total", "counter", 1, FIELD(requests) },
    { "cairn_worker_busy_seconds_total", "counter", 1e-6, FIELD(busy_us) },
    { "cairn_worker_longest_turn_seconds", "gauge", 1e-6, FIELD(longest_turn_us) },
    { "cairn_worker_table_bytes", "gauge", 1, FIELD(table_bytes) },
    { "cairn_worker_pinned_bytes", "gauge", 1, FIELD(pinned_bytes) },
    { "cairn_worker_generation", "gauge", 1, FIELD(generation) },
};


static uint64_t
slot_value(const cn_slab_worker_t *slot, size_t offset)
{
    const void  *field = (const char *) slot + offset;

    return atomic_load_explicit((const _Atomic uint64_t *) field, memory_order_relaxed);
}


static void
print_worker_metric(cn_page_t *page, const worker_metric_t *metric)
{
    cn_slab_t  *slab = page->view->slab;
    uint32_t    workers = cn_slab_config(slab)->workers;

    cn_page_printf(page, "# TYPE %s %s\n", metric->name, metric->type);

    for (uint32_t i = 0; i < workers; i++) {
        uint64_t  value = slot_value(cn_slab_worker(slab, i), metric->offset);

        if (!cn_page_has_worker(page->view, i)) {
            continue;
        }

        cn_page_printf(page, "%s{worker=\"%u\"} %.15g\n", metric->name, i,
                       (double) value * metric->scale);
    }
}


static void
print_dropped(cn_page_t *page)
{
    cn_slab_t  *slab = page->view->slab;

    cn_page_printf(page, "# TYPE cairn_log_lines_dropped_total counter\n");

    for (uint32_t i = 0; i < cn_slab_config(slab)->workers; i++) {
        cn_ring_t  *ring = cn_slab_ring(slab, i);

        if (ring != NULL && (cn_ring_dropped(ring) > 0 || cn_page_has_worker(page->view, i))) {
            cn_page_printf(page, "cairn_log_lines_dropped_total{worker=\"%u\"} %llu\n", i,
                           (unsigned long long) cn_ring_dropped(ring));
        }
    }
}


static void
print_gauge(cn_page_t *page, const char *name, uint64_t value)
{
    cn_page_printf(page, "# TYPE %s gauge\n%s %llu\n", name, name, (unsigned long long) value);
}


/*
 * The first two by the names that Istio's agent and Envoy have for them: alerts on these are known.
 */
static void
print_certificate(cn_page_t *page)
{
    cn_admin_identity_t  identity;

    if (cn_page_identity(page, &identity)) {
        int64_t  left = cn_page_seconds_left(&identity);

        cn_page_printf(page, "# TYPE istio_agent_cert_expiry_seconds gauge\n"
                             "istio_agent_cert_expiry_seconds{resource_name=\"default\"} %lld\n",
                       (long long) left);
        print_gauge(page, "envoy_server_days_until_first_cert_expiring",
                    left > 0 ? (uint64_t) left / (24 * 3600) : 0);
    }

    cn_page_printf(page, "# TYPE cairn_certificate_renewals_total counter\n"
                         "cairn_certificate_renewals_total %llu\n",
                   (unsigned long long) identity.renewals);
    print_gauge(page, "cairn_certificate_failures", identity.failures);
}


static void
print_own(cn_page_t *page)
{
    const cn_admin_view_t  *view = page->view;
    const cn_report_t      *report = view->report(view->owner);

    cn_page_printf(page, "# TYPE istio_build gauge\n"
                         "istio_build{component=\"proxy\",tag=\"" CN_VERSION "\"} 1\n");

    for (size_t i = 0; i < CN_COUNT_OF(worker_metrics); i++) {
        print_worker_metric(page, &worker_metrics[i]);
    }

    cn_page_printf(page, "# TYPE cairn_master_longest_turn_seconds gauge\n"
                         "cairn_master_longest_turn_seconds %.15g\n",
                   (double) view->loop->longest_turn_us * 1e-6);
    print_dropped(page);
    print_certificate(page);
    print_gauge(page, "cairn_ready", view->ready(view->owner));
    print_gauge(page, "cairn_config_generation", cn_tables_generation(view->tables));
    print_gauge(page, "cairn_config_errors", report != NULL ? report->errors : 0);
    print_gauge(page, "cairn_config_warnings", report != NULL ? report->warnings : 0);
}


static void
write_series(void *context, cn_bytes_t text)
{
    cn_page_write(context, text);
}


void
cn_page_prometheus(cn_page_t *page)
{
    page->content_type = CN_BYTES("text/plain; version=0.0.4; charset=utf-8");

    if (cn_series_print(page->view->slab, write_series, page) != CN_OK) {
        page->failed = true;
    }

    print_own(page);
}


/* "name: value", a line each, for people and for what reads Envoy's /stats. */
void
cn_page_stats(cn_page_t *page)
{
    cn_slab_t  *slab = page->view->slab;

    for (uint32_t i = 0; i < cn_slab_config(slab)->workers; i++) {
        if (!cn_page_has_worker(page->view, i)) {
            continue;
        }

        for (size_t j = 0; j < CN_COUNT_OF(worker_metrics); j++) {
            cn_page_printf(page, "worker.%u.%s: %.15g\n", i,
                           worker_metrics[j].name + sizeof("cairn_worker_") - 1,
                           (double) slot_value(cn_slab_worker(slab, i), worker_metrics[j].offset)
                               * worker_metrics[j].scale);
        }
    }

    cn_page_printf(page, "server.live: 1\nserver.ready: %d\nconfig.generation: %llu\n",
                   page->view->ready(page->view->owner),
                   (unsigned long long) cn_tables_generation(page->view->tables));
}
