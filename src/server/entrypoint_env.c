/* SPDX-License-Identifier: Apache-2.0 */

/*
 * entrypoint_env - typed values of the environment and of ProxyConfig.  A value of another type is
 * an error that names the variable; nothing is guessed.
 */

#include "server/entrypoint_internal.h"

#include <stdarg.h>
#include <stdio.h>


void
cn_entrypoint_wrong(cn_entrypoint_t *entry, const char *name, const char *expected)
{
    cn_report_add(entry->report, CN_REPORT_ERROR, NULL, "", name, "expected %s", expected);
}


const char *
cn_entrypoint_printf(cn_entrypoint_t *entry, const char *format, ...)
{
    va_list   args;
    int       len;
    char     *text = NULL;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);

    if (len >= 0) {
        text = (char *) cn_pool_octets(entry->pool, (size_t) len + 1);
    }

    if (text == NULL) {
        entry->failed = true;
        return "";
    }

    va_start(args, format);
    vsnprintf(text, (size_t) len + 1, format, args);
    va_end(args);

    return text;
}


const char *
cn_entrypoint_path(cn_entrypoint_t *entry, const char *path)
{
    return cn_entrypoint_printf(entry, "%s%s", entry->root, path);
}


const char *
cn_entrypoint_find(char *const *environment, const char *name)
{
    size_t  len = strlen(name);

    for (size_t i = 0; environment[i] != NULL; i++) {
        if (strncmp(environment[i], name, len) == 0 && environment[i][len] == '=') {
            return environment[i][len + 1] != '\0' ? environment[i] + len + 1 : NULL;
        }
    }

    return NULL;
}


const char *
cn_entrypoint_env(const cn_entrypoint_t *entry, const char *name)
{
    const char  *value = cn_entrypoint_find(entry->input->environment, name);
    const char  *other;

    if (value != NULL) {
        return value;
    }

    other = json_string_value(json_object_get(json_object_get(entry->proxy_config,
                                                              "proxyMetadata"), name));

    return other != NULL && other[0] != '\0' ? other : NULL;
}


void
cn_entrypoint_env_bool(cn_entrypoint_t *entry, const char *name, bool *value)
{
    /* what Go's strconv.ParseBool takes */
    static const char *const  yes[] = { "1", "t", "T", "true", "TRUE", "True" };
    static const char *const  no[] = { "0", "f", "F", "false", "FALSE", "False" };
    const char               *text = cn_entrypoint_env(entry, name);

    for (size_t i = 0; text != NULL && i < CN_COUNT_OF(yes); i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *value = strcmp(text, yes[i]) == 0;
            return;
        }
    }

    if (text != NULL) {
        cn_entrypoint_wrong(entry, name, "true or false");
    }
}


static void
take_duration(cn_entrypoint_t *entry, const char *name, const char *text, uint64_t *ms)
{
    uint64_t  us;

    if (text == NULL) {
        return;
    }

    if (cn_bytes_to_duration_us(cn_bytes_str(text), &us) != CN_OK) {
        cn_entrypoint_wrong(entry, name, "a duration, for instance \"5s\"");
        return;
    }

    *ms = us / 1000;
}


void
cn_entrypoint_env_duration(cn_entrypoint_t *entry, const char *name, uint64_t *ms)
{
    take_duration(entry, name, cn_entrypoint_env(entry, name), ms);
}


void
cn_entrypoint_env_ratio(cn_entrypoint_t *entry, const char *name, uint32_t *ppm)
{
    const char  *text = cn_entrypoint_env(entry, name);
    cn_doc_t     doc = { .kind = CN_DOC_SCALAR, .text = cn_bytes_str(text) };
    double       value;

    if (text == NULL) {
        return;
    }

    if (cn_doc_double(&doc, &value) != CN_OK || !(value >= 0 && value <= 1)) {
        cn_entrypoint_wrong(entry, name, "a number of 0..1");
        return;
    }

    *ppm = (uint32_t) (value * 1e6 + 0.5);
}


void
cn_entrypoint_env_u32(cn_entrypoint_t *entry, const char *name, uint32_t min, uint32_t max,
    uint32_t *value)
{
    const char  *text = cn_entrypoint_env(entry, name);
    uint64_t     number;

    if (text == NULL) {
        return;
    }

    if (cn_bytes_to_u64(cn_bytes_str(text), max, &number) != CN_OK || number < min) {
        cn_entrypoint_wrong(entry, name,
                            cn_entrypoint_printf(entry, "a number of %u..%u", min, max));
        return;
    }

    *value = (uint32_t) number;
}


const char *
cn_entrypoint_config_string(const cn_entrypoint_t *entry, const char *name)
{
    return json_string_value(json_object_get(entry->proxy_config, name));
}


void
cn_entrypoint_config_duration(cn_entrypoint_t *entry, const char *name, uint64_t *ms)
{
    json_t  *value = json_object_get(entry->proxy_config, name);

    if (value != NULL && !json_is_string(value)) {
        cn_entrypoint_wrong(entry, name, "a duration, for instance \"5s\"");
        return;
    }

    take_duration(entry, name, json_string_value(value), ms);
}


void
cn_entrypoint_config_u32(cn_entrypoint_t *entry, const char *name, uint32_t max, uint32_t *value)
{
    json_t      *member = json_object_get(entry->proxy_config, name);
    json_int_t   number = json_integer_value(member);

    if (member == NULL || json_is_null(member)) {
        return;
    }

    if (!json_is_integer(member) || number < 0 || number > (json_int_t) max) {
        cn_entrypoint_wrong(entry, name, cn_entrypoint_printf(entry, "a number of 0..%u", max));
        return;
    }

    *value = (uint32_t) number;
}
