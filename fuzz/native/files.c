/* Watches every operation on the files of one folder, and makes one of them fail or be the last.
 *
 *     libsqlite3, Python  -->  pwrite(...)  -->  this file  -->  libc
 *                                                   |
 *                              trace: what was done, in order, with the bytes
 *                              fault: the n-th operation fails, or the process is killed before it
 *
 * It is preloaded (LD_PRELOAD) and does nothing until `watch` is called.  One mutex is held across
 * an operation and its record, so the trace has the order in which things happened.
 *
 * A record is a `struct record` followed by `length` bytes:
 *
 *     c  file `id` was created, data: its name        t  file `id` was cut to `offset`
 *     o  file `id` was there,   data: its name        s  file `id` was synced
 *     w  data was written to `id` at `offset`         d  the folder was synced
 *     u  data: the name that was removed              r  data: old name, NUL, new name
 *     m  a mark of the workload's, data: its text
 *
 * Files called *-shm are left alone: SQLite maps them, and recovery makes them anew.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096, NAMES = 512, FOLDER = -2, NOTHING = 0 };

struct record {
    char kind;
    char unused[3];
    int32_t id;
    int64_t offset;
    int64_t length;
} __attribute__((packed));

struct file {
    dev_t device;
    ino_t inode;
    int32_t id;
};

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];          /* what is watched; "" is nothing */
static int trace = -1;                 /* where records go; -1 is nowhere */
static int32_t ids[DESCRIPTORS];       /* file ids by descriptor */
static struct file known[NAMES];
static int known_count;
static int32_t next_id = 1;

static const char *fault_kinds = "";   /* letters of the operations that are counted; R: reads */
static char fault_kinds_kept[16];
static long fault_at = -1;             /* which of them fails, from 0; -1: none */
static int fault_errno;                /* how; 0: the process is killed before it */
static int fault_for_good;             /* all later ones fail too */
static long counted;
static long failed;

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static ssize_t put(const void *data, size_t length) {
    static ssize_t (*real_write)(int, const void *, size_t);
    if (!real_write) real_write = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    const char *at = data;
    while (length) {
        ssize_t done = real_write(trace, at, length);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) abort();        /* half a trace would prove nothing */
        at += done;
        length -= (size_t)done;
    }
    return 0;
}

static void note(char kind, int32_t id, int64_t offset, const void *data, size_t length) {
    if (trace < 0) return;
    int before = errno;
    struct record record = {kind, {0}, id, offset, (int64_t)length};
    put(&record, sizeof record);
    put(data, length);
    errno = before;
}

/* Whether this operation must fail; called with the mutex held. */
static int faulty(char kind) {
    if (!strchr(fault_kinds, kind)) return 0;
    long number = counted++;
    if (fault_at < 0 || number < fault_at || (number > fault_at && !fault_for_good)) return 0;
    if (!fault_errno) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    failed++;
    errno = fault_errno;
    return 1;
}

/* The name within the folder, or NULL when the path leads elsewhere. */
static const char *inside(const char *path) {
    size_t length = strlen(folder);
    if (!length || !path || strncmp(path, folder, length) || path[length] != '/') return NULL;
    const char *name = path + length + 1;
    size_t size = strlen(name);
    if (!size || strchr(name, '/') || (size > 4 && !strcmp(name + size - 4, "-shm"))) return NULL;
    return name;
}

static int32_t id_of(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS ? ids[descriptor] : NOTHING;
}

static void opened(int descriptor, const char *name, int created) {
    struct stat status;
    if (descriptor >= DESCRIPTORS || fstat(descriptor, &status) || known_count == NAMES) abort();
    struct file *found = NULL;
    for (int i = known_count - 1; i >= 0 && !found && !created; i--)
        if (known[i].device == status.st_dev && known[i].inode == status.st_ino) found = &known[i];
    if (!found) {
        found = &known[known_count++];
        *found = (struct file){status.st_dev, status.st_ino, next_id++};
        note(created ? 'c' : 'o', found->id, 0, name, strlen(name));
    }
    ids[descriptor] = found->id;
}

typedef int (*opener)(const char *, int, ...);

static int open_watched(opener real, const char *path, int flags, mode_t mode) {
    const char *name = inside(path);
    if (!name) {
        int descriptor = real(path, flags, mode);
        if (descriptor >= 0 && descriptor < DESCRIPTORS && *folder)
            ids[descriptor] = path && !strcmp(path, folder) ? FOLDER : NOTHING;
        return descriptor;
    }
    pthread_mutex_lock(&guard);
    struct stat status;
    int created = (flags & O_CREAT) && stat(path, &status);
    int descriptor = faulty(created ? 'c' : 'o') ? -1 : real(path, flags, mode);
    if (descriptor >= 0) {
        opened(descriptor, name, created);
        if (flags & O_TRUNC) note('t', ids[descriptor], 0, "", 0);
    }
    pthread_mutex_unlock(&guard);
    return descriptor;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        return open_watched((opener)real, path, flags, mode); \
    }

OPEN(open)
OPEN(open64)

