/* SPDX-License-Identifier: Apache-2.0 */

/* Channels: messages and descriptors between processes, and peers that send rubbish. */

#include "unit.h"

#include "event/channel.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    cn_channel_t  *channel;
    unsigned       messages;
    unsigned       closed;
    uint32_t       type;            /* of the last message */
    size_t         len;
    uint8_t        first;           /* octet of the last payload */
    size_t         fd_count;
    int            taken;           /* the first descriptor, if it takes them; else -1 */
    bool           takes;
    bool           in_order;
    unsigned       close_at;        /* closes its channel at this message; 0: does not */
} end_t;

static cn_loop_t  *loop;
static uint8_t     payload[CN_CHANNEL_PAYLOAD_MAX + 1];


static void
on_message(void *owner, cn_channel_message_t *message)
{
    end_t  *end = owner;

    assert_int_equal(end->closed, 0);
    end->in_order = end->in_order && message->type == end->messages;
    end->messages++;
    end->type = message->type;
    end->len = message->payload.len;
    end->first = message->payload.len > 0 ? message->payload.ptr[0] : 0;
    end->fd_count = message->fd_count;

    if (end->takes && message->fd_count > 0) {
        end->taken = message->fds[0];
        message->fds[0] = -1;
    }

    if (end->messages == end->close_at) {
        cn_channel_close(end->channel);
    }
}


static void
on_closed(void *owner)
{
    end_t  *end = owner;

    end->closed++;
    cn_channel_close(end->channel);     /* allowed, and nothing more happens */
}


static const cn_channel_events_t  events = { on_message, on_closed };


static int
open_loop(void **state)
{
    (void) state;
    loop = cn_loop_create();

    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t) i;
    }

    return loop == NULL ? -1 : 0;
}


static int
close_loop(void **state)
{
    (void) state;
    cn_loop_turn(loop, 0);              /* what was closed is freed */
    cn_loop_destroy(loop);

    return 0;
}


static void
open_end(end_t *end, int fd)
{
    *end = (end_t) { .taken = -1, .in_order = true };
    end->channel = cn_channel_open(loop, fd, &events, end);
    assert_non_null(end->channel);
}


static void
open_pair(end_t *a, end_t *b)
{
    int  fds[2];

    assert_int_equal(cn_channel_pair(fds), CN_OK);
    open_end(a, fds[0]);
    open_end(b, fds[1]);
}


static void
turns(unsigned count)
{
    while (count-- > 0) {
        cn_loop_turn(loop, 2);
    }
}


static unsigned
open_descriptors(void)
{
    unsigned  count = 0;
    DIR      *dir = opendir("/proc/self/fd");

    assert_non_null(dir);

    while (readdir(dir) != NULL) {
        count++;
    }

    (void) closedir(dir);

    return count;
}


static void
a_message_arrives_whole(void **state)
{
    static const size_t  sizes[] = { 0, 1, 1000, CN_CHANNEL_PAYLOAD_MAX };

    end_t  a, b;

    (void) state;
    open_pair(&a, &b);

    for (uint32_t i = 0; i < CN_COUNT_OF(sizes); i++) {
        assert_int_equal(cn_channel_send(a.channel, i, cn_bytes(payload, sizes[i]), NULL, 0),
                         CN_OK);
        assert_int_equal(b.messages, i);        /* no event before the call returns */
        turns(1);
        assert_int_equal(b.messages, i + 1);
        assert_int_equal(b.type, i);
        assert_int_equal(b.len, sizes[i]);
        assert_int_equal(b.fd_count, 0);
    }

    assert_int_equal(cn_channel_send(b.channel, 0, CN_BYTES("\x07"), NULL, 0), CN_OK);
    turns(1);
    assert_int_equal(a.messages, 1);
    assert_int_equal(a.first, 7);
    cn_channel_close(a.channel);
    cn_channel_close(b.channel);
}


