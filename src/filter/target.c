/* SPDX-License-Identifier: Apache-2.0 */

/*
 * target - whom an authority names.  A mesh's clients name a service as they would a host in its
 * namespace; what is no full name is completed to one.
 */

#include "filter/chain.h"

#include <stdio.h>

#define HOST_MAX  253       /* octets of a host name: RFC 1035 2.3.4 */


bool
cn_target_split(cn_bytes_t authority, uint16_t default_port, cn_bytes_t *host, uint16_t *port)
{
    size_t    colon = cn_bytes_find_last_octet(authority, ':');
    uint64_t  value = default_port;

    *host = authority;

    if (colon != SIZE_MAX && authority.len > 0 && authority.ptr[authority.len - 1] != ']') {
        if (cn_bytes_to_u64(cn_bytes_from(authority, colon + 1), UINT16_MAX, &value) != CN_OK) {
            return false;
        }

        *host = cn_bytes(authority.ptr, colon);
    }

    *port = (uint16_t) value;

    return host->len > 0 && value > 0;
}


/* "reviews", "reviews.ns", "reviews.ns.svc" are completed to the service's full name. */
static const cn_block_t *
service_by_name(const cn_tables_t *tables, cn_bytes_t name, uint16_t port, cn_segment_t **segment)
{
    const cn_block_t         *global_block = cn_tables_global(tables, NULL);
    const cn_table_global_t  *global;
    const cn_block_t         *block = cn_tables_service_by_host(tables, name, port, segment);
    cn_bytes_t                domain, name_space;
    char                      full[512];
    int                       len = 0;
    size_t                    dots = 0;

    if (block != NULL || global_block == NULL || name.len > 253) {
        return block;
    }

    global = cn_block_root(global_block);
    domain = cn_block_bytes(global_block, global->cluster_domain);
    name_space = cn_block_bytes(global_block, global->name_space);

    for (size_t i = 0; i < name.len; i++) {
        dots += name.ptr[i] == '.';
    }

    switch (dots) {

    case 0:
        len = snprintf(full, sizeof(full), "%.*s.%.*s.svc.%.*s", CN_BYTES_ARG(name),
                       CN_BYTES_ARG(name_space), CN_BYTES_ARG(domain));
        break;

    case 1:
        len = snprintf(full, sizeof(full), "%.*s.svc.%.*s", CN_BYTES_ARG(name),
                       CN_BYTES_ARG(domain));
        break;

    case 2:
        len = snprintf(full, sizeof(full), "%.*s.%.*s", CN_BYTES_ARG(name), CN_BYTES_ARG(domain));
        break;
    }

    if (len <= 0 || (size_t) len >= sizeof(full)) {
        return NULL;
    }

    return cn_tables_service_by_host(tables, cn_bytes(full, (size_t) len), port, segment);
}


cn_target_t
cn_target_by_authority(const cn_tables_t *tables, cn_bytes_t authority, uint16_t default_port)
{
    cn_target_t   target = { NULL, NULL, 0 };
    cn_address_t  address;
    cn_bytes_t    host;
    uint8_t       lower[HOST_MAX];

    if (!cn_target_split(authority, default_port, &host, &target.port)
        || host.len > sizeof(lower))
    {
        return target;
    }

    if (host.ptr[0] == '[' && host.len > 2) {
        host = cn_bytes(host.ptr + 1, host.len - 2);
    }

    if (cn_address_parse_ip(host, &address) == CN_OK) {
        target.block = cn_tables_service_by_address(tables, address.ip, target.port,
                                                    &target.segment);
        return target;
    }

    for (size_t i = 0; i < host.len; i++) {
        lower[i] = cn_lower(host.ptr[i]);
    }

    target.block = service_by_name(tables, cn_bytes(lower, host.len), target.port,
                                   &target.segment);

    return target;
}
