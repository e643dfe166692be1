/* SPDX-License-Identifier: Apache-2.0 */

/*
 * series_print - all regions merged, and as Prometheus text 0.0.4 in the manner of Envoy: a TYPE
 * line, no HELP; counters first, then gauges, then histograms with the labels before `le`.
 *
 * Regions belong to processes that may be broken: a record that is not sound ends its region, one
 * whose text would break the page is left out.
 */

#include "stats/series.h"

#include "base/hash.h"
#include "base/pool.h"
#include "base/random.h"
#include "stats/series_record.h"

#include <stdlib.h>

#define FIRST_SLOTS  1024u
#define TEXT_SIZE    (16u * 1024)

typedef struct {
    cn_series_kind_t  kind;
    cn_bytes_t        family;
    cn_bytes_t        labels;
    void             *values;
    uint64_t          hash;
} merged_t;

typedef struct {
    cn_pool_t   *pool;
    merged_t   **slots;                 /* on the heap */
    size_t       capacity;              /* a power of two */
    size_t       count;
    uint64_t     seed;
    uint64_t     overflowed;
} merge_t;


/* ---- merging ---- */

static merged_t **
slot_of(merged_t **slots, size_t capacity, const merged_t *item)
{
    size_t  i = (size_t) item->hash & (capacity - 1);

    while (slots[i] != NULL
           && (slots[i]->hash != item->hash || slots[i]->kind != item->kind
               || !cn_bytes_equal(slots[i]->labels, item->labels)
               || !cn_bytes_equal(slots[i]->family, item->family)))
    {
        i = (i + 1) & (capacity - 1);
    }

    return &slots[i];
}


static cn_status_t
slots_room(merge_t *merge)
{
    size_t      capacity = merge->capacity == 0 ? FIRST_SLOTS : merge->capacity * 2;
    merged_t  **slots;

    if ((merge->count + 1) * 2 <= merge->capacity) {
        return CN_OK;
    }

    slots = cn_alloc_zero(capacity * sizeof(merged_t *));

    if (slots == NULL) {
        return CN_ERR_MEMORY;
    }

    for (size_t i = 0; i < merge->capacity; i++) {
        if (merge->slots[i] != NULL) {
            *slot_of(slots, capacity, merge->slots[i]) = merge->slots[i];
        }
    }

    cn_free(merge->slots);
    merge->slots = slots;
    merge->capacity = capacity;

    return CN_OK;
}


/* Values are runs of 64-bit words whatever the kind. */
static void
add_values(void *to, const void *from, size_t size)
{
    _Atomic uint64_t        *sums = to;
    const _Atomic uint64_t  *values = from;

    for (size_t i = 0; i < size / sizeof(*sums); i++) {
        atomic_store_explicit(&sums[i], atomic_load_explicit(&sums[i], memory_order_relaxed)
                              + atomic_load_explicit(&values[i], memory_order_relaxed),
                              memory_order_relaxed);
    }
}


/* A copy of the record's text and room for its sums, in the pool; NULL: memory. */
static merged_t *
merged_create(merge_t *merge, const merged_t *item)
{
    merged_t  *copy = cn_pool_alloc(merge->pool, sizeof(*copy));

    if (copy == NULL) {
        return NULL;
    }

    *copy = *item;
    copy->values = cn_pool_alloc_zero(merge->pool, cn_series_values_size(item->kind));

    if (copy->values == NULL || cn_pool_copy(merge->pool, item->family, &copy->family) != CN_OK
        || cn_pool_copy(merge->pool, item->labels, &copy->labels) != CN_OK)
    {
        return NULL;
    }

    return copy;
}


static bool
is_name(cn_bytes_t family)
{
    for (size_t i = 0; i < family.len; i++) {
        uint8_t  octet = cn_lower(family.ptr[i]);

        if (!(octet >= 'a' && octet <= 'z') && octet != '_' && octet != ':'
            && !(i > 0 && octet >= '0' && octet <= '9'))
        {
            return false;
        }
    }

    return family.len > 0;
}


static bool
is_printable(const cn_series_record_t *record)
{
    if (record->kind == CN_SERIES_COUNTER || record->kind == CN_SERIES_GAUGE) {
        return is_name(record->family) && cn_bytes_find_octet(record->labels, '\n') == SIZE_MAX;
    }

    return cn_bytes_find_octet(record->labels, '\n') == SIZE_MAX;
}


