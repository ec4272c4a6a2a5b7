/* Reads the members of one JSON object in their order, without copying.
 *
 * It finds where values begin and end; it does not judge whether what is inside them is JSON.
 */

#ifndef JSON_H
#define JSON_H

#include "common.h"

struct json {
    const char *at;
    const char *end;
};

/* Begin with an object; false where the text is none. */
bool json_open(struct json *json, struct slice text);

/* Take the next member; false at the end, or where the text is broken.
 * `key` is without its quotes, `value` is as it stands, a string with its quotes. */
bool json_next(struct json *json, struct slice *key, struct slice *value);

/* The inside of a string, escapes as they stand; empty where the value is no string. */
struct slice json_string(struct slice value);

/* A whole number from 0 on; -1 where the value is none. */
int64_t json_number(struct slice value);

#endif
