/* SPDX-License-Identifier: Apache-2.0 */

/*
 * block - the unit of shared tables: one immutable run of bytes for one service, cluster, endpoint
 * set or workload, the same at any address.  A reference is a byte offset from the start of its own
 * block, so a block can be copied to another segment as it is, and a core dump of it read
 * offline.  0 is "none": the header lies there.
 *
 *   +--------------+---------------------+---------------------------------+
 *   | block header | root struct         | arrays, strings, module configs |
 *   +--------------+---------------------+---------------------------------+
 *   0              40                                                      size (a multiple of 8)
 *
 * The master builds and verifies; a worker verifies again before it adopts (cn_block_range() for
 * each reference), and after that reads with cn_block_at() without a check.
 */

#ifndef CN_TABLE_BLOCK_H
#define CN_TABLE_BLOCK_H

#include "base/bytes.h"

#define CN_BLOCK_MAGIC    0x4b424e43u           /* "CNBK" */
#define CN_BLOCK_VERSION  1
#define CN_BLOCK_MAX      (16u * 1024 * 1024)   /* bytes */

/* len octets at `at`; no NUL is promised */
typedef struct { uint32_t at; uint32_t len; }    cn_rel_bytes_t;
/* count items of a known type at `at` */
typedef struct { uint32_t at; uint32_t count; }  cn_rel_array_t;

typedef enum {
    CN_BLOCK_GLOBAL = 1,        /* cn_table_global_t */
    CN_BLOCK_SERVICE,           /* cn_table_service_t */
    CN_BLOCK_CLUSTER,           /* cn_table_cluster_t */
    CN_BLOCK_ENDPOINTS,         /* cn_table_endpoints_t */
    CN_BLOCK_WORKLOAD,          /* cn_table_workload_t */
    CN_BLOCK_KIND_COUNT
} cn_block_kind_t;

typedef struct {
    uint32_t  magic;
    uint16_t  version;
    uint16_t  kind;             /* cn_block_kind_t */
    uint32_t  size;             /* bytes of the whole block */
    uint32_t  reserved;
    uint64_t  id;               /* the master's: not reused while a worker can hold it */
    uint64_t  generation;       /* of the publication that first wrote these bytes */
    uint64_t  checksum;         /* XXH3 of the bytes behind the header */
} cn_block_t;

_Static_assert(sizeof(cn_block_t) == 40, "the layout is an interface");

/* What `at` refers to, in a verified block; NULL for 0. */
static inline const void *
cn_block_at(const cn_block_t *block, uint32_t at)
{
    return at == 0 ? NULL : (const uint8_t *) block + at;
}

static inline cn_bytes_t
cn_block_bytes(const cn_block_t *block, cn_rel_bytes_t ref)
{
    return (cn_bytes_t) { ref.at == 0 ? NULL : (const uint8_t *) block + ref.at, ref.len };
}

/* The struct behind the header: the kind's root. */
static inline const void *
cn_block_root(const cn_block_t *block)
{
    return block + 1;
}

#define CN_BLOCK_ITEMS(block, ref, type)  ((const type *) cn_block_at((block), (ref).at))

/*
 * Whether count items of size bytes, so aligned, lie within the block behind its header.  An array
 * of none may have at 0.
 */
bool cn_block_range(const cn_block_t *block, cn_rel_array_t ref, size_t size, size_t align);
bool cn_block_bytes_ok(const cn_block_t *block, cn_rel_bytes_t ref);

/* Checks magic, version, kind, size (at most available), checksum; not what the root refers to. */
cn_status_t cn_block_check(const void *at, size_t available) CN_MUST_USE;

/*
 * A block being built, in growing heap memory: keep offsets, pointers move.  After a failed call
 * the builder is spoiled and cn_block_finish() fails.  Equal strings are stored once.
 */
typedef struct cn_block_builder_s cn_block_builder_t;

/* The root (zeroed, root_size bytes) comes first.  NULL: memory. */
cn_block_builder_t *cn_block_builder_create(cn_block_kind_t kind, uint64_t id,
    size_t root_size) CN_MUST_USE;
void cn_block_builder_destroy(cn_block_builder_t *builder);

/*
 * What whoever makes the block wants to be asked by those who only pack a part of it; the builder
 * carries it and looks at nothing.  NULL at first.
 */
void cn_block_builder_set_owner(cn_block_builder_t *builder, const void *owner);
const void *cn_block_builder_owner(const cn_block_builder_t *builder);

/* The root, until the next add. */
void *cn_block_builder_root(cn_block_builder_t *builder);

/*
 * Zeroed room for count items; its offset, or 0 when memory or CN_BLOCK_MAX is spent or count is 0.
 */
uint32_t cn_block_add(cn_block_builder_t *builder, size_t count, size_t size, size_t align);
cn_rel_array_t cn_block_add_array(cn_block_builder_t *builder, size_t count, size_t size,
    size_t align);
cn_rel_bytes_t cn_block_add_bytes(cn_block_builder_t *builder, cn_bytes_t bytes);

/* What lies at an offset, until the next add.  NULL: out of range. */
void *cn_block_builder_at(cn_block_builder_t *builder, uint32_t at);

/*
 * Seals header and checksum; the bytes are the builder's until it is destroyed.  CN_ERR_MEMORY,
 * CN_ERR_LIMIT.
 */
cn_status_t cn_block_finish(cn_block_builder_t *builder, const cn_block_t **block) CN_MUST_USE;

#endif
