/* SPDX-License-Identifier: Apache-2.0 */

/*
 * chain - the life of a request: from the head that the codec gives to the last octet and the log.
 */

#ifndef CN_FILTER_CHAIN_H
#define CN_FILTER_CHAIN_H

#include "filter/module.h"

/* Whom the client asked for; block NULL: nobody (404 NR, or 503 for a CONNECT). */
typedef struct {
    const cn_block_t  *block;
    cn_segment_t      *segment;
    uint16_t           port;
} cn_target_t;

/*
 * Begins: sets itself as the exchange's owner.  head lives in exchange->pool.  end: no body
 * follows.
 */
void cn_request_start(cn_worker_env_t *env, cn_exchange_t *exchange, cn_message_t *head, bool end,
    const cn_target_t *target);

/*
 * Logs what never became a request: refused by a codec, or a CONNECT that was not accepted.  head
 * may be NULL.
 */
typedef struct {
    const cn_stream_info_t  *connection;
    cn_message_t            *head;
    cn_http_version_t        version;   /* when there is no head */
    uint16_t                 status;
    uint32_t                 flags;
    const char              *details;
    uint64_t                 sent;      /* body bytes */
} cn_rejected_t;

/* Tells the filters of its chain, or all where there is none, that all is over. */
void cn_request_log(cn_request_t *request);

/* pool is for what the log needs and is the caller's. */
void cn_request_log_rejected(cn_worker_env_t *env, cn_pool_t *pool, const cn_rejected_t *rejected);

/*
 * Whom "reviews", "reviews.default:9080", a full host name or a VIP stands for in the adopted
 * tables; block NULL: nobody.
 */
cn_target_t cn_target_by_authority(const cn_tables_t *tables, cn_bytes_t authority,
    uint16_t default_port);

/* ---- shared by the files of this room ---- */

/* "host", "host:port", "1.2.3.4:80", "[::1]:80"; false when it is none of these (target.c). */
bool cn_target_split(cn_bytes_t authority, uint16_t default_port, cn_bytes_t *host,
    uint16_t *port);

/*
 * Checks and changes of the head before anything looks at it (proxy_headers.c).  CN_REPLIED: it was
 * answered.
 */
cn_verdict_t cn_proxy_request_head(cn_request_t *request);

/* Server, date, decorator: what every response gets (proxy_headers.c).  CN_ERR_MEMORY. */
cn_status_t cn_proxy_response_head(cn_request_t *request, cn_message_t *head) CN_MUST_USE;

/* The head and body of a local reply (reply.c).  NULL: memory. */
cn_message_t *cn_reply_build(cn_request_t *request, uint16_t status, cn_bytes_t *body);

#endif
