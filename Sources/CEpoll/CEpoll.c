#define _GNU_SOURCE
#include "CEpoll.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int ce_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int ce_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data.u64 = token};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

int ce_epoll_modify(int epoll, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data.u64 = token};
    return epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event);
}

int ce_epoll_wait(int epoll, void *events, int capacity, const struct timespec *timeout) {
    return epoll_pwait2(epoll, events, capacity, timeout, NULL);
}

int ce_epoll_wait_milliseconds(int epoll, void *events, int capacity, int timeout) {
    return epoll_wait(epoll, events, capacity, timeout);
}

int ce_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

int ce_signalfd(const sigset_t *signals) { return signalfd(-1, signals, SFD_NONBLOCK | SFD_CLOEXEC); }

int ce_signalfd_read(int descriptor) {
    struct signalfd_siginfo information;
    if (read(descriptor, &information, sizeof information) == (ssize_t)sizeof information)
        return (int)information.ssi_signo;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

int ce_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC); }

int ce_pidfd_open(pid_t process, unsigned flags) { return (int)syscall(SYS_pidfd_open, process, flags); }

int ce_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

int ce_waitid(int pidfd, int *code, int *status) {
    siginfo_t information = {0};
    if (waitid(P_PIDFD, (id_t)pidfd, &information, WEXITED | WNOHANG) < 0)
        return -1;
    *code = information.si_code;
    *status = information.si_status;
    return information.si_pid != 0;
}

int ce_peer_credentials(int socket, pid_t *process, uid_t *user, gid_t *group) {
    struct ucred credentials = {0};
    socklen_t length = sizeof credentials;
    int result = getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length);
    *process = credentials.pid;
    *user = credentials.uid;
    *group = credentials.gid;
    return result;
}

int ce_thread_name(const char *name) { return prctl(PR_SET_NAME, name); }

/* The name under which glibc exports the POSIX strerror_r beside the GNU one. */
extern int __xpg_strerror_r(int, char *, size_t);

int ce_strerror(int code, char *text, size_t length) { return __xpg_strerror_r(code, text, length); }
