/* SPDX-License-Identifier: Apache-2.0 */

/*
 * master - the control plane.  It holds nothing that a later one could not make again: killed at
 * any moment, workers go on with what they have, and the next master rebuilds, publishes under a
 * newer generation and takes over.
 *
 *   RELOAD --> loader --> publication --> guard (keeps it), workers (adopt it), own tables (admin,
 *   explain)
 */

#include "server/master.h"

#include "admin/admin.h"
#include "base/clock.h"
#include "event/changes.h"
#include "event/signal.h"
#include "filter/module.h"
#include "server/certificates.h"
#include "server/command.h"
#include "server/discovery.h"
#include "server/loader.h"
#include "server/log_files.h"
#include "server/message.h"
#include "server/own_identity.h"
#include "server/worker.h"
#include "table/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SOCKETS_MAX       16
/* a reload is called done without the workers that have not adopted by then */
#define ADOPTION_MS       5000
#define START_GRACE_MS    3000                      /* how long readiness waits for all workers */
#define HOUSEKEEPING_MS   1000

typedef struct master_s master_t;

typedef struct {
    master_t      *master;
    cn_channel_t  *channel;
    uint64_t       known[CN_SEGMENTS_MAX];          /* segments it was sent last */
    size_t         known_count;
    uint64_t       adopted;                         /* generation */
    uint64_t       refused;                         /* generation that it could not adopt */
} peer_t;

typedef struct {
    cn_watch_t        watch;
    master_t         *master;
    cn_listen_kind_t  kind;
} socket_t;

struct master_s {
    const cn_bootstrap_t  *bootstrap;
    uint32_t               first_slot;              /* of its workers, in the slab */
    cn_hold_t              hold;                    /* an upgrade is under way, or over */
    bool                   reload_wanted;           /* when it is held no longer */
    cn_loop_t             *loop;
    cn_signals_t          *signals;
    cn_slab_t             *slab;
    cn_log_files_t        *logs;
    cn_channel_t          *guard;
    pid_t                  guard_pid;
    peer_t                 workers[CN_WORKERS_MAX];
    peer_t                 keeper;                  /* the guard, as a receiver of snapshots */
    socket_t               sockets[SOCKETS_MAX];
    size_t                 socket_count;
    cn_dns_t              *dns;                     /* NULL: nothing is looked up */
    cn_discovery_t        *discovery;               /* NULL: files are the source */
    cn_loader_t           *loader;
    cn_changes_t          *changes;
    cn_tables_t           *tables;
    cn_task_t              adopt;
    cn_timer_t             adoption;
    cn_timer_t             housekeeping;
    cn_own_identity_t     *identity;
    cn_certificates_t     *certificates;
    bool                   draining;
    uint64_t               accepting_since;         /* the first worker; monotonic, 0: none yet */
    bool                   was_ready;
    /* "reload done" of the last publication was logged */
    bool                   reload_told;
    uint64_t               reload_ms;
    cn_admin_t            *admin;
    cn_admin_view_t        view;
};


/* ---- snapshots ------------------------------------------------------------------------------- */

static void
send_publication(peer_t *peer, cn_channel_t *channel, const cn_publication_t *publication)
{
    if (channel == NULL) {
        return;
    }

    if (cn_message_send_publication(channel, publication, peer->known,
                                    peer->known_count) != CN_OK) {
        cn_log(CN_LOG_ERROR, "master", "send snapshot: generation=%llu",
               (unsigned long long) publication->generation);
        return;
    }

    memcpy(peer->known, publication->segment_ids,
           publication->segment_count * sizeof(peer->known[0]));
    peer->known_count = publication->segment_count;
}


/* Its own copy of the tables, for explain and the admin pages. */
static void
adopt_own(master_t *master, const cn_publication_t *publication)
{
    cn_publication_t  copy = *publication;

    copy.directory = fcntl(publication->directory, F_DUPFD_CLOEXEC, 10);

    for (size_t i = 0; i < copy.segment_count; i++) {
        copy.segments[i] = fcntl(publication->segments[i], F_DUPFD_CLOEXEC, 10);
    }

    if (cn_tables_offer(master->tables, &copy) != CN_OK) {
        cn_log(CN_LOG_ALERT, "master", "adopt own snapshot: the header is refused");
        return;
    }

    cn_loop_post(master->loop, CN_PHASE_READY, &master->adopt);
}


