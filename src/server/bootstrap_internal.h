/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bootstrap_internal - the reader of the bootstrap file between its own files: what each key needs,
 * and the keys of the control plane (bootstrap_control.c).
 */

#ifndef CN_SERVER_BOOTSTRAP_INTERNAL_H
#define CN_SERVER_BOOTSTRAP_INTERNAL_H

#include "server/bootstrap.h"

typedef struct {
    cn_bootstrap_t  *out;
    cn_report_t     *report;
    cn_pool_t       *pool;
} reader_t;


/* An error at that place of the file. */
static inline void
wrong(reader_t *reader, const cn_doc_t *node, const char *field, const char *expected)
{
    cn_report_add(reader->report, CN_REPORT_ERROR, node, "", field, "expected %s", expected);
}


/* A path of the file: relative to the prefix. */
static inline const char *
resolve(reader_t *reader, const char *path)
{
    if (path[0] == '/' || strcmp(reader->out->prefix, ".") == 0) {
        return path;
    }

    return cn_pool_printf(reader->pool, "%s/%s", reader->out->prefix, path);
}


/* A string that is not empty; *value stays as it is when the key is not there.  Reports. */
static inline void
read_string(reader_t *reader, cn_doc_t *parent, const char *key, const char *field,
    const char **value)
{
    cn_doc_t    *node = cn_doc_get(parent, key);
    cn_bytes_t   text;

    if (node == NULL) {
        return;
    }

    if (cn_doc_string(node, &text) != CN_OK || text.len == 0) {
        wrong(reader, node, field, "a string");
        return;
    }

    *value = cn_pool_str(reader->pool, text);
}


/* The same of a path, resolved. */
static inline void
read_path(reader_t *reader, cn_doc_t *parent, const char *key, const char *field,
    const char **value)
{
    const char  *text = NULL;

    read_string(reader, parent, key, field, &text);

    if (text != NULL) {
        *value = resolve(reader, text);
    }
}


/* The same of a duration ("45s"). */
static inline void
read_duration(reader_t *reader, cn_doc_t *parent, const char *key, const char *field, uint64_t *ms)
{
    cn_doc_t    *node = cn_doc_get(parent, key);
    cn_bytes_t   text;
    uint64_t     us;

    if (node == NULL) {
        return;
    }

    if (cn_doc_string(node, &text) != CN_OK || cn_bytes_to_duration_us(text, &us) != CN_OK) {
        wrong(reader, node, field, "a duration, for instance \"45s\"");
        return;
    }

    *ms = us / 1000;
}


/* Everything that a file may leave out; prefix and pool of the bootstrap are set. */
void cn_bootstrap_set_defaults(reader_t *reader);

/* A file of at most 1 MiB, whole, in the pool.  CN_ERR_IO: reported by its path. */
cn_status_t cn_bootstrap_read_file(cn_pool_t *pool, cn_report_t *report, const char *path,
    cn_bytes_t *text) CN_MUST_USE;

/*
 * "HOST:PORT" of a server, HOST a name, an IPv4 address or an IPv6 address in brackets.  Sets
 * address, host, port, and server_name to host without a last dot.  CN_ERR_SYNTAX, CN_ERR_MEMORY.
 */
cn_status_t cn_bootstrap_parse_server(cn_pool_t *pool, cn_bytes_t text,
    cn_bootstrap_server_t *server) CN_MUST_USE;

/* A server with nothing but the values that keys may leave out. */
cn_bootstrap_server_t cn_bootstrap_default_server(cn_pool_t *pool);
cn_bootstrap_ca_t cn_bootstrap_default_ca(cn_pool_t *pool);

/* "ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096".  False: none of them. */
bool cn_bootstrap_parse_key(cn_bytes_t text, cn_bootstrap_ca_t *ca);

/* The keys `source.istiod` and `identity.istio_ca` (their values; not NULL). */
void cn_bootstrap_read_istiod(reader_t *reader, cn_doc_t *istiod);
void cn_bootstrap_read_ca(reader_t *reader, cn_doc_t *ca);

#endif
