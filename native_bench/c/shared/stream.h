/* A connected socket under epoll: bytes in and out without blocking. */

#ifndef STREAM_H
#define STREAM_H

#include <stdbool.h>

#include "buffer.h"

struct stream {
    int fd;
    int epoll;
    void *owner; /* the data of its events */
    bool wants_write;
    struct buffer in;  /* the beginning of what is not whole yet */
    struct buffer out; /* what the socket did not take */
};

/* Take a socket and watch it; `for_write` as well while it connects. */
void stream_open(struct stream *stream, int fd, int epoll, void *owner, bool for_write);

/* Watch for input, and with `for_write` for room to write. */
void stream_watch(struct stream *stream, bool for_write);

/* Write, and keep what the socket does not take. False: the connection is broken. */
bool stream_write(struct stream *stream, const char *data, size_t size);

/* Write what was kept, now that the socket takes it. False: the connection is broken. */
bool stream_write_rest(struct stream *stream);

/* Read into `scratch`, behind what was kept from before, all of which is then to be parsed.
 * False: the connection is at its end. It may be that nothing came. */
bool stream_read(struct stream *stream, struct buffer *scratch);

/* Keep the rest of `scratch`, from `at` on, for the next time. */
void stream_keep(struct stream *stream, const struct buffer *scratch, size_t at);

void stream_close(struct stream *stream);

#endif
