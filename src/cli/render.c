/* SPDX-License-Identifier: Apache-2.0 */

/*
 * render - JSON as YAML, and as text for people.
 *
 *   text:  version   0.1.0           scalars, aligned
 *          workers                   a list of objects whose values are scalars: a table
 *            worker  pid  state
 *            0       17   serving
 *          routes                    anything deeper: indented, one "-" an item
 */

#include "cli/render.h"

#include <jansson.h>
#include <string.h>

/* The library's loops, named as ours are. */
#define CN_JSON_EACH      json_array_foreach
#define CN_JSON_KEY_EACH  json_object_foreach

#define STEP       2
#define WIDTH_MAX  60                   /* of a column's padding; what is longer sticks out */


bool
cn_render_parse(const char *name, cn_render_t *how)
{
    static const struct {
        const char   *name;
        cn_render_t   how;
    } names[] = {
        { "json", CN_RENDER_JSON },
        { "yaml", CN_RENDER_YAML },
        { "text", CN_RENDER_TEXT },
    };

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        if (strcmp(names[i].name, name) == 0) {
            *how = names[i].how;
            return true;
        }
    }

    return false;
}


/* ---- scalars --------------------------------------------------------------------------------- */

static bool
is_nested(const json_t *value)
{
    return json_is_object(value) || json_is_array(value);
}


static void
put_encoded(const json_t *value, FILE *out)
{
    (void) json_dumpf(value, out, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
}


/* JSON's scalars are YAML's; strings stay quoted, so that none is read as something else. */
static void
put_yaml_scalar(const json_t *value, FILE *out)
{
    if (is_nested(value)) {
        fputs(json_is_object(value) ? "{}" : "[]", out);        /* an empty one */
        return;
    }

    put_encoded(value, out);
}


static bool
is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char) *text < ' ' || *text == 127) {
            return false;
        }
    }

    return true;
}


/* For people: without quotes, but nothing that a terminal would take as an order. */
static void
put_text_scalar(const json_t *value, FILE *out)
{
    const char  *text = json_string_value(value);

    if (text != NULL && is_printable(text)) {
        fputs(text[0] == '\0' ? "-" : text, out);

    } else if (is_nested(value) || json_is_null(value)) {
        fputs("-", out);

    } else {
        put_encoded(value, out);
    }
}


