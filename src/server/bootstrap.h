/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bootstrap - the short file (conf/cairn.yaml) that says where everything else is.  Every key has a
 * default.
 */

#ifndef CN_SERVER_BOOTSTRAP_H
#define CN_SERVER_BOOTSTRAP_H

#include "base/array.h"
#include "base/log.h"
#include "event/socket.h"
#include "model/report.h"

typedef enum { CN_IDENTITY_DEVELOPMENT, CN_IDENTITY_FILES } cn_identity_kind_t;

/* A listener for clients outside the mesh; service "" : the Host picks it. */
typedef struct {
    cn_address_t  address;
    const char   *service;              /* "NS/NAME:PORT", or "" */
    const char   *certificate;          /* PEM files of its TLS; both NULL: without */
    const char   *key;
} cn_plain_listener_t;

/* Strings live in the pool; paths are resolved: absolute, or relative to the current directory. */
typedef struct {
    cn_pool_t           *pool;
    const char          *prefix;        /* directory of relative paths; "." */
    uint32_t             workers;       /* >= 1 */
    const char          *log_path;      /* "stderr", "stdout" or a file */
    cn_log_level_t       log_level;
    const char          *access_log_path;   /* likewise; "off": none */
    const char          *pid_path;
    uint64_t             drain_ms;      /* peers are told to go in its course; TERM ends after it */
    uint64_t             drain_minimum_ms;  /* QUIT does not end before, idle or not */
    uint64_t             drain_deadline_ms; /* QUIT ends then, idle or not; >= drain_ms */
    const char          *waypoint;      /* "default/waypoint", or NULL */
    const char          *source_files;  /* directory, or NULL */
    bool                 source_watch;  /* read anew when it changes */
    cn_identity_kind_t   identity;
    const char          *trust_domain;
    cn_array_t           trust_aliases; /* cn_bytes_t */
    const char          *ca_directory;  /* of the development CA: PREFIX/ca */
    /* the service account the waypoint runs as, or NULL: its Gateway's name */
    const char          *waypoint_account;
    const char          *certificate;
    const char          *key;
    const char          *root;
    bool                 http_10;       /* HTTP/1.0 is answered */
    cn_array_t           hbone;         /* cn_address_t */
    cn_array_t           plaintext;     /* cn_plain_listener_t, those with TLS among them */
    cn_array_t           admin;         /* cn_address_t: 0 or 1 */
    cn_array_t           status;        /* cn_address_t */
    cn_array_t           metrics;       /* cn_address_t */
} cn_bootstrap_t;

/* What the command line overrides; NULL and 0: nothing. */
typedef struct {
    const char  *file;                  /* -c */
    const char  *prefix;                /* -p */
    const char  *resources;             /* -r */
    uint32_t     workers;               /* -w */
} cn_bootstrap_options_t;

/*
 * Reads the file (none: PREFIX/conf/cairn.yaml if it is there, else the defaults).  CN_ERR_*:
 * report tells file, line, key and what was expected.
 */
cn_status_t cn_bootstrap_read(const cn_bootstrap_options_t *options, cn_pool_t *pool,
    cn_report_t *report,
    cn_bootstrap_t *bootstrap) CN_MUST_USE;

#endif
