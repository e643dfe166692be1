/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pool - the heap, accounts, pools.
 *
 *   pool --> chunk (current) --> chunk --> ... --> first chunk, which holds the pool itself
 *            [next|size| used ... pos      end]
 *
 * A chunk is a block.  What does not fit the next chunk gets one of its own, linked behind the
 * current one, so that the current one's room stays in use.  Under AddressSanitizer the unused part
 * of a chunk and a gap after each item are poisoned, so that it sees an overrun inside a pool as it
 * does on the heap.
 */

#include "base/pool.h"

#include "base/fiber.h"
#include "base/block.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define CN_POOL_ASAN  1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CN_POOL_ASAN  1
#endif
#endif

#ifdef CN_POOL_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(ptr, len)    __asan_poison_memory_region((ptr), (len))
#define UNPOISON(ptr, len)  __asan_unpoison_memory_region((ptr), (len))
#define ITEM_GAP            16
#define CUT(gap, room)      ((room) < (gap) ? (room) : (gap))
#else
#define POISON(ptr, len)    ((void) (ptr), (void) (len))
#define UNPOISON(ptr, len)  ((void) (ptr), (void) (len))
#define ITEM_GAP            0
#define CUT(gap, room)      (gap)
#endif

#define CHUNK_MAX         65536
#define ALIGNMENT         16

typedef struct chunk_s chunk_t;
typedef struct cleanup_s cleanup_t;

struct chunk_s {
    chunk_t  *next;
    size_t    size;             /* as the block was got, itself included */
};

struct cleanup_s {
    cleanup_t  *next;
    void      (*fn)(void *arg);
    void       *arg;
};

struct cn_pool_s {
    uint8_t       *pos;         /* free room of the current chunk */
    uint8_t       *end;
    chunk_t       *chunks;      /* the current one first */
    size_t         next_size;   /* of the next chunk */
    size_t         size;        /* of all chunks: what the account was charged */
    cn_account_t  *account;
    cleanup_t     *cleanups;    /* last added first */
};

_Static_assert(sizeof(chunk_t) % ALIGNMENT == 0, "items after a chunk's head are aligned");

#ifdef CN_FAIL_ALLOC

static size_t  fail_at;

void
cn_alloc_fail_at(size_t at)
{
    fail_at = at;
}


static bool
fail_now(void)
{
    return fail_at != 0 && --fail_at == 0;
}

#else

static inline bool
fail_now(void)
{
    return false;
}

#endif


cn_status_t
cn_size_add(size_t a, size_t b, size_t *sum)
{
    return __builtin_add_overflow(a, b, sum) ? CN_ERR_RANGE : CN_OK;
}


cn_status_t
cn_size_mul(size_t a, size_t b, size_t *product)
{
    return __builtin_mul_overflow(a, b, product) ? CN_ERR_RANGE : CN_OK;
}


void *
cn_alloc(size_t size)
{
    return fail_now() ? NULL : malloc(size == 0 ? 1 : size);
}


void *
cn_alloc_zero(size_t size)
{
    return fail_now() ? NULL : calloc(1, size == 0 ? 1 : size);
}


void *
cn_realloc(void *ptr, size_t size)
{
    return fail_now() ? NULL : realloc(ptr, size == 0 ? 1 : size);
}


void
cn_free(void *ptr)
{
    free(ptr);
}


cn_status_t
cn_account_charge(cn_account_t *account, size_t len)
{
    for (cn_account_t *at = account; at != NULL; at = at->parent) {
        if (len > SIZE_MAX - at->used || (at->limit != 0 && at->used + len > at->limit)) {
            at->over = true;
            return CN_ERR_LIMIT;
        }
    }

    for (cn_account_t *at = account; at != NULL; at = at->parent) {
        at->used += len;

        if (at->used > at->peak) {
            at->peak = at->used;
        }
    }

    return CN_OK;
}


void
cn_account_release(cn_account_t *account, size_t len)
{
    for (cn_account_t *at = account; at != NULL; at = at->parent) {
        CN_BUG_ON(len > at->used);
        at->used -= len;
    }
}


/* A charged chunk whose room is poisoned; NULL when memory or the budget is spent. */
static chunk_t *
chunk_create(size_t size, cn_account_t *account)
{
    chunk_t  *chunk = cn_block_get(&size);

    if (chunk == NULL) {
        return NULL;
    }

    if (cn_account_charge(account, size) != CN_OK) {
        cn_block_put(chunk, size);
        return NULL;
    }

    chunk->next = NULL;
    chunk->size = size;
    POISON(chunk + 1, size - sizeof(chunk_t));

    return chunk;
}


static void
chunk_free(chunk_t *chunk)
{
    UNPOISON(chunk + 1, chunk->size - sizeof(chunk_t));
    cn_block_put(chunk, chunk->size);
}


cn_pool_t *
cn_pool_create(size_t first_size, cn_account_t *account)
{
    size_t      least = sizeof(chunk_t) + sizeof(cn_pool_t) + ITEM_GAP;
    chunk_t    *chunk;
    cn_pool_t  *pool;

    chunk = chunk_create(first_size < least ? least : first_size, account);
    if (chunk == NULL) {
        return NULL;
    }

    pool = (cn_pool_t *) (void *) (chunk + 1);
    UNPOISON(pool, sizeof(*pool));

    *pool = (cn_pool_t) {
        .pos = (uint8_t *) (pool + 1),
        .end = (uint8_t *) chunk + chunk->size,
        .chunks = chunk,
        .next_size = chunk->size >= CHUNK_MAX / 2 ? CHUNK_MAX : chunk->size * 2,
        .size = chunk->size,
        .account = account,
    };

    return pool;
}


