#include "message.h"

#include <string.h>

#define MEMBER(name) {#name, sizeof #name - 1, offsetof(struct message, name)}

static const struct {
    const char *name;
    size_t size;
    size_t offset;
} members[] = {
    MEMBER(type),      MEMBER(session_id), MEMBER(utterance_index), MEMBER(job_id),
    MEMBER(trace_id),  MEMBER(audio),      MEMBER(attempt_id),      MEMBER(text_asr),
    MEMBER(tts_audio), MEMBER(node_id),    MEMBER(text_translated), MEMBER(status),
    MEMBER(code),      MEMBER(message),    MEMBER(details),
};

static struct slice *place_of(struct message *message, struct slice key)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (members[i].size == key.size && memcmp(members[i].name, key.data, key.size) == 0) {
            return (struct slice *) (void *) ((char *) message + members[i].offset);
        }
    }
    return NULL;
}

bool message_read(struct slice text, struct message *message)
{
    struct slice key, value;
    struct json json;

    *message = (struct message) {0};
    if (!json_open(&json, text)) {
        return false;
    }
    while (json_next(&json, &key, &value)) {
        struct slice *place = place_of(message, key);

        if (place != NULL) {
            *place = value.data[0] == '"' ? json_string(value) : value;
        }
    }
    return message->type.size > 0;
}
