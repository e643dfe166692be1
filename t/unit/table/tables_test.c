/* SPDX-License-Identifier: Apache-2.0 */

/* A worker adopts sealed, whole and verified memory or keeps the snapshot it has. */

#include "table/snapshot.h"

#include "base/hash.h"
#include "base/pool.h"
#include "table/format.h"

#include "offer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <cmocka.h>

#define ALL_SEALS  (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

typedef struct {
    cn_publisher_t    *publisher;
    cn_tables_t       *tables;
    cn_publication_t   publication;         /* of services 1 to 50, not adopted */
} world_t;


static int
setup(void **state)
{
    world_t  *world = calloc(1, sizeof(*world));

    cn_table_set_module_verify(sample_module_verify);
    world->publisher = cn_publisher_create(0);
    world->tables = cn_tables_create(cn_table_verify);
    cn_publisher_begin(world->publisher);

    for (uint32_t i = 1; i <= 50; i++) {
        assert_int_equal(put_service(world->publisher, i, i, "/a"), CN_OK);
    }

    assert_int_equal(cn_publisher_commit(world->publisher, &world->publication), CN_OK);
    *state = world;

    return 0;
}


static int
teardown(void **state)
{
    world_t  *world = *state;

    cn_tables_destroy(world->tables);
    cn_publisher_destroy(world->publisher);
    free(world);

    return 0;
}


/* The bytes of a memfd, writable, in memory of their own. */
static uint8_t *
content_of(int fd, size_t size)
{
    uint8_t  *bytes = malloc(size);

    assert_int_equal(pread(fd, bytes, size, 0), size);

    return bytes;
}


/* A new memfd with these bytes and seals. */
static int
memfd_of(const void *bytes, size_t size, int seals)
{
    int  fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);

    if (seals != 0) {
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    }

    return fd;
}


static void
replace(int *fd, int by)
{
    close(*fd);
    *fd = by;
}


static void
good_snapshot_is_still_accepted(world_t *world)
{
    const char  *what = "";
    size_t       slices;

    assert_int_equal(offer_all(world->tables, &world->publication), CN_OK);
    assert_int_equal(adopt_all(world->tables, 1000, &slices, &what), CN_OK);
    assert_true(cn_bytes_equal(service_path(world->tables, 50, NULL), CN_BYTES("/a")));
}


static void
memory_that_can_still_change_is_refused(void **state)
{
    static const int  seals[] = {
        0, F_SEAL_WRITE, ALL_SEALS & ~F_SEAL_SHRINK, ALL_SEALS & ~F_SEAL_GROW,
        ALL_SEALS & ~F_SEAL_WRITE, ALL_SEALS & ~F_SEAL_SEAL,
    };
    world_t          *world = *state;
    uint8_t          *segment = content_of(world->publication.segments[0], world->publication.segment_sizes[0]);
    uint8_t          *directory = content_of(world->publication.directory, world->publication.directory_size);

    for (size_t i = 0; i < CN_COUNT_OF(seals); i++) {
        cn_publication_t  copy = offer_copy(&world->publication);

        replace(&copy.segments[0], memfd_of(segment, copy.segment_sizes[0], seals[i]));
        assert_int_equal(cn_tables_offer(world->tables, &copy), CN_ERR_SYNTAX);
        assert_int_equal(fcntl(copy.segments[0], F_GETFD), -1);         /* taken, also on failure */

        copy = offer_copy(&world->publication);
        replace(&copy.directory, memfd_of(directory, copy.directory_size, seals[i]));
        assert_int_equal(cn_tables_offer(world->tables, &copy), CN_ERR_SYNTAX);
        assert_int_equal(fcntl(copy.directory, F_GETFD), -1);
    }

    /* a pipe is no memory */
    cn_publication_t  copy = offer_copy(&world->publication);
    int               ends[2];

    assert_int_equal(pipe(ends), 0);
    close(ends[1]);
    replace(&copy.directory, ends[0]);
    assert_int_equal(cn_tables_offer(world->tables, &copy), CN_ERR_SYNTAX);

    free(segment);
    free(directory);
    good_snapshot_is_still_accepted(world);
}


