/* SPDX-License-Identifier: Apache-2.0 */

/*
 * worker - what a worker process is made of: a loop, the tables it has adopted, its listeners and
 * its upstream side, a place in the slab.  It accepts on the sockets that the guard lets it attend,
 * adopts snapshots between turns, and drains when told.
 *
 * States:  starting --tables and, for HBONE, identity--> serving --DRAIN--> draining; the guard
 * ends it.  A replacement that starts during a drain goes from starting to draining.
 */

#include "server/worker.h"

#include "base/block.h"
#include "base/clock.h"
#include "base/log.h"
#include "event/channel.h"
#include "event/signal.h"
#include "filter/listener.h"
#include "server/message.h"
#include "table/verify.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SOCKETS_MAX         1024
#define ADOPT_BUDGET_US     1000
#define ACCEPTS_PER_TURN    16
#define HEARTBEAT_MS        500
#define RETRY_ACCEPT_MS     100         /* after EMFILE */
/* so many since the last time: there may be something to give back */
#define TRIM_REQUESTS       256
#define TRIM_KEEP           (256 * 1024)

typedef struct worker_s worker_t;

typedef struct {
    cn_watch_t         watch;
    cn_msg_listener_t  listener;
    worker_t          *worker;
    cn_tls_context_t  *certificate;     /* of CN_LISTEN_TLS; NULL: it has not come yet */
} socket_t;

struct worker_s {
    cn_worker_env_t           env;
    cn_slab_t                *slab;
    cn_listeners_t           *listeners;
    cn_channel_t             *guard;
    cn_channel_t             *master;
    uint64_t                  offered;      /* the generation offered last, adopted or not yet */
    cn_publication_reader_t   from_guard;
    cn_publication_reader_t   from_master;
    cn_task_t                 adopt;
    cn_timer_t                heartbeat;
    cn_timer_t                accept_again;
    bool                      adopting;
    bool                      has_identity;
    bool                      draining;
    bool                      told_ready;
    int                       reserve_fd;
    uint64_t                  attends;
    /* requests served when memory was last given back */
    uint64_t                  trimmed_at;
    socket_t                 *sockets;
    size_t                    socket_count;
};


/* ---- accepting ------------------------------------------------------------------------------- */

static bool
wants_socket(const worker_t *worker, const socket_t *item)
{
    bool  ready = worker->env.slot->state == CN_WORKER_SERVING
                  || worker->env.slot->state == CN_WORKER_DRAINING;

    if (item->listener.kind == CN_LISTEN_HBONE && !worker->has_identity) {
        return false;
    }

    if (item->listener.kind == CN_LISTEN_TLS && item->certificate == NULL) {
        return false;
    }

    return ready && item->listener.worker < 64
           && (worker->attends & (1ull << item->listener.worker));
}


static void
attend(worker_t *worker)
{
    for (size_t i = 0; i < worker->socket_count; i++) {
        socket_t  *item = &worker->sockets[i];
        unsigned   want = wants_socket(worker, item) ? CN_READABLE : 0;

        if (item->watch.want != want
            && cn_watch_set(worker->env.loop, &item->watch, want) != CN_OK)
        {
            cn_log(CN_LOG_ERROR, "worker", "attend socket: errno=%d", errno);
        }
    }

    atomic_store_explicit(&worker->env.slot->attends, worker->attends, memory_order_relaxed);
}


/*
 * Out of descriptors: the reserve is given up for a moment to take and close one connection, so
 * that the peer learns of it; then accepting rests for a while.
 */
static void
accept_pressed(worker_t *worker, socket_t *item)
{
    cn_address_t  peer;
    int           fd;

    cn_log(CN_LOG_WARN, "worker", "refuse connection: reason=\"out of descriptors\"");

    if (worker->reserve_fd >= 0) {
        close(worker->reserve_fd);
        worker->reserve_fd = -1;

        if (cn_socket_accept(item->watch.fd, &fd, &peer) == CN_OK) {
            close(fd);
        }

        worker->reserve_fd = dup(CN_FD_SLAB);
    }

    for (size_t i = 0; i < worker->socket_count; i++) {
        cn_watch_remove(worker->env.loop, &worker->sockets[i].watch);
    }

    cn_timer_set(worker->env.loop, &worker->accept_again, RETRY_ACCEPT_MS);
}


