/* SPDX-License-Identifier: Apache-2.0 */

/*
 * load - files of a directory, in sorted order, become resources.  The unit that can be broken is
 * as small as it can be: a document that is no resource is left out, and of a file that is no YAML
 * the documents before the fault count, and for the rest what the last reading had of that file.
 */

#include "source/istio/istio.h"
#include "source/istio/yaml.h"

#include "base/fiber.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TOTAL_MAX  (64u * 1024 * 1024)      /* bytes of all files */
#define FILES_MAX  10000
#define LIST_DEPTH 4                        /* kind: List in a List */

typedef struct {
    const char       *group;
    const char       *versions[4];
    const char       *kind;
    cn_istio_kind_t   id;
} kind_t;

static const kind_t  kinds[] = {
    { "", { "v1" }, "Namespace", CN_KIND_NAMESPACE },
    { "", { "v1" }, "Service", CN_KIND_SERVICE },
    { "", { "v1" }, "Pod", CN_KIND_POD },
    { "discovery.k8s.io", { "v1" }, "EndpointSlice", CN_KIND_ENDPOINT_SLICE },
    { "gateway.networking.k8s.io", { "v1", "v1beta1" }, "Gateway", CN_KIND_GATEWAY },
    { "gateway.networking.k8s.io", { "v1", "v1beta1" }, "HTTPRoute", CN_KIND_HTTP_ROUTE },
    { "networking.istio.io", { "v1", "v1beta1", "v1alpha3" }, "VirtualService",
        CN_KIND_VIRTUAL_SERVICE },
    { "networking.istio.io", { "v1", "v1beta1", "v1alpha3" }, "DestinationRule",
        CN_KIND_DESTINATION_RULE },
    { "networking.istio.io", { "v1", "v1beta1", "v1alpha3" }, "ServiceEntry",
        CN_KIND_SERVICE_ENTRY },
    { "networking.istio.io", { "v1", "v1beta1", "v1alpha3" }, "WorkloadEntry",
        CN_KIND_WORKLOAD_ENTRY },
};

typedef struct {
    cn_istio_t  *istio;
    size_t       total;             /* bytes read so far */
    const char  *file;
} loader_t;


static void
fail(cn_istio_t *istio, const char *file, const char *text)
{
    cn_doc_t  where = { .file = file };

    cn_report_add(istio->report, CN_REPORT_ERROR, &where, "", "", "%s", text);
}


/* ---- resources ------------------------------------------------------------------------------- */


static bool
in_list(cn_bytes_t text, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (cn_bytes_equal(text, cn_bytes_str(*list))) {
            return true;
        }
    }

    return false;
}


static bool
find_module_kind(cn_istio_t *istio, cn_bytes_t group, cn_bytes_t version, cn_bytes_t kind,
    cn_loaded_t *loaded)
{
    for (const cn_module_config_t *const *module = istio->config->modules; *module != NULL;
         module++) {
        for (const cn_kind_t *item = (*module)->kinds; item != NULL && item->kind != NULL; item++) {
            if (cn_bytes_equal(kind, cn_bytes_str(item->kind))
                && cn_bytes_equal(group, cn_bytes_str(item->group))
                && in_list(version, item->versions))
            {
                loaded->kind = CN_KIND_MODULE;
                loaded->module = *module;
                return true;
            }
        }
    }

    return false;
}


static void
find_kind(cn_istio_t *istio, cn_bytes_t api_version, cn_bytes_t kind, cn_loaded_t *loaded)
{
    cn_bytes_t  group, version;

    if (!cn_bytes_split(api_version, '/', &group, &version)) {
        version = group;
        group = CN_BYTES_NONE;
    }

    loaded->kind = CN_KIND_UNKNOWN;

    for (size_t i = 0; i < CN_COUNT_OF(kinds); i++) {
        if (!cn_bytes_equal(kind, cn_bytes_str(kinds[i].kind))
            || !cn_bytes_equal(group, cn_bytes_str(kinds[i].group))) {
            continue;
        }

        for (size_t j = 0; kinds[i].versions[j] != NULL; j++) {
            if (cn_bytes_equal(version, cn_bytes_str(kinds[i].versions[j]))) {
                loaded->kind = kinds[i].id;
                return;
            }
        }
    }

    (void) find_module_kind(istio, group, version, kind, loaded);
}


