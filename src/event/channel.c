/* SPDX-License-Identifier: Apache-2.0 */

/*
 * channel - one packet a message:
 *
 *   | magic 4 | type 4 | payload length 4 | descriptor count 4 | payload |   + SCM_RIGHTS
 *
 * The socket keeps packets whole, so a packet that is not exactly one message is a fault of the
 * other end, and the channel closes.  The same is true when descriptors went missing on the way.
 */

#include "event/channel.h"

#include "base/log.h"
#include "base/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAGIC           0x48434e43u     /* "CNCH" */
#define QUEUE_MAX       1024            /* messages */
#define PACKETS_A_TURN  16
#define SEND_BUFFER     (4 * CN_CHANNEL_PAYLOAD_MAX)

typedef struct {
    uint32_t  magic;
    uint32_t  type;
    uint32_t  len;              /* of the payload */
    uint32_t  fd_count;
} head_t;

_Static_assert(sizeof(head_t) == 16, "both ends may be of different builds");

typedef struct {
    cn_list_t  link;
    head_t     head;
    int        fds[CN_CHANNEL_FDS_MAX];     /* our own duplicates */
    uint8_t    payload[];
} queued_t;

struct cn_channel_s {
    cn_watch_t                  watch;
    cn_task_t                   free_task;
    cn_loop_t                  *loop;
    const cn_channel_events_t  *events;
    void                       *owner;
    cn_list_t                   queue;
    size_t                      queued;
    bool                        closed;     /* by the owner or for good: nothing is told any more */
};

typedef union {
    char            octets[CMSG_SPACE(CN_CHANNEL_FDS_MAX * sizeof(int))];
    struct cmsghdr  align;
} control_t;

/* One thread a process, and a payload is borrowed for a call: one buffer serves every channel. */
static _Alignas(16) uint8_t  packet[sizeof(head_t) + CN_CHANNEL_PAYLOAD_MAX + 1];


cn_status_t
cn_channel_pair(int fds[2])
{
    int  size = SEND_BUFFER;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
        cn_log(CN_LOG_ERROR, "channel", "create pair: errno=%d", errno);
        return CN_ERR_IO;
    }

    /* only a matter of how much waits in the kernel: where it is refused, more waits here */
    for (size_t i = 0; i < 2; i++) {
        (void) setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }

    return CN_OK;
}


static void
close_fds(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            (void) close(fds[i]);
        }
    }
}


static void
queued_free(cn_channel_t *channel, queued_t *queued)
{
    cn_list_remove(&queued->link);
    channel->queued--;
    close_fds(queued->fds, queued->head.fd_count);
    cn_free(queued);
}


static void
free_channel(cn_task_t *task)
{
    cn_free(CN_CONTAINER_OF(task, cn_channel_t, free_task));
}


void
cn_channel_close(cn_channel_t *channel)
{
    if (channel == NULL || channel->closed) {
        return;
    }

    channel->closed = true;
    cn_watch_remove(channel->loop, &channel->watch);
    (void) close(channel->watch.fd);

    while (!cn_list_empty(&channel->queue)) {
        queued_free(channel, CN_LIST_ITEM(channel->queue.next, queued_t, link));
    }

    cn_loop_post(channel->loop, CN_PHASE_FREE, &channel->free_task);
}


/* The last event; only from the loop. */
static void
fail(cn_channel_t *channel)
{
    if (!channel->closed) {
        cn_channel_close(channel);
        channel->events->on_closed(channel->owner);
    }
}