static size_t
text_width(const json_t *value)
{
    const char  *text = json_string_value(value);

    if (text != NULL && is_printable(text)) {
        return text[0] == '\0' ? 1 : strlen(text);
    }

    if (value == NULL || is_nested(value) || json_is_null(value)) {
        return 1;
    }

    /* without a buffer it tells how much it would take */
    return json_dumpb(value, NULL, 0, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
}


static void
put_spaces(size_t count, FILE *out)
{
    fprintf(out, "%*s", (int) count, "");
}


static bool
is_empty(const json_t *value)
{
    return json_is_object(value) ? json_object_size(value) == 0 : json_array_size(value) == 0;
}


/* ---- YAML ------------------------------------------------------------------------------------ */

static void put_yaml(const json_t *value, size_t indent, bool inline_first, FILE *out);


static void
put_yaml_value(const json_t *value, size_t indent, FILE *out)
{
    if (!is_nested(value) || is_empty(value)) {
        fputc(' ', out);
        put_yaml_scalar(value, out);
        fputc('\n', out);
        return;
    }

    fputc('\n', out);
    put_yaml(value, indent + STEP, false, out);
}


static void
put_yaml_item(const json_t *item, size_t indent, FILE *out)
{
    put_spaces(indent, out);
    fputc('-', out);

    if (json_is_object(item) && !is_empty(item)) {
        fputc(' ', out);
        put_yaml(item, indent + STEP, true, out);       /* its first key stands behind the dash */

    } else {
        put_yaml_value(item, indent, out);
    }
}


/* An object or array that is not empty. */
static void
put_yaml(const json_t *value, size_t indent, bool inline_first, FILE *out)
{
    const char  *key;
    json_t      *item;
    size_t       i;

    if (json_is_array(value)) {
        CN_JSON_EACH(value, i, item) {
            put_yaml_item(item, indent, out);
        }

        return;
    }

    CN_JSON_KEY_EACH((json_t *) value, key, item) {
        json_t  *name = json_string(key);

        put_spaces(inline_first ? 0 : indent, out);
        inline_first = false;
        put_encoded(name, out);
        json_decref(name);
        fputc(':', out);
        put_yaml_value(item, indent, out);
    }
}


/* ---- text ------------------------------------------------------------------------------------ */

/* Whether each item is an object with nothing nested in it but what is empty. */
static bool
is_table(const json_t *list)
{
    const char  *key;
    json_t      *item, *value;
    size_t       i;

    CN_JSON_EACH(list, i, item) {
        if (!json_is_object(item)) {
            return false;
        }

        CN_JSON_KEY_EACH(item, key, value) {
            if (is_nested(value) && !is_empty(value)) {
                return false;
            }
        }
    }

    return json_array_size(list) > 0;
}


static size_t
column_width(const json_t *list, const char *key)
{
    size_t   width = strlen(key);
    size_t   i;
    json_t  *item;

    CN_JSON_EACH(list, i, item) {
        size_t  own = text_width(json_object_get(item, key));

        width = own > width ? own : width;
    }

    return width < WIDTH_MAX ? width : WIDTH_MAX;
}


static void
pad(size_t width, size_t written, FILE *out)
{
    put_spaces(STEP + (written < width ? width - written : 0), out);
}


/* The columns are the keys of all items, in the order in which they come. */
static json_t *
columns_of(const json_t *list)
{
    json_t      *columns = json_object();
    const char  *key;
    json_t      *item, *value;
    size_t       i;

    CN_JSON_EACH(list, i, item) {
        CN_JSON_KEY_EACH(item, key, value) {
            if (json_object_get(columns, key) == NULL) {
                (void) json_object_set_new(columns, key,
                                           json_integer((json_int_t) column_width(list, key)));
            }
        }
    }

    return columns;
}


static void
put_table(const json_t *list, size_t indent, FILE *out)
{
    json_t      *columns = columns_of(list);
    const char  *key;
    json_t      *item, *width;
    size_t       i;

    put_spaces(indent, out);

    CN_JSON_KEY_EACH(columns, key, width) {
        fputs(key, out);
        pad((size_t) json_integer_value(width), strlen(key), out);
    }

    fputc('\n', out);

    CN_JSON_EACH(list, i, item) {
        put_spaces(indent, out);

        CN_JSON_KEY_EACH(columns, key, width) {
            const json_t  *value = json_object_get(item, key);

            put_text_scalar(value == NULL ? json_null() : value, out);
            pad((size_t) json_integer_value(width), text_width(value), out);
        }

        fputc('\n', out);
    }

    json_decref(columns);
}


static void put_text(const json_t *value, size_t indent, bool inline_first, FILE *out);


static void
put_text_list(const json_t *list, size_t indent, FILE *out)
{
    json_t  *item;
    size_t   i;

    if (is_table(list)) {
        put_table(list, indent, out);
        return;
    }

    CN_JSON_EACH(list, i, item) {
        put_spaces(indent, out);
        fputs("- ", out);
        put_text(item, indent + STEP, true, out);
    }
}


static void
put_text_object(const json_t *object, size_t indent, bool inline_first, FILE *out)
{
    const char  *key;
    json_t      *item;
    size_t       width = 0;

    CN_JSON_KEY_EACH((json_t *) object, key, item) {
        if (!is_nested(item) || is_empty(item)) {
            width = strlen(key) > width ? strlen(key) : width;
        }
    }

    CN_JSON_KEY_EACH((json_t *) object, key, item) {
        put_spaces(inline_first ? 0 : indent, out);
        inline_first = false;
        fputs(key, out);

        if (!is_nested(item) || is_empty(item)) {
            pad(width, strlen(key), out);
            put_text_scalar(item, out);
            fputc('\n', out);
            continue;
        }

        fputc('\n', out);
        put_text(item, indent + STEP, false, out);
    }
}


static void
put_text(const json_t *value, size_t indent, bool inline_first, FILE *out)
{
    if (!is_nested(value) || is_empty(value)) {
        put_text_scalar(value, out);
        fputc('\n', out);

    } else if (json_is_object(value)) {
        put_text_object(value, indent, inline_first, out);

    } else {
        if (inline_first) {
            fputc('\n', out);
        }

        put_text_list(value, indent, out);
    }
}


/* ---- public ---------------------------------------------------------------------------------- */

bool
cn_render(cn_bytes_t document, cn_render_t how, FILE *out)
{
    json_t  *root;

    if (how == CN_RENDER_JSON) {
        return fwrite(document.ptr, 1, document.len, out) == document.len;
    }

    root = json_loadb((const char *) document.ptr, document.len, JSON_DECODE_ANY, NULL);

    if (root == NULL) {
        return false;
    }

    if (how == CN_RENDER_TEXT) {
        put_text(root, 0, false, out);

    } else if (!is_nested(root) || is_empty(root)) {
        put_yaml_scalar(root, out);
        fputc('\n', out);

    } else {
        put_yaml(root, 0, false, out);
    }

    json_decref(root);

    return true;
}
