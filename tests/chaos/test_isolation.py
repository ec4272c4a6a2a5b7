import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.isolation import DISK_BYTES, Namespace, NotPossibleError, SmallDisk
from tests.harness import poll

ECHO = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as peer:
    while data := peer.recv(100):
        peer.sendall(data)
"""


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    try:
        made = Namespace()
    except NotPossibleError as error:
        pytest.skip(str(error))
    with closing(made):
        yield made


@pytest.mark.parametrize("way", ["both ways", "their packets"])
def test_a_link_is_cut_and_heals(namespace: Namespace, way: str) -> None:
    with socket.create_server((namespace.address, 0)) as listener:
        port = str(listener.getsockname()[1])
        arguments = [sys.executable, "-c", ECHO, namespace.address, port]
        with subprocess.Popen(namespace.command(arguments)) as echo:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"before")
                assert peer.recv(100) == b"before"
                namespace.cut(way)
                peer.sendall(b"meanwhile")
                peer.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    peer.recv(100)
                namespace.heal(way)
                peer.settimeout(30)
                assert peer.recv(100) == b"meanwhile"
            assert echo.wait(30) == 0


def test_it_goes_with_its_interfaces(namespace: Namespace) -> None:
    def shown() -> str:
        return subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout

    assert f"lch{os.getpid()}o" in shown()
    namespace.close()
    poll("its interfaces are gone", lambda: f"lch{os.getpid()}o" not in shown())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        made = SmallDisk(tmp_path / "disk")
    except NotPossibleError as error:
        pytest.skip(str(error))
    with closing(made):
        yield made


def test_a_disk_is_full_and_has_room_again(disk: SmallDisk) -> None:
    assert shutil.disk_usage(disk.folder).total <= DISK_BYTES
    other = disk.folder / "other"
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        other.write_bytes(b"x" * 10_000)
    disk.empty()
    other.write_bytes(b"x" * 10_000)
    disk.close()
    assert not disk.folder.is_mount()
