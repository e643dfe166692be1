/* SPDX-License-Identifier: Apache-2.0 */

/*
 * block - building and checking the unit of shared tables.  A builder is one growing run of bytes;
 * all that it hands out are offsets, because growth moves the run.  Equal strings are found by a
 * small open-addressing table of references, compared by the octets themselves.
 */

#include "table/block.h"

#include "base/hash.h"
#include "base/pool.h"

#define FIRST_CAPACITY  1024u
#define FIRST_STRINGS   32u             /* slots; a power of two */
#define ALIGN_MAX       16u             /* what the heap promises */
#define SIZE_UNIT       8u

struct cn_block_builder_s {
    uint8_t         *bytes;             /* begins with the header */
    size_t           size;              /* used */
    size_t           capacity;
    cn_rel_bytes_t  *strings;           /* open addressing by hash; at 0: free */
    size_t           string_slots;      /* a power of two */
    size_t           string_count;
    size_t           root_size;
    cn_status_t      status;            /* the first failure; what follows it is in vain */
    const void      *owner;
};


void
cn_block_builder_set_owner(cn_block_builder_t *builder, const void *owner)
{
    builder->owner = owner;
}


const void *
cn_block_builder_owner(const cn_block_builder_t *builder)
{
    return builder->owner;
}


/* Where an item of that alignment would start; alignment is a power of two. */
static size_t
aligned(size_t at, size_t align)
{
    return (at + align - 1) & ~(align - 1);
}


static bool
spoil(cn_block_builder_t *builder, cn_status_t status)
{
    if (builder->status == CN_OK) {
        builder->status = status;
    }

    return false;
}


/* Makes the run end at size; new bytes are zero. */
static bool
grow(cn_block_builder_t *builder, size_t size)
{
    size_t    capacity = builder->capacity;
    uint8_t  *bytes;

    if (builder->status != CN_OK || size > CN_BLOCK_MAX) {
        return spoil(builder, CN_ERR_LIMIT);
    }

    while (capacity < size) {
        capacity *= 2;
    }

    if (capacity > builder->capacity) {
        bytes = cn_realloc(builder->bytes, capacity);

        if (bytes == NULL) {
            return spoil(builder, CN_ERR_MEMORY);
        }

        builder->bytes = bytes;
        builder->capacity = capacity;
    }

    memset(builder->bytes + builder->size, 0, size - builder->size);
    builder->size = size;

    return true;
}


/* The slot where the octets stand or would be put. */
static cn_rel_bytes_t *
string_slot(const cn_block_builder_t *builder, cn_rel_bytes_t *strings, size_t slots,
    cn_bytes_t bytes)
{
    size_t  i = (size_t) cn_hash(bytes) & (slots - 1);

    while (strings[i].at != 0
           && !cn_bytes_equal(cn_bytes(builder->bytes + strings[i].at, strings[i].len), bytes))
    {
        i = (i + 1) & (slots - 1);
    }

    return &strings[i];
}


static bool
strings_room(cn_block_builder_t *builder)
{
    size_t           slots = builder->string_slots * 2;
    cn_rel_bytes_t  *strings;

    if (builder->string_count * 2 < builder->string_slots) {
        return true;
    }

    strings = cn_alloc_zero(slots * sizeof(*strings));

    if (strings == NULL) {
        return spoil(builder, CN_ERR_MEMORY);
    }

    for (size_t i = 0; i < builder->string_slots; i++) {
        cn_rel_bytes_t  old = builder->strings[i];

        if (old.at != 0) {
            *string_slot(builder, strings, slots, cn_bytes(builder->bytes + old.at, old.len)) = old;
        }
    }

    cn_free(builder->strings);
    builder->strings = strings;
    builder->string_slots = slots;

    return true;
}


bool
cn_block_range(const cn_block_t *block, cn_rel_array_t ref, size_t size, size_t align)
{
    if (ref.at == 0) {
        return ref.count == 0;
    }

    if (size == 0 || ref.at < sizeof(cn_block_t) || ref.at > block->size || ref.at % align != 0) {
        return false;
    }

    return ref.count <= (block->size - ref.at) / size;
}


bool
cn_block_bytes_ok(const cn_block_t *block, cn_rel_bytes_t ref)
{
    return cn_block_range(block, (cn_rel_array_t) { ref.at, ref.len }, 1, 1);
}


