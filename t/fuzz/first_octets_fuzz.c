/* SPDX-License-Identifier: Apache-2.0 */

/* What is told of any first octets: an answer is final, and comes before the bound. */

#include "http/first_octets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(cn_first_t (*look)(cn_bytes_t octets), const uint8_t *data, size_t size)
{
    cn_first_t  told = CN_FIRST_MORE;

    for (size_t len = 0; len <= size; len++) {
        cn_first_t  first = look(cn_bytes(data, len));

        CN_BUG_ON(len < CN_FIRST_MAX && told != CN_FIRST_MORE && first != told);
        CN_BUG_ON(len >= CN_FIRST_MAX && first == CN_FIRST_MORE);
        told = first;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(cn_first_codec, data, size < 64 ? size : 64);
    check(cn_first_protocol, data, size < 600 ? size : 600);
    CN_BUG_ON(cn_first_codec(cn_bytes(data, size)) == CN_FIRST_OTHER);
    CN_BUG_ON(size >= CN_FIRST_MAX
              && cn_first_protocol(cn_bytes(data, size)) == CN_FIRST_MORE);

    return 0;
}
