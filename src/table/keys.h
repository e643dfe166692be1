/* SPDX-License-Identifier: Apache-2.0 */

/*
 * keys - the octets under which a block stands in the directory (layout.h lists them), made alike
 * by both sides.
 */

#ifndef CN_TABLE_KEYS_H
#define CN_TABLE_KEYS_H

#include "table/layout.h"

#define CN_KEY_HOST_MAX  255u           /* octets of a host name: RFC 1035 2.3.4 */
#define CN_KEY_MAX       264u           /* 'H', the host, ':' and five digits, with room */

/* Each writes a key to out and views it there. */
static inline cn_bytes_t
cn_key_address(uint8_t out[CN_KEY_MAX], const uint8_t ip[16], uint16_t port)
{
    out[0] = 'A';
    memcpy(out + 1, ip, 16);
    out[17] = (uint8_t) (port >> 8);
    out[18] = (uint8_t) port;

    return cn_bytes(out, 19);
}

/* None when the host is longer than CN_KEY_HOST_MAX. */
static inline cn_bytes_t
cn_key_host(uint8_t out[CN_KEY_MAX], cn_bytes_t lower_host, uint16_t port)
{
    size_t  len = lower_host.len;

    if (len == 0 || len > CN_KEY_HOST_MAX) {
        return CN_BYTES_NONE;
    }

    out[0] = 'H';
    memcpy(out + 1, lower_host.ptr, len);
    out[len + 1] = ':';

    return cn_bytes(out, len + 2 + cn_u64_print(port, (char *) out + len + 2));
}

/* A letter and an id: what the next two are made of. */
static inline cn_bytes_t
cn_key_id(uint8_t out[CN_KEY_MAX], uint8_t letter, uint32_t id)
{
    out[0] = letter;
    out[1] = (uint8_t) (id >> 24);
    out[2] = (uint8_t) (id >> 16);
    out[3] = (uint8_t) (id >> 8);
    out[4] = (uint8_t) id;

    return cn_bytes(out, 5);
}

static inline cn_bytes_t
cn_key_cluster(uint8_t out[CN_KEY_MAX], uint32_t id)
{
    return cn_key_id(out, 'C', id);
}

static inline cn_bytes_t
cn_key_endpoints(uint8_t out[CN_KEY_MAX], uint32_t id)
{
    return cn_key_id(out, 'E', id);
}

/* By address. */
static inline cn_bytes_t
cn_key_workload(uint8_t out[CN_KEY_MAX], const uint8_t ip[16])
{
    out[0] = 'W';
    memcpy(out + 1, ip, 16);

    return cn_bytes(out, 17);
}

static inline cn_bytes_t
cn_key_global(void)
{
    return CN_BYTES("G");
}

#endif
