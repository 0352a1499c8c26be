#define _GNU_SOURCE
#include "CConfine.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

const int files_o_path = O_PATH;

int files_clone(int target, int source) { return ioctl(target, FICLONE, source); }

ssize_t files_copy_range(int source, int target, size_t length) {
    return copy_file_range(source, NULL, target, NULL, length, 0);
}

int files_rename_new(int from_directory, const char *from, int to_directory, const char *to) {
    return renameat2(from_directory, from, to_directory, to, RENAME_NOREPLACE);
}

int files_start_writeback(int file) { return sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE); }

int files_sync_filesystem(int file) { return syncfs(file); }

const void *files_find(const void *space, size_t length, const void *needle, size_t needle_length) {
    return memmem(space, length, needle, needle_length);
}

ssize_t files_random(void *bytes, size_t length) { return getrandom(bytes, length, 0); }

int files_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

long files_system_type(const char *path) {
    struct statfs status;
    return statfs(path, &status) == 0 ? (long)(unsigned int)status.f_type : -1;
}

int files_is_in_memory(const char *path) {
    struct statfs status;
    if (statfs(path, &status) != 0) return -1;
    return status.f_type == TMPFS_MAGIC;
}
