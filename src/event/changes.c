/* SPDX-License-Identifier: Apache-2.0 */

/*
 * changes - inotify on a directory and on the one above it.
 *
 *   above/            watched for the path's own name: a link turned, a directory made again
 *     path/           watched for names that matter
 *       reviews.yaml
 *       ..data -> ..2026_01_31/
 *
 *   rest --change--> changing --quiet, or too long--> on_changed, rest
 */

#include "event/changes.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/pool.h"

#include <errno.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUIET_MS     200ull
#define LONGEST_MS   2000ull
#define LOST_MS      1000               /* a directory that is gone is looked for so often */
#define WRITING_MAX  32                 /* files known to be under way; more are not waited for */
#define BUFFER_SIZE  4096

#define NAMES_MASK   (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB)
#define FILES_MASK   (NAMES_MASK | IN_MODIFY | IN_CLOSE_WRITE)

struct cn_changes_s {
    cn_watch_t    watch;
    cn_timer_t    quiet;
    cn_timer_t    lost;
    cn_task_t     free;
    cn_loop_t    *loop;
    bool        (*matters)(const char *name);
    void        (*on_changed)(void *owner);
    void         *owner;
    int           inside;               /* watch descriptors; -1: there is none */
    int           above;
    uint64_t      since_ms;             /* of the first change not told yet; 0: at rest */
    uint64_t      writing[WRITING_MAX]; /* hashes of names */
    size_t        writing_count;
    bool          closed;
    char         *directory;            /* the one above the path, in this allocation */
    char         *base;                 /* the path's last part, likewise */
    char          path[];
};


/* ---- coming to rest -------------------------------------------------------------------------- */

static void
changed(cn_changes_t *changes)
{
    uint64_t  now = cn_clock_ms();
    uint64_t  left, delay;

    if (changes->since_ms == 0) {
        changes->since_ms = now;
    }

    left = LONGEST_MS - (now - changes->since_ms < LONGEST_MS ? now - changes->since_ms
                                                              : LONGEST_MS);
    delay = changes->writing_count > 0 ? LONGEST_MS : QUIET_MS;
    cn_timer_set(changes->loop, &changes->quiet, delay < left ? delay : left);
}


static void
at_rest(cn_timer_t *timer)
{
    cn_changes_t  *changes = CN_CONTAINER_OF(timer, cn_changes_t, quiet);

    changes->since_ms = 0;
    changes->writing_count = 0;
    changes->on_changed(changes->owner);
}


static void
forget_writing(cn_changes_t *changes, uint64_t hash)
{
    for (size_t i = 0; i < changes->writing_count; i++) {
        if (changes->writing[i] == hash) {
            changes->writing[i] = changes->writing[--changes->writing_count];
            return;
        }
    }
}


static void
file_event(cn_changes_t *changes, const struct inotify_event *event)
{
    uint64_t  hash = cn_hash(cn_bytes_str(event->name));

    forget_writing(changes, hash);

    if ((event->mask & IN_MODIFY) != 0 && changes->writing_count < WRITING_MAX) {
        changes->writing[changes->writing_count++] = hash;
    }

    changed(changes);
}


/* ---- what is watched ------------------------------------------------------------------------- */

/* False: the path is not there, or no directory above it; looked for again. */
static bool
find_path(cn_changes_t *changes)
{
    struct stat  info;
    int          fd = changes->watch.fd;

    if (changes->above < 0) {
        changes->above = inotify_add_watch(fd, changes->directory, FILES_MASK | IN_ONLYDIR);
    }

    if (stat(changes->path, &info) != 0) {
        return false;
    }

    if (!S_ISDIR(info.st_mode)) {
        return changes->above >= 0;
    }

    /* of the same directory it is the same watch */
    changes->inside = inotify_add_watch(fd, changes->path, FILES_MASK | IN_ONLYDIR);

    return changes->inside >= 0 && changes->above >= 0;
}


static void
look_again(cn_timer_t *timer)
{
    cn_changes_t  *changes = CN_CONTAINER_OF(timer, cn_changes_t, lost);

    if (find_path(changes)) {
        changed(changes);

    } else {
        cn_timer_set(changes->loop, timer, LOST_MS);
    }
}


/* The path itself was made, moved, removed or turned: another directory may stand there now. */
static void
path_event(cn_changes_t *changes, const struct inotify_event *event)
{
    int   before = changes->inside;
    bool  found;

    if ((event->mask & NAMES_MASK) == 0) {
        file_event(changes, event);             /* it is a file, and is written to */
        return;
    }

    changes->inside = -1;
    found = find_path(changes);

    /* what is not at the path any more is nobody's */
    if (before >= 0 && before != changes->inside) {
        (void) inotify_rm_watch(changes->watch.fd, before);
    }

    if (!found) {
        cn_timer_set(changes->loop, &changes->lost, LOST_MS);
    }

    changed(changes);
}


