#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)

static void watch(struct link *link, int epoll, int operation, bool for_write)
{
    struct epoll_event event = {
        .events = EPOLLIN | (for_write ? EPOLLOUT : 0),
        .data.ptr = link,
    };

    if (epoll_ctl(epoll, operation, link->fd, &event) < 0) {
        die_errno("epoll_ctl");
    }
    link->wants_write = for_write;
}

static struct sockaddr_in address_of(const char *host, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};

    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        die("'%s' is no IPv4 address", host);
    }
    return address;
}

static void set_option(int fd, int level, int option, const char *name)
{
    int on = 1;

    if (setsockopt(fd, level, option, &on, sizeof on) < 0) {
        die_errno(name);
    }
}

void link_connect(struct link *link, int epoll, const struct link_target *target)
{
    struct sockaddr_in to = address_of(target->host, target->port);
    struct sockaddr_in from = address_of("127.0.0.1", 0);

    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) {
        die_errno("socket");
    }
    set_option(link->fd, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY");
    if (target->source > 0) {
        /* The port is then chosen by both ends' addresses, of which there are many. */
        set_option(link->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT");
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + target->source);
        if (bind(link->fd, (struct sockaddr *) &from, sizeof from) < 0) {
            die_errno("bind");
        }
    }
    if (connect(link->fd, (struct sockaddr *) &to, sizeof to) < 0 && errno != EINPROGRESS) {
        die_errno("connect");
    }
    link->state = LINK_CONNECTING;
    watch(link, epoll, EPOLL_CTL_ADD, true);
}

void link_upgrade(struct link *link, int epoll, const struct link_target *target, uint64_t *random)
{
    struct buffer request = {0};
    int error = 0;
    socklen_t size = sizeof error;

    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
        die_errno("getsockopt");
    }
    if (error != 0) {
        errno = error;
        die_errno("connect");
    }
    watch(link, epoll, EPOLL_CTL_MOD, false);
    ws_make_key(random, link->key);
    ws_add_request(&request, target->host, target->port, target->path, link->key);
    link->state = LINK_UPGRADING;
    if (!link_write(link, epoll, request.data, request.size)) {
        die_errno("send");
    }
    buffer_free(&request);
}

/* How much of it the socket took; -1 where it is broken. */
static ssize_t take(struct link *link, const char *data, size_t size)
{
    ssize_t sent;

    do {
        sent = send(link->fd, data, size, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    return sent;
}

bool link_write(struct link *link, int epoll, const char *data, size_t size)
{
    ssize_t sent = link->out.size > 0 ? 0 : take(link, data, size);

    if (sent < 0) {
        return false;
    }
    if ((size_t) sent < size) {
        buffer_add(&link->out, data + sent, size - (size_t) sent);
        if (!link->wants_write) {
            watch(link, epoll, EPOLL_CTL_MOD, true);
        }
    }
    return true;
}

bool link_write_rest(struct link *link, int epoll)
{
    ssize_t sent = take(link, link->out.data, link->out.size);

    if (sent < 0) {
        return false;
    }
    buffer_drop(&link->out, (size_t) sent);
    if (link->out.size == 0) {
        buffer_free(&link->out);
        watch(link, epoll, EPOLL_CTL_MOD, false);
    }
    return true;
}

bool link_read(struct link *link, struct buffer *scratch)
{
    ssize_t got;

    scratch->size = 0;
    if (link->in.size > 0) {
        buffer_add(scratch, link->in.data, link->in.size);
        buffer_free(&link->in);
    }
    do {
        got = recv(link->fd, buffer_reserve(scratch, READ_BYTES), READ_BYTES, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK;
    }
    scratch->size += (size_t) got;
    return got > 0;
}

void link_keep(struct link *link, const struct buffer *scratch, size_t at)
{
    if (at < scratch->size) {
        buffer_add(&link->in, scratch->data + at, scratch->size - at);
    }
}

void link_close(struct link *link)
{
    if (close(link->fd) < 0) { /* epoll forgets it with that */
        die_errno("close");
    }
    link->fd = -1;
    link->state = LINK_CLOSED;
    buffer_free(&link->in);
    buffer_free(&link->out);
}
