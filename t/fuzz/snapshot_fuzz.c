/* SPDX-License-Identifier: Apache-2.0 */

/*
 * snapshot_fuzz - a publication with octets changed in its directory or its segment, or cut short:
 * a worker refuses it, or every block that it finds in it is whole.  The input: how much is cut off
 * the directory (2), then patches of {place(3), octet}.  The directory's checksum is made right.
 */

#include "table/snapshot.h"

#include "base/hash.h"
#include "base/pool.h"
#include "table/format.h"
#include "table/offer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATCH_SIZE  4u
#define ALL_SEALS   (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

static cn_publication_t  good;
static uint8_t          *directory_octets;
static uint8_t          *segment_octets;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static uint8_t *
octets_of(int fd, size_t size)
{
    uint8_t  *octets = cn_alloc(size);

    CN_BUG_ON(octets == NULL || pread(fd, octets, size, 0) != (ssize_t) size);

    return octets;
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    cn_publisher_t  *publisher = cn_publisher_create(0);

    (void) argc;
    (void) argv;
    cn_table_set_module_verify(sample_module_verify);
    cn_publisher_begin(publisher);

    for (uint32_t i = 1; i <= 3; i++) {
        CN_BUG_ON(put_service(publisher, i, i, "/a") != CN_OK);
    }

    CN_BUG_ON(cn_publisher_commit(publisher, &good) != CN_OK || good.segment_count != 1);
    directory_octets = octets_of(good.directory, good.directory_size);
    segment_octets = octets_of(good.segments[0], good.segment_sizes[0]);
    cn_publisher_destroy(publisher);

    return 0;
}


static int
sealed(const uint8_t *octets, size_t size)
{
    int  fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    CN_BUG_ON(fd < 0 || pwrite(fd, octets, size, 0) != (ssize_t) size);
    CN_BUG_ON(fcntl(fd, F_ADD_SEALS, ALL_SEALS) != 0);

    return fd;
}


/* Patches of an even place go to the directory, of an odd one to the segment. */
static void
patch(uint8_t *directory, uint8_t *segment, const uint8_t *data, size_t size)
{
    for (; size >= PATCH_SIZE; data += PATCH_SIZE, size -= PATCH_SIZE) {
        size_t  at = (size_t) data[0] << 16 | (size_t) data[1] << 8 | data[2];

        if (at % 2 == 0) {
            directory[at / 2 % good.directory_size] = data[3];

        } else {
            segment[at / 2 % good.segment_sizes[0]] = data[3];
        }
    }
}


static void
make_right(uint8_t *directory, size_t size)
{
    cn_directory_header_t  header;

    if (size < sizeof(header)) {
        return;
    }

    memcpy(&header, directory, sizeof(header));
    header.checksum = cn_hash(cn_bytes(directory + sizeof(header), size - sizeof(header)));
    memcpy(directory, &header, sizeof(header));
}


static void
look_around(const cn_tables_t *tables)
{
    const cn_block_t  *block;
    size_t             at = 0, count = 0;

    while ((block = cn_tables_next(tables, &at)) != NULL) {
        CN_BUG_ON(cn_block_check(block, block->size) != CN_OK || ++count > 1000);
    }

    for (uint32_t i = 0; i < 5; i++) {
        (void) service_path(tables, i, NULL);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t           *directory = cn_alloc(good.directory_size);
    uint8_t           *segment = cn_alloc(good.segment_sizes[0]);
    cn_tables_t       *tables = cn_tables_create(cn_table_verify);
    cn_publication_t   offer = good;
    const char        *what = NULL;
    cn_status_t        status;
    size_t             cut;

    CN_BUG_ON(directory == NULL || segment == NULL || tables == NULL);
    memcpy(directory, directory_octets, good.directory_size);
    memcpy(segment, segment_octets, good.segment_sizes[0]);

    if (size >= 2) {
        cut = ((size_t) data[0] << 8 | data[1]) % good.directory_size;
        patch(directory, segment, data + 2, size - 2);
        offer.directory_size -= cut;
    }

    make_right(directory, offer.directory_size);
    offer.directory = sealed(directory, offer.directory_size);
    offer.segments[0] = sealed(segment, offer.segment_sizes[0]);

    if (cn_tables_offer(tables, &offer) == CN_OK) {
        do {
            status = cn_tables_adopt(tables, 1000, &what);
        } while (status == CN_AGAIN);

        if (status == CN_OK) {
            look_around(tables);

        } else {
            CN_BUG_ON(what == NULL);
        }
    }

    cn_tables_destroy(tables);
    cn_free(segment);
    cn_free(directory);

    return 0;
}
