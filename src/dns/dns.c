/* SPDX-License-Identifier: Apache-2.0 */

/*
 * dns - queries.  A query's task runs its one step: at first, and whenever a part is answered.
 *
 *   resolve -> (task) --literal, bad name--------------------> told
 *                     --the first part, or both at once------> waits -> (task)
 *                     --no address, and another family left--> waits -> (task)
 *                     --otherwise----------------------------> told
 */

#include "dns/dns.h"

#include "dns/internal.h"

#include "base/clock.h"
#include "base/pool.h"

struct cn_dns_query_s {
    cn_list_t        link;
    cn_task_t        task;
    cn_dns_t        *dns;
    cn_dns_done_t    done;
    void            *owner;
    uint16_t         port;
    cn_dns_family_t  family;
    bool             is_literal;
    bool             is_bad;        /* no host name */
    cn_address_t     literal;
    cn_dns_part_t    parts[2];      /* in the order of asking */
    size_t           part_count;
    char             name[];        /* lower case */
};

const cn_dns_config_t  cn_dns_defaults = {
    .timeout_ms = 2000,
    .tries = 3,
    .cache_max = 1024,
    .ttl_max_ms = 3600000,
    .negative_ttl_ms = 5000,
    .pending_max = 256,
};


/* ---- names ----------------------------------------------------------------------------------- */

/*
 * Letters, digits, '-' and '_' in labels of 1 to 63 octets, a final dot allowed; not an address
 * gone wrong ("1.2.3", "10.0.0.256"), which a search domain or a kind server might answer.
 */
static bool
name_is_good(cn_bytes_t name)
{
    cn_bytes_t  label = CN_BYTES_NONE;
    cn_bytes_t  rest = name;
    uint64_t    number;
    bool        more = true;

    if (rest.len > 0 && rest.ptr[rest.len - 1] == '.') {
        rest.len--;
    }

    if (rest.len == 0 || rest.len > CN_DNS_NAME_MAX - 1) {
        return false;
    }

    while (more) {
        more = cn_bytes_split(rest, '.', &label, &rest);

        if (label.len == 0 || label.len > 63) {
            return false;
        }

        for (size_t i = 0; i < label.len; i++) {
            uint8_t  octet = cn_lower(label.ptr[i]);

            if ((octet < 'a' || octet > 'z') && (octet < '0' || octet > '9') && octet != '-'
                && octet != '_')
            {
                return false;
            }
        }
    }

    return cn_bytes_to_u64(label, UINT64_MAX, &number) == CN_ERR_SYNTAX;
}


static bool
wants_v4(cn_dns_family_t family)
{
    return family != CN_DNS_V6_ONLY;
}


static bool
wants_v6(cn_dns_family_t family)
{
    return family != CN_DNS_V4_ONLY;
}


/* ---- telling --------------------------------------------------------------------------------- */

static void
free_query(cn_dns_query_t *query)
{
    for (size_t i = 0; i < CN_COUNT_OF(query->parts); i++) {
        cn_list_remove(&query->parts[i].link);
        cn_dns_record_release(query->parts[i].record);
    }

    cn_list_remove(&query->link);
    cn_task_cancel(&query->task);
    cn_free(query);
}


/* The query is freed first, so that its owner may do anything in the event. */
static void
tell(cn_dns_query_t *query, cn_dns_answer_t answer)
{
    cn_dns_done_t  done = query->done;
    void          *owner = query->owner;

    free_query(query);
    done(owner, &answer);
}


static void
tell_literal(cn_dns_query_t *query)
{
    cn_address_t     address = query->literal;
    bool             v4 = cn_address_is_v4(&address);
    cn_dns_answer_t  answer = { .result = CN_DNS_NO_DATA };

    address.port = query->port;

    if (v4 ? wants_v4(query->family) : wants_v6(query->family)) {
        answer = (cn_dns_answer_t) { CN_DNS_OK, &address, 1, query->dns->config.ttl_max_ms };
    }

    tell(query, answer);
}


static uint64_t
left_ms(const cn_dns_record_t *record)
{
    uint64_t  now_ms = cn_clock_ms();

    return record->expires_ms > now_ms ? record->expires_ms - now_ms : 0;
}


