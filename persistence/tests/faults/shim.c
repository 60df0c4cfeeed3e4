/* Preloaded into a process, this lets chosen system calls on the files below a directory fail.
 *
 * FAULT_DIRECTORY is that directory, without a slash at the end.
 * FAULT_CONTROL is a file of at least 64 bytes, 8 words of 64 bits, which the test reads and
 *   writes while the process runs; see `struct control`.
 * FAULT_DISK, if it is set, is a directory that holds what a power cut would leave: a page of a
 *   file gets there when the file is synced. When a sync fails, what it should have written is
 *   clean and will never get there, unless it is written again. Names are at once what they are.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind {
    NONE,
    /* The call fails with `value`. */
    FAIL,
    /* Half of the bytes are written. */
    SHORT,
    /* A sync says that it succeeded, and does nothing. */
    LIE,
    /* The call takes `value` milliseconds longer. */
    SLOW,
    /* A sync fails with `value`, and what it should have written cannot be read any more. */
    DROP,
};

enum operation {
    WRITE = 1,
    SYNC = 2,
    TRUNCATE = 4,
    OPEN = 8,
    RENAME = 16,
    UNLINK = 32,
    MKDIR = 64,
};

struct control {
    _Atomic uint64_t kind;
    _Atomic uint64_t value;
    /* The calls that are struck; the first is 1. */
    _Atomic uint64_t first;
    _Atomic uint64_t last;
    /* Which operations are counted and may be struck. */
    _Atomic uint64_t operations;
    /* How many were counted, and how many were struck. */
    _Atomic uint64_t calls;
    _Atomic uint64_t struck;
};

#define FILES_MAX 64
#define DESCRIPTORS_MAX 4096
#define PAGE 4096
#define PAGES_MAX 16384

struct file {
    char path[512];
    unsigned char dirty[PAGES_MAX];
};

static struct control *control;
static const char *directory;
static const char *disk;
static struct file files[FILES_MAX];
/* 0 if it is not ours, 1 if it is not mirrored, else 2 + the place in `files`. */
static _Atomic int descriptors[DESCRIPTORS_MAX];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULT_CONTROL");
    directory = getenv("FAULT_DIRECTORY");
    disk = getenv("FAULT_DISK");
    if (!path || !directory)
        return;
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    void *memory = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REAL(close)(fd);
    if (memory != MAP_FAILED)
        control = memory;
}

/* Counts a call; the kind of fault if it is struck. */
static enum kind strike(enum operation operation)
{
    if (!(control->operations & operation))
        return NONE;
    uint64_t call = ++control->calls;
    enum kind kind = control->kind;
    if (kind == NONE || call < control->first || call > control->last)
        return NONE;
    ++control->struck;
    errno = (int)control->value;
    if (kind == SLOW) {
        struct timespec pause = {(time_t)(control->value / 1000),
                                 (long)(control->value % 1000) * 1000000};
        nanosleep(&pause, NULL);
    }
    return kind;
}

static int is_failure(enum kind kind)
{
    return kind == FAIL || kind == DROP;
}

static int is_ours(const char *path)
{
    size_t length = directory ? strlen(directory) : 0;
    return control && path && !strncmp(path, directory, length) &&
           (path[length] == '/' || path[length] == 0);
}

static int of(int fd)
{
    return control && fd >= 0 && fd < DESCRIPTORS_MAX ? descriptors[fd] : 0;
}

static struct file *mirrored(int fd)
{
    int place = of(fd) - 2;
    return place >= 0 && files[place].path[0] ? &files[place] : NULL;
}

static void shadow(const char *path, char *result)
{
    snprintf(result, 1024, "%s%s", disk, path + strlen(directory));
}

static int find(const char *path)
{
    for (int place = 0; place < FILES_MAX; place++)
        if (!strcmp(files[place].path, path))
            return place;
    return -1;
}

