/* A load of sessions and nodes in the scheduler's own protocol, from one thread.
 *
 * It takes so little CPU that the scheduler is what is measured, and checks while it measures
 * that each utterance gets its own answer, once and in its order. See --help.
 */

#include "driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define OTHER_FILES 16
#define IDLE_NS NS_PER_SECOND
/* For answers that come twice. */
#define LINGER_NS (NS_PER_SECOND / 20)
#define LINE_CHARS_MAX 256

static void allow_open_files(uint64_t wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        die_errno("getrlimit");
    }
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted) {
        if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < wanted) {
            die("%llu open files are needed, but `ulimit -Hn` is %llu",
                (unsigned long long) wanted, (unsigned long long) limit.rlim_max);
        }
        limit.rlim_cur = wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
            die_errno("setrlimit");
        }
    }
}

static void init(struct driver *driver)
{
    const struct options *options = &driver->options;

    allow_open_files((uint64_t) options->sessions + options->nodes + OTHER_FILES);
    if (prctl(PR_SET_TIMERSLACK, 1) < 0) { /* else waits end 50 us late */
        die_errno("prctl");
    }
    driver->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (driver->epoll < 0) {
        die_errno("epoll_create1");
    }
    driver->random = options->seed;
    speech_init(&driver->speech, options->audio_bytes, options->seed);
    driver->sessions = allocate(options->sessions, sizeof *driver->sessions);
    for (uint32_t i = 0; i < options->sessions; i++) {
        driver->sessions[i].link = (struct link) {.kind = LINK_SESSION, .number = i};
    }
    driver->nodes = allocate(options->nodes, sizeof *driver->nodes);
    for (uint32_t i = 0; i < options->nodes; i++) {
        driver->nodes[i].link = (struct link) {.kind = LINK_NODE, .number = i};
    }
    table_init(&driver->session_table, options->sessions);
    driver->beats_from_ns = now_ns();
}

/* --- measuring --------------------------------------------------------------------------- */

static void report(struct driver *driver, double cpu)
{
    double seconds = (double) (driver->until_ns - driver->from_ns) / NS_PER_SECOND;
    struct buffer out = {0};

    counts_print(&driver->counts, seconds, cpu, driver->options.rate > 0, &out);
    if (fwrite(out.data, 1, out.size, stdout) != out.size || fflush(stdout) != 0) {
        die_errno("standard output");
    }
    buffer_free(&out);
    /* What comes from now on, an answer too many say, shows in the next report. */
    driver->counts = (struct counts) {0};
}

/* Let what is open be answered, then see whether more comes than should. */
static void drain(struct driver *driver)
{
    int64_t silence_ns = (int64_t) (driver->options.silence_seconds * NS_PER_SECOND);
    int64_t until_ns;

    driver->speaking = false;
    driver->answered_ns = now_ns();
    while (driver->open > 0 && now_ns() - driver->answered_ns < silence_ns) {
        turn(driver, now_ns() + LINGER_NS);
    }
    for (uint32_t i = 0; i < driver->options.sessions; i++) {
        driver->counts.lost += ledger_give_up(&driver->sessions[i].ledger);
    }
    driver->open = 0;
    until_ns = now_ns() + LINGER_NS;
    while (now_ns() < until_ns) {
        turn(driver, until_ns);
    }
}

static void measure(struct driver *driver, double warmup_seconds, double seconds)
{
    int64_t now = now_ns();
    double cpu = 0;
    bool warm = false;

    driver->from_ns = now + (int64_t) (warmup_seconds * NS_PER_SECOND);
    driver->until_ns = driver->from_ns + (int64_t) (seconds * NS_PER_SECOND);
    load_begin(driver, now);
    for (; now < driver->until_ns; now = now_ns()) {
        int64_t next_ns = warm ? driver->until_ns : driver->from_ns;

        if (!warm && now >= driver->from_ns) {
            warm = true;
            cpu = cpu_seconds();
        }
        load_run(driver, now);
        turn(driver, load_next_ns(driver) < next_ns ? load_next_ns(driver) : next_ns);
    }
    cpu = cpu_seconds() - cpu;
    drain(driver);
    report(driver, cpu);
}

