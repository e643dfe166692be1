/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ring - one writer, one reader, no lock.
 *
 *        tail                 head
 *   ......|record|record|record|......     positions only grow; the ring is a window on them
 *
 * A record is {length, stream, mark}, its octets, and padding to 8.  It is there when head has
 * passed it: a writer killed before that leaves nothing.  Either side takes the other's position as
 * a claim to be checked: what lies between tail and head must be whole records, else the reader
 * goes to head and counts one dropped.
 */

#include "stats/ring.h"

#include "stats/slab_layout.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN  (16u * 1024)
#define RECORD_MARK   0x4c52u           /* "RL": rubbish rarely has it */

typedef struct {
    uint32_t  len;
    uint16_t  stream;
    uint16_t  mark;
} record_t;

_Static_assert(sizeof(record_t) == 8, "the layout is an interface");


static uint64_t
record_room(uint64_t len)
{
    return (sizeof(record_t) + len + 7) & ~(uint64_t) 7;
}


static void
copy_in(cn_ring_t *ring, uint64_t position, const void *from, size_t len)
{
    uint64_t  at = position & (ring->size - 1);
    size_t    first = len < ring->size - at ? len : (size_t) (ring->size - at);

    memcpy(ring->shared->data + at, from, first);
    memcpy(ring->shared->data, (const uint8_t *) from + first, len - first);
}


static void
copy_out(const cn_ring_t *ring, uint64_t position, void *to, size_t len)
{
    uint64_t  at = position & (ring->size - 1);
    size_t    first = len < ring->size - at ? len : (size_t) (ring->size - at);

    memcpy(to, ring->shared->data + at, first);
    memcpy((uint8_t *) to + first, ring->shared->data, len - first);
}


static void
ring_bell(cn_ring_t *ring)
{
    atomic_fetch_add(ring->bell, 1);
    (void) syscall(SYS_futex, ring->bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}


cn_status_t
cn_ring_write(cn_ring_t *ring, cn_ring_stream_t stream, cn_bytes_t line)
{
    uint64_t  head = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
    uint64_t  used = head - atomic_load_explicit(&ring->shared->tail, memory_order_acquire);
    size_t    len = line.len > LINE_MAX_LEN ? LINE_MAX_LEN : line.len;
    record_t  record = { (uint32_t) len, (uint16_t) stream, RECORD_MARK };

    if (used > ring->size || record_room(len) > ring->size - used) {
        atomic_fetch_add(&ring->shared->dropped, 1);
        return CN_AGAIN;
    }

    copy_in(ring, head, &record, sizeof(record));

    if (len > 0) {
        copy_in(ring, head + sizeof(record), line.ptr, len);
    }

    if (len < line.len && line.ptr[line.len - 1] == '\n') {
        copy_in(ring, head + sizeof(record) + len - 1, "\n", 1);    /* cut, but still a line */
    }

    atomic_store_explicit(&ring->shared->head, head + record_room(len), memory_order_release);

    if (used < ring->size / 2 && used + record_room(len) >= ring->size / 2) {
        ring_bell(ring);
    }

    return CN_OK;
}


/* Whether a whole record stands at tail. */
static bool
record_at(const cn_ring_t *ring, uint64_t tail, uint64_t used, record_t *record)
{
    if (used > ring->size || used < sizeof(*record)) {
        return false;
    }

    copy_out(ring, tail, record, sizeof(*record));

    return record->mark == RECORD_MARK && record->len <= LINE_MAX_LEN
           && record_room(record->len) <= used
           && (record->stream == CN_RING_ERROR_LOG || record->stream == CN_RING_ACCESS_LOG);
}


cn_status_t
cn_ring_read(cn_ring_t *ring, cn_ring_stream_t *stream, uint8_t *out, size_t *len)
{
    uint64_t  tail = atomic_load_explicit(&ring->shared->tail, memory_order_relaxed);
    uint64_t  head = atomic_load_explicit(&ring->shared->head, memory_order_acquire);
    record_t  record;

    if (head == tail) {
        return CN_AGAIN;
    }

    if (!record_at(ring, tail, head - tail, &record)) {
        atomic_fetch_add(&ring->shared->dropped, 1);
        atomic_store_explicit(&ring->shared->tail, head, memory_order_release);
        return CN_AGAIN;
    }

    copy_out(ring, tail + sizeof(record), out, record.len);
    *stream = (cn_ring_stream_t) record.stream;
    *len = record.len;
    atomic_store_explicit(&ring->shared->tail, tail + record_room(record.len),
                          memory_order_release);

    return CN_OK;
}


uint64_t
cn_ring_dropped(const cn_ring_t *ring)
{
    return atomic_load(&ring->shared->dropped);
}


uint32_t
cn_ring_bell(const cn_ring_t *ring)
{
    return atomic_load(ring->bell);
}


void
cn_ring_wait(const cn_ring_t *ring, uint32_t count, uint32_t timeout_ms)
{
    struct timespec  timeout = { timeout_ms / 1000, (long) (timeout_ms % 1000) * 1000000 };

    (void) syscall(SYS_futex, ring->bell, FUTEX_WAIT, count, &timeout, NULL, 0);
}
