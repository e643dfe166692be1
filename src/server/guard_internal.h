/* SPDX-License-Identifier: Apache-2.0 */

/*
 * guard_internal - the guard between its own files.
 *
 * A set is a master and its workers, all of one executable.  There are two places for sets: one
 * serves; the other is empty, or holds the set that an upgrade starts, or the one that it replaced
 * and that drains.
 */

#ifndef CN_SERVER_GUARD_INTERNAL_H
#define CN_SERVER_GUARD_INTERNAL_H

#include "base/clock.h"
#include "event/signal.h"
#include "server/bootstrap.h"
#include "server/message.h"
#include "stats/slab.h"

#include <sys/types.h>

#define CN_GUARD_LISTENERS_MAX  256     /* sockets: addresses times workers */
#define CN_GUARD_LAST_WORDS_MS  300     /* from the final GOAWAY to the end */
#define CN_GUARD_MASTER         UINT32_MAX
#define CN_GUARD_ARGUMENTS_MAX  80      /* of a master's command line; cli/main.c gives fewer */

typedef struct cn_guard_s cn_guard_t;
typedef struct cn_set_s cn_set_t;

/* A process of a set. */
typedef struct {
    cn_set_t      *set;
    uint32_t       index;               /* worker's, within its set; CN_GUARD_MASTER */
    pid_t          pid;                 /* 0: down */
    cn_channel_t  *channel;
    cn_timer_t     restart;
    uint64_t       started_ms;
    bool           useful;              /* it served, or published */
    uint64_t       strikes_ms;          /* deaths, in units of the life that makes up for one */
    bool           ready;               /* it said so */
    uint64_t       mask;                /* worker: whose sockets it attends, as last told */
} cn_child_t;

/*
 *   empty --upgrade--> starting --all ready--> serving --the next one is ready--> leaving --> empty
 *                          `--one of it fails--> (ended) --> empty
 */
typedef enum { CN_SET_EMPTY, CN_SET_STARTING, CN_SET_SERVING, CN_SET_LEAVING } cn_set_state_t;

typedef struct {
    cn_msg_listener_t  listener;
    int                fd;
} cn_listener_t;

struct cn_set_s {
    cn_guard_t               *guard;
    cn_set_state_t            state;
    uint32_t                  number;       /* 1: the first; one more with each upgrade */
    uint32_t                  first_slot;   /* in the slab */
    int                       self_fd;      /* its executable */
    cn_child_t                master;
    cn_child_t                workers[CN_WORKERS_MAX];
    cn_publication_reader_t   reader;
    cn_publication_t          snapshot; /* the last published; generation 0: none */
    bool                      draining;
    bool                      ending;
    uint64_t                  drain_started_ms;
};

typedef enum { CN_UPGRADE_NONE, CN_UPGRADE_PROBING, CN_UPGRADE_STARTING } cn_upgrade_state_t;

typedef struct {
    cn_upgrade_state_t  state;
    char                path[4096];     /* where this program's file was when it was started */
    int                 fd;             /* the new one, while it is probed */
    pid_t               probe;          /* 0: it has ended */
    cn_channel_t       *channel;        /* to the probe */
    char                version[32];    /* what it says of itself */
    cn_timer_t          late;
    cn_timer_t          leaving;        /* looks whether the replaced set may end */
    uint64_t            last_words_ms;  /* when that was told of its end; 0: it was not */
} cn_upgrade_t;

struct cn_guard_s {
    const cn_bootstrap_t  *bootstrap;
    char *const           *options;     /* of its command line, for masters; NULL-ended */
    cn_loop_t             *loop;
    cn_signals_t          *signals;
    cn_slab_t             *slab;
    int                    slab_fd;
    cn_set_t               sets[2];
    cn_set_t              *current;     /* the one that accepts */
    cn_listener_t          listeners[CN_GUARD_LISTENERS_MAX];
    size_t                 listener_count;
    cn_upgrade_t           upgrade;
    cn_timer_t             supervise;
    cn_timer_t             drain;
    uint64_t               last_words_ms;       /* when the final GOAWAY was ordered */
    bool                   exit_when_idle;
    bool                   exit_in_time;
    bool                   ending;
    int                    exit_code;
    int                    log_fd;
};

/* The slot in the slab of a worker. */
static inline cn_slab_worker_t *
cn_guard_slot(const cn_child_t *child)
{
    return cn_slab_worker(child->set->guard->slab, child->set->first_slot + child->index);
}

static inline bool
cn_guard_is_master(const cn_child_t *child)
{
    return child->index == CN_GUARD_MASTER;
}

/*
 * --- guard_sockets.c -------------------------------------------------------------------------
 */

/* Opens what the bootstrap file names.  False: the log says which cannot be had. */
bool cn_guard_open_listeners(cn_guard_t *guard) CN_MUST_USE;

/* Tells the workers of the set that serves who attends which sockets. */
void cn_guard_assign_sockets(cn_guard_t *guard);

/*
 * --- guard_children.c ------------------------------------------------------------------------
 */

/* An empty place becomes a set of down processes of the executable self_fd, which it takes. */
void cn_guard_set_prepare(cn_guard_t *guard, cn_set_t *set, cn_set_state_t state, int self_fd);

/* Starts all of its processes. */
void cn_guard_set_start(cn_set_t *set);

/* Ends them; the place is empty when all are gone (cn_guard_set_is_gone). */
void cn_guard_set_end(cn_set_t *set);
bool cn_guard_set_is_gone(const cn_set_t *set);

/* Whether each of its processes has said that it could serve. */
bool cn_guard_set_is_ready(const cn_set_t *set);

/* Gives a process the listening sockets that are its business. */
void cn_guard_give_sockets(cn_child_t *child);

/* Sends a message to a process that is there; a failure is logged. */
void cn_guard_send(cn_child_t *child, cn_message_type_t type, const void *payload, size_t size,
    const int *fd);

/* Takes the exit status of every process that has ended. */
void cn_guard_reap(cn_guard_t *guard);

/* Aborts workers that have stopped turning. */
void cn_guard_abort_stuck(cn_set_t *set);

/* Downstream connections of all its workers. */
uint64_t cn_guard_connections(const cn_set_t *set);

/*
 * --- guard_upgrade.c -------------------------------------------------------------------------
 */

/* Remembers where the program's file is.  Before anything changes the directory. */
void cn_guard_upgrade_prepare(cn_guard_t *guard);

/* Starts master and workers of the file that is there now, beside those that serve. */
void cn_guard_upgrade_start(cn_guard_t *guard);

/* A process of the starting set said that it is ready. */
void cn_guard_upgrade_ready(cn_guard_t *guard);

/* The upgrade cannot be: what it has started ends, what serves serves on. */
void cn_guard_upgrade_fail(cn_guard_t *guard, const char *reason);

/* A process that belongs to no set has ended: the probe, or a stranger. */
void cn_guard_upgrade_reaped(cn_guard_t *guard, pid_t pid, int status);

/*
 * --- guard.c ---------------------------------------------------------------------------------
 */

/* Ends everything; the guard exits with exit_code when all processes are gone. */
void cn_guard_end_all(cn_guard_t *guard, int exit_code);

/* Tells a set, or one process of it, that it drains and how far that is. */
void cn_guard_set_tell_drain(cn_set_t *set, bool final);
void cn_guard_tell_drain(cn_child_t *child, bool final);

#endif
