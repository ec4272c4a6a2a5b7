#include "driver.h"

#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>

/* Handshakes at a time: thousands at once would time each other out. */
#define OPENING_MAX 200
#define OPENING_NS_MAX (30 * NS_PER_SECOND)
#define CLOSING_NS_MAX (5 * NS_PER_SECOND)
#define STEP_NS (NS_PER_SECOND / 10)

static const char *const kinds[] = {"session", "node"};
static const struct slice normal_closure = {"\x03\xe8", 2};

static struct link_target target_of(const struct driver *driver, const struct link *link)
{
    const struct options *options = &driver->options;

    return (struct link_target) {
        .host = options->host,
        .port = options->port,
        .path = link->kind == LINK_NODE ? options->node_path : options->session_path,
        .source = link->number % options->source_addresses,
    };
}

/* Nodes come before sessions. */
static struct link *link_of(const struct driver *driver, uint32_t index)
{
    uint32_t nodes = driver->options.nodes;

    return index < nodes ? &driver->nodes[index].link : &driver->sessions[index - nodes].link;
}

void wire_open_all(struct driver *driver)
{
    uint32_t total = driver->options.nodes + driver->options.sessions;
    uint32_t started = 0, ready = 0;
    int64_t moved_ns = now_ns();

    while (ready < total) {
        while (started < total && driver->opening < OPENING_MAX) {
            struct link *link = link_of(driver, started++);
            struct link_target target = target_of(driver, link);

            link_connect(link, driver->epoll, &target);
            driver->opening++;
        }
        turn(driver, now_ns() + STEP_NS);
        if (driver->nodes_ready + driver->sessions_ready > ready) {
            ready = driver->nodes_ready + driver->sessions_ready;
            moved_ns = now_ns();
        } else if (now_ns() - moved_ns > OPENING_NS_MAX) {
            die("%" PRIu32 " of %" PRIu32 " nodes and %" PRIu32 " of %" PRIu32
                " sessions are ready, and no more for %lld s",
                driver->nodes_ready, driver->options.nodes, driver->sessions_ready,
                driver->options.sessions, OPENING_NS_MAX / NS_PER_SECOND);
        }
    }
    driver->opened = true;
}

void wire_add(struct driver *driver, enum ws_opcode opcode, struct slice payload)
{
    uint32_t mask = (uint32_t) random_next(&driver->random);

    ws_add_frame(&driver->frames, opcode, &mask, payload);
}

static void lose(struct driver *driver, struct link *link)
{
    if (!driver->opened) {
        die("%s %" PRIu32 ": closed before it was ready", kinds[link->kind], link->number);
    }
    driver->counts.closed += !driver->ending;
    link_close(link);
}

void wire_flush(struct driver *driver, struct link *link)
{
    struct buffer *frames = &driver->frames;

    if (frames->size > 0 && link->state != LINK_CLOSED
        && !stream_write(&link->stream, frames->data, frames->size)) {
        lose(driver, link);
    }
    frames->size = 0;
}

static void send_close(struct driver *driver, struct link *link)
{
    if (!link->close_sent) {
        link->close_sent = true;
        wire_add(driver, WS_CLOSE, normal_closure);
        wire_flush(driver, link);
    }
}

static void take_frame(struct driver *driver, struct link *link, const struct ws_frame *frame,
                       int64_t now)
{
    struct slice payload = {frame->payload, frame->size};

    switch (frame->opcode) {
    case WS_TEXT:
        if (link->kind == LINK_NODE) {
            node_take(driver, (struct node *) link, payload, now);
        } else {
            session_take(driver, (struct session *) link, payload, now);
        }
        break;
    case WS_PING:
        wire_add(driver, WS_PONG, payload);
        break;
    case WS_CLOSE:
        send_close(driver, link);
        break;
    case WS_PONG:
        break;
    }
}

/* The size of the handshake's answer at the front, 0 while it is not all there. */
static size_t take_handshake(struct driver *driver, struct link *link, const struct buffer *data)
{
    struct slice head = {data->data, ws_head_size(data->data, data->size)};

    if (head.size == 0) {
        return 0;
    }
    if (!ws_is_accepted(head, link->key)) {
        const char *end = memchr(head.data, '\r', head.size);

        die("%s %" PRIu32 ": no WebSocket: %.*s", kinds[link->kind], link->number,
            (int) (end - head.data), head.data);
    }
    link->state = LINK_GREETING;
    if (driver->options.relay) {
        return head.size; /* which speaks first */
    }
    if (link->kind == LINK_NODE) {
        node_greet(driver, (struct node *) link);
    } else {
        session_greet(driver, (struct session *) link);
    }
    return head.size;
}

static void take_frames(struct driver *driver, struct link *link, struct buffer *data, size_t at)
{
    int64_t now = now_ns();
    struct ws_frame frame;
    ssize_t size = 0;

    while (link->state != LINK_CLOSED
           && (size = ws_parse(data->data + at, data->size - at, &frame)) > 0) {
        if (frame.masked) {
            size = -1;
            break;
        }
        take_frame(driver, link, &frame, now);
        at += (size_t) size;
    }
    if (size < 0) {
        die("%s %" PRIu32 ": what came is no frame of a server", kinds[link->kind], link->number);
    }
    if (link->kind == LINK_NODE) {
        node_flush(driver, (struct node *) link);
    }
    wire_flush(driver, link);
    if (link->state != LINK_CLOSED) {
        stream_keep(&link->stream, data, at);
    }
}

static void read_link(struct driver *driver, struct link *link)
{
    struct buffer *data = &driver->scratch;
    bool alive = stream_read(&link->stream, data);
    size_t at = 0;

    if (link->state == LINK_UPGRADING) {
        at = take_handshake(driver, link, data);
    }
    if (link->state == LINK_UPGRADING) {
        stream_keep(&link->stream, data, at);
    } else {
        take_frames(driver, link, data, at);
    }
    if (!alive && link->state != LINK_CLOSED) {
        lose(driver, link);
    }
}

void wire_take_event(struct driver *driver, struct link *link, uint32_t events)
{
    if (link->state == LINK_CLOSED) {
        return; /* by an event before this one */
    }
    if (link->state == LINK_CONNECTING) {
        struct link_target target = target_of(driver, link);

        link_upgrade(link, &target, &driver->random);
        return;
    }
    if (events & EPOLLOUT && !stream_write_rest(&link->stream)) {
        lose(driver, link);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        read_link(driver, link);
    }
}

static void await_closed(struct driver *driver, uint32_t from, uint32_t until)
{
    int64_t deadline_ns = now_ns() + CLOSING_NS_MAX;

    while (from < until && now_ns() < deadline_ns) {
        if (link_of(driver, from)->state == LINK_CLOSED) {
            from++;
        } else {
            turn(driver, now_ns() + STEP_NS);
        }
    }
}

/* Sessions say goodbye before nodes leave, so that no job is without a node. */
void wire_close_all(struct driver *driver)
{
    uint32_t nodes = driver->options.nodes;

    driver->ending = true;
    for (uint32_t i = 0; i < driver->options.sessions; i++) {
        struct session *session = &driver->sessions[i];

        if (session->link.state == LINK_READY && !driver->options.relay) {
            session_close(driver, session);
        } else if (session->link.state == LINK_READY) {
            send_close(driver, &session->link);
        }
    }
    await_closed(driver, nodes, nodes + driver->options.sessions);
    for (uint32_t i = 0; i < nodes; i++) {
        if (driver->nodes[i].link.state != LINK_CLOSED) {
            send_close(driver, &driver->nodes[i].link);
        }
    }
    await_closed(driver, 0, nodes);
}