static void
accept_again(cn_timer_t *timer)
{
    attend(CN_CONTAINER_OF(timer, worker_t, accept_again));
}


static void
socket_ready(cn_watch_t *watch, unsigned events)
{
    socket_t  *item = CN_CONTAINER_OF(watch, socket_t, watch);
    worker_t  *worker = item->worker;

    (void) events;

    for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
        cn_address_t  peer, local;
        int           fd;
        cn_status_t   status = cn_socket_accept(watch->fd, &fd, &peer);

        if (status == CN_ERR_LIMIT) {
            accept_pressed(worker, item);
            return;
        }

        if (status != CN_OK) {
            return;
        }

        if (cn_socket_local(fd, &local) != CN_OK) {
            local = item->listener.address;
        }

        switch (item->listener.kind) {

        case CN_LISTEN_HBONE:
            cn_listeners_accept_hbone(worker->listeners, fd, &peer, &local);
            break;

        case CN_LISTEN_TLS:
            cn_listeners_accept_tls(worker->listeners, fd, &peer, &local, item->certificate);
            break;

        default:
            cn_listeners_accept_plain(worker->listeners, fd, &peer, &local);
        }
    }
}


static void
add_socket(worker_t *worker, cn_channel_message_t *message)
{
    cn_msg_listener_t   listener;
    socket_t           *item;
    int                 fd;

    if (!cn_message_read(message, &listener, sizeof(listener))
        || worker->socket_count == SOCKETS_MAX)
    {
        return;
    }

    fd = cn_message_take_fd(message);

    if (fd < 0) {
        return;
    }

    item = &worker->sockets[worker->socket_count++];
    *item = (socket_t) {
        .watch = { .fd = fd, .exclusive = true, .ready = socket_ready },
        .listener = listener,
        .worker = worker,
    };
}


/* ---- adopting -------------------------------------------------------------------------------- */

/* The guard waits for it when this is a newer version that takes over. */
static void
tell_ready(worker_t *worker)
{
    if (!worker->told_ready && worker->env.slot->state != CN_WORKER_STARTING) {
        worker->told_ready = cn_channel_send(worker->guard, CN_MSG_READY, CN_BYTES_NONE, NULL, 0)
                             == CN_OK;
    }
}


static bool
listens_hbone(const worker_t *worker)
{
    for (size_t i = 0; i < worker->socket_count; i++) {
        if (worker->sockets[i].listener.kind == CN_LISTEN_HBONE) {
            return true;
        }
    }

    return false;
}


/*
 * The guard gives a serving worker its sockets back, so it must be able to serve all of them: one
 * that waits for its identity (the master is being replaced too) would leave its HBONE socket
 * unattended.
 */
static void
serve_when_ready(worker_t *worker)
{
    if (worker->env.slot->state == CN_WORKER_STARTING
        && cn_tables_generation(worker->env.tables) > 0
        && (worker->has_identity || !listens_hbone(worker)))
    {
        atomic_store(&worker->env.slot->state,
                     worker->draining ? CN_WORKER_DRAINING : CN_WORKER_SERVING);
        cn_log(CN_LOG_INFO, "worker", "serve: generation=%llu",
               (unsigned long long) cn_tables_generation(worker->env.tables));
    }

    attend(worker);
    tell_ready(worker);
}


static void
tell_adopted(worker_t *worker, uint64_t generation, bool refused)
{
    cn_msg_adopted_t  adopted = { .generation = generation, .refused = refused };

    if (worker->master != NULL
        && cn_channel_send(worker->master, CN_MSG_ADOPTED, cn_bytes(&adopted, sizeof(adopted)),
                           NULL, 0) != CN_OK)
    {
        cn_log(CN_LOG_WARN, "worker", "tell adoption: the master does not listen");
    }
}


