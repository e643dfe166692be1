/* SPDX-License-Identifier: Apache-2.0 */

/*
 * internal - what the files of this room share.
 *
 *   dns.c       a query: one or two parts, a family each
 *   lookup.c    parts meet lookups: the cache, and what is under way
 *   channel.c   a lookup meets c-ares, whose sockets and timeouts are the loop's
 */

#ifndef CN_DNS_INTERNAL_H
#define CN_DNS_INTERNAL_H

#include "dns/dns.h"

#include "base/map.h"

#include <sys/types.h>
#include <time.h>

typedef struct cn_dns_channel_s cn_dns_channel_t;
typedef struct cn_dns_ask_s cn_dns_ask_t;

/* The answer to a name and family: unchanging, shared by the cache and by queries. */
typedef struct {
    size_t           refs;
    cn_dns_result_t  result;
    bool             cut;           /* there were more addresses */
    uint64_t         ttl_ms;        /* as told by the servers */
    uint64_t         expires_ms;    /* within the bounds of the configuration */
    size_t           count;
    cn_address_t     addresses[];   /* port 0 */
} cn_dns_record_t;

/* A record of one reference, cleared, with place for count addresses; NULL: memory. */
cn_dns_record_t *cn_dns_record_create(cn_dns_result_t result, size_t count) CN_MUST_USE;
/* NULL does nothing. */
void cn_dns_record_release(cn_dns_record_t *record);

/* What the caller of a lookup keeps while it is under way. */
struct cn_dns_ask_s {
    cn_dns_channel_t  *channel;
    bool               v6;

    /* record is the callee's, NULL unless CN_DNS_OK.  The ask may be freed here. */
    void             (*done)(cn_dns_ask_t *ask, cn_dns_result_t result, cn_dns_record_t *record);
};

/* NULL: memory, or the servers of config cannot be read. */
cn_dns_channel_t *cn_dns_channel_open(cn_loop_t *loop, const cn_dns_config_t *config) CN_MUST_USE;

/* Ends what is under way (done is called) and frees it.  Not from within done.  NULL: nothing. */
void cn_dns_channel_destroy(cn_dns_channel_t *channel);

/* Whether lookups are under way. */
bool cn_dns_channel_busy(const cn_dns_channel_t *channel);

/* A link of its owner's. */
cn_list_t *cn_dns_channel_link(cn_dns_channel_t *channel);
cn_dns_channel_t *cn_dns_channel_of_link(cn_list_t *link);

/* Begins a lookup; done may be called before it returns. */
void cn_dns_channel_ask(cn_dns_channel_t *channel, const char *name, cn_dns_ask_t *ask);

typedef enum {
    CN_DNS_PART_IDLE,
    CN_DNS_PART_WAITS,
    CN_DNS_PART_ANSWERED,
} cn_dns_part_state_t;

/* A query's question for one family. */
typedef struct {
    cn_list_t            link;      /* among those who wait for a lookup */
    cn_task_t           *task;      /* posted when it is answered */
    cn_dns_part_state_t  state;
    bool                 v6;
    cn_dns_result_t      result;
    cn_dns_record_t     *record;    /* its own reference; NULL: a failure that is not kept */
} cn_dns_part_t;

/* What of a file shows that it was changed; zeros: it is not there. */
typedef struct {
    ino_t            inode;
    off_t            size;
    struct timespec  changed;
} cn_dns_stamp_t;

struct cn_dns_s {
    cn_loop_t         *loop;
    cn_dns_config_t    config;      /* its strings are the resolver's */
    cn_dns_channel_t  *channel;
    cn_list_t          retired;     /* channels of an older resolv.conf, not done yet */
    cn_task_t          reap;        /* frees those of them that are done */
    cn_dns_stamp_t     stamp;
    uint64_t           looked_ms;   /* when the stamp was last looked at */

    cn_map_t          *lookups;     /* by family and name: answered, and under way */
    cn_list_t          answered;    /* of them, the least recently used first */
    size_t             answered_count;
    size_t             pending_count;

    cn_list_t          queries;
    cn_list_t          watches;
    cn_dns_stats_t     stats;
};

/*
 * Opens the first channel and the map.  CN_ERR_MEMORY, also for servers that cannot be read;
 * cn_dns_lookup_close() frees what is there.
 */
cn_status_t cn_dns_lookup_open(cn_dns_t *dns) CN_MUST_USE;
/* No part may wait any more. */
void cn_dns_lookup_close(cn_dns_t *dns);

/*
 * Answers part from the cache, or lets it wait for a lookup, whose end may come before this
 * returns.
 */
void cn_dns_lookup(cn_dns_t *dns, const char *name, cn_dns_part_t *part);

/* Ends the watches; of cn_dns_destroy(). */
void cn_dns_watch_close_all(cn_dns_t *dns);

#endif
