/* SPDX-License-Identifier: Apache-2.0 */

/*
 * format - the bytes of segments and directories, and the sealed memory that holds them.  For this
 * room only.
 *
 *   segment:    header (64) | block | 0..63 zeros | block | ...
 *   directory:  header (64) | uint64_t segment ids | entries sorted by hash, no hash twice
 */

#ifndef CN_TABLE_FORMAT_H
#define CN_TABLE_FORMAT_H

#include "table/block.h"

#define CN_SEGMENT_MAGIC    0x47534e43u         /* "CNSG" */
#define CN_DIRECTORY_MAGIC  0x49444e43u         /* "CNDI" */
#define CN_FORMAT_VERSION   1
#define CN_BLOCK_ALIGN      64u
#define CN_SEGMENT_MAX      (1024u * 1024 * 1024)
#define CN_ENTRIES_MAX      (16u * 1024 * 1024)

typedef struct {
    uint32_t  magic;
    uint16_t  version;
    uint16_t  reserved;
    uint64_t  id;
    uint64_t  size;                     /* of the whole segment, a multiple of 64 */
    uint32_t  block_count;
    uint32_t  reserved2[9];
} cn_segment_header_t;

_Static_assert(sizeof(cn_segment_header_t) == 64, "the layout is an interface");

typedef struct {
    uint32_t  magic;
    uint16_t  version;
    uint16_t  reserved;
    uint64_t  generation;
    uint64_t  size;                     /* of the whole directory */
    uint64_t  checksum;                 /* XXH3 of the bytes behind the header */
    uint32_t  segment_count;
    uint32_t  entry_count;
    uint32_t  reserved2[6];
} cn_directory_header_t;

_Static_assert(sizeof(cn_directory_header_t) == 64, "the layout is an interface");

typedef struct {
    uint64_t  hash;                     /* of the key */
    uint32_t  segment;                  /* position in the directory's list of segments */
    uint32_t  offset;                   /* of the block in it */
} cn_directory_entry_t;

_Static_assert(sizeof(cn_directory_entry_t) == 16, "the layout is an interface");

/* Room that a block of size bytes takes in a segment. */
static inline size_t
cn_block_room(size_t size)
{
    return (size + CN_BLOCK_ALIGN - 1) / CN_BLOCK_ALIGN * CN_BLOCK_ALIGN;
}

/* A directory's size; neither count is over its limit. */
static inline size_t
cn_directory_size(size_t segment_count, size_t entry_count)
{
    return sizeof(cn_directory_header_t) + segment_count * sizeof(uint64_t)
           + entry_count * sizeof(cn_directory_entry_t);
}

/*
 * Zeroed shared memory of size bytes, its pages reserved, mapped for writing: a full machine is an
 * error here and not a SIGBUS later.  CN_ERR_IO, and nothing is left open.
 */
cn_status_t cn_memfd_create(const char *name, size_t size, int *fd, void **map) CN_MUST_USE;

/*
 * Unmaps what was written, seals it for ever, maps it for reading.  On CN_ERR_IO fd is closed and
 * nothing mapped.
 */
cn_status_t cn_memfd_seal(int fd, void *map, size_t size, const void **sealed) CN_MUST_USE;

/*
 * Maps for reading what another process made: only when it is size bytes and sealed against all
 * change.  fd stays open.
 */
cn_status_t cn_memfd_open(int fd, size_t size, const void **map) CN_MUST_USE;

/* NULL does nothing. */
void cn_memfd_unmap(const void *map, size_t size);

#endif