void
cn_pool_destroy(cn_pool_t *pool)
{
    cn_account_t  *account;
    chunk_t       *chunk;
    size_t         size;

    if (pool == NULL) {
        return;
    }

    while (pool->cleanups != NULL) {
        cleanup_t  *cleanup = pool->cleanups;

        /* unlinked before it runs: it may add another one */
        pool->cleanups = cleanup->next;
        cleanup->fn(cleanup->arg);
    }

    /* the pool lies in its first chunk, which is the last of the list */
    account = pool->account;
    size = pool->size;
    chunk = pool->chunks;

    while (chunk != NULL) {
        chunk_t  *next = chunk->next;

        cn_fiber_rest();                /* a model has thousands of them */
        chunk_free(chunk);
        chunk = next;
    }

    cn_account_release(account, size);
}


/* Room for len octets aligned to 16 in a new chunk. */
static uint8_t *
pool_grow(cn_pool_t *pool, size_t len)
{
    size_t    size, need = sizeof(chunk_t) + ITEM_GAP;
    chunk_t  *chunk;
    uint8_t  *item;

    if (cn_size_add(need, len, &need) != CN_OK) {
        return NULL;
    }

    size = need > pool->next_size ? need : pool->next_size;
    chunk = chunk_create(size, pool->account);
    if (chunk == NULL) {
        return NULL;
    }

    pool->size += chunk->size;
    item = (uint8_t *) (chunk + 1);
    UNPOISON(item, len);

    if (need > pool->next_size) {
        chunk->next = pool->chunks->next;
        pool->chunks->next = chunk;
        return item;
    }

    chunk->next = pool->chunks;
    pool->chunks = chunk;
    pool->pos = item + len + ITEM_GAP;
    pool->end = (uint8_t *) chunk + chunk->size;
    pool->next_size = pool->next_size * 2 > CHUNK_MAX ? CHUNK_MAX : pool->next_size * 2;

    return item;
}


static uint8_t *
pool_take(cn_pool_t *pool, size_t len, size_t alignment)
{
    size_t    pad = -(uintptr_t) pool->pos & (alignment - 1);
    size_t    room = (size_t) (pool->end - pool->pos);
    uint8_t  *item;

    /* a gap may lie beyond the end: there pos is kept at it */
    if (room < pad || room - pad < len) {
        return pool_grow(pool, len);
    }

    item = pool->pos + pad;
    room -= pad + len;
    pool->pos = item + len + CUT(ITEM_GAP, room);
    UNPOISON(item, len);

    return item;
}


void *
cn_pool_alloc(cn_pool_t *pool, size_t size)
{
    return pool_take(pool, size, ALIGNMENT);
}


void *
cn_pool_alloc_zero(cn_pool_t *pool, size_t size)
{
    void  *item = pool_take(pool, size, ALIGNMENT);

    return item == NULL ? NULL : memset(item, 0, size);
}


uint8_t *
cn_pool_octets(cn_pool_t *pool, size_t len)
{
    /* the sanitizer's shadow has one octet for eight */
    return pool_take(pool, len, ITEM_GAP ? 8 : 1);
}


cn_status_t
cn_pool_copy(cn_pool_t *pool, cn_bytes_t bytes, cn_bytes_t *copy)
{
    uint8_t  *octets;

    *copy = CN_BYTES_NONE;

    if (bytes.len == 0) {
        return CN_OK;
    }

    octets = cn_pool_octets(pool, bytes.len);
    if (octets == NULL) {
        return CN_ERR_MEMORY;
    }

    memcpy(octets, bytes.ptr, bytes.len);
    *copy = cn_bytes(octets, bytes.len);

    return CN_OK;
}


char *
cn_pool_str(cn_pool_t *pool, cn_bytes_t bytes)
{
    size_t  size;
    char   *str;

    if (cn_size_add(bytes.len, 1, &size) != CN_OK) {
        return NULL;
    }

    str = (char *) cn_pool_octets(pool, size);
    if (str == NULL) {
        return NULL;
    }

    if (bytes.len > 0) {
        memcpy(str, bytes.ptr, bytes.len);
    }

    str[bytes.len] = '\0';

    return str;
}


char *
cn_pool_printf(cn_pool_t *pool, const char *format, ...)
{
    va_list   args, again;
    char     *str = NULL;
    int       len;

    va_start(args, format);
    va_copy(again, args);

    len = vsnprintf(NULL, 0, format, args);
    if (len >= 0) {
        str = (char *) cn_pool_octets(pool, (size_t) len + 1);
    }

    if (str != NULL) {
        (void) vsnprintf(str, (size_t) len + 1, format, again);
    }

    va_end(again);
    va_end(args);

    return str;
}


cn_status_t
cn_pool_on_destroy(cn_pool_t *pool, void (*fn)(void *arg), void *arg)
{
    cleanup_t  *cleanup = cn_pool_alloc(pool, sizeof(*cleanup));

    if (cleanup == NULL) {
        return CN_ERR_MEMORY;
    }

    *cleanup = (cleanup_t) { .next = pool->cleanups, .fn = fn, .arg = arg };
    pool->cleanups = cleanup;

    return CN_OK;
}


size_t
cn_pool_size(const cn_pool_t *pool)
{
    return pool->size;
}
