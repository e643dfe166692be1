/* SPDX-License-Identifier: Apache-2.0 */

/*
 * memfd - shared memory that nobody can change once it is sealed, not even its maker.  Readers map
 * it privately: kernels before 6.7 refuse a shared mapping of write-sealed memory, and a private
 * one that is never written shares the same pages.
 */

#include "table/format.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS  (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)


cn_status_t
cn_memfd_create(const char *name, size_t size, int *fd, void **map)
{
    int    made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void  *at;

    if (made < 0) {
        return CN_ERR_IO;
    }

    if (fallocate(made, 0, 0, (off_t) size) != 0) {
        (void) close(made);
        return CN_ERR_IO;
    }

    at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, made, 0);

    if (at == MAP_FAILED) {
        (void) close(made);
        return CN_ERR_IO;
    }

    *fd = made;
    *map = at;

    return CN_OK;
}


cn_status_t
cn_memfd_seal(int fd, void *map, size_t size, const void **sealed)
{
    (void) munmap(map, size);           /* a writable mapping would refuse the seal */

    if (fcntl(fd, F_ADD_SEALS, SEALS) != 0 || cn_memfd_open(fd, size, sealed) != CN_OK) {
        (void) close(fd);
        return CN_ERR_IO;
    }

    return CN_OK;
}


cn_status_t
cn_memfd_open(int fd, size_t size, const void **map)
{
    struct stat  info;
    int          seals = fcntl(fd, F_GET_SEALS);
    void        *at;

    /* first the seals: a size that can still change proves nothing */
    if (seals < 0 || (seals & SEALS) != SEALS) {
        return CN_ERR_SYNTAX;
    }

    if (fstat(fd, &info) != 0 || info.st_size < 0 || (uint64_t) info.st_size != size || size == 0) {
        return CN_ERR_SYNTAX;
    }

    at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

    if (at == MAP_FAILED) {
        return CN_ERR_MEMORY;
    }

    *map = at;

    return CN_OK;
}


void
cn_memfd_unmap(const void *map, size_t size)
{
    if (map != NULL) {
        (void) munmap((void *) (uintptr_t) map, size);
    }
}
