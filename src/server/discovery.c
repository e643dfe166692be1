/* SPDX-License-Identifier: Apache-2.0 */

/*
 * discovery - see discovery.h.
 *
 *   idle --start--> open --ended--> waiting (jittered, longer each time) --> open
 *
 * A response that comes while the state is read waits in a queue; istiod sends no second one of a
 * type before the first is answered, so that the queue is as short as there are types.
 */

#include "server/discovery.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/version.h"
#include "server/plane.h"
#include "source/xds/ads.h"

#define SETTLE_MS       10              /* a push of several types is built once, .. */
#define SETTLE_MAX_MS   100             /* .. but not put off for longer */
#define WORKLOADS_MS    2000            /* so long the first configuration waits for workloads */
#define RETRY_MIN_MS    500
#define RETRY_MAX_MS    30000
#define QUEUE_MAX       64              /* responses */
#define QUEUE_OCTETS    ((size_t) 128 * 1024 * 1024)

/* A response that waits for the end of a reading. */
typedef struct {
    cn_list_t  link;
    size_t     len;
    uint8_t    octets[];
} waiting_t;

struct cn_discovery_s {
    cn_loop_t                    *loop;
    const cn_bootstrap_t         *bootstrap;
    const cn_discovery_events_t  *events;
    void                         *owner;
    cn_xds_state_t               *state;
    cn_ads_t                     *ads;
    cn_plane_t                   *plane;
    cn_grpc_call_t               *call;         /* the stream; NULL: none */
    cn_timer_t                    retry;
    cn_backoff_t                  backoff;
    cn_timer_t                    settle;
    uint64_t                      changed_ms;   /* the first change that is not built; 0: none */
    uint64_t                      ready_ms;     /* since when all but workloads is there; 0: not */
    bool                          complete;     /* was asked to be built since it is */
    cn_list_t                     queue;        /* waiting_t */
    size_t                        queue_len;
    size_t                        queue_octets;
};


/* ---- the stream ---- */

static void
clear_queue(cn_discovery_t *discovery)
{
    while (!cn_list_empty(&discovery->queue)) {
        waiting_t  *waiting = CN_LIST_ITEM(discovery->queue.next, waiting_t, link);

        cn_list_remove(&waiting->link);
        cn_free(waiting);
    }

    discovery->queue_len = 0;
    discovery->queue_octets = 0;
}


static void
retry_later(cn_discovery_t *discovery)
{
    clear_queue(discovery);
    cn_timer_set(discovery->loop, &discovery->retry, cn_backoff_next(&discovery->backoff));
}


/* Ours is the fault, or istiod speaks what we do not: a new stream begins it all again. */
static void
break_off(cn_discovery_t *discovery, const char *why)
{
    cn_log(CN_LOG_ERROR, "xds", "end stream: reason=\"%s\"", why);
    cn_grpc_call_cancel(discovery->call);
    discovery->call = NULL;
    retry_later(discovery);
}


static bool
enqueue(cn_discovery_t *discovery, cn_bytes_t message)
{
    waiting_t  *waiting;

    if (discovery->queue_len == QUEUE_MAX || message.len > QUEUE_OCTETS - discovery->queue_octets) {
        return false;
    }

    waiting = cn_alloc(sizeof(waiting_t) + message.len);

    if (waiting == NULL) {
        return false;
    }

    *waiting = (waiting_t) { .len = message.len };
    memcpy(waiting->octets, message.ptr, message.len);
    cn_list_append(&discovery->queue, &waiting->link);
    discovery->queue_len++;
    discovery->queue_octets += message.len;

    return true;
}


/* False: the stream was broken off. */
static bool
receive(cn_discovery_t *discovery, cn_bytes_t message)
{
    cn_status_t  status = cn_ads_receive(discovery->ads, message);

    if (status == CN_OK || status == CN_AGAIN) {
        /* not before: what ends a stream, for its size or what is in it, may end each of them */
        if (cn_ads_has_all(discovery->ads)) {
            cn_backoff_reset(&discovery->backoff);
        }

        return true;
    }

    break_off(discovery, status == CN_ERR_SYNTAX ? "what came is no discovery response"
              : status == CN_ERR_LIMIT ? "a response is too large" : "out of memory");

    return false;
}


