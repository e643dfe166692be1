/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_files - the writer thread.  It may block in write(2) for as long as it likes: rings fill,
 * lines are dropped and counted, and nobody waits.  It touches nothing of the process but its own
 * struct and the rings.
 */

#include "server/log_files.h"

#include "base/pool.h"
#include "stats/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define BATCH          (64 * 1024)      /* octets gathered before a write */
#define RECORD_MAX     (16 * 1024)
#define REST_MS        20               /* how long a line may wait for others */
#define LAST_ROUNDS    50               /* of REST_MS, at the end */

typedef struct {
    const char  *path;
    int          fd;
    size_t       len;
    uint8_t      batch[BATCH];
} log_file_t;

struct cn_log_files_s {
    cn_slab_t    *slab;
    uint32_t      first;                /* ring of the set's workers */
    uint32_t      end;
    pthread_t     thread;
    atomic_bool   reopen;
    atomic_bool   stop;
    log_file_t    error;
    log_file_t    access;
};


int
cn_log_file_open(const char *path)
{
    if (strcmp(path, "stdout") == 0) {
        return STDOUT_FILENO;
    }

    if (strcmp(path, "stderr") == 0) {
        return STDERR_FILENO;
    }

    if (strcmp(path, "off") == 0) {
        path = "/dev/null";
    }

    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}


static void
write_all(int fd, const uint8_t *octets, size_t len)
{
    while (len > 0) {
        ssize_t  written = write(fd, octets, len);

        if (written < 0 && errno == EINTR) {
            continue;
        }

        if (written <= 0) {
            return;             /* a full disk, a reader that left: the lines are lost */
        }

        octets += written;
        len -= (size_t) written;
    }
}


void
cn_log_file_sink(void *context, cn_bytes_t line)
{
    write_all((int) (intptr_t) context, line.ptr, line.len);
}


static void
flush(log_file_t *file)
{
    write_all(file->fd, file->batch, file->len);
    file->len = 0;
}


static void
append(log_file_t *file, const uint8_t *octets, size_t len)
{
    if (file->len + len > sizeof(file->batch)) {
        flush(file);
    }

    memcpy(file->batch + file->len, octets, len);
    file->len += len;
}


/* What a reading of all rings found. */
typedef enum { RINGS_EMPTY, RINGS_READ, RINGS_NOT_EMPTIED } rings_t;


/* Everything that lies in the rings now, of each no more than its size: there are others. */
static rings_t
drain_rings(cn_log_files_t *files)
{
    size_t   most = cn_slab_config(files->slab)->ring_size;
    uint8_t  record[RECORD_MAX];
    rings_t  found = RINGS_EMPTY;

    for (uint32_t i = files->first; i < files->end; i++) {
        cn_ring_t         *ring = cn_slab_ring(files->slab, i);
        cn_ring_stream_t   stream;
        size_t             len, octets = 0;

        while (ring != NULL && octets < most
               && cn_ring_read(ring, &stream, record, &len) == CN_OK)
        {
            append(stream == CN_RING_ACCESS_LOG ? &files->access : &files->error, record, len);
            octets += len + 1;
        }

        found = octets >= most ? RINGS_NOT_EMPTIED
                : octets > 0 && found == RINGS_EMPTY ? RINGS_READ : found;
    }

    flush(&files->error);
    flush(&files->access);

    return found;
}


static void
reopen(log_file_t *file)
{
    int  fd = cn_log_file_open(file->path);

    if (fd < 0 || fd == file->fd) {
        return;
    }

    if (file->fd > STDERR_FILENO) {
        /* the same number again: lines of the process itself go there too */
        dup3(fd, file->fd, O_CLOEXEC);
        close(fd);
        return;
    }

    file->fd = fd;
}


static void *
write_logs(void *arg)
{
    cn_log_files_t   *files = arg;
    const cn_ring_t  *any_ring = cn_slab_ring(files->slab, files->first);
    unsigned          rounds = 0;

    for ( ;; ) {
        uint32_t  bell = cn_ring_bell(any_ring);
        rings_t   found;

        if (atomic_exchange(&files->reopen, false)) {
            reopen(&files->error);
            reopen(&files->access);
        }

        found = drain_rings(files);

        if (atomic_load(&files->stop) && (found == RINGS_EMPTY || ++rounds == LAST_ROUNDS)) {
            return NULL;
        }

        if (found != RINGS_NOT_EMPTIED) {
            cn_ring_wait(any_ring, bell, REST_MS);
        }
    }
}


cn_log_files_t *
cn_log_files_start(const cn_bootstrap_t *bootstrap, cn_slab_t *slab, uint32_t first_slot)
{
    cn_log_files_t  *files = cn_alloc_zero(sizeof(cn_log_files_t));

    if (files == NULL) {
        return NULL;
    }

    files->slab = slab;
    files->first = first_slot;
    files->end = first_slot + bootstrap->workers;
    files->error.path = bootstrap->log_path;
    files->access.path = bootstrap->access_log_path;
    files->error.fd = cn_log_file_open(files->error.path);
    files->access.fd = cn_log_file_open(files->access.path);

    if (files->error.fd < 0 || files->access.fd < 0) {
        cn_log(CN_LOG_ERROR, "log", "open log: path=%s reason=\"%s\"",
               files->error.fd < 0 ? files->error.path : files->access.path, strerror(errno));
        cn_free(files);
        return NULL;
    }

    if (pthread_create(&files->thread, NULL, write_logs, files) != 0) {
        cn_log(CN_LOG_ERROR, "log", "start writer thread: errno=%d", errno);
        cn_free(files);
        return NULL;
    }

    return files;
}


void
cn_log_files_reopen(cn_log_files_t *files)
{
    atomic_store(&files->reopen, true);
}


void
cn_log_files_stop(cn_log_files_t *files)
{
    atomic_store(&files->stop, true);
    pthread_join(files->thread, NULL);
}


int
cn_log_files_error_fd(const cn_log_files_t *files)
{
    return files->error.fd;
}
