/* SPDX-License-Identifier: Apache-2.0 */

/*
 * dns - names to addresses, by c-ares on the loop: no thread, and nothing that waits.  The hosts
 * file, then the servers of resolv.conf with its search domains and ndots; CNAMEs are followed, and
 * a truncated answer is asked for again over TCP.  Answers are kept for their TTL within bounds;
 * the same question is asked once, however many want to know.
 *
 * Calls go down, events go up: a resolve never answers before it returns, and after a cancel no
 * event follows.  DNS answers are untrusted: a name may point anywhere, but memory, time and what
 * is logged are bounded.
 */

#ifndef CN_DNS_DNS_H
#define CN_DNS_DNS_H

#include "event/loop.h"
#include "event/socket.h"

#define CN_DNS_NAME_MAX       254       /* octets of a name, a final dot included */
#define CN_DNS_ADDRESSES_MAX  1024      /* of one family in an answer; more are left out */

typedef struct cn_dns_s cn_dns_t;
typedef struct cn_dns_query_s cn_dns_query_t;
typedef struct cn_dns_watch_s cn_dns_watch_t;

/*
 * How a question ends.  Ordered: where two families fail, the greater is told, so that what may be
 * better next time is not taken for a definite no.
 */
typedef enum {
    CN_DNS_OK,                  /* there is at least one address */
    CN_DNS_NOT_FOUND,           /* no such name */
    CN_DNS_NO_DATA,             /* the name is there, an address of this family is not */
    CN_DNS_BAD_NAME,            /* not a host name; nobody was asked */
    CN_DNS_REFUSED,             /* the servers refuse to say */
    CN_DNS_SERVER_FAILURE,      /* SERVFAIL and its kin */
    CN_DNS_BAD_ANSWER,          /* an answer that cannot be read, or is larger than 16 KiB */
    CN_DNS_UNREACHABLE,         /* no server can be reached */
    CN_DNS_TIMEOUT,             /* no answer after all tries */
    CN_DNS_TOO_MANY,            /* pending_max lookups are under way */
    CN_DNS_MEMORY,
} cn_dns_result_t;

/* Which addresses, as the dns_lookup_family of an Envoy cluster. */
typedef enum {
    CN_DNS_V4_ONLY,
    CN_DNS_V6_ONLY,
    CN_DNS_V4_PREFERRED,        /* IPv6 is asked for only when IPv4 gave no address */
    CN_DNS_AUTO,                /* IPv4 is asked for only when IPv6 gave no address */
    CN_DNS_ALL,                 /* both at once; those of IPv4 stand first */
} cn_dns_family_t;

typedef struct {
    const char  *servers;           /* "10.0.0.10:53,[::1]:53" for resolv.conf's; NULL */
    const char  *resolv_conf;       /* NULL: /etc/resolv.conf; a change is seen within a second */
    const char  *hosts;             /* NULL: /etc/hosts; one for the whole process */
    uint32_t     timeout_ms;        /* of the first try; doubled once all servers have been asked */
    uint32_t     tries;             /* of each server, for each search domain */
    uint32_t     cache_max;         /* answers kept; the least recently used goes; 0: none */
    uint32_t     ttl_min_ms;        /* a TTL below it counts as it */
    uint32_t     ttl_max_ms;
    uint32_t     negative_ttl_ms;   /* how long NOT_FOUND and NO_DATA are kept; other failures: 0 */
    uint32_t     pending_max;       /* lookups (a name and a family) under way at once */
} cn_dns_config_t;

/* 2 s, 3 tries; 1024 answers for 0 s to 1 h, negative ones 5 s; 256 lookups. */
extern const cn_dns_config_t  cn_dns_defaults;

typedef struct {
    cn_dns_result_t      result;
    const cn_address_t  *addresses; /* in the order of the answer, with the port asked for */
    size_t               count;     /* 0 unless CN_DNS_OK */
    uint32_t             ttl_ms;    /* how long it still holds; 0: ask again when it matters */
} cn_dns_answer_t;

typedef struct {
    uint64_t  resolves;
    uint64_t  cache_hits;           /* of a name and a family each, as are these: */
    uint64_t  merged;               /* joined a lookup under way */
    uint64_t  lookups;              /* handed to c-ares */
    uint64_t  failures;             /* lookups that found nothing, for whatever reason */
    uint64_t  evicted;              /* fresh answers that made place for others */
    uint64_t  cut;                  /* answers with more than CN_DNS_ADDRESSES_MAX addresses */
    uint64_t  reloads;              /* of resolv.conf */
} cn_dns_stats_t;

/*
 * answer is borrowed for the call.  The query is gone: its handle is not cancelled any more.  The
 * callee may do anything here, destroy the resolver too.
 */
typedef void (*cn_dns_done_t)(void *owner, const cn_dns_answer_t *answer);

/* config is copied, its strings too.  NULL when memory is spent or the servers cannot be read. */
cn_dns_t *cn_dns_create(cn_loop_t *loop, const cn_dns_config_t *config) CN_MUST_USE;

/* No event follows; queries and watches of it are gone with it.  NULL does nothing. */
void cn_dns_destroy(cn_dns_t *dns);

/*
 * Asks for the addresses of name (copied): a host name or an IP literal without brackets, which is
 * answered without a lookup.  done is called once, from the loop, whatever happens.  NULL: memory,
 * and done is not called.
 */
cn_dns_query_t *cn_dns_resolve(cn_dns_t *dns, cn_bytes_t name, uint16_t port,
    cn_dns_family_t family, cn_dns_done_t done, void *owner) CN_MUST_USE;

/*
 * No event follows.  A lookup under way goes on for those who come next.  NULL does nothing.
 */
void cn_dns_cancel(cn_dns_query_t *query);

/* Lives as long as dns. */
const cn_dns_stats_t *cn_dns_stats(const cn_dns_t *dns);

/* A few words for logs: "no such name"; never NULL. */
const char *cn_dns_result_text(cn_dns_result_t result);

/*
 * Resolves name again and again: when its TTL is over, but not before refresh_min_ms (0: 5 s),
 * plus up to a tenth, so that names do not stay in step.  changed is called with the first answer,
 * good or bad, and from then on only when the set of addresses is another one; their order does
 * not matter.  A failure never takes back a good answer; it is tried again after refresh_min_ms,
 * doubled with each failure up to a minute.  NULL: memory.
 */
cn_dns_watch_t *cn_dns_watch(cn_dns_t *dns, cn_bytes_t name, uint16_t port,
    cn_dns_family_t family, uint32_t refresh_min_ms, cn_dns_done_t changed,
    void *owner) CN_MUST_USE;

/* No event follows; also from within changed.  NULL does nothing. */
void cn_dns_unwatch(cn_dns_watch_t *watch);

#endif
