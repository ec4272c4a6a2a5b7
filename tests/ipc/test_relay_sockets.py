import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from scheduler.ipc.relay_sockets import RELAY_SOCKETS, RelaySockets


@pytest.fixture(params=["short", "x" * 120])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder; one of them has a longer path than a socket's address may be."""
    path = tmp_path / str(request.param)
    path.mkdir()
    return path


@pytest.fixture
def sockets(folder: Path) -> Iterator[RelaySockets]:
    with closing(RelaySockets(folder)) as found:
        yield found


def listen(sockets: RelaySockets, index: int) -> socket.socket:
    listening = sockets.listen(index)
    listening.listen()
    return listening


def test_gateways_find_each_other_by_number(sockets: RelaySockets) -> None:
    with listen(sockets, 0) as zero, listen(sockets, 12) as twelve:
        with sockets.connect(12) as caller:
            accepted, _ = twelve.accept()
            with accepted:
                caller.send(b"hello")
                assert accepted.recv(10) == b"hello"
            assert not caller.getblocking()
        with pytest.raises(BlockingIOError):
            zero.accept()


def test_only_this_user_may_connect(folder: Path, sockets: RelaySockets) -> None:
    with listen(sockets, 3):
        (path,) = folder.iterdir()
        mode = path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert list(folder.glob(RELAY_SOCKETS)) == [path]


def test_what_a_dead_gateway_left_is_replaced(folder: Path, sockets: RelaySockets) -> None:
    listen(sockets, 0).close()
    (folder / "gateway-0.sock.new").touch()
    with pytest.raises(ConnectionRefusedError):
        sockets.connect(0)
    with listen(sockets, 0), sockets.connect(0):
        assert [path.name for path in folder.iterdir()] == ["gateway-0.sock"]


def test_one_that_is_not_there_can_not_be_reached(sockets: RelaySockets) -> None:
    with pytest.raises(FileNotFoundError):
        sockets.connect(0)
    with sockets.listen(0), pytest.raises(ConnectionRefusedError):  # bound, not yet served
        sockets.connect(0)


def test_one_that_is_behind_says_so(sockets: RelaySockets) -> None:
    with sockets.listen(0) as listening, ExitStack() as stack:
        listening.listen(1)

        def call() -> None:
            for _ in range(10):
                stack.enter_context(sockets.connect(0))

        with pytest.raises(BlockingIOError):
            call()


def test_removing_leaves_the_others(folder: Path, sockets: RelaySockets) -> None:
    with listen(sockets, 0), listen(sockets, 1):
        sockets.remove(0)
        sockets.remove(0)
        assert [path.name for path in folder.iterdir()] == ["gateway-1.sock"]


def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RelaySockets(tmp_path / "missing")


def test_a_folder_that_is_gone_takes_no_socket(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with closing(RelaySockets(folder)) as sockets:
        folder.rmdir()
        with pytest.raises(OSError, match="No such file"):
            sockets.listen(0)
