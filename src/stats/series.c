/* SPDX-License-Identifier: Apache-2.0 */

/*
 * series - a worker's own region.  It is the only writer, so values are changed by plain atomic
 * loads and stores, and a record is made known by moving `used` over it when it is complete.  The
 * index from labels to record is private and keyed with a secret, as labels carry what peers say of
 * themselves.
 *
 * The last part of a region is kept for the overflow records, so that there is always room for one
 * of each kind.
 */

#include "stats/series.h"

#include "base/hash.h"
#include "base/pool.h"
#include "base/random.h"
#include "stats/series_record.h"

#define OVERFLOW_LABELS   2048u                 /* longer ones are shortened to one label */
#define OVERFLOW_RESERVE  (8u * 1024)           /* of a region: its overflow records */
#define OVERFLOW_VALUE    "\"__overflow__\""
#define FIRST_SLOTS       256u

typedef struct {
    uint32_t  at;                       /* of the record, plus one; 0: free */
    uint32_t  hash;                     /* a part of it, to compare before the labels are */
} slot_t;

struct cn_series_s {
    cn_series_region_t  *region;
    size_t               size;          /* of its data */
    uint64_t             seed;
    slot_t              *slots;
    size_t               capacity;      /* a power of two */
    size_t               count;
    /* values of the overflow record; NULL: none yet */
    uint8_t             *overflow[CN_SERIES_KINDS];
    /* where values go that cannot even overflow; large enough for each kind */
    cn_series_http_t     nowhere;
};


static uint64_t
hash_of(const cn_series_t *series, cn_series_kind_t kind, cn_bytes_t family, cn_bytes_t labels)
{
    uint64_t  hash = cn_hash_seeded(labels, series->seed ^ (uint64_t) kind);

    return family.len == 0 ? hash : hash ^ cn_hash_seeded(family, ~series->seed);
}


static bool
is_record(const cn_series_t *series, size_t at, cn_series_kind_t kind, cn_bytes_t family,
    cn_bytes_t labels, cn_series_record_t *record)
{
    return cn_series_record_at(series->region, at, series->size, record)
           && record->kind == kind && cn_bytes_equal(record->labels, labels)
           && cn_bytes_equal(record->family, family);
}


/* The record's values, or NULL and *free_slot where it would be listed. */
static uint8_t *
find(const cn_series_t *series, uint64_t hash, cn_series_kind_t kind, cn_bytes_t family,
    cn_bytes_t labels, slot_t **free_slot)
{
    size_t              i = (size_t) hash & (series->capacity - 1);
    uint32_t            tag = (uint32_t) (hash >> 32);
    cn_series_record_t  record;

    for (; series->slots[i].at != 0; i = (i + 1) & (series->capacity - 1)) {
        if (series->slots[i].hash == tag
            && is_record(series, series->slots[i].at - 1, kind, family, labels, &record))
        {
            return record.values;
        }
    }

    *free_slot = &series->slots[i];

    return NULL;
}


static void
list(cn_series_t *series, slot_t *slots, size_t capacity, size_t at,
    const cn_series_record_t *record)
{
    uint64_t  hash = hash_of(series, record->kind, record->family, record->labels);
    size_t    i = (size_t) hash & (capacity - 1);

    while (slots[i].at != 0) {
        i = (i + 1) & (capacity - 1);
    }

    slots[i] = (slot_t) { (uint32_t) at + 1, (uint32_t) (hash >> 32) };
}


/* Lists all records in a table of that capacity.  False: memory; the index is as it was. */
static bool
index_records(cn_series_t *series, size_t capacity)
{
    slot_t              *slots = cn_alloc_zero(capacity * sizeof(*slots));
    size_t               used = cn_series_used(series->region, series->size);
    cn_series_record_t   record;

    if (slots == NULL) {
        return false;
    }

    series->count = 0;

    for (size_t at = 0; cn_series_record_at(series->region, at, used, &record); at += record.size) {
        list(series, slots, capacity, at, &record);
        series->count++;
    }

    cn_free(series->slots);
    series->slots = slots;
    series->capacity = capacity;

    return true;
}


