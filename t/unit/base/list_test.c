/* SPDX-License-Identifier: Apache-2.0 */

/* The intrusive ring. */

#include "unit.h"

#include "base/list.h"

typedef struct {
    int        number;
    cn_list_t  link;
} thing_t;


/* The numbers in a list, as text. */
static const char *
numbers(cn_list_t *list)
{
    static char  text[64];

    size_t  len = 0;

    CN_LIST_EACH(list, link) {
        text[len++] = (char) ('0' + CN_LIST_ITEM(link, thing_t, link)->number);
    }

    text[len] = '\0';

    return text;
}


static void
links_come_in_the_order_they_were_put(void **state)
{
    cn_list_t  list;
    thing_t    things[3] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };

    (void) state;

    cn_list_init(&list);
    assert_true(cn_list_empty(&list));
    assert_string_equal(numbers(&list), "");

    cn_list_append(&list, &things[0].link);
    cn_list_append(&list, &things[1].link);
    cn_list_prepend(&list, &things[2].link);
    assert_false(cn_list_empty(&list));
    assert_string_equal(numbers(&list), "312");
}


static void
a_link_knows_whether_it_is_in_a_list(void **state)
{
    cn_list_t  list, zeroed = { NULL, NULL };

    (void) state;

    cn_list_init(&list);
    assert_false(cn_list_linked(&zeroed));
    cn_list_append(&list, &zeroed);
    assert_true(cn_list_linked(&zeroed));
    cn_list_remove(&zeroed);
    assert_false(cn_list_linked(&zeroed));
    assert_true(cn_list_empty(&list));

    /* out of no list, zeroed or initialised: nothing happens */
    cn_list_remove(&zeroed);
    zeroed = (cn_list_t) { NULL, NULL };
    cn_list_remove(&zeroed);
    assert_false(cn_list_linked(&zeroed));
}


static void
a_walk_survives_the_removal_of_its_link(void **state)
{
    cn_list_t  list;
    thing_t    things[4] = { { .number = 1 }, { .number = 2 }, { .number = 3 }, { .number = 4 } };

    (void) state;
    cn_list_init(&list);

    for (size_t i = 0; i < 4; i++) {
        cn_list_append(&list, &things[i].link);
    }

    CN_LIST_EACH(&list, link) {
        if (CN_LIST_ITEM(link, thing_t, link)->number % 2 == 0) {
            cn_list_remove(link);
        }
    }

    assert_string_equal(numbers(&list), "13");
}


static void
splice_moves_all_links_to_the_end(void **state)
{
    cn_list_t  to, from;
    thing_t    things[3] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };

    (void) state;

    cn_list_init(&to);
    cn_list_init(&from);
    cn_list_splice(&to, &from);
    assert_true(cn_list_empty(&to));

    cn_list_append(&to, &things[0].link);
    cn_list_append(&from, &things[1].link);
    cn_list_append(&from, &things[2].link);
    cn_list_splice(&to, &from);
    assert_string_equal(numbers(&to), "123");
    assert_true(cn_list_empty(&from));
    cn_list_remove(&things[2].link);
    assert_string_equal(numbers(&to), "12");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(links_come_in_the_order_they_were_put),
        cmocka_unit_test(a_link_knows_whether_it_is_in_a_list),
        cmocka_unit_test(a_walk_survives_the_removal_of_its_link),
        cmocka_unit_test(splice_moves_all_links_to_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
