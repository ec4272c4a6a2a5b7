#include "buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MIN 256

char *buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->size + more > buffer->room) {
        size_t room = buffer->room ? buffer->room : ROOM_MIN;

        while (room < buffer->size + more) {
            room *= 2;
        }
        buffer->data = reallocate(buffer->data, room, 1);
        buffer->room = room;
    }
    return buffer->data + buffer->size;
}

void buffer_add(struct buffer *buffer, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(buffer_reserve(buffer, size), data, size);
        buffer->size += size;
    }
}

void buffer_add_slice(struct buffer *buffer, struct slice slice)
{
    buffer_add(buffer, slice.data, slice.size);
}

void buffer_print(struct buffer *buffer, const char *format, ...)
{
    size_t room = ROOM_MIN;

    for (;;) {
        char *end = buffer_reserve(buffer, room);
        va_list arguments;
        int size;

        va_start(arguments, format);
        size = vsnprintf(end, room, format, arguments);
        va_end(arguments);
        if (size < 0) {
            die_errno("vsnprintf");
        }
        if ((size_t) size < room) {
            buffer->size += (size_t) size;
            return;
        }
        room = (size_t) size + 1;
    }
}

void buffer_drop(struct buffer *buffer, size_t size)
{
    buffer->size -= size;
    memmove(buffer->data, buffer->data + size, buffer->size);
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer) {0};
}
