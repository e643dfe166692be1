/* SPDX-License-Identifier: Apache-2.0 */

/*
 * series - metric series by label set.  Each worker appends records to its own region of the slab;
 * they are never removed, and a replacement takes over its predecessor's region, so that counters
 * never fall.  Readers merge all regions by family and labels.  When a region is full, further
 * label sets go to one record with every label "__overflow__", counted.
 *
 * A record is one label set with all values of its kind:
 *   HTTP: istio_requests_total; the histograms istio_request_duration_milliseconds,
 *         istio_request_bytes, istio_response_bytes
 *   TCP:  istio_tcp_connections_opened_total, _closed_total, istio_tcp_sent_bytes_total,
 *         _received_bytes_total
 *   COUNTER, GAUGE: one value under a family name of its own ("cairn_tables_pinned_bytes")
 *   ROUTE: how requests of one route fared, by where they went; for cairn's own page, never printed
 *         as a metric: routes are too many for that
 */

#ifndef CN_STATS_SERIES_H
#define CN_STATS_SERIES_H

#include "stats/slab.h"

typedef enum {
    CN_SERIES_HTTP = 1, CN_SERIES_TCP = 2, CN_SERIES_COUNTER = 3, CN_SERIES_GAUGE = 4,
    CN_SERIES_ROUTE = 5,
} cn_series_kind_t;

/*
 * Upper bounds, ms or bytes: 0.5 1 5 10 25 50 100 250 500 1000 2500 5000 10000 30000 60000 300000
 * 600000 1800000 3600000 +Inf (Envoy's defaults).
 */
#define CN_HISTOGRAM_BUCKETS  20
#define CN_HISTOGRAM_BOUNDS_MILLI                                                               \
    { 500, 1000, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000,  \
      10000000, 30000000, 60000000, 300000000, 600000000, 1800000000, 3600000000 }

typedef struct {
    _Atomic uint64_t  buckets[CN_HISTOGRAM_BUCKETS];    /* not cumulative */
    _Atomic uint64_t  sum_milli;                        /* sum in thousandths of the unit */
} cn_histogram_t;

typedef struct {
    _Atomic uint64_t  requests;
    cn_histogram_t    duration_ms;
    cn_histogram_t    request_bytes;
    cn_histogram_t    response_bytes;
} cn_series_http_t;

typedef struct {
    _Atomic uint64_t  opened;
    _Atomic uint64_t  closed;
    _Atomic uint64_t  sent_bytes;
    _Atomic uint64_t  received_bytes;
} cn_series_tcp_t;

typedef struct {
    _Atomic uint64_t  requests;
    _Atomic uint64_t  denied;                   /* by an authorization policy */
    _Atomic uint64_t  by_class[6];              /* [2]: 2xx; [0]: no status was sent */
    _Atomic uint64_t  duration_us;              /* of all together */
} cn_series_route_t;

/* A worker's own region with its private index over it. */
typedef struct cn_series_s cn_series_t;

/*
 * Opens worker's region, indexing what is there already; worker config.workers is the master's
 * own.  One process at a time has a region open.  NULL: memory, or no such region.
 */
cn_series_t *cn_series_open(cn_slab_t *slab, uint32_t worker) CN_MUST_USE;
void cn_series_close(cn_series_t *series);

/*
 * The record of a label set, made at first sight; never NULL (the overflow record at worst); good
 * until close.  labels is Prometheus text without braces: reporter="waypoint",source_workload="x";
 * values escaped by the caller (cn_label_escape).
 */
cn_series_http_t *cn_series_http(cn_series_t *series, cn_bytes_t labels);
cn_series_tcp_t *cn_series_tcp(cn_series_t *series, cn_bytes_t labels);
cn_series_route_t *cn_series_route(cn_series_t *series, cn_bytes_t labels);
_Atomic uint64_t *cn_series_value(cn_series_t *series, cn_series_kind_t kind, cn_bytes_t family,
    cn_bytes_t labels);

/* One observation; value in thousandths of the unit (µs for a ms histogram). */
void cn_histogram_add(cn_histogram_t *histogram, uint64_t value_milli);

/*
 * Escapes '\\', '"' and newline as Prometheus text wants, and puts '?' for what is no UTF-8;
 * returns the length written, at most size (it ends with a whole character).
 */
size_t cn_label_escape(cn_bytes_t value, char *out, size_t size);

/* ---- reading: master ---- */

typedef struct {
    cn_series_kind_t  kind;
    cn_bytes_t        family;           /* of COUNTER and GAUGE */
    cn_bytes_t        labels;
    /* merged: cn_series_http_t, cn_series_tcp_t, cn_series_route_t or _Atomic uint64_t */
    const void       *values;
} cn_series_view_t;

/*
 * Merges all regions and calls each for every label set, grouped by kind and
 * family.  CN_ERR_MEMORY.
 */
cn_status_t cn_series_merge(cn_slab_t *slab,
    void (*each)(void *context, const cn_series_view_t *view), void *context) CN_MUST_USE;

/*
 * Prometheus text format 0.0.4 of everything, with TYPE lines and without HELP as Envoy prints it,
 * appended through write in pieces.  CN_ERR_MEMORY: nothing was written.
 */
cn_status_t cn_series_print(cn_slab_t *slab, void (*write)(void *context, cn_bytes_t text),
    void *context) CN_MUST_USE;

#endif