static void
adopt_step(cn_task_t *task)
{
    master_t    *master = CN_CONTAINER_OF(task, master_t, adopt);
    const char  *what = "";

    switch (cn_tables_adopt(master->tables, 5000, &what)) {

    case CN_AGAIN:
        cn_loop_post(master->loop, CN_PHASE_READY, task);
        return;

    case CN_OK:
    case CN_ERR_NOT_FOUND:
        return;

    default:
        cn_log(CN_LOG_ALERT, "master", "adopt own snapshot: reason=\"%s\"", what);
    }
}


static void
tell_reload(master_t *master, const char *outcome, uint64_t generation, const char *failure)
{
    cn_log_write_each(CN_LOG_INFO, "master", "reload %s: generation=%llu ms=%llu", outcome,
                      (unsigned long long) generation,
                      (unsigned long long) (cn_clock_ms() - master->reload_ms));
    master->reload_told = true;
    cn_timer_cancel(&master->adoption);

    if (master->discovery != NULL) {
        cn_discovery_settled(master->discovery, failure);
    }
}


static bool
all_adopted(const master_t *master, uint64_t generation)
{
    for (uint32_t i = 0; i < master->bootstrap->workers; i++) {
        const peer_t  *peer = &master->workers[i];

        if (peer->channel != NULL && peer->adopted < generation) {
            return false;
        }
    }

    return true;
}


static void
published(void *owner, const cn_publication_t *publication)
{
    master_t  *master = owner;

    send_publication(&master->keeper, master->guard, publication);

    for (uint32_t i = 0; i < master->bootstrap->workers; i++) {
        send_publication(&master->workers[i], master->workers[i].channel, publication);
    }

    if (cn_channel_send(master->guard, CN_MSG_READY, CN_BYTES_NONE, NULL, 0) != CN_OK) {
        cn_log(CN_LOG_ERROR, "master", "tell readiness: the guard does not listen");
    }

    cn_own_identity_follow(master->identity);
    adopt_own(master, publication);
    master->reload_told = false;
    cn_timer_set(master->loop, &master->adoption, ADOPTION_MS);
}


static void
unchanged(void *owner)
{
    master_t  *master = owner;

    cn_own_identity_follow(master->identity);
    tell_reload(master, "unchanged", atomic_load(cn_slab_generation(master->slab)), NULL);
}


/*
 * A master that has published nothing tells the guard, which knows what an earlier one has.  istiod
 * may still come to say what can be used.
 */
static void
load_failed(void *owner, const char *why)
{
    master_t  *master = owner;

    if (cn_loader_publication(master->loader) == NULL && master->discovery == NULL
        && cn_channel_send(master->guard, CN_MSG_FAILED, CN_BYTES_NONE, NULL, 0) != CN_OK)
    {
        cn_log(CN_LOG_ERROR, "master", "tell failure: the guard does not listen");
    }

    tell_reload(master, "failed", atomic_load(cn_slab_generation(master->slab)), why);
}


static void
source_read(void *owner)
{
    master_t  *master = owner;

    if (master->discovery != NULL) {
        cn_discovery_read(master->discovery);
    }
}


static bool
may_publish(void *owner)
{
    const master_t  *master = owner;

    return master->discovery == NULL || cn_discovery_is_complete(master->discovery);
}


static const cn_loader_events_t  loader_events = {
    .on_published = published,
    .on_unchanged = unchanged,
    .on_failed = load_failed,
    .on_read = source_read,
    .may_publish = may_publish,
};


static void
adoption_late(cn_timer_t *timer)
{
    master_t  *master = CN_CONTAINER_OF(timer, master_t, adoption);

    for (uint32_t i = 0; i < master->bootstrap->workers; i++) {
        const peer_t  *peer = &master->workers[i];

        if (peer->channel != NULL
            && peer->adopted < atomic_load(cn_slab_generation(master->slab)))
        {
            cn_log(CN_LOG_ERROR, "master", "wait for adoption: worker=%u adopted=%llu", i,
                   (unsigned long long) peer->adopted);
        }
    }

    tell_reload(master, "done", atomic_load(cn_slab_generation(master->slab)), NULL);
}


/* ---- identity -------------------------------------------------------------------------------- */

static void
identity_changed(void *owner)
{
    master_t  *master = owner;

    for (uint32_t i = 0; i < master->bootstrap->workers; i++) {
        cn_own_identity_send(master->identity, master->workers[i].channel);
    }
}


static const cn_model_t *
current_model(void *owner)
{
    return cn_loader_model(((master_t *) owner)->loader);
}


static const cn_own_identity_events_t  identity_events = { identity_changed, current_model };


