/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What istiod made of resources, recorded beside them, says the same as the resources themselves; and
 * bytes that are not what istiod writes are refused.
 */

#include "istio.h"

#include "authz/authz_config.h"
#include "model/decode.h"

#include "rbac.pb-c.h"

#include <sys/stat.h>

#define RECORDED  "t/unit/modules/recorded/"


static char *
model_of(cn_pool_t *pool, const char *directory, bool xds, cn_report_t *report)
{
    cn_source_config_t   config = {
        .directory = directory, .trust_domain = CN_BYTES("cluster.local"), .access_log = true,
        .modules = cn_module_configs,
    };
    cn_istio_state_t    *state = NULL;
    cn_model_t          *model = NULL;
    cn_status_t          status = xds ? cn_xds_read_directory(&config, report, &model)
                                      : cn_istio_read(&config, &state, report, &model);
    char                *text = status == CN_OK ? cn_model_print(model, pool) : NULL;

    cn_model_destroy(model);
    cn_istio_state_destroy(state);

    return text;
}


static void
recorded_xds_and_its_resources_are_one_model(void **state)
{
    static const char *const  scenarios[] = {
        "01-plain", "02-vs-split", "03-httproute-split", "04a-authz-viewer",
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(scenarios); i++) {
        cn_pool_t    *pool = cn_pool_create(4096, NULL);
        cn_report_t  *report = cn_report_create(pool);
        const char   *directory = cn_pool_printf(pool, RECORDED "%s", scenarios[i]);
        const char   *file = cn_pool_printf(pool, RECORDED "%s/input.yaml", scenarios[i]);
        const char   *from_xds = model_of(pool, directory, true, report);
        const char   *from_yaml = model_of(pool, file, false, report);

        unit_check(report->errors == 0, scenarios[i]);
        unit_check(from_xds != NULL && from_yaml != NULL, scenarios[i]);
        unit_check(strcmp(from_xds, from_yaml) == 0, scenarios[i]);
        cn_pool_destroy(pool);
    }
}


static cn_bytes_t
read_file(cn_pool_t *pool, const char *path)
{
    struct stat  info;
    FILE        *file = fopen(path, "rb");
    uint8_t     *octets;

    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &info), 0);
    octets = cn_pool_octets(pool, (size_t) info.st_size);
    assert_int_equal(fread(octets, 1, (size_t) info.st_size, file), info.st_size);
    fclose(file);

    return cn_bytes(octets, (size_t) info.st_size);
}


static void
write_file(const char *directory, const char *name, cn_bytes_t content)
{
    char   path[256];
    FILE  *file;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content.ptr, 1, content.len, file), content.len);
    assert_int_equal(fclose(file), 0);
}


/* A push that is cut or flipped anywhere is refused or read, never more. */
static void
damaged_pushes_do_no_harm(void **state)
{
    static const char *const  files[] = { "cds.pb", "eds.pb", "lds.pb", "workload.delta.pb" };
    char                      directory[] = "/tmp/cairn-unit-XXXXXX";
    cn_pool_t                *pool = cn_pool_create(4096, NULL);
    cn_bytes_t                good[CN_COUNT_OF(files)];
    uint64_t                  random = 88172645463325252u;

    (void) state;
    assert_non_null(mkdtemp(directory));

    for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
        good[i] = read_file(pool, cn_pool_printf(pool, RECORDED "04a-authz-viewer/%s", files[i]));
    }

    for (unsigned round = 0; round < 200; round++) {
        cn_pool_t  *scratch = cn_pool_create(4096, NULL);
        size_t      which = round % CN_COUNT_OF(files);

        for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
            cn_bytes_t  copy = unit_copy(good[i]);

            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;

            if (i == which && round % 2 == 0) {
                ((uint8_t *) (uintptr_t) copy.ptr)[random % copy.len] ^= (uint8_t) (1 + random % 255);

            } else if (i == which) {
                copy.len = random % copy.len;
            }

            write_file(directory, files[i], copy);
            unit_free(copy);
        }

        (void) model_of(scratch, directory, true, cn_report_create(scratch));
        cn_pool_destroy(scratch);
    }

    for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
        unlink(cn_pool_printf(pool, "%s/%s", directory, files[i]));
    }

    rmdir(directory);
    cn_pool_destroy(pool);
}


static void
what_is_not_known_in_a_message_is_refused(void **state)
{
    static const struct { const char *name; cn_bytes_t bytes; const char *line; } cases[] = {
        { "not protobuf", CN_BYTES_INIT("\xff\xff"), "error: f: is no Permission" },
        { "cut short", CN_BYTES_INIT("\x0a\x05\x0a"), "error: f: is no Permission" },
        { "a group", CN_BYTES_INIT("\x0b"), "error: f: is no Permission" },
        { "an unknown field", CN_BYTES_INIT("\x98\x06\x01"),
          "error: f: field 99 of Permission is not implemented" },
        { "a known field that is not implemented", CN_BYTES_INIT("\x6a\x00"),
          "error: f.uri_template: is not implemented" },
        { "one in a message in it", CN_BYTES_INIT("\x42\x02\x2a\x00"),
          "error: f.not_rule.destination_ip: is not implemented" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_pool_t   *pool = cn_pool_create(4096, NULL);
        cn_read_t    read = { .pool = pool, .report = cn_report_create(pool) };
        cn_bytes_t   copy = unit_copy(cases[i].bytes);
        const char  *line;

        unit_check(cn_decode(&read, &cairn__permission__descriptor, copy, "f") == NULL,
                   cases[i].name);
        unit_check(read.report->entries.count == 1, cases[i].name);
        line = cn_report_line(read.report->entries.items, pool);

        if (strcmp(line, cases[i].line) != 0) {
            print_error("%s\n", line);
        }

        unit_check(strcmp(line, cases[i].line) == 0, cases[i].name);
        unit_free(copy);
        cn_pool_destroy(pool);
    }
}


/* not_rule in not_rule in not_rule ... */
static void
depth_is_bounded(void **state)
{
    uint8_t      octets[2 * 4096];
    size_t       at = sizeof(octets);
    cn_pool_t   *pool = cn_pool_create(4096, NULL);
    cn_read_t    read = { .pool = pool, .report = cn_report_create(pool) };

    (void) state;

    for (unsigned depth = 0; depth < 60; depth++) {
        size_t  len = sizeof(octets) - at;

        octets[--at] = (uint8_t) len;
        octets[--at] = 0x42;
    }

    assert_null(cn_decode(&read, &cairn__permission__descriptor,
                          cn_bytes(octets + at, sizeof(octets) - at), "f"));
    assert_non_null(cn_decode(&read, &cairn__permission__descriptor,
                              cn_bytes(octets + sizeof(octets) - 80, 80), "f"));
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(recorded_xds_and_its_resources_are_one_model),
        cmocka_unit_test(damaged_pushes_do_no_harm),
        cmocka_unit_test(what_is_not_known_in_a_message_is_refused),
        cmocka_unit_test(depth_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
