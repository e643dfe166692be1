/* SPDX-License-Identifier: Apache-2.0 */

/*
 * tables - the worker's side of snapshots.
 *
 *   offered --adopt: segments not yet verified, then the directory, in slices--> adopted
 *           --a newer offer--> replaced    --something is wrong--> dropped, the adopted stays
 *
 * A segment is mapped once and verified once, whatever number of snapshots refer to it: what was
 * verified of one whose offer was replaced is not done again.  It is unmapped when no snapshot
 * refers to it and nobody pins it.  Nothing but what verification has seen is ever read: an entry
 * must name the start of a block that passed.
 */

#include "table/snapshot.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/pool.h"
#include "table/format.h"

#include <unistd.h>

#define ENTRIES_A_CHECK  512u           /* directory entries between two looks at the clock */
#define GUESSES_MAX      8u             /* of the search, before it halves */

struct cn_segment_s {
    cn_list_t       link;
    uint64_t        id;
    const uint8_t  *base;
    size_t          size;
    size_t          verified;           /* bytes, from the start; size: all */
    uint32_t        block_count;        /* verified */
    uint64_t       *starts;             /* bit i: a verified block starts at i * CN_BLOCK_ALIGN */
    size_t          pins;
    bool            adopted;            /* the adopted snapshot refers to it */
    bool            offered;            /* the offered one does */
};

typedef struct {
    const cn_directory_header_t  *header;       /* NULL: no snapshot */
    const cn_directory_entry_t   *entries;
    uint32_t                      entry_count;
    uint32_t                      segment_count;
    cn_segment_t                 *segments[CN_SEGMENTS_MAX];
} snapshot_t;

struct cn_tables_s {
    cn_block_verify_t  verify;
    cn_list_t          segments;        /* cn_segment_t */
    snapshot_t         adopted;
    snapshot_t         offered;
    bool               sum_checked;     /* of the offered directory */
    uint32_t           entries_checked;
};


/* ---- segments ---- */

static void
segment_destroy(cn_segment_t *segment)
{
    cn_list_remove(&segment->link);
    cn_memfd_unmap(segment->base, segment->size);
    cn_free(segment->starts);
    cn_free(segment);
}


static bool
is_referred(const cn_segment_t *segment)
{
    return segment->adopted || segment->offered;
}


/* Unmaps what nothing refers to and nobody pins. */
static void
sweep(cn_tables_t *tables)
{
    CN_LIST_EACH(&tables->segments, link) {
        cn_segment_t  *segment = CN_LIST_ITEM(link, cn_segment_t, link);

        if (!is_referred(segment) && segment->pins == 0) {
            segment_destroy(segment);
        }
    }
}


static cn_segment_t *
segment_find(const cn_tables_t *tables, uint64_t id)
{
    CN_LIST_EACH(&tables->segments, link) {
        cn_segment_t  *segment = CN_LIST_ITEM(link, cn_segment_t, link);

        if (segment->id == id) {
            return segment;
        }
    }

    return NULL;
}


static bool
segment_header_ok(const cn_segment_t *segment)
{
    const cn_segment_header_t  *header = (const void *) segment->base;

    return header->magic == CN_SEGMENT_MAGIC && header->version == CN_FORMAT_VERSION
           && header->id == segment->id && header->size == segment->size;
}


/* Maps a new segment into the list; the caller decides whether it stays. */
static cn_status_t
segment_open(cn_tables_t *tables, uint64_t id, int fd, size_t size, cn_segment_t **out)
{
    cn_segment_t  *segment;
    const void    *base;
    cn_status_t    status;

    if (fd < 0 || size < sizeof(cn_segment_header_t) || size > CN_SEGMENT_MAX
        || size % CN_BLOCK_ALIGN != 0)
    {
        return CN_ERR_SYNTAX;
    }

    segment = cn_alloc_zero(sizeof(*segment));

    if (segment == NULL) {
        return CN_ERR_MEMORY;
    }

    cn_list_init(&segment->link);
    segment->id = id;
    segment->size = size;
    segment->verified = sizeof(cn_segment_header_t);
    segment->starts = cn_alloc_zero((size / CN_BLOCK_ALIGN / 64 + 1) * sizeof(uint64_t));
    status = segment->starts == NULL ? CN_ERR_MEMORY : cn_memfd_open(fd, size, &base);

    if (status == CN_OK) {
        segment->base = base;
        status = segment_header_ok(segment) ? CN_OK : CN_ERR_SYNTAX;
    }

    if (status != CN_OK) {
        segment_destroy(segment);
        return status;
    }

    cn_list_append(&tables->segments, &segment->link);
    *out = segment;

    return CN_OK;
}