/* Those of TLS listeners; a file that cannot be read leaves its listener what it had. */
static void
refresh_certificates(master_t *master)
{
    bool  changed = false;

    (void) cn_certificates_read(master->certificates, NULL, &changed);

    for (uint32_t i = 0; changed && i < master->bootstrap->workers; i++) {
        cn_certificates_send(master->certificates, master->workers[i].channel);
    }
}


/* ---- workers and guard ----------------------------------------------------------------------- */

static void
worker_message(void *owner, cn_channel_message_t *message)
{
    peer_t            *peer = owner;
    master_t          *master = peer->master;
    cn_msg_adopted_t   adopted;
    uint64_t           generation = atomic_load(cn_slab_generation(master->slab));

    if (message->type != CN_MSG_ADOPTED || !cn_message_read(message, &adopted, sizeof(adopted))) {
        return;
    }

    if (adopted.refused) {
        cn_log(CN_LOG_ALERT, "master", "adoption refused: worker=%td generation=%llu",
               peer - master->workers, (unsigned long long) generation);
        return;
    }

    peer->adopted = adopted.generation;

    if (!master->reload_told && all_adopted(master, generation)) {
        tell_reload(master, "done", generation, NULL);
    }
}


static void
worker_closed(void *owner)
{
    peer_t  *peer = owner;

    peer->channel = NULL;
    peer->known_count = 0;
    peer->adopted = 0;
}


static const cn_channel_events_t  worker_events = { worker_message, worker_closed };


static void
take_worker(master_t *master, cn_channel_message_t *message)
{
    const cn_publication_t  *publication = cn_loader_publication(master->loader);
    cn_msg_worker_t          name;
    peer_t                  *peer;
    int                      fd;

    if (!cn_message_read(message, &name, sizeof(name))
        || name.worker >= master->bootstrap->workers)
    {
        return;
    }

    fd = cn_message_take_fd(message);
    peer = &master->workers[name.worker];

    if (peer->channel != NULL) {
        cn_channel_close(peer->channel);
    }

    *peer = (peer_t) { .master = master };
    peer->channel = fd < 0 ? NULL : cn_channel_open(master->loop, fd, &worker_events, peer);

    if (peer->channel == NULL) {
        if (fd >= 0) {
            close(fd);
        }

        return;
    }

    cn_own_identity_send(master->identity, peer->channel);
    cn_certificates_send(master->certificates, peer->channel);

    if (publication != NULL) {
        send_publication(peer, peer->channel, publication);
    }
}


static void
admin_ready(cn_watch_t *watch, unsigned events)
{
    socket_t      *item = CN_CONTAINER_OF(watch, socket_t, watch);
    cn_address_t   peer;
    int            fd;

    (void) events;

    while (cn_socket_accept(watch->fd, &fd, &peer) == CN_OK) {
        cn_admin_accept(item->master->admin, fd, &peer,
                        item->kind == CN_LISTEN_ADMIN ? CN_ADMIN_FULL
                        : item->kind == CN_LISTEN_STATUS ? CN_ADMIN_STATUS : CN_ADMIN_METRICS);
    }
}


static void
take_listener(master_t *master, cn_channel_message_t *message)
{
    cn_msg_listener_t   listener;
    socket_t           *item = &master->sockets[master->socket_count];
    int                 fd;

    if (!cn_message_read(message, &listener, sizeof(listener))
        || master->socket_count == SOCKETS_MAX)
    {
        return;
    }

    fd = cn_message_take_fd(message);

    if (fd < 0) {
        return;
    }

    *item = (socket_t) {
        .watch = { .fd = fd, .ready = admin_ready },
        .master = master,
        .kind = listener.kind,
    };
    master->socket_count++;

    if (cn_watch_set(master->loop, &item->watch, CN_READABLE) != CN_OK) {
        cn_log(CN_LOG_ERROR, "master", "attend socket: errno=%d", errno);
    }
}


static void
load(master_t *master)
{
    master->reload_ms = cn_clock_ms();
    cn_loader_start(master->loader);
}


static void
reload(master_t *master)
{
    if (master->hold != CN_HOLD_NO) {
        master->reload_wanted = true;
        return;
    }

    load(master);
    cn_own_identity_reload(master->identity);
    refresh_certificates(master);
}


static void
source_changed(void *owner)
{
    master_t  *master = owner;

    if (master->hold != CN_HOLD_NO) {
        master->reload_wanted = true;
        return;
    }

    cn_log(CN_LOG_INFO, "master", "reload: changed=%s", master->bootstrap->source_files);
    load(master);
}