static void
tell_memory(worker_t *worker)
{
    size_t  mapped, pinned;

    cn_tables_memory(worker->env.tables, &mapped, &pinned);
    atomic_store_explicit(&worker->env.slot->table_bytes, mapped, memory_order_relaxed);
    atomic_store_explicit(&worker->env.slot->pinned_bytes, pinned, memory_order_relaxed);
}


static void
adopt_step(cn_task_t *task)
{
    worker_t     *worker = CN_CONTAINER_OF(task, worker_t, adopt);
    const char   *what = "";
    uint64_t      generation;

    switch (cn_tables_adopt(worker->env.tables, ADOPT_BUDGET_US, &what)) {

    case CN_AGAIN:
        /* the rest in the next turn: the timer lets other events come between */
        worker->adopting = true;
        return;

    case CN_OK:
        break;

    case CN_ERR_NOT_FOUND:
        worker->adopting = false;
        return;

    default:
        worker->adopting = false;
        worker->offered = cn_tables_generation(worker->env.tables);
        cn_log(CN_LOG_ERROR, "worker", "refuse snapshot: reason=\"%s\"", what);
        tell_adopted(worker, 0, true);
        return;
    }

    worker->adopting = false;
    generation = cn_tables_generation(worker->env.tables);
    atomic_store(&worker->env.slot->generation, generation);
    tell_memory(worker);
    cn_upstream_tables_changed(worker->env.upstream);
    serve_when_ready(worker);
    tell_adopted(worker, generation, false);
}


static void
close_publication(cn_publication_t *publication)
{
    close(publication->directory);

    for (size_t i = 0; i < publication->segment_count; i++) {
        if (publication->segments[i] >= 0) {
            close(publication->segments[i]);
        }
    }
}


static void
take_publication(worker_t *worker, cn_publication_reader_t *reader, cn_channel_message_t *message)
{
    switch (cn_publication_read(reader, message)) {

    case CN_AGAIN:
        return;

    case CN_OK:
        break;

    default:
        cn_log(CN_LOG_ERROR, "worker", "refuse snapshot: reason=\"malformed message\"");
        return;
    }

    if (reader->publication.generation <= cn_tables_generation(worker->env.tables)) {
        close_publication(&reader->publication);
        tell_adopted(worker, cn_tables_generation(worker->env.tables), false);
        return;
    }

    if (reader->publication.generation <= worker->offered) {
        close_publication(&reader->publication);    /* the guard's copy: told once it is adopted */
        return;
    }

    if (cn_tables_offer(worker->env.tables, &reader->publication) != CN_OK) {
        cn_log(CN_LOG_ERROR, "worker", "refuse snapshot: generation=%llu reason=\"header\"",
               (unsigned long long) reader->publication.generation);
        tell_adopted(worker, 0, true);
        return;
    }

    worker->offered = reader->publication.generation;
    cn_loop_post(worker->env.loop, CN_PHASE_READY, &worker->adopt);
}


/* ---- identity -------------------------------------------------------------------------------- */

#define TRUST_DOMAINS_MAX  64

/* Cuts len octets off the front of rest. */
static bool
cut(cn_bytes_t *rest, size_t len, cn_bytes_t *out)
{
    if (rest->len < len) {
        return false;
    }

    *out = cn_bytes(rest->ptr, len);
    *rest = cn_bytes_from(*rest, len);

    return true;
}