/* Writes a record behind the last; its values, or NULL when it would pass limit. */
static uint8_t *
append(cn_series_t *series, size_t limit, cn_series_kind_t kind, uint32_t flags, cn_bytes_t family,
    cn_bytes_t labels, size_t *at)
{
    size_t              used = cn_series_used(series->region, series->size);
    size_t              size = cn_series_record_size(kind, family.len, labels.len);
    cn_series_header_t  header = {
        .size = (uint32_t) size,
        .kind = (uint16_t) kind,
        .family_len = (uint16_t) family.len,
        .labels_len = (uint32_t) labels.len,
        .flags = flags,
    };
    uint8_t            *out = series->region->data + used;
    size_t              values = cn_series_values_size(kind);

    if (used > limit || size > limit - used) {
        return NULL;
    }

    memset(out, 0, size);               /* a predecessor may have been killed while writing here */
    memcpy(out, &header, sizeof(header));

    if (family.len > 0) {
        memcpy(out + sizeof(header) + values, family.ptr, family.len);
    }

    if (labels.len > 0) {
        memcpy(out + sizeof(header) + values + family.len, labels.ptr, labels.len);
    }

    atomic_store_explicit(&series->region->used, used + size, memory_order_release);
    *at = used;

    return out + sizeof(header);
}


/* The labels with each value replaced; one label when that is too long.  Returns the length. */
static size_t
overflow_labels(cn_bytes_t labels, char out[OVERFLOW_LABELS])
{
    static const char  all[] = "overflow=" OVERFLOW_VALUE;
    const size_t       value_len = sizeof(OVERFLOW_VALUE) - 1;
    size_t             len = 0;
    bool               quoted = false;

    for (size_t i = 0; i < labels.len; i++) {
        if (quoted) {
            quoted = labels.ptr[i] != '"';
            i += labels.ptr[i] == '\\';         /* what is escaped ends nothing */
            continue;
        }

        if (len + value_len + 1 > OVERFLOW_LABELS) {
            memcpy(out, all, sizeof(all) - 1);
            return sizeof(all) - 1;
        }

        if (labels.ptr[i] == '"') {
            memcpy(out + len, OVERFLOW_VALUE, value_len);
            len += value_len;
            quoted = true;

        } else {
            out[len++] = (char) labels.ptr[i];
        }
    }

    return len;
}


static uint8_t *
overflow(cn_series_t *series, cn_series_kind_t kind, cn_bytes_t labels)
{
    char        text[OVERFLOW_LABELS];
    cn_bytes_t  family = CN_BYTES_NONE;
    size_t      at;

    atomic_fetch_add(&series->region->overflowed, 1);

    if (series->overflow[kind] == NULL && kind != CN_SERIES_GAUGE) {
        if (kind == CN_SERIES_COUNTER) {
            family = CN_BYTES("cairn_series_overflow");
            labels = CN_BYTES_NONE;
        }

        series->overflow[kind] = append(series, series->size, kind, CN_SERIES_OVERFLOW, family,
                                        cn_bytes(text, overflow_labels(labels, text)), &at);
    }

    /* gauges of different things have no sum that means anything: they go nowhere */
    return series->overflow[kind] != NULL ? series->overflow[kind] : (uint8_t *) &series->nowhere;
}


static uint8_t *
values_of(cn_series_t *series, cn_series_kind_t kind, cn_bytes_t family, cn_bytes_t labels)
{
    uint64_t  hash = hash_of(series, kind, family, labels);
    slot_t   *slot;
    uint8_t  *values = find(series, hash, kind, family, labels, &slot);
    size_t    at;

    if (values != NULL) {
        return values;
    }

    if (family.len > CN_SERIES_FAMILY_MAX || labels.len > CN_SERIES_LABELS_MAX) {
        return overflow(series, kind, labels);
    }

    if ((series->count + 1) * 2 > series->capacity) {
        if (!index_records(series, series->capacity * 2)) {
            return overflow(series, kind, labels);
        }

        (void) find(series, hash, kind, family, labels, &slot);
    }

    values = append(series, series->size - OVERFLOW_RESERVE, kind, 0, family, labels, &at);

    if (values == NULL) {
        return overflow(series, kind, labels);
    }

    *slot = (slot_t) { (uint32_t) at + 1, (uint32_t) (hash >> 32) };
    series->count++;

    return values;
}


/* Finds the overflow records, and cuts off what follows the last sound record. */
static void
take_over(cn_series_t *series)
{
    size_t              used = cn_series_used(series->region, series->size);
    size_t              at = 0;
    cn_series_record_t  record;

    for (; cn_series_record_at(series->region, at, used, &record); at += record.size) {
        if ((record.flags & CN_SERIES_OVERFLOW) != 0) {
            series->overflow[record.kind] = record.values;
        }
    }

    atomic_store_explicit(&series->region->used, at, memory_order_release);
}


