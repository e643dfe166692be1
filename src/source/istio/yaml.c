/* SPDX-License-Identifier: Apache-2.0 */

/*
 * yaml - libyaml's events become a tree.  The parser recurses once for each level, at most
 * CN_YAML_DEPTH_MAX.
 */

#include "source/istio/yaml.h"

#include "base/fiber.h"
#include "base/map.h"

#include <yaml.h>

/* up to here duplicates are looked for by a walk, then by a map */
#define FEW_KEYS  16

typedef struct {
    yaml_parser_t  parser;
    yaml_event_t   event;           /* the one being looked at */
    bool           has_event;
    const char    *file;
    cn_pool_t     *pool;
    cn_report_t   *report;
    unsigned       depth;
} reader_t;


static cn_doc_t
place(const reader_t *reader, yaml_mark_t mark)
{
    return (cn_doc_t) {
        .file = reader->file,
        .line = (uint32_t) mark.line + 1,
        .column = (uint32_t) mark.column + 1,
    };
}


static cn_status_t
refuse(reader_t *reader, yaml_mark_t mark, const char *text)
{
    cn_doc_t  where = place(reader, mark);

    cn_report_add(reader->report, CN_REPORT_ERROR, &where, "", "", "%s", text);

    return CN_ERR_SYNTAX;
}


static cn_status_t
next(reader_t *reader)
{
    yaml_parser_t  *parser = &reader->parser;

    cn_fiber_rest();

    if (reader->has_event) {
        yaml_event_delete(&reader->event);
        reader->has_event = false;
    }

    if (yaml_parser_parse(parser, &reader->event)) {
        reader->has_event = true;
        return CN_OK;
    }

    if (parser->error == YAML_MEMORY_ERROR) {
        return CN_ERR_MEMORY;
    }

    cn_doc_t  where = place(reader, parser->problem_mark);

    cn_report_add(reader->report, CN_REPORT_ERROR, &where, "", "", "not YAML: %s%s%s",
                  parser->problem == NULL ? "malformed" : parser->problem,
                  parser->context == NULL ? "" : " ", parser->context == NULL ? ""
                      : parser->context);

    return CN_ERR_SYNTAX;
}


static bool
is_null_text(cn_bytes_t text)
{
    return text.len == 0 || cn_bytes_equal(text, CN_BYTES("~"))
        || cn_bytes_equal(text, CN_BYTES("null"))
           || cn_bytes_equal(text, CN_BYTES("Null")) || cn_bytes_equal(text, CN_BYTES("NULL"));
}


static cn_status_t
read_scalar(reader_t *reader, cn_doc_t *node)
{
    const yaml_event_t  *event = &reader->event;
    cn_bytes_t           text = cn_bytes(event->data.scalar.value, event->data.scalar.length);

    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;

    if (!node->quoted && is_null_text(text)) {
        node->kind = CN_DOC_NULL;
        return CN_OK;
    }

    node->kind = CN_DOC_SCALAR;

    return cn_pool_copy(reader->pool, text, &node->text);
}


/* The parts of YAML that a reader of configuration is better without. */
static cn_status_t
check_event(reader_t *reader)
{
    const yaml_event_t  *event = &reader->event;
    const void          *anchor = NULL;
    const void          *tag = NULL;

    switch (event->type) {

    case YAML_ALIAS_EVENT:
        return refuse(reader, event->start_mark, "aliases are not supported");

    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;

    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;

    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;

    default:
        break;
    }

    if (anchor != NULL) {
        return refuse(reader, event->start_mark, "anchors are not supported");
    }

    if (tag != NULL) {
        return refuse(reader, event->start_mark, "tags are not supported");
    }

    return CN_OK;
}


static cn_status_t read_node(reader_t *reader, cn_doc_t *node);


static void
append(cn_doc_t *parent, cn_doc_t **last, cn_doc_t *item)
{
    if (*last == NULL) {
        parent->first = item;

    } else {
        (*last)->next = item;
    }

    *last = item;
    parent->count++;
}


static cn_status_t
read_sequence(reader_t *reader, cn_doc_t *node)
{
    cn_doc_t     *last = NULL;
    cn_status_t   status;

    node->kind = CN_DOC_SEQUENCE;

    for ( ;; ) {
        cn_doc_t  *item;

        status = next(reader);

        if (status != CN_OK || reader->event.type == YAML_SEQUENCE_END_EVENT) {
            return status;
        }

        item = cn_pool_alloc(reader->pool, sizeof(*item));

        if (item == NULL) {
            return CN_ERR_MEMORY;
        }

        *item = place(reader, reader->event.start_mark);
        status = read_node(reader, item);

        if (status != CN_OK) {
            return status;
        }

        append(node, &last, item);
    }
}


/*
 * Whether key stands in the mapping already; a large one gets a map, so that nobody pays by the
 * square.
 */
static cn_status_t
find_duplicate(cn_doc_t *node, cn_doc_t *item, cn_map_t **seen, cn_doc_t **found)
{
    *found = NULL;

    if (node->count < FEW_KEYS) {
        CN_DOC_EACH(node, other) {
            if (cn_bytes_equal(other->key, item->key)) {
                *found = other;
            }
        }
        return CN_OK;
    }

    if (*seen == NULL) {
        *seen = cn_map_create();

        CN_DOC_EACH(node, other) {
            if (*seen == NULL || cn_map_set(*seen, other->key, other) != CN_OK) {
                return CN_ERR_MEMORY;
            }
        }
    }

    *found = cn_map_get(*seen, item->key);

    return cn_map_set(*seen, item->key, item);
}