static void
sizes_that_differ_from_what_was_said_are_refused(void **state)
{
    world_t           *world = *state;
    cn_publication_t   copy;
    uint8_t           *segment = content_of(world->publication.segments[0], world->publication.segment_sizes[0]);
    size_t             size = world->publication.segment_sizes[0];

    for (int i = 0; i < 8; i++) {
        copy = offer_copy(&world->publication);

        switch (i) {
        case 0: copy.segment_sizes[0] += 64; break;
        case 1: copy.segment_sizes[0] -= 64; break;
        case 2: copy.segment_sizes[0] = 0; break;
        case 3: copy.segment_sizes[0] = SIZE_MAX & ~(size_t) 63; break;
        case 4: copy.directory_size += 16; break;
        case 5: copy.directory_size = 8; break;
        case 6: copy.segment_count = 0; close(copy.segments[0]); break;
        case 7: replace(&copy.segments[0], memfd_of(segment, size - 64, ALL_SEALS)); break;
        }

        assert_int_equal(cn_tables_offer(world->tables, &copy), CN_ERR_SYNTAX);
    }

    copy = offer_copy(&world->publication);
    copy.segment_count = CN_SEGMENTS_MAX + 1;
    assert_int_equal(cn_tables_offer(world->tables, &copy), CN_ERR_SYNTAX);

    /* a whole segment, cut short together with its stated size */
    copy = offer_copy(&world->publication);
    copy.segment_sizes[0] = size - 64;
    replace(&copy.segments[0], memfd_of(segment, size - 64, ALL_SEALS));
    assert_int_equal(cn_tables_offer(world->tables, &copy), CN_ERR_SYNTAX);

    free(segment);
    good_snapshot_is_still_accepted(world);
}


static void
a_segment_without_a_descriptor_must_be_mapped_already(void **state)
{
    world_t           *world = *state;
    cn_publication_t   copy = offer_copy(&world->publication);

    replace(&copy.segments[0], -1);
    assert_int_equal(cn_tables_offer(world->tables, &copy), CN_ERR_SYNTAX);
    good_snapshot_is_still_accepted(world);

    cn_publisher_begin(world->publisher);
    assert_int_equal(cn_publisher_keep(world->publisher, CN_BLOCK_SERVICE, 1), CN_OK);
    assert_int_equal(put_service(world->publisher, 51, 51, "/b"), CN_OK);

    for (uint32_t i = 2; i <= 50; i++) {
        assert_int_equal(cn_publisher_keep(world->publisher, CN_BLOCK_SERVICE, i), CN_OK);
    }

    cn_publication_t  next;
    const char       *what = "";
    size_t            slices;

    assert_int_equal(cn_publisher_commit(world->publisher, &next), CN_OK);
    assert_int_equal(next.segment_count, 2);
    copy = offer_copy(&next);
    replace(&copy.segments[0], -1);
    assert_int_equal(cn_tables_offer(world->tables, &copy), CN_OK);
    assert_int_equal(adopt_all(world->tables, 1000, &slices, &what), CN_OK);
    assert_true(cn_bytes_equal(service_path(world->tables, 1, NULL), CN_BYTES("/a")));
    assert_true(cn_bytes_equal(service_path(world->tables, 51, NULL), CN_BYTES("/b")));
}


/* Offers the publication with its segment's bytes changed; adoption's answer. */
static cn_status_t
adopt_segment(world_t *world, const uint8_t *bytes)
{
    cn_publication_t  copy = offer_copy(&world->publication);
    const char       *what = NULL;
    size_t            slices;
    cn_status_t       status;

    replace(&copy.segments[0], memfd_of(bytes, copy.segment_sizes[0], ALL_SEALS));
    status = cn_tables_offer(world->tables, &copy);

    if (status != CN_OK) {
        return status;
    }

    status = adopt_all(world->tables, 0, &slices, &what);
    assert_true(status == CN_OK || what != NULL);

    return status;
}


