"""The bare relay in Python over real sockets, as the load driver speaks to it."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from websockets.sync.client import ClientConnection, connect

from scheduler.programs import Program, running

SECONDS_MAX = 20


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[tuple[Program, str]]:
    with running(tmp_path, "relay", "native_bench.relay", talks=True) as program:
        yield program, f"ws://127.0.0.1:{int(program.read_line().removeprefix(b'port '))}"


def opened(url: str, kind: str) -> ClientConnection:
    return connect(f"{url}/{kind}", compression=None, max_size=None)


def test_peers_are_numbered_by_kind_and_reach_each_other(relay: tuple[Program, str]) -> None:
    _, url = relay
    with (
        opened(url, "session") as first,
        opened(url, "node") as node,
        opened(url, "session") as second,
        opened(url, "node") as other,
    ):
        numbers = [peer.recv(SECONDS_MAX) for peer in (first, node, second, other)]
        assert numbers == ["00000000", "00000000", "00000001", "00000001"]
        second.send("00000001job")
        assert other.recv(SECONDS_MAX) == "00000001job"
        other.send("00000001result")
        assert second.recv(SECONDS_MAX) == "result"
        first.send("00000000")
        assert node.recv(SECONDS_MAX) == "00000000"


@pytest.mark.parametrize("size", [0, 117, 118, 65_527, 65_528, 1_000_000])
def test_bodies_of_any_size_arrive_whole_and_in_order(
    relay: tuple[Program, str], size: int
) -> None:
    _, url = relay
    with opened(url, "session") as session, opened(url, "node") as node:
        session.recv(SECONDS_MAX)
        node.recv(SECONDS_MAX)
        for letter in "abc":
            session.send("00000000" + letter * size)
        for letter in "abc":
            assert node.recv(SECONDS_MAX) == "00000000" + letter * size
        node.send("00000000" + "d" * size)
        assert session.recv(SECONDS_MAX) == "d" * size


@pytest.mark.parametrize("module", ["native_bench.relay", "native_bench.plain"])
def test_rivals_may_open_as_many_sockets_as_the_machine_lets_them(
    tmp_path: Path, module: str
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        with running(tmp_path, "rival", module, talks=True) as program:
            program.read_line()
            process = psutil.Process(program.process.pid)
            assert process.rlimit(psutil.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_it_answers_pings_and_ends_when_told(relay: tuple[Program, str]) -> None:
    program, url = relay
    with opened(url, "session") as session:
        session.recv(SECONDS_MAX)
        assert session.ping().wait(SECONDS_MAX)
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(SECONDS_MAX) == 0
