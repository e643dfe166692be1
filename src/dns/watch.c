/* SPDX-License-Identifier: Apache-2.0 */

/*
 * watch - a name resolved again and again.
 *
 *   asking --addresses--> rest for the TTL, at least refresh_min_ms --> asking
 *          --failure----> rest for refresh_min_ms, doubled each time --> asking
 *
 * The last good set stays over failures: a resolver that is down must not take endpoints with it.
 */

#include "dns/internal.h"

#include "base/pool.h"
#include "base/random.h"

#include <stdlib.h>

#define REFRESH_MS      5000u
#define FAILURE_MAX_MS  60000u
#define FAILURES_MAX    16u                     /* doublings that still tell apart */

struct cn_dns_watch_s {
    cn_list_t        link;
    cn_timer_t       timer;
    cn_dns_t        *dns;
    cn_dns_query_t  *query;                     /* NULL: at rest */
    cn_dns_done_t    changed;
    void            *owner;
    cn_dns_family_t  family;
    uint16_t         port;
    uint32_t         refresh_ms;
    unsigned         failures;                  /* in a row */
    bool             told;                      /* its owner knows a first answer */
    cn_address_t    *known;                     /* the last good set, sorted; NULL: none yet */
    size_t           known_count;
    size_t           name_len;
    uint8_t          name[];
};


static int
compare(const void *a, const void *b)
{
    return memcmp(((const cn_address_t *) a)->ip, ((const cn_address_t *) b)->ip, 16);
}


/* Sorted and each once; NULL: memory. */
static cn_address_t *
set_of(const cn_dns_answer_t *answer, size_t *count)
{
    cn_address_t  *set = cn_alloc(answer->count * sizeof(set[0]));

    if (set == NULL) {
        return NULL;
    }

    memcpy(set, answer->addresses, answer->count * sizeof(set[0]));
    qsort(set, answer->count, sizeof(set[0]), compare);
    *count = 1;

    for (size_t i = 1; i < answer->count; i++) {
        if (compare(&set[i], &set[*count - 1]) != 0) {
            set[(*count)++] = set[i];
        }
    }

    return set;
}


/* Keeps the answer's set; whether it is another one. */
static bool
is_news(cn_dns_watch_t *watch, const cn_dns_answer_t *answer)
{
    size_t         count;
    cn_address_t  *set = set_of(answer, &count);
    bool           equal;

    if (set == NULL) {
        return false;                           /* the next refresh tells */
    }

    equal = watch->known != NULL && count == watch->known_count;

    for (size_t i = 0; equal && i < count; i++) {
        equal = compare(&set[i], &watch->known[i]) == 0;
    }

    cn_free(watch->known);
    watch->known = set;
    watch->known_count = count;

    return !equal;
}


static uint64_t
rest_ms(const cn_dns_watch_t *watch, const cn_dns_answer_t *answer)
{
    uint64_t  rest = watch->refresh_ms;
    uint64_t  most = rest > FAILURE_MAX_MS ? rest : FAILURE_MAX_MS;

    if (answer->result == CN_DNS_OK) {
        rest = answer->ttl_ms > rest ? answer->ttl_ms : rest;

    } else {
        rest <<= watch->failures - 1;
        rest = rest > most ? most : rest;
    }

    return rest + cn_random_below(rest / 10 + 1);
}


/* The event comes last: its owner may end the watch in it. */
static void
resolved(void *owner, const cn_dns_answer_t *answer)
{
    cn_dns_watch_t  *watch = owner;
    bool             news;

    watch->query = NULL;

    if (answer->result == CN_DNS_OK) {
        watch->failures = 0;
        news = is_news(watch, answer);

    } else {
        watch->failures += watch->failures < FAILURES_MAX ? 1 : 0;
        news = !watch->told;
    }

    cn_timer_set(watch->dns->loop, &watch->timer, rest_ms(watch, answer));

    if (news) {
        watch->told = true;
        watch->changed(watch->owner, answer);
    }
}


static void
refresh(cn_timer_t *timer)
{
    cn_dns_watch_t  *watch = CN_CONTAINER_OF(timer, cn_dns_watch_t, timer);

    watch->query = cn_dns_resolve(watch->dns, cn_bytes(watch->name, watch->name_len), watch->port,
                                  watch->family, resolved, watch);

    if (watch->query == NULL) {
        cn_timer_set(watch->dns->loop, timer, watch->refresh_ms);
    }
}


cn_dns_watch_t *
cn_dns_watch(cn_dns_t *dns, cn_bytes_t name, uint16_t port, cn_dns_family_t family,
    uint32_t refresh_min_ms, cn_dns_done_t changed, void *owner)
{
    cn_dns_watch_t  *watch;

    /* a name that long is none: one octet too many says so as well */
    name.len = name.len > CN_DNS_NAME_MAX ? CN_DNS_NAME_MAX + 1 : name.len;
    watch = cn_alloc_zero(sizeof(*watch) + name.len + 1);

    if (watch == NULL) {
        return NULL;
    }

    if (name.len > 0) {
        memcpy(watch->name, name.ptr, name.len);
    }

    watch->name_len = name.len;
    watch->dns = dns;
    watch->port = port;
    watch->family = family;
    watch->refresh_ms = refresh_min_ms == 0 ? REFRESH_MS : refresh_min_ms;
    watch->changed = changed;
    watch->owner = owner;
    watch->timer.run = refresh;
    cn_list_append(&dns->watches, &watch->link);
    cn_timer_set(dns->loop, &watch->timer, 0);

    return watch;
}


void
cn_dns_unwatch(cn_dns_watch_t *watch)
{
    if (watch == NULL) {
        return;
    }

    cn_dns_cancel(watch->query);
    cn_timer_cancel(&watch->timer);
    cn_list_remove(&watch->link);
    cn_free(watch->known);
    cn_free(watch);
}


void
cn_dns_watch_close_all(cn_dns_t *dns)
{
    while (!cn_list_empty(&dns->watches)) {
        cn_dns_unwatch(CN_LIST_ITEM(dns->watches.next, cn_dns_watch_t, link));
    }
}
