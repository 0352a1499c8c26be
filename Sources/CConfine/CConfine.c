#define _GNU_SOURCE
#include "CConfine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// The child runs on this, and reports on it: shared, so that it works whether or not the address space is.
struct workplace {
    const struct confine_spec *spec;
    pid_t parent;
    struct confine_failure failure;
    unsigned char stack[64 * 1024] __attribute__((aligned(16)));
};

// The C library's header may be older than the kernel.
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

// The thread sanitizer keeps books in the process's memory and cannot follow a child that shares it.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SHARED_MEMORY 0
#endif
#endif
#ifndef SHARED_MEMORY
#define SHARED_MEMORY CLONE_VM
#endif

static int reset_signals(void) {
    // The kernel's own structure, all zero: SIG_DFL, no flags, nothing masked. Not sigaction(3), which refuses the two
    // signals that the C library keeps for itself.
    unsigned char action[64] = {0};
    for (int number = 1; number <= 64; number++) {
        if (number == SIGKILL || number == SIGSTOP) continue;
        if (syscall(SYS_rt_sigaction, number, action, NULL, 8) != 0) return -1;
    }
    uint64_t none = 0;
    return (int)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
}

// Above 2, so that placing one descriptor never closes another that is still to be placed.
static int lift(int descriptor) { return fcntl(descriptor, F_DUPFD_CLOEXEC, 3); }

static int sweep(void) {
    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return 0;
    if (errno != ENOSYS && errno != EINVAL) return -1;
    struct rlimit open_files;
    if (getrlimit(RLIMIT_NOFILE, &open_files) != 0) return -1;
    for (int descriptor = 3; (rlim_t)descriptor < open_files.rlim_cur; descriptor++)
        (void)fcntl(descriptor, F_SETFD, FD_CLOEXEC);
    return 0;
}

static int place_descriptors(const struct confine_spec *spec, int *ruleset) {
    int lifted[3];
    for (int i = 0; i < 3; i++)
        if ((lifted[i] = lift(spec->stdio[i])) < 0) return -1;
    if (spec->ruleset >= 0 && (*ruleset = lift(spec->ruleset)) < 0) return -1;
    for (int i = 0; i < 3; i++)
        if (dup2(lifted[i], i) < 0) return -1;
    return sweep();
}

static int set_limits(const struct confine_spec *spec) {
    for (size_t i = 0; i < spec->limit_count; i++)
        if (setrlimit(spec->limits[i].resource, &spec->limits[i].value) != 0) return -1;
    return 0;
}

// System calls, not the C library's functions: those change every thread of the process, and the child may share its
// memory with all of them.
static int set_credentials(const struct confine_spec *spec) {
    if (!spec->changes_credentials) return 0;
    if (syscall(SYS_setgroups, 0, NULL) != 0) return -1;
    if (syscall(SYS_setresgid, spec->group, spec->group, spec->group) != 0) return -1;
    return (int)syscall(SYS_setresuid, spec->user, spec->user, spec->user);
}

// After the credentials, because changing them clears the signal. A parent that ended before the signal was armed is
// seen by its number.
static int arm_parent_death(const struct confine_spec *spec, pid_t parent) {
    if (spec->parent_death_signal == 0) return 0;
    if (prctl(PR_SET_PDEATHSIG, spec->parent_death_signal, 0, 0, 0) != 0) return -1;
    if (getppid() != parent) {
        errno = ESRCH;
        return -1;
    }
    return 0;
}

static int confine(int ruleset) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return ruleset < 0 ? 0 : (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}

static int filter_calls(enum confine_calls calls);

