#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels.h"

#define ROW_BYTES_MAX 64

struct block {
    _Atomic int64_t number; /* written last and cleared first, as scheduler/memory/arena.py does */
    int64_t size;
    char payload[];
};

static void *map_shared(size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED) {
        die_errno("mmap");
    }
    return memory;
}

static void unmap(void *memory, size_t size)
{
    if (munmap(memory, size) < 0) {
        die_errno("munmap");
    }
}

static void put(struct block *block, int64_t number, const char *data, size_t size)
{
    atomic_store_explicit(&block->number, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    block->size = (int64_t) size;
    memcpy(block->payload, data, size);
    atomic_store_explicit(&block->number, number, memory_order_release);
}

static bool get(struct block *block, int64_t number, char *data, size_t size)
{
    if (atomic_load_explicit(&block->number, memory_order_acquire) != number
        || block->size != (int64_t) size) {
        return false;
    }
    memcpy(data, block->payload, size);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&block->number, memory_order_relaxed) == number;
}

int64_t arena_put_get(size_t size, uint64_t turns)
{
    size_t mapped = sizeof(struct block) + size;
    struct block *block = map_shared(mapped);
    char *from = allocate(size, 1);
    char *to = allocate(size, 1);
    int64_t took_ns = now_ns();

    for (uint64_t turn = 0; turn < turns; turn++) {
        put(block, (int64_t) turn + 1, from, size);
        if (!get(block, (int64_t) turn + 1, to, size)) {
            die("another block than was put");
        }
        use((uintptr_t) to);
    }
    took_ns = now_ns() - took_ns;
    free(from);
    free(to);
    unmap(block, mapped);
    return took_ns;
}

int64_t seqlock_read(size_t size, uint64_t turns)
{
    struct row {
        _Atomic int64_t sequence;
        char data[ROW_BYTES_MAX - sizeof(int64_t)];
    } *row = map_shared(sizeof *row);
    char copy[ROW_BYTES_MAX];
    uint64_t whole = 0;
    int64_t took_ns;

    if (size != sizeof *row) {
        die("a row has %zu bytes", sizeof *row);
    }
    took_ns = now_ns();
    for (uint64_t turn = 0; turn < turns; turn++) {
        int64_t before = atomic_load_explicit(&row->sequence, memory_order_acquire);

        memcpy(copy, row->data, sizeof row->data);
        atomic_thread_fence(memory_order_acquire);
        whole += before % 2 == 0
                 && atomic_load_explicit(&row->sequence, memory_order_relaxed) == before;
        use((uintptr_t) copy);
    }
    took_ns = now_ns() - took_ns;
    if (whole != turns) {
        die("a row that nobody writes is torn");
    }
    unmap(row, sizeof *row);
    return took_ns;
}