static int64_t
read_time(cn_read_t *read, cn_doc_t *metadata)
{
    struct tm   tm = { .tm_year = 0 };
    cn_bytes_t  text;
    char        buffer[32];

    if (!cn_read_string(read, metadata, "creationTimestamp", "metadata", &text)) {
        return 0;
    }

    snprintf(buffer, sizeof(buffer), "%.*s", CN_BYTES_ARG(text));

    if (strptime(buffer, "%Y-%m-%dT%H:%M:%S", &tm) == NULL) {
        cn_read_error(read, cn_doc_get(metadata, "creationTimestamp"), "metadata.creationTimestamp",
                      "expected a time such as 2026-01-31T08:00:00Z");
        return 0;
    }

    return (int64_t) timegm(&tm);
}


/* Names end up in keys, file names of reports and host names: Kubernetes' own rule for them. */
static bool
is_dns_name(cn_bytes_t name)
{
    if (name.len == 0 || name.len > 253) {
        return false;
    }

    for (size_t i = 0; i < name.len; i++) {
        uint8_t  octet = name.ptr[i];
        bool     inner = octet == '-' || octet == '.';

        if (!((octet >= 'a' && octet <= 'z') || (octet >= '0' && octet <= '9')
              || (inner && i > 0 && i + 1 < name.len))) {
            return false;
        }
    }

    return true;
}


static void
read_metadata(cn_read_t *read, cn_resource_t *resource, bool namespaced)
{
    static const char *const  fields[] = {
        "annotations", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers",
            "generateName", "generation",
        "labels", "managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid", NULL
    };
    cn_doc_t                 *metadata = cn_read_mapping(read, resource->root, "metadata", "");

    if (metadata == NULL) {
        if (read->errors == 0) {
            cn_read_error(read, resource->root, "metadata.name", "is missing");
        }
        return;
    }

    if (cn_read_need_string(read, metadata, "name", "metadata", &resource->name)
        && !is_dns_name(resource->name)) {
        cn_read_error(read, cn_doc_get(metadata, "name"), "metadata.name",
                      "\"%.*s\" is no name: lower case letters, digits, - and .",
                      CN_BYTES_ARG(resource->name));
    }

    if (namespaced) {
        resource->name_space = CN_BYTES("default");

        if (cn_read_string(read, metadata, "namespace", "metadata", &resource->name_space)
            && !is_dns_name(resource->name_space)) {
            cn_read_error(read, cn_doc_get(metadata, "namespace"), "metadata.namespace",
                          "\"%.*s\" is no name",
                          CN_BYTES_ARG(resource->name_space));
        }
    }

    resource->created = read_time(read, metadata);
    cn_read_ignore(metadata, fields);
}


cn_loaded_t *
cn_istio_loaded(cn_istio_t *istio, cn_doc_t *root, cn_read_t *read)
{
    cn_loaded_t    *loaded = cn_pool_alloc_zero(istio->pool, sizeof(*loaded));
    cn_resource_t  *resource;
    cn_bytes_t      api_version = CN_BYTES_NONE;
    cn_bytes_t      kind = CN_BYTES_NONE;
    char           *key;

    if (loaded == NULL) {
        cn_read_no_memory(read);
        return NULL;
    }

    if (root->kind != CN_DOC_MAPPING) {
        cn_read_error(read, root, "", "expected a resource, got %s", cn_doc_kind_name(root->kind));
        return NULL;
    }

    resource = &loaded->resource;
    resource->root = root;

    if (!cn_read_need_string(read, root, "apiVersion", "", &api_version)
        || !cn_read_need_string(read, root, "kind", "", &kind)) {
        return NULL;
    }

    find_kind(istio, api_version, kind, loaded);
    read_metadata(read, resource, loaded->kind != CN_KIND_NAMESPACE);
    resource->api_version = cn_pool_str(istio->pool, api_version);
    resource->kind = cn_pool_str(istio->pool, kind);
    resource->label = cn_pool_printf(istio->pool, "%.*s %.*s%s%.*s", CN_BYTES_ARG(kind),
                                     CN_BYTES_ARG(resource->name_space),
                                     resource->name_space.len == 0 ? "" : "/",
                                         CN_BYTES_ARG(resource->name));
    key = cn_pool_printf(istio->pool, "%.*s %.*s/%.*s", CN_BYTES_ARG(kind),
                         CN_BYTES_ARG(resource->name_space),
                         CN_BYTES_ARG(resource->name));

    if (resource->api_version == NULL || resource->kind == NULL || resource->label == NULL
        || key == NULL) {
        cn_read_no_memory(read);
        return NULL;
    }

    loaded->key = cn_bytes_str(key);
    read->resource = resource;
    resource->spec = cn_read_mapping(read, root, "spec", "");

    return loaded;
}


