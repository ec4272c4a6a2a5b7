#include "speech.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "encode.h"

#define LANES 4
#define FACTOR 0x9fb21c651e98df25ULL

/* Four sums beside each other, for a multiplication takes longer than a read. */
static uint64_t checksum(const char *data, size_t size)
{
    uint64_t lanes[LANES] = {1, 2, 3, 4};
    uint64_t sum = size;
    char rest[LANES * sizeof(uint64_t)] = {0};
    uint64_t words[LANES];
    size_t at = 0;

    for (; at + sizeof words <= size; at += sizeof words) {
        memcpy(words, data + at, sizeof words);
        for (int lane = 0; lane < LANES; lane++) {
            lanes[lane] = (lanes[lane] ^ words[lane]) * FACTOR;
            lanes[lane] ^= lanes[lane] >> 32;
        }
    }
    memcpy(rest, data + at, size - at);
    memcpy(words, rest, sizeof words);
    for (int lane = 0; lane < LANES; lane++) {
        lanes[lane] = (lanes[lane] ^ words[lane]) * FACTOR;
        sum = (sum ^ lanes[lane]) * FACTOR;
        sum ^= sum >> 29;
    }
    return sum;
}

static void make_stamp(const struct speech *speech, uint32_t session, uint64_t index, char *text)
{
    uint64_t who[3] = {session, index, speech->seed ^ (index << 32 | session) * FACTOR};

    base64(who, sizeof who, text);
}

static uint64_t join(uint64_t stamp, uint64_t tail)
{
    uint64_t sum = (stamp ^ tail >> 7) * FACTOR + tail;

    return sum ? sum : 1;
}

void speech_init(struct speech *speech, uint32_t bytes, uint64_t seed)
{
    uint64_t random = seed;
    uint8_t *raw = allocate(bytes, 1);

    for (uint32_t i = 0; i < bytes; i++) {
        raw[i] = (uint8_t) random_next(&random);
    }
    speech->seed = seed;
    speech->size = BASE64_CHARS(bytes);
    speech->text = allocate(speech->size, 1);
    base64(raw, bytes, speech->text);
    speech->tail_checksum = checksum(speech->text + STAMP_CHARS, speech->size - STAMP_CHARS);
    free(raw);
}

struct slice speech_say(struct speech *speech, uint32_t session, uint64_t index)
{
    make_stamp(speech, session, index, speech->text);
    return (struct slice) {speech->text, speech->size};
}

uint64_t speech_expected(const struct speech *speech, uint32_t session, uint64_t index)
{
    char stamp[STAMP_CHARS];

    make_stamp(speech, session, index, stamp);
    return join(checksum(stamp, sizeof stamp), speech->tail_checksum);
}

uint64_t speech_checksum(struct slice audio)
{
    if (audio.size < STAMP_CHARS) {
        return 0;
    }
    return join(checksum(audio.data, STAMP_CHARS),
                checksum(audio.data + STAMP_CHARS, audio.size - STAMP_CHARS));
}

void speech_print_identity(struct buffer *out, struct slice session_id, uint64_t index,
                           uint64_t checksum)
{
    buffer_print(out, "%.*s said %" PRIu64 " with sum %016" PRIx64, (int) session_id.size,
                 session_id.data, index, checksum);
}