static void hold(struct driver *driver, double seconds)
{
    double cpu = cpu_seconds();

    driver->from_ns = now_ns();
    driver->until_ns = driver->from_ns + (int64_t) (seconds * NS_PER_SECOND);
    while (now_ns() < driver->until_ns) {
        turn(driver, driver->until_ns);
    }
    if (driver->counts.closed > 0) {
        die("%llu connections were closed, which were only to be held",
            (unsigned long long) driver->counts.closed);
    }
    report(driver, cpu_seconds() - cpu);
}

/* --- the caller -------------------------------------------------------------------------- */

/* Take the first line out of what has come; false where none is whole. */
static bool take_line(struct buffer *input, char line[LINE_CHARS_MAX])
{
    const char *end = input->size > 0 ? memchr(input->data, '\n', input->size) : NULL;
    size_t size;

    if (end == NULL) {
        return false;
    }
    size = (size_t) (end - input->data);
    if (size >= LINE_CHARS_MAX) {
        die("a line of %zu characters on standard input", size);
    }
    memcpy(line, input->data, size);
    line[size] = '\0';
    buffer_drop(input, size + 1);
    return true;
}

/* Wait for a line while connections are kept; false at the end of the input. */
static bool await_line(struct driver *driver, struct buffer *input, char line[LINE_CHARS_MAX])
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    bool polled = epoll_ctl(driver->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) == 0;
    bool found, ended = false;

    if (!polled && errno != EPERM) { /* that is a file, which can always be read */
        die_errno("epoll_ctl");
    }
    while (!(found = take_line(input, line)) && !ended) {
        if (turn(driver, polled ? now_ns() + IDLE_NS : 0) || !polled) {
            ssize_t got = read(STDIN_FILENO, buffer_reserve(input, LINE_CHARS_MAX), LINE_CHARS_MAX);

            if (got < 0 && errno != EINTR) {
                die_errno("standard input");
            }
            input->size += got > 0 ? (size_t) got : 0;
            ended = got == 0;
        }
    }
    if (polled && epoll_ctl(driver->epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL) < 0) {
        die_errno("epoll_ctl");
    }
    return found;
}

static double seconds_in(const char *text, const char *line)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end != '\0' || !(seconds > 0)) {
        die("'%s' is neither go [SECONDS], hold SECONDS nor quit", line);
    }
    return seconds;
}

static void obey(struct driver *driver)
{
    const struct options *options = &driver->options;
    struct buffer input = {0};
    char line[LINE_CHARS_MAX];

    while (await_line(driver, &input, line) && strcmp(line, "quit") != 0) {
        if (strcmp(line, "go") == 0) {
            measure(driver, options->warmup_seconds, options->seconds);
        } else if (strncmp(line, "hold ", 5) == 0) {
            hold(driver, seconds_in(line + 5, line));
        } else {
            double seconds = seconds_in(strncmp(line, "go ", 3) == 0 ? line + 3 : "", line);

            measure(driver, options->warmup_seconds, seconds);
        }
    }
    buffer_free(&input);
}

static void abandon(struct link *link)
{
    if (link->state != LINK_CLOSED) {
        link_close(link);
    }
}

static void free_all(struct driver *driver)
{
    for (uint32_t i = 0; i < driver->options.sessions; i++) {
        free(driver->sessions[i].ledger.ring);
        abandon(&driver->sessions[i].link);
    }
    for (uint32_t i = 0; i < driver->options.nodes; i++) {
        abandon(&driver->nodes[i].link);
    }
    timers_free(&driver->timers);
    buffer_free(&driver->scratch);
    buffer_free(&driver->message);
    buffer_free(&driver->identity);
    buffer_free(&driver->frames);
    free(driver->speech.text);
    free(driver->results);
    free(driver->session_table.entries);
    free(driver->sessions);
    free(driver->nodes);
}

int main(int count, char **arguments)
{
    static struct driver driver;

    options_read(&driver.options, count, arguments);
    keep_memory();
    init(&driver);
    wire_open_all(&driver);
    if (puts("ready") == EOF || fflush(stdout) != 0) {
        die_errno("standard output");
    }
    obey(&driver);
    wire_close_all(&driver);
    free_all(&driver);
    return 0;
}
