/* The state of the power shim (`shim.c`), and what becomes of it when the power goes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SECTOR = 512, PAGE = 4096, PATH_BYTES = 1024, FILES = 256, CHANGES = 256, EXIT = 42 };

/* What a write replaced. */
struct old {
    uint64_t sector, number; /* number counts writes */
    unsigned char bytes[SECTOR];
};

struct file {
    dev_t dev;
    ino_t ino;
    int fd; /* our own, never closed: that would drop the locks that the process has on the file */
    char name[64];
    off_t synced_size, size;
    uint64_t synced_until; /* the number of the last write that is synced */
    struct old *olds;
    size_t count, room;
};

/* One change of the directory since its last sync. */
struct change {
    enum { MADE, RENAMED, REMOVED } what;
    char path[PATH_BYTES], other[PATH_BYTES]; /* other: the new name, or where the removed file is kept */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct file files[FILES];
static struct change changes[CHANGES];
static int file_count, change_count, removed_count, armed;
static uint64_t writes, events, random_state;
static dev_t dir_dev;
static ino_t dir_ino;

/* The moment: the countdown-th event of this kind. */
enum kind { ANY, BEFORE_SYNC, AFTER_SYNC, LOG_WRITE, DB_WRITE, NAME_CHANGE, KINDS };
static const char *const KIND_NAMES[] = {"any", "before-sync", "after-sync", "log-write", "db-write", "name"};
static enum kind moment;
static uint64_t countdown;

static uint64_t below(uint64_t bound) { /* splitmix64 */
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return bound ? (z ^ (z >> 31)) % bound : 0;
}

__attribute__((constructor)) static void start(void) {
    const char *seed = getenv("POWER_SEED"), *dir = getenv("POWER_DIR");
    struct stat meta;
    if (!seed || !dir || stat(dir, &meta))
        return;
    random_state = strtoull(seed, 0, 10);
    /* Small numbers often, so that the beginning is met too. */
    static const uint64_t SPANS[] = {40, 600, 6000};
    uint64_t span = SPANS[below(3)];
    moment = (enum kind)below(KINDS);
    if (moment == DB_WRITE)
        span /= 4;
    if (moment == BEFORE_SYNC || moment == AFTER_SYNC)
        span = span / 10 + 3;
    if (moment == NAME_CHANGE)
        span = 12;
    if (getenv("POWER_TRIGGER")) { /* soon after it is pulled, whatever happens then */
        moment = (enum kind)below(NAME_CHANGE);
        span = 12;
    }
    countdown = 1 + below(span);
    dir_dev = meta.st_dev;
    dir_ino = meta.st_ino;
    armed = 1;
}

static const char *base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Whether it is a file of the store, and durable state. */
static int is_durable(const char *path) {
    if (!armed)
        return 0;
    const char *name = base(path), *dir = getenv("POWER_DIR");
    return !strncmp(path, dir, strlen(dir)) && !strncmp(name, "queue.db", 8) && !strstr(name, "-shm");
}

static struct file *find(int fd) {
    struct stat meta;
    if (!armed || fstat(fd, &meta))
        return 0;
    for (int i = 0; i < file_count; i++)
        if (files[i].ino == meta.st_ino && files[i].dev == meta.st_dev)
            return &files[i];
    return 0;
}

static int is_dir(int fd) {
    struct stat meta;
    return armed && !fstat(fd, &meta) && meta.st_ino == dir_ino && meta.st_dev == dir_dev;
}

/* How much of what isn't synced stays: nothing, all, some sectors, some pages, what was written first. */
enum fate { NONE, ALL, SECTORS, PAGES, FIRST_PART, FATES };
static const char *const FATE_NAMES[] = {"none", "all", "sectors", "pages", "first-part"};

static int by_sector(const void *a, const void *b) {
    const struct old *x = a, *y = b;
    if (x->sector != y->sector)
        return x->sector < y->sector ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* Which of its contents a sector has then: 0 is the oldest, `versions` the last one written. */
static size_t version_of(const struct old *olds, size_t versions, enum fate fate, int stays, uint64_t cut) {
    size_t first = 0;
    switch (fate) {
    case NONE: return 0;
    case PAGES: return stays ? versions : 0;
    case SECTORS: return stays ? versions : below(versions);
    case FIRST_PART:
        while (first < versions && olds[first].number <= cut)
            first++;
        return first;
    default: return versions;
    }
}

/* Gives sectors back an older content; returns how many. */
static size_t revert(struct file *file, enum fate fate, off_t size) {
    size_t reverted = 0, next, percent = below(101);
    uint64_t cut = file->count ? writes - below(1 + writes - file->olds[0].number) : 0, page = UINT64_MAX;
    int stays = 0, garbage = (int)below(2);
    qsort(file->olds, file->count, sizeof *file->olds, by_sector);
    for (size_t first = 0; first < file->count; first = next) {
        struct old *olds = &file->olds[first];
        off_t at = (off_t)(olds->sector * SECTOR);
        for (next = first; next < file->count && file->olds[next].sector == olds->sector;)
            next++;
        if (fate == SECTORS || olds->sector * SECTOR / PAGE != page)
            stays = below(100) < percent;
        page = olds->sector * SECTOR / PAGE;
        size_t versions = next - first, version = version_of(olds, versions, fate, stays, cut);
        /* A truncation that didn't reach the disk: what was there still is. */
        if (at >= file->size)
            version = 0;
        if (version == versions || at >= size)
            continue;
        if (version == 0 && garbage && at >= file->synced_size) /* a block that was another file's before */
            for (int i = 0; i < SECTOR; i++)
                olds->bytes[i] = (unsigned char)below(256);
        syscall(SYS_pwrite64, file->fd, olds[version].bytes, (size_t)SECTOR, at);
        reverted++;
    }
    return reverted;
}

static off_t size_then(const struct file *file, enum fate fate) {
    off_t low = file->synced_size < file->size ? file->synced_size : file->size;
    off_t high = file->synced_size < file->size ? file->size : file->synced_size;
    if (fate == NONE)
        return file->synced_size;
    switch (fate == ALL ? 3 : below(3)) {
    case 0: return low;
    case 1: return high;
    case 2: return low + (off_t)below((uint64_t)((high - low) / SECTOR + 1)) * SECTOR;
    default: return file->size;
    }
}

/* Undoes the later changes of the directory; returns how many. */
static int undo_changes(void) {
    int stay = below(2) ? change_count : (int)below((uint64_t)change_count + 1);
    for (int i = change_count; i-- > stay;) {
        if (changes[i].what == MADE)
            syscall(SYS_unlinkat, AT_FDCWD, changes[i].path, 0);
        else
            syscall(SYS_renameat2, AT_FDCWD, changes[i].other, AT_FDCWD, changes[i].path, 0);
    }
    return change_count - stay;
}

/* With the mutex held, for good. */
static void lose_power(void) {
    char line[8192];
    size_t length = (size_t)snprintf(line, sizeof line, "%s, event %llu:", KIND_NAMES[moment], (unsigned long long)events);
    for (int i = 0; i < file_count; i++) {
        struct file *file = &files[i];
        enum fate fate = (enum fate)below(FATES);
        off_t size = size_then(file, fate);
        size_t reverted = revert(file, fate, size);
        syscall(SYS_ftruncate, file->fd, size);
        if ((file->count || file->size != size) && length < sizeof line - 512)
            length += (size_t)snprintf(line + length, 256, " %s (%s) %zu of %zu sectors, %lld to %lld bytes;", file->name,
                                       FATE_NAMES[fate], reverted, file->count, (long long)file->size, (long long)size);
    }
    length += (size_t)snprintf(line + length, 128, " %d of %d names\n", undo_changes(), change_count);
    const char *log = getenv("POWER_LOG");
    int fd = log ? (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
    if (fd >= 0)
        syscall(SYS_write, fd, line, length);
    syscall(SYS_exit_group, EXIT);
}

/* Something of this kind happens; with the mutex held. */
static void event(enum kind kind) {
    static int pulled;
    const char *trigger = getenv("POWER_TRIGGER");
    events++;
    if (trigger && !pulled && !(pulled = !syscall(SYS_faccessat, AT_FDCWD, trigger, F_OK)))
        return;
    if ((moment == ANY || moment == kind) && --countdown == 0)
        lose_power();
}
