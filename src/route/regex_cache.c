/* SPDX-License-Identifier: Apache-2.0 */

/*
 * regex_cache - compiled patterns by use and text, in the order of their last use.  It is the one
 * thing in this room that outlives a call; like the pools' free lists it is the process's own and
 * changes no answer.
 */

#include "route/regex_cache.h"

#include "base/list.h"
#include "base/map.h"

typedef struct {
    cn_list_t    link;          /* least recently used first */
    cn_regex_t  *regex;         /* NULL: cannot be compiled, known */
    size_t       size;
    size_t       key_len;
    uint8_t      key[];         /* use, pattern */
} entry_t;

static struct {
    cn_map_t   *entries;        /* made when it is first needed */
    cn_list_t   order;
    size_t      size;
    uint64_t    compiled;
} cache;


static void
drop(entry_t *entry)
{
    cn_map_remove(cache.entries, cn_bytes(entry->key, entry->key_len));
    cn_list_remove(&entry->link);
    cache.size -= entry->size;
    cn_regex_destroy(entry->regex);
    cn_free(entry);
}


static bool
cache_ready(void)
{
    if (cache.entries == NULL) {
        cn_list_init(&cache.order);
        cache.entries = cn_map_create();
    }

    return cache.entries != NULL;
}


/* A new entry for key, which must not be in the cache; NULL: no memory. */
static entry_t *
add(cn_bytes_t key, cn_regex_use_t use)
{
    entry_t      *entry = cn_alloc_zero(sizeof(*entry) + key.len);
    cn_status_t   status;

    if (entry == NULL) {
        return NULL;
    }

    memcpy(entry->key, key.ptr, key.len);
    entry->key_len = key.len;
    status = cn_regex_create(cn_bytes_from(key, 1), use, &entry->regex);

    if (status == CN_ERR_MEMORY
        || cn_map_set(cache.entries, cn_bytes(entry->key, key.len), entry) != CN_OK)
    {
        cn_regex_destroy(entry->regex);
        cn_free(entry);
        return NULL;
    }

    entry->size = sizeof(*entry) + 2 * key.len
                  + (entry->regex == NULL ? 0 : cn_regex_size(entry->regex));
    cache.size += entry->size;
    cache.compiled++;
    cn_list_append(&cache.order, &entry->link);
    return entry;
}


/* The last one used stays, whatever its size. */
static void
shrink(void)
{
    while (cache.order.next != cache.order.prev
           && (cache.size > CN_REGEX_CACHE_SIZE
               || cn_map_count(cache.entries) > CN_REGEX_CACHE_COUNT))
    {
        drop(CN_LIST_ITEM(cache.order.next, entry_t, link));
    }
}


/* Borrowed until the next call here; NULL: none can be had. */
static cn_regex_t *
cached(cn_bytes_t pattern, cn_regex_use_t use)
{
    uint8_t   key[1 + CN_RE2_PATTERN_MAX];
    entry_t  *entry;

    if (pattern.len > CN_RE2_PATTERN_MAX || !cache_ready()) {
        return NULL;
    }

    key[0] = (uint8_t) use;

    if (pattern.len > 0) {
        memcpy(key + 1, pattern.ptr, pattern.len);
    }

    entry = cn_map_get(cache.entries, cn_bytes(key, pattern.len + 1));

    if (entry == NULL) {
        entry = add(cn_bytes(key, pattern.len + 1), use);
        shrink();

    } else if (entry->link.next != &cache.order) {
        cn_list_remove(&entry->link);
        cn_list_append(&cache.order, &entry->link);
    }

    return entry == NULL ? NULL : entry->regex;
}


cn_match_t
cn_regex_cached_match(cn_bytes_t pattern, cn_bytes_t value)
{
    cn_regex_t  *regex = cached(pattern, CN_REGEX_MATCH);

    if (regex == NULL) {
        return CN_MATCH_ERROR;
    }

    switch (cn_regex_match(regex, value)) {

    case CN_REGEX_YES:
        return CN_MATCH_YES;

    case CN_REGEX_NO:
        return CN_MATCH_NO;

    case CN_REGEX_ERROR:
    default:
        return CN_MATCH_ERROR;
    }
}


cn_status_t
cn_regex_cached_replace(cn_bytes_t pattern, cn_bytes_t rewrite, cn_bytes_t value,
    cn_pool_t *pool, cn_bytes_t *result)
{
    cn_regex_t  *regex = cached(pattern, CN_REGEX_FIND);

    *result = value;
    return regex == NULL ? CN_ERR_SYNTAX : cn_regex_replace(regex, value, rewrite, pool, result);
}


size_t
cn_regex_cache_count(void)
{
    return cache.entries == NULL ? 0 : cn_map_count(cache.entries);
}


uint64_t
cn_regex_cache_compiled(void)
{
    return cache.compiled;
}


void
cn_regex_cache_clear(void)
{
    if (cache.entries == NULL) {
        return;
    }

    while (!cn_list_empty(&cache.order)) {
        drop(CN_LIST_ITEM(cache.order.next, entry_t, link));
    }

    cn_map_destroy(cache.entries);
    cache.entries = NULL;
}
