/* SPDX-License-Identifier: Apache-2.0 */

/*
 * message - what guard, master and workers say to each other over channels (event/channel.h).  A
 * payload is one of the structs here, checked for its size by the reader; numbers are native, both
 * ends are one executable, or one that said HELLO with the same version before.
 *
 *   guard  -> worker   LISTENER* ATTEND SEGMENT* PUBLISH MASTER DRAIN
 *   guard  -> master   LISTENER* WORKER* RELOAD REOPEN DRAIN HOLD
 *   master -> guard    SEGMENT* PUBLISH (kept for replacements)  FAILED (no configuration at start)
 *   READY
 *   worker -> guard    READY
 *   probe  -> guard    HELLO
 *   master -> worker   SEGMENT* PUBLISH IDENTITY CERTIFICATE*
 *   worker -> master   ADOPTED
 */

#ifndef CN_SERVER_MESSAGE_H
#define CN_SERVER_MESSAGE_H

#include "event/channel.h"
#include "event/socket.h"
#include "table/snapshot.h"

typedef enum {
    CN_MSG_LISTENER = 1,                /* cn_msg_listener_t, one descriptor */
    CN_MSG_ATTEND,                      /* cn_msg_attend_t */
    CN_MSG_SEGMENT,                     /* cn_msg_segment_t, one descriptor */
    CN_MSG_PUBLISH,                     /* cn_msg_publish_t, the directory's descriptor */
    CN_MSG_MASTER,                      /* no payload, one descriptor: the channel to the master */
    /* cn_msg_worker_t, one descriptor: the channel to that worker */
    CN_MSG_WORKER,
    CN_MSG_DRAIN,                       /* cn_msg_drain_t */
    CN_MSG_RELOAD,
    CN_MSG_REOPEN,
    CN_MSG_IDENTITY,                    /* cn_msg_identity_t and the octets it counts */
    CN_MSG_ADOPTED,                     /* cn_msg_adopted_t */
    CN_MSG_READY,           /* the master has published; the worker could serve: once each */
    /* the master cannot start: everything ends with exit code 1 */
    CN_MSG_FAILED,
    CN_MSG_HOLD,                        /* cn_msg_hold_t */
    CN_MSG_HELLO,                       /* cn_msg_hello_t */
    CN_MSG_CERTIFICATE,                 /* cn_msg_certificate_t and the octets it counts */
} cn_message_type_t;

/*
 * What a guard and the processes of a newer executable must agree on: these messages, the
 * arguments of --process, and the slab.  Raised with each change of one of them.
 */
#define CN_MESSAGE_VERSION  2

typedef enum {
    CN_LISTEN_HBONE = 1,
    CN_LISTEN_PLAIN,
    CN_LISTEN_TLS,                      /* a plain listener with a certificate */
    CN_LISTEN_ADMIN,                    /* from here on the master's */
    CN_LISTEN_STATUS,
    CN_LISTEN_METRICS,
} cn_listen_kind_t;

typedef struct {
    uint32_t      kind;                 /* cn_listen_kind_t */
    uint32_t      worker;               /* whose socket it is */
    cn_address_t  address;
} cn_msg_listener_t;

/*
 * An upgrade is under way: the master leaves the configuration as it is.  Retired: another has
 * taken over, it closes its listening sockets as well.
 */
typedef enum { CN_HOLD_NO, CN_HOLD_YES, CN_HOLD_RETIRED } cn_hold_t;

typedef struct { uint32_t hold; uint32_t reserved; } cn_msg_hold_t;    /* cn_hold_t */

#define CN_HELLO_MAGIC  "CNHELLO"

typedef struct {
    char      magic[8];
    uint32_t  message_version;
    uint32_t  slab_version;
    char      version[32];              /* of the program, NUL-ended */
} cn_msg_hello_t;

typedef struct { uint64_t mask; } cn_msg_attend_t;      /* bit i: the sockets of worker i */

typedef struct { uint64_t id; uint64_t size; } cn_msg_segment_t;

typedef struct {
    uint64_t  generation;
    uint64_t  directory_size;
    uint32_t  segment_count;
    uint32_t  reserved;
    uint64_t  segment_ids[CN_SEGMENTS_MAX];
    uint64_t  segment_sizes[CN_SEGMENTS_MAX];
} cn_msg_publish_t;

typedef struct { uint32_t worker; uint32_t reserved; } cn_msg_worker_t;

/* Peers are told to go in the course of time_ms, of which elapsed_ms are over; final: now. */
typedef struct {
    uint32_t  final;
    uint32_t  reserved;
    uint64_t  elapsed_ms;
    uint64_t  time_ms;
} cn_msg_drain_t;

/* Followed by chain, key, roots (PEM) and count trust domains, each NUL-ended. */
typedef struct {
    uint32_t  chain_len;
    uint32_t  key_len;
    uint32_t  roots_len;
    uint32_t  trust_domain_count;
    uint32_t  trust_domains_len;
    uint32_t  reserved;
} cn_msg_identity_t;

/* Of the TLS listener at address: followed by chain and key (PEM). */
typedef struct {
    cn_address_t  address;
    uint32_t      chain_len;
    uint32_t      key_len;
} cn_msg_certificate_t;

typedef struct {
    uint64_t  generation;
    /* 1: it could not be adopted; the worker keeps the last one */
    uint32_t  refused;
    uint32_t  reserved;
} cn_msg_adopted_t;

/* payload of a message as a struct of its exact size, copied; false: the size is another. */
bool cn_message_read(const cn_channel_message_t *message, void *out, size_t size);

/* Takes the message's only descriptor; -1 when there is not just one. */
int cn_message_take_fd(cn_channel_message_t *message);

/*
 * A publication with all of its segments, over a channel: segments that the other end has (known:
 * ids, count) are not sent again.  CN_ERR_* as cn_channel_send().
 */
cn_status_t cn_message_send_publication(cn_channel_t *channel, const cn_publication_t *publication,
    const uint64_t *known, size_t known_count) CN_MUST_USE;

/* Collects SEGMENT and PUBLISH messages of one channel into publications. */
typedef struct {
    cn_publication_t  publication;      /* descriptors owned here; -1: not sent (known already) */
    size_t            pending;
    uint64_t          pending_ids[CN_SEGMENTS_MAX];
    int               pending_fds[CN_SEGMENTS_MAX];
} cn_publication_reader_t;

/*
 * CN_AGAIN: more to come; CN_OK: reader->publication is complete (the caller takes its
 * descriptors); CN_ERR_SYNTAX: rubbish.
 */
cn_status_t cn_publication_read(cn_publication_reader_t *reader,
    cn_channel_message_t *message) CN_MUST_USE;

#endif
