/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ring - a worker's log lines on their way to the master's writer thread: one writer, one reader,
 * in the slab.  Full means dropped and counted.  Each record names its stream: error log or access
 * log.
 */

#ifndef CN_STATS_RING_H
#define CN_STATS_RING_H

#include "stats/slab.h"

typedef enum { CN_RING_ERROR_LOG = 1, CN_RING_ACCESS_LOG = 2 } cn_ring_stream_t;

typedef struct cn_ring_s cn_ring_t;     /* this process's view, the slab's own */

/* NULL when worker is out of range.  Worker index config.workers is the guard's own ring. */
cn_ring_t *cn_slab_ring(cn_slab_t *slab, uint32_t worker);

/* Writer: CN_AGAIN: full, counted.  line is copied; at most 16 KiB, longer is cut. */
cn_status_t cn_ring_write(cn_ring_t *ring, cn_ring_stream_t stream, cn_bytes_t line) CN_MUST_USE;

/*
 * Reader: copies the next record to out (at least 16 KiB) and gives its length; CN_AGAIN: none.  A
 * damaged record (a writer killed mid-way, rubbish) skips to the writer's mark and counts as
 * dropped.
 */
cn_status_t cn_ring_read(cn_ring_t *ring, cn_ring_stream_t *stream, uint8_t *out,
    size_t *len) CN_MUST_USE;
uint64_t cn_ring_dropped(const cn_ring_t *ring);

/*
 * The bell is one for all rings of the slab and rings when one becomes half full.  A reader takes
 * its count, empties its rings, and waits until it is another, at most timeout_ms: nobody who
 * writes meanwhile has to wait for the timeout to be read.
 */
uint32_t cn_ring_bell(const cn_ring_t *ring);
void cn_ring_wait(const cn_ring_t *ring, uint32_t count, uint32_t timeout_ms);

#endif