static cn_status_t
merge_record(merge_t *merge, const cn_series_record_t *record)
{
    merged_t   item = { .kind = record->kind, .family = record->family, .labels = record->labels };
    merged_t **slot;

    if (slots_room(merge) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    item.hash = cn_hash_seeded(item.labels, merge->seed)
                ^ cn_hash_seeded(item.family, merge->seed + (uint64_t) item.kind);
    slot = slot_of(merge->slots, merge->capacity, &item);

    if (*slot == NULL) {
        *slot = merged_create(merge, &item);

        if (*slot == NULL) {
            return CN_ERR_MEMORY;
        }

        merge->count++;
    }

    add_values((*slot)->values, record->values, cn_series_values_size(record->kind));

    return CN_OK;
}


static cn_status_t
merge_region(merge_t *merge, cn_series_region_t *region, size_t size)
{
    size_t              used = cn_series_used(region, size);
    cn_series_record_t  record;

    merge->overflowed += atomic_load_explicit(&region->overflowed, memory_order_relaxed);

    for (size_t at = 0; cn_series_record_at(region, at, used, &record); at += record.size) {
        if (is_printable(&record) && merge_record(merge, &record) != CN_OK) {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


static int
compare_merged(const void *a, const void *b)
{
    const merged_t  *left = *(merged_t *const *) a;
    const merged_t  *right = *(merged_t *const *) b;
    int              order = (left->kind > right->kind) - (left->kind < right->kind);

    if (order == 0) {
        order = cn_bytes_compare(left->family, right->family);
    }

    return order != 0 ? order : cn_bytes_compare(left->labels, right->labels);
}


static void
merge_end(merge_t *merge)
{
    cn_free(merge->slots);
    cn_pool_destroy(merge->pool);
}


/* All label sets, sorted, in the first count slots. */
static cn_status_t
merge_all(cn_slab_t *slab, merge_t *merge)
{
    cn_status_t  status = CN_OK;
    size_t       count = 0;

    *merge = (merge_t) { .pool = cn_pool_create(16384, NULL), .seed = cn_random() };

    if (merge->pool == NULL) {
        return CN_ERR_MEMORY;
    }

    for (uint32_t i = 0; i <= cn_slab_config(slab)->workers && status == CN_OK; i++) {
        size_t               size;
        cn_series_region_t  *region = cn_slab_region(slab, i, &size);

        status = merge_region(merge, region, size);
    }

    if (status != CN_OK) {
        merge_end(merge);
        return status;
    }

    for (size_t i = 0; i < merge->capacity; i++) {
        if (merge->slots[i] != NULL) {
            merge->slots[count++] = merge->slots[i];
        }
    }

    if (count > 0) {
        qsort(merge->slots, count, sizeof(merged_t *), compare_merged);
    }

    return CN_OK;
}


cn_status_t
cn_series_merge(cn_slab_t *slab, void (*each)(void *context, const cn_series_view_t *view),
    void *context)
{
    merge_t      merge;
    cn_status_t  status = merge_all(slab, &merge);

    if (status != CN_OK) {
        return status;
    }

    for (size_t i = 0; i < merge.count; i++) {
        const merged_t    *item = merge.slots[i];
        cn_series_view_t   view = { item->kind, item->family, item->labels, item->values };

        each(context, &view);
    }

    merge_end(&merge);

    return CN_OK;
}


/* ---- printing ---- */

typedef struct {
    void          (*write)(void *context, cn_bytes_t text);
    void           *context;
    const merge_t  *merge;
    size_t          len;
    uint8_t         text[TEXT_SIZE];
} page_t;


static void
flush(page_t *page)
{
    if (page->len > 0) {
        page->write(page->context, cn_bytes(page->text, page->len));
        page->len = 0;
    }
}


static void
put(page_t *page, cn_bytes_t text)
{
    if (text.len > TEXT_SIZE - page->len) {
        flush(page);
    }

    if (text.len > TEXT_SIZE) {
        page->write(page->context, text);

    } else if (text.len > 0) {
        memcpy(page->text + page->len, text.ptr, text.len);
        page->len += text.len;
    }
}


static void
put_str(page_t *page, const char *text)
{
    put(page, cn_bytes_str(text));
}


static void
put_u64(page_t *page, uint64_t value)
{
    char  digits[20];

    put(page, cn_bytes(digits, cn_u64_print(value, digits)));
}


/* Thousandths as a decimal fraction without needless zeros. */
static void
put_milli(page_t *page, uint64_t milli)
{
    char    digits[4] = { '.', (char) ('0' + milli / 100 % 10), (char) ('0' + milli / 10 % 10),
                          (char) ('0' + milli % 10) };
    size_t  len = sizeof(digits);

    put_u64(page, milli / 1000);

    while (len > 1 && digits[len - 1] == '0') {
        len--;
    }

    if (len > 1) {
        put(page, cn_bytes(digits, len));
    }
}


static void
put_type(page_t *page, cn_bytes_t name, const char *type)
{
    put_str(page, "# TYPE ");
    put(page, name);
    put_str(page, " ");
    put_str(page, type);
    put_str(page, "\n");
}


static void
put_sample(page_t *page, cn_bytes_t name, const char *suffix, cn_bytes_t labels)
{
    put(page, name);
    put_str(page, suffix);
    put_str(page, "{");
    put(page, labels);
    put_str(page, "} ");
}


static const _Atomic uint64_t *
word_at(const merged_t *item, size_t offset)
{
    return (const void *) ((const uint8_t *) item->values + offset);
}


/* One family of one number, at an offset of the kind's values. */
static void
print_counter(page_t *page, cn_series_kind_t kind, const char *name, size_t offset)
{
    bool  any = false;

    for (size_t i = 0; i < page->merge->count; i++) {
        const merged_t  *item = page->merge->slots[i];

        if (item->kind != kind) {
            continue;
        }

        if (!any) {
            put_type(page, cn_bytes_str(name), "counter");
            any = true;
        }

        put_sample(page, cn_bytes_str(name), "", item->labels);
        put_u64(page, *word_at(item, offset));
        put_str(page, "\n");
    }
}


/* All families of a kind that has its own names; they are sorted. */
static void
print_named(page_t *page, cn_series_kind_t kind, const char *type)
{
    cn_bytes_t  last = CN_BYTES_NONE;

    for (size_t i = 0; i < page->merge->count; i++) {
        const merged_t  *item = page->merge->slots[i];

        if (item->kind != kind) {
            continue;
        }

        if (!cn_bytes_equal(item->family, last)) {
            put_type(page, item->family, type);
            last = item->family;
        }

        put_sample(page, item->family, "", item->labels);
        put_u64(page, *word_at(item, 0));
        put_str(page, "\n");
    }
}


static void
put_bucket(page_t *page, cn_bytes_t name, cn_bytes_t labels, size_t bucket, uint64_t count)
{
    static const uint64_t  bounds_milli[CN_HISTOGRAM_BUCKETS - 1] = CN_HISTOGRAM_BOUNDS_MILLI;

    put(page, name);
    put_str(page, "_bucket{");
    put(page, labels);
    put_str(page, labels.len > 0 ? ",le=\"" : "le=\"");

    if (bucket < CN_COUNT_OF(bounds_milli)) {
        put_milli(page, bounds_milli[bucket]);

    } else {
        put_str(page, "+Inf");
    }

    put_str(page, "\"} ");
    put_u64(page, count);
    put_str(page, "\n");
}


static void
print_histogram(page_t *page, const char *name, size_t offset)
{
    cn_bytes_t  family = cn_bytes_str(name);
    bool        any = false;

    for (size_t i = 0; i < page->merge->count; i++) {
        const merged_t        *item = page->merge->slots[i];
        const cn_histogram_t  *histogram = (const void *) word_at(item, offset);
        uint64_t               count = 0;

        if (item->kind != CN_SERIES_HTTP) {
            continue;
        }

        if (!any) {
            put_type(page, family, "histogram");
            any = true;
        }

        for (size_t j = 0; j < CN_HISTOGRAM_BUCKETS; j++) {
            count += histogram->buckets[j];
            put_bucket(page, family, item->labels, j, count);
        }

        put_sample(page, family, "_sum", item->labels);
        put_milli(page, histogram->sum_milli);
        put_str(page, "\n");
        put_sample(page, family, "_count", item->labels);
        put_u64(page, count);
        put_str(page, "\n");
    }
}


static void
print_overflowed(page_t *page)
{
    put_type(page, CN_BYTES("cairn_series_overflowed_total"), "counter");
    put_sample(page, CN_BYTES("cairn_series_overflowed_total"), "", CN_BYTES_NONE);
    put_u64(page, page->merge->overflowed);
    put_str(page, "\n");
}


cn_status_t
cn_series_print(cn_slab_t *slab, void (*write)(void *context, cn_bytes_t text), void *context)
{
    page_t       page;
    merge_t      merge;
    cn_status_t  status = merge_all(slab, &merge);

    if (status != CN_OK) {
        return status;
    }

    page.write = write;
    page.context = context;
    page.merge = &merge;
    page.len = 0;

    print_named(&page, CN_SERIES_COUNTER, "counter");
    print_overflowed(&page);
    print_counter(&page, CN_SERIES_HTTP, "istio_requests_total",
                  offsetof(cn_series_http_t, requests));
    print_counter(&page, CN_SERIES_TCP, "istio_tcp_connections_closed_total",
                  offsetof(cn_series_tcp_t, closed));
    print_counter(&page, CN_SERIES_TCP, "istio_tcp_connections_opened_total",
                  offsetof(cn_series_tcp_t, opened));
    print_counter(&page, CN_SERIES_TCP, "istio_tcp_received_bytes_total",
                  offsetof(cn_series_tcp_t, received_bytes));
    print_counter(&page, CN_SERIES_TCP, "istio_tcp_sent_bytes_total",
                  offsetof(cn_series_tcp_t, sent_bytes));
    print_named(&page, CN_SERIES_GAUGE, "gauge");
    print_histogram(&page, "istio_request_bytes", offsetof(cn_series_http_t, request_bytes));
    print_histogram(&page, "istio_request_duration_milliseconds",
                    offsetof(cn_series_http_t, duration_ms));
    print_histogram(&page, "istio_response_bytes", offsetof(cn_series_http_t, response_bytes));

    flush(&page);
    merge_end(&merge);

    return CN_OK;
}
