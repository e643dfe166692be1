/* SPDX-License-Identifier: Apache-2.0 */

/* hash - xxHash, compiled in from its header. */

#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>


uint64_t
cn_hash(cn_bytes_t bytes)
{
    return XXH3_64bits(bytes.ptr, bytes.len);
}


uint64_t
cn_hash_seeded(cn_bytes_t bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.ptr, bytes.len, seed);
}