static cn_status_t
read_key(reader_t *reader, cn_doc_t *item)
{
    const yaml_event_t  *event = &reader->event;
    cn_status_t          status = check_event(reader);

    if (status != CN_OK) {
        return status;
    }

    *item = place(reader, event->start_mark);

    if (event->type != YAML_SCALAR_EVENT) {
        return refuse(reader, event->start_mark, "a key must be a scalar");
    }

    status = cn_pool_copy(reader->pool, cn_bytes(event->data.scalar.value,
                                                 event->data.scalar.length), &item->key);

    if (status == CN_OK && cn_bytes_equal(item->key, CN_BYTES("<<"))) {
        return refuse(reader, event->start_mark, "merge keys are not supported");
    }

    return status;
}


static cn_status_t
read_member(reader_t *reader, cn_doc_t *node, cn_doc_t *item, cn_map_t **seen)
{
    cn_doc_t     *found;
    cn_status_t   status = read_key(reader, item);

    if (status != CN_OK) {
        return status;
    }

    status = find_duplicate(node, item, seen, &found);

    if (status != CN_OK) {
        return status;
    }

    if (found != NULL) {
        cn_report_add(reader->report, CN_REPORT_ERROR, item, "", "",
                      "duplicate key \"%.*s\", first on line %u",
                      CN_BYTES_ARG(item->key), found->line);
        return CN_ERR_SYNTAX;
    }

    status = next(reader);

    return status == CN_OK ? read_node(reader, item) : status;
}


static cn_status_t
read_mapping(reader_t *reader, cn_doc_t *node)
{
    cn_map_t     *seen = NULL;
    cn_doc_t     *last = NULL;
    cn_status_t   status;

    node->kind = CN_DOC_MAPPING;

    for ( ;; ) {
        cn_doc_t  *item;

        status = next(reader);

        if (status != CN_OK || reader->event.type == YAML_MAPPING_END_EVENT) {
            break;
        }

        item = cn_pool_alloc(reader->pool, sizeof(*item));
        status = item == NULL ? CN_ERR_MEMORY : read_member(reader, node, item, &seen);

        if (status != CN_OK) {
            break;
        }

        append(node, &last, item);
    }

    cn_map_destroy(seen);

    return status;
}


/* The event is the node's first; node has its place, and its key in a mapping. */
static cn_status_t
read_node(reader_t *reader, cn_doc_t *node)
{
    cn_status_t  status = check_event(reader);

    if (status != CN_OK) {
        return status;
    }

    if (reader->event.type == YAML_SCALAR_EVENT) {
        return read_scalar(reader, node);
    }

    if (reader->depth == CN_YAML_DEPTH_MAX) {
        return refuse(reader, reader->event.start_mark, "nested more than 64 levels deep");
    }

    reader->depth++;
    status = reader->event.type == YAML_SEQUENCE_START_EVENT ? read_sequence(reader, node)
                                                             : read_mapping(reader, node);
    reader->depth--;

    return status;
}


static cn_status_t
read_document(reader_t *reader, cn_array_t *documents)
{
    cn_status_t   status = next(reader);
    cn_doc_t     *root;
    cn_doc_t    **slot;

    if (status != CN_OK) {
        return status;
    }

    root = cn_pool_alloc(reader->pool, sizeof(*root));

    if (root == NULL) {
        return CN_ERR_MEMORY;
    }

    *root = place(reader, reader->event.start_mark);
    status = read_node(reader, root);

    /* the document's end */
    if (status == CN_OK) {
        status = next(reader);
    }

    if (status != CN_OK || root->kind == CN_DOC_NULL) {
        return status;
    }

    slot = cn_array_add(documents);

    if (slot == NULL) {
        return CN_ERR_MEMORY;
    }

    *slot = root;

    return CN_OK;
}


cn_status_t
cn_yaml_read(const char *file, cn_bytes_t text, cn_pool_t *pool, cn_report_t *report,
    cn_array_t *documents)
{
    reader_t     reader = { .file = file, .pool = pool, .report = report };
    cn_status_t  status;

    if (!yaml_parser_initialize(&reader.parser)) {
        return CN_ERR_MEMORY;
    }

    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, text.len == 0 ? (const uint8_t *) "" : text.ptr,
                                 text.len);

    do {
        status = next(&reader);

        if (status == CN_OK && reader.event.type == YAML_DOCUMENT_START_EVENT) {
            status = read_document(&reader, documents);
        }

    } while (status == CN_OK && reader.event.type != YAML_STREAM_END_EVENT);

    if (reader.has_event) {
        yaml_event_delete(&reader.event);
    }

    yaml_parser_delete(&reader.parser);

    return status;
}


static cn_doc_t *
copy_tree(const cn_doc_t *doc, cn_pool_t *pool, const char *file)
{
    cn_doc_t  *copy = cn_pool_alloc(pool, sizeof(*copy));
    cn_doc_t  *last = NULL;

    cn_fiber_rest();

    if (copy == NULL) {
        return NULL;
    }

    *copy = *doc;
    copy->file = file;
    copy->used = false;
    copy->first = NULL;
    copy->next = NULL;
    copy->count = 0;

    if (cn_pool_copy(pool, doc->key, &copy->key) != CN_OK
        || cn_pool_copy(pool, doc->text, &copy->text) != CN_OK) {
        return NULL;
    }

    CN_DOC_EACH(doc, item) {
        cn_doc_t  *twin = copy_tree(item, pool, file);

        if (twin == NULL) {
            return NULL;
        }

        append(copy, &last, twin);
    }

    return copy;
}


cn_doc_t *
cn_yaml_copy(const cn_doc_t *doc, cn_pool_t *pool)
{
    const char  *file = cn_pool_str(pool, cn_bytes_str(doc->file));

    return file == NULL ? NULL : copy_tree(doc, pool, file);
}
