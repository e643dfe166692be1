/* SPDX-License-Identifier: Apache-2.0 */

/* message - packing and checking of what the processes say to each other. */

#include "server/message.h"

#include <unistd.h>


bool
cn_message_read(const cn_channel_message_t *message, void *out, size_t size)
{
    if (message->payload.len != size) {
        return false;
    }

    if (size > 0) {
        memcpy(out, message->payload.ptr, size);
    }

    return true;
}


int
cn_message_take_fd(cn_channel_message_t *message)
{
    int  fd;

    if (message->fd_count != 1) {
        return -1;
    }

    fd = message->fds[0];
    message->fds[0] = -1;

    return fd;
}


static bool
is_known(uint64_t id, const uint64_t *known, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (known[i] == id) {
            return true;
        }
    }

    return false;
}


cn_status_t
cn_message_send_publication(cn_channel_t *channel, const cn_publication_t *publication,
    const uint64_t *known, size_t known_count)
{
    cn_msg_publish_t  publish = {
        .generation = publication->generation,
        .directory_size = publication->directory_size,
        .segment_count = (uint32_t) publication->segment_count,
    };

    for (size_t i = 0; i < publication->segment_count; i++) {
        cn_msg_segment_t  segment = { publication->segment_ids[i], publication->segment_sizes[i] };
        cn_status_t       status;

        publish.segment_ids[i] = segment.id;
        publish.segment_sizes[i] = segment.size;

        if (is_known(segment.id, known, known_count)) {
            continue;
        }

        status = cn_channel_send(channel, CN_MSG_SEGMENT, cn_bytes(&segment, sizeof(segment)),
                                 &publication->segments[i], 1);

        if (status != CN_OK) {
            return status;
        }
    }

    return cn_channel_send(channel, CN_MSG_PUBLISH, cn_bytes(&publish, sizeof(publish)),
                           &publication->directory, 1);
}


static cn_status_t
read_segment(cn_publication_reader_t *reader, cn_channel_message_t *message)
{
    cn_msg_segment_t  segment;
    int               fd;

    if (!cn_message_read(message, &segment, sizeof(segment))
        || reader->pending == CN_SEGMENTS_MAX)
    {
        return CN_ERR_SYNTAX;
    }

    fd = cn_message_take_fd(message);

    if (fd < 0) {
        return CN_ERR_SYNTAX;
    }

    reader->pending_ids[reader->pending] = segment.id;
    reader->pending_fds[reader->pending] = fd;
    reader->pending++;

    return CN_AGAIN;
}


static int
take_pending(cn_publication_reader_t *reader, uint64_t id)
{
    for (size_t i = 0; i < reader->pending; i++) {
        if (reader->pending_ids[i] == id) {
            int  fd = reader->pending_fds[i];

            reader->pending--;
            reader->pending_ids[i] = reader->pending_ids[reader->pending];
            reader->pending_fds[i] = reader->pending_fds[reader->pending];

            return fd;
        }
    }

    return -1;
}


static cn_status_t
read_publish(cn_publication_reader_t *reader, cn_channel_message_t *message)
{
    cn_publication_t  *publication = &reader->publication;
    cn_msg_publish_t   publish;
    int                fd;

    if (!cn_message_read(message, &publish, sizeof(publish))
        || publish.segment_count > CN_SEGMENTS_MAX)
    {
        return CN_ERR_SYNTAX;
    }

    fd = cn_message_take_fd(message);

    if (fd < 0) {
        return CN_ERR_SYNTAX;
    }

    *publication = (cn_publication_t) {
        .generation = publish.generation,
        .directory = fd,
        .directory_size = (size_t) publish.directory_size,
        .segment_count = publish.segment_count,
    };

    for (size_t i = 0; i < publish.segment_count; i++) {
        publication->segment_ids[i] = publish.segment_ids[i];
        publication->segment_sizes[i] = (size_t) publish.segment_sizes[i];
        publication->segments[i] = take_pending(reader, publish.segment_ids[i]);
    }

    while (reader->pending > 0) {
        close(reader->pending_fds[--reader->pending]);
    }

    return CN_OK;
}


cn_status_t
cn_publication_read(cn_publication_reader_t *reader, cn_channel_message_t *message)
{
    switch (message->type) {
    case CN_MSG_SEGMENT:
        return read_segment(reader, message);
    case CN_MSG_PUBLISH:
        return read_publish(reader, message);
    default:
        return CN_ERR_SYNTAX;
    }
}
