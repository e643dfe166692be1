/* SPDX-License-Identifier: Apache-2.0 */

/*
 * probe - what an executable says of itself before anything depends on it: that it runs here, which
 * messages it speaks, and that it can use the slab.
 */

#include "server/guard.h"

#include "base/log.h"
#include "base/version.h"
#include "server/message.h"
#include "server/worker.h"
#include "stats/slab.h"

/* One constant, so that the file itself tells it. */
static const cn_msg_hello_t  hello = {
    .magic = CN_HELLO_MAGIC,
    .message_version = CN_MESSAGE_VERSION,
    .slab_version = CN_SLAB_VERSION,
    .version = CN_VERSION,
};


/* Nothing is heard here. */
static void
on_message(void *owner, cn_channel_message_t *message)
{
    (void) owner;
    (void) message;
}


static void
on_closed(void *owner)
{
    (void) owner;
}


static const cn_channel_events_t  events = { on_message, on_closed };


int
cn_probe_main(void)
{
    cn_loop_t     *loop = cn_loop_create();
    cn_channel_t  *guard = loop != NULL ? cn_channel_open(loop, CN_FD_GUARD, &events, NULL) : NULL;
    cn_slab_t     *slab;
    cn_status_t    status;
    const char    *error = "";

    if (guard == NULL) {
        return 1;
    }

    slab = cn_slab_map(CN_FD_SLAB, &error);

    /* that it is of another version is told, not found out by mapping */
    if (slab == NULL) {
        cn_log(CN_LOG_WARN, "probe", "map slab: reason=\"%s\"", error);
    }

    status = cn_channel_send(guard, CN_MSG_HELLO, cn_bytes(&hello, sizeof(hello)), NULL, 0);
    cn_slab_unmap(slab);
    cn_channel_close(guard);
    cn_loop_turn(loop, 0);
    cn_loop_destroy(loop);

    return status == CN_OK ? 0 : 1;
}