static void
stream_message(void *owner, cn_bytes_t message)
{
    cn_discovery_t  *discovery = owner;

    if (discovery->queue_len == 0 && !cn_xds_is_building(discovery->state)) {
        (void) receive(discovery, message);

    } else if (!enqueue(discovery, message)) {
        break_off(discovery, "more came than can wait");
    }
}


static void
stream_status(void *owner, cn_grpc_status_t status, cn_bytes_t message)
{
    cn_discovery_t  *discovery = owner;
    char             text[256];

    cn_log(CN_LOG_WARN, "xds", "stream ended: status=%d message=\"%s\"", (int) status,
           cn_bytes_escape(message, text, sizeof(text)));
    discovery->call = NULL;
    retry_later(discovery);
}


static const cn_grpc_call_events_t  stream_events = {
    .on_message = stream_message,
    .on_status = stream_status,
};


static void
open_stream(cn_timer_t *timer)
{
    cn_discovery_t  *discovery = CN_CONTAINER_OF(timer, cn_discovery_t, retry);
    const char      *path = discovery->bootstrap->istiod.delta ? CN_ADS_DELTA_PATH
        : CN_ADS_FULL_PATH;

    discovery->call = cn_plane_call(discovery->plane, path, &stream_events, discovery);

    if (discovery->call == NULL) {
        retry_later(discovery);

    } else if (cn_ads_open(discovery->ads) != CN_OK) {
        break_off(discovery, "out of memory");
    }
}


static void
send_message(void *owner, cn_bytes_t message)
{
    cn_discovery_t  *discovery = owner;

    if (discovery->call != NULL && cn_grpc_call_send(discovery->call, message) != CN_OK) {
        cn_log(CN_LOG_ERROR, "xds", "send request: out of memory");
    }
}


/* ---- building ---- */

/*
 * Workloads say who the peers are.  A control plane that has none of them is none to wait for:
 * after a while endpoints are known by their trust domain alone.
 */
static uint64_t
wait_for_workloads(const cn_discovery_t *discovery)
{
    uint64_t  waited_ms = cn_clock_ms() - discovery->ready_ms;

    return cn_ads_has_answered(discovery->ads, CN_XDS_WORKLOADS) || waited_ms >= WORKLOADS_MS ? 0
        : WORKLOADS_MS - waited_ms;
}


static void
build(cn_timer_t *timer)
{
    cn_discovery_t  *discovery = CN_CONTAINER_OF(timer, cn_discovery_t, settle);

    discovery->changed_ms = 0;
    discovery->complete |= discovery->ready_ms != 0 && wait_for_workloads(discovery) == 0;
    discovery->events->on_changed(discovery->owner);
}


static void
changed(void *owner, cn_xds_type_t type)
{
    cn_discovery_t  *discovery = owner;
    uint64_t         now_ms = cn_clock_ms();

    (void) type;

    if (discovery->changed_ms == 0) {
        discovery->changed_ms = now_ms;
    }

    cn_timer_set(discovery->loop, &discovery->settle,
                 now_ms - discovery->changed_ms >= SETTLE_MAX_MS ? 0 : SETTLE_MS);
}


void
cn_discovery_read(cn_discovery_t *discovery)
{
    while (!cn_list_empty(&discovery->queue) && !cn_xds_is_building(discovery->state)) {
        waiting_t  *waiting = CN_LIST_ITEM(discovery->queue.next, waiting_t, link);
        bool        going;

        cn_list_remove(&waiting->link);
        discovery->queue_len--;
        discovery->queue_octets -= waiting->len;
        going = receive(discovery, cn_bytes(waiting->octets, waiting->len));
        cn_free(waiting);

        if (!going) {
            return;
        }
    }
}


