// Stands between a program and the C library (LD_PRELOAD) and fails the n-th of the calls that the test names.
//
// The test and the program share one page, the file that FAIL_NTH_CONTROL names. Only failures that the kernel could
// answer with are asked for; what a call is never refused with is the test's table to know. A child counts too until it
// executes its program: whatever it is to become, what happens before is the program's own doing.

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// The order is faults.py's as well.
enum call {
    RECV, SEND, READ, WRITE, ACCEPT, CONNECT, SOCKET, EPOLL_ADD, EPOLL_WAIT, SETSOCKOPT, BIND,
    OPEN, MKDIR, RENAME, UNLINK, SYNC, STAT, LIST, COPY, PIDFD, LANDLOCK, CLONE, CHILD, EXEC, CHMOD, SEEK,
};

struct control {
    int64_t nth;   // 0: nothing fails
    int64_t times; // how many fail from the n-th on
    int64_t count; // of the calls named, since the test has named them
    int64_t fired;
    uint64_t calls; // one bit each
    int32_t error;  // 0: the call is done for one byte only; below: the program is killed instead of the call
    int32_t last;   // which call failed last
};

static struct control *control;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAIL_NTH_CONTROL");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) control = page;
}

static int fails(enum call call) {
    struct control *c = control;
    if (!c || !(__atomic_load_n(&c->calls, __ATOMIC_ACQUIRE) >> call & 1)) return 0;
    int64_t nth = __atomic_load_n(&c->nth, __ATOMIC_ACQUIRE);
    if (nth == 0) return 0;
    int64_t number = __atomic_add_fetch(&c->count, 1, __ATOMIC_ACQ_REL);
    if (number < nth || number - nth >= __atomic_load_n(&c->times, __ATOMIC_ACQUIRE)) return 0;
    __atomic_add_fetch(&c->fired, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&c->last, call, __ATOMIC_RELEASE);
    if (c->error < 0) raise(SIGKILL);
    errno = c->error;
    return 1;
}

#define LOOKUP(name)                                                       \
    static __typeof__(&name) next;                                         \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define PLAIN(call, type, name, parameters, ...)                           \
    type name parameters {                                                 \
        LOOKUP(name);                                                      \
        return fails(call) ? (type)-1 : next(__VA_ARGS__);                 \
    }

// Descriptors whose writes cannot fail: the kernel has the counter already.
static unsigned char is_eventfd[1 << 16];

int eventfd(unsigned initial, int flags) {
    LOOKUP(eventfd);
    int number = next(initial, flags);
    if (number >= 0 && number < (int)sizeof is_eventfd) is_eventfd[number] = 1;
    return number;
}

int close(int descriptor) {
    LOOKUP(close);
    if (descriptor >= 0 && descriptor < (int)sizeof is_eventfd) is_eventfd[descriptor] = 0;
    return next(descriptor);
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
    LOOKUP(write);
    int is_ours = descriptor > 2 && (descriptor >= (int)sizeof is_eventfd || !is_eventfd[descriptor]);
    if (!is_ours || !fails(WRITE)) return next(descriptor, bytes, count);
    return control->error ? -1 : next(descriptor, bytes, count > 0);
}

ssize_t send(int descriptor, const void *bytes, size_t count, int flags) {
    LOOKUP(send);
    if (!fails(SEND)) return next(descriptor, bytes, count, flags);
    return control->error ? -1 : next(descriptor, bytes, count > 0, flags);
}

// Registered descriptors are edge-triggered: a read that gives less than there is would be a lie of ours.
ssize_t read(int descriptor, void *bytes, size_t count) {
    LOOKUP(read);
    return descriptor > 2 && fails(READ) ? -1 : next(descriptor, bytes, count);
}

PLAIN(RECV, ssize_t, recv, (int d, void *bytes, size_t count, int flags), d, bytes, count, flags)
PLAIN(ACCEPT, int, accept4, (int d, struct sockaddr *a, socklen_t *length, int flags), d, a, length, flags)
PLAIN(CONNECT, int, connect, (int d, const struct sockaddr *a, socklen_t length), d, a, length)
PLAIN(SOCKET, int, socket, (int domain, int type, int protocol), domain, type, protocol)
PLAIN(BIND, int, bind, (int d, const struct sockaddr *a, socklen_t length), d, a, length)
PLAIN(SETSOCKOPT, int, setsockopt, (int d, int level, int name, const void *value, socklen_t length),
      d, level, name, value, length)
