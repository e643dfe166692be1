/* SPDX-License-Identifier: Apache-2.0 */

/* A model has room for what one configuration may take, and knows when that was not all. */

#include "unit.h"

#include "model/model.h"


static void
what_did_not_fit_is_known(void **state)
{
    cn_model_t   *model = cn_model_create();
    cn_pool_t    *pool = cn_pool_create(4096, NULL);
    cn_report_t  *report = cn_report_create(pool);

    (void) state;
    assert_non_null(model);
    assert_int_equal(model->account.limit, CN_MODEL_MEMORY_MAX);

    model->account.limit = (size_t) 2 * 1024 * 1024;
    assert_non_null(cn_pool_octets(model->pool, 1024 * 1024));
    assert_int_equal(cn_model_check_memory(model, report), CN_OK);

    assert_null(cn_pool_octets(model->pool, 1024 * 1024));
    assert_non_null(cn_pool_octets(model->pool, 1024));
    assert_int_equal(cn_model_check_memory(model, report), CN_ERR_LIMIT);
    assert_int_equal(report->errors, 1);
    assert_string_equal(cn_report_line(report->entries.items, pool),
                        "error: the configuration takes more than 2 MiB of memory");

    cn_model_destroy(model);
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_did_not_fit_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