int close(int descriptor) {
    REAL(close);
    if (descriptor >= 0 && descriptor < DESCRIPTORS) ids[descriptor] = NOTHING;
    return real(descriptor);
}

#define PWRITE(name, offset_type) \
    ssize_t name(int descriptor, const void *data, size_t length, offset_type offset) { \
        REAL(name); \
        if (id_of(descriptor) <= 0) return real(descriptor, data, length, offset); \
        pthread_mutex_lock(&guard); \
        ssize_t done = faulty('w') ? -1 : real(descriptor, data, length, offset); \
        if (done > 0) note('w', ids[descriptor], (int64_t)offset, data, (size_t)done); \
        pthread_mutex_unlock(&guard); \
        return done; \
    }

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int descriptor, const void *data, size_t length) {
    REAL(write);
    if (id_of(descriptor) <= 0) return real(descriptor, data, length);
    pthread_mutex_lock(&guard);
    off_t offset = lseek(descriptor, 0, SEEK_CUR);
    ssize_t done = faulty('w') ? -1 : real(descriptor, data, length);
    if (done > 0) note('w', ids[descriptor], (int64_t)offset, data, (size_t)done);
    pthread_mutex_unlock(&guard);
    return done;
}

#define PREAD(name, offset_type) \
    ssize_t name(int descriptor, void *data, size_t length, offset_type offset) { \
        REAL(name); \
        if (id_of(descriptor) <= 0) return real(descriptor, data, length, offset); \
        pthread_mutex_lock(&guard); \
        int fails = faulty('R'); \
        pthread_mutex_unlock(&guard); \
        return fails ? -1 : real(descriptor, data, length, offset); \
    }

PREAD(pread, off_t)
PREAD(pread64, off64_t)

#define CUT(name, offset_type) \
    int name(int descriptor, offset_type length) { \
        REAL(name); \
        if (id_of(descriptor) <= 0) return real(descriptor, length); \
        pthread_mutex_lock(&guard); \
        int result = faulty('t') ? -1 : real(descriptor, length); \
        if (!result) note('t', ids[descriptor], (int64_t)length, "", 0); \
        pthread_mutex_unlock(&guard); \
        return result; \
    }

CUT(ftruncate, off_t)
CUT(ftruncate64, off64_t)

/* Below the watched folder nothing is really synced: the trace knows what would have been. */
#define SYNC(name) \
    int name(int descriptor) { \
        REAL(name); \
        int32_t id = id_of(descriptor); \
        if (id == NOTHING) return real(descriptor); \
        pthread_mutex_lock(&guard); \
        char kind = id == FOLDER ? 'd' : 's'; \
        int result = faulty(kind) ? -1 : 0; \
        if (!result) note(kind, id, 0, "", 0); \
        pthread_mutex_unlock(&guard); \
        return result; \
    }

SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path) {
    REAL(unlink);
    const char *name = inside(path);
    if (!name) return real(path);
    pthread_mutex_lock(&guard);
    int result = faulty('u') ? -1 : real(path);
    if (!result) note('u', NOTHING, 0, name, strlen(name));
    pthread_mutex_unlock(&guard);
    return result;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    const char *old_name = inside(from), *new_name = inside(to);
    if (!old_name || !new_name) return real(from, to);
    pthread_mutex_lock(&guard);
    int result = faulty('r') ? -1 : real(from, to);
    if (!result) {
        char names[PATH_MAX * 2];
        size_t first = strlen(old_name) + 1, second = strlen(new_name);
        memcpy(names, old_name, first);
        memcpy(names + first, new_name, second);
        note('r', NOTHING, 0, names, first + second);
    }
    pthread_mutex_unlock(&guard);
    return result;
}

/* A writable map would change files unseen. */
void *mmap64(void *address, size_t length, int protection, int flags, int descriptor, off64_t at) {
    REAL(mmap64);
    if (id_of(descriptor) > 0 && (protection & PROT_WRITE) && (flags & MAP_SHARED)) abort();
    return real(address, length, protection, flags, descriptor, at);
}

/* What Python calls. */

void files_watch(const char *path, int trace_descriptor) {
    pthread_mutex_lock(&guard);
    strncpy(folder, path, sizeof folder - 1);
    trace = trace_descriptor;
    memset(ids, 0, sizeof ids);
    known_count = 0;
    next_id = 1;
    counted = failed = 0;
    fault_at = -1;
    fault_kinds = "";
    pthread_mutex_unlock(&guard);
}

void files_fault(const char *kinds, long at, int error, int for_good) {
    pthread_mutex_lock(&guard);
    strncpy(fault_kinds_kept, kinds, sizeof fault_kinds_kept - 1);
    fault_kinds = fault_kinds_kept;
    fault_at = at;
    fault_errno = error;
    fault_for_good = for_good;
    counted = failed = 0;
    pthread_mutex_unlock(&guard);
}

void files_mark(const char *text) {
    pthread_mutex_lock(&guard);
    note('m', NOTHING, 0, text, strlen(text));
    pthread_mutex_unlock(&guard);
}

long files_counted(void) { return counted; }
long files_failed(void) { return failed; }
