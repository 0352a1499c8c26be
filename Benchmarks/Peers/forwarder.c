// The least a proxy can do: accept on a TCP port of 127.0.0.1, connect to a Unix socket, copy bytes both ways with
// epoll. It looks at nothing and limits nothing, so what it costs is what the kernel charges for being in between.
//
//   cc -O2 -o forwarder forwarder.c && ./forwarder PORT /path/of/socket

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CAPACITY = 16384, BATCH = 128 };

// One of the two sockets of a session. `bytes` holds what was read here and the partner has not taken yet.
struct end {
    int descriptor;
    unsigned armed;
    struct end *partner, *next_dead;
    size_t sent, received;
    char bytes[CAPACITY];
};

static int epoll;
static struct end *dead;  // Freed after the batch: an event for it may still be in there.
static struct sockaddr_un target = {.sun_family = AF_UNIX};

static void die(const char *what) {
    perror(what);
    exit(1);
}

// Readable matters while nothing is held, writable while the partner holds something. In a dialogue of short messages
// this never changes, and costs no call.
static void arm(struct end *end) {
    unsigned events = (end->received ? 0 : EPOLLIN) | (end->partner->received ? EPOLLOUT : 0);
    if (events == end->armed) return;
    struct epoll_event event = {.events = events, .data.ptr = end};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, end->descriptor, &event) < 0) die("epoll_ctl");
    end->armed = events;
}

static struct end *new_end(int descriptor) {
    struct end *end = malloc(sizeof *end);
    if (!end) die("malloc");
    *end = (struct end){.descriptor = descriptor, .armed = EPOLLIN};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) < 0) die("epoll_ctl");
    return end;
}

static void begin_session(int listener) {
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0) return;
    int one = 1, server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0 || connect(server, (struct sockaddr *)&target, sizeof target) < 0) {
        close(client);
        if (server >= 0) close(server);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct end *a = new_end(client), *b = new_end(server);
    a->partner = b;
    b->partner = a;
}

static void end_session(struct end *end) {
    struct end *both[2] = {end, end->partner};
    for (int i = 0; i < 2; i++) {
        close(both[i]->descriptor);
        both[i]->descriptor = -1;
        both[i]->next_dead = dead;
        dead = both[i];
    }
}

// Gives the partner what is held here.
static void forward(struct end *end) {
    ssize_t n = send(end->partner->descriptor, end->bytes + end->sent, end->received - end->sent,
                     MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return end_session(end);
    if (n > 0) end->sent += n;
    if (end->sent == end->received) end->sent = end->received = 0;
    arm(end);
    arm(end->partner);
}

static void take(struct end *end) {
    ssize_t n = recv(end->descriptor, end->bytes, CAPACITY, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return end_session(end);
    end->received = n;
    forward(end);
}

static void serve(struct end *end, unsigned events) {
    if (end->descriptor >= 0 && events & EPOLLOUT && end->partner->received) forward(end->partner);
    if (end->descriptor >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        if (!end->received)
            take(end);
        else if (events & (EPOLLHUP | EPOLLERR))
            end_session(end);
    }
}

int main(int count, char **arguments) {
    if (count != 3 || strlen(arguments[2]) >= sizeof target.sun_path) {
        fprintf(stderr, "usage: forwarder PORT SOCKET\n");
        return 2;
    }
    strcpy(target.sun_path, arguments[2]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1024) < 0) die("listen");

    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[BATCH], accepting = {.events = EPOLLIN};  // The listener's pointer is null.
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &accepting) < 0) die("epoll");
    for (;;) {
        int n = epoll_wait(epoll, events, BATCH, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                serve(events[i].data.ptr, events[i].events);
            else
                begin_session(listener);
        }
        while (dead) {
            struct end *next = dead->next_dead;
            free(dead);
            dead = next;
        }
    }
}