/* CN_AGAIN: the kernel's buffer is full.  CN_ERR_CLOSED: the other end is gone.  CN_ERR_IO. */
static cn_status_t
send_packet(int fd, const head_t *head, cn_bytes_t payload, const int *fds)
{
    control_t      control = { .octets = { 0 } };
    head_t         copy = *head;
    struct iovec   parts[2] = {
        { .iov_base = &copy, .iov_len = sizeof(copy) },
        { .iov_base = (void *) (uintptr_t) payload.ptr, .iov_len = payload.len },
    };
    struct msghdr  message = { .msg_iov = parts, .msg_iovlen = payload.len > 0 ? 2 : 1 };
    ssize_t        sent;

    if (head->fd_count > 0) {
        size_t           size = head->fd_count * sizeof(int);
        struct cmsghdr  *rights;

        message.msg_control = control.octets;
        message.msg_controllen = CMSG_SPACE(size);
        rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(rights), fds, size);
    }

    do {
        sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);

    if (sent >= 0) {
        return CN_OK;           /* packets go whole or not at all */
    }

    switch (errno) {
    case EAGAIN:
    case ENOBUFS:
        return CN_AGAIN;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return CN_ERR_CLOSED;
    default:
        cn_log(CN_LOG_ERROR, "channel", "send: errno=%d", errno);
        return CN_ERR_IO;
    }
}


static cn_status_t
watch_for(cn_channel_t *channel)
{
    return cn_watch_set(channel->loop, &channel->watch,
                        cn_list_empty(&channel->queue) ? CN_READABLE : CN_READABLE | CN_WRITABLE);
}


static void
send_queued(cn_channel_t *channel)
{
    while (!cn_list_empty(&channel->queue)) {
        queued_t     *queued = CN_LIST_ITEM(channel->queue.next, queued_t, link);
        cn_bytes_t    payload = cn_bytes(queued->payload, queued->head.len);
        cn_status_t   status;

        status = send_packet(channel->watch.fd, &queued->head, payload, queued->fds);

        if (status == CN_AGAIN) {
            return;
        }

        if (status == CN_ERR_CLOSED) {
            /* what it sent before is still read; the end of that raises closed */
            while (!cn_list_empty(&channel->queue)) {
                queued_free(channel, CN_LIST_ITEM(channel->queue.next, queued_t, link));
            }

            break;
        }

        queued_free(channel, queued);

        if (status != CN_OK) {
            fail(channel);
            return;
        }
    }

    if (watch_for(channel) != CN_OK) {
        fail(channel);
    }
}


/*
 * Takes the descriptors that came with a packet; more than fit were closed by the kernel and
 * flagged.
 */
static void
take_fds(struct msghdr *header, cn_channel_message_t *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part != NULL;
         part = CMSG_NXTHDR(header, part))
    {
        size_t  count;

        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }

        count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (size_t i = 0; i < count && message->fd_count < CN_CHANNEL_FDS_MAX; i++) {
            memcpy(&message->fds[message->fd_count++], CMSG_DATA(part) + i * sizeof(int),
                   sizeof(int));
        }
    }
}


/*
 * CN_AGAIN: no packet waits.  CN_ERR_CLOSED: the end.  CN_ERR_SYNTAX: rubbish; fds may be set in
 * each.
 */
static cn_status_t
receive(int fd, cn_channel_message_t *message)
{
    control_t      control;
    struct iovec   part = { .iov_base = packet, .iov_len = sizeof(packet) };
    struct msghdr  header = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.octets,
        .msg_controllen = sizeof(control.octets),
    };
    head_t         head;
    ssize_t        got;

    message->fd_count = 0;

    do {
        got = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);

    if (got < 0) {
        return errno == EAGAIN ? CN_AGAIN : CN_ERR_CLOSED;
    }

    take_fds(&header, message);

    if (got == 0) {
        return CN_ERR_CLOSED;
    }

    if ((size_t) got < sizeof(head) || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        return CN_ERR_SYNTAX;
    }

    memcpy(&head, packet, sizeof(head));

    if (head.magic != MAGIC || head.len != (size_t) got - sizeof(head)
        || head.len > CN_CHANNEL_PAYLOAD_MAX || head.fd_count != message->fd_count)
    {
        return CN_ERR_SYNTAX;
    }

    message->type = head.type;
    message->payload = cn_bytes(packet + sizeof(head), head.len);

    return CN_OK;
}


