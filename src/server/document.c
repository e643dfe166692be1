/* SPDX-License-Identifier: Apache-2.0 */

/* document - YAML's tree as jansson's.  The depth of both is what the YAML reader allows. */

#include "server/document.h"

#include <math.h>

#define EXACT_MAX  9007199254740992.0   /* 2^53: whole numbers that a double keeps */


static json_t *
scalar_json(const cn_doc_t *doc)
{
    bool        truth;
    double      number;
    uint64_t    whole;
    cn_bytes_t  text = doc->text;

    if (cn_doc_bool(doc, &truth) == CN_OK) {
        return json_boolean(truth);
    }

    if (cn_doc_u64(doc, 0, INT64_MAX, &whole) == CN_OK) {
        return json_integer((json_int_t) whole);
    }

    if (cn_doc_double(doc, &number) == CN_OK && isfinite(number)) {
        return fabs(number) < EXACT_MAX && floor(number) == number
               ? json_integer((json_int_t) number) : json_real(number);
    }

    return json_stringn(text.ptr == NULL ? "" : (const char *) text.ptr, text.len);
}


static json_t *
mapping_json(const cn_doc_t *doc)
{
    json_t  *object = json_object();

    CN_DOC_EACH(doc, item) {
        json_t  *value = cn_document_json(item);

        if (value == NULL
            || json_object_setn_new(object, (const char *) item->key.ptr, item->key.len,
                                    value) != 0)
        {
            json_decref(object);
            return NULL;
        }
    }

    return object;
}


static json_t *
sequence_json(const cn_doc_t *doc)
{
    json_t  *array = json_array();

    CN_DOC_EACH(doc, item) {
        json_t  *value = cn_document_json(item);

        if (value == NULL || json_array_append_new(array, value) != 0) {
            json_decref(array);
            return NULL;
        }
    }

    return array;
}


json_t *
cn_document_json(const cn_doc_t *doc)
{
    switch (doc->kind) {
    case CN_DOC_SCALAR:
        return scalar_json(doc);
    case CN_DOC_SEQUENCE:
        return sequence_json(doc);
    case CN_DOC_MAPPING:
        return mapping_json(doc);
    case CN_DOC_NULL:
    default:
        return json_null();
    }
}


const char *
cn_document_text(const json_t *value, cn_pool_t *pool)
{
    const size_t  flags = JSON_COMPACT | JSON_ENCODE_ANY;
    size_t        len = value != NULL ? json_dumpb(value, NULL, 0, flags) : 0;
    char         *text = len > 0 ? (char *) cn_pool_octets(pool, len + 1) : NULL;

    if (text != NULL) {
        (void) json_dumpb(value, text, len, flags);
        text[len] = '\0';
    }

    return text;
}


const char *
cn_document_print(const cn_doc_t *doc, cn_pool_t *pool)
{
    json_t      *value = cn_document_json(doc);
    const char  *text = cn_document_text(value, pool);

    json_decref(value);

    return text;
}
