"""The gateways' own sockets: who is led where. What passes through them: test_relay.py."""

import asyncio
import stat
from pathlib import Path

import pytest

from scheduler.config import Config
from scheduler.errors import PeerError
from scheduler.gateway.connection import Connection
from scheduler.gateway.relaying import Relaying
from tests.gateway.relayed_sites import Owner, an_owner
from tests.gateway.sockets import LOOPS, TEXT, FakeLife, RecordingPeer, frame, run_on, serve, until

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def test_each_socket_is_led_to_the_gateway_of_that_number(loop: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with an_owner(tmp_path, 0) as zero, an_owner(tmp_path, 8) as eight:
            for owner, index, by in ((eight, 8, zero), (zero, 0, eight)):
                async with serve(peer=leading_by(by, index)) as site:
                    raw = await site.raw_websocket()
                    raw.send(frame(TEXT, b"hello"))
                    assert await raw.frame() == (TEXT, b"hello")
                    peer = await owner.peer()
                    assert peer.connection.peer_address == "127.0.0.1"
                    assert peer.texts == [b"hello"]

    run_on(loop, scenario)


def _never(error: PeerError) -> None:
    raise AssertionError(error)


def leading_by(by: Owner, index: int) -> type[RecordingPeer]:
    class Led(RecordingPeer):
        def __init__(self, connection: Connection) -> None:
            super().__init__(connection)
            connection.keep_early()
            self.answer = self.lead

        def lead(self, _: bytes) -> None:
            by.relaying.lead(self.connection, index, _never)

    return Led


def test_its_socket_is_there_from_the_start_and_gone_at_the_end(loop: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "gateway-3.sock"
        async with an_owner(tmp_path, 3):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not path.exists()

    run_on(loop, scenario)


def test_another_start_of_the_same_gateway_takes_its_place(loop: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        killed = Owner(tmp_path, 1, {})
        async with (
            an_owner(tmp_path, 1) as owner,
            an_owner(tmp_path, 0) as zero,
            serve(peer=leading_by(zero, 1)) as site,
        ):
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"hello"))
            await owner.peer()
        assert not killed.peers
        killed.relaying._listening.close()
        killed.relaying._sockets.close()

    run_on(loop, scenario)


def test_at_its_end_the_sessions_led_here_are_closed(loop: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with an_owner(tmp_path, 0) as zero, serve(peer=leading_by(zero, 1)) as site:
            async with an_owner(tmp_path, 1) as owner:
                raw = await site.raw_websocket()
                raw.send(frame(TEXT, b"hello"))
                await owner.peer()
            assert await raw.close_code() == 1012
            await until(lambda: site.counters["connections"] == 0)

    run_on(loop, scenario)


def test_sockets_that_are_being_led_are_left_at_the_end(loop: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        refused: list[PeerError] = []
        async with an_owner(tmp_path, 0) as zero, serve() as site:
            await site.raw_websocket()
            peer = await site.peer()
            zero.relaying.lead(peer.connection, 1, refused.append)
            await zero.relaying.close(2)
            await asyncio.sleep(0)
            assert not refused
            assert peer.connection.is_open
            zero.relaying = Relaying(
                asyncio.get_running_loop(), Config(runtime_dir=str(tmp_path)), 0
            )
            await zero.relaying.serve(zero.new_session, zero.counters, lambda _: None, FakeLife())

    run_on(loop, scenario)