static void
a_segment_with_any_byte_changed_is_refused(void **state)
{
    world_t  *world = *state;
    size_t    size = world->publication.segment_sizes[0];
    uint8_t  *bytes = content_of(world->publication.segments[0], size);

    for (size_t at = 0; at < size; at += at < 256 ? 1 : 97) {
        cn_status_t  status;

        bytes[at] ^= 0x11;
        status = adopt_segment(world, bytes);
        bytes[at] ^= 0x11;

        if (status == CN_OK) {
            /*
             * what no check covers is what nobody reads: padding, reserved, a block's id and
             * generation
             */
            cn_tables_destroy(world->tables);
            world->tables = cn_tables_create(cn_table_verify);
            assert_true((at >= 28 && at < 64) || (at % 64 >= 16 && at % 64 < 32) || bytes[at] == 0);

        } else {
            assert_int_equal(status, CN_ERR_SYNTAX);
            assert_int_equal(cn_tables_generation(world->tables), 0);
        }
    }

    free(bytes);
    good_snapshot_is_still_accepted(world);
}


static void
a_block_that_does_not_verify_keeps_the_old_snapshot(void **state)
{
    world_t           *world = *state;
    size_t             size = world->publication.segment_sizes[0];
    uint8_t           *bytes = content_of(world->publication.segments[0], size);
    cn_block_t        *block = (void *) (bytes + 64);
    cn_publication_t   next;
    const char        *what = NULL;
    size_t             slices;

    good_snapshot_is_still_accepted(world);

    /* a right checksum over wrong bytes, as a newer publication */
    cn_publisher_begin(world->publisher);
    assert_int_equal(put_service(world->publisher, 1, 1, "/b"), CN_OK);
    assert_int_equal(cn_publisher_commit(world->publisher, &next), CN_OK);
    free(bytes);

    cn_publication_t  copy = offer_copy(&next);

    assert_int_equal(copy.segment_count, 1);
    bytes = content_of(copy.segments[0], copy.segment_sizes[0]);
    block = (void *) (bytes + 64);
    ((cn_table_service_t *) (void *) (block + 1))->chains.count = 1u << 20;
    block->checksum = cn_hash(cn_bytes(block + 1, block->size - sizeof(*block)));
    replace(&copy.segments[0], memfd_of(bytes, copy.segment_sizes[0], ALL_SEALS));

    assert_int_equal(cn_tables_offer(world->tables, &copy), CN_OK);
    assert_int_equal(adopt_all(world->tables, 1000, &slices, &what), CN_ERR_SYNTAX);
    assert_string_equal(what, "an array is out of bounds");
    assert_int_equal(cn_tables_adopt(world->tables, 1000, &what), CN_ERR_NOT_FOUND);
    assert_int_equal(cn_tables_generation(world->tables), world->publication.generation);
    assert_true(cn_bytes_equal(service_path(world->tables, 1, NULL), CN_BYTES("/a")));

    /* the right one of that generation still goes */
    assert_int_equal(offer_all(world->tables, &next), CN_OK);
    assert_int_equal(adopt_all(world->tables, 1000, &slices, &what), CN_OK);
    assert_true(cn_bytes_equal(service_path(world->tables, 1, NULL), CN_BYTES("/b")));
    free(bytes);
}


static void
change_entry(cn_directory_entry_t *entries, uint32_t count, int way)
{
    cn_directory_entry_t  first = entries[0];

    switch (way) {
    case 0: entries[3].segment = 1; break;
    case 1: entries[3].segment = UINT32_MAX; break;
    case 2: entries[3].offset += 64; break;                 /* within a block */
    case 3: entries[3].offset += 8; break;
    case 4: entries[3].offset = 0; break;                   /* the segment's header */
    case 5: entries[count - 1].offset = UINT32_MAX & ~63u; break;
    case 6: entries[0] = entries[1]; entries[1] = first; break;
    case 7: entries[0] = entries[1]; break;
    }
}


static void
a_directory_that_points_anywhere_else_is_refused(void **state)
{
    world_t  *world = *state;
    size_t    size = world->publication.directory_size;

    for (int way = 0; way < 9; way++) {
        uint8_t                *bytes = content_of(world->publication.directory, size);
        cn_directory_header_t  *header = (void *) bytes;
        cn_publication_t        copy = offer_copy(&world->publication);
        const char             *what = NULL;
        size_t                  slices;

        change_entry((void *) (bytes + 64 + 8), header->entry_count, way);

        if (way < 8) {
            header->checksum = cn_hash(cn_bytes(header + 1, size - sizeof(*header)));

        } else {
            bytes[size - 20] ^= 1;
        }

        replace(&copy.directory, memfd_of(bytes, size, ALL_SEALS));
        assert_int_equal(cn_tables_offer(world->tables, &copy), CN_OK);
        assert_int_equal(adopt_all(world->tables, 1000, &slices, &what), CN_ERR_SYNTAX);
        assert_non_null(what);
        free(bytes);
    }

    good_snapshot_is_still_accepted(world);
}


