/* SPDX-License-Identifier: Apache-2.0 */

/*
 * publisher - the master's side of snapshots.  It keeps two sets of records (block and keys): the
 * published one and the one being put together.  A record points to bytes in a sealed segment, or
 * to a staged copy that the commit writes.
 *
 * What a commit writes is kept near to what changed: one new segment with the staged blocks, and
 * the directory.  Live blocks of older segments are copied along only out of segments that are
 * mostly garbage, once garbage is more than half of everything, and out of the smallest ones, when
 * there would be more than CN_SEGMENTS_MAX.
 */

#include "table/snapshot.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/pool.h"
#include "table/format.h"
#include "table/record.h"

#include <stdlib.h>
#include <unistd.h>

#define SEGMENTS_FEW  (CN_SEGMENTS_MAX / 2)     /* how many are left when there were too many */

struct cn_record_segment_s {
    cn_list_t    link;
    uint64_t     id;
    int          fd;
    const void  *base;
    size_t       size;
    size_t       live;                  /* bytes of blocks the next set still refers to */
    bool         leaving;               /* its live blocks are copied to the new segment */
    uint32_t     position;              /* in the directory being written */
};

typedef struct cn_record_segment_s segment_t;

struct cn_publisher_s {
    uint64_t         generation;        /* the last one given */
    bool             published;         /* by this publisher */
    cn_list_t        segments;          /* segment_t */
    cn_record_set_t  current;
    cn_record_set_t  next;
    int              directory;         /* -1: none */
    size_t           directory_size;
};


/* ---- segments ---- */

static void
segment_destroy(segment_t *segment)
{
    cn_list_remove(&segment->link);
    cn_memfd_unmap(segment->base, segment->size);
    (void) close(segment->fd);
    cn_free(segment);
}


static const cn_block_t *
record_block(const cn_record_t *record)
{
    return record->staged != NULL ? record->staged
           : (const void *) ((const uint8_t *) record->segment->base + record->offset);
}


/* Whether the commit writes it into the new segment. */
static bool
is_written(const cn_record_t *record)
{
    return record->staged != NULL || record->segment->leaving;
}


static void
count_live(cn_publisher_t *publisher)
{
    CN_LIST_EACH(&publisher->segments, link) {
        segment_t  *segment = CN_LIST_ITEM(link, segment_t, link);

        segment->live = 0;
        segment->leaving = false;
    }

    for (size_t i = 0; i < publisher->next.count; i++) {
        cn_record_t  *record = &publisher->next.records[i];

        if (record->staged == NULL) {
            record->segment->live += cn_block_room(record->size);
        }
    }
}


/* The remaining segment with the least to copy; NULL: none. */
static segment_t *
smallest(cn_publisher_t *publisher)
{
    segment_t  *least = NULL;

    CN_LIST_EACH(&publisher->segments, link) {
        segment_t  *segment = CN_LIST_ITEM(link, segment_t, link);

        if (segment->live > 0 && !segment->leaving
            && (least == NULL || segment->live < least->live))
        {
            least = segment;
        }
    }

    return least;
}


/* Decides which segments are emptied by this commit. */
static void
choose_leaving(cn_publisher_t *publisher)
{
    size_t      total = 0;
    size_t      live = 0;
    size_t      count = 1;              /* the new one */
    segment_t  *least;

    CN_LIST_EACH(&publisher->segments, link) {
        segment_t  *segment = CN_LIST_ITEM(link, segment_t, link);

        /* one without a live block goes at no cost */
        total += segment->live > 0 ? segment->size : 0;
        live += segment->live;
        count += segment->live > 0;
    }

    if (total - live > total / 2) {
        CN_LIST_EACH(&publisher->segments, link) {
            segment_t  *segment = CN_LIST_ITEM(link, segment_t, link);

            if (segment->live > 0 && segment->live < segment->size / 2) {
                segment->leaving = true;
                count--;
            }
        }
    }

    if (count <= CN_SEGMENTS_MAX) {
        return;
    }

    while (count > SEGMENTS_FEW && (least = smallest(publisher)) != NULL) {
        least->leaving = true;
        count--;
    }
}


