/* SPDX-License-Identifier: Apache-2.0 */

/*
 * list - an intrusive doubly linked ring.  A link belongs to one list at a time; the list owns
 * nothing.
 */

#ifndef CN_BASE_LIST_H
#define CN_BASE_LIST_H

#include "base/status.h"

typedef struct cn_list_s cn_list_t;

struct cn_list_s {
    cn_list_t  *next;
    cn_list_t  *prev;
};

/* An empty list, and a link that is in none. */
static inline void
cn_list_init(cn_list_t *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool
cn_list_empty(const cn_list_t *list)
{
    return list->next == list;
}

/* A zeroed link counts as in no list. */
static inline bool
cn_list_linked(const cn_list_t *link)
{
    return link->next != NULL && link->next != link;
}

/* Puts a link that is in no list at the end. */
static inline void
cn_list_append(cn_list_t *list, cn_list_t *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}

static inline void
cn_list_prepend(cn_list_t *list, cn_list_t *link)
{
    cn_list_append(list->next, link);
}

/* Taking a link out of no list does nothing. */
static inline void
cn_list_remove(cn_list_t *link)
{
    if (link->next != NULL) {
        link->next->prev = link->prev;
        link->prev->next = link->next;
    }

    cn_list_init(link);
}

/* Moves all links of from to the end of to. */
static inline void
cn_list_splice(cn_list_t *to, cn_list_t *from)
{
    if (cn_list_empty(from)) {
        return;
    }

    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    cn_list_init(from);
}

#define CN_LIST_ITEM(ptr, type, member)  CN_CONTAINER_OF(ptr, type, member)

/* The loop's body may remove `link` itself, nothing else. */
#define CN_LIST_EACH(list, link)                                                   \
    for (cn_list_t *link = (list)->next, *link##_next = link->next; link != (list); \
         link = link##_next, link##_next = link->next)

#endif