static int run_child(void *argument) {
    struct workplace *place = argument;
    const struct confine_spec *spec = place->spec;
    int ruleset = -1;
    enum confine_stage stage = CONFINE_STAGE_SESSION;

    if (setsid() < 0) goto failed;
    stage = CONFINE_STAGE_SIGNALS;
    if (reset_signals() != 0) goto failed;
    stage = CONFINE_STAGE_DESCRIPTORS;
    if (place_descriptors(spec, &ruleset) != 0) goto failed;
    stage = CONFINE_STAGE_LIMITS;
    if (set_limits(spec) != 0) goto failed;
    (void)umask(spec->umask);
    stage = CONFINE_STAGE_CREDENTIALS;
    if (set_credentials(spec) != 0) goto failed;
    stage = CONFINE_STAGE_DIRECTORY;
    if (spec->directory && chdir(spec->directory) != 0) goto failed;
    stage = CONFINE_STAGE_PARENT_DEATH;
    if (arm_parent_death(spec, place->parent) != 0) goto failed;
    stage = CONFINE_STAGE_LANDLOCK;
    if (confine(ruleset) != 0) goto failed;
    stage = CONFINE_STAGE_CALLS;
    if (filter_calls(spec->calls) != 0) goto failed;
    stage = CONFINE_STAGE_EXEC;
    (void)execve(spec->path, spec->argv, spec->envp);

failed:
    place->failure.error = errno;
    place->failure.stage = stage;
    _exit(127);
}

// By the parent, once exec has made the child's files in /proc its own user's: the caller wakes in the middle of exec,
// so they may still be root's for some microseconds if this process has changed its user. Best effort: a kernel without
// /proc loses a preference, not a guarantee.
static void set_oom_score(pid_t pid, int score) {
    char path[64], digits[16];
    if (score == 0) return;
    (void)snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
    int length = snprintf(digits, sizeof digits, "%d", score);
    int file = -1;
    for (int attempt = 0; attempt < 50; attempt++) {
        file = open(path, O_WRONLY | O_CLOEXEC);
        if (file >= 0 || errno != EACCES) break;
        (void)nanosleep(&(struct timespec){.tv_nsec = 20 * 1000}, NULL);
    }
    if (file < 0) return;
    if (write(file, digits, (size_t)length) < 0) { /* see above */ }
    (void)close(file);
}

int confine_spawn(const struct confine_spec *spec, struct confine_child *child, struct confine_failure *failure) {
    struct workplace *place =
        mmap(NULL, sizeof *place, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED) {
        *failure = (struct confine_failure){CONFINE_STAGE_CLONE, errno};
        return -1;
    }
    place->spec = spec;
    place->parent = getpid();

    // The caller sleeps until the child has executed its program or given up, so that the outcome is known here without
    // a pipe. Sharing the memory saves copying page tables (and the faults that follow in a busy parent); not with
    // other credentials, because the memory of a process must not be in the hands of two users.
    int flags = CLONE_VFORK | CLONE_PIDFD | SIGCHLD | (spec->changes_credentials ? 0 : SHARED_MEMORY);

    // No handler of this process may run in the child: signals stay blocked until it has reset them.
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    child->pidfd = -1;
    child->pid = clone(run_child, place->stack + sizeof place->stack, flags, place, &child->pidfd);
    int clone_error = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);

    struct confine_failure outcome = place->failure;
    (void)munmap(place, sizeof *place);
    if (child->pid < 0) {
        *failure = (struct confine_failure){CONFINE_STAGE_CLONE, clone_error};
        return -1;
    }
    if (outcome.stage == 0) {
        set_oom_score(child->pid, spec->oom_score_adj);
        return 0;
    }

    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR) {}
    (void)close(child->pidfd);
    *failure = outcome;
    return -1;
}

// Landlock, spelled out: the C library has no functions for it, and its headers may be older than the kernel.

#define FS_EXECUTE (1ULL << 0)
#define FS_WRITE_FILE (1ULL << 1)
#define FS_READ_FILE (1ULL << 2)
#define FS_READ_DIR (1ULL << 3)
#define FS_REMOVE_DIR (1ULL << 4)
#define FS_REMOVE_FILE (1ULL << 5)
#define FS_MAKE_DIR (1ULL << 7)
#define FS_MAKE_REG (1ULL << 8)
#define FS_MAKE_SOCK (1ULL << 9)
#define FS_MAKE_SYM (1ULL << 12)
#define FS_ALL_OF_ABI_1 ((1ULL << 13) - 1)
#define FS_REFER (1ULL << 13)     // ABI 2
#define FS_TRUNCATE (1ULL << 14)  // ABI 3
#define FS_IOCTL_DEV (1ULL << 15) // ABI 5
#define FS_OF_FILES (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