/* Copies the blocks behind the header and makes the records point there. */
static void
fill_segment(cn_publisher_t *publisher, segment_t *segment, uint8_t *bytes)
{
    cn_segment_header_t  *header = (void *) bytes;
    size_t                at = sizeof(*header);

    *header = (cn_segment_header_t) {
        .magic = CN_SEGMENT_MAGIC,
        .version = CN_FORMAT_VERSION,
        .id = segment->id,
        .size = segment->size,
    };

    for (size_t i = 0; i < publisher->next.count; i++) {
        cn_record_t  *record = &publisher->next.records[i];

        if (!is_written(record)) {
            continue;
        }

        memcpy(bytes + at, record_block(record), record->size);

        if (record->staged != NULL) {
            ((cn_block_t *) (void *) (bytes + at))->generation = segment->id;
            cn_free(record->staged);
            record->staged = NULL;
        }

        record->segment = segment;
        record->offset = (uint32_t) at;
        at += cn_block_room(record->size);
        header->block_count++;
    }
}


/*
 * *out: NULL when there is nothing to write.  A segment's id is the generation that it comes with.
 */
static cn_status_t
write_segment(cn_publisher_t *publisher, uint64_t generation, segment_t **out)
{
    size_t       size = sizeof(cn_segment_header_t);
    segment_t   *segment;
    void        *bytes;
    cn_status_t  status;

    *out = NULL;

    for (size_t i = 0; i < publisher->next.count; i++) {
        cn_record_t  *record = &publisher->next.records[i];

        size += is_written(record) ? cn_block_room(record->size) : 0;
    }

    if (size == sizeof(cn_segment_header_t)) {
        return CN_OK;
    }

    if (size > CN_SEGMENT_MAX) {
        return CN_ERR_LIMIT;
    }

    segment = cn_alloc_zero(sizeof(*segment));

    if (segment == NULL) {
        return CN_ERR_MEMORY;
    }

    segment->id = generation;
    segment->size = size;
    status = cn_memfd_create("cairn-segment", size, &segment->fd, &bytes);

    if (status == CN_OK) {
        fill_segment(publisher, segment, bytes);
        status = cn_memfd_seal(segment->fd, bytes, size, &segment->base);
    }

    if (status != CN_OK) {
        cn_free(segment);
        return status;
    }

    segment->live = size - sizeof(cn_segment_header_t);
    cn_list_append(&publisher->segments, &segment->link);
    *out = segment;

    return CN_OK;
}


/* ---- the directory ---- */

static int
compare_entries(const void *a, const void *b)
{
    uint64_t  left = ((const cn_directory_entry_t *) a)->hash;
    uint64_t  right = ((const cn_directory_entry_t *) b)->hash;

    return (left > right) - (left < right);
}


/* Numbers the segments that stay and lists their ids; returns how many. */
static uint32_t
list_segments(cn_publisher_t *publisher, uint64_t *ids)
{
    uint32_t  count = 0;

    CN_LIST_EACH(&publisher->segments, link) {
        segment_t  *segment = CN_LIST_ITEM(link, segment_t, link);

        if (segment->live > 0 && !segment->leaving) {
            segment->position = count;
            ids[count++] = segment->id;
        }
    }

    return count;
}


static void
fill_entries(const cn_record_set_t *set, cn_directory_entry_t *entries)
{
    for (size_t i = 0; i < set->count; i++) {
        const cn_record_t  *record = &set->records[i];

        for (size_t j = 0; j < record->key_count; j++) {
            *entries++ = (cn_directory_entry_t) {
                .hash = set->keys[record->key_at + j],
                .segment = record->segment->position,
                .offset = record->offset,
            };
        }
    }
}


static cn_status_t
write_directory(cn_publisher_t *publisher, uint64_t generation, int *fd, size_t *size)
{
    cn_directory_header_t  *header;
    cn_directory_entry_t   *entries;
    const void             *sealed;
    void                   *bytes;
    uint64_t                ids[CN_SEGMENTS_MAX];
    uint32_t                count = list_segments(publisher, ids);
    cn_status_t             status;

    *size = cn_directory_size(count, publisher->next.key_count);
    status = cn_memfd_create("cairn-directory", *size, fd, &bytes);

    if (status != CN_OK) {
        return status;
    }

    header = bytes;
    *header = (cn_directory_header_t) {
        .magic = CN_DIRECTORY_MAGIC,
        .version = CN_FORMAT_VERSION,
        .generation = generation,
        .size = *size,
        .segment_count = count,
        .entry_count = (uint32_t) publisher->next.key_count,
    };

    memcpy(header + 1, ids, count * sizeof(uint64_t));
    entries = (void *) ((uint64_t *) (void *) (header + 1) + count);
    fill_entries(&publisher->next, entries);
    qsort(entries, publisher->next.key_count, sizeof(*entries), compare_entries);
    header->checksum = cn_hash(cn_bytes(header + 1, *size - sizeof(*header)));

    status = cn_memfd_seal(*fd, bytes, *size, &sealed);

    if (status == CN_OK) {
        cn_memfd_unmap(sealed, *size);      /* the records say the same */
    }

    return status;
}


