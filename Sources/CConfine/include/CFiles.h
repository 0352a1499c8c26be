// Calls on files and processes that Glibc's Swift module hides. One function per call, no logic; each returns what the
// system call returns, with errno set.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

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

// memmem(3): where `needle` begins in `space`, or NULL.
const void *files_find(const void *space, size_t length, const void *needle, size_t needle_length);

// getrandom(2).
ssize_t files_random(void *bytes, size_t length);

// pidfd_send_signal(2).
int files_pidfd_send_signal(int pidfd, int signal);
