/* SPDX-License-Identifier: Apache-2.0 */

/*
 * guard_sockets - the listening sockets, and who attends them.
 *
 * Each worker attends its own sockets.  Those of a dead or overloaded worker are attended by the
 * one with the least connections, so that a socket always has somebody who accepts.
 */

#include "server/guard_internal.h"

#include <errno.h>

#define BACKLOG  4096


static bool
open_listener(cn_guard_t *guard, cn_listen_kind_t kind, uint32_t worker,
    const cn_address_t *address, bool shared)
{
    cn_listener_t  *item = &guard->listeners[guard->listener_count];
    char            text[CN_ADDRESS_TEXT_MAX];

    if (guard->listener_count == CN_GUARD_LISTENERS_MAX) {
        cn_log(CN_LOG_ERROR, "guard", "listen: more than %d sockets", CN_GUARD_LISTENERS_MAX);
        return false;
    }

    if (cn_socket_listen(address, shared, BACKLOG, &item->fd) != CN_OK) {
        cn_address_print(address, text);
        cn_log(CN_LOG_ERROR, "guard", "listen: address=%s reason=\"%s\"", text, strerror(errno));
        return false;
    }

    item->listener = (cn_msg_listener_t) { .kind = kind, .worker = worker, .address = *address };
    guard->listener_count++;

    return true;
}


/* Port 0 is chosen by the kernel for the first worker; the others share what it got. */
static bool
open_for_workers(cn_guard_t *guard, cn_listen_kind_t kind, const cn_address_t *address)
{
    cn_address_t  bound = *address;

    for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
        if (!open_listener(guard, kind, i, &bound, true)) {
            return false;
        }

        if (bound.port == 0
            && cn_socket_local(guard->listeners[guard->listener_count - 1].fd, &bound) != CN_OK)
        {
            return false;
        }
    }

    return true;
}


static bool
open_for_master(cn_guard_t *guard, cn_listen_kind_t kind, const cn_array_t *addresses)
{
    CN_ARRAY_EACH(addresses, const cn_address_t, address) {
        if (!open_listener(guard, kind, 0, address, false)) {
            return false;
        }
    }

    return true;
}


bool
cn_guard_open_listeners(cn_guard_t *guard)
{
    const cn_bootstrap_t  *bootstrap = guard->bootstrap;

    CN_ARRAY_EACH(&bootstrap->hbone, const cn_address_t, address) {
        if (!open_for_workers(guard, CN_LISTEN_HBONE, address)) {
            return false;
        }
    }

    CN_ARRAY_EACH(&bootstrap->plaintext, const cn_plain_listener_t, plain) {
        cn_listen_kind_t  kind = plain->certificate != NULL ? CN_LISTEN_TLS : CN_LISTEN_PLAIN;

        if (!open_for_workers(guard, kind, &plain->address)) {
            return false;
        }
    }

    return open_for_master(guard, CN_LISTEN_ADMIN, &bootstrap->admin)
           && open_for_master(guard, CN_LISTEN_STATUS, &bootstrap->status)
           && open_for_master(guard, CN_LISTEN_METRICS, &bootstrap->metrics);
}


/*
 * Nobody is told of a connection that waits on a socket whose worker is gone: each has somebody at
 * any time.
 */
static bool
is_serving(const cn_child_t *child)
{
    uint32_t  state = cn_guard_slot(child)->state;

    return child->pid != 0 && child->channel != NULL
           && (state == CN_WORKER_SERVING || state == CN_WORKER_DRAINING);
}


static uint32_t
least_loaded(const cn_set_t *set, const uint64_t *loads)
{
    uint32_t  best = UINT32_MAX;

    for (uint32_t i = 0; i < set->guard->bootstrap->workers; i++) {
        if (is_serving(&set->workers[i]) && (best == UINT32_MAX || loads[i] < loads[best])) {
            best = i;
        }
    }

    return best;
}


static void
tell_attend(cn_child_t *child, uint64_t mask)
{
    cn_msg_attend_t  order = { mask };

    if (child->channel == NULL || child->mask == mask) {
        return;
    }

    if (cn_channel_send(child->channel, CN_MSG_ATTEND, cn_bytes(&order, sizeof(order)), NULL, 0)
        == CN_OK)
    {
        child->mask = mask;
    }
}


/*
 * Who attends what.  A worker well above its share of connections hands its own sockets to the
 * least loaded one, until the shares are even again.
 */
void
cn_guard_assign_sockets(cn_guard_t *guard)
{
    cn_set_t  *set = guard->current;
    uint32_t   count = guard->bootstrap->workers;
    uint64_t   masks[CN_WORKERS_MAX] = { 0 };
    uint64_t   loads[CN_WORKERS_MAX];
    uint64_t   sum = 0;
    uint32_t   serving = 0;

    for (uint32_t i = 0; i < count; i++) {
        bool  serves = is_serving(&set->workers[i]);

        loads[i] = serves ? cn_guard_slot(&set->workers[i])->connections : 0;
        sum += loads[i];
        serving += serves;
    }

    for (uint32_t i = 0; i < count; i++) {
        uint32_t  other = least_loaded(set, loads);
        uint64_t  share = serving > 0 ? sum / serving : 0;

        if (other == UINT32_MAX
            || (is_serving(&set->workers[i]) && loads[i] <= share + share / 4 + 1))
        {
            masks[i] |= 1ull << i;
            continue;
        }

        masks[other] |= 1ull << i;
    }

    for (uint32_t i = 0; i < count; i++) {
        tell_attend(&set->workers[i], masks[i]);
    }
}