static void
watch_gone(cn_changes_t *changes, int descriptor)
{
    if (descriptor == changes->inside) {
        changes->inside = -1;

    } else if (descriptor == changes->above) {
        changes->above = -1;

    } else {
        return;
    }

    changed(changes);
    cn_timer_set(changes->loop, &changes->lost, 0);
}


/* ---- events ---------------------------------------------------------------------------------- */

static void
on_event(cn_changes_t *changes, const struct inotify_event *event)
{
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        changed(changes);

    } else if ((event->mask & IN_IGNORED) != 0) {
        watch_gone(changes, event->wd);

    } else if (event->len == 0) {
        return;                                 /* of the directory itself: IN_IGNORED follows */

    } else if (event->wd == changes->above && strcmp(event->name, changes->base) == 0) {
        path_event(changes, event);

    } else if (event->wd == changes->inside && changes->matters(event->name)) {
        file_event(changes, event);
    }
}


static void
read_events(cn_watch_t *watch, unsigned events)
{
    cn_changes_t  *changes = CN_CONTAINER_OF(watch, cn_changes_t, watch);
    _Alignas(struct inotify_event) uint8_t  buffer[BUFFER_SIZE];
    ssize_t        len;

    (void) events;

    while ((len = read(watch->fd, buffer, sizeof(buffer))) > 0) {
        for (size_t at = 0; at < (size_t) len; ) {
            const struct inotify_event  *event = (void *) (buffer + at);

            on_event(changes, event);
            at += sizeof(*event) + event->len;
        }
    }
}


/* ---- open and close -------------------------------------------------------------------------- */

static void
free_changes(cn_task_t *task)
{
    cn_free(CN_CONTAINER_OF(task, cn_changes_t, free));
}


/* "a/b/" is "b" in "a", "b" is in ".": written behind the path, in the same allocation. */
static void
split_path(cn_changes_t *changes, const char *path, size_t len)
{
    char    *rest = changes->path + len + 1;
    size_t   cut = len;

    memcpy(changes->path, path, len + 1);

    while (len > 1 && changes->path[len - 1] == '/') {
        changes->path[--len] = '\0';
    }

    for (cut = len; cut > 0 && changes->path[cut - 1] != '/'; cut--) {
        continue;
    }

    changes->base = changes->path + cut;
    changes->directory = rest;

    if (cut == 0) {
        memcpy(rest, ".", 2);
        return;
    }

    memcpy(rest, changes->path, cut);           /* with its slash: "/" stays what it is */
    rest[cut] = '\0';
}


static cn_changes_t *
create(cn_loop_t *loop, const char *path)
{
    size_t         len = cn_bytes_str(path).len;
    cn_changes_t  *changes = cn_alloc_zero(sizeof(*changes) + 2 * len + 4);

    if (changes == NULL) {
        errno = ENOMEM;
        return NULL;
    }

    split_path(changes, path, len);
    changes->loop = loop;
    changes->inside = -1;
    changes->above = -1;
    changes->watch.ready = read_events;
    changes->quiet.run = at_rest;
    changes->lost.run = look_again;
    changes->free.run = free_changes;
    changes->watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    return changes;
}


cn_changes_t *
cn_changes_open(cn_loop_t *loop, const char *path, bool (*matters)(const char *name),
    void (*on_changed)(void *owner), void *owner)
{
    cn_changes_t  *changes = create(loop, path);

    if (changes == NULL) {
        return NULL;
    }

    changes->matters = matters;
    changes->on_changed = on_changed;
    changes->owner = owner;

    if (changes->watch.fd < 0 || cn_watch_set(loop, &changes->watch, CN_READABLE) != CN_OK) {
        int  reason = errno;

        if (changes->watch.fd >= 0) {
            close(changes->watch.fd);
        }

        cn_free(changes);
        errno = reason;
        return NULL;
    }

    if (!find_path(changes)) {
        cn_timer_set(loop, &changes->lost, LOST_MS);
    }

    return changes;
}


void
cn_changes_close(cn_changes_t *changes)
{
    if (changes == NULL || changes->closed) {
        return;
    }

    changes->closed = true;
    cn_watch_remove(changes->loop, &changes->watch);
    cn_timer_cancel(&changes->quiet);
    cn_timer_cancel(&changes->lost);
    close(changes->watch.fd);
    cn_loop_post(changes->loop, CN_PHASE_FREE, &changes->free);
}
