#include "stream.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)

static void control(struct stream *stream, int operation, bool for_write)
{
    struct epoll_event event = {
        .events = EPOLLIN | (for_write ? EPOLLOUT : 0),
        .data.ptr = stream->owner,
    };

    if (epoll_ctl(stream->epoll, operation, stream->fd, &event) < 0) {
        die_errno("epoll_ctl");
    }
    stream->wants_write = for_write;
}

void stream_open(struct stream *stream, int fd, int epoll, void *owner, bool for_write)
{
    *stream = (struct stream) {.fd = fd, .epoll = epoll, .owner = owner};
    control(stream, EPOLL_CTL_ADD, for_write);
}

void stream_watch(struct stream *stream, bool for_write)
{
    if (stream->wants_write != for_write) {
        control(stream, EPOLL_CTL_MOD, for_write);
    }
}

/* How much of it the socket took; -1 where it is broken. */
static ssize_t take(struct stream *stream, const char *data, size_t size)
{
    ssize_t sent;

    do {
        sent = send(stream->fd, data, size, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    return sent;
}

bool stream_write(struct stream *stream, const char *data, size_t size)
{
    ssize_t sent = stream->out.size > 0 ? 0 : take(stream, data, size);

    if (sent < 0) {
        return false;
    }
    if ((size_t) sent < size) {
        buffer_add(&stream->out, data + sent, size - (size_t) sent);
        stream_watch(stream, true);
    }
    return true;
}

bool stream_write_rest(struct stream *stream)
{
    ssize_t sent = take(stream, stream->out.data, stream->out.size);

    if (sent < 0) {
        return false;
    }
    buffer_drop(&stream->out, (size_t) sent);
    if (stream->out.size == 0) {
        buffer_free(&stream->out);
        stream_watch(stream, false);
    }
    return true;
}

bool stream_read(struct stream *stream, struct buffer *scratch)
{
    ssize_t got;

    scratch->size = 0;
    if (stream->in.size > 0) {
        buffer_add(scratch, stream->in.data, stream->in.size);
        buffer_free(&stream->in);
    }
    do {
        got = recv(stream->fd, buffer_reserve(scratch, READ_BYTES), READ_BYTES, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK;
    }
    scratch->size += (size_t) got;
    return got > 0;
}

void stream_keep(struct stream *stream, const struct buffer *scratch, size_t at)
{
    if (at < scratch->size) {
        buffer_add(&stream->in, scratch->data + at, scratch->size - at);
    }
}

void stream_close(struct stream *stream)
{
    if (close(stream->fd) < 0) { /* epoll forgets it with that */
        die_errno("close");
    }
    stream->fd = -1;
    buffer_free(&stream->in);
    buffer_free(&stream->out);
}