static void track(int fd, const char *path)
{
    if (fd < 0 || fd >= DESCRIPTORS_MAX)
        return;
    int number = 1;
    struct stat status;
    const char *suffix = strrchr(path, '-');
    int is_file = !fstat(fd, &status) && S_ISREG(status.st_mode);
    if (disk && is_file && !(suffix && !strcmp(suffix, "-shm"))) {
        pthread_mutex_lock(&mutex);
        int place = find(path);
        if (place < 0) {
            place = find("");
            memset(files[place].dirty, 0, PAGES_MAX);
            strncpy(files[place].path, path, sizeof files[place].path - 1);
        }
        number = place + 2;
        pthread_mutex_unlock(&mutex);
        char name[1024];
        shadow(path, name);
        REAL(close)(REAL(open)(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    }
    descriptors[fd] = number;
}

static void soil(int fd, off_t offset, ssize_t length)
{
    struct file *file = mirrored(fd);
    if (!file || length <= 0)
        return;
    pthread_mutex_lock(&mutex);
    for (off_t page = offset / PAGE; page <= (offset + length - 1) / PAGE; page++)
        file->dirty[page % PAGES_MAX] = 1;
    pthread_mutex_unlock(&mutex);
}

/* Copies what there is of a page; there are zeros where nothing was written. */
static void copy_page(int from, int to, off_t page, off_t end)
{
    char bytes[PAGE] = {0};
    off_t length = end - page * PAGE;
    if (length <= 0)
        return;
    if (length > PAGE)
        length = PAGE;
    if (pread(from, bytes, (size_t)length, page * PAGE) >= 0)
        REAL(pwrite)(to, bytes, (size_t)length, page * PAGE);
}

/* A sync: what is dirty is clean, and on the disk if it succeeded. */
static void clean(int fd, enum kind kind)
{
    struct file *file = mirrored(fd);
    if (!file || kind == LIE)
        return;
    char name[1024];
    struct stat status;
    char own[64];
    if (fstat(fd, &status))
        return;
    shadow(file->path, name);
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    int stored = REAL(open)(name, O_RDWR | O_CLOEXEC);
    int source = REAL(open)(own, O_RDWR | O_CLOEXEC);
    pthread_mutex_lock(&mutex);
    if (!is_failure(kind))
        REAL(ftruncate)(stored, status.st_size);
    for (off_t page = 0; page < PAGES_MAX; page++) {
        if (file->dirty[page] && !is_failure(kind))
            copy_page(source, stored, page, status.st_size);
        if (file->dirty[page] && kind == DROP)
            copy_page(stored, source, page, status.st_size);
        file->dirty[page] = 0;
    }
    pthread_mutex_unlock(&mutex);
    REAL(close)(source);
    REAL(close)(stored);
}

static ssize_t written(int fd, off_t offset, ssize_t length)
{
    soil(fd, offset, length);
    return length;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    enum kind kind = of(fd) ? strike(WRITE) : NONE;
    if (kind == FAIL)
        return -1;
    off_t offset = of(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    return written(fd, offset, REAL(write)(fd, bytes, kind == SHORT ? length / 2 : length));
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    enum kind kind = of(fd) ? strike(WRITE) : NONE;
    if (kind == FAIL)
        return -1;
    return written(fd, offset, REAL(pwrite)(fd, bytes, kind == SHORT ? length / 2 : length, offset));
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset)
{
    return pwrite(fd, bytes, length, offset);
}

static int synced(int fd, int (*real)(int))
{
    enum kind kind = of(fd) ? strike(SYNC) : NONE;
    int error = errno;
    if (of(fd))
        clean(fd, kind);
    errno = error;
    return is_failure(kind) ? -1 : kind == LIE ? 0 : real(fd);
}

int fsync(int fd)
{
    return synced(fd, REAL(fsync));
}

int fdatasync(int fd)
{
    return synced(fd, REAL(fdatasync));
}

int ftruncate(int fd, off_t length)
{
    if (of(fd) && strike(TRUNCATE) == FAIL)
        return -1;
    return REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off_t length)
{
    return ftruncate(fd, length);
}

static int opened(int at, const char *path, int flags, mode_t mode)
{
    int is_own = is_ours(path);
    if (is_own && (flags & (O_CREAT | O_WRONLY | O_RDWR)) && strike(OPEN) == FAIL)
        return -1;
    int fd = REAL(openat)(at, path, flags, mode);
    if (is_own)
        track(fd, path);
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode = va_arg(arguments, mode_t); \
        va_end(arguments); \
    }

int open(const char *path, int flags, ...)
{
    MODE(flags)
    return opened(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(flags)
    return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    MODE(flags)
    return opened(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...)
{
    MODE(flags)
    return opened(at, path, flags | O_LARGEFILE, mode);
}

int close(int fd)
{
    if (of(fd))
        descriptors[fd] = 0;
    return REAL(close)(fd);
}

/* The file has another path, or none. */
static void name(const char *path, const char *other)
{
    pthread_mutex_lock(&mutex);
    int there = other ? find(other) : -1;
    int place = find(path);
    if (there >= 0)
        files[there].path[0] = 0;
    if (place >= 0)
        strcpy(files[place].path, other ? other : "");
    pthread_mutex_unlock(&mutex);
}

int rename(const char *from, const char *to)
{
    int is_own = is_ours(from);
    if (is_own && strike(RENAME) == FAIL)
        return -1;
    int result = REAL(rename)(from, to);
    if (is_own && disk && !result) {
        char stored[1024], target[1024];
        shadow(from, stored);
        shadow(to, target);
        REAL(rename)(stored, target);
        name(from, to);
    }
    return result;
}

int unlink(const char *path)
{
    int is_own = is_ours(path);
    if (is_own && strike(UNLINK) == FAIL)
        return -1;
    int result = REAL(unlink)(path);
    if (is_own && disk && !result) {
        char stored[1024];
        shadow(path, stored);
        REAL(unlink)(stored);
        name(path, NULL);
    }
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    if (is_ours(path) && strike(MKDIR) == FAIL)
        return -1;
    return REAL(mkdir)(path, mode);
}