PLAIN(EPOLL_WAIT, int, epoll_pwait2,
      (int d, struct epoll_event *events, int count, const struct timespec *timeout, const sigset_t *mask),
      d, events, count, timeout, mask)

int epoll_ctl(int epoll, int operation, int descriptor, struct epoll_event *event) {
    LOOKUP(epoll_ctl);
    return operation == EPOLL_CTL_ADD && fails(EPOLL_ADD) ? -1 : next(epoll, operation, descriptor, event);
}

static int mode_of(int flags, va_list *more) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(*more, int) : 0;
}

int open(const char *path, int flags, ...) {
    LOOKUP(open);
    va_list more;
    va_start(more, flags);
    int mode = mode_of(flags, &more);
    va_end(more);
    return fails(OPEN) ? -1 : next(path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
    LOOKUP(openat);
    va_list more;
    va_start(more, flags);
    int mode = mode_of(flags, &more);
    va_end(more);
    return fails(OPEN) ? -1 : next(directory, path, flags, mode);
}

PLAIN(MKDIR, int, mkdir, (const char *path, mode_t mode), path, mode)
PLAIN(MKDIR, int, mkdirat, (int d, const char *path, mode_t mode), d, path, mode)
PLAIN(RENAME, int, renameat, (int d, const char *from, int e, const char *to), d, from, e, to)
PLAIN(RENAME, int, renameat2, (int d, const char *from, int e, const char *to, unsigned flags), d, from, e, to, flags)
PLAIN(RENAME, int, rename, (const char *from, const char *to), from, to)
PLAIN(UNLINK, int, unlink, (const char *path), path)
PLAIN(UNLINK, int, unlinkat, (int d, const char *path, int flags), d, path, flags)
PLAIN(SYNC, int, fsync, (int d), d)
PLAIN(SYNC, int, syncfs, (int d), d)
PLAIN(STAT, int, fstat, (int d, struct stat *status), d, status)
PLAIN(STAT, int, fstatat, (int d, const char *path, struct stat *status, int flags), d, path, status, flags)
PLAIN(COPY, ssize_t, copy_file_range, (int d, off64_t *from, int e, off64_t *to, size_t count, unsigned flags),
      d, from, e, to, count, flags)
PLAIN(SEEK, off_t, lseek, (int d, off_t offset, int whence), d, offset, whence)
PLAIN(CHMOD, int, chmod, (const char *path, mode_t mode), path, mode)

struct dirent *readdir(DIR *stream) {
    LOOKUP(readdir);
    return fails(LIST) ? NULL : next(stream);
}

DIR *fdopendir(int descriptor) {
    LOOKUP(fdopendir);
    return fails(LIST) ? NULL : next(descriptor);
}

// Between clone and exec.
PLAIN(CHILD, pid_t, setsid, (void), )
PLAIN(CHILD, int, dup2, (int from, int to), from, to)
PLAIN(CHILD, int, chdir, (const char *path), path)
PLAIN(EXEC, int, execve, (const char *path, char *const arguments[], char *const environment[]),
      path, arguments, environment)

int clone(int (*body)(void *), void *stack, int flags, void *argument, ...) {
    LOOKUP(clone);
    va_list more;
    va_start(more, argument);
    pid_t *parent_id = va_arg(more, pid_t *);
    va_end(more);
    return fails(CLONE) ? -1 : next(body, stack, flags, argument, parent_id);
}

long syscall(long number, ...) {
    LOOKUP(syscall);
    long argument[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++) argument[i] = va_arg(more, long);
    va_end(more);
    if (number == SYS_pidfd_open && fails(PIDFD)) return -1;
    if (number >= 444 /* landlock_create_ruleset */ && number <= 446 && fails(LANDLOCK)) return -1;
    return next(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
}
