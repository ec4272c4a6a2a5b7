#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels.h"

/* A Submit as it crosses the gateways' pipes. */
#define RECORD_BYTES 28
#define RECORDS_MAX 256

static void write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);

        if (written < 0 && errno != EINTR) {
            die_errno("write");
        }
        data += written > 0 ? written : 0;
        size -= written > 0 ? (size_t) written : 0;
    }
}

/* Read until `size` bytes came, no more than `room` at once; false at the end. */
static bool read_all(int fd, char *data, size_t room, uint64_t size)
{
    while (size > 0) {
        ssize_t got = read(fd, data, size < room ? (size_t) size : room);

        if (got == 0) {
            return false;
        }
        if (got < 0 && errno != EINTR) {
            die_errno("read");
        }
        size -= got > 0 ? (uint64_t) got : 0;
    }
    return true;
}

/* Start a process that answers each `size` bytes with a record; return its pid. */
static pid_t start_peer(uint64_t size, int *to, int *from)
{
    int there[2], back[2];
    pid_t pid;

    if (pipe2(there, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0) {
        die_errno("pipe");
    }
    pid = fork();
    if (pid < 0) {
        die_errno("fork");
    }
    if (pid == 0) {
        static char data[RECORD_BYTES * RECORDS_MAX];

        close(there[1]);
        close(back[0]);
        while (read_all(there[0], data, sizeof data, size)) {
            write_all(back[1], data, RECORD_BYTES);
        }
        _exit(0);
    }
    close(there[0]);
    close(back[1]);
    *to = there[1];
    *from = back[0];
    return pid;
}

static void end_peer(pid_t pid, int to, int from)
{
    int status;

    close(to);
    close(from);
    if (waitpid(pid, &status, 0) < 0) {
        die_errno("waitpid");
    }
    if (status != 0) {
        die("the process at the other end of the pipe failed");
    }
}

int64_t pipe_round_trip(size_t size, uint64_t turns)
{
    char record[RECORD_BYTES] = {0};
    int to, from;
    pid_t pid = start_peer(sizeof record, &to, &from);
    int64_t began_ns = now_ns();

    (void) size; /* one record */
    for (uint64_t turn = 0; turn < turns; turn++) {
        write_all(to, record, sizeof record);
        if (!read_all(from, record, sizeof record, sizeof record)) {
            die("the other end of the pipe is gone");
        }
    }
    began_ns = now_ns() - began_ns;
    end_peer(pid, to, from);
    return began_ns;
}

int64_t pipe_one_way(size_t size, uint64_t turns)
{
    static char records[RECORD_BYTES * RECORDS_MAX];
    uint64_t writes = (turns + size - 1) / size;
    int to, from;
    int64_t took_ns;
    pid_t pid;

    if (size > RECORDS_MAX) {
        die("%zu records in a write; at most %d", size, RECORDS_MAX);
    }
    pid = start_peer(writes * size * RECORD_BYTES, &to, &from);
    took_ns = now_ns();
    for (uint64_t i = 0; i < writes; i++) {
        write_all(to, records, size * RECORD_BYTES);
    }
    if (!read_all(from, records, RECORD_BYTES, RECORD_BYTES)) {
        die("the other end of the pipe is gone");
    }
    took_ns = now_ns() - took_ns;
    end_peer(pid, to, from);
    return (int64_t) ((double) took_ns * (double) turns / (double) (writes * size));
}
