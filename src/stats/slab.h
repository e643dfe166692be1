/* SPDX-License-Identifier: Apache-2.0 */

/*
 * slab - one shared mapping of counters for guard, master and workers: a memfd with a versioned
 * header. Atomics only, no locks: a kill -9 at any instruction leaves nothing held.  Nothing read
 * from it is used as an index or pointer unchecked.
 *
 *   header | worker slots | cells | active counts [worker][cell] | log rings | series regions
 *
 * A cell is the shared state of an endpoint or cluster.  The master hands cells out; the key's hash
 * and an epoch stand in it.  Active counts are one per worker and cell, summed on reading: a dead
 * worker's leave with it.
 */

#ifndef CN_STATS_SLAB_H
#define CN_STATS_SLAB_H

#include "base/bytes.h"

#include <stdatomic.h>

#define CN_SLAB_VERSION  4               /* of the layout; another is refused */
#define CN_WORKERS_MAX   64              /* that serve; as many may drain beside them */
#define CN_SLOTS_MAX     (2 * CN_WORKERS_MAX)
#define CN_CELL_NONE     UINT32_MAX
#define CN_CELL_OVERFLOW 0u              /* shared by all that got none of their own */

typedef struct {
    uint32_t  workers;                  /* slots for them, 1..CN_SLOTS_MAX */
    uint32_t  cells;                    /* default 16384 */
    /* bytes of a worker's log ring, a power of two; default 1 MiB, touched as used */
    uint32_t  ring_size;
    /* bytes of a worker's series region; default 4 MiB, touched as used */
    uint32_t  series_size;
} cn_slab_config_t;

/* What guard, master and the other workers may know of a worker. */
typedef struct {
    _Atomic uint32_t  pid;              /* 0: none */
    _Atomic uint32_t  state;            /* cn_worker_state_t */
    _Atomic uint64_t  heartbeat_ms;     /* monotonic; written each turn */
    _Atomic uint64_t  generation;       /* the adopted snapshot's */
    _Atomic uint64_t  connections;      /* downstream, now */
    _Atomic uint64_t  tunnels;          /* now */
    _Atomic uint64_t  requests;         /* ever */
    _Atomic uint64_t  active;           /* requests now */
    _Atomic uint64_t  attends;          /* bit i: attends the listening sockets of worker i */
    _Atomic uint64_t  longest_turn_us;
    _Atomic uint64_t  busy_us;          /* CPU-like time of turns, ever */
    _Atomic uint64_t  table_bytes;      /* mapped now */
    _Atomic uint64_t  pinned_bytes;
} cn_slab_worker_t;

typedef enum {
    CN_WORKER_GONE, CN_WORKER_STARTING, CN_WORKER_SERVING, CN_WORKER_DRAINING,
} cn_worker_state_t;

typedef struct {
    _Atomic uint64_t  key;              /* hash of what it stands for; 0: free */
    _Atomic uint32_t  epoch;            /* grows each time it is handed out */
    _Atomic uint32_t  failures;         /* in a row: outlier detection */
    _Atomic uint64_t  ejected_until_ms; /* monotonic; 0: not ejected */
    _Atomic uint64_t  tokens;           /* a GCRA word: the theoretical arrival time, µs */
    _Atomic uint64_t  retired;          /* generation from which no table names it; 0: in use */
} cn_cell_t;

typedef struct cn_slab_s cn_slab_t;     /* a mapping of it in this process */

/*
 * The guard's: makes the memfd, sized and zeroed but for its header.  CN_ERR_IO; CN_ERR_RANGE:
 * config.
 */
cn_status_t cn_slab_create(const cn_slab_config_t *config, int *fd) CN_MUST_USE;

/*
 * Maps it after checking magic, version and sizes; fd stays the caller's.  NULL: *error says why.
 */
cn_slab_t *cn_slab_map(int fd, const char **error) CN_MUST_USE;
void cn_slab_unmap(cn_slab_t *slab);
const cn_slab_config_t *cn_slab_config(const cn_slab_t *slab);

/* worker < config.workers, else NULL. */
cn_slab_worker_t *cn_slab_worker(cn_slab_t *slab, uint32_t worker);

/* Guard: what a dead worker leaves: its slot and active counts are cleared, its series stay. */
void cn_slab_worker_gone(cn_slab_t *slab, uint32_t worker);

/*
 * Guard: whether the slots first .. first + count - 1 have workers: the active counts of others are
 * not looked at.  At first all have.
 */
void cn_slab_use_slots(cn_slab_t *slab, uint32_t first, uint32_t count, bool used);

/* Numbers that outlive the master: the last publication and the last id given. */
_Atomic uint64_t *cn_slab_generation(cn_slab_t *slab);
_Atomic uint64_t *cn_slab_last_id(cn_slab_t *slab);

/* NULL when cell is out of range. */
cn_cell_t *cn_slab_cell(cn_slab_t *slab, uint32_t cell);

/* Master: the cell that has key, or a free one given to it; CN_CELL_OVERFLOW when none is free. */
uint32_t cn_slab_cell_acquire(cn_slab_t *slab, uint64_t key);

/* Master: no table from generation on names it; reused when all workers have adopted that. */
void cn_slab_cell_retire(cn_slab_t *slab, uint32_t cell, uint64_t generation);
void cn_slab_cells_reclaim(cn_slab_t *slab);

/* Worker: one more or less active request.  Out of range counts in the overflow cell. */
void cn_slab_active_add(cn_slab_t *slab, uint32_t worker, uint32_t cell, int32_t by);

/* One worker's part of a cell's active requests; 0: no such worker. */
uint32_t cn_slab_worker_active(const cn_slab_t *slab, uint32_t worker, uint32_t cell);

/* All workers' active requests of a cell. */
uint32_t cn_slab_active(const cn_slab_t *slab, uint32_t cell);

#endif