#define NET_BIND_TCP (1ULL << 0)    // ABI 4
#define NET_CONNECT_TCP (1ULL << 1) // ABI 4

#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0) // ABI 6
#define SCOPE_SIGNAL (1ULL << 1)               // ABI 6

#define RULE_PATH_BENEATH 1

struct ruleset_attributes {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

struct path_beneath_attributes {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

static uint64_t handled_file_rights(int abi) {
    uint64_t rights = FS_ALL_OF_ABI_1;
    if (abi >= 2) rights |= FS_REFER;
    if (abi >= 3) rights |= FS_TRUNCATE;
    if (abi >= 5) rights |= FS_IOCTL_DEV;
    return rights;
}

static uint64_t file_rights(unsigned access) {
    uint64_t rights = 0;
    if (access & CONFINE_READ) rights |= FS_READ_FILE | FS_READ_DIR;
    if (access & CONFINE_EXECUTE) rights |= FS_EXECUTE;
    if (access & CONFINE_WRITE) rights |= FS_WRITE_FILE | FS_TRUNCATE;
    if (access & CONFINE_TREE)
        rights |= FS_MAKE_REG | FS_MAKE_DIR | FS_MAKE_SYM | FS_REMOVE_FILE | FS_REMOVE_DIR | FS_REFER;
    if (access & CONFINE_SOCKETS) rights |= FS_MAKE_SOCK | FS_MAKE_REG | FS_REMOVE_FILE;
    return rights;
}

int confine_landlock_abi(void) {
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1U /* LANDLOCK_CREATE_RULESET_VERSION */);
}

int confine_ruleset_create(int abi, enum confine_network network) {
    struct ruleset_attributes attributes = {.handled_access_fs = handled_file_rights(abi)};
    size_t size = sizeof attributes.handled_access_fs;
    if (abi >= 4) {
        attributes.handled_access_net =
            network == CONFINE_NETWORK_DENIED ? NET_BIND_TCP | NET_CONNECT_TCP : NET_BIND_TCP;
        size = offsetof(struct ruleset_attributes, scoped);
    }
    if (abi >= 6) {
        attributes.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
        size = sizeof attributes;
    }
    return (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0U);
}

int confine_ruleset_allow(int ruleset, int abi, int path, unsigned access) {
    struct stat status;
    if (fstat(path, &status) != 0) return -1;
    uint64_t rights = file_rights(access) & handled_file_rights(abi);
    if (!S_ISDIR(status.st_mode)) rights &= FS_OF_FILES;
    struct path_beneath_attributes rule = {.allowed_access = rights, .parent_fd = path};
    return (int)syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0U);
}

// The filter of system calls closes what Landlock leaves open: connecting to sockets that have a name, networks other
// than TCP, and settings of other processes of the same user. Almost every call is allowed by its number alone, which
// the kernel remembers, so that it costs next to nothing.

#if defined(__x86_64__)
#define CALLS_ARCHITECTURE AUDIT_ARCH_X86_64
#define FIRST_FOREIGN_CALL 0x40000000 // x32: the same calls under other numbers
#elif defined(__aarch64__)
#define CALLS_ARCHITECTURE AUDIT_ARCH_AARCH64
#define FIRST_FOREIGN_CALL 0x40000000 // there are none
#else
#error "the system calls of this architecture have not been looked at"
#endif

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define LOAD_NUMBER LOAD(offsetof(struct seccomp_data, nr))
// The lower half: every argument looked at is an int. Both architectures are little-endian.
#define LOAD_ARGUMENT(index) LOAD(offsetof(struct seccomp_data, args[index]))
#define SKIP_UNLESS(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), 0, (count))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define FAIL(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))

// A call whose argument names a process: 0, the caller itself, and no other.
#define ONLY_OF_ITSELF(number, index) \
    SKIP_UNLESS(number, 4), LOAD_ARGUMENT(index), SKIP_UNLESS(0, 1), ALLOW, FAIL(EPERM)
