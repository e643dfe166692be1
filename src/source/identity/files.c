/* SPDX-License-Identifier: Apache-2.0 */

/*
 * files - see files.h.
 *
 * Kubernetes turns a link beside a mounted file and leaves the file's own, so it is the directory
 * that is watched, with whatever happens in it; what was told before is known by its hash.  Where
 * the files stand in several directories, the others are waited for a moment.
 */

#include "source/identity/files.h"
#include "base/hash.h"
#include "base/pool.h"
#include "event/changes.h"

#define FILES      3
#define GATHER_MS  50

struct cn_identity_files_s {
    cn_pool_t                *pool;             /* this struct and the paths */
    cn_loop_t                *loop;
    cn_identity_paths_t       paths;
    const cn_maker_events_t  *events;
    void                     *owner;
    cn_changes_t             *changes[FILES];
    const char               *directories[FILES];       /* of these; equal ones once */
    cn_timer_t                read;
    bool                      asked;
    uint64_t                  told;             /* hash of the texts; 0: none yet */
};


static uint64_t
hash_of(const cn_identity_t *identity)
{
    uint64_t  hash = cn_hash_seeded(identity->chain_pem, 1);

    hash = cn_hash_seeded(identity->key_pem, hash);
    hash = cn_hash_seeded(identity->roots_pem, hash);

    return hash == 0 ? 1 : hash;
}


static void
read_files(cn_timer_t *timer)
{
    cn_identity_files_t  *files = CN_CONTAINER_OF(timer, cn_identity_files_t, read);
    bool                  asked = files->asked;
    cn_identity_t         identity;
    char                  error[CN_IDENTITY_ERROR_MAX];
    uint64_t              hash;

    files->asked = false;

    if (cn_identity_read_files(files->paths.certificate, files->paths.key, files->paths.roots,
                               &identity, error) != CN_OK)
    {
        files->events->on_failed(files->owner, false, error);
        return;
    }

    hash = hash_of(&identity);

    if (hash == files->told && !asked) {
        cn_identity_wipe(&identity);
        return;
    }

    files->told = hash;
    files->events->on_made(files->owner, &identity);
}


static void
changed(void *owner)
{
    cn_identity_files_t  *files = owner;

    if (!cn_timer_armed(&files->read)) {
        cn_timer_set(files->loop, &files->read, GATHER_MS);
    }
}


static void
ask(void *maker)
{
    cn_identity_files_t  *files = maker;

    files->asked = true;
    cn_timer_set(files->loop, &files->read, 0);
}


static void
cancel(void *maker)
{
    cn_identity_files_t  *files = maker;

    files->asked = false;
    cn_timer_cancel(&files->read);
}


const cn_maker_t  cn_identity_files_maker = {
    .ask    = ask,
    .cancel = cancel,
};


static bool
any_name(const char *name)
{
    (void) name;

    return true;
}


/* NULL: memory. */
static const char *
directory_of(cn_pool_t *pool, const char *path)
{
    cn_bytes_t  bytes = cn_bytes_str(path);
    size_t      slash = cn_bytes_find_last_octet(bytes, '/');

    if (slash == SIZE_MAX) {
        return ".";
    }

    return cn_pool_str(pool, cn_bytes(bytes.ptr, slash == 0 ? 1 : slash));
}


/* False: memory, or the kernel. */
static bool
watch_directory(cn_identity_files_t *files, const char *directory)
{
    size_t  free_at = 0;

    while (files->changes[free_at] != NULL) {
        if (strcmp(files->directories[free_at], directory) == 0) {
            return true;
        }

        free_at++;
    }

    files->directories[free_at] = directory;
    files->changes[free_at] = cn_changes_open(files->loop, directory, any_name, changed, files);

    return files->changes[free_at] != NULL;
}


static bool
open_all(cn_identity_files_t *files)
{
    cn_identity_paths_t  *paths = &files->paths;
    const char          **all[FILES] = { &paths->certificate, &paths->key, &paths->roots };

    for (size_t i = 0; i < FILES; i++) {
        const char  *directory;

        if (*all[i] == NULL) {
            continue;
        }

        *all[i] = cn_pool_str(files->pool, cn_bytes_str(*all[i]));
        directory = *all[i] == NULL ? NULL : directory_of(files->pool, *all[i]);

        if (directory == NULL || !watch_directory(files, directory)) {
            return false;
        }
    }

    return true;
}


cn_identity_files_t *
cn_identity_files_open(cn_loop_t *loop, const cn_identity_paths_t *paths,
    const cn_maker_events_t *events, void *owner)
{
    cn_pool_t            *pool = cn_pool_create(1024, NULL);
    cn_identity_files_t  *files = pool == NULL ? NULL : cn_pool_alloc_zero(pool, sizeof(*files));

    if (files == NULL) {
        cn_pool_destroy(pool);
        return NULL;
    }

    files->pool = pool;
    files->loop = loop;
    files->paths = *paths;
    files->events = events;
    files->owner = owner;
    files->read.run = read_files;

    if (!open_all(files)) {
        cn_identity_files_close(files);
        return NULL;
    }

    return files;
}


void
cn_identity_files_close(cn_identity_files_t *files)
{
    if (files == NULL) {
        return;
    }

    for (size_t i = 0; i < FILES; i++) {
        cn_changes_close(files->changes[i]);
    }

    cn_timer_cancel(&files->read);
    cn_pool_destroy(files->pool);
}
