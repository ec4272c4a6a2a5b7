/* Bytes that grow at their end. A zeroed one is empty. */

#ifndef BUFFER_H
#define BUFFER_H

#include "common.h"

struct buffer {
    char *data;
    size_t size;
    size_t room;
};

/* Make room for `more` bytes at the end; return where they go. Adds nothing to the size. */
char *buffer_reserve(struct buffer *buffer, size_t more);

void buffer_add(struct buffer *buffer, const void *data, size_t size);

void buffer_add_slice(struct buffer *buffer, struct slice slice);

/* As printf, without a zero at the end. */
void buffer_print(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Drop bytes from the front. */
void buffer_drop(struct buffer *buffer, size_t size);

void buffer_free(struct buffer *buffer);

#endif
