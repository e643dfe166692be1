/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bootstrap - reads conf/cairn.yaml.  A key that nobody knows, a wrong type or a value out of range
 * is an error with its place; nothing is guessed.
 */

#include "server/bootstrap_internal.h"

#include "model/module_config.h"
#include "source/istio/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX      (1024 * 1024)     /* octets */
#define WORKERS_MAX   64


/* "stdout", "stderr" and "off" are no files. */
static void
read_log_path(reader_t *reader, cn_doc_t *parent, const char *field, const char **value)
{
    cn_doc_t    *node = cn_doc_get(parent, "path");
    const char  *text = NULL;

    if (node != NULL && cn_bytes_equal(node->text, CN_BYTES("off"))) {
        *value = "off";         /* also unquoted, where YAML would read a boolean */
        return;
    }

    read_string(reader, parent, "path", field, &text);

    if (text == NULL) {
        return;
    }

    if (strcmp(text, "stdout") == 0 || strcmp(text, "stderr") == 0) {
        *value = text;
        return;
    }

    *value = resolve(reader, text);
}


static void
read_address_item(reader_t *reader, const cn_doc_t *node, const char *field, cn_array_t *addresses)
{
    cn_address_t   address;
    cn_address_t  *item;
    cn_bytes_t     text;

    if (cn_doc_string(node, &text) != CN_OK || cn_address_parse(text, &address) != CN_OK) {
        wrong(reader, node, field, "IP:PORT, for instance \"127.0.0.1:15008\"");
        return;
    }

    item = cn_array_add(addresses);

    if (item != NULL) {
        *item = address;
    }
}


/* One address or a list of them. */
static void
read_addresses(reader_t *reader, cn_doc_t *parent, const char *key, const char *field,
    cn_array_t *addresses)
{
    cn_doc_t  *node = cn_doc_get(parent, key);

    if (node == NULL) {
        return;
    }

    addresses->count = 0;

    if (node->kind == CN_DOC_SEQUENCE) {
        CN_DOC_EACH(node, item) {
            item->used = true;
            read_address_item(reader, item, field, addresses);
        }

        return;
    }

    read_address_item(reader, node, field, addresses);
}


static void
read_plain_item(reader_t *reader, cn_doc_t *item)
{
    cn_array_t            one = CN_ARRAY_INIT(reader->pool, cn_address_t);
    const char           *service = "";
    cn_plain_listener_t  *listener;

    item->used = true;

    if (item->kind == CN_DOC_MAPPING) {
        read_addresses(reader, item, "address", "listen.plaintext.address", &one);
        read_string(reader, item, "service", "listen.plaintext.service", &service);

    } else {
        read_address_item(reader, item, "listen.plaintext", &one);
    }

    if (one.count == 0) {
        return;
    }

    listener = cn_array_add(&reader->out->plaintext);

    if (listener != NULL) {
        *listener = (cn_plain_listener_t) {
            .address = *CN_ARRAY_AT(&one, cn_address_t, 0),
            .service = service,
        };
    }
}


/* {address: ..., certificate: FILE, key: FILE, service: NS/NAME:PORT} */
static void
read_tls_item(reader_t *reader, cn_doc_t *item)
{
    cn_array_t            one = CN_ARRAY_INIT(reader->pool, cn_address_t);
    cn_plain_listener_t   made = { .service = "" };
    cn_plain_listener_t  *listener;

    item->used = true;
    read_addresses(reader, item, "address", "listen.tls.address", &one);
    read_string(reader, item, "service", "listen.tls.service", &made.service);
    read_path(reader, item, "certificate", "listen.tls.certificate", &made.certificate);
    read_path(reader, item, "key", "listen.tls.key", &made.key);

    if (one.count == 0 || made.certificate == NULL || made.key == NULL) {
        wrong(reader, item, "listen.tls", "{address: IP:PORT, certificate: FILE, key: FILE}");
        return;
    }

    listener = cn_array_add(&reader->out->plaintext);

    if (listener != NULL) {
        made.address = *CN_ARRAY_AT(&one, cn_address_t, 0);
        *listener = made;
    }
}


/* One item or a list of them. */
static void
read_items(reader_t *reader, cn_doc_t *node, void (*read_item)(reader_t *reader, cn_doc_t *item))
{
    if (node == NULL) {
        return;
    }

    if (node->kind != CN_DOC_SEQUENCE) {
        read_item(reader, node);
        return;
    }

    node->used = true;

    CN_DOC_EACH(node, item) {
        read_item(reader, item);
    }
}


static void
read_listen(reader_t *reader, cn_doc_t *root)
{
    cn_doc_t  *listen = cn_doc_get(root, "listen");

    read_addresses(reader, listen, "hbone", "listen.hbone", &reader->out->hbone);
    read_items(reader, cn_doc_get(listen, "plaintext"), read_plain_item);
    read_items(reader, cn_doc_get(listen, "tls"), read_tls_item);
}


