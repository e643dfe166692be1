/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pool - memory with one owner.  A pool belongs to a process, a table build, a connection or a
 * request and is freed whole; nothing in it is freed singly.  cn_alloc()/cn_free() are the tree's
 * only way to the C library's heap.  An account sums capacities, so that budgets see what is really
 * held; an account charges its parent too.
 */

#ifndef CN_BASE_POOL_H
#define CN_BASE_POOL_H

#include "base/bytes.h"

typedef struct cn_account_s cn_account_t;

struct cn_account_s {
    cn_account_t  *parent;      /* NULL at the top; outlives this one */
    size_t         used;        /* bytes held now, capacities and not lengths */
    size_t         limit;       /* 0: none */
    size_t         peak;
    bool           over;        /* a charge was refused because of this limit */
};

/*
 * Charges len bytes to account and its parents.  CN_ERR_LIMIT, and nothing is charged, when one of
 * them would pass its limit.  account may be NULL: CN_OK.
 */
cn_status_t cn_account_charge(cn_account_t *account, size_t len) CN_MUST_USE;
void cn_account_release(cn_account_t *account, size_t len);

/* Heap memory; NULL when there is none.  cn_free(NULL) does nothing. */
void *cn_alloc(size_t size) CN_MUST_USE;
void *cn_alloc_zero(size_t size) CN_MUST_USE;
void *cn_realloc(void *ptr, size_t size) CN_MUST_USE;
void cn_free(void *ptr);

#ifdef CN_FAIL_ALLOC
/* Fault injection: the at-th allocation from now on (1 is the next) fails, once.  0: none. */
void cn_alloc_fail_at(size_t at);
#endif

/* a + b and a * b; CN_ERR_RANGE when the sum or product does not fit. */
cn_status_t cn_size_add(size_t a, size_t b, size_t *sum) CN_MUST_USE;
cn_status_t cn_size_mul(size_t a, size_t b, size_t *product) CN_MUST_USE;

typedef struct cn_pool_s cn_pool_t;

/*
 * first_size: bytes of the first chunk, itself included; later chunks double up to 64 KiB.
 * account may be NULL; it outlives the pool.  NULL when memory or the account's budget is spent.
 * Chunks are blocks (base/block.h).
 */
cn_pool_t *cn_pool_create(size_t first_size, cn_account_t *account) CN_MUST_USE;

/* Runs the cleanups, last added first, and frees all.  NULL does nothing. */
void cn_pool_destroy(cn_pool_t *pool);

/* Aligned to 16.  NULL when memory or the budget is spent.  _zero clears. */
void *cn_pool_alloc(cn_pool_t *pool, size_t size) CN_MUST_USE;
void *cn_pool_alloc_zero(cn_pool_t *pool, size_t size) CN_MUST_USE;

/* Unaligned octets, packed.  NULL as above. */
uint8_t *cn_pool_octets(cn_pool_t *pool, size_t len) CN_MUST_USE;

/* A copy in the pool; *copy is none on failure.  CN_ERR_MEMORY. */
cn_status_t cn_pool_copy(cn_pool_t *pool, cn_bytes_t bytes, cn_bytes_t *copy) CN_MUST_USE;

/* A NUL-ended copy or a formatted string; NULL when memory is spent. */
char *cn_pool_str(cn_pool_t *pool, cn_bytes_t bytes) CN_MUST_USE;
char *cn_pool_printf(cn_pool_t *pool, const char *format, ...) CN_MUST_USE CN_PRINTF(2, 3);

/* Calls fn(arg) when the pool is destroyed.  CN_ERR_MEMORY: it will not be called. */
cn_status_t cn_pool_on_destroy(cn_pool_t *pool, void (*fn)(void *arg), void *arg) CN_MUST_USE;

/* Bytes of all chunks. */
size_t cn_pool_size(const cn_pool_t *pool);

#endif