/* One warning a kind. */
static cn_status_t
warn_unknown_kind(cn_istio_t *istio, cn_loaded_t *loaded)
{
    const cn_resource_t  *resource = &loaded->resource;
    char                 *key = cn_pool_printf(istio->pool, "%s %s", resource->api_version,
                                               resource->kind);

    if (key == NULL) {
        return CN_ERR_MEMORY;
    }

    if (cn_map_get(istio->by_key, cn_bytes_str(key)) != NULL) {
        return CN_OK;
    }

    cn_report_add(istio->report, CN_REPORT_WARNING, resource->root, resource->label, "kind",
                  "%s of %s is not used here and left out", resource->kind, resource->api_version);

    return cn_map_set(istio->by_key, cn_bytes_str(key), loaded);
}


static cn_status_t
keep(cn_istio_t *istio, cn_loaded_t *loaded, cn_read_t *read)
{
    cn_loaded_t      *other = cn_map_get(istio->by_key, loaded->key);
    cn_loaded_ref_t  *slot;

    if (loaded->kind == CN_KIND_UNKNOWN) {
        return warn_unknown_kind(istio, loaded);
    }

    if (other != NULL) {
        cn_read_error(read, loaded->resource.root, "metadata.name",
                      "is there twice, first at %s:%u", other->resource.root->file,
                      other->resource.root->line);
        return CN_OK;                       /* the first stays */
    }

    slot = cn_array_add(&istio->loaded);

    if (slot == NULL || cn_map_set(istio->by_key, loaded->key, loaded) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    loaded->broken = read->errors > 0;
    *slot = loaded;

    return CN_OK;
}


static cn_status_t
add_document(loader_t *loader, cn_doc_t *root, unsigned depth)
{
    cn_istio_t   *istio = loader->istio;
    cn_read_t     read = { .pool = istio->pool, .report = istio->report, .model = istio->model };
    cn_doc_t     *kind = cn_doc_get(root, "kind");
    cn_doc_t     *items = cn_doc_get(root, "items");
    cn_loaded_t  *loaded;

    cn_fiber_rest();

    if (kind != NULL && items != NULL && cn_bytes_ends_with(kind->text, CN_BYTES("List"))) {
        if (items->kind != CN_DOC_SEQUENCE || depth == LIST_DEPTH) {
            cn_read_error(&read, items, "items", "expected a sequence of resources");
            return CN_OK;
        }

        CN_DOC_EACH(items, item) {
            cn_status_t  status = add_document(loader, item, depth + 1);

            if (status != CN_OK) {
                return status;
            }
        }

        return CN_OK;
    }

    loaded = cn_istio_loaded(istio, root, &read);

    return loaded == NULL ? CN_OK : keep(istio, loaded, &read);
}


/* ---- files ----------------------------------------------------------------------------------- */


/* A resource of the last reading, of a file that cannot be read to its end now. */
static cn_status_t
retain(void *arg, cn_bytes_t key, const cn_doc_t *doc)
{
    loader_t     *loader = arg;
    cn_istio_t   *istio = loader->istio;
    cn_read_t     read = { .pool = istio->pool, .report = istio->report, .model = istio->model };
    cn_loaded_t  *loaded;
    cn_doc_t     *copy;

    if (cn_map_get(istio->by_key, key) != NULL) {
        return CN_OK;                       /* moved, or before the fault */
    }

    copy = cn_yaml_copy(doc, istio->pool);
    loaded = copy == NULL ? NULL : cn_istio_loaded(istio, copy, &read);

    if (loaded == NULL) {
        return CN_ERR_MEMORY;
    }

    loaded->retained = true;

    return keep(istio, loaded, &read);
}


static cn_status_t
add_file(loader_t *loader, cn_bytes_t text)
{
    cn_istio_t   *istio = loader->istio;
    cn_array_t    documents = CN_ARRAY_INIT(istio->pool, cn_doc_t *);
    cn_status_t   parsed = cn_yaml_read(loader->file, text, istio->pool, istio->report, &documents);
    cn_status_t   status = parsed == CN_ERR_SYNTAX ? CN_OK : parsed;

    for (size_t i = 0; i < documents.count && status == CN_OK; i++) {
        status = add_document(loader, *CN_ARRAY_AT(&documents, cn_doc_t *, i), 0);
    }

    if (status == CN_OK && parsed != CN_OK && istio->last != NULL) {
        status = cn_istio_last_each(istio->last, loader->file, retain, loader);
    }

    return status;
}


static cn_status_t
read_all(int fd, uint8_t *buffer, size_t size)
{
    size_t  at = 0;

    while (at < size) {
        ssize_t  got = read(fd, buffer + at, size - at);

        if (got < 0 && errno == EINTR) {
            continue;
        }

        if (got <= 0) {
            /* shorter than a moment ago: the next reading sees it whole */
            return CN_ERR_IO;
        }

        at += (size_t) got;
    }

    return CN_OK;
}


static cn_status_t
read_open_file(loader_t *loader, int fd)
{
    struct stat  info;
    uint8_t     *buffer;
    size_t       size;
    cn_status_t  status;

    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        fail(loader->istio, loader->file, "is no regular file");
        return CN_ERR_IO;
    }

    if ((uint64_t) info.st_size > TOTAL_MAX - loader->total) {
        fail(loader->istio, loader->file, "all files together are larger than 64 MiB");
        return CN_ERR_LIMIT;
    }

    size = (size_t) info.st_size;
    loader->total += size;
    buffer = cn_alloc(size + 1);

    if (buffer == NULL) {
        return CN_ERR_MEMORY;
    }

    status = read_all(fd, buffer, size);

    if (status == CN_OK) {
        status = add_file(loader, cn_bytes(buffer, size));

    } else {
        fail(loader->istio, loader->file, "cannot be read to its end");
    }

    cn_free(buffer);

    return status;
}