void
cn_discovery_settled(cn_discovery_t *discovery, const char *failure)
{
    cn_status_t  status = cn_ads_answer(discovery->ads, failure);

    if (status == CN_ERR_MEMORY && discovery->call != NULL) {
        break_off(discovery, "out of memory");
    }

    if (discovery->complete || !cn_ads_is_ready(discovery->ads)) {
        return;
    }

    /* with the last answer it is complete, or soon, and has not been published as that */
    if (discovery->ready_ms == 0) {
        discovery->ready_ms = cn_clock_ms();
    }

    cn_timer_set(discovery->loop, &discovery->settle, wait_for_workloads(discovery));
}


bool
cn_discovery_is_complete(const cn_discovery_t *discovery)
{
    return discovery->complete;
}


cn_xds_state_t *
cn_discovery_state(cn_discovery_t *discovery)
{
    return discovery->state;
}


/* ---- start ---- */

static cn_ads_t *
create_ads(cn_discovery_t *discovery)
{
    json_t          *node = json_loads(discovery->bootstrap->istiod.node, JSON_REJECT_DUPLICATES,
                                       NULL);
    const char      *id = json_string_value(json_object_get(node, "id"));
    const char      *cluster = json_string_value(json_object_get(node, "cluster"));
    cn_ads_config_t  config = {
        .node = {
            .id = cn_bytes_str(id != NULL ? id : ""),
            .cluster = cn_bytes_str(cluster != NULL ? cluster : ""),
            .metadata = json_object_get(node, "metadata"),
            .agent_name = CN_BYTES("cairn"),
            .agent_version = CN_BYTES(CN_VERSION),
        },
        .kind = discovery->bootstrap->istiod.delta ? CN_ADS_DELTA : CN_ADS_FULL,
        .state = discovery->state,
        .owner = discovery,
        .send = send_message,
        .changed = changed,
    };
    cn_ads_t        *ads = cn_ads_create(&config);

    json_decref(node);

    return ads;
}


cn_discovery_t *
cn_discovery_create(cn_loop_t *loop, cn_dns_t *dns, const cn_bootstrap_t *bootstrap,
    const cn_discovery_events_t *events, void *owner)
{
    cn_discovery_t  *discovery = cn_alloc_zero(sizeof(cn_discovery_t));

    if (discovery == NULL) {
        return NULL;
    }

    discovery->loop = loop;
    discovery->bootstrap = bootstrap;
    discovery->events = events;
    discovery->owner = owner;
    discovery->retry.run = open_stream;
    discovery->backoff = (cn_backoff_t) { RETRY_MIN_MS, RETRY_MAX_MS, RETRY_MIN_MS };
    discovery->settle.run = build;
    cn_list_init(&discovery->queue);
    discovery->state = cn_xds_state_create(NULL);
    discovery->ads = discovery->state != NULL ? create_ads(discovery) : NULL;
    discovery->plane = cn_plane_open(loop, dns, &bootstrap->istiod.server, "xds");

    if (discovery->ads == NULL || discovery->plane == NULL) {
        cn_log(CN_LOG_ERROR, "xds", "start: out of memory, or a node that cannot be told");
        cn_discovery_destroy(discovery);
        return NULL;
    }

    return discovery;
}


void
cn_discovery_destroy(cn_discovery_t *discovery)
{
    if (discovery == NULL) {
        return;
    }

    cn_discovery_stop(discovery);
    cn_plane_close(discovery->plane);

    if (discovery->ads != NULL) {
        cn_ads_destroy(discovery->ads);
    }

    if (discovery->state != NULL) {
        cn_xds_state_destroy(discovery->state);
    }

    cn_free(discovery);
}


void
cn_discovery_start(cn_discovery_t *discovery)
{
    cn_timer_set(discovery->loop, &discovery->retry, 0);
}


void
cn_discovery_stop(cn_discovery_t *discovery)
{
    cn_timer_cancel(&discovery->retry);
    cn_timer_cancel(&discovery->settle);
    clear_queue(discovery);

    if (discovery->call != NULL) {
        cn_grpc_call_cancel(discovery->call);
        discovery->call = NULL;
    }
}
