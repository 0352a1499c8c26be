/* What Glibc's Swift module hides: one function per call, no logic. A negative result comes with errno, except where
   a comment says otherwise. */
#pragma once

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>
#include <time.h>

/* epoll_create1(2), close-on-exec. */
int ce_epoll_create(void);

/* epoll_ctl(2), EPOLL_CTL_ADD. */
int ce_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token);

/* epoll_ctl(2), EPOLL_CTL_MOD. */
int ce_epoll_modify(int epoll, int descriptor, uint32_t events, uint64_t token);

/* epoll_pwait2(2) without a signal mask; a timeout of NULL waits for ever. The events are struct epoll_event. */
int ce_epoll_wait(int epoll, void *events, int capacity, const struct timespec *timeout);

/* epoll_wait(2), for kernels before 5.11: whole milliseconds, -1 waits for ever. */
int ce_epoll_wait_milliseconds(int epoll, void *events, int capacity, int timeout);

/* struct epoll_event is packed on x86-64, which Swift cannot express: its size and its two fields. */
static inline size_t ce_event_size(void) { return sizeof(struct epoll_event); }
static inline uint32_t ce_event_flags(const void *events, int index) {
    return ((const struct epoll_event *)events)[index].events;
}
static inline uint64_t ce_event_token(const void *events, int index) {
    return ((const struct epoll_event *)events)[index].data.u64;
}

/* eventfd(2), non-blocking, close-on-exec. */
int ce_eventfd(void);

/* signalfd(2), non-blocking, close-on-exec. */
int ce_signalfd(const sigset_t *signals);

/* read(2) of one signal from a signalfd: its number, 0 when none is pending. */
int ce_signalfd_read(int descriptor);

/* accept4(2) without the peer's address, non-blocking, close-on-exec. */
int ce_accept(int listener);

/* pidfd_open(2) */
int ce_pidfd_open(pid_t process, unsigned flags);

/* pidfd_send_signal(2) */
int ce_pidfd_send_signal(int pidfd, int signal);

/* waitid(2) on a pidfd for an exited child, without waiting: 1 and CLD_EXITED, CLD_KILLED or CLD_DUMPED with the status,
   0 when the child still runs. */
int ce_waitid(int pidfd, int *code, int *status);

/* getsockopt(2), SO_PEERCRED */
int ce_peer_credentials(int socket, pid_t *process, uid_t *user, gid_t *group);

/* prctl(2), PR_SET_NAME for the calling thread; the kernel cuts it to 15 bytes. */
int ce_thread_name(const char *name);

/* strerror_r(3), the POSIX one: 0 or an error number. */
int ce_strerror(int code, char *text, size_t length);