static void
a_directory_header_that_lies_is_refused(void **state)
{
    world_t  *world = *state;
    size_t    size = world->publication.directory_size;

    for (size_t at = 0; at < sizeof(cn_directory_header_t) + 8; at++) {
        uint8_t           *bytes = content_of(world->publication.directory, size);
        cn_publication_t   copy = offer_copy(&world->publication);
        const char        *what = NULL;
        size_t             slices;
        cn_status_t        status;

        bytes[at] ^= 1;
        replace(&copy.directory, memfd_of(bytes, size, ALL_SEALS));
        status = cn_tables_offer(world->tables, &copy);
        status = status == CN_OK ? adopt_all(world->tables, 1000, &slices, &what) : status;

        if (status == CN_OK) {
            assert_true(at == 6 || at == 7 || (at >= 40 && at < 64));      /* reserved */
            cn_tables_destroy(world->tables);
            world->tables = cn_tables_create(cn_table_verify);
        }

        free(bytes);
    }

    good_snapshot_is_still_accepted(world);
}


static size_t  verified;

static cn_status_t
counting_verify(const cn_block_t *block, const char **what)
{
    verified++;

    return cn_table_verify(block, what);
}


static void
a_newer_offer_replaces_an_older_and_verifies_no_segment_again(void **state)
{
    world_t           *world = *state;
    cn_publication_t   next;
    const char        *what = "";
    size_t             slices;

    cn_tables_destroy(world->tables);
    world->tables = cn_tables_create(counting_verify);
    verified = 0;

    assert_int_equal(offer_all(world->tables, &world->publication), CN_OK);

    for (int i = 0; i < 10; i++) {
        assert_int_equal(cn_tables_adopt(world->tables, 0, &what), CN_AGAIN);
    }

    assert_int_equal(verified, 10);

    cn_publisher_begin(world->publisher);
    assert_int_equal(put_service(world->publisher, 51, 51, "/b"), CN_OK);

    for (uint32_t i = 1; i <= 50; i++) {
        assert_int_equal(cn_publisher_keep(world->publisher, CN_BLOCK_SERVICE, i), CN_OK);
    }

    assert_int_equal(cn_publisher_commit(world->publisher, &next), CN_OK);
    assert_int_equal(offer_all(world->tables, &next), CN_OK);
    assert_int_equal(cn_tables_generation(world->tables), 0);
    assert_int_equal(adopt_all(world->tables, 0, &slices, &what), CN_OK);
    assert_int_equal(verified, 51);
    assert_int_equal(cn_tables_generation(world->tables), next.generation);

    /* what comes late does not undo it */
    assert_int_equal(offer_all(world->tables, &world->publication), CN_ERR_SYNTAX);
    assert_int_equal(offer_all(world->tables, &next), CN_ERR_SYNTAX);
    assert_int_equal(cn_tables_adopt(world->tables, 1000, &what), CN_ERR_NOT_FOUND);
    assert_true(cn_bytes_equal(service_path(world->tables, 51, NULL), CN_BYTES("/b")));
}


int
main(void)
{
#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest  tests[] = {
        CASE(memory_that_can_still_change_is_refused),
        CASE(sizes_that_differ_from_what_was_said_are_refused),
        CASE(a_segment_without_a_descriptor_must_be_mapped_already),
        CASE(a_segment_with_any_byte_changed_is_refused),
        CASE(a_block_that_does_not_verify_keeps_the_old_snapshot),
        CASE(a_directory_that_points_anywhere_else_is_refused),
        CASE(a_directory_header_that_lies_is_refused),
        CASE(a_newer_offer_replaces_an_older_and_verifies_no_segment_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
