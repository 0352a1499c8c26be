#define _GNU_SOURCE
#include "CEpoll.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int ce_pidfd_open(pid_t process, unsigned flags) {
    return (int)syscall(SYS_pidfd_open, process, flags);
}

extern int __xpg_strerror_r(int, char *, size_t);

int ce_strerror(int code, char *text, size_t length) {
    return __xpg_strerror_r(code, text, length);
}