static void
read_admin(reader_t *reader, cn_doc_t *root)
{
    cn_doc_t  *admin = cn_doc_get(root, "admin");

    read_addresses(reader, admin, "address", "admin.address", &reader->out->admin);
    read_addresses(reader, admin, "status", "admin.status", &reader->out->status);
    read_addresses(reader, admin, "metrics", "admin.metrics", &reader->out->metrics);
}


static void
read_files_identity(reader_t *reader, cn_doc_t *files)
{
    cn_bootstrap_t  *out = reader->out;

    out->identity = CN_IDENTITY_FILES;
    read_path(reader, files, "certificate", "identity.files.certificate", &out->certificate);
    read_path(reader, files, "key", "identity.files.key", &out->key);
    read_path(reader, files, "root", "identity.files.root", &out->root);
    read_string(reader, files, "trust_domain", "identity.files.trust_domain", &out->trust_domain);

    if (out->certificate == NULL || out->key == NULL || out->root == NULL) {
        wrong(reader, files, "identity.files", "certificate, key and root");
    }
}


static void
read_identity(reader_t *reader, cn_doc_t *root)
{
    cn_doc_t        *identity = cn_doc_get(root, "identity");
    cn_doc_t        *files = cn_doc_get(identity, "files");
    cn_doc_t        *development = cn_doc_get(identity, "development");
    cn_doc_t        *istio_ca = cn_doc_get(identity, "istio_ca");
    cn_doc_t        *aliases = cn_doc_get(identity, "trust_domain_aliases");
    cn_bootstrap_t  *out = reader->out;

    if ((files != NULL) + (development != NULL) + (istio_ca != NULL) > 1) {
        wrong(reader, identity, "identity", "one of files, development and istio_ca");
        return;
    }

    if (istio_ca != NULL) {
        cn_bootstrap_read_ca(reader, istio_ca);
    }

    if (files != NULL) {
        read_files_identity(reader, files);
    }

    if (development != NULL) {
        read_string(reader, development, "trust_domain", "identity.development.trust_domain",
                    &out->trust_domain);
        read_path(reader, development, "directory", "identity.development.directory",
                  &out->ca_directory);
        read_string(reader, development, "service_account",
                    "identity.development.service_account", &out->waypoint_account);
    }

    CN_DOC_EACH(aliases, item) {
        cn_bytes_t  *alias = cn_array_add(&out->trust_aliases);

        item->used = true;

        if (alias == NULL || cn_doc_string(item, alias) != CN_OK) {
            wrong(reader, item, "identity.trust_domain_aliases", "trust domains");
            return;
        }
    }
}


static void
read_drain(reader_t *reader, cn_doc_t *root)
{
    cn_bootstrap_t  *out = reader->out;
    uint64_t         least;

    read_duration(reader, root, "drain_time", "drain_time", &out->drain_ms);
    read_duration(reader, root, "drain_minimum_time", "drain_minimum_time", &out->drain_minimum_ms);
    out->drain_deadline_ms = out->drain_ms > out->drain_minimum_ms ? out->drain_ms
                                                                   : out->drain_minimum_ms;
    least = out->drain_deadline_ms;
    read_duration(reader, root, "drain_deadline", "drain_deadline", &out->drain_deadline_ms);

    if (out->drain_deadline_ms < least) {
        wrong(reader, cn_doc_get(root, "drain_deadline"), "drain_deadline",
              "no less than drain_time and drain_minimum_time");
    }
}


static void
read_workers(reader_t *reader, cn_doc_t *root)
{
    cn_doc_t    *node = cn_doc_get(root, "workers");
    cn_bytes_t   text;
    uint64_t     count;

    if (node == NULL) {
        return;
    }

    if (cn_doc_string(node, &text) == CN_OK && cn_bytes_equal(text, CN_BYTES("auto"))) {
        return;
    }

    if (cn_doc_u64(node, 1, WORKERS_MAX, &count) != CN_OK) {
        wrong(reader, node, "workers", "auto or 1..64");
        return;
    }

    reader->out->workers = (uint32_t) count;
}


