/* SPDX-License-Identifier: Apache-2.0 */

/*
 * block - memory for what comes and goes with every request: chunks of pools, buffers, rings.
 */

#ifndef CN_BASE_BLOCK_H
#define CN_BASE_BLOCK_H

#include "base/bytes.h"

/*
 * Blocks up to 64 KiB come from lists of the process and cost no call of the heap.  *size: in,
 * what is needed; out, what the block holds (at least that; under AddressSanitizer exactly that).
 * NULL when memory is spent.  cn_block_put() wants either size back; a block of NULL does nothing.
 */
void *cn_block_get(size_t *size) CN_MUST_USE;
void cn_block_put(void *block, size_t size);

/* Gives the system back what no block needed since the last call; once or twice a second. */
void cn_block_trim(void);

/* Gives the system back all that no block needs now, as after a burst that will not come again. */
void cn_block_trim_all(void);

#endif
