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

/* io_uring(7) through liburing, most of whose functions are inline. A ring is a struct io_uring on the heap, owned by
   the thread that made it. What queues an operation returns 0, or -1 when the kernel does not take what is queued. */

/* Flags of a completion. */
enum {
    CE_URING_BUFFER = 1,            /* a provided buffer was used, its number is in the flags … */
    CE_URING_BUFFER_SHIFT = 16,     /* … from this bit on */
    CE_URING_MORE = 2,              /* the operation goes on */
    CE_URING_SOCKET_HOLDS_MORE = 4, /* there was more to receive */
};

/* io_uring_queue_init_params(3): one thread, which lets the kernel work for it only while it waits. NULL with errno. */
void *ce_uring_create(unsigned submissions, unsigned completions);
void ce_uring_destroy(void *ring);

/* recv(2) into a buffer of a group; is_empty: the socket is known to hold nothing, so wait before the first try. */
int ce_uring_receive(void *ring, int descriptor, int group, int is_empty, uint64_t token);

/* send(2) of all the bytes, without SIGPIPE; is_full: the socket is known to take none, so wait before the first try. */
int ce_uring_send(void *ring, int descriptor, const void *bytes, size_t length, int is_full, uint64_t token);

/* poll(2), once. */
int ce_uring_poll(void *ring, int descriptor, unsigned events, uint64_t token);

/* poll(2) at every edge, while completions carry CE_URING_MORE. */
int ce_uring_poll_edges(void *ring, int descriptor, unsigned events, uint64_t token);

/* Asks the kernel to let go of an operation, which then completes; only a request that came too late completes too. */
int ce_uring_cancel(void *ring, uint64_t target, uint64_t token);
int ce_uring_cancel_all(void *ring, uint64_t token);

/* Hands over what is queued and waits for a completion: 0 or a negative error number. A timeout of NULL waits for
   ever. */
int ce_uring_wait(void *ring, const struct timespec *timeout);

/* Completions that ce_uring_next would give. */
unsigned ce_uring_ready(const void *ring);

/* The next completion: 1 with its token, result and flags, 0 when none is there. */
int ce_uring_next(void *ring, uint64_t *token, int *result, unsigned *flags);

/* A group of buffers for ce_uring_receive, entries being a power of two. NULL with errno. */
void *ce_uring_buffers_create(void *ring, unsigned entries, int group);
void ce_uring_buffers_destroy(void *ring, void *buffers, unsigned entries, int group);

/* Gives the kernel a buffer to receive into, under a number that its completion carries. */
void ce_uring_buffers_add(void *buffers, unsigned entries, void *bytes, unsigned length, unsigned short identifier);