static bool
is_start(const cn_segment_t *segment, uint32_t offset)
{
    size_t  i = offset / CN_BLOCK_ALIGN;

    return offset < segment->size && offset % CN_BLOCK_ALIGN == 0
           && (segment->starts[i / 64] >> (i % 64) & 1) != 0;
}


static cn_status_t
verify_block(const cn_tables_t *tables, cn_segment_t *segment, const char **what)
{
    size_t             at = segment->verified;
    const cn_block_t  *block = (const void *) (segment->base + at);
    size_t             i = at / CN_BLOCK_ALIGN;
    cn_status_t        status;

    if (cn_block_check(block, segment->size - at) != CN_OK
        || cn_block_room(block->size) > segment->size - at)
    {
        *what = "a block's header or checksum is wrong";
        return CN_ERR_SYNTAX;
    }

    status = tables->verify(block, what);

    if (status != CN_OK) {
        return CN_ERR_SYNTAX;
    }

    segment->starts[i / 64] |= (uint64_t) 1 << (i % 64);
    segment->verified = at + cn_block_room(block->size);
    segment->block_count++;

    return CN_OK;
}


/* At least one block a call, so that there is progress whatever the budget. */
static cn_status_t
verify_segment(const cn_tables_t *tables, cn_segment_t *segment, uint64_t deadline_us,
    const char **what)
{
    const cn_segment_header_t  *header = (const void *) segment->base;
    cn_status_t                 status;

    while (segment->verified < segment->size) {
        status = verify_block(tables, segment, what);

        if (status != CN_OK) {
            return status;
        }

        if (cn_clock_us_now() >= deadline_us) {
            return CN_AGAIN;
        }
    }

    if (segment->block_count != header->block_count) {
        *what = "a segment has another number of blocks than it says";
        return CN_ERR_SYNTAX;
    }

    return CN_OK;
}


/* ---- the directory ---- */

static void
snapshot_close(snapshot_t *snapshot)
{
    if (snapshot->header != NULL) {
        cn_memfd_unmap(snapshot->header, snapshot->header->size);
    }

    *snapshot = (snapshot_t) { 0 };
}


/* Maps the directory; its entries are looked at when it is adopted. */
static cn_status_t
directory_open(const cn_publication_t *publication, snapshot_t *snapshot)
{
    const cn_directory_header_t  *header;
    const uint64_t               *ids;
    const void                   *map;
    size_t                        size = publication->directory_size;
    cn_status_t                   status;

    if (publication->directory < 0 || publication->segment_count > CN_SEGMENTS_MAX
        || size < sizeof(*header) || size > cn_directory_size(CN_SEGMENTS_MAX, CN_ENTRIES_MAX))
    {
        return CN_ERR_SYNTAX;
    }

    status = cn_memfd_open(publication->directory, size, &map);

    if (status != CN_OK) {
        return status;
    }

    header = map;

    if (header->magic != CN_DIRECTORY_MAGIC || header->version != CN_FORMAT_VERSION
        || header->size != size || header->generation != publication->generation
        || header->segment_count != publication->segment_count
        || header->entry_count > CN_ENTRIES_MAX
        || size != cn_directory_size(header->segment_count, header->entry_count))
    {
        cn_memfd_unmap(map, size);
        return CN_ERR_SYNTAX;
    }

    ids = (const void *) (header + 1);
    snapshot->header = header;
    snapshot->entries = (const void *) (ids + header->segment_count);
    snapshot->entry_count = header->entry_count;
    snapshot->segment_count = header->segment_count;

    return CN_OK;
}


/* Finds or maps each segment that the directory names. */
static cn_status_t
segments_open(cn_tables_t *tables, const cn_publication_t *publication, snapshot_t *snapshot)
{
    const uint64_t  *ids = (const void *) (snapshot->header + 1);
    cn_status_t      status;

    for (uint32_t i = 0; i < snapshot->segment_count; i++) {
        if (ids[i] != publication->segment_ids[i]) {
            return CN_ERR_SYNTAX;
        }

        snapshot->segments[i] = segment_find(tables, ids[i]);

        if (snapshot->segments[i] != NULL) {
            continue;
        }

        status = segment_open(tables, ids[i], publication->segments[i],
                              publication->segment_sizes[i], &snapshot->segments[i]);

        if (status != CN_OK) {
            return status;
        }
    }

    return CN_OK;
}