static void
descriptors_travel_and_the_rest_are_closed(void **state)
{
    end_t     a, b;
    int       fds[CN_CHANNEL_FDS_MAX], memory = memfd_create("test", MFD_CLOEXEC);
    unsigned  before;
    char      text[8] = "";

    (void) state;
    assert_true(memory >= 0);
    assert_int_equal(write(memory, "sealed", 6), 6);
    open_pair(&a, &b);
    b.takes = true;
    before = open_descriptors();

    for (size_t i = 0; i < CN_COUNT_OF(fds); i++) {
        fds[i] = memory;
    }

    assert_int_equal(cn_channel_send(a.channel, 0, CN_BYTES("x"), fds, CN_COUNT_OF(fds)), CN_OK);
    turns(1);
    assert_int_equal(b.fd_count, CN_COUNT_OF(fds));
    assert_int_equal(open_descriptors(), before + 1);
    assert_true(fcntl(b.taken, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(pread(b.taken, text, sizeof(text), 0), 6);
    assert_string_equal(text, "sealed");
    (void) close(b.taken);
    (void) close(memory);
    cn_channel_close(a.channel);
    cn_channel_close(b.channel);
}


static void
what_the_kernel_does_not_take_waits_in_order(void **state)
{
    end_t     a, b;
    int       memory = memfd_create("test", MFD_CLOEXEC);
    unsigned  before;

    (void) state;
    open_pair(&a, &b);
    before = open_descriptors();

    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(cn_channel_send(a.channel, i, cn_bytes(payload, 20000), &memory, i % 2),
                         CN_OK);
    }

    assert_true(cn_channel_pending(a.channel) > 0);

    /* its own duplicates travel: the sender may close its descriptor */
    (void) close(memory);

    for (unsigned i = 0; i < 500 && b.messages < 200; i++) {
        turns(1);
    }

    assert_int_equal(b.messages, 200);
    assert_true(b.in_order);
    assert_int_equal(b.fd_count, 1);
    assert_int_equal(cn_channel_pending(a.channel), 0);
    assert_int_equal(open_descriptors(), before - 1);
    cn_channel_close(a.channel);
    cn_channel_close(b.channel);
}


static void
limits_are_kept(void **state)
{
    end_t        a, b;
    int          fds[CN_CHANNEL_FDS_MAX + 1] = { 0 };
    cn_status_t  status = CN_OK;

    (void) state;
    open_pair(&a, &b);

    assert_int_equal(cn_channel_send(a.channel, 0, cn_bytes(payload, sizeof(payload)), NULL, 0),
                     CN_ERR_LIMIT);
    assert_int_equal(cn_channel_send(a.channel, 0, CN_BYTES_NONE, fds, CN_COUNT_OF(fds)),
                     CN_ERR_LIMIT);
    assert_int_equal(cn_channel_send(a.channel, 0, CN_BYTES_NONE, &(int) { -1 }, 1), CN_ERR_IO);

    for (unsigned i = 0; i < 5000 && status == CN_OK; i++) {
        status = cn_channel_send(a.channel, 0, cn_bytes(payload, 1000), NULL, 0);
    }

    assert_int_equal(status, CN_ERR_LIMIT);
    assert_int_equal(cn_channel_pending(a.channel), 1024);

    /* what waits is dropped with the channel; what the kernel has is still read */
    cn_channel_close(a.channel);

    for (unsigned i = 0; i < 200 && b.closed == 0; i++) {
        turns(1);
    }

    assert_true(b.messages > 0);
    assert_int_equal(b.closed, 1);
}


static void
the_other_end_s_going_is_told_once_after_its_messages(void **state)
{
    end_t  a, b;

    (void) state;
    open_pair(&a, &b);
    assert_int_equal(cn_channel_send(a.channel, 0, CN_BYTES("last"), NULL, 0), CN_OK);
    cn_channel_close(a.channel);
    assert_int_equal(cn_channel_send(b.channel, 0, CN_BYTES("x"), NULL, 0), CN_ERR_CLOSED);
    assert_int_equal(b.closed, 0);
    turns(3);
    assert_int_equal(b.messages, 1);
    assert_int_equal(b.closed, 1);
    assert_int_equal(a.closed, 0);
}


static void
a_channel_closed_within_its_event_tells_nothing_more(void **state)
{
    end_t     a, b;
    unsigned  before = open_descriptors();

    (void) state;
    open_pair(&a, &b);
    b.close_at = 2;

    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(cn_channel_send(a.channel, i, CN_BYTES("x"), &(int) { 0 }, 1), CN_OK);
    }

    turns(3);
    assert_int_equal(b.messages, 2);
    assert_int_equal(b.closed, 0);
    assert_int_equal(a.closed, 1);
    assert_int_equal(open_descriptors(), before);
}


static void
a_closed_channel_sends_nothing(void **state)
{
    end_t  a, b;

    (void) state;
    open_pair(&a, &b);
    cn_channel_close(a.channel);
    cn_channel_close(a.channel);
    assert_int_equal(cn_channel_send(a.channel, 0, CN_BYTES("x"), NULL, 0), CN_ERR_CLOSED);
    cn_channel_close(b.channel);
    cn_channel_close(NULL);
}


