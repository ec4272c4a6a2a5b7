#include "json.h"

#include <string.h>

#define NUMBER_DIGITS_MAX 18

static void skip_space(struct json *json)
{
    while (json->at < json->end && strchr(" \t\r\n", *json->at) != NULL && *json->at != '\0') {
        json->at++;
    }
}

/* `at` stands on the opening quote; return behind the closing one, NULL where there is none. */
static const char *string_end(const char *at, const char *end)
{
    for (at++; at < end; at++) {
        const char *quote = memchr(at, '"', (size_t) (end - at));
        const char *before;

        if (quote == NULL) {
            return NULL;
        }
        /* An odd number of backslashes before it makes it part of the string. */
        for (before = quote; before > at && before[-1] == '\\'; before--) {
        }
        if ((quote - before) % 2 == 0) {
            return quote + 1;
        }
        at = quote;
    }
    return NULL;
}

static const char *value_end(const char *at, const char *end)
{
    int depth = 0;

    if (at < end && *at == '"') {
        return string_end(at, end);
    }
    while (at < end) {
        switch (*at) {
        case '"':
            at = string_end(at, end);
            if (at == NULL) {
                return NULL;
            }
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (depth == 0) {
                return at;
            }
            if (--depth == 0) {
                return at + 1;
            }
            break;
        case ',':
            if (depth == 0) {
                return at;
            }
            break;
        default:
            break;
        }
        at++;
    }
    return NULL;
}

bool json_open(struct json *json, struct slice text)
{
    json->at = text.data;
    json->end = text.data + text.size;
    skip_space(json);
    if (json->at == json->end || *json->at != '{') {
        return false;
    }
    json->at++;
    return true;
}

bool json_next(struct json *json, struct slice *key, struct slice *value)
{
    const char *end;

    skip_space(json);
    if (json->at < json->end && *json->at == ',') {
        json->at++;
        skip_space(json);
    }
    if (json->at == json->end || *json->at != '"') {
        return false;
    }
    end = string_end(json->at, json->end);
    if (end == NULL) {
        return false;
    }
    *key = (struct slice) {json->at + 1, (size_t) (end - json->at) - 2};
    json->at = end;
    skip_space(json);
    if (json->at == json->end || *json->at != ':') {
        return false;
    }
    json->at++;
    skip_space(json);
    end = value_end(json->at, json->end);
    if (end == NULL) {
        return false;
    }
    *value = (struct slice) {json->at, (size_t) (end - json->at)};
    json->at = end;
    return true;
}

struct slice json_string(struct slice value)
{
    if (value.size < 2 || value.data[0] != '"') {
        return (struct slice) {"", 0};
    }
    return (struct slice) {value.data + 1, value.size - 2};
}

int64_t json_number(struct slice value)
{
    int64_t number = 0;

    while (value.size > 0 && strchr(" \t\r\n", value.data[value.size - 1]) != NULL) {
        value.size--;
    }
    if (value.size == 0 || value.size > NUMBER_DIGITS_MAX) {
        return -1;
    }
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') {
            return -1;
        }
        number = number * 10 + (value.data[i] - '0');
    }
    return number;
}
