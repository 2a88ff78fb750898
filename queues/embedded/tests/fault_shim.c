/* A layer between the store and the kernel, for tests: LD_PRELOAD it, and calls on the store's files
 * fail, are delayed or left out as a control file says; each call can be logged.
 *
 * SHIM_CONTROL names the control file, read again at every call. A line is a rule; the first that
 * fits is carried out:
 *
 *     CALL FILE fail ERRNO     the call fails, nothing happens
 *     CALL FILE skip 0         the call succeeds, nothing happens
 *     CALL FILE delay MS       the call is carried out after a while
 *
 * CALL is sync (fsync and fdatasync) or write (write and pwrite); FILE is a base name or *.
 * SHIM_LOG names a file that gets a line `CALL FILE RESULT` for each call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 4096 };

/* The base name of an open file of the store, or 0 if it is another file. */
static const char *store_file(int fd, char path[TEXT_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, TEXT_MAX - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    return name && strncmp(name + 1, "queue.db", 8) == 0 ? name + 1 : 0;
}

/* Straight to the kernel, so that the shim never meets itself. */
static void log_call(const char *call, const char *name, long result) {
    const char *path = getenv("SHIM_LOG");
    if (!path)
        return;
    char line[TEXT_MAX];
    int length = snprintf(line, sizeof line, "%s %s %ld\n", call, name, result);
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        syscall(SYS_write, fd, line, (size_t)length);
        syscall(SYS_close, fd);
    }
}

/* 1: carry the call out; 0: don't, and answer *result (and errno). */
static int permitted(const char *call, const char *name, long *result) {
    const char *path = getenv("SHIM_CONTROL");
    char text[TEXT_MAX];
    int fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 1;
    ssize_t length = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    text[length > 0 ? length : 0] = 0;
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(0, "\n", &save)) {
        char for_call[16], for_file[64], action[16];
        int number;
        if (sscanf(line, "%15s %63s %15s %d", for_call, for_file, action, &number) != 4)
            continue;
        if (strcmp(for_call, call) || (strcmp(for_file, "*") && strcmp(for_file, name)))
            continue;
        if (!strcmp(action, "delay")) {
            struct timespec pause = {number / 1000, number % 1000 * 1000000L};
            nanosleep(&pause, 0);
            return 1;
        }
        if (!strcmp(action, "fail")) {
            errno = number;
            *result = -1;
        }
        return 0;
    }
    return 1;
}

static int on_sync(int fd, long number) {
    char path[TEXT_MAX];
    const char *name = store_file(fd, path);
    long result = 0;
    if (!name)
        return (int)syscall(number, fd);
    if (permitted("sync", name, &result))
        result = syscall(number, fd);
    int error = errno;
    log_call("sync", name, result);
    errno = error;
    return (int)result;
}

static ssize_t on_write(int fd, const void *bytes, size_t count, off_t at, int positioned) {
    char path[TEXT_MAX];
    const char *name = store_file(fd, path);
    long result = (long)count;
    if (!name || permitted("write", name, &result))
        result = positioned ? syscall(SYS_pwrite64, fd, bytes, count, at) : syscall(SYS_write, fd, bytes, count);
    if (name) {
        int error = errno;
        log_call("write", name, result);
        errno = error;
    }
    return result;
}

int fsync(int fd) { return on_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return on_sync(fd, SYS_fdatasync); }
ssize_t write(int fd, const void *bytes, size_t count) { return on_write(fd, bytes, count, 0, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return on_write(fd, bytes, count, at, 1); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return on_write(fd, bytes, count, at, 1); }
