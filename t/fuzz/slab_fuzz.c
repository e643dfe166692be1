/* SPDX-License-Identifier: Apache-2.0 */

/*
 * slab_fuzz - what a worker that is somebody else's may leave in the slab: any octets as its log
 * ring and as its series.  The master's reader comes to an end, and within its bounds.
 *
 * The input: {head(2), tail(2) and length(2) of the ring, used of the series(2)}, the ring's
 * octets, the region's.
 */

#include "stats/ring.h"
#include "stats/series.h"
#include "stats/slab_layout.h"

#include "base/pool.h"

#include <unistd.h>

#define HEAD       8u
#define RING_SIZE  32768u
#define LINE_MOST  (16u * 1024)

static cn_slab_t  *slab;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    cn_slab_config_t  config = { .workers = 1, .cells = 1, .ring_size = RING_SIZE,
                                 .series_size = 65536 };
    const char       *error;
    int               fd;

    (void) argc;
    (void) argv;
    CN_BUG_ON(cn_slab_create(&config, &fd) != CN_OK);
    slab = cn_slab_map(fd, &error);
    CN_BUG_ON(slab == NULL);
    close(fd);

    return 0;
}


static size_t
take(const uint8_t *at)
{
    return (size_t) at[0] << 8 | at[1];
}


static void
read_ring(size_t head, size_t tail, const uint8_t *data, size_t size)
{
    cn_ring_t         *ring = cn_slab_ring(slab, 0);
    uint8_t           *out = cn_alloc(LINE_MOST);       /* of exact size */
    cn_ring_stream_t   stream;
    cn_status_t        status;
    size_t             len, lines = 0;

    CN_BUG_ON(ring == NULL || out == NULL);
    memset(ring->shared->data, 0, RING_SIZE);
    memcpy(ring->shared->data, data, size < RING_SIZE ? size : RING_SIZE);
    /* near the end of the numbers as well: positions wrap */
    atomic_store(&ring->shared->tail, (tail & 0x8000) != 0 ? UINT64_MAX - (tail & 0x7ff8) : tail);
    atomic_store(&ring->shared->head, atomic_load(&ring->shared->tail) + head);

    while ((status = cn_ring_read(ring, &stream, out, &len)) == CN_OK) {
        CN_BUG_ON(len > LINE_MOST || ++lines > RING_SIZE / 8);
        CN_BUG_ON(stream != CN_RING_ERROR_LOG && stream != CN_RING_ACCESS_LOG);
    }

    CN_BUG_ON(status != CN_AGAIN);
    CN_BUG_ON(atomic_load(&ring->shared->head) != atomic_load(&ring->shared->tail));
    cn_free(out);
}


static void
count_text(void *context, cn_bytes_t text)
{
    *(size_t *) context += text.len;
}


static void
read_series(size_t used, const uint8_t *data, size_t size)
{
    size_t               room, printed = 0;
    cn_series_region_t  *region = cn_slab_region(slab, 0, &room);
    cn_series_t         *series;

    memset(region->data, 0, room);
    memcpy(region->data, data, size < room ? size : room);
    atomic_store(&region->used, used == 0xffff ? UINT64_MAX : used);
    CN_BUG_ON(cn_series_print(slab, count_text, &printed) != CN_OK);

    /* and whoever takes the region over */
    series = cn_series_open(slab, 0);
    CN_BUG_ON(series == NULL);
    CN_BUG_ON(cn_series_http(series, CN_BYTES("a=\"b\"")) == NULL);
    cn_series_close(series);
    CN_BUG_ON(cn_series_print(slab, count_text, &printed) != CN_OK);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t  ring_len;

    if (size < HEAD) {
        return 0;
    }

    ring_len = take(data + 4) < size - HEAD ? take(data + 4) : size - HEAD;
    read_ring(take(data), take(data + 2), data + HEAD, ring_len);
    read_series(take(data + 6), data + HEAD + ring_len, size - HEAD - ring_len);

    return 0;
}