static bool
read_identity(const cn_channel_message_t *message, cn_tls_identity_t *identity,
    cn_bytes_t trust_domains[TRUST_DOMAINS_MAX])
{
    cn_msg_identity_t  head;
    cn_bytes_t         rest = message->payload;
    cn_bytes_t         names, raw;

    if (!cut(&rest, sizeof(head), &raw)) {
        return false;
    }

    memcpy(&head, raw.ptr, sizeof(head));

    if (!cut(&rest, head.chain_len, &identity->chain_pem)
        || !cut(&rest, head.key_len, &identity->key_pem)
        || !cut(&rest, head.roots_len, &identity->roots_pem)
        || !cut(&rest, head.trust_domains_len, &names)
        || head.trust_domain_count > TRUST_DOMAINS_MAX)
    {
        return false;
    }

    for (uint32_t i = 0; i < head.trust_domain_count; i++) {
        if (!cn_bytes_split(names, '\0', &trust_domains[i], &names)) {
            return false;
        }
    }

    identity->trust_domains = trust_domains;
    identity->trust_domain_count = head.trust_domain_count;

    return true;
}


static void
take_identity(worker_t *worker, const cn_channel_message_t *message)
{
    cn_bytes_t         trust_domains[TRUST_DOMAINS_MAX];
    cn_tls_identity_t  identity = { .alpn = "h2", .require_peer = true };
    cn_tls_context_t  *context;
    const char        *error = "malformed message";

    if (!read_identity(message, &identity, trust_domains)) {
        cn_log(CN_LOG_ERROR, "worker", "refuse identity: reason=\"%s\"", error);
        return;
    }

    context = identity.trust_domain_count > 0 ? cn_tls_context_create(&identity, &error) : NULL;

    if (context == NULL && identity.trust_domain_count > 0) {
        cn_log(CN_LOG_ERROR, "worker", "refuse identity: reason=\"%s\"", error);
        return;
    }

    /* no domain: whoever comes is closed, as nobody can be trusted */
    cn_listeners_set_identity(worker->listeners, context);
    cn_upstream_set_identity(worker->env.upstream, context);
    cn_tls_context_unref(context);
    worker->has_identity = true;
    serve_when_ready(worker);
}


/* The sockets of that address take it for new handshakes. */
static void
set_certificate(worker_t *worker, const cn_address_t *address, cn_tls_context_t *context)
{
    for (size_t i = 0; i < worker->socket_count; i++) {
        socket_t  *item = &worker->sockets[i];

        if (item->listener.kind == CN_LISTEN_TLS && item->listener.address.port == address->port
            && memcmp(item->listener.address.ip, address->ip, sizeof(address->ip)) == 0)
        {
            cn_tls_context_unref(item->certificate);
            item->certificate = cn_tls_context_ref(context);
        }
    }
}


static void
take_certificate(worker_t *worker, const cn_channel_message_t *message)
{
    cn_tls_identity_t      identity = { .alpn = "h2,http/1.1", .outside = true };
    cn_tls_context_t      *context = NULL;
    cn_bytes_t             rest = message->payload;
    cn_bytes_t             raw;
    cn_msg_certificate_t   head;
    const char            *error = "malformed message";

    if (cut(&rest, sizeof(head), &raw)) {
        memcpy(&head, raw.ptr, sizeof(head));

        if (cut(&rest, head.chain_len, &identity.chain_pem)
            && cut(&rest, head.key_len, &identity.key_pem))
        {
            context = cn_tls_context_create(&identity, &error);
        }
    }

    if (context == NULL) {
        cn_log(CN_LOG_ERROR, "worker", "refuse certificate: reason=\"%s\"", error);
        return;
    }

    set_certificate(worker, &head.address, context);
    cn_tls_context_unref(context);
    attend(worker);
}


/* ---- messages -------------------------------------------------------------------------------- */

static void
master_message(void *owner, cn_channel_message_t *message)
{
    worker_t  *worker = owner;

    switch (message->type) {

    case CN_MSG_SEGMENT:
    case CN_MSG_PUBLISH:
        take_publication(worker, &worker->from_master, message);
        return;

    case CN_MSG_CERTIFICATE:
        take_certificate(worker, message);
        explicit_bzero((void *) (uintptr_t) message->payload.ptr, message->payload.len);
        return;

    case CN_MSG_IDENTITY:
        take_identity(worker, message);
        explicit_bzero((void *) (uintptr_t) message->payload.ptr, message->payload.len);
        return;
    }
}


