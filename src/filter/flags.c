/* SPDX-License-Identifier: Apache-2.0 */

/* flags - response flags as text. */

#include "filter/request.h"

static const char *const  flag_names[] = {
#define X(name) #name,
    CN_RESPONSE_FLAGS(X)
#undef X
};

/* The order in which they are joined: Envoy's, where URX stands before what ended the last try. */
static const uint32_t  first_flags = CN_FLAG(URX);


static size_t
append_flag(const char *name, char *out, size_t size, size_t len)
{
    size_t  name_len = strlen(name);

    if (name_len + 1 > size - len) {
        return len;
    }

    if (len > 0) {
        out[len++] = ',';
    }

    memcpy(out + len, name, name_len);

    return len + name_len;
}


size_t
cn_flags_print(uint32_t flags, char *out, size_t size)
{
    size_t  len = 0;

    if (flags == 0) {
        out[0] = '-';
        return 1;
    }

    if (flags & first_flags) {
        len = append_flag("URX", out, size, len);
    }

    for (size_t i = 0; i < CN_COUNT_OF(flag_names); i++) {
        if ((flags & ~first_flags) & (1u << i)) {
            len = append_flag(flag_names[i], out, size, len);
        }
    }

    return len;
}