/* ---- the commit ---- */

/* Whether each record is one of the published ones, where it was and under the same keys. */
static bool
is_unchanged(const cn_publisher_t *publisher)
{
    const cn_record_set_t  *next = &publisher->next;
    const cn_record_set_t  *current = &publisher->current;
    uint32_t      position;

    if (!publisher->published || next->count != current->count
        || next->key_count != current->key_count)
    {
        return false;
    }

    for (size_t i = 0; i < next->count; i++) {
        const cn_record_t  *record = &next->records[i];

        if (record->staged != NULL) {
            return false;
        }

        for (size_t j = 0; j < record->key_count; j++) {
            if (!cn_index_get(&current->by_key, next->keys[record->key_at + j], &position)
                || current->records[position].id != record->id
                || current->records[position].kind != record->kind)
            {
                return false;
            }
        }
    }

    return true;
}


static void
drop_empty_segments(cn_publisher_t *publisher)
{
    CN_LIST_EACH(&publisher->segments, link) {
        segment_t  *segment = CN_LIST_ITEM(link, segment_t, link);

        if (segment->live == 0 || segment->leaving) {
            segment_destroy(segment);
        }
    }
}


static void
describe(const cn_publisher_t *publisher, size_t written, cn_publication_t *out)
{
    *out = (cn_publication_t) {
        .generation = publisher->generation,
        .directory = publisher->directory,
        .directory_size = publisher->directory_size,
        .written = written,
    };

    CN_LIST_EACH(&publisher->segments, link) {
        segment_t  *segment = CN_LIST_ITEM(link, segment_t, link);
        size_t      i = out->segment_count++;

        out->segment_ids[i] = segment->id;
        out->segments[i] = segment->fd;
        out->segment_sizes[i] = segment->size;
    }
}


static void
drop_directory(cn_publisher_t *publisher)
{
    if (publisher->directory >= 0) {
        (void) close(publisher->directory);
    }
}


cn_status_t
cn_publisher_commit(cn_publisher_t *publisher, cn_publication_t *out)
{
    uint64_t      generation = publisher->generation + 1;
    segment_t    *segment = NULL;
    size_t        size = 0;
    int           fd = -1;
    cn_status_t   status;

    if (is_unchanged(publisher)) {
        cn_record_set_clear(&publisher->next);
        return CN_AGAIN;
    }

    count_live(publisher);
    choose_leaving(publisher);
    status = write_segment(publisher, generation, &segment);

    if (status == CN_OK) {
        status = write_directory(publisher, generation, &fd, &size);
    }

    if (status != CN_OK) {
        if (segment != NULL) {
            segment_destroy(segment);
        }

        cn_record_set_clear(&publisher->next);
        return status;
    }

    drop_empty_segments(publisher);
    drop_directory(publisher);
    cn_record_set_clear(&publisher->current);

    publisher->current = publisher->next;
    publisher->next = (cn_record_set_t) { 0 };
    publisher->directory = fd;
    publisher->directory_size = size;
    publisher->generation = generation;
    publisher->published = true;
    describe(publisher, size + (segment == NULL ? 0 : segment->size), out);

    return CN_OK;
}


cn_publisher_t *
cn_publisher_create(uint64_t generation)
{
    cn_publisher_t  *publisher = cn_alloc_zero(sizeof(*publisher));

    if (publisher != NULL) {
        publisher->generation = generation;
        publisher->directory = -1;
        cn_list_init(&publisher->segments);
    }

    return publisher;
}


