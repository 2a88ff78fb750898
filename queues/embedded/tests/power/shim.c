/* Power loss, for tests: LD_PRELOAD it, and at some moment the process ends as if the machine had lost its
 * power. Whatever was written to the store's files and not synced may then be on the disk, or not, or in
 * part; the shared memory beside them is no durable state and is left alone.
 *
 *     POWER_DIR      the data directory
 *     POWER_SEED     decides the moment, and what becomes of what is not synced
 *     POWER_TRIGGER  a path; if given, the moment comes soon after there is a file
 *     POWER_LOG      gets a line that says what was done
 *     POWER_SWALLOW  a base name, or *: syncs of that file are answered and don't count, to see that a test
 *                    would notice
 *
 * Kept for each file: what every write since its last sync has replaced, in sectors of 512 bytes, so that
 * each sector can be given back any content that it had since; and its size. Kept for the directory: what was
 * made, renamed and removed since its last sync. A journal keeps the order of these, so a first part of them
 * stays. Syncs are not carried out, only accounted for.
 */
#include "fate.h"

static enum kind write_kind(const struct file *file) { return strstr(file->name, "-wal") ? LOG_WRITE : DB_WRITE; }

static void remember(struct file *file, off_t from, off_t to) {
    writes++;
    for (uint64_t sector = (uint64_t)from / SECTOR; (off_t)(sector * SECTOR) < to; sector++) {
        if (file->count == file->room) {
            file->room = file->room ? 2 * file->room : 64;
            file->olds = realloc(file->olds, file->room * sizeof *file->olds);
            if (!file->olds)
                abort();
        }
        struct old *old = &file->olds[file->count++];
        memset(old, 0, sizeof *old);
        old->sector = sector;
        old->number = writes;
        syscall(SYS_pread64, file->fd, old->bytes, (size_t)SECTOR, (off_t)(sector * SECTOR));
    }
}

static ssize_t plain_write(int fd, const void *bytes, size_t count, off_t at, int positioned) {
    return positioned ? syscall(SYS_pwrite64, fd, bytes, count, at) : syscall(SYS_write, fd, bytes, count);
}

static ssize_t on_write(int fd, const void *bytes, size_t count, off_t at, int positioned) {
    pthread_mutex_lock(&mutex);
    struct file *file = find(fd);
    if (!file) { /* a pipe, perhaps: its reader must not hold everybody up */
        pthread_mutex_unlock(&mutex);
        return plain_write(fd, bytes, count, at, positioned);
    }
    if (!positioned)
        at = syscall(SYS_lseek, fd, (off_t)0, SEEK_CUR);
    event(write_kind(file));
    remember(file, at, at + (off_t)count);
    ssize_t done = plain_write(fd, bytes, count, at, positioned);
    int error = errno;
    if (done > 0 && at + done > file->size)
        file->size = at + done;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return done;
}

static int on_truncate(int fd, off_t size) {
    pthread_mutex_lock(&mutex);
    struct file *file = find(fd);
    if (file) {
        event(write_kind(file));
        if (size < file->size)
            remember(file, size, file->size);
        file->size = size;
    }
    int done = (int)syscall(SYS_ftruncate, fd, size);
    int error = errno;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return done;
}

/* What was there when the sync began is on the disk when it ends. */
static void file_synced(struct file *file, uint64_t until, off_t size) {
    size_t left = 0;
    for (size_t i = 0; i < file->count; i++)
        if (file->olds[i].number > until)
            file->olds[left++] = file->olds[i];
    file->count = left;
    if (until >= file->synced_until) { /* or another sync, begun later, has ended already */
        file->synced_until = until;
        file->synced_size = size;
    }
}

static void dir_synced(void) {
    for (int i = 0; i < change_count; i++)
        if (changes[i].what == REMOVED)
            syscall(SYS_unlinkat, AT_FDCWD, changes[i].other, 0);
    change_count = 0;
}

static int on_sync(int fd, long number) {
    const char *swallow = getenv("POWER_SWALLOW");
    pthread_mutex_lock(&mutex);
    struct file *file = find(fd);
    int dir = is_dir(fd);
    if (!file && !dir) {
        pthread_mutex_unlock(&mutex);
        return (int)syscall(number, fd);
    }
    int counts = !swallow || (strcmp(swallow, "*") && (!file || strcmp(swallow, file->name)));
    uint64_t until = writes;
    off_t size = file ? file->size : 0;
    event(BEFORE_SYNC);
    pthread_mutex_unlock(&mutex);
    /* A disk takes its time, and others write meanwhile. */
    struct timespec pause = {0, 200000};
    nanosleep(&pause, 0);
    pthread_mutex_lock(&mutex);
    if (counts && file)
        file_synced(file, until, size);
    if (counts && dir)
        dir_synced();
    event(AFTER_SYNC);
    pthread_mutex_unlock(&mutex);
    return 0;
}

static void changed(int what, const char *path, const char *other) {
    if (change_count == CHANGES)
        abort();
    struct change *change = &changes[change_count++];
    change->what = what;
    snprintf(change->path, PATH_BYTES, "%s", path);
    snprintf(change->other, PATH_BYTES, "%s", other);
    event(NAME_CHANGE);
}

static void watch(const char *path, const struct stat *meta) {
    if (file_count == FILES)
        abort();
    struct file *file = &files[file_count++];
    file->dev = meta->st_dev;
    file->ino = meta->st_ino;
    file->size = file->synced_size = meta->st_size;
    file->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    snprintf(file->name, sizeof file->name, "%.60s", base(path));
}

static int on_open(const char *path, int flags, mode_t mode) {
    if (!is_durable(path))
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    pthread_mutex_lock(&mutex);
    struct stat meta;
    int new = (flags & O_CREAT) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    int error = errno;
    if (fd >= 0 && !find(fd) && !fstat(fd, &meta))
        watch(path, &meta);
    if (fd >= 0 && new)
        changed(MADE, path, "");
    pthread_mutex_unlock(&mutex);
    errno = error;
    return fd;
}

/* A removed file is kept until the directory is synced. */
static int on_rename(const char *from, const char *to, int what) {
    pthread_mutex_lock(&mutex);
    int done = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    int error = errno;
    if (done == 0)
        changed(what, from, to);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return done;
}

int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    return on_open(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    return on_open(path, flags, mode);
}

int rename(const char *from, const char *to) {
    return is_durable(from) ? on_rename(from, to, RENAMED) : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path) {
    char kept[PATH_BYTES];
    if (!is_durable(path))
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    snprintf(kept, sizeof kept, "%s/removed.%d", getenv("POWER_DIR"), __atomic_fetch_add(&removed_count, 1, __ATOMIC_RELAXED));
    return on_rename(path, kept, REMOVED);
}

int ftruncate(int fd, off_t size) { return on_truncate(fd, size); }
int ftruncate64(int fd, off64_t size) { return on_truncate(fd, size); }
int fsync(int fd) { return on_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return on_sync(fd, SYS_fdatasync); }
ssize_t write(int fd, const void *bytes, size_t count) { return on_write(fd, bytes, count, 0, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return on_write(fd, bytes, count, at, 1); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return on_write(fd, bytes, count, at, 1); }