static void
master_closed(void *owner)
{
    worker_t  *worker = owner;

    worker->master = NULL;      /* the guard brings the next one's channel */
}


static const cn_channel_events_t  master_events = { master_message, master_closed };


static void
take_master(worker_t *worker, cn_channel_message_t *message)
{
    int  fd = cn_message_take_fd(message);

    if (fd < 0) {
        return;
    }

    if (worker->master != NULL) {
        cn_channel_close(worker->master);
    }

    worker->master = cn_channel_open(worker->env.loop, fd, &master_events, worker);

    if (worker->master == NULL) {
        close(fd);
    }
}


static void
drain(worker_t *worker, const cn_channel_message_t *message)
{
    cn_msg_drain_t  order;

    if (!cn_message_read(message, &order, sizeof(order))) {
        return;
    }

    if (worker->env.slot->state != CN_WORKER_DRAINING) {
        cn_log(CN_LOG_INFO, "worker", "drain: connections=%u",
               cn_listeners_connections(worker->listeners));
    }

    worker->draining = true;
    cn_listeners_drain(worker->listeners, order.elapsed_ms, order.time_ms);

    if (order.final != 0) {
        cn_listeners_drain_final(worker->listeners);
    }

    if (worker->env.slot->state == CN_WORKER_SERVING) {
        atomic_store(&worker->env.slot->state, CN_WORKER_DRAINING);
    }
}


static void
guard_message(void *owner, cn_channel_message_t *message)
{
    worker_t         *worker = owner;
    cn_msg_attend_t   order;

    switch (message->type) {

    case CN_MSG_LISTENER:
        add_socket(worker, message);
        return;

    case CN_MSG_ATTEND:
        if (cn_message_read(message, &order, sizeof(order))) {
            worker->attends = order.mask;
            attend(worker);
        }
        return;

    case CN_MSG_SEGMENT:
    case CN_MSG_PUBLISH:
        take_publication(worker, &worker->from_guard, message);
        return;

    case CN_MSG_MASTER:
        take_master(worker, message);
        return;

    case CN_MSG_DRAIN:
        drain(worker, message);
        return;
    }
}


static void
guard_closed(void *owner)
{
    (void) owner;
    exit(0);                    /* the guard is gone: nobody would ever end this worker */
}


#ifdef __SANITIZE_ADDRESS__

/* A worker ends by the signal itself, but not before its leaks were looked for. */
static void
ended(void *owner, int number)
{
    (void) owner;
    (void) number;
    exit(0);
}


static bool
look_for_leaks(worker_t *worker)
{
    static const int  numbers[] = { SIGTERM, 0 };

    return cn_signals_open(worker->env.loop, numbers, ended, worker) != NULL;
}

#else

static bool
look_for_leaks(worker_t *worker)
{
    (void) worker;

    return true;
}

#endif


static const cn_channel_events_t  guard_events = { guard_message, guard_closed };


/* ---- start ----------------------------------------------------------------------------------- */

/*
 * A burst leaves the heap wider than what is held afterwards.  When no request is under way, the
 * unused part goes back to the system, once for each burst.
 */
static void
give_back_memory(worker_t *worker)
{
    uint64_t  requests = atomic_load_explicit(&worker->env.slot->requests, memory_order_relaxed);

    if (requests - worker->trimmed_at < TRIM_REQUESTS
        || atomic_load_explicit(&worker->env.slot->active, memory_order_relaxed) > 0)
    {
        return;
    }

    worker->trimmed_at = requests;
    malloc_trim(TRIM_KEEP);
}