/* istiod has said something new. */
static void
state_changed(void *owner)
{
    master_t  *master = owner;

    if (master->hold != CN_HOLD_NO) {
        master->reload_wanted = true;
        return;
    }

    load(master);
}


static const cn_discovery_events_t  discovery_events = { state_changed };


/* Without the watch a reload still comes by HUP. */
static void
watch_source(master_t *master)
{
    const cn_bootstrap_t  *bootstrap = master->bootstrap;

    if (!bootstrap->source_watch || bootstrap->source_files == NULL) {
        return;
    }

    master->changes = cn_changes_open(master->loop, bootstrap->source_files, cn_istio_is_watched,
                                      source_changed, master);

    if (master->changes == NULL) {
        cn_log(CN_LOG_WARN, "master", "watch source: path=%s reason=\"%s\"",
               bootstrap->source_files, strerror(errno));
    }
}


/*
 * While a newer master starts, and when it has taken over, this one changes nothing that both would
 * share.
 */
static void
hold(master_t *master, const cn_channel_message_t *message)
{
    cn_msg_hold_t  order;

    if (!cn_message_read(message, &order, sizeof(order))) {
        return;
    }

    master->hold = (cn_hold_t) order.hold;

    if (master->hold == CN_HOLD_RETIRED) {
        cn_own_identity_stop(master->identity);

        if (master->discovery != NULL) {
            cn_discovery_stop(master->discovery);
        }

        for (size_t i = 0; i < master->socket_count; i++) {
            cn_watch_remove(master->loop, &master->sockets[i].watch);
            close(master->sockets[i].watch.fd);
        }

        master->socket_count = 0;

    } else if (master->hold == CN_HOLD_NO && master->reload_wanted) {
        master->reload_wanted = false;
        reload(master);
    }
}


static void
guard_message(void *owner, cn_channel_message_t *message)
{
    master_t  *master = owner;

    switch (message->type) {

    case CN_MSG_LISTENER:
        take_listener(master, message);
        return;

    case CN_MSG_WORKER:
        take_worker(master, message);
        return;

    case CN_MSG_RELOAD:
        reload(master);
        return;

    case CN_MSG_REOPEN:
        cn_log_files_reopen(master->logs);
        return;

    case CN_MSG_DRAIN:
        master->draining = true;
        return;

    case CN_MSG_HOLD:
        hold(master, message);
        return;
    }
}


static void
guard_closed(void *owner)
{
    cn_loop_stop(((master_t *) owner)->loop);
}


static const cn_channel_events_t  guard_events = { guard_message, guard_closed };


static void
on_signal(void *owner, int number)
{
    if (number == SIGTERM) {
        cn_loop_stop(((master_t *) owner)->loop);
    }
}


/* ---- what the admin side sees ---------------------------------------------------------------- */

/* How many workers accept on a socket. */
static uint32_t
count_accepting(const master_t *master)
{
    uint32_t  count = 0;

    for (uint32_t i = 0; i < master->bootstrap->workers; i++) {
        const cn_slab_worker_t  *slot = cn_slab_worker(master->slab, master->first_slot + i);

        count += slot->state == CN_WORKER_SERVING && slot->attends != 0;
    }

    return count;
}


/*
 * One worker is enough, but at the start it waits for all: those who come at once would stay with
 * the first for as long as their connections live.
 */
static bool
is_ready(void *owner)
{
    master_t  *master = owner;
    uint32_t   accepting = master->draining ? 0 : count_accepting(master);
    uint64_t   now = cn_clock_ms();

    if (accepting == 0) {
        return false;
    }

    if (master->accepting_since == 0) {
        master->accepting_since = now;
    }

    master->was_ready |= accepting == master->bootstrap->workers
        || now - master->accepting_since >= START_GRACE_MS;

    return master->was_ready;
}


static const cn_report_t *
current_report(void *owner)
{
    return cn_loader_report(((master_t *) owner)->loader);
}


static bool
current_identity(void *owner, cn_admin_identity_t *identity)
{
    return cn_own_identity_view(((master_t *) owner)->identity, identity);
}


static void
run_command(void *owner, cn_admin_command_t command)
{
    cn_command_run(((master_t *) owner)->guard_pid, command);
}


/* ---- start ----------------------------------------------------------------------------------- */

