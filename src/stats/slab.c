/* SPDX-License-Identifier: Apache-2.0 */

/*
 * slab - making and mapping it, worker slots, cells and active counts.
 *
 * Each word has one kind of writer: a slot and a row of active counts are their worker's (or, when
 * it is dead, the guard's), the keys of cells the master's.  So plain atomic loads and stores do,
 * but for two masters side by side during an upgrade: a cell is taken by compare-and-swap of its
 * key.  The master's way from key to cell is an index on its own heap, checked against the cell at
 * each use.
 *
 * A cell's life:  free (key 0) --acquire--> in use --retire--> retired --workers past, idle--> free
 *                                             ^------acquire of the same key------'
 */

#include "stats/slab.h"

#include "base/pool.h"
#include "stats/ring.h"
#include "stats/slab_layout.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLAB_MAGIC       0x4c534e43u    /* "CNSL" */
#define SLAB_SEALS       (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)    /* its size is for ever */
#define CELLS_MAX        (1u << 22)
#define RING_SIZE_MIN    (32u * 1024)   /* holds the longest record */
#define RING_SIZE_MAX    (64u * 1024 * 1024)
#define SERIES_SIZE_MIN  (64u * 1024)
#define SERIES_SIZE_MAX  (256u * 1024 * 1024)

typedef struct {
    uint32_t          magic;
    uint16_t          version;
    uint16_t          header_size;
    uint64_t          size;
    cn_slab_config_t  config;
    uint32_t          reserved[8];
    _Alignas(CN_CACHE_LINE) _Atomic uint64_t  generation;
    _Atomic uint64_t  last_id;
    _Atomic uint64_t  idle[CN_SLOTS_MAX / 64];      /* bit i: slot i has no worker */
    _Atomic uint32_t  bell;                         /* of the rings (ring.h) */
} slab_header_t;

_Static_assert(sizeof(slab_header_t) == 2 * CN_CACHE_LINE, "the layout is an interface");
_Static_assert(sizeof(cn_slab_worker_t) <= 2 * CN_CACHE_LINE, "a slot is two lines");
_Static_assert(sizeof(cn_cell_t) == 40, "the layout is an interface");

#define SLOT_STRIDE  (2 * CN_CACHE_LINE)

/* The master's index: which cell was given to a key. */
typedef struct {
    uint32_t  *slots;                   /* cells, 0: free; by key, open addressing */
    size_t     mask;
    size_t     used;                    /* slots that are not free */
    uint32_t   scan;                    /* where to look for the next free cell */
} cell_index_t;

struct cn_slab_s {
    uint8_t           *base;
    cn_slab_config_t   config;
    cn_slab_layout_t   layout;
    struct cn_ring_s   rings[CN_SLOTS_MAX + 1];
    cell_index_t       index;           /* made at the first acquire */
};


static bool
config_ok(const cn_slab_config_t *config)
{
    return config->workers >= 1 && config->workers <= CN_SLOTS_MAX
           && config->cells >= 1 && config->cells <= CELLS_MAX
           && config->ring_size >= RING_SIZE_MIN && config->ring_size <= RING_SIZE_MAX
           && (config->ring_size & (config->ring_size - 1)) == 0
           && config->series_size >= SERIES_SIZE_MIN && config->series_size <= SERIES_SIZE_MAX;
}


static size_t
lines(size_t size)
{
    return (size + CN_CACHE_LINE - 1) / CN_CACHE_LINE * CN_CACHE_LINE;
}


/* Within bounds that cannot overflow: config_ok() was asked. */
static cn_slab_layout_t
layout_of(const cn_slab_config_t *config)
{
    cn_slab_layout_t  layout;

    layout.workers = sizeof(slab_header_t);
    layout.cells = layout.workers + config->workers * (size_t) SLOT_STRIDE;
    layout.active = layout.cells + lines(config->cells * sizeof(cn_cell_t));
    layout.active_stride = lines(config->cells * sizeof(uint32_t));
    layout.rings = layout.active + config->workers * layout.active_stride;
    layout.ring_stride = sizeof(cn_ring_shared_t) + config->ring_size;
    layout.series = layout.rings + (config->workers + 1) * layout.ring_stride;
    layout.series_stride = sizeof(cn_series_region_t) + lines(config->series_size);
    layout.size = layout.series + (config->workers + 1) * layout.series_stride;

    return layout;
}