/* What a file cannot say now it said last time; only memory stops the reading. */
static cn_status_t
load_file(cn_istio_t *istio, loader_t *loader, const char *path)
{
    int          fd = open(path, O_RDONLY | O_CLOEXEC);
    cn_status_t  status = CN_ERR_IO;

    loader->file = cn_pool_str(istio->pool, cn_bytes_str(path));

    if (loader->file == NULL) {
        status = CN_ERR_MEMORY;

    } else if (fd < 0) {
        fail(istio, loader->file, strerror(errno));

    } else {
        status = read_open_file(loader, fd);
    }

    if (fd >= 0) {
        close(fd);
    }

    if ((status == CN_ERR_IO || status == CN_ERR_LIMIT) && istio->last != NULL) {
        status = cn_istio_last_each(istio->last, loader->file, retain, loader);
    }

    return status == CN_ERR_MEMORY ? status : CN_OK;
}


/* Hidden files are not ours: editors and mounted ConfigMaps keep their own there. */
static bool
is_resource_file(const char *file)
{
    cn_bytes_t  name = cn_bytes_str(file);

    return file[0] != '.'
           && (cn_bytes_ends_with(name, CN_BYTES(".yaml"))
               || cn_bytes_ends_with(name, CN_BYTES(".yml"))
               || cn_bytes_ends_with(name, CN_BYTES(".json")));
}


bool
cn_istio_is_watched(const char *name)
{
    return is_resource_file(name) || strcmp(name, "..data") == 0;
}


/* Octet order, whatever the locale says. */
static int
compare_names(const void *a, const void *b)
{
    const char *const  *left = a;
    const char *const  *right = b;

    return strcmp(*left, *right);
}


static cn_status_t
list_files(cn_istio_t *istio, DIR *opened, const char *directory, cn_array_t *paths)
{
    struct dirent  *entry;

    while ((entry = readdir(opened)) != NULL) {
        char  **slot;

        if (!is_resource_file(entry->d_name)) {
            continue;
        }

        if (paths->count == FILES_MAX) {
            fail(istio, directory, "has more than 10000 files");
            break;
        }

        slot = cn_array_add(paths);

        if (slot == NULL) {
            return CN_ERR_MEMORY;
        }

        *slot = cn_pool_printf(istio->pool, "%s/%s", directory, entry->d_name);

        if (*slot == NULL) {
            return CN_ERR_MEMORY;
        }
    }

    return cn_array_sort(paths, compare_names);
}


static cn_status_t
load_directory(cn_istio_t *istio, loader_t *loader, const char *directory)
{
    cn_array_t   paths = CN_ARRAY_INIT(istio->pool, char *);
    DIR         *opened = opendir(directory);
    cn_status_t  status;

    if (opened == NULL) {
        fail(istio, directory, strerror(errno));
        return CN_ERR_IO;
    }

    status = list_files(istio, opened, directory, &paths);
    closedir(opened);

    for (size_t i = 0; i < paths.count && status == CN_OK; i++) {
        status = load_file(istio, loader, *CN_ARRAY_AT(&paths, char *, i));
    }

    return status;
}


cn_status_t
cn_istio_load(cn_istio_t *istio)
{
    const char   *directory = istio->config->directory;
    loader_t      loader = { .istio = istio };
    struct stat   info;

    if (directory != NULL && stat(directory, &info) == 0 && S_ISREG(info.st_mode)) {
        return load_file(istio, &loader, directory);
    }

    return load_directory(istio, &loader, directory == NULL ? "." : directory);
}
