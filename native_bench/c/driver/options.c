#include "options.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

#define COUNT_MAX 1000000
#define SECONDS_MAX 86400
#define LANGUAGES_MAX 64

static const char help[] =
    "driver --port P --sessions N --nodes M [OPTION...]\n"
    "\n"
    "  --host ADDRESS            127.0.0.1: where the scheduler listens\n"
    "  --port P\n"
    "  --target T                scheduler, or relay: the bare relay's framing\n"
    "  --sessions N\n"
    "  --nodes M\n"
    "  --node-slots K            8: jobs at a time of each node\n"
    "  --audio-bytes B           256: speech in an utterance and in its result\n"
    "  --rate R                  utterances a second in all; 0: closed loop\n"
    "  --window W                1: unanswered utterances of each session in the closed loop\n"
    "  --node-delay-us D         0: what a node takes for a job\n"
    "  --node-jitter-us J        0: and up to so much more\n"
    "  --warmup-seconds S        1\n"
    "  --seconds S               5\n"
    "  --silence-seconds S       10: what is open after so long without any answer is lost\n"
    "  --heartbeat-seconds S     5: between two heartbeats of a node\n"
    "  --session-heartbeats      sessions send them as well\n"
    "  --source-addresses A      1: connect from 127.0.0.1 to 127.0.0.A in turns\n"
    "  --session-path PATH       /ws/session, with a relay /session\n"
    "  --node-path PATH          /ws/node, with a relay /node\n"
    "  --languages K             1: target languages of the sessions, in turns\n"
    "  --seed S                  1\n"
    "  --json                    print results as JSON, which is all there is\n"
    "\n"
    "Prints 'ready'; then takes lines: go [SECONDS], hold SECONDS, quit.\n";

enum {
    HOST = 1, PORT, TARGET, SESSIONS, NODES, NODE_SLOTS, AUDIO_BYTES, RATE, WINDOW, NODE_DELAY,
    NODE_JITTER, WARMUP, SECONDS, SILENCE, HEARTBEAT, SESSION_HEARTBEATS, SOURCE_ADDRESSES,
    SESSION_PATH, NODE_PATH, LANGUAGES, SEED, JSON, HELP,
};

static const struct option names[] = {
    {"host", required_argument, NULL, HOST},
    {"port", required_argument, NULL, PORT},
    {"target", required_argument, NULL, TARGET},
    {"sessions", required_argument, NULL, SESSIONS},
    {"nodes", required_argument, NULL, NODES},
    {"node-slots", required_argument, NULL, NODE_SLOTS},
    {"audio-bytes", required_argument, NULL, AUDIO_BYTES},
    {"rate", required_argument, NULL, RATE},
    {"window", required_argument, NULL, WINDOW},
    {"node-delay-us", required_argument, NULL, NODE_DELAY},
    {"node-jitter-us", required_argument, NULL, NODE_JITTER},
    {"warmup-seconds", required_argument, NULL, WARMUP},
    {"seconds", required_argument, NULL, SECONDS},
    {"silence-seconds", required_argument, NULL, SILENCE},
    {"heartbeat-seconds", required_argument, NULL, HEARTBEAT},
    {"session-heartbeats", no_argument, NULL, SESSION_HEARTBEATS},
    {"source-addresses", required_argument, NULL, SOURCE_ADDRESSES},
    {"session-path", required_argument, NULL, SESSION_PATH},
    {"node-path", required_argument, NULL, NODE_PATH},
    {"languages", required_argument, NULL, LANGUAGES},
    {"seed", required_argument, NULL, SEED},
    {"json", no_argument, NULL, JSON},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static double number(const char *name, double low, double high)
{
    char *end;
    double value = strtod(optarg, &end);

    if (end == optarg || *end != '\0' || !(value >= low && value <= high)) {
        die("--%s must be a number from %g to %g, not '%s'", name, low, high, optarg);
    }
    return value;
}

static uint32_t whole(const char *name, uint32_t low, uint32_t high)
{
    double value = number(name, low, high);

    if (value != floor(value)) {
        die("--%s must be a whole number, not '%s'", name, optarg);
    }
    return (uint32_t) value;
}

static void take(struct options *options, int option, const char *name)
{
    switch (option) {
    case HOST: options->host = optarg; break;
    case PORT: options->port = (int) whole(name, 1, 65535); break;
    case TARGET:
        options->relay = strcmp(optarg, "relay") == 0;
        if (!options->relay && strcmp(optarg, "scheduler") != 0) {
            die("--target must be scheduler or relay, not '%s'", optarg);
        }
        break;
    case SESSIONS: options->sessions = whole(name, 1, COUNT_MAX); break;
    case NODES: options->nodes = whole(name, 0, COUNT_MAX); break;
    case NODE_SLOTS: options->node_slots = whole(name, 1, 65536); break;
    case AUDIO_BYTES: options->audio_bytes = whole(name, AUDIO_BYTES_MIN, 4 << 20); break;
    case RATE: options->rate = number(name, 0, 1e7); break;
    case WINDOW: options->window = whole(name, 1, 65536); break;
    case NODE_DELAY: options->node_delay_ns = whole(name, 0, 1u << 31) * NS_PER_US; break;
    case NODE_JITTER: options->node_jitter_ns = whole(name, 0, 1u << 31) * NS_PER_US; break;
    case WARMUP: options->warmup_seconds = number(name, 0, SECONDS_MAX); break;
    case SECONDS: options->seconds = number(name, 0.001, SECONDS_MAX); break;
    case SILENCE: options->silence_seconds = number(name, 0.01, SECONDS_MAX); break;
    case HEARTBEAT: options->heartbeat_seconds = number(name, 0.01, SECONDS_MAX); break;
    case SESSION_HEARTBEATS: options->session_heartbeats = true; break;
    case SOURCE_ADDRESSES: options->source_addresses = whole(name, 1, 254); break;
    case SESSION_PATH: options->session_path = optarg; break;
    case NODE_PATH: options->node_path = optarg; break;
    case LANGUAGES: options->languages = whole(name, 1, LANGUAGES_MAX); break;
    case SEED: options->seed = whole(name, 0, UINT32_MAX); break;
    case JSON: break;
    case HELP:
        fputs(help, stdout);
        exit(0);
    default: exit(2); /* getopt has said what is wrong */
    }
}

void options_read(struct options *options, int count, char **arguments)
{
    int option, index = 0;

    *options = (struct options) {
        .host = "127.0.0.1",
        .node_slots = 8,
        .audio_bytes = 256,
        .window = 1,
        .warmup_seconds = 1,
        .seconds = 5,
        .silence_seconds = 10,
        .heartbeat_seconds = 5,
        .source_addresses = 1,
        .languages = 1,
        .seed = 1,
    };
    while ((option = getopt_long(count, arguments, "", names, &index)) != -1) {
        take(options, option, names[index].name);
    }
    if (optind < count) {
        die("'%s' is no option; see --help", arguments[optind]);
    }
    if (options->port == 0 || options->sessions == 0) {
        die("--port and --sessions must be given; see --help");
    }
    if (options->relay && options->nodes == 0) {
        die("--target relay needs --nodes");
    }
    if (options->session_path == NULL) {
        options->session_path = options->relay ? "/session" : "/ws/session";
    }
    if (options->node_path == NULL) {
        options->node_path = options->relay ? "/node" : "/ws/node";
    }
}
