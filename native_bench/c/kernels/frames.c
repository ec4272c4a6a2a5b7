#include <stdlib.h>

#include "kernels.h"
#include "ws.h"

int64_t frame_parse(size_t size, uint64_t turns)
{
    struct buffer frames = {0};
    uint32_t mask = 0x1a2b3c4d;
    char *payload = allocate(size, 1);
    struct ws_frame frame;
    int64_t took_ns;

    ws_add_frame(&frames, WS_TEXT, &mask, (struct slice) {payload, size});
    took_ns = now_ns();
    for (uint64_t turn = 0; turn < turns; turn++) { /* every second one masks it again */
        if (ws_parse(frames.data, frames.size, &frame) != (ssize_t) frames.size) {
            die("that is no frame");
        }
        use((uintptr_t) frame.payload);
    }
    took_ns = now_ns() - took_ns;
    free(payload);
    buffer_free(&frames);
    return took_ns;
}
