#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

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
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        die_errno("socket");
    }
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY");
    if (target->source > 0) {
        /* The port is then chosen by both ends' addresses, of which there are many. */
        set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT");
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + target->source);
        if (bind(fd, (struct sockaddr *) &from, sizeof from) < 0) {
            die_errno("bind");
        }
    }
    if (connect(fd, (struct sockaddr *) &to, sizeof to) < 0 && errno != EINPROGRESS) {
        die_errno("connect");
    }
    link->state = LINK_CONNECTING;
    stream_open(&link->stream, fd, epoll, link, true);
}

void link_upgrade(struct link *link, const struct link_target *target, uint64_t *random)
{
    struct buffer request = {0};
    int error = 0;
    socklen_t size = sizeof error;

    if (getsockopt(link->stream.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
        die_errno("getsockopt");
    }
    if (error != 0) {
        errno = error;
        die_errno("connect");
    }
    stream_watch(&link->stream, false);
    ws_make_key(random, link->key);
    ws_add_request(&request, target->host, target->port, target->path, link->key);
    link->state = LINK_UPGRADING;
    if (!stream_write(&link->stream, request.data, request.size)) {
        die_errno("send");
    }
    buffer_free(&request);
}

void link_close(struct link *link)
{
    stream_close(&link->stream);
    link->state = LINK_CLOSED;
}
