/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What each recording of istiod comes to: the model of what can be used of it (model.json), and
 * what cannot, by resource, field and reason (refused.txt).  TEST_CAIRN_REGENERATE=1 writes both
 * anew, to be read before they are committed.
 */

#include "istio.h"

#include "filter/module.h"
#include "model/compile.h"
#include "table/keys.h"
#include "table/verify.h"

#include <sys/stat.h>

#define RECORDED    "t/unit/modules/recorded/"
#define REGENERATE  "TEST_CAIRN_REGENERATE"


static const char *
read_text(cn_pool_t *pool, const char *path)
{
    struct stat  info;
    FILE        *file = fopen(path, "rb");
    char        *text;
    size_t       len;

    if (file == NULL) {
        fail_msg("no %s: make it by " REGENERATE "=1", path);
    }

    assert_int_equal(fstat(fileno(file), &info), 0);
    text = cn_pool_alloc(pool, (size_t) info.st_size + 1);
    assert_non_null(text);
    len = fread(text, 1, (size_t) info.st_size, file);
    assert_int_equal(len, info.st_size);
    text[len] = '\0';
    fclose(file);

    return text;
}


static void
write_text(const char *path, const char *text)
{
    FILE  *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fputs(text, file) < 0, 0);
    assert_int_equal(fclose(file), 0);
}


static void
compare(cn_pool_t *pool, const char *scenario, const char *name, const char *text)
{
    const char  *path = cn_pool_printf(pool, RECORDED "%s/%s", scenario, name);

    if (getenv(REGENERATE) != NULL) {
        write_text(path, text);
    }

    unit_check(strcmp(read_text(pool, path), text) == 0, path);
}


/* Each line once: one field may be refused at many places of a resource. */
static const char *
refused(cn_pool_t *pool, const cn_report_t *report)
{
    const char  *text = "";

    CN_ARRAY_EACH(&report->entries, const cn_report_entry_t, entry) {
        const char  *line = cn_report_line(entry, pool);

        assert_non_null(line);
        assert_int_equal(entry->level, CN_REPORT_ERROR);
        line = cn_pool_printf(pool, "%s\n", line + strlen("error: "));

        if (strstr(text, line) == NULL) {
            text = cn_pool_printf(pool, "%s%s", text, line);
        }
    }

    return text;
}


/* What is left beside the refused has tables that a worker takes. */
static void
check_tables(const cn_model_t *model, cn_report_t *report)
{
    _Atomic uint64_t   last_id = 0;
    cn_ids_t          *ids = cn_ids_create(&last_id);
    cn_publisher_t    *publisher = cn_publisher_create(0);
    cn_tables_t       *tables = cn_tables_create(cn_table_verify);
    cn_compilation_t  *compilation;
    cn_publication_t   publication;
    const char        *what = "";

    cn_table_set_module_verify(cn_module_verify_config);
    cn_table_set_modules_hash(cn_modules_hash());
    assert_true(ids != NULL && publisher != NULL && tables != NULL);
    compilation = cn_compile_start(model, ids, NULL, publisher, report);
    assert_non_null(compilation);
    assert_int_equal(cn_compile_step(compilation, 60000000), CN_OK);
    cn_compile_end(compilation);
    assert_int_equal(cn_publisher_commit(publisher, &publication), CN_OK);
    publication.directory = dup(publication.directory);

    for (size_t i = 0; i < publication.segment_count; i++) {
        publication.segments[i] = dup(publication.segments[i]);
    }

    assert_int_equal(cn_tables_offer(tables, &publication), CN_OK);
    assert_int_equal(cn_tables_adopt(tables, 60000000, &what), CN_OK);

    CN_ARRAY_EACH(&model->services, const cn_service_t, service) {
        CN_ARRAY_EACH(&service->chains, const cn_chain_config_t, chain) {
            assert_non_null(cn_tables_service_by_host(tables, service->host, chain->port, NULL));
        }
    }

    cn_tables_destroy(tables);
    cn_publisher_destroy(publisher);
    cn_ids_destroy(ids);
}


static void
recordings_come_to_what_was_reviewed(void **state)
{
    static const struct {
        const char  *scenario;
        bool         accepted;          /* all of it */
    } recordings[] = {
        { "01-plain", true },
        { "02-vs-split", true },
        { "03-httproute-split", true },
        { "04-authz", false },
        { "04a-authz-viewer", true },
        { "04c-jwt", false },
        { "05-vs-all", false },
        { "06-dr-all", false },
        { "07-egress", false },
        { "07b-wildcard-tls", false },
        { "08-telemetry-extensions", false },
        { "08a-mesh-accesslog", true },
        { "09-gateway-api-routes", false },
        { "10-endpoints", false },
        { "10b-waypoint-for-workload", false },
        { "10c-multinetwork", false },
        { "10d-dualstack-proxy", false },
        { "11-variants-flags", false },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(recordings); i++) {
        const char          *scenario = recordings[i].scenario;
        cn_pool_t           *pool = cn_pool_create(4096, NULL);
        cn_report_t         *report = cn_report_create(pool);
        cn_source_config_t   config = {
            .directory = cn_pool_printf(pool, RECORDED "%s", scenario),
            .trust_domain = CN_BYTES("cluster.local"), .access_log = true,
            .modules = cn_module_configs,
        };
        cn_model_t          *model = NULL;

        unit_check(cn_xds_read_directory(&config, report, &model) == CN_OK, scenario);
        unit_check((report->errors == 0) == recordings[i].accepted, scenario);
        compare(pool, scenario, "refused.txt", refused(pool, report));
        compare(pool, scenario, "model.json", cn_model_print(model, pool));
        check_tables(model, report);
        cn_model_destroy(model);
        cn_pool_destroy(pool);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(recordings_come_to_what_was_reviewed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
