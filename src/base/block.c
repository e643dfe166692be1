/* SPDX-License-Identifier: Apache-2.0 */

/*
 * block - memory that comes and goes with requests, in classes of 256 << i octets.
 *
 *   small (up to 2 KiB): free lists over the heap
 *   large (4 to 64 KiB): spans, mapped at multiples of their own size
 *
 *     span --> span --> ...          of one class, those with room
 *     [head | block | block | ...]   a span whose blocks are all free goes back to the system
 *
 * Large blocks keep out of the heap because they live for a request, while what lies beside them
 * there lives as long as a connection: after a burst every hole between two idle tunnels would
 * stay resident.  Under AddressSanitizer, and for fault injection, every block is the heap's.
 */

#include "base/block.h"
#include "base/pool.h"

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__) || defined(CN_FAIL_ALLOC)
#define CN_BLOCK_HEAP  1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CN_BLOCK_HEAP  1
#endif
#endif

#ifdef CN_BLOCK_HEAP

void *
cn_block_get(size_t *size)
{
    return cn_alloc(*size);
}


void
cn_block_put(void *block, size_t size)
{
    (void) size;
    cn_free(block);
}


void
cn_block_trim(void)
{
}


void
cn_block_trim_all(void)
{
}

#else

#define CLASS_MIN_SHIFT  8                      /* classes: 256 << i, and the slack */
#define CLASSES          9                      /* up to 64 KiB */
#define CLASS_LARGE      4                      /* the first that lies in spans: 4 KiB */
#define SLACK            32                     /* so that 2^n bytes and a head fit one class */
#define LARGEST          65536

#define SPAN_SIZE        (256u * 1024)
#define SPAN_HEAD        64

#define IDLE_SMALL_MAX   (1024u * 1024)         /* what the free lists of a process may hold */
#define IDLE_SPANS_MAX   64                     /* spans with no block in use that are kept */

typedef struct free_block_s free_block_t;
typedef struct span_s span_t;

struct free_block_s {
    free_block_t  *next;
};

struct span_s {
    span_t        *next;                        /* in the class's list while it has room */
    span_t       **link;                        /* what points at this one; NULL: not in the list */
    free_block_t  *free;
    uint32_t       used;                        /* blocks handed out */
    uint32_t       fresh;                       /* blocks that were never handed out are behind */
    uint32_t       count;
    uint32_t       class;
};

_Static_assert(sizeof(span_t) <= SPAN_HEAD, "blocks begin behind the head");
_Static_assert((SPAN_SIZE & (SPAN_SIZE - 1)) == 0, "a block's span is found by its address");

static free_block_t  *small_blocks[CLASS_LARGE];
static size_t         small_bytes;
static span_t        *spans[CLASSES];
static unsigned       idle_spans;
static unsigned       idle_least;               /* of idle_spans, since the last trim */


/* The smallest class that holds size; CLASSES when none does. */
static unsigned
class_of(size_t size)
{
    if (size <= ((size_t) 1 << CLASS_MIN_SHIFT) + SLACK) {
        return 0;
    }

    if (size > LARGEST + SLACK) {
        return CLASSES;
    }

    return 64u - (unsigned) __builtin_clzll(size - SLACK - 1) - CLASS_MIN_SHIFT;
}


static size_t
class_size(unsigned class)
{
    return ((size_t) 1 << (CLASS_MIN_SHIFT + class)) + SLACK;
}


/* --- spans --- */

static void
span_link(span_t *span)
{
    span_t  **head = &spans[span->class];

    span->next = *head;
    span->link = head;

    if (span->next != NULL) {
        span->next->link = &span->next;
    }

    *head = span;
}


static void
span_unlink(span_t *span)
{
    *span->link = span->next;

    if (span->next != NULL) {
        span->next->link = span->link;
    }

    span->link = NULL;
}


/* SPAN_SIZE octets at a multiple of it; NULL when memory is spent. */
static void *
span_map(void)
{
    uint8_t    *map = mmap(NULL, 2 * SPAN_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t      before, after;

    if (map == MAP_FAILED) {
        return NULL;
    }

    before = -(uintptr_t) map & (SPAN_SIZE - 1);
    after = SPAN_SIZE - before;

    if (before > 0) {
        (void) munmap(map, before);
    }

    (void) munmap(map + before + SPAN_SIZE, after);

    return map + before;
}


/* A span with room, in its class's list; NULL when memory is spent. */
static span_t *
span_create(unsigned class)
{
    span_t  *span = span_map();

    if (span == NULL) {
        return NULL;
    }

    *span = (span_t) {
        .class = class,
        .count = (uint32_t) ((SPAN_SIZE - SPAN_HEAD) / class_size(class)),
    };

    idle_spans++;
    span_link(span);

    return span;
}


/* Nothing in it is in use. */
static void
span_destroy(span_t *span)
{
    span_unlink(span);
    idle_spans--;
    (void) munmap(span, SPAN_SIZE);
}


static void *
span_take(unsigned class)
{
    span_t        *span = spans[class] != NULL ? spans[class] : span_create(class);
    free_block_t  *block;

    if (span == NULL) {
        return NULL;
    }

    if (span->free != NULL) {
        block = span->free;
        span->free = block->next;

    } else {
        uint8_t  *at = (uint8_t *) span + SPAN_HEAD + span->fresh++ * class_size(class);

        block = (free_block_t *) (void *) at;
    }

    if (span->used++ == 0) {
        idle_spans--;
        idle_least = idle_spans < idle_least ? idle_spans : idle_least;
    }

    if (span->used == span->count) {
        span_unlink(span);
    }

    return block;
}


static void
span_give(void *ptr)
{
    span_t        *span = (span_t *) ((uintptr_t) ptr & ~(uintptr_t) (SPAN_SIZE - 1));
    free_block_t  *block = ptr;

    block->next = span->free;
    span->free = block;

    if (span->used-- == span->count) {
        span_link(span);
    }

    if (span->used > 0) {
        return;
    }

    idle_spans++;

    if (idle_spans > IDLE_SPANS_MAX) {
        span_destroy(span);
    }
}


void
cn_block_trim(void)
{
    for (unsigned i = CLASS_LARGE; i < CLASSES; i++) {
        for (span_t *next, *span = spans[i]; span != NULL && idle_least > 0; span = next) {
            next = span->next;

            if (span->used == 0) {
                span_destroy(span);
                idle_least--;
            }
        }
    }

    idle_least = idle_spans;
}


void
cn_block_trim_all(void)
{
    idle_least = idle_spans;
    cn_block_trim();
}


/* --- any block --- */

void *
cn_block_get(size_t *size)
{
    unsigned       class = class_of(*size);
    free_block_t  *block;

    if (class == CLASSES) {
        return cn_alloc(*size);
    }

    *size = class_size(class);

    if (class >= CLASS_LARGE) {
        return span_take(class);
    }

    block = small_blocks[class];
    if (block == NULL) {
        return cn_alloc(*size);
    }

    small_blocks[class] = block->next;
    small_bytes -= *size;

    return block;
}


void
cn_block_put(void *ptr, size_t size)
{
    unsigned       class = class_of(size);
    free_block_t  *block = ptr;

    if (block == NULL) {
        return;
    }

    if (class >= CLASS_LARGE && class < CLASSES) {
        span_give(block);
        return;
    }

    if (class == CLASSES || small_bytes + class_size(class) > IDLE_SMALL_MAX) {
        cn_free(block);
        return;
    }

    block->next = small_blocks[class];
    small_blocks[class] = block;
    small_bytes += class_size(class);
}

#endif
