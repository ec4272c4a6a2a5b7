/* The members of the protocol's messages that the driver looks at. */

#ifndef MESSAGE_H
#define MESSAGE_H

#include "json.h"

struct message {
    struct slice type;
    struct slice session_id;
    struct slice utterance_index; /* a number */
    struct slice job_id;
    struct slice attempt_id; /* a number */
    struct slice node_id;
    struct slice trace_id;
    struct slice audio;
    struct slice text_asr;
    struct slice text_translated;
    struct slice tts_audio;
    struct slice status;
    struct slice code;
    struct slice message;
    struct slice details; /* an object */
};

/* Take a message apart; members that are missing are empty. False where it has no type. */
bool message_read(struct slice text, struct message *message);

#endif
