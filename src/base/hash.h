/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hash - XXH3.  cn_hash() is the same on every machine (tables, checksums); peers' keys go through
 * map.h.
 */

#ifndef CN_BASE_HASH_H
#define CN_BASE_HASH_H

#include "base/bytes.h"

/* XXH3 of 64 bits, seed 0. */
uint64_t cn_hash(cn_bytes_t bytes);
uint64_t cn_hash_seeded(cn_bytes_t bytes, uint64_t seed);

#endif
