/* The wall clock of the processes that load this, moved by what a file says: see wall_clock.py. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL

static const volatile int64_t *offset_ns;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void start(void) {
    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("LINGUA_CHAOS_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    void *page = mmap(NULL, sizeof *offset_ns, PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) {
        offset_ns = page;
    }
    close(fd);
}

int clock_gettime(clockid_t id, struct timespec *now) {
    /* Libraries that are loaded earlier may ask before `start` ran. */
    int code = real_clock_gettime ? real_clock_gettime(id, now)
                                  : (int)syscall(SYS_clock_gettime, id, now);
    if (code == 0 && offset_ns && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t moved_ns = now->tv_sec * SECOND_NS + now->tv_nsec + *offset_ns;
        now->tv_sec = moved_ns / SECOND_NS;
        now->tv_nsec = moved_ns % SECOND_NS;
    }
    return code;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    int code = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return code;
}

time_t time(time_t *seconds) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (seconds) {
        *seconds = precise.tv_sec;
    }
    return precise.tv_sec;
}