static void
housekeep(cn_timer_t *timer)
{
    master_t  *master = CN_CONTAINER_OF(timer, master_t, housekeeping);

    if (master->hold == CN_HOLD_NO) {
        cn_slab_cells_reclaim(master->slab);
    }

    cn_timer_set(master->loop, timer, HOUSEKEEPING_MS);
}


/* What is needed where istiod is the source or the CA.  False: memory. */
static bool
open_control(master_t *master)
{
    const cn_bootstrap_t  *bootstrap = master->bootstrap;
    bool                   source = bootstrap->istiod.server.address != NULL;

    if (source || bootstrap->identity == CN_IDENTITY_ISTIO_CA) {
        master->dns = cn_dns_create(master->loop, &cn_dns_defaults);

        if (master->dns == NULL) {
            cn_log(CN_LOG_ERROR, "master", "start DNS: out of memory, or a broken resolv.conf");
            return false;
        }
    }

    if (source) {
        master->discovery = cn_discovery_create(master->loop, master->dns, bootstrap,
                                                &discovery_events, master);
    }

    return !source || master->discovery != NULL;
}


static bool
open_master(master_t *master, uint32_t number)
{
    static const int  numbers[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, 0 };
    const char       *error = "";

    master->slab = cn_slab_map(CN_FD_SLAB, &error);

    if (master->slab == NULL) {
        cn_log(CN_LOG_ALERT, "master", "map slab: reason=\"%s\"", error);
        return false;
    }

    master->logs = cn_log_files_start(master->bootstrap, master->slab, master->first_slot);

    if (master->logs == NULL) {
        return false;
    }

    cn_log_open("master", cn_log_file_sink,
                (void *) (intptr_t) cn_log_files_error_fd(master->logs));
    cn_log_set_level(master->bootstrap->log_level);
    cn_table_set_module_verify(cn_module_verify_config);
    cn_table_set_modules_hash(cn_modules_hash());
    master->loop = cn_loop_create();

    if (master->loop == NULL) {
        return false;
    }

    master->signals = cn_signals_open(master->loop, numbers, on_signal, master);
    master->tables = cn_tables_create(cn_table_verify);

    if (!open_control(master)) {
        return false;
    }

    master->loader = cn_loader_create(master->loop, master->bootstrap, master->slab,
                                      master->discovery == NULL ? NULL
                                      : cn_discovery_state(master->discovery),
                                      &loader_events, master);
    master->view = (cn_admin_view_t) {
        .owner = master,
        .slab = master->slab,
        .tables = master->tables,
        .bootstrap_prefix = master->bootstrap->prefix,
        .upgrades = number - 1,
        .first_slot = master->first_slot,
        .workers = master->bootstrap->workers,
        .loop = cn_loop_stats(master->loop),
        .ready = is_ready,
        .model = current_model,
        .report = current_report,
        .identity = current_identity,
        .command = run_command,
    };
    master->admin = cn_admin_create(master->loop, &master->view);

    return master->signals != NULL && master->tables != NULL && master->loader != NULL
           && master->admin != NULL;
}


int
cn_master_main(const cn_bootstrap_t *bootstrap, uint32_t first_slot, uint32_t number)
{
    static master_t  master;            /* the process's one */

    prctl(PR_SET_NAME, "master");
    cn_clock_update();
    master.bootstrap = bootstrap;
    master.guard_pid = getppid();
    master.first_slot = first_slot;
    master.adopt.run = adopt_step;
    master.adoption.run = adoption_late;
    master.housekeeping.run = housekeep;

    if (!open_master(&master, number)) {
        return 1;
    }

    master.certificates = cn_certificates_create(bootstrap);
    master.identity = cn_own_identity_create(master.loop, master.dns, bootstrap, &identity_events,
                                             &master);

    if (master.certificates == NULL || master.identity == NULL) {
        return 1;
    }

    master.guard = cn_channel_open(master.loop, CN_FD_GUARD, &guard_events, &master);

    if (master.guard == NULL) {
        return 1;
    }

    watch_source(&master);              /* before the reading: nothing is missed between */

    if (master.discovery != NULL) {
        cn_discovery_start(master.discovery);
    } else {
        load(&master);
    }

    cn_own_identity_start(master.identity);
    refresh_certificates(&master);
    cn_timer_set(master.loop, &master.housekeeping, HOUSEKEEPING_MS);
    cn_loop_run(master.loop, NULL, NULL);
    cn_own_identity_destroy(master.identity);
    cn_discovery_destroy(master.discovery);
    cn_dns_destroy(master.dns);
    cn_certificates_destroy(master.certificates);
    cn_log_files_stop(master.logs);

    return 0;
}