static void
receive_some(cn_channel_t *channel)
{
    for (size_t i = 0; i < PACKETS_A_TURN && !channel->closed; i++) {
        cn_channel_message_t  message = { .type = 0 };
        cn_status_t           status = receive(channel->watch.fd, &message);

        if (status == CN_AGAIN) {
            return;
        }

        if (status == CN_OK) {
            channel->events->on_message(channel->owner, &message);

        } else if (status == CN_ERR_SYNTAX) {
            cn_log(CN_LOG_ERROR, "channel", "refuse packet: fd=%d", channel->watch.fd);
        }

        close_fds(message.fds, message.fd_count);

        if (status != CN_OK) {
            fail(channel);
        }
    }
}


static void
channel_ready(cn_watch_t *watch, unsigned events)
{
    cn_channel_t  *channel = CN_CONTAINER_OF(watch, cn_channel_t, watch);

    if (events & (CN_READABLE | CN_HANGUP)) {
        receive_some(channel);
    }

    if ((events & CN_WRITABLE) && !channel->closed) {
        send_queued(channel);
    }
}


cn_channel_t *
cn_channel_open(cn_loop_t *loop, int fd, const cn_channel_events_t *events, void *owner)
{
    cn_channel_t  *channel = cn_alloc_zero(sizeof(*channel));

    if (channel == NULL) {
        return NULL;
    }

    channel->loop = loop;
    channel->events = events;
    channel->owner = owner;
    channel->watch.fd = fd;
    channel->watch.ready = channel_ready;
    channel->free_task.run = free_channel;
    cn_list_init(&channel->queue);

    if (cn_watch_set(loop, &channel->watch, CN_READABLE) != CN_OK) {
        cn_free(channel);
        return NULL;
    }

    return channel;
}


/* Queues a copy of everything.  CN_ERR_LIMIT: out of memory or of descriptors too. */
static cn_status_t
enqueue(cn_channel_t *channel, const head_t *head, cn_bytes_t payload, const int *fds)
{
    queued_t  *queued = cn_alloc(sizeof(*queued) + payload.len);

    if (queued == NULL) {
        return CN_ERR_LIMIT;
    }

    queued->head = *head;

    if (payload.len > 0) {
        memcpy(queued->payload, payload.ptr, payload.len);
    }

    for (size_t i = 0; i < head->fd_count; i++) {
        queued->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

        if (queued->fds[i] < 0) {
            close_fds(queued->fds, i);
            cn_free(queued);
            return CN_ERR_LIMIT;
        }
    }

    cn_list_append(&channel->queue, &queued->link);
    channel->queued++;

    if (watch_for(channel) != CN_OK) {
        queued_free(channel, queued);
        return CN_ERR_LIMIT;
    }

    return CN_OK;
}


cn_status_t
cn_channel_send(cn_channel_t *channel, uint32_t type, cn_bytes_t payload, const int *fds,
                size_t fd_count)
{
    cn_status_t  status = CN_AGAIN;
    head_t       head;

    if (channel->closed) {
        return CN_ERR_CLOSED;
    }

    if (payload.len > CN_CHANNEL_PAYLOAD_MAX || fd_count > CN_CHANNEL_FDS_MAX
        || channel->queued >= QUEUE_MAX)
    {
        return CN_ERR_LIMIT;
    }

    head = (head_t) {
        .magic = MAGIC,
        .type = type,
        .len = (uint32_t) payload.len,
        .fd_count = (uint32_t) fd_count,
    };

    /* never past what already waits */
    if (cn_list_empty(&channel->queue)) {
        status = send_packet(channel->watch.fd, &head, payload, fds);
    }

    return status == CN_AGAIN ? enqueue(channel, &head, payload, fds) : status;
}


size_t
cn_channel_pending(const cn_channel_t *channel)
{
    return channel->queued;
}