/* A raw packet with one descriptor, or with none. */
static void
send_raw(int fd, const void *packet, size_t len, unsigned fd_count)
{
    union {
        char            octets[CMSG_SPACE(64 * sizeof(int))];
        struct cmsghdr  align;
    } control = { .octets = { 0 } };

    struct iovec   part = { .iov_base = (void *) (uintptr_t) packet, .iov_len = len };
    struct msghdr  message = { .msg_iov = &part, .msg_iovlen = 1 };

    if (fd_count > 0) {
        struct cmsghdr  *rights;

        message.msg_control = control.octets;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));

        /* all are descriptor 0 */
        memset(CMSG_DATA(rights), 0, fd_count * sizeof(int));
    }

    assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), (ssize_t) len);
}


#define MAGIC  0x48434e43u
#define MAX    CN_CHANNEL_PAYLOAD_MAX

static const struct {
    const char  *name;
    uint32_t     head[4];
    size_t       len;           /* of the packet */
    unsigned     fd_count;      /* that travel */
    bool         good;
} raw_cases[] = {
    { "a good one", { MAGIC, 1, 4, 0 }, 20, 0, true },
    { "a good one with descriptors", { MAGIC, 1, 4, 2 }, 20, 2, true },
    { "the largest", { MAGIC, 1, MAX, 0 }, 16 + MAX, 0, true },
    { "an empty packet", { 0 }, 0, 0, false },
    { "one octet", { MAGIC, 1, 0, 0 }, 1, 0, false },
    { "a cut head", { MAGIC, 1, 0, 0 }, 15, 0, false },
    { "a cut head with a descriptor", { MAGIC, 1, 0, 1 }, 15, 1, false },
    { "another magic", { MAGIC + 1, 1, 4, 0 }, 20, 0, false },
    { "a payload longer than said", { MAGIC, 1, 3, 0 }, 20, 0, false },
    { "a payload shorter than said", { MAGIC, 1, 5, 0 }, 20, 0, false },
    { "a length near 2^32", { MAGIC, 1, UINT32_MAX, 0 }, 20, 0, false },
    { "too large", { MAGIC, 1, MAX + 1, 0 }, 17 + MAX, 0, false },
    { "larger still", { MAGIC, 1, MAX, 0 }, 30 + MAX, 0, false },
    { "fewer descriptors than said", { MAGIC, 1, 4, 2 }, 20, 1, false },
    { "more descriptors than said", { MAGIC, 1, 4, 0 }, 20, 1, false },
    { "more descriptors than may be", { MAGIC, 1, 4, 17 }, 20, 17, false },
    { "many descriptors", { MAGIC, 1, 4, 16 }, 20, 60, false },
};

static void
rubbish_closes_the_channel_and_leaks_nothing(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(raw_cases); i++) {
        const char  *name = raw_cases[i].name;
        uint8_t     *packet = calloc(1, raw_cases[i].len + 16);
        unsigned     before = open_descriptors();
        end_t        end;
        int          fds[2];

        assert_non_null(packet);
        memcpy(packet, raw_cases[i].head, 16);
        assert_int_equal(cn_channel_pair(fds), CN_OK);
        open_end(&end, fds[1]);
        send_raw(fds[0], packet, raw_cases[i].len, raw_cases[i].fd_count);
        turns(3);
        unit_check(end.messages == (raw_cases[i].good ? 1 : 0), name);
        unit_check(end.closed == (raw_cases[i].good ? 0 : 1), name);

        if (raw_cases[i].good) {
            cn_channel_close(end.channel);
        }

        (void) close(fds[0]);
        turns(1);
        unit_check(open_descriptors() == before, name);
        free(packet);
    }
}


static void
what_epoll_refuses_is_no_channel(void **state)
{
    end_t  end = { .messages = 0 };

    (void) state;
    assert_null(cn_channel_open(loop, -1, &events, &end));
}


#define TEST(name)  cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        TEST(a_message_arrives_whole),
        TEST(descriptors_travel_and_the_rest_are_closed),
        TEST(what_the_kernel_does_not_take_waits_in_order),
        TEST(limits_are_kept),
        TEST(the_other_end_s_going_is_told_once_after_its_messages),
        TEST(a_channel_closed_within_its_event_tells_nothing_more),
        TEST(a_closed_channel_sends_nothing),
        TEST(rubbish_closes_the_channel_and_leaks_nothing),
        TEST(what_epoll_refuses_is_no_channel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
