/* SPDX-License-Identifier: Apache-2.0 */

/*
 * slab_layout - where the slab's parts lie, for this room only.  Every offset follows from the
 * configuration, which each process copies when it maps: nothing that another process can write
 * later decides where this one reads.
 *
 *   header | worker slots | cells | active counts [worker][cell] | rings [worker + 1]
 *          | series regions [worker + 1]
 */

#ifndef CN_STATS_SLAB_LAYOUT_H
#define CN_STATS_SLAB_LAYOUT_H

#include "stats/slab.h"

#define CN_CACHE_LINE  64u

typedef struct {
    size_t  workers;
    size_t  cells;
    size_t  active;
    size_t  active_stride;              /* bytes of one worker's counts */
    size_t  rings;
    size_t  ring_stride;
    size_t  series;
    size_t  series_stride;
    size_t  size;                       /* of all */
} cn_slab_layout_t;

/* A ring in shared memory.  Positions only grow; the octet of position p is data[p % size]. */
typedef struct {
    /* the writer's: what is before it is written */
    _Alignas(CN_CACHE_LINE) _Atomic uint64_t  head;
    /* the reader's: what is before it is read */
    _Alignas(CN_CACHE_LINE) _Atomic uint64_t  tail;
    _Alignas(CN_CACHE_LINE) _Atomic uint64_t  dropped;
    _Alignas(CN_CACHE_LINE) uint8_t           data[];
} cn_ring_shared_t;

/* This process's view of a ring: the size is not taken from shared memory. */
struct cn_ring_s {
    cn_ring_shared_t  *shared;
    _Atomic uint32_t  *bell;            /* of all rings: counts when one is half full; a futex */
    uint64_t           size;            /* a power of two */
};

/* A series region in shared memory: records one behind the other. */
typedef struct {
    _Atomic uint64_t  used;             /* bytes of records that are complete */
    _Atomic uint64_t  overflowed;       /* look-ups that got the overflow record */
    uint8_t           reserved[CN_CACHE_LINE - 16];
    uint8_t           data[];
} cn_series_region_t;

_Static_assert(sizeof(cn_ring_shared_t) == 3 * CN_CACHE_LINE, "the layout is an interface");
_Static_assert(sizeof(cn_series_region_t) == CN_CACHE_LINE, "the layout is an interface");

/* worker <= config.workers; *size: bytes of data. */
cn_series_region_t *cn_slab_region(cn_slab_t *slab, uint32_t worker, size_t *size);

#endif
