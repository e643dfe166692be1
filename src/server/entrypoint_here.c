/* SPDX-License-Identifier: Apache-2.0 */

/* entrypoint_here - the entrypoint of this process: its environment, its cores, its interfaces. */

#include "server/entrypoint.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#define INTERFACES_MAX  64

extern char  **environ;


static const char *
interface_ip(const struct ifaddrs *interface, cn_pool_t *pool)
{
    char                        text[INET6_ADDRSTRLEN];
    const struct sockaddr      *name = interface->ifa_addr;
    const struct sockaddr_in   *v4 = (const void *) name;
    const struct sockaddr_in6  *v6 = (const void *) name;
    const void                 *ip = NULL;

    if (name == NULL || !(interface->ifa_flags & IFF_UP) || interface->ifa_flags & IFF_LOOPBACK) {
        return NULL;
    }

    if (name->sa_family == AF_INET && (ntohl(v4->sin_addr.s_addr) >> 16) != 0xa9fe) {
        ip = &v4->sin_addr;

    } else if (name->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)
               && !IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr))
    {
        ip = &v6->sin6_addr;
    }

    if (ip == NULL || inet_ntop(name->sa_family, ip, text, sizeof(text)) == NULL) {
        return NULL;
    }

    return cn_pool_str(pool, cn_bytes_str(text));
}


/* Addresses that others reach us by; at most INTERFACES_MAX. */
static void
list_addresses(cn_pool_t *pool, const char *addresses[INTERFACES_MAX + 1])
{
    struct ifaddrs  *interfaces;
    size_t           count = 0;

    if (getifaddrs(&interfaces) == 0) {
        for (struct ifaddrs *at = interfaces; at != NULL && count < INTERFACES_MAX;
             at = at->ifa_next)
        {
            const char  *ip = interface_ip(at, pool);

            if (ip != NULL) {
                addresses[count++] = ip;
            }
        }

        freeifaddrs(interfaces);
    }

    addresses[count] = NULL;
}


cn_status_t
cn_entrypoint_read_here(const cn_bootstrap_options_t *options, cn_pool_t *pool,
    cn_report_t *report, cn_bootstrap_t *bootstrap)
{
    const char  *addresses[INTERFACES_MAX + 1];
    cpu_set_t    cpus;
    cn_status_t  status;

    cn_entrypoint_input_t  input = {
        .arguments = options->proxy,
        .environment = environ,
        .addresses = addresses,
        .cores = 1,
        .prefix = options->prefix,
    };

    if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) > 1) {
        input.cores = (uint32_t) CPU_COUNT(&cpus);
    }

    list_addresses(pool, addresses);
    status = cn_entrypoint_read(&input, pool, report, bootstrap);

    if (options->workers > 0) {
        bootstrap->workers = options->workers;
    }

    if (options->resources != NULL) {   /* a directory in istiod's place */
        bootstrap->source_files = options->resources;
        bootstrap->istiod.server.address = NULL;
    }

    return status;
}
