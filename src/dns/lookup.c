/* SPDX-License-Identifier: Apache-2.0 */

/*
 * lookup - a lookup is a name and a family, in one map whether it is under way or answered:
 *
 *   none --a part asks--> under way --answer that holds--> answered --expired, evicted--> none
 *                             \-------other end---------------------------------------/
 *
 * Parts that ask meanwhile wait for the one that is under way.  It goes on when all of them have
 * been cancelled, as c-ares cannot end one alone; so lookups are what is bounded.
 */

#include "dns/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"

#include <sys/stat.h>

#define LOOK_MS            1000u
#define RESOLV_CONF        "/etc/resolv.conf"

typedef struct {
    cn_list_t         link;         /* in answered; alone while it is under way */
    cn_list_t         waits;        /* parts */
    cn_dns_t         *dns;
    cn_dns_ask_t      ask;
    cn_dns_record_t  *record;       /* NULL: under way */
    size_t            key_len;
    uint8_t           key[];        /* '4' or '6', the name in lower case, NUL */
} lookup_t;


/* ---- records --------------------------------------------------------------------------------- */

cn_dns_record_t *
cn_dns_record_create(cn_dns_result_t result, size_t count)
{
    cn_dns_record_t  *record;

    record = cn_alloc_zero(sizeof(*record) + count * sizeof(record->addresses[0]));

    if (record != NULL) {
        record->refs = 1;
        record->result = result;
        record->count = count;
    }

    return record;
}


void
cn_dns_record_release(cn_dns_record_t *record)
{
    if (record != NULL && --record->refs == 0) {
        cn_free(record);
    }
}


static void
answer_part(cn_dns_part_t *part, cn_dns_result_t result, cn_dns_record_t *record)
{
    part->state = CN_DNS_PART_ANSWERED;
    part->result = result;
    part->record = record;

    if (record != NULL) {
        record->refs++;
    }
}


/* ---- the cache ------------------------------------------------------------------------------- */

static void
drop(lookup_t *lookup)
{
    cn_dns_t  *dns = lookup->dns;

    if (lookup->record != NULL) {
        dns->answered_count--;
    }

    cn_map_remove(dns->lookups, cn_bytes(lookup->key, lookup->key_len));
    cn_list_remove(&lookup->link);
    cn_dns_record_release(lookup->record);
    cn_free(lookup);
}


static void
drop_answered(cn_dns_t *dns)
{
    while (!cn_list_empty(&dns->answered)) {
        drop(CN_LIST_ITEM(dns->answered.next, lookup_t, link));
    }
}


/* A failure that is kept has a record without addresses; NULL: it is not kept, or memory. */
static cn_dns_record_t *
failure_record(const cn_dns_t *dns, cn_dns_result_t result)
{
    cn_dns_record_t  *record;

    if (dns->config.negative_ttl_ms == 0
        || (result != CN_DNS_NOT_FOUND && result != CN_DNS_NO_DATA))
    {
        return NULL;
    }

    record = cn_dns_record_create(result, 0);

    if (record != NULL) {
        record->expires_ms = cn_clock_ms() + dns->config.negative_ttl_ms;
    }

    return record;
}


static void
set_expiry(const cn_dns_t *dns, cn_dns_record_t *record)
{
    uint64_t  ttl_ms = record->ttl_ms;

    ttl_ms = ttl_ms < dns->config.ttl_min_ms ? dns->config.ttl_min_ms : ttl_ms;
    ttl_ms = ttl_ms > dns->config.ttl_max_ms ? dns->config.ttl_max_ms : ttl_ms;
    record->expires_ms = cn_clock_ms() + ttl_ms;
}