cn_status_t
cn_slab_create(const cn_slab_config_t *config, int *fd)
{
    slab_header_t  header = { .magic = SLAB_MAGIC, .version = CN_SLAB_VERSION,
                              .header_size = sizeof(slab_header_t) };
    int            made;

    if (!config_ok(config)) {
        return CN_ERR_RANGE;
    }

    header.config = *config;
    header.size = layout_of(config).size;
    made = memfd_create("cairn-slab", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (made < 0) {
        return CN_ERR_IO;
    }

    if (ftruncate(made, (off_t) header.size) != 0
        || pwrite(made, &header, sizeof(header), 0) != (ssize_t) sizeof(header)
        || fcntl(made, F_ADD_SEALS, SLAB_SEALS) != 0)
    {
        (void) close(made);
        return CN_ERR_IO;
    }

    *fd = made;

    return CN_OK;
}


/* Reads the header; NULL: it is a slab of this version and size.  Else why not. */
static const char *
header_check(int fd, slab_header_t *header)
{
    struct stat  info;
    int          seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || (seals & SLAB_SEALS) != SLAB_SEALS) {
        return "the slab's size is not sealed";
    }

    if (pread(fd, header, sizeof(*header), 0) != (ssize_t) sizeof(*header)
        || header->magic != SLAB_MAGIC)
    {
        return "this is no slab";
    }

    if (header->version != CN_SLAB_VERSION || header->header_size != sizeof(slab_header_t)) {
        return "the slab is of another version";
    }

    if (!config_ok(&header->config) || header->size != layout_of(&header->config).size
        || fstat(fd, &info) != 0 || (uint64_t) info.st_size != header->size)
    {
        return "the slab's sizes do not fit together";
    }

    return NULL;
}


static void
view_rings(cn_slab_t *slab)
{
    for (uint32_t i = 0; i <= slab->config.workers; i++) {
        slab->rings[i] = (struct cn_ring_s) {
            .shared = (void *) (slab->base + slab->layout.rings + i * slab->layout.ring_stride),
            .bell = &((slab_header_t *) slab->base)->bell,
            .size = slab->config.ring_size,
        };
    }
}


