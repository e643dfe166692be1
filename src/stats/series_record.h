/* SPDX-License-Identifier: Apache-2.0 */

/*
 * series_record - a label set's record in a region, for this room only.
 *
 *   header (16) | values, by kind | family | labels | zeros up to a multiple of 16
 *
 * Only the values change once the region's `used` has passed the record.
 */

#ifndef CN_STATS_SERIES_RECORD_H
#define CN_STATS_SERIES_RECORD_H

#include "stats/series.h"
#include "stats/slab_layout.h"

#define CN_SERIES_KINDS         6u          /* one more than the last kind */
#define CN_SERIES_FAMILY_MAX    128u
#define CN_SERIES_LABELS_MAX    (8u * 1024)
#define CN_SERIES_OVERFLOW      1u          /* a flag: stands for all that found no room */

typedef struct {
    uint32_t  size;                         /* of the whole record, a multiple of 16 */
    uint16_t  kind;                         /* cn_series_kind_t */
    uint16_t  family_len;
    uint32_t  labels_len;
    uint32_t  flags;
} cn_series_header_t;

_Static_assert(sizeof(cn_series_header_t) == 16, "the layout is an interface");

/* A record that was found sound. */
typedef struct {
    cn_series_kind_t  kind;
    uint32_t          flags;
    size_t            size;
    uint8_t          *values;
    cn_bytes_t        family;
    cn_bytes_t        labels;
} cn_series_record_t;

/* Bytes of a kind's values; 0: no such kind. */
size_t cn_series_values_size(uint32_t kind);

/* What a record takes. */
size_t cn_series_record_size(cn_series_kind_t kind, size_t family_len, size_t labels_len);

/* Bytes of complete records: never more than size, whatever the region says. */
size_t cn_series_used(const cn_series_region_t *region, size_t size);

/*
 * The record at an offset of a region of which `used` bytes are records.  False: what stands there
 * is none.
 */
bool cn_series_record_at(cn_series_region_t *region, size_t at, size_t used,
    cn_series_record_t *record);

#endif
