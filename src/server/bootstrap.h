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
#include "http/grpc_client.h"
#include "model/report.h"
#include "source/identity/csr.h"

typedef enum {
    CN_IDENTITY_DEVELOPMENT,
    CN_IDENTITY_FILES,
    CN_IDENTITY_ISTIO_CA,               /* istiod signs: ca below */
    CN_IDENTITY_SOCKET,                 /* SPIRE gives it over a Unix socket: identity_socket */
} cn_identity_kind_t;

/* A gRPC server of the control plane, and how it learns who we are. */
typedef struct {
    const char  *address;               /* "HOST:PORT" as it was given; NULL: there is none */
    const char  *host;                  /* a name, or an IP without brackets */
    uint16_t     port;
    bool         plaintext;             /* without TLS; then without a token too */
    const char  *root;                  /* PEM file, read for each connection; NULL: the system's */
    const char  *server_name;           /* what its certificate has to name */
    const char  *token;                 /* file, read for each call; NULL: none is sent */
    const char  *cluster_id;            /* metadata "clusterid" */
    cn_array_t   headers;               /* cn_grpc_metadata_t, sent with each call */
    uint64_t     keepalive_ms;          /* a ping after so much silence; 0: none */
    uint64_t     keepalive_timeout_ms;  /* its answer has to come within */
} cn_bootstrap_server_t;

/* Configuration from istiod over ADS. */
typedef struct {
    cn_bootstrap_server_t   server;
    bool                    delta;      /* DeltaAggregatedResources; else Stream... */
    const char             *node;       /* JSON: {"id", "cluster", "locality", "metadata"} */
} cn_bootstrap_istiod_t;

/* Certificates from istiod's CA. */
typedef struct {
    cn_bootstrap_server_t   server;
    uint64_t                ttl_ms;             /* asked for; the CA may give less */
    cn_key_config_t         key;                /* of RSA: 2048..4096 bits */
    uint32_t                grace_ppm;          /* renewed when this share of its life is left, */
    uint32_t                grace_jitter_ppm;   /* give or take so much; per million */
} cn_bootstrap_ca_t;

/* A listener for clients outside the mesh; service "" : the Host picks it. */
typedef struct {
    cn_address_t  address;
    const char   *service;              /* "NS/NAME:PORT", or "" */
    const char   *certificate;          /* PEM files of its TLS; both NULL: without */
    const char   *key;
} cn_plain_listener_t;

#define CN_DRAIN_FOREVER  UINT64_MAX

/* Strings live in the pool; paths are resolved: absolute, or relative to the current directory. */
typedef struct {
    cn_pool_t           *pool;
    const char          *prefix;        /* directory of relative paths; "." */
    uint32_t             workers;       /* >= 1 */
    const char          *log_path;      /* "stderr", "stdout" or a file */
    cn_log_level_t       log_level;
    const char          *access_log_path;   /* likewise; "off": none */
    const char          *pid_path;      /* NULL: no such file is written */
    uint64_t             drain_ms;      /* peers are told to go in its course; TERM ends after it */
    uint64_t             drain_minimum_ms;  /* QUIT does not end before, idle or not */
    /* QUIT ends then, idle or not; >= drain_ms; CN_DRAIN_FOREVER: not before it is idle */
    uint64_t             drain_deadline_ms;
    bool                 term_waits_for_idle;   /* TERM does what QUIT does */
    const char          *waypoint;      /* "default/waypoint", or NULL */
    const char          *source_files;  /* directory, or NULL */
    bool                 source_watch;  /* read anew when it changes */
    cn_bootstrap_istiod_t   istiod;     /* the other source; excludes source_files */
    const char          *policies;      /* directory of policies beside istiod's, or NULL */
    cn_identity_kind_t   identity;
    const char          *trust_domain;
    cn_array_t           trust_aliases; /* cn_bytes_t */
    const char          *ca_directory;  /* of the development CA: PREFIX/ca */
    /* the service account the waypoint runs as, or NULL: its Gateway's name */
    const char          *waypoint_account;
    const char          *certificate;
    const char          *key;
    const char          *root;
    cn_bootstrap_ca_t    ca;            /* of CN_IDENTITY_ISTIO_CA */
    const char          *identity_socket;   /* of CN_IDENTITY_SOCKET */
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
    char *const *proxy;                 /* the words after "proxy", NULL-ended: no bootstrap file */
} cn_bootstrap_options_t;

/*
 * Reads the file (none: PREFIX/conf/cairn.yaml if it is there, else the defaults).  CN_ERR_*:
 * report tells file, line, key and what was expected.
 */
cn_status_t cn_bootstrap_read(const cn_bootstrap_options_t *options, cn_pool_t *pool,
    cn_report_t *report,
    cn_bootstrap_t *bootstrap) CN_MUST_USE;

/*
 * All of it as JSON, for people and tests: `cairn proxy waypoint --print`.  No file that it names
 * is read, and of headers only the names are told: it has no secrets.  In the bootstrap's pool;
 * NULL: memory.
 */
const char *cn_bootstrap_print(const cn_bootstrap_t *bootstrap) CN_MUST_USE;

/*
 * Reports by name what this build reads but cannot do yet: it is refused, as nothing that is asked
 * for may be passed over.  CN_ERR_UNSUPPORTED: something was.
 */
cn_status_t cn_bootstrap_check_built(const cn_bootstrap_t *bootstrap, cn_report_t *report)
    CN_MUST_USE;

#endif
