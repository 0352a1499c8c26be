/* What Glibc's Swift module hides: one function per call, no logic. A negative result comes with errno. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* One event of epoll_wait(2), unpacked: struct epoll_event is packed on x86-64. */
struct ce_event {
    uint32_t events;
    uint64_t token;
};

/* pidfd_open(2) */
int ce_pidfd_open(pid_t process, unsigned flags);

/* strerror_r(3), the POSIX one: 0 or an error number. */
int ce_strerror(int code, char *text, size_t length);
