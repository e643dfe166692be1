/* SPDX-License-Identifier: Apache-2.0 */

/*
 * series_record - reading records that another process wrote: each length is copied, then checked,
 * then used.
 */

#include "stats/series_record.h"

#define RECORD_ALIGN  16u


size_t
cn_series_values_size(uint32_t kind)
{
    switch (kind) {
    case CN_SERIES_HTTP:
        return sizeof(cn_series_http_t);
    case CN_SERIES_TCP:
        return sizeof(cn_series_tcp_t);
    case CN_SERIES_ROUTE:
        return sizeof(cn_series_route_t);
    case CN_SERIES_COUNTER:
    case CN_SERIES_GAUGE:
        return sizeof(uint64_t);
    default:
        return 0;
    }
}


size_t
cn_series_record_size(cn_series_kind_t kind, size_t family_len, size_t labels_len)
{
    size_t  size = sizeof(cn_series_header_t) + cn_series_values_size(kind) + family_len
                   + labels_len;

    return (size + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}


size_t
cn_series_used(const cn_series_region_t *region, size_t size)
{
    uint64_t  used = atomic_load_explicit(&region->used, memory_order_acquire);

    return used > size ? size : (size_t) used;
}


bool
cn_series_record_at(cn_series_region_t *region, size_t at, size_t used, cn_series_record_t *record)
{
    cn_series_header_t  header;
    uint8_t            *text;

    if (at % RECORD_ALIGN != 0 || at > used || used - at < sizeof(header)) {
        return false;
    }

    memcpy(&header, region->data + at, sizeof(header));

    if (cn_series_values_size(header.kind) == 0 || header.family_len > CN_SERIES_FAMILY_MAX
        || header.labels_len > CN_SERIES_LABELS_MAX || header.size > used - at
        || header.size != cn_series_record_size((cn_series_kind_t) header.kind, header.family_len,
                                                header.labels_len))
    {
        return false;
    }

    record->kind = (cn_series_kind_t) header.kind;
    record->flags = header.flags;
    record->size = header.size;
    record->values = region->data + at + sizeof(header);
    text = record->values + cn_series_values_size(header.kind);
    record->family = cn_bytes(text, header.family_len);
    record->labels = cn_bytes(text + header.family_len, header.labels_len);

    return true;
}