void
cn_publisher_destroy(cn_publisher_t *publisher)
{
    if (publisher == NULL) {
        return;
    }

    CN_LIST_EACH(&publisher->segments, link) {
        segment_destroy(CN_LIST_ITEM(link, segment_t, link));
    }

    drop_directory(publisher);
    cn_record_set_clear(&publisher->current);
    cn_record_set_clear(&publisher->next);
    cn_free(publisher);
}


void
cn_publisher_begin(cn_publisher_t *publisher)
{
    cn_record_set_clear(&publisher->next);
}


/* Whether the published record's bytes are those of block, the header's generation aside. */
static bool
same_bytes(const cn_record_t *record, const cn_block_t *block)
{
    return record->checksum == block->checksum && record->size == block->size
           && memcmp(record_block(record) + 1, block + 1, block->size - sizeof(*block)) == 0;
}


static cn_status_t
stage(cn_record_t *record, const cn_block_t *block)
{
    record->staged = cn_alloc(block->size);

    if (record->staged == NULL) {
        return CN_ERR_MEMORY;
    }

    memcpy(record->staged, block, block->size);

    return CN_OK;
}


static cn_status_t
put_hashed(cn_publisher_t *publisher, const cn_block_t *block, const uint64_t *hashes, size_t count)
{
    cn_block_kind_t  kind = (cn_block_kind_t) block->kind;
    const cn_record_t  *old = cn_record_set_find(&publisher->current, kind, block->id);
    cn_record_t         record = {
        .id = block->id,
        .checksum = block->checksum,
        .size = block->size,
        .kind = block->kind,
    };
    cn_status_t      status = cn_record_set_check(&publisher->next, kind, block->id, hashes, count);

    if (status == CN_OK) {
        status = cn_record_set_reserve(&publisher->next, count);
    }

    if (status != CN_OK) {
        return status;
    }

    if (old != NULL && same_bytes(old, block)) {
        record.segment = old->segment;
        record.offset = old->offset;

    } else {
        status = stage(&record, block);
    }

    if (status == CN_OK) {
        cn_record_set_add(&publisher->next, &record, hashes, count);
    }

    return status;
}


cn_status_t
cn_publisher_put(cn_publisher_t *publisher, const cn_block_t *block, const cn_bytes_t *keys,
    size_t key_count)
{
    uint64_t     few[8];
    uint64_t    *hashes = few;
    cn_status_t  status;

    if (key_count == 0 || key_count > CN_ENTRIES_MAX || block->id > CN_RECORD_ID_MAX) {
        return CN_ERR_RANGE;
    }

    if (key_count > CN_COUNT_OF(few)) {
        hashes = cn_alloc(key_count * sizeof(*hashes));

        if (hashes == NULL) {
            return CN_ERR_MEMORY;
        }
    }

    for (size_t i = 0; i < key_count; i++) {
        hashes[i] = cn_hash(keys[i]);
    }

    status = put_hashed(publisher, block, hashes, key_count);

    if (hashes != few) {
        cn_free(hashes);
    }

    return status;
}


static cn_status_t
keep_record(cn_publisher_t *publisher, const cn_record_t *old)
{
    const uint64_t  *hashes = publisher->current.keys + old->key_at;
    cn_status_t      status = cn_record_set_check(&publisher->next, (cn_block_kind_t) old->kind,
                                                  old->id, hashes, old->key_count);

    if (status == CN_OK) {
        status = cn_record_set_reserve(&publisher->next, old->key_count);
    }

    if (status == CN_OK) {
        cn_record_set_add(&publisher->next, old, hashes, old->key_count);
    }

    return status;
}


cn_status_t
cn_publisher_keep(cn_publisher_t *publisher, cn_block_kind_t kind, uint64_t id)
{
    const cn_record_t  *old = cn_record_set_find(&publisher->current, kind, id);

    return old == NULL ? CN_ERR_NOT_FOUND : keep_record(publisher, old);
}


cn_status_t
cn_publisher_keep_others(cn_publisher_t *publisher)
{
    for (size_t i = 0; i < publisher->current.count; i++) {
        const cn_record_t  *old = &publisher->current.records[i];
        cn_status_t         status;

        if (cn_record_set_find(&publisher->next, (cn_block_kind_t) old->kind, old->id) != NULL) {
            continue;
        }

        status = keep_record(publisher, old);

        if (status != CN_OK) {
            return status;
        }
    }

    return CN_OK;
}