static void
close_descriptors(const cn_publication_t *publication)
{
    if (publication->directory >= 0) {
        (void) close(publication->directory);
    }

    for (size_t i = 0; i < publication->segment_count && i < CN_SEGMENTS_MAX; i++) {
        if (publication->segments[i] >= 0) {
            (void) close(publication->segments[i]);
        }
    }
}


/* Forgets the offer, and with it the segments that only it refers to. */
static void
drop_offer(cn_tables_t *tables)
{
    for (uint32_t i = 0; i < tables->offered.segment_count; i++) {
        tables->offered.segments[i]->offered = false;
    }

    snapshot_close(&tables->offered);
    tables->sum_checked = false;
    tables->entries_checked = 0;
}


static uint64_t
generation_of(const snapshot_t *snapshot)
{
    return snapshot->header == NULL ? 0 : snapshot->header->generation;
}


cn_status_t
cn_tables_offer(cn_tables_t *tables, const cn_publication_t *publication)
{
    snapshot_t   snapshot = { 0 };
    cn_status_t  status = CN_ERR_SYNTAX;

    /* an old snapshot that comes late must not undo a newer policy */
    if (publication->generation > generation_of(&tables->adopted)
        && publication->generation > generation_of(&tables->offered))
    {
        status = directory_open(publication, &snapshot);
    }

    if (status == CN_OK) {
        status = segments_open(tables, publication, &snapshot);
    }

    close_descriptors(publication);

    if (status != CN_OK) {
        snapshot_close(&snapshot);
        sweep(tables);
        return status;
    }

    drop_offer(tables);
    tables->offered = snapshot;

    for (uint32_t i = 0; i < snapshot.segment_count; i++) {
        snapshot.segments[i]->offered = true;
    }

    sweep(tables);

    return CN_OK;
}


/* ---- adoption ---- */

static cn_status_t
verify_entries(cn_tables_t *tables, uint32_t count, const char **what)
{
    const snapshot_t  *snapshot = &tables->offered;

    for (uint32_t i = tables->entries_checked; i < count; i++) {
        const cn_directory_entry_t  *entry = &snapshot->entries[i];

        if (i > 0 && entry->hash <= entry[-1].hash) {
            *what = "the directory is not sorted";
            return CN_ERR_SYNTAX;
        }

        if (entry->segment >= snapshot->segment_count
            || !is_start(snapshot->segments[entry->segment], entry->offset))
        {
            *what = "the directory names a place where no block starts";
            return CN_ERR_SYNTAX;
        }
    }

    tables->entries_checked = count;

    return CN_OK;
}


static cn_status_t
verify_directory(cn_tables_t *tables, uint64_t deadline_us, const char **what)
{
    const cn_directory_header_t  *header = tables->offered.header;
    uint32_t                      count = tables->offered.entry_count;

    if (!tables->sum_checked) {
        if (cn_hash(cn_bytes(header + 1, header->size - sizeof(*header))) != header->checksum) {
            *what = "the directory's checksum is wrong";
            return CN_ERR_SYNTAX;
        }

        tables->sum_checked = true;
    }

    while (tables->entries_checked < count) {
        uint32_t     left = count - tables->entries_checked;
        uint32_t     some = left < ENTRIES_A_CHECK ? left : ENTRIES_A_CHECK;
        cn_status_t  status = verify_entries(tables, tables->entries_checked + some, what);

        if (status != CN_OK) {
            return status;
        }

        if (cn_clock_us_now() >= deadline_us) {
            return CN_AGAIN;
        }
    }

    return CN_OK;
}


static cn_status_t
verify_offer(cn_tables_t *tables, uint64_t deadline_us, const char **what)
{
    cn_status_t  status = CN_OK;

    for (uint32_t i = 0; i < tables->offered.segment_count && status == CN_OK; i++) {
        status = verify_segment(tables, tables->offered.segments[i], deadline_us, what);
    }

    return status == CN_OK ? verify_directory(tables, deadline_us, what) : status;
}


/* Look-ups see the offered snapshot from here on. */
static void
swap(cn_tables_t *tables)
{
    snapshot_t  old = tables->adopted;

    tables->adopted = tables->offered;
    tables->offered = (snapshot_t) { 0 };
    tables->sum_checked = false;
    tables->entries_checked = 0;

    for (uint32_t i = 0; i < old.segment_count; i++) {
        old.segments[i]->adopted = false;
    }

    for (uint32_t i = 0; i < tables->adopted.segment_count; i++) {
        tables->adopted.segments[i]->adopted = true;
        tables->adopted.segments[i]->offered = false;
    }

    snapshot_close(&old);
    sweep(tables);
}


