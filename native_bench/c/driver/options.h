/* The driver's command line. */

#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* The text before the audio's size is stamped with who speaks, see speech.h. */
#define AUDIO_BYTES_MIN 24

struct options {
    const char *host; /* an IPv4 address */
    int port;
    bool relay; /* the target is the bare relay, not a scheduler */
    uint32_t sessions;
    uint32_t nodes;
    uint32_t node_slots;
    uint32_t audio_bytes;
    double rate; /* utterances a second in all; 0: closed loop */
    uint32_t window;
    int64_t node_delay_ns;
    int64_t node_jitter_ns;
    double warmup_seconds;
    double seconds;
    double silence_seconds;
    double heartbeat_seconds;
    bool session_heartbeats;
    uint32_t source_addresses;
    const char *session_path;
    const char *node_path;
    uint32_t languages;
    uint64_t seed;
};

/* Read the command line; dies with what is wrong, or shows the help. */
void options_read(struct options *options, int count, char **arguments);

#endif