static bool
has_addresses(const cn_dns_part_t *part)
{
    return part->record != NULL && part->record->count > 0;
}


/* No part has an address: the worst that was met. */
static void
tell_failure(cn_dns_query_t *query)
{
    cn_dns_answer_t  answer = { .result = CN_DNS_NOT_FOUND, .ttl_ms = UINT32_MAX };

    for (size_t i = 0; i < query->part_count; i++) {
        const cn_dns_part_t  *part = &query->parts[i];
        uint64_t              ttl_ms = part->record == NULL ? 0 : left_ms(part->record);

        answer.result = part->result > answer.result ? part->result : answer.result;
        answer.ttl_ms = ttl_ms < answer.ttl_ms ? (uint32_t) ttl_ms : answer.ttl_ms;
    }

    tell(query, answer);
}


static void
tell_addresses(cn_dns_query_t *query)
{
    cn_address_t    *addresses;
    cn_dns_answer_t  answer = { .result = CN_DNS_OK, .ttl_ms = UINT32_MAX };
    size_t           count = 0;

    for (size_t i = 0; i < query->part_count; i++) {
        count += has_addresses(&query->parts[i]) ? query->parts[i].record->count : 0;
    }

    addresses = cn_alloc(count * sizeof(addresses[0]));

    if (addresses == NULL) {
        tell(query, (cn_dns_answer_t) { .result = CN_DNS_MEMORY });
        return;
    }

    for (size_t i = 0; i < query->part_count; i++) {
        const cn_dns_record_t  *record = query->parts[i].record;

        if (!has_addresses(&query->parts[i])) {
            continue;
        }

        for (size_t j = 0; j < record->count; j++) {
            addresses[answer.count] = record->addresses[j];
            addresses[answer.count++].port = query->port;
        }

        answer.ttl_ms = left_ms(record) < answer.ttl_ms ? (uint32_t) left_ms(record)
                                                        : answer.ttl_ms;
    }

    answer.addresses = addresses;
    tell(query, answer);
    cn_free(addresses);
}


/* ---- asking ---------------------------------------------------------------------------------- */

/* Asks for the family of a part, if it is to be asked for now. */
static void
ask_part(cn_dns_query_t *query, size_t at)
{
    bool  fallback = query->family == CN_DNS_AUTO || query->family == CN_DNS_V4_PREFERRED;

    if (query->parts[at].state != CN_DNS_PART_IDLE) {
        return;
    }

    if (at > 0 && fallback
        && (query->parts[0].state == CN_DNS_PART_WAITS || has_addresses(&query->parts[0])))
    {
        return;
    }

    cn_dns_lookup(query->dns, query->name, &query->parts[at]);
}


static void
step(cn_task_t *task)
{
    cn_dns_query_t  *query = CN_CONTAINER_OF(task, cn_dns_query_t, task);
    bool             found = false;

    if (query->is_literal) {
        tell_literal(query);
        return;
    }

    if (query->is_bad) {
        tell(query, (cn_dns_answer_t) { .result = CN_DNS_BAD_NAME });
        return;
    }

    for (size_t i = 0; i < query->part_count; i++) {
        ask_part(query, i);
    }

    for (size_t i = 0; i < query->part_count; i++) {
        if (query->parts[i].state == CN_DNS_PART_WAITS) {
            return;
        }

        found = found || has_addresses(&query->parts[i]);
    }

    if (found) {
        tell_addresses(query);

    } else {
        tell_failure(query);
    }
}


static void
plan_parts(cn_dns_query_t *query)
{
    bool  v6_first = query->family == CN_DNS_V6_ONLY || query->family == CN_DNS_AUTO;

    query->part_count = wants_v4(query->family) && wants_v6(query->family) ? 2 : 1;

    for (size_t i = 0; i < CN_COUNT_OF(query->parts); i++) {
        query->parts[i].v6 = v6_first == (i == 0);
        query->parts[i].task = &query->task;
        query->parts[i].result = CN_DNS_OK;
        cn_list_init(&query->parts[i].link);
    }
}


