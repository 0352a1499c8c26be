// What native code can try. Built twice: as a library that a tenant's superuser loads into a backend, and as a program
// that makes the same attempts under the same user where nothing confines it. Every attempt ends with 0 or an errno.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

static long outcome(long result) { return result < 0 ? errno : 0; }

static long open_and_close(const char *path, int flags) {
    int file = open(path, flags | O_CLOEXEC, 0600);
    if (file < 0) return errno;
    close(file);
    return 0;
}

// In a child, for what does not return, or must end with its process. A pipe that exec closes has the outcome.
static long in_child(long (*act)(const char *, long), const char *path, long number) {
    int ends[2];
    long result = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    pid_t pid = fork();
    if (pid < 0) return errno;
    if (pid == 0) {
        result = act(path, number);
        _exit(write(ends[1], &result, sizeof result) < 0);
    }
    close(ends[1]);
    if (read(ends[0], &result, sizeof result) < 0) result = errno;
    close(ends[0]);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
    return result;
}

static long execute(const char *path, long number) {
    (void)number;
    char *const arguments[] = {(char *)path, "--version", NULL};
    int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    execv(path, arguments);
    return errno;
}

static long trace(const char *path, long number) {
    (void)path;
    return outcome(ptrace(PTRACE_SEIZE, (pid_t)number, 0, 0));
}

static long steal_descriptor(long number) {
    int process = (int)syscall(SYS_pidfd_open, (pid_t)number, 0);
    if (process < 0) return errno;
    long stolen = syscall(SYS_pidfd_getfd, process, 0, 0), result = outcome(stolen);
    if (stolen >= 0) close((int)stolen);
    close(process);
    return result;
}

static long reach(int family, int type, const void *address, socklen_t length) {
    int end = socket(family, type | SOCK_CLOEXEC, 0);
    if (end < 0) return errno;
    long result = outcome(connect(end, address, length));
    if (result == 0 && type == SOCK_DGRAM) result = outcome(send(end, "probe", 5, 0));
    close(end);
    return result;
}

static socklen_t unix_address(const char *path, int is_abstract, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path + is_abstract, sizeof address->sun_path - 1, "%s", path);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)is_abstract + strlen(path));
}

static long reach_unix(const char *path, int is_abstract) {
    struct sockaddr_un address;
    socklen_t length = unix_address(path, is_abstract, &address);
    return reach(AF_UNIX, SOCK_STREAM, &address, length);
}

static long send_unix(const char *path) {
    struct sockaddr_un address;
    socklen_t length = unix_address(path, 0, &address);
    int end = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (end < 0) return errno;
    long result = outcome(sendto(end, "probe", 5, 0, (const struct sockaddr *)&address, length));
    close(end);
    return result;
}

static struct sockaddr_in loopback(long port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static long offer(void) {
    struct sockaddr_in address = loopback(0);
    int end = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (end < 0) return errno;
    long result = outcome(bind(end, (const struct sockaddr *)&address, sizeof address));
    close(end);
    return result;
}

static long change_mode(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) return errno;
    return outcome(chmod(path, status.st_mode & 07777));
}

static long change_limit(long number) {
    struct rlimit limit;
    if (prlimit((pid_t)number, RLIMIT_CORE, NULL, &limit) != 0) return errno;
    return outcome(prlimit((pid_t)number, RLIMIT_CORE, &limit, NULL));
}

static long change_priority(long number) {
    errno = 0;
    int now = getpriority(PRIO_PROCESS, (id_t)number);
    return errno ? errno : outcome(setpriority(PRIO_PROCESS, (id_t)number, now));
}

static long attempted(const char *what, const char *path, long number) {
    struct sockaddr_in address = loopback(number);
    struct stat status;
    struct shmid_ds segment;
#define IS(name) (strcmp(what, name) == 0)
    if (IS("read")) return open_and_close(path, O_RDONLY);
    if (IS("write")) return open_and_close(path, O_WRONLY | O_CREAT);
    if (IS("truncate")) return outcome(truncate(path, 0));
    if (IS("make directory")) return outcome(mkdir(path, 0700));
    if (IS("make pipe")) return outcome(mknod(path, S_IFIFO | 0600, 0));
    if (IS("remove")) return outcome(unlink(path));
    if (IS("link here")) return outcome(symlink(path, "probe.link"));
    if (IS("execute")) return in_child(execute, path, number);
    if (IS("signal")) return outcome(kill((pid_t)number, SIGURG)); // ignored unless somebody waits for it
    if (IS("trace")) return in_child(trace, path, number);
    if (IS("steal descriptor")) return steal_descriptor(number);
    if (IS("connect unix")) return reach_unix(path, 0);
    if (IS("connect abstract")) return reach_unix(path, 1);
    if (IS("connect tcp")) return reach(AF_INET, SOCK_STREAM, &address, sizeof address);
    if (IS("bind tcp")) return offer();
    if (IS("send udp")) return reach(AF_INET, SOCK_DGRAM, &address, sizeof address);
    if (IS("send unix")) return send_unix(path);
    if (IS("shared memory")) return outcome(shmctl((int)number, IPC_STAT, &segment));
    if (IS("stat")) return outcome(stat(path, &status));
    if (IS("chmod")) return change_mode(path);
    if (IS("prlimit")) return change_limit(number);
    if (IS("setpriority")) return change_priority(number);
    return 1001;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    printf("%ld\n", attempted(arguments[1], arguments[2], atol(arguments[3])));
    return 0;
}

// What PostgreSQL looks for in a library (src/include/fmgr.h), spelled out: its headers need not be installed.

struct value {
    uintptr_t datum;
    _Bool is_null;
};

struct call {
    void *function, *context, *result;
    unsigned collation;
    _Bool is_null;
    short count;
    struct value arguments[3];
};

#ifndef SERVER_MAJOR
#define SERVER_MAJOR 15
#endif

const void *Pg_magic_func(void) {
    static const struct {
        int length, version, most_arguments, most_keys, name_length, int8_by_value;
#if SERVER_MAJOR >= 15
        char abi[32];
#endif
    } magic = {sizeof magic, SERVER_MAJOR * 100, 100, 32, 64, 1,
#if SERVER_MAJOR >= 15
               "PostgreSQL"
#endif
    };
    return &magic;
}

const void *pg_finfo_attempt(void) {
    static const int version = 1;
    return &version;
}

uintptr_t attempt(struct call *call) {
    const struct value *given = call->arguments;
    return (uintptr_t)attempted((const char *)given[0].datum, (const char *)given[1].datum, (long)given[2].datum);
}