/* Takes the record: the lookup is answered, or gone. */
static void
keep(lookup_t *lookup, cn_dns_record_t *record)
{
    cn_dns_t  *dns = lookup->dns;

    /* what the servers of an older resolv.conf said is not kept */
    if (record == NULL || record->expires_ms <= cn_clock_ms() || dns->config.cache_max == 0
        || lookup->ask.channel != dns->channel)
    {
        drop(lookup);
        cn_dns_record_release(record);
        return;
    }

    lookup->record = record;
    cn_list_append(&dns->answered, &lookup->link);
    dns->answered_count++;

    while (dns->answered_count > dns->config.cache_max) {
        lookup_t  *oldest = CN_LIST_ITEM(dns->answered.next, lookup_t, link);

        dns->stats.evicted += oldest->record->expires_ms > cn_clock_ms() ? 1 : 0;
        drop(oldest);
    }
}


static void
lookup_done(cn_dns_ask_t *ask, cn_dns_result_t result, cn_dns_record_t *record)
{
    lookup_t  *lookup = CN_CONTAINER_OF(ask, lookup_t, ask);
    cn_dns_t  *dns = lookup->dns;

    dns->pending_count--;

    if (record != NULL) {
        set_expiry(dns, record);
        dns->stats.cut += record->cut ? 1 : 0;

    } else {
        dns->stats.failures++;
        record = failure_record(dns, result);
    }

    while (!cn_list_empty(&lookup->waits)) {
        cn_dns_part_t  *part = CN_LIST_ITEM(lookup->waits.next, cn_dns_part_t, link);

        cn_list_remove(&part->link);
        answer_part(part, result, record);
        cn_loop_post(dns->loop, CN_PHASE_READY, part->task);
    }

    if (ask->channel != dns->channel) {
        cn_loop_post(dns->loop, CN_PHASE_FREE, &dns->reap);
    }

    keep(lookup, record);
}


/* ---- resolv.conf ----------------------------------------------------------------------------- */

static cn_dns_stamp_t
read_stamp(const cn_dns_t *dns)
{
    cn_dns_stamp_t  stamp;
    struct stat     info;

    memset(&stamp, 0, sizeof(stamp));

    if (stat(dns->config.resolv_conf != NULL ? dns->config.resolv_conf : RESOLV_CONF, &info) == 0) {
        stamp.inode = info.st_ino;
        stamp.size = info.st_size;
        stamp.changed = info.st_mtim;
    }

    return stamp;
}


static bool
stamp_equal(const cn_dns_stamp_t *a, const cn_dns_stamp_t *b)
{
    return a->inode == b->inode && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec
           && a->changed.tv_nsec == b->changed.tv_nsec;
}


/* What is under way ends on the old channel. */
static void
look_at_resolv_conf(cn_dns_t *dns)
{
    cn_dns_channel_t  *channel;
    cn_dns_stamp_t     stamp;

    if (cn_clock_ms() - dns->looked_ms < LOOK_MS) {
        return;
    }

    dns->looked_ms = cn_clock_ms();
    stamp = read_stamp(dns);

    if (stamp_equal(&stamp, &dns->stamp)) {
        return;
    }

    channel = cn_dns_channel_open(dns->loop, &dns->config);

    if (channel == NULL) {
        return;                                 /* the old one serves; tried again */
    }

    cn_list_append(&dns->retired, cn_dns_channel_link(dns->channel));
    cn_loop_post(dns->loop, CN_PHASE_FREE, &dns->reap);
    dns->channel = channel;
    dns->stamp = stamp;
    dns->stats.reloads++;
    drop_answered(dns);
    cn_log(CN_LOG_INFO, "dns", "resolv.conf has changed: read again");
}


static void
reap_channels(cn_task_t *task)
{
    cn_dns_t  *dns = CN_CONTAINER_OF(task, cn_dns_t, reap);

    CN_LIST_EACH(&dns->retired, link) {
        cn_dns_channel_t  *channel = cn_dns_channel_of_link(link);

        if (!cn_dns_channel_busy(channel)) {
            cn_dns_channel_destroy(channel);
        }
    }
}