cn_slab_t *
cn_slab_map(int fd, const char **error)
{
    slab_header_t  header;
    cn_slab_t     *slab;
    void          *base;

    *error = header_check(fd, &header);

    if (*error != NULL) {
        return NULL;
    }

    slab = cn_alloc_zero(sizeof(*slab));

    if (slab == NULL) {
        *error = "out of memory";
        return NULL;
    }

    slab->config = header.config;
    slab->layout = layout_of(&header.config);
    base = mmap(NULL, slab->layout.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (base == MAP_FAILED) {
        cn_free(slab);
        *error = "mmap failed";
        return NULL;
    }

    slab->base = base;
    view_rings(slab);

    return slab;
}


void
cn_slab_unmap(cn_slab_t *slab)
{
    if (slab == NULL) {
        return;
    }

    (void) munmap(slab->base, slab->layout.size);
    cn_free(slab->index.slots);
    cn_free(slab);
}


const cn_slab_config_t *
cn_slab_config(const cn_slab_t *slab)
{
    return &slab->config;
}


cn_slab_worker_t *
cn_slab_worker(cn_slab_t *slab, uint32_t worker)
{
    if (worker >= slab->config.workers) {
        return NULL;
    }

    return (void *) (slab->base + slab->layout.workers + worker * (size_t) SLOT_STRIDE);
}


/* worker and cell are in range. */
static _Atomic uint32_t *
active_count(const cn_slab_t *slab, uint32_t worker, uint32_t cell)
{
    uint8_t  *row = slab->base + slab->layout.active + worker * slab->layout.active_stride;

    return (_Atomic uint32_t *) (void *) row + cell;
}


void
cn_slab_worker_gone(cn_slab_t *slab, uint32_t worker)
{
    cn_slab_worker_t  *slot = cn_slab_worker(slab, worker);

    if (slot == NULL) {
        return;
    }

    atomic_store(&slot->state, CN_WORKER_GONE);
    atomic_store(&slot->pid, 0);
    atomic_store(&slot->heartbeat_ms, 0);
    atomic_store(&slot->generation, 0);
    atomic_store(&slot->connections, 0);
    atomic_store(&slot->tunnels, 0);
    atomic_store(&slot->requests, 0);
    atomic_store(&slot->active, 0);
    atomic_store(&slot->attends, 0);
    atomic_store(&slot->longest_turn_us, 0);
    atomic_store(&slot->busy_us, 0);
    atomic_store(&slot->table_bytes, 0);
    atomic_store(&slot->pinned_bytes, 0);

    for (uint32_t i = 0; i < slab->config.cells; i++) {
        _Atomic uint32_t  *count = active_count(slab, worker, i);

        /* pages that were never touched stay so */
        if (atomic_load_explicit(count, memory_order_relaxed) != 0) {
            atomic_store_explicit(count, 0, memory_order_relaxed);
        }
    }
}


void
cn_slab_use_slots(cn_slab_t *slab, uint32_t first, uint32_t count, bool used)
{
    slab_header_t  *header = (void *) slab->base;

    for (uint32_t i = first; i < slab->config.workers && i - first < count; i++) {
        if (used) {
            atomic_fetch_and(&header->idle[i / 64], ~(1ull << i % 64));

        } else {
            atomic_fetch_or(&header->idle[i / 64], 1ull << i % 64);
        }
    }
}


_Atomic uint64_t *
cn_slab_generation(cn_slab_t *slab)
{
    return &((slab_header_t *) (void *) slab->base)->generation;
}


_Atomic uint64_t *
cn_slab_last_id(cn_slab_t *slab)
{
    return &((slab_header_t *) (void *) slab->base)->last_id;
}


cn_cell_t *
cn_slab_cell(cn_slab_t *slab, uint32_t cell)
{
    if (cell >= slab->config.cells) {
        return NULL;
    }

    return (cn_cell_t *) (void *) (slab->base + slab->layout.cells) + cell;
}


/* ---- the master's index ---- */

/*
 * The slot whose cell has the key, or a free one for it.  A cell that changed hands since simply no
 * longer matches.
 */
static uint32_t *
index_slot(cn_slab_t *slab, uint64_t key)
{
    size_t  i = (size_t) (key ^ key >> 32) & slab->index.mask;

    while (slab->index.slots[i] != 0
           && atomic_load(&cn_slab_cell(slab, slab->index.slots[i])->key) != key)
    {
        i = (i + 1) & slab->index.mask;
    }

    return &slab->index.slots[i];
}


/* From what stands in the cells: a new master finds what the old one gave. */
static bool
index_build(cn_slab_t *slab)
{
    size_t     capacity = 64;
    uint32_t  *slots;

    while (capacity < (size_t) slab->config.cells * 4) {
        capacity *= 2;
    }

    slots = slab->index.slots;

    if (slots == NULL) {
        slots = cn_alloc(capacity * sizeof(*slots));

        if (slots == NULL) {
            return false;
        }
    }

    memset(slots, 0, capacity * sizeof(*slots));
    slab->index = (cell_index_t) { .slots = slots, .mask = capacity - 1, .scan = 1 };

    for (uint32_t i = 1; i < slab->config.cells; i++) {
        uint64_t  key = atomic_load(&cn_slab_cell(slab, i)->key);

        if (key != 0) {
            *index_slot(slab, key) = i;
            slab->index.used++;
        }
    }

    return true;
}


/* Takes the next free cell for key; CN_CELL_OVERFLOW: none. */
static uint32_t
take_free(cn_slab_t *slab, uint64_t key)
{
    for (uint32_t i = 1; i < slab->config.cells; i++) {
        uint32_t    cell = slab->index.scan;
        cn_cell_t  *at = cn_slab_cell(slab, cell);
        uint64_t    none = 0;

        slab->index.scan = cell + 1 < slab->config.cells ? cell + 1 : 1;

        if (atomic_compare_exchange_strong(&at->key, &none, key)) {
            atomic_fetch_add(&at->epoch, 1);
            return cell;
        }
    }

    return CN_CELL_OVERFLOW;
}


uint32_t
cn_slab_cell_acquire(cn_slab_t *slab, uint64_t key)
{
    uint32_t  *slot;
    uint32_t   cell;

    if (key == 0 || slab->config.cells < 2) {
        return CN_CELL_OVERFLOW;
    }

    /*
     * cells that another master reclaimed are still listed under their former keys: sweep those out
     * in time
     */
    if ((slab->index.slots == NULL || slab->index.used > slab->index.mask / 2)
        && !index_build(slab))
    {
        return CN_CELL_OVERFLOW;
    }

    slot = index_slot(slab, key);

    if (*slot == 0) {
        cell = take_free(slab, key);

        if (cell != CN_CELL_OVERFLOW) {
            *slot = cell;
            slab->index.used++;
        }

        return cell;
    }

    atomic_store(&cn_slab_cell(slab, *slot)->retired, 0);

    return *slot;
}


void
cn_slab_cell_retire(cn_slab_t *slab, uint32_t cell, uint64_t generation)
{
    cn_cell_t  *at = cn_slab_cell(slab, cell);

    if (cell != CN_CELL_OVERFLOW && at != NULL && atomic_load(&at->key) != 0) {
        atomic_store(&at->retired, generation);
    }
}


/*
 * The oldest snapshot that a worker may be using; one that has not adopted any may yet be given an
 * old one.
 */
static uint64_t
oldest_generation(cn_slab_t *slab)
{
    uint64_t  oldest = UINT64_MAX;

    for (uint32_t i = 0; i < slab->config.workers; i++) {
        cn_slab_worker_t  *slot = cn_slab_worker(slab, i);
        uint64_t           generation = atomic_load(&slot->generation);

        if (atomic_load(&slot->pid) != 0 && generation < oldest) {
            oldest = generation;
        }
    }

    return oldest;
}


/* The key goes last: until then nobody takes the cell. */
static void
cell_clear(cn_cell_t *cell)
{
    atomic_store(&cell->failures, 0);
    atomic_store(&cell->ejected_until_ms, 0);
    atomic_store(&cell->tokens, 0);
    atomic_store(&cell->retired, 0);
    atomic_store(&cell->key, 0);
}


void
cn_slab_cells_reclaim(cn_slab_t *slab)
{
    uint64_t  oldest = oldest_generation(slab);
    bool      freed = false;

    for (uint32_t i = 1; i < slab->config.cells; i++) {
        cn_cell_t  *cell = cn_slab_cell(slab, i);
        uint64_t    retired = atomic_load(&cell->retired);

        /* a request that began before still counts here when it ends, so it must have ended */
        if (retired != 0 && retired <= oldest && cn_slab_active(slab, i) == 0) {
            cell_clear(cell);
            freed = true;
        }
    }

    if (freed && slab->index.slots != NULL) {
        (void) index_build(slab);       /* in the memory it has */
    }
}


void
cn_slab_active_add(cn_slab_t *slab, uint32_t worker, uint32_t cell, int32_t by)
{
    _Atomic uint32_t  *count;
    uint32_t           value;

    if (worker >= slab->config.workers) {
        return;
    }

    count = active_count(slab, worker, cell < slab->config.cells ? cell : CN_CELL_OVERFLOW);
    value = atomic_load_explicit(count, memory_order_relaxed);

    /* this worker is the only writer: no locked instruction is needed */
    if (by < 0 && value < (uint32_t) -(int64_t) by) {
        value = 0;

    } else {
        value += (uint32_t) by;
    }

    atomic_store_explicit(count, value, memory_order_relaxed);
}


uint32_t
cn_slab_worker_active(const cn_slab_t *slab, uint32_t worker, uint32_t cell)
{
    if (worker >= slab->config.workers) {
        return 0;
    }

    return atomic_load_explicit(active_count(slab, worker,
                                             cell < slab->config.cells ? cell : CN_CELL_OVERFLOW),
                                memory_order_relaxed);
}


uint32_t
cn_slab_active(const cn_slab_t *slab, uint32_t cell)
{
    const slab_header_t  *header = (const void *) slab->base;
    uint32_t              sum = 0;

    for (uint32_t word = 0; word * 64 < slab->config.workers; word++) {
        uint32_t  left = slab->config.workers - word * 64;
        uint64_t  used = ~atomic_load_explicit(&header->idle[word], memory_order_relaxed);

        for (used &= left < 64 ? (1ull << left) - 1 : UINT64_MAX; used != 0; used &= used - 1) {
            uint32_t  slot = word * 64 + (uint32_t) __builtin_ctzll(used);

            sum += cn_slab_worker_active(slab, slot, cell);
        }
    }

    return sum;
}


/* ---- rings and series ---- */

cn_ring_t *
cn_slab_ring(cn_slab_t *slab, uint32_t worker)
{
    return worker <= slab->config.workers ? &slab->rings[worker] : NULL;
}


cn_series_region_t *
cn_slab_region(cn_slab_t *slab, uint32_t worker, size_t *size)
{
    *size = slab->layout.series_stride - sizeof(cn_series_region_t);

    return (void *) (slab->base + slab->layout.series + worker * slab->layout.series_stride);
}