cn_status_t
cn_block_check(const void *at, size_t available)
{
    const cn_block_t  *block = at;

    if ((uintptr_t) at % _Alignof(cn_block_t) != 0 || available < sizeof(cn_block_t)
        || block->magic != CN_BLOCK_MAGIC || block->version != CN_BLOCK_VERSION)
    {
        return CN_ERR_SYNTAX;
    }

    if (block->kind == 0 || block->kind >= CN_BLOCK_KIND_COUNT || block->reserved != 0) {
        return CN_ERR_SYNTAX;
    }

    if (block->size < sizeof(cn_block_t) || block->size > available || block->size > CN_BLOCK_MAX
        || block->size % SIZE_UNIT != 0)
    {
        return CN_ERR_SYNTAX;
    }

    if (cn_hash(cn_bytes(block + 1, block->size - sizeof(cn_block_t))) != block->checksum) {
        return CN_ERR_SYNTAX;
    }

    return CN_OK;
}


cn_block_builder_t *
cn_block_builder_create(cn_block_kind_t kind, uint64_t id, size_t root_size)
{
    cn_block_builder_t  *builder = cn_alloc_zero(sizeof(*builder));
    cn_block_t          *header;

    if (builder == NULL) {
        return NULL;
    }

    builder->bytes = cn_alloc(FIRST_CAPACITY);
    builder->capacity = FIRST_CAPACITY;
    builder->strings = cn_alloc_zero(FIRST_STRINGS * sizeof(*builder->strings));
    builder->string_slots = FIRST_STRINGS;
    builder->root_size = root_size;

    if (builder->bytes == NULL || builder->strings == NULL
        || !grow(builder, sizeof(cn_block_t) + root_size))
    {
        cn_block_builder_destroy(builder);
        return NULL;
    }

    header = (cn_block_t *) (void *) builder->bytes;
    header->magic = CN_BLOCK_MAGIC;
    header->version = CN_BLOCK_VERSION;
    header->kind = (uint16_t) kind;
    header->id = id;

    return builder;
}


void
cn_block_builder_destroy(cn_block_builder_t *builder)
{
    if (builder == NULL) {
        return;
    }

    cn_free(builder->bytes);
    cn_free(builder->strings);
    cn_free(builder);
}


void *
cn_block_builder_root(cn_block_builder_t *builder)
{
    return builder->bytes + sizeof(cn_block_t);
}


uint32_t
cn_block_add(cn_block_builder_t *builder, size_t count, size_t size, size_t align)
{
    size_t  len;
    size_t  at;

    CN_BUG_ON(align == 0 || align > ALIGN_MAX || (align & (align - 1)) != 0);

    if (count == 0 || size == 0) {
        return 0;
    }

    if (cn_size_mul(count, size, &len) != CN_OK || len > CN_BLOCK_MAX) {
        (void) spoil(builder, CN_ERR_LIMIT);
        return 0;
    }

    at = aligned(builder->size, align);

    return grow(builder, at + len) ? (uint32_t) at : 0;
}


cn_rel_array_t
cn_block_add_array(cn_block_builder_t *builder, size_t count, size_t size, size_t align)
{
    uint32_t  at = cn_block_add(builder, count, size, align);

    return (cn_rel_array_t) { at, at == 0 ? 0 : (uint32_t) count };
}


cn_rel_bytes_t
cn_block_add_bytes(cn_block_builder_t *builder, cn_bytes_t bytes)
{
    cn_rel_bytes_t  *slot;
    uint32_t         at;

    if (bytes.len == 0 || !strings_room(builder)) {
        return (cn_rel_bytes_t) { 0, 0 };
    }

    slot = string_slot(builder, builder->strings, builder->string_slots, bytes);

    if (slot->at != 0) {
        return *slot;
    }

    at = cn_block_add(builder, bytes.len, 1, 1);

    if (at == 0) {
        return (cn_rel_bytes_t) { 0, 0 };
    }

    memcpy(builder->bytes + at, bytes.ptr, bytes.len);
    *slot = (cn_rel_bytes_t) { at, (uint32_t) bytes.len };
    builder->string_count++;

    return *slot;
}


void *
cn_block_builder_at(cn_block_builder_t *builder, uint32_t at)
{
    return (at < sizeof(cn_block_t) || at >= builder->size) ? NULL : builder->bytes + at;
}


cn_status_t
cn_block_finish(cn_block_builder_t *builder, const cn_block_t **block)
{
    cn_block_t  *header;

    if (builder->status != CN_OK || !grow(builder, aligned(builder->size, SIZE_UNIT))) {
        return builder->status;
    }

    header = (cn_block_t *) (void *) builder->bytes;
    header->size = (uint32_t) builder->size;
    header->checksum = cn_hash(cn_bytes(header + 1, builder->size - sizeof(*header)));
    *block = header;

    return CN_OK;
}