cn_series_t *
cn_series_open(cn_slab_t *slab, uint32_t worker)
{
    cn_series_t  *series;

    if (worker > cn_slab_config(slab)->workers) {
        return NULL;
    }

    series = cn_alloc_zero(sizeof(*series));

    if (series == NULL) {
        return NULL;
    }

    series->region = cn_slab_region(slab, worker, &series->size);
    cn_random_secret(&series->seed, sizeof(series->seed));
    take_over(series);

    size_t              capacity = FIRST_SLOTS;
    size_t              count = 0;
    size_t              used = cn_series_used(series->region, series->size);
    cn_series_record_t  record;

    for (size_t at = 0; cn_series_record_at(series->region, at, used, &record); at += record.size) {
        count++;
    }

    while (capacity < count * 2 + 2) {
        capacity *= 2;
    }

    if (!index_records(series, capacity)) {
        cn_free(series);
        return NULL;
    }

    return series;
}


void
cn_series_close(cn_series_t *series)
{
    if (series != NULL) {
        cn_free(series->slots);
        cn_free(series);
    }
}


cn_series_http_t *
cn_series_http(cn_series_t *series, cn_bytes_t labels)
{
    return (void *) values_of(series, CN_SERIES_HTTP, CN_BYTES_NONE, labels);
}


cn_series_tcp_t *
cn_series_tcp(cn_series_t *series, cn_bytes_t labels)
{
    return (void *) values_of(series, CN_SERIES_TCP, CN_BYTES_NONE, labels);
}


cn_series_route_t *
cn_series_route(cn_series_t *series, cn_bytes_t labels)
{
    return (void *) values_of(series, CN_SERIES_ROUTE, CN_BYTES_NONE, labels);
}


_Atomic uint64_t *
cn_series_value(cn_series_t *series, cn_series_kind_t kind, cn_bytes_t family, cn_bytes_t labels)
{
    CN_BUG_ON(kind != CN_SERIES_COUNTER && kind != CN_SERIES_GAUGE);

    return (void *) values_of(series, kind, family, labels);
}


/* One worker writes: no locked instruction is needed. */
static void
grow(_Atomic uint64_t *value, uint64_t by)
{
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + by,
                          memory_order_relaxed);
}


void
cn_histogram_add(cn_histogram_t *histogram, uint64_t value_milli)
{
    static const uint64_t  bounds_milli[CN_HISTOGRAM_BUCKETS - 1] = CN_HISTOGRAM_BOUNDS_MILLI;
    size_t                 i = 0;

    while (i < CN_COUNT_OF(bounds_milli) && value_milli > bounds_milli[i]) {
        i++;
    }

    grow(&histogram->buckets[i], 1);
    grow(&histogram->sum_milli, value_milli);
}


/* ---- escaping ---- */

/*
 * Octets of the well-formed UTF-8 sequence at the start (Unicode 15, table 3-7); 0: there is
 * none.  One ill-formed value would make a scraper refuse the whole page.
 */
static size_t
utf8_len(cn_bytes_t text)
{
    uint8_t  lead = text.ptr[0];
    uint8_t  low = 0x80;
    uint8_t  high = 0xbf;
    size_t   len = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

    if (len == 1) {
        return 1;
    }

    if (lead < 0xc2 || lead > 0xf4 || text.len < len) {
        return 0;
    }

    low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : low;      /* no overlong forms */
    /* no surrogates, nothing past U+10FFFF */
    high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : high;

    for (size_t i = 1; i < len; i++) {
        if (text.ptr[i] < low || text.ptr[i] > high) {
            return 0;
        }

        low = 0x80;
        high = 0xbf;
    }

    return len;
}


/* The octets that stand for what value begins with; *taken: how many of value those are. */
static cn_bytes_t
escaped(cn_bytes_t value, size_t *taken)
{
    size_t  len = utf8_len(value);

    *taken = len == 0 ? 1 : len;

    switch (value.ptr[0]) {
    case '\\':
        return CN_BYTES("\\\\");
    case '"':
        return CN_BYTES("\\\"");
    case '\n':
        return CN_BYTES("\\n");
    default:
        return len == 0 ? CN_BYTES("?") : cn_bytes(value.ptr, len);
    }
}


size_t
cn_label_escape(cn_bytes_t value, char *out, size_t size)
{
    size_t  len = 0;
    size_t  taken;

    for (size_t i = 0; i < value.len; i += taken) {
        cn_bytes_t  text = escaped(cn_bytes_from(value, i), &taken);

        if (text.len > size - len) {
            break;                      /* never half of one */
        }

        memcpy(out + len, text.ptr, text.len);
        len += text.len;
    }

    return len;
}
