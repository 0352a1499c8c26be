#define _GNU_SOURCE
#include "CEpoll.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

_Static_assert(CE_URING_BUFFER == IORING_CQE_F_BUFFER, "flags of a completion");
_Static_assert(CE_URING_MORE == IORING_CQE_F_MORE, "flags of a completion");
_Static_assert(CE_URING_SOCKET_HOLDS_MORE == IORING_CQE_F_SOCK_NONEMPTY, "flags of a completion");
_Static_assert(CE_URING_BUFFER_SHIFT == IORING_CQE_BUFFER_SHIFT, "flags of a completion");

/* io_uring_enter(2) since Linux 6.15, younger than the headers of Debian 12: who waits for a socket isn't counted as
   waiting for a disk, or an idle server would look like a slow one. */
enum { FEATURE_NO_IOWAIT = 1u << 17, ENTER_NO_IOWAIT = 1u << 7 };

struct ring {
    struct io_uring uring; /* first: liburing's functions take the ring itself */
    unsigned enter;        /* flags of every io_uring_enter(2) */
};

void *ce_uring_create(unsigned submissions, unsigned completions) {
    struct ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return NULL;
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
        .cq_entries = completions};
    int result = io_uring_queue_init_params(submissions, &ring->uring, &parameters);
    if (result < 0) {
        free(ring);
        errno = -result;
        return NULL;
    }
    ring->enter = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if (parameters.features & FEATURE_NO_IOWAIT)
        ring->enter |= ENTER_NO_IOWAIT;
    /* Spares every call the search for the descriptor; the kernel knows it since Linux 5.18. */
    if (io_uring_register_ring_fd(&ring->uring) == 1)
        ring->enter |= IORING_ENTER_REGISTERED_RING;
    return ring;
}

void ce_uring_destroy(void *ring) {
    io_uring_queue_exit(ring);
    free(ring);
}

/* Hands over what is queued and waits until `completions` are there: what the kernel took, or a negative error number.
   Source: io_uring_enter(2). The queue's slots are its array's, as liburing makes them. */
static int hand_over(struct ring *ring, unsigned completions, const struct __kernel_timespec *timeout) {
    struct io_uring_sq *queue = &ring->uring.sq;
    if (queue->sqe_head != queue->sqe_tail) {
        queue->sqe_head = queue->sqe_tail;
        io_uring_smp_store_release(queue->ktail, queue->sqe_tail);
    }
    unsigned queued = queue->sqe_tail - *queue->khead;
    if (queued == 0 && io_uring_cq_ready(&ring->uring) > 0)
        return 0;
    struct io_uring_getevents_arg argument = {.sigmask_sz = _NSIG / 8, .ts = (__u64)(uintptr_t)timeout};
    return io_uring_enter2(
        (unsigned)ring->uring.enter_ring_fd, queued, completions, ring->enter, (sigset_t *)&argument,
        sizeof argument);
}

/* A full queue is handed over without waiting; the kernel takes all of it. */
static struct io_uring_sqe *entry(void *ring) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    while (!sqe) {
        int result = hand_over(ring, 0, NULL);
        if (result < 0 && result != -EINTR && result != -EAGAIN) {
            errno = -result;
            return NULL;
        }
        sqe = io_uring_get_sqe(ring);
    }
    return sqe;
}

int ce_uring_receive(void *ring, int descriptor, int group, int is_empty, uint64_t token) {
    struct io_uring_sqe *sqe = entry(ring);
    if (!sqe)
        return -1;
    io_uring_prep_recv(sqe, descriptor, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = (__u16)group;
    if (is_empty)
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    io_uring_sqe_set_data64(sqe, token);
    return 0;
}

int ce_uring_send(void *ring, int descriptor, const void *bytes, size_t length, int is_full, uint64_t token) {
    struct io_uring_sqe *sqe = entry(ring);
    if (!sqe)
        return -1;
    io_uring_prep_send(sqe, descriptor, bytes, length, MSG_NOSIGNAL | MSG_WAITALL);
    if (is_full)
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    io_uring_sqe_set_data64(sqe, token);
    return 0;
}

int ce_uring_poll(void *ring, int descriptor, unsigned events, uint64_t token) {
    struct io_uring_sqe *sqe = entry(ring);
    if (!sqe)
        return -1;
    io_uring_prep_poll_add(sqe, descriptor, events);
    io_uring_sqe_set_data64(sqe, token);
    return 0;
}

int ce_uring_poll_edges(void *ring, int descriptor, unsigned events, uint64_t token) {
    struct io_uring_sqe *sqe = entry(ring);
    if (!sqe)
        return -1;
    io_uring_prep_poll_multishot(sqe, descriptor, events);
    io_uring_sqe_set_data64(sqe, token);
    return 0;
}

int ce_uring_cancel(void *ring, uint64_t target, uint64_t token) {
    struct io_uring_sqe *sqe = entry(ring);
    if (!sqe)
        return -1;
    io_uring_prep_cancel64(sqe, target, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, token);
    return 0;
}

int ce_uring_cancel_all(void *ring, uint64_t token) {
    struct io_uring_sqe *sqe = entry(ring);
    if (!sqe)
        return -1;
    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    io_uring_sqe_set_data64(sqe, token);
    return 0;
}

int ce_uring_wait(void *ring, const struct timespec *timeout) {
    struct __kernel_timespec time = {0};
    if (timeout) {
        time.tv_sec = timeout->tv_sec;
        time.tv_nsec = timeout->tv_nsec;
    }
    /* Without a wait there is nothing to time. */
    int only_looks = timeout && time.tv_sec == 0 && time.tv_nsec == 0;
    int result = hand_over(ring, only_looks ? 0 : 1, timeout && !only_looks ? &time : NULL);
    return result < 0 ? result : 0;
}

unsigned ce_uring_ready(const void *ring) { return io_uring_cq_ready(ring); }

int ce_uring_next(void *ring, uint64_t *token, int *result, unsigned *flags) {
    struct io_uring_cqe *cqe;
    if (io_uring_peek_cqe(ring, &cqe) != 0)
        return 0;
    *token = cqe->user_data;
    *result = cqe->res;
    *flags = cqe->flags;
    io_uring_cqe_seen(ring, cqe);
    return 1;
}

static size_t buffer_ring_length(unsigned entries) { return entries * sizeof(struct io_uring_buf); }

void *ce_uring_buffers_create(void *ring, unsigned entries, int group) {
    void *memory =
        mmap(NULL, buffer_ring_length(entries), PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    struct io_uring_buf_reg registration = {
        .ring_addr = (__u64)(uintptr_t)memory, .ring_entries = entries, .bgid = (__u16)group};
    int result = io_uring_register_buf_ring(ring, &registration, 0);
    if (result < 0) {
        munmap(memory, buffer_ring_length(entries));
        errno = -result;
        return NULL;
    }
    io_uring_buf_ring_init(memory);
    return memory;
}

void ce_uring_buffers_destroy(void *ring, void *buffers, unsigned entries, int group) {
    io_uring_unregister_buf_ring(ring, group);
    munmap(buffers, buffer_ring_length(entries));
}

void ce_uring_buffers_add(void *buffers, unsigned entries, void *bytes, unsigned length, unsigned short identifier) {
    io_uring_buf_ring_add(buffers, bytes, length, identifier, io_uring_buf_ring_mask(entries), 0);
    io_uring_buf_ring_advance(buffers, 1);
}