cn_dns_query_t *
cn_dns_resolve(cn_dns_t *dns, cn_bytes_t name, uint16_t port, cn_dns_family_t family,
    cn_dns_done_t done, void *owner)
{
    bool             bad = !name_is_good(name);
    cn_dns_query_t  *query = cn_alloc_zero(sizeof(*query) + CN_DNS_NAME_MAX + 1);

    if (query == NULL) {
        return NULL;
    }

    query->dns = dns;
    query->port = port;
    query->family = family;
    query->done = done;
    query->owner = owner;
    query->task.run = step;
    query->is_literal = cn_address_parse_ip(name, &query->literal) == CN_OK;
    query->is_bad = bad;

    for (size_t i = 0; !bad && i < name.len; i++) {
        query->name[i] = (char) cn_lower(name.ptr[i]);
    }

    plan_parts(query);
    cn_list_append(&dns->queries, &query->link);
    cn_loop_post(dns->loop, CN_PHASE_READY, &query->task);
    dns->stats.resolves++;

    return query;
}


void
cn_dns_cancel(cn_dns_query_t *query)
{
    if (query != NULL) {
        free_query(query);
    }
}


/* ---- open and close -------------------------------------------------------------------------- */

/* A copy, or NULL of NULL; *failed is set when memory is spent. */
static const char *
copy_str(const char *text, bool *failed)
{
    size_t   size = text == NULL ? 0 : strlen(text) + 1;
    char    *copy = size == 0 ? NULL : cn_alloc(size);

    if (copy != NULL) {
        memcpy(copy, text, size);
    }

    *failed = *failed || (copy == NULL && size > 0);

    return copy;
}


cn_dns_t *
cn_dns_create(cn_loop_t *loop, const cn_dns_config_t *config)
{
    cn_dns_t  *dns = cn_alloc_zero(sizeof(*dns));
    bool       failed = false;

    if (dns == NULL) {
        return NULL;
    }

    dns->loop = loop;
    dns->config = *config;
    dns->config.servers = copy_str(config->servers, &failed);
    dns->config.resolv_conf = copy_str(config->resolv_conf, &failed);
    dns->config.hosts = copy_str(config->hosts, &failed);
    cn_list_init(&dns->queries);
    cn_list_init(&dns->watches);

    if (cn_dns_lookup_open(dns) != CN_OK || failed) {
        cn_dns_destroy(dns);
        return NULL;
    }

    return dns;
}


void
cn_dns_destroy(cn_dns_t *dns)
{
    if (dns == NULL) {
        return;
    }

    cn_dns_watch_close_all(dns);

    while (!cn_list_empty(&dns->queries)) {
        free_query(CN_LIST_ITEM(dns->queries.next, cn_dns_query_t, link));
    }

    cn_dns_lookup_close(dns);
    cn_free((void *) (uintptr_t) dns->config.servers);
    cn_free((void *) (uintptr_t) dns->config.resolv_conf);
    cn_free((void *) (uintptr_t) dns->config.hosts);
    cn_free(dns);
}


const cn_dns_stats_t *
cn_dns_stats(const cn_dns_t *dns)
{
    return &dns->stats;
}


const char *
cn_dns_result_text(cn_dns_result_t result)
{
    static const char *const  texts[] = {
        [CN_DNS_OK] = "found",
        [CN_DNS_NOT_FOUND] = "no such name",
        [CN_DNS_NO_DATA] = "the name has no such address",
        [CN_DNS_BAD_NAME] = "not a host name",
        [CN_DNS_REFUSED] = "refused by the DNS servers",
        [CN_DNS_SERVER_FAILURE] = "the DNS servers failed",
        [CN_DNS_BAD_ANSWER] = "the DNS answer cannot be read",
        [CN_DNS_UNREACHABLE] = "no DNS server can be reached",
        [CN_DNS_TIMEOUT] = "no DNS answer in time",
        [CN_DNS_TOO_MANY] = "too many DNS lookups at once",
        [CN_DNS_MEMORY] = "out of memory",
    };

    return (size_t) result < CN_COUNT_OF(texts) ? texts[result] : "unknown";
}