// A call that takes a kind and a name: one process, and the caller itself. Another kind would be all of its user's.
#define ONLY_OF_ITSELF_BY_KIND(number, kind) \
    SKIP_UNLESS(number, 6), LOAD_ARGUMENT(0), SKIP_UNLESS(kind, 3), LOAD_ARGUMENT(1), SKIP_UNLESS(0, 1), ALLOW, \
        FAIL(EPERM)

#define FOREIGN_CALLS_FAIL \
    LOAD(offsetof(struct seccomp_data, arch)), SKIP_UNLESS(CALLS_ARCHITECTURE, 2), LOAD_NUMBER, \
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_FOREIGN_CALL, 0, 1), FAIL(ENOSYS)

// io_uring connects and opens sockets without the calls above; nothing is filtered inside it.
#define CALLS_ON_OTHERS_FAIL \
    SKIP_UNLESS(SYS_io_uring_setup, 1), FAIL(ENOSYS), ONLY_OF_ITSELF(SYS_prlimit64, 0), \
        ONLY_OF_ITSELF(SYS_sched_setaffinity, 0), ONLY_OF_ITSELF(SYS_sched_setscheduler, 0), \
        ONLY_OF_ITSELF(SYS_sched_setparam, 0), ONLY_OF_ITSELF(SYS_sched_setattr, 0), \
        ONLY_OF_ITSELF_BY_KIND(SYS_setpriority, PRIO_PROCESS), ONLY_OF_ITSELF_BY_KIND(SYS_ioprio_set, 1)

static const struct sock_filter local_calls[] = {
    FOREIGN_CALLS_FAIL,
    SKIP_UNLESS(SYS_connect, 1), FAIL(EACCES),
    SKIP_UNLESS(SYS_socket, 4), LOAD_ARGUMENT(0), SKIP_UNLESS(AF_UNIX, 1), ALLOW, FAIL(EACCES),
    CALLS_ON_OTHERS_FAIL,
    ALLOW,
};

// An address's length tells its kind as far as a filter sees it: an IP address has one of two. Clients of Unix sockets
// pass that of the whole structure, so that SQL reaches none; native code can pass less, for a path of 26 bytes at most.
#define ONLY_TO_IP_ADDRESSES \
    SKIP_UNLESS(SYS_connect, 6), LOAD_ARGUMENT(2), SKIP_UNLESS(sizeof(struct sockaddr_in), 1), ALLOW, \
        SKIP_UNLESS(sizeof(struct sockaddr_in6), 1), ALLOW, FAIL(EACCES)

// The last domain asks the routing tables, which a look-up of names does.
static const struct sock_filter network_calls[] = {
    FOREIGN_CALLS_FAIL,
    ONLY_TO_IP_ADDRESSES,
    SKIP_UNLESS(SYS_socket, 12), LOAD_ARGUMENT(0), SKIP_UNLESS(AF_UNIX, 1), ALLOW, SKIP_UNLESS(AF_INET, 1), ALLOW,
    SKIP_UNLESS(AF_INET6, 1), ALLOW, SKIP_UNLESS(AF_NETLINK, 3), LOAD_ARGUMENT(2), SKIP_UNLESS(0, 1), ALLOW,
    FAIL(EACCES),
    CALLS_ON_OTHERS_FAIL,
    ALLOW,
};

#define COUNT(filter) (unsigned short)(sizeof filter / sizeof filter[0])

static int filter_calls(enum confine_calls calls) {
    struct sock_fprog program;
    switch (calls) {
    case CONFINE_CALLS_ALL: return 0;
    case CONFINE_CALLS_LOCAL:
        program = (struct sock_fprog){.len = COUNT(local_calls), .filter = (struct sock_filter *)local_calls};
        break;
    case CONFINE_CALLS_NETWORK:
        program = (struct sock_fprog){.len = COUNT(network_calls), .filter = (struct sock_filter *)network_calls};
        break;
    }
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0U, &program);
}

int confine_calls_available(void) {
    uint32_t action = SECCOMP_RET_ERRNO;
    return (int)syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0U, &action);
}