static void
beat(cn_timer_t *timer)
{
    worker_t              *worker = CN_CONTAINER_OF(timer, worker_t, heartbeat);
    const cn_loop_stats_t *stats = cn_loop_stats(worker->env.loop);

    atomic_store_explicit(&worker->env.slot->longest_turn_us, stats->longest_turn_us,
                          memory_order_relaxed);
    atomic_store_explicit(&worker->env.slot->busy_us, stats->busy_us, memory_order_relaxed);
    tell_memory(worker);
    give_back_memory(worker);
    cn_block_trim();

    cn_timer_set(worker->env.loop, timer, HEARTBEAT_MS);
}


static void
before_wait(void *arg)
{
    worker_t  *worker = arg;

    atomic_store_explicit(&worker->env.slot->heartbeat_ms, cn_clock_ms(), memory_order_relaxed);

    if (worker->adopting) {
        cn_loop_post(worker->env.loop, CN_PHASE_READY, &worker->adopt);
    }
}


static void
log_to_ring(void *context, cn_bytes_t line)
{
    if (cn_ring_write(context, CN_RING_ERROR_LOG, line) != CN_OK) {
        return;                 /* full: the ring has counted it */
    }
}


static bool
open_slab(worker_t *worker, uint32_t index)
{
    const char  *error = "";

    worker->slab = cn_slab_map(CN_FD_SLAB, &error);

    if (worker->slab == NULL) {
        cn_log(CN_LOG_ALERT, "worker", "map slab: reason=\"%s\"", error);
        return false;
    }

    worker->env.slab = worker->slab;
    worker->env.worker = index;
    worker->env.slot = cn_slab_worker(worker->slab, index);
    worker->env.ring = cn_slab_ring(worker->slab, index);
    worker->env.series = cn_series_open(worker->slab, index);

    return worker->env.slot != NULL && worker->env.ring != NULL && worker->env.series != NULL;
}


static bool
open_rooms(worker_t *worker)
{
    cn_upstream_env_t  upstream;

    cn_table_set_module_verify(cn_module_verify_config);
    cn_table_set_modules_hash(cn_modules_hash());
    worker->env.loop = cn_loop_create();
    worker->env.tables = cn_tables_create(cn_table_verify);
    worker->listeners = cn_listeners_create(&worker->env);
    worker->sockets = cn_alloc_zero(SOCKETS_MAX * sizeof(socket_t));

    if (worker->env.loop == NULL || worker->env.tables == NULL || worker->listeners == NULL
        || worker->sockets == NULL)
    {
        return false;
    }

    upstream = (cn_upstream_env_t) {
        .loop = worker->env.loop,
        .tables = worker->env.tables,
        .slab = worker->slab,
        .worker = worker->env.worker,
        .account = &worker->env.account,
    };

    worker->env.upstream = cn_upstream_create(&upstream);
    worker->guard = cn_channel_open(worker->env.loop, CN_FD_GUARD, &guard_events, worker);
    worker->reserve_fd = dup(CN_FD_SLAB);

    return worker->env.upstream != NULL && worker->guard != NULL && look_for_leaks(worker);
}


int
cn_worker_main(uint32_t index, cn_log_level_t level)
{
    static worker_t  worker;            /* the process's one */
    char             who[32];

    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    snprintf(who, sizeof(who), "worker %u", index);
    prctl(PR_SET_NAME, who);
    cn_clock_update();
    cn_log_set_level(level);

    if (!open_slab(&worker, index) || !open_rooms(&worker)) {
        cn_log(CN_LOG_ALERT, "worker", "start: out of memory or descriptors");
        return 1;
    }

    cn_log_open(cn_pool_str(cn_pool_create(256, NULL), cn_bytes_str(who)), log_to_ring,
                worker.env.ring);
    worker.adopt.run = adopt_step;
    worker.heartbeat.run = beat;
    worker.accept_again.run = accept_again;
    atomic_store(&worker.env.slot->pid, (uint32_t) getpid());
    atomic_store(&worker.env.slot->state, CN_WORKER_STARTING);
    cn_timer_set(worker.env.loop, &worker.heartbeat, HEARTBEAT_MS);
    cn_loop_run(worker.env.loop, before_wait, &worker);

    return 0;
}
