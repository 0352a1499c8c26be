// What must happen between fork and exec, and the Landlock rules and the filter of system calls that a child is given.
// Knows nothing of the program that is started. Sources: clone(2), prctl(2), close_range(2), landlock(7), seccomp(2).
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

// Where a spawn failed. The order is that of the child's life.
enum confine_stage {
    CONFINE_STAGE_CLONE = 1,
    CONFINE_STAGE_SESSION,
    CONFINE_STAGE_SIGNALS,
    CONFINE_STAGE_DESCRIPTORS,
    CONFINE_STAGE_DIRECTORY,
    CONFINE_STAGE_LIMITS,
    CONFINE_STAGE_CREDENTIALS,
    CONFINE_STAGE_PARENT_DEATH,
    CONFINE_STAGE_LANDLOCK,
    CONFINE_STAGE_CALLS,
    CONFINE_STAGE_EXEC,
};

struct confine_limit {
    int resource; // RLIMIT_…
    struct rlimit value;
};

// Which system calls are left to a program; the rest fail with EACCES, EPERM or ENOSYS. Source: seccomp(2).
enum confine_calls {
    CONFINE_CALLS_ALL = 0,
    // No connect, no sockets but Unix ones, no settings of other processes (limits, priority, processors), no io_uring.
    CONFINE_CALLS_LOCAL,
    // As above, but IP sockets, and connect with an address as long as an IP address.
    CONFINE_CALLS_NETWORK,
};

struct confine_spec {
    const char *path; // the program, not searched for
    char *const *argv;
    char *const *envp;
    const char *directory;         // working directory; NULL leaves the caller's
    int stdio[3];                  // placed as 0, 1 and 2; all three must be open
    mode_t umask;
    const struct confine_limit *limits;
    size_t limit_count;
    int changes_credentials;       // non-zero: user and group are set, supplementary groups dropped
    uid_t user;
    gid_t group;
    int parent_death_signal;       // 0: none. Sent when the *thread* that spawned ends
    int oom_score_adj;             // 0: as the parent; only raising needs no privilege
    int ruleset;                   // Landlock ruleset; -1: none (no_new_privs is set either way)
    enum confine_calls calls;
};

struct confine_child {
    pid_t pid;
    int pidfd; // close-on-exec; the caller owns it
};

struct confine_failure {
    enum confine_stage stage;
    int error; // errno
};

// Starts a program in a session of its own, with default signal dispositions, no signal blocked and no descriptor but
// the three given. Returns 0 once the program has been executed, with `child` filled in, or -1 with `failure` filled in
// and nothing left to reap.
int confine_spawn(const struct confine_spec *spec, struct confine_child *child, struct confine_failure *failure);

// What a path is opened for. Directories give it to everything below.
enum confine_access {
    CONFINE_READ = 1 << 0,    // read files, list directories
    CONFINE_EXECUTE = 1 << 1, // run programs
    CONFINE_WRITE = 1 << 2,   // write and truncate existing files
    CONFINE_TREE = 1 << 3,    // make, link, rename and remove files, directories and symbolic links
    CONFINE_SOCKETS = 1 << 4, // make sockets, and the files beside them; remove both
};

enum confine_network {
    CONFINE_NETWORK_DENIED = 0,   // neither bind nor connect TCP (from ABI 4 on)
    CONFINE_NETWORK_CONNECTS = 1, // connect, not bind
};

// The kernel's Landlock ABI version, or -1 with errno.
int confine_landlock_abi(void);

// 0 where this kernel can filter system calls, or -1 with errno.
int confine_calls_available(void);

// A ruleset that denies everything this ABI can deny: a close-on-exec descriptor, or -1 with errno.
int confine_ruleset_create(int abi, enum confine_network network);

// Allows `access` (enum confine_access) below `path`, a descriptor that may be O_PATH. 0, or -1 with errno.
int confine_ruleset_allow(int ruleset, int abi, int path, unsigned access);

// Calls on files and processes that Glibc's Swift module hides. One function per call, no logic; each returns what the
// system call returns, with errno set.

// open(2): flags without a value in Swift.
extern const int files_o_path;

// ioctl_ficlone(2): shares the blocks of `source` with the empty file `target`.
int files_clone(int target, int source);
// copy_file_range(2), from the current offset of both.
ssize_t files_copy_range(int source, int target, size_t length);
// renameat2(2) with RENAME_NOREPLACE.
int files_rename_new(int from_directory, const char *from, int to_directory, const char *to);
// sync_file_range(2): starts writing a file's pages, waits for nothing.
int files_start_writeback(int file);
// syncfs(2).
int files_sync_filesystem(int file);

// The type of the file system that the path lies on, 32 bits, or -1 with errno. statfs(2).
long files_system_type(const char *path);

// Whether the path lies on a tmpfs: 1 or 0, -1 with errno. statfs(2).
int files_is_in_memory(const char *path);

// memmem(3): where `needle` begins in `space`, or NULL.
const void *files_find(const void *space, size_t length, const void *needle, size_t needle_length);

// getrandom(2).
ssize_t files_random(void *bytes, size_t length);

// pidfd_send_signal(2).
int files_pidfd_send_signal(int pidfd, int signal);
