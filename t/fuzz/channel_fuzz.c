/* SPDX-License-Identifier: Apache-2.0 */

/*
 * channel_fuzz - any packets from the other end of a channel, which may be a worker that is somebody
 * else's: read as messages, and as a publication.  Each is told whole or the channel closes, and no
 * descriptor is left.
 *
 * The input is packets: {how many descriptors come with it(1), length(2), octets}.
 */

#include "server/message.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD          3u
#define PACKETS_MOST  64

typedef struct {
    cn_channel_t             *channel;      /* NULL: closed */
    cn_publication_reader_t   reader;
} end_t;

static cn_loop_t  *loop;
static int         given;               /* the descriptor that comes with packets */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static size_t
open_descriptors(void)
{
    DIR     *directory = opendir("/proc/self/fd");
    size_t   count = 0;

    CN_BUG_ON(directory == NULL);

    while (readdir(directory) != NULL) {
        count++;
    }

    closedir(directory);

    return count;
}


static void
drop_publication(const cn_publication_t *publication)
{
    CN_BUG_ON(publication->segment_count > CN_SEGMENTS_MAX || publication->directory < 0);
    close(publication->directory);

    for (size_t i = 0; i < publication->segment_count; i++) {
        if (publication->segments[i] >= 0) {
            close(publication->segments[i]);
        }
    }
}


static void
on_message(void *owner, cn_channel_message_t *message)
{
    end_t              *end = owner;
    cn_msg_adopted_t    adopted;
    cn_msg_listener_t   listener;

    CN_BUG_ON(message->fd_count > CN_CHANNEL_FDS_MAX);
    CN_BUG_ON(message->payload.len > CN_CHANNEL_PAYLOAD_MAX);
    CN_BUG_ON(cn_message_read(message, &adopted, sizeof(adopted))
              != (message->payload.len == sizeof(adopted)));
    (void) cn_message_read(message, &listener, sizeof(listener));

    if (cn_publication_read(&end->reader, message) == CN_OK) {
        drop_publication(&end->reader.publication);
    }
}


static void
on_closed(void *owner)
{
    ((end_t *) owner)->channel = NULL;
}


static void
send_packet(int fd, const uint8_t *data, size_t len, size_t fd_count)
{
    union {
        struct cmsghdr  align;
        uint8_t         octets[CMSG_SPACE(32 * sizeof(int))];
    }              control = { .octets = { 0 } };
    int            fds[32];
    struct iovec   part = { .iov_base = (void *) (uintptr_t) data, .iov_len = len };
    struct msghdr  message = { .msg_iov = &part, .msg_iovlen = 1 };

    for (size_t i = 0; i < fd_count; i++) {
        fds[i] = given;
    }

    if (fd_count > 0) {
        message.msg_control = control.octets;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(&control.align), fds, fd_count * sizeof(int));
    }

    (void) sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}


static void
send_all(const end_t *end, int fd, const uint8_t *data, size_t size)
{
    for (size_t count = 0; size >= HEAD && count < PACKETS_MOST && end->channel != NULL; count++) {
        size_t  len = (size_t) data[1] << 8 | data[2];

        len = len < size - HEAD ? len : size - HEAD;
        send_packet(fd, data + HEAD, len, data[0] % 20);
        data += HEAD + len;
        size -= HEAD + len;
        cn_loop_turn(loop, 0);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const cn_channel_events_t  events = { on_message, on_closed };
    end_t                             end = { .channel = NULL };
    size_t                            before;
    int                               fds[2];

    if (loop == NULL) {
        loop = cn_loop_create();
        given = memfd_create("given", MFD_CLOEXEC);
        CN_BUG_ON(loop == NULL || given < 0);
    }

    before = open_descriptors();
    CN_BUG_ON(cn_channel_pair(fds) != CN_OK);
    end.channel = cn_channel_open(loop, fds[0], &events, &end);
    CN_BUG_ON(end.channel == NULL);
    send_all(&end, fds[1], data, size);
    close(fds[1]);
    cn_loop_turn(loop, 0);
    cn_loop_turn(loop, 0);
    CN_BUG_ON(end.channel != NULL);     /* the other end has gone */

    while (end.reader.pending > 0) {
        close(end.reader.pending_fds[--end.reader.pending]);
    }

    CN_BUG_ON(open_descriptors() != before);

    return 0;
}
