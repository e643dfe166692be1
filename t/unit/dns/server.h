/* SPDX-License-Identifier: Apache-2.0 */

/* server - a small DNS server on 127.0.0.1, UDP and TCP, on the test's own loop. */

#ifndef CN_UNIT_DNS_SERVER_H
#define CN_UNIT_DNS_SERVER_H

#include "event/loop.h"

#define DNS_A      1
#define DNS_CNAME  5
#define DNS_AAAA   28

/* How a question is answered. */
typedef enum {
    DNS_ANSWER,
    DNS_SERVFAIL,
    DNS_REFUSED,
    DNS_SILENT,
    DNS_SILENT_ONCE,            /* the first question is lost */
    DNS_TRUNCATED,              /* over UDP; whole over TCP */
    DNS_HANGS_UP,               /* truncated; then the connection is closed instead of an answer */
    DNS_SILENT_TCP,             /* truncated; then nothing comes over the connection */
    DNS_WRONG_ID,               /* first an answer of 6.6.6.6 under another id, then the right one */
    DNS_WRONG_QUESTION,         /* likewise, with another name as its question */
    DNS_GARBAGE,                /* the right id, then noise */
    DNS_LOOP,                   /* a compressed name that points at itself */
    DNS_SHORT,                  /* the answer, cut in the middle of its last record */
    DNS_EMPTY,                  /* a datagram of nothing, then the right answer */
    DNS_WRONG_TYPE,             /* addresses of the other family */
    DNS_MANY,                   /* `count` addresses, 10.1.0.0 and on; by TCP if they must */
} dns_manner_t;

typedef struct {
    const char    *name;
    unsigned       type;
    const char    *data;        /* addresses with blanks between them, or the name of a CNAME */
    uint32_t       ttl;         /* s */
    dns_manner_t   manner;
    unsigned       count;       /* of DNS_MANY */
} dns_entry_t;

typedef struct dns_server_s dns_server_t;

/* entries (the last has no name) are borrowed and may be changed between turns. */
dns_server_t *dns_server_open(cn_loop_t *loop, const dns_entry_t *entries);
void dns_server_use(dns_server_t *server, const dns_entry_t *entries);
void dns_server_close(dns_server_t *server);
unsigned dns_server_port(const dns_server_t *server);

/* Questions so far: in all, over TCP, and for one name ("a.test") and type. */
unsigned dns_server_asked(const dns_server_t *server);
unsigned dns_server_asked_tcp(const dns_server_t *server);
unsigned dns_server_asked_for(const dns_server_t *server, const char *name, unsigned type);

#endif