static void
read_log(reader_t *reader, cn_doc_t *root)
{
    cn_doc_t        *log = cn_doc_get(root, "log");
    cn_doc_t        *level = cn_doc_get(log, "level");
    cn_doc_t        *access_log = cn_doc_get(root, "access_log");
    const char      *format = "istio";
    cn_bytes_t       text;
    cn_bootstrap_t  *out = reader->out;

    read_log_path(reader, log, "log.path", &out->log_path);
    read_log_path(reader, access_log, "access_log.path", &out->access_log_path);

    if (strcmp(out->access_log_path, "off") != 0 && !cn_module_is_built("access_log")) {
        wrong(reader, access_log, "access_log.path",
              "off: the module access_log is left out of this build");
    }

    read_string(reader, access_log, "format", "access_log.format", &format);

    if (level != NULL
        && (cn_doc_string(level, &text) != CN_OK
            || cn_log_parse_level(text, &out->log_level) != CN_OK))
    {
        wrong(reader, level, "log.level", "alert, error, warn, info or debug");
    }

    if (strcmp(format, "istio") != 0) {
        wrong(reader, cn_doc_get(access_log, "format"), "access_log.format",
              "istio (others are not there yet)");
    }
}


static void
read_source(reader_t *reader, cn_doc_t *root)
{
    cn_doc_t        *source = cn_doc_get(root, "source");
    cn_doc_t        *watch = cn_doc_get(source, "watch");
    cn_doc_t        *istiod = cn_doc_get(source, "istiod");
    cn_bootstrap_t  *out = reader->out;

    read_path(reader, source, "files", "source.files", &out->source_files);

    if (watch != NULL && cn_doc_bool(watch, &out->source_watch) != CN_OK) {
        wrong(reader, watch, "source.watch", "true or false");
    }

    if (istiod != NULL && out->source_files != NULL) {
        wrong(reader, source, "source", "either files or istiod");
        return;
    }

    if (istiod != NULL) {
        cn_bootstrap_read_istiod(reader, istiod);
    }
}


static void
read_http_10(reader_t *reader, cn_doc_t *root)
{
    cn_doc_t  *node = cn_doc_get(root, "http_10");

    if (node != NULL && cn_doc_bool(node, &reader->out->http_10) != CN_OK) {
        wrong(reader, node, "http_10", "true or false");
    }
}


/* "off": no file. */
static void
read_pid(reader_t *reader, cn_doc_t *root)
{
    cn_doc_t  *node = cn_doc_get(root, "pid");

    if (node != NULL && cn_bytes_equal(node->text, CN_BYTES("off"))) {
        reader->out->pid_path = NULL;
        return;
    }

    read_path(reader, root, "pid", "pid", &reader->out->pid_path);
}


static void
read_term(reader_t *reader, cn_doc_t *root)
{
    cn_doc_t  *node = cn_doc_get(root, "term_waits_for_idle");

    if (node != NULL && cn_doc_bool(node, &reader->out->term_waits_for_idle) != CN_OK) {
        wrong(reader, node, "term_waits_for_idle", "true or false");
    }
}


static void
read_root(reader_t *reader, cn_doc_t *root)
{
    cn_bootstrap_t  *out = reader->out;
    cn_doc_t        *unknown;

    if (root->kind != CN_DOC_MAPPING) {
        wrong(reader, root, "", "a mapping");
        return;
    }

    root->used = true;
    read_workers(reader, root);
    read_log(reader, root);
    read_pid(reader, root);
    read_drain(reader, root);
    read_term(reader, root);
    read_string(reader, root, "waypoint", "waypoint", &out->waypoint);
    read_source(reader, root);
    read_path(reader, root, "policies", "policies", &out->policies);
    read_identity(reader, root);
    read_listen(reader, root);
    read_http_10(reader, root);
    read_admin(reader, root);
    unknown = cn_doc_unused(root);

    if (unknown != NULL) {
        cn_report_add(reader->report, CN_REPORT_ERROR, unknown, "",
                      cn_pool_str(reader->pool, unknown->key), "unknown key");
    }
}


static uint32_t
default_workers(void)
{
    cpu_set_t    cpus;
    int          count = 1;
    const char  *limit = getenv("ISTIO_CPU_LIMIT");
    uint64_t     cap;

    if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0) {
        count = CPU_COUNT(&cpus);
    }

    if (limit != NULL && cn_bytes_to_u64(cn_bytes_str(limit), WORKERS_MAX, &cap) == CN_OK
        && cap >= 1 && (int) cap < count)
    {
        count = (int) cap;
    }

    return count < 1 ? 1 : count > WORKERS_MAX ? WORKERS_MAX : (uint32_t) count;
}


static void
add_default(cn_array_t *addresses, const char *text)
{
    cn_address_t  *item = cn_array_add(addresses);

    if (item != NULL && cn_address_parse(cn_bytes_str(text), item) != CN_OK) {
        addresses->count--;
    }
}


