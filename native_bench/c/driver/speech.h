/* The audio of utterances: as base64, the same for all but for a stamp at its front.
 *
 * The stamp says which utterance of which session it is, so that no two are alike and whoever
 * gets one can be asked whose it is: its checksum follows from session and index alone.
 */

#ifndef SPEECH_H
#define SPEECH_H

#include "buffer.h"

#define STAMP_CHARS 32

struct speech {
    char *text; /* base64 */
    size_t size;
    uint64_t seed;
    uint64_t tail_checksum; /* of what stands behind the stamp */
};

/* Make `bytes` (24 or more) of audio. */
void speech_init(struct speech *speech, uint32_t bytes, uint64_t seed);

/* Stamp it for an utterance and return it, good until the next call. */
struct slice speech_say(struct speech *speech, uint32_t session, uint64_t index);

/* The checksum of an utterance's audio. */
uint64_t speech_expected(const struct speech *speech, uint32_t session, uint64_t index);

/* The checksum of some audio, 0 where it is too short to be any. */
uint64_t speech_checksum(struct slice audio);

/* Append the text by which a node says whose audio it got. */
void speech_print_identity(struct buffer *out, struct slice session_id, uint64_t index,
                           uint64_t checksum);

#endif
