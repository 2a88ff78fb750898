/* A wall clock that jumps, for tests: LD_PRELOAD it, and CLOCK_REALTIME is off by as many seconds as the file
 * CLOCK_CONTROL says, which is read again every few milliseconds. Monotonic clocks are left alone, as they are
 * where somebody sets the time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { READ_EVERY_MS = 5 };

static long long offset_s(void) {
    static long long offset, next_ms;
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    long long now_ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
    if (now_ms < __atomic_load_n(&next_ms, __ATOMIC_RELAXED))
        return __atomic_load_n(&offset, __ATOMIC_RELAXED);
    __atomic_store_n(&next_ms, now_ms + READ_EVERY_MS, __ATOMIC_RELAXED);
    const char *path = getenv("CLOCK_CONTROL");
    char text[32] = "0";
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        long length = syscall(SYS_read, fd, text, sizeof text - 1);
        text[length > 0 ? length : 0] = 0;
        syscall(SYS_close, fd);
    }
    long long seconds = strtoll(text, 0, 10);
    __atomic_store_n(&offset, seconds, __ATOMIC_RELAXED);
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int done = (int)syscall(SYS_clock_gettime, clock, time);
    if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += offset_s();
    return done;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int done = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return done;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}