void
cn_bootstrap_set_defaults(reader_t *reader)
{
    cn_bootstrap_t  *out = reader->out;

    out->workers = default_workers();
    out->log_path = "stderr";
    out->log_level = CN_LOG_INFO;
    out->access_log_path = cn_module_is_built("access_log") ? "stdout" : "off";
    out->pid_path = resolve(reader, "cairn.pid");
    out->source_watch = true;
    out->drain_ms = 45000;
    out->drain_deadline_ms = out->drain_ms;
    out->trust_domain = "cluster.local";
    out->ca_directory = resolve(reader, "ca");
    out->istiod.server = cn_bootstrap_default_server(reader->pool);
    out->istiod.delta = true;
    out->ca = cn_bootstrap_default_ca(reader->pool);
    out->trust_aliases = CN_ARRAY_INIT(reader->pool, cn_bytes_t);
    out->hbone = CN_ARRAY_INIT(reader->pool, cn_address_t);
    out->plaintext = CN_ARRAY_INIT(reader->pool, cn_plain_listener_t);
    out->admin = CN_ARRAY_INIT(reader->pool, cn_address_t);
    out->status = CN_ARRAY_INIT(reader->pool, cn_address_t);
    out->metrics = CN_ARRAY_INIT(reader->pool, cn_address_t);
    add_default(&out->hbone, "0.0.0.0:15008");
    add_default(&out->admin, "127.0.0.1:15000");
    add_default(&out->status, "0.0.0.0:15021");
    add_default(&out->metrics, "0.0.0.0:15020");
    add_default(&out->metrics, "0.0.0.0:15090");
}


cn_status_t
cn_bootstrap_read_file(cn_pool_t *pool, cn_report_t *report, const char *path, cn_bytes_t *text)
{
    int          fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat  info;
    uint8_t     *octets;
    ssize_t      len;

    if (fd < 0 || fstat(fd, &info) < 0) {
        cn_report_add(report, CN_REPORT_ERROR, NULL, "", "", "%s: %s", path, strerror(errno));

        if (fd >= 0) {
            close(fd);
        }

        return CN_ERR_IO;
    }

    octets = info.st_size > FILE_MAX ? NULL : cn_pool_octets(pool, (size_t) info.st_size + 1);
    len = octets == NULL ? -1 : read(fd, octets, (size_t) info.st_size);
    close(fd);

    if (len < 0) {
        cn_report_add(report, CN_REPORT_ERROR, NULL, "", "",
                      "%s: cannot be read, or larger than 1 MiB", path);
        return CN_ERR_IO;
    }

    *text = cn_bytes(octets, (size_t) len);

    return CN_OK;
}


static cn_status_t
read_documents(reader_t *reader, const char *path)
{
    cn_array_t   documents = CN_ARRAY_INIT(reader->pool, cn_doc_t *);
    cn_bytes_t   text;
    cn_status_t  status = cn_bootstrap_read_file(reader->pool, reader->report, path, &text);

    if (status != CN_OK) {
        return status;
    }

    status = cn_yaml_read(path, text, reader->pool, reader->report, &documents);

    if (status != CN_OK) {
        return status;
    }

    if (documents.count > 1) {
        wrong(reader, *CN_ARRAY_AT(&documents, cn_doc_t *, 1), "", "one document");
        return CN_ERR_SYNTAX;
    }

    if (documents.count == 1) {
        read_root(reader, *CN_ARRAY_AT(&documents, cn_doc_t *, 0));
    }

    return reader->report->errors > 0 ? CN_ERR_SYNTAX : CN_OK;
}


cn_status_t
cn_bootstrap_read(const cn_bootstrap_options_t *options, cn_pool_t *pool, cn_report_t *report,
    cn_bootstrap_t *bootstrap)
{
    reader_t     reader = { bootstrap, report, pool };
    const char  *path = options->file;

    *bootstrap = (cn_bootstrap_t) {
        .pool = pool,
        .prefix = options->prefix != NULL ? options->prefix : ".",
    };
    cn_bootstrap_set_defaults(&reader);

    if (path == NULL && options->resources == NULL) {
        path = resolve(&reader, "conf/cairn.yaml");

        if (path != NULL && access(path, F_OK) != 0) {
            path = NULL;
        }
    }

    if (path != NULL) {
        cn_status_t  status = read_documents(&reader, path);

        if (status != CN_OK) {
            return status;
        }
    }

    if (options->resources != NULL && bootstrap->istiod.server.address != NULL) {
        cn_report_add(report, CN_REPORT_ERROR, NULL, "", "source",
                      "expected either istiod or the directory that -r names");
        return CN_ERR_SYNTAX;
    }

    if (options->resources != NULL) {
        bootstrap->source_files = options->resources;
    }

    if (options->workers > 0) {
        bootstrap->workers = options->workers;
    }

    if (bootstrap->workers > WORKERS_MAX) {
        cn_report_add(report, CN_REPORT_ERROR, NULL, "", "workers", "expected 1..64");
        return CN_ERR_RANGE;
    }

    return CN_OK;
}