/* ---- asking ---------------------------------------------------------------------------------- */

static lookup_t *
add(cn_dns_t *dns, cn_bytes_t key)
{
    lookup_t  *lookup = cn_alloc_zero(sizeof(*lookup) + key.len + 1);

    if (lookup == NULL) {
        return NULL;
    }

    memcpy(lookup->key, key.ptr, key.len);      /* the NUL behind it is there */
    lookup->key_len = key.len;
    lookup->dns = dns;
    lookup->ask.done = lookup_done;
    cn_list_init(&lookup->link);
    cn_list_init(&lookup->waits);

    if (cn_map_set(dns->lookups, key, lookup) != CN_OK) {
        cn_free(lookup);
        return NULL;
    }

    return lookup;
}


static void
begin(cn_dns_t *dns, cn_bytes_t key, cn_dns_part_t *part)
{
    lookup_t  *lookup;

    if (dns->pending_count >= dns->config.pending_max) {
        answer_part(part, CN_DNS_TOO_MANY, NULL);
        return;
    }

    look_at_resolv_conf(dns);
    lookup = add(dns, key);

    if (lookup == NULL) {
        answer_part(part, CN_DNS_MEMORY, NULL);
        return;
    }

    part->state = CN_DNS_PART_WAITS;
    cn_list_append(&lookup->waits, &part->link);
    dns->pending_count++;
    dns->stats.lookups++;
    lookup->ask.v6 = part->v6;
    cn_dns_channel_ask(dns->channel, (const char *) lookup->key + 1, &lookup->ask);
}


void
cn_dns_lookup(cn_dns_t *dns, const char *name, cn_dns_part_t *part)
{
    uint8_t    octets[1 + CN_DNS_NAME_MAX];
    size_t     name_len = strlen(name);
    lookup_t  *lookup;

    CN_BUG_ON(name_len > CN_DNS_NAME_MAX);

    octets[0] = part->v6 ? '6' : '4';
    memcpy(octets + 1, name, name_len);
    lookup = cn_map_get(dns->lookups, cn_bytes(octets, 1 + name_len));

    if (lookup != NULL && lookup->record != NULL && lookup->record->expires_ms <= cn_clock_ms()) {
        drop(lookup);
        lookup = NULL;
    }

    if (lookup == NULL) {
        begin(dns, cn_bytes(octets, 1 + name_len), part);

    } else if (lookup->record == NULL) {
        dns->stats.merged++;
        part->state = CN_DNS_PART_WAITS;
        cn_list_append(&lookup->waits, &part->link);

    } else {
        dns->stats.cache_hits++;
        cn_list_remove(&lookup->link);
        cn_list_append(&dns->answered, &lookup->link);
        answer_part(part, lookup->record->result, lookup->record);
    }
}


/* ---- open and close -------------------------------------------------------------------------- */

cn_status_t
cn_dns_lookup_open(cn_dns_t *dns)
{
    cn_list_init(&dns->retired);
    cn_list_init(&dns->answered);
    dns->reap.run = reap_channels;
    dns->looked_ms = cn_clock_ms();
    dns->stamp = read_stamp(dns);
    dns->lookups = cn_map_create();
    dns->channel = cn_dns_channel_open(dns->loop, &dns->config);

    return dns->lookups != NULL && dns->channel != NULL ? CN_OK : CN_ERR_MEMORY;
}


void
cn_dns_lookup_close(cn_dns_t *dns)
{
    /* lookups under way end here, and are dropped as nobody waits for them */
    dns->config.cache_max = 0;

    while (!cn_list_empty(&dns->retired)) {
        cn_dns_channel_destroy(cn_dns_channel_of_link(dns->retired.next));
    }

    cn_dns_channel_destroy(dns->channel);
    cn_task_cancel(&dns->reap);
    drop_answered(dns);
    cn_map_destroy(dns->lookups);
}
