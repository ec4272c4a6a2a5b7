import errno
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from scheduler.errors import StartError
from scheduler.supervisor import sockets


@contextmanager
def listening(host: str, port: int = 0) -> Iterator[list[socket.socket]]:
    found = sockets.listen(host, port, host_key="server.host", port_key="server.port")
    try:
        yield found
    finally:
        sockets.close_all(found)


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1:{}"), ("::1", "[::1]:{}"), ("::", "[::]:{}")]
)
def test_clients_reach_the_address_shown(host: str, shown: str) -> None:
    with listening(host) as (listener,):
        port = listener.getsockname()[1]
        assert sockets.shown_address(listener) == shown.format(port)
        with socket.create_connection((host, port), timeout=5):
            accepted, _ = listener.accept()
            accepted.close()
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_the_ipv6_wildcard_takes_ipv4_too() -> None:
    with listening("::") as (listener,):
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=5).close()


def test_all_addresses_of_a_name_get_one_port() -> None:
    with listening("localhost") as found:
        assert len({listener.getsockname()[1] for listener in found}) == 1
        known = {info[4][0] for info in socket.getaddrinfo("localhost", None)}
        assert {listener.getsockname()[0] for listener in found} <= known


def test_a_name_is_served_on_the_addresses_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    # A resolver that names an address of a family this machine lacks can't be had otherwise.
    absent = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
    present = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [absent, present])
    with listening("both.example") as (listener,):
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_busy_port_says_which_setting_to_change() -> None:
    with listening("127.0.0.1") as (listener,):
        port = listener.getsockname()[1]
        with (
            pytest.raises(StartError, match=rf"127\.0\.0\.1 port {port}: .*set server\.port"),
            listening("127.0.0.1", port),
        ):
            pass


def test_a_port_is_free_again_at_once() -> None:
    # Connections of the run before are still in TIME_WAIT.
    with listening("127.0.0.1") as (listener,):
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port), timeout=5)
        accepted, _ = listener.accept()
        accepted.close()
        client.close()
    with listening("127.0.0.1", port):
        pass


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("no-such-host.invalid", "can't resolve 'no-such-host.invalid'.*set server.host"),
        ("", "can't resolve ''.*set server.host"),
        ("a" * 70, "can't resolve.*set server.host"),
        ("192.0.2.1", "192.0.2.1 port 0: not an address of this machine: set server.host"),
    ],
)
def test_a_host_that_is_not_ours_says_which_setting_to_change(host: str, message: str) -> None:
    with pytest.raises(StartError, match=message), listening(host):
        pass


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "no permission for that port: set server.port to one from 1024 on"),
        (errno.ENOBUFS, "No buffer space available: check server.host and server.port"),
    ],
)
def test_other_refusals_are_explained(number: int, advice: str) -> None:
    error = sockets._explained(OSError(number, ""), "h", 80, "server.host", "server.port")
    assert str(error) == f"can't listen on h port 80: {advice}"


def test_no_socket_is_left_when_one_of_several_addresses_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with listening("127.0.0.2", free):
        infos = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, free))
            for host in ("127.0.0.1", "127.0.0.2")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
        with pytest.raises(StartError, match="another program listens"), listening("x", free):
            pass
        with closing(socket.socket()) as probe:
            assert probe.connect_ex(("127.0.0.1", free)) == errno.ECONNREFUSED
