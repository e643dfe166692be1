/* SPDX-License-Identifier: Apache-2.0 */

/*
 * snapshot - the unit of adoption.  Blocks lie in segments (sealed memfds); a directory (another
 * memfd) maps the hash of a key to a block.  A publication writes the changed blocks into one new
 * segment, and a new directory that refers to old and new segments; when more than half of what the
 * segments hold is garbage, the live blocks are copied together.
 *
 *   directory:  header | segment ids | entries {hash, segment index, offset} sorted by hash
 *   segment:    header | block | block | ...           (each aligned to 64)
 *
 * Master side: cn_publisher_t.  Worker side: cn_tables_t.
 */

#ifndef CN_TABLE_SNAPSHOT_H
#define CN_TABLE_SNAPSHOT_H

#include "table/layout.h"

#define CN_SEGMENTS_MAX  64

/* ---- master side ---- */

typedef struct cn_publisher_s cn_publisher_t;

/*
 * What goes to workers: descriptors are the publisher's until the next publication; dup to keep.
 */
typedef struct {
    uint64_t  generation;
    int       directory;
    size_t    directory_size;
    size_t    segment_count;
    uint64_t  segment_ids[CN_SEGMENTS_MAX];     /* all that the directory refers to */
    int       segments[CN_SEGMENTS_MAX];
    size_t    segment_sizes[CN_SEGMENTS_MAX];
    /* bytes of new shared memory this publication cost */
    size_t    written;
} cn_publication_t;

/*
 * generation: the last one known to any worker (from the slab), so that numbers and segment ids are
 * not reused.  NULL: memory.
 */
cn_publisher_t *cn_publisher_create(uint64_t generation) CN_MUST_USE;
void cn_publisher_destroy(cn_publisher_t *publisher);

/*
 * Starts the next set of blocks; what is not put before the commit is no longer in the directory.
 */
void cn_publisher_begin(cn_publisher_t *publisher);

/*
 * Adds a finished block under its keys, one or more.  A block whose bytes (generation aside) are
 * those of the last publication's block of that kind and id is not written anew.  The block is
 * copied.  CN_ERR_EXISTS: a key's hash, or that kind and id, is taken by another block of this set
 * (which stays); CN_ERR_RANGE: no key, or an id of 2^61 or more; CN_ERR_LIMIT; CN_ERR_MEMORY.
 */
cn_status_t cn_publisher_put(cn_publisher_t *publisher, const cn_block_t *block,
    const cn_bytes_t *keys, size_t key_count) CN_MUST_USE;

/*
 * Keeps the last publication's block of that kind and id with its keys.  CN_ERR_NOT_FOUND; as put.
 */
cn_status_t cn_publisher_keep(cn_publisher_t *publisher, cn_block_kind_t kind,
    uint64_t id) CN_MUST_USE;

/* Keeps every block of the last publication that was neither put nor kept since begin.  As put. */
cn_status_t cn_publisher_keep_others(cn_publisher_t *publisher) CN_MUST_USE;

/*
 * CN_OK and *out; CN_AGAIN: nothing changed, nothing is to be sent; CN_ERR_IO, CN_ERR_MEMORY: the
 * last publication stands.
 */
cn_status_t cn_publisher_commit(cn_publisher_t *publisher, cn_publication_t *out) CN_MUST_USE;

/* ---- worker side ---- */

typedef struct cn_tables_s cn_tables_t;
/* one mapped segment; lives while it is referred to or pinned */
typedef struct cn_segment_s cn_segment_t;

/*
 * Checks what a block's root refers to, down to each module's own configuration.  Shared by master
 * and worker: table/verify.h.
 */
typedef cn_status_t (*cn_block_verify_t)(const cn_block_t *block, const char **what);

/* Empty, verifying with verify.  NULL: memory.  Pinned segments outlive the tables. */
cn_tables_t *cn_tables_create(cn_block_verify_t verify) CN_MUST_USE;
void cn_tables_destroy(cn_tables_t *tables);

/*
 * Offers a snapshot.  Segments already mapped need no descriptor (-1).  Takes all descriptors
 * given, also on failure.  A newer offer replaces one not yet adopted.  CN_ERR_SYNTAX: header,
 * seals or sizes are wrong, a segment is neither mapped nor given, or the generation is not above
 * those adopted and offered.  CN_ERR_MEMORY.  On failure what was offered before still stands.
 */
cn_status_t cn_tables_offer(cn_tables_t *tables, const cn_publication_t *publication) CN_MUST_USE;

/*
 * Verifies for at most budget_us; then CN_AGAIN (call again next turn), CN_OK (adopted: look-ups
 * see it from now on), CN_ERR_SYNTAX (*what says why; the old snapshot stays), or CN_ERR_NOT_FOUND
 * when nothing is offered.
 */
cn_status_t cn_tables_adopt(cn_tables_t *tables, uint64_t budget_us, const char **what) CN_MUST_USE;

/* The adopted generation; 0: none yet. */
uint64_t cn_tables_generation(const cn_tables_t *tables);

/*
 * The block under key, and its segment when segment is not NULL; NULL: none.  Valid until the next
 * adopt unless pinned.
 */
const cn_block_t *cn_tables_find(const cn_tables_t *tables, cn_bytes_t key, cn_segment_t **segment);

/* Convenience over the keys of layout.h. */
const cn_block_t *cn_tables_service_by_address(const cn_tables_t *tables, const uint8_t ip[16],
    uint16_t port, cn_segment_t **segment);
const cn_block_t *cn_tables_service_by_host(const cn_tables_t *tables, cn_bytes_t lower_host,
    uint16_t port, cn_segment_t **segment);
const cn_block_t *cn_tables_cluster(const cn_tables_t *tables, uint32_t id, cn_segment_t **segment);
const cn_block_t *cn_tables_endpoints(const cn_tables_t *tables, uint32_t id,
    cn_segment_t **segment);
const cn_block_t *cn_tables_workload(const cn_tables_t *tables, const uint8_t ip[16],
    cn_segment_t **segment);
const cn_block_t *cn_tables_global(const cn_tables_t *tables, cn_segment_t **segment);

/* A pinned segment stays mapped until unpinned, whatever is adopted. */
void cn_segment_pin(cn_segment_t *segment);
void cn_segment_unpin(cn_segment_t *segment);

/* Bytes mapped now, and how many of them only pins hold. */
void cn_tables_memory(const cn_tables_t *tables, size_t *mapped, size_t *pinned_only);

/*
 * Walks every block of the adopted snapshot, in directory order: start with *at = 0; a block with
 * several keys may come several times.
 */
const cn_block_t *cn_tables_next(const cn_tables_t *tables, size_t *at);

#endif
