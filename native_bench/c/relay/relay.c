/* The least program that could carry jobs at all: a relay of WebSocket messages.
 *
 * It does nothing that a scheduler has to do: no jobs, no JSON, no choice, no limits, no deadlines.
 * What it reaches is the limit of this machine's sockets. native_bench/relay.py does the same in
 * Python and says how peers are addressed.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

#define EVENTS_MAX 256
#define BACKLOG 4096
#define PORT_MAX 65535

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void) number;
    stopped = 1;
}

static int port_of(int count, char **arguments)
{
    char *end;
    long port;

    if (count == 1) {
        return 0;
    }
    if (count != 3 || strcmp(arguments[1], "--port") != 0) {
        die("usage: relay [--port P]; 0, the default: any that is free");
    }
    port = strtol(arguments[2], &end, 10);
    if (end == arguments[2] || *end != '\0' || port < 0 || port > PORT_MAX) {
        die("--port must be a number from 0 to %d, not '%s'", PORT_MAX, arguments[2]);
    }
    return (int) port;
}

static void allow_open_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        die_errno("getrlimit");
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        die_errno("setrlimit");
    }
}

static int listen_on(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t) port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        die_errno("socket");
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) {
        die_errno("SO_REUSEADDR");
    }
    if (bind(fd, (struct sockaddr *) &address, size) < 0) {
        die_errno("bind");
    }
    if (listen(fd, BACKLOG) < 0) {
        die_errno("listen");
    }
    if (getsockname(fd, (struct sockaddr *) &address, &size) < 0) {
        die_errno("getsockname");
    }
    if (printf("port %d\n", ntohs(address.sin_port)) < 0 || fflush(stdout) != 0) {
        die_errno("standard output");
    }
    return fd;
}

static void accept_all(struct relay *relay, int listener)
{
    int on = 1;
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) {
            die_errno("TCP_NODELAY");
        }
        peer_open(relay, fd);
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
        die_errno("accept");
    }
}

/* SIGTERM counts only while events are waited for, so that it cannot come just before. */
static void block_stop(sigset_t *unblocked)
{
    struct sigaction action = {.sa_handler = stop};
    sigset_t blocked;

    if (sigemptyset(&blocked) < 0 || sigaddset(&blocked, SIGTERM) < 0
        || sigprocmask(SIG_BLOCK, &blocked, unblocked) < 0
        || sigaction(SIGTERM, &action, NULL) < 0) {
        die_errno("signals");
    }
}

static void serve(struct relay *relay, int listener)
{
    struct epoll_event events[EVENTS_MAX];
    sigset_t unblocked;

    block_stop(&unblocked);
    while (!stopped) {
        int count = epoll_pwait(relay->epoll, events, EVENTS_MAX, -1, &unblocked);

        if (count < 0 && errno != EINTR) {
            die_errno("epoll_pwait");
        }
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) {
                accept_all(relay, listener);
            } else {
                peer_take_event(relay, events[i].data.ptr, events[i].events);
            }
        }
        peers_finish_turn(relay);
    }
}

int main(int count, char **arguments)
{
    struct relay relay = {.epoll = epoll_create1(EPOLL_CLOEXEC)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int port = port_of(count, arguments);
    int listener;

    if (relay.epoll < 0) {
        die_errno("epoll_create1");
    }
    keep_memory();
    allow_open_files();
    listener = listen_on(port);
    if (epoll_ctl(relay.epoll, EPOLL_CTL_ADD, listener, &event) < 0) {
        die_errno("epoll_ctl");
    }
    serve(&relay, listener);
    peers_close(&relay);
    return 0;
}