cn_status_t
cn_tables_adopt(cn_tables_t *tables, uint64_t budget_us, const char **what)
{
    cn_status_t  status;

    if (tables->offered.header == NULL) {
        return CN_ERR_NOT_FOUND;
    }

    status = verify_offer(tables, cn_clock_us_now() + budget_us, what);

    if (status == CN_OK) {
        swap(tables);

    } else if (status != CN_AGAIN) {
        drop_offer(tables);
        sweep(tables);
    }

    return status;
}


cn_tables_t *
cn_tables_create(cn_block_verify_t verify)
{
    cn_tables_t  *tables = cn_alloc_zero(sizeof(*tables));

    if (tables != NULL) {
        tables->verify = verify;
        cn_list_init(&tables->segments);
    }

    return tables;
}


void
cn_tables_destroy(cn_tables_t *tables)
{
    if (tables == NULL) {
        return;
    }

    drop_offer(tables);
    snapshot_close(&tables->adopted);

    CN_LIST_EACH(&tables->segments, link) {
        cn_segment_t  *segment = CN_LIST_ITEM(link, cn_segment_t, link);

        segment->adopted = false;

        if (segment->pins == 0) {
            segment_destroy(segment);

        } else {
            cn_list_remove(&segment->link);     /* goes with its last pin */
        }
    }

    cn_free(tables);
}


uint64_t
cn_tables_generation(const cn_tables_t *tables)
{
    return generation_of(&tables->adopted);
}


/* ---- look-ups ---- */

/*
 * Where in [low, high) the hash would stand if the hashes there are spread evenly, which those of a
 * good hash are: that takes a few steps where halving takes sixteen.
 */
static uint32_t
guess(const cn_directory_entry_t *entries, uint32_t low, uint32_t high, uint64_t hash)
{
    uint64_t  first = entries[low].hash;
    uint64_t  last = entries[high - 1].hash;
    double    part;

    if (hash <= first) {
        return low;
    }

    if (hash >= last) {
        return high - 1;
    }

    part = (double) (hash - first) / (double) (last - first);

    /* rounding may reach 1, never more */
    return low + (uint32_t) (part * (double) (high - 1 - low));
}


static const cn_directory_entry_t *
search(const snapshot_t *snapshot, uint64_t hash)
{
    const cn_directory_entry_t  *entries = snapshot->entries;
    uint32_t                     low = 0;
    uint32_t                     high = snapshot->entry_count;

    for (uint32_t i = 0; low < high; i++) {
        uint32_t  at = i < GUESSES_MAX ? guess(entries, low, high, hash) : low + (high - low) / 2;

        if (entries[at].hash == hash) {
            return &entries[at];
        }

        if (entries[at].hash < hash) {
            low = at + 1;

        } else {
            high = at;
        }
    }

    return NULL;
}


static const cn_block_t *
entry_block(const snapshot_t *snapshot, const cn_directory_entry_t *entry)
{
    return (const void *) (snapshot->segments[entry->segment]->base + entry->offset);
}


const cn_block_t *
cn_tables_find(const cn_tables_t *tables, cn_bytes_t key, cn_segment_t **segment)
{
    const cn_directory_entry_t  *entry = search(&tables->adopted, cn_hash(key));

    if (entry == NULL) {
        return NULL;
    }

    if (segment != NULL) {
        *segment = tables->adopted.segments[entry->segment];
    }

    return entry_block(&tables->adopted, entry);
}


const cn_block_t *
cn_tables_next(const cn_tables_t *tables, size_t *at)
{
    if (*at >= tables->adopted.entry_count) {
        return NULL;
    }

    return entry_block(&tables->adopted, &tables->adopted.entries[(*at)++]);
}


/* ---- pins ---- */

void
cn_segment_pin(cn_segment_t *segment)
{
    segment->pins++;
}


void
cn_segment_unpin(cn_segment_t *segment)
{
    CN_BUG_ON(segment->pins == 0);

    segment->pins--;

    if (segment->pins == 0 && !is_referred(segment)) {
        segment_destroy(segment);
    }
}


void
cn_tables_memory(const cn_tables_t *tables, size_t *mapped, size_t *pinned_only)
{
    *mapped = 0;
    *pinned_only = 0;

    if (tables->adopted.header != NULL) {
        *mapped += tables->adopted.header->size;
    }

    if (tables->offered.header != NULL) {
        *mapped += tables->offered.header->size;
    }

    CN_LIST_EACH(&tables->segments, link) {
        cn_segment_t  *segment = CN_LIST_ITEM(link, cn_segment_t, link);

        *mapped += segment->size;
        *pinned_only += is_referred(segment) ? 0 : segment->size;
    }
}
