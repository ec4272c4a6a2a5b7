"""A gateway that sockets are led to, by way of a runtime folder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from scheduler.config import Config, LimitSettings
from scheduler.gateway.connection import Connection
from scheduler.gateway.relaying import Relaying
from tests.gateway.sockets import CounterSink, FakeLife, RecordingPeer, until

LIMITS: dict[str, Any] = {"close_timeout_seconds": 0.2}


class Owner:
    """The gateway, whose sessions echo text."""

    def __init__(self, folder: Path, index: int, limits: dict[str, Any]) -> None:
        config = Config(
            runtime_dir=str(folder), gateways=9, limits=LimitSettings(**{**LIMITS, **limits})
        )
        self.relaying = Relaying(asyncio.get_running_loop(), config, index)
        self.counters = CounterSink()
        self.peers: list[RecordingPeer] = []

    def new_session(self, connection: Connection) -> RecordingPeer:
        connection.mark_identified()
        self.peers.append(RecordingPeer(connection))
        return self.peers[-1]

    async def peer(self) -> RecordingPeer:
        """Return the latest session, once there is one."""
        await until(lambda: bool(self.peers))
        return self.peers[-1]


@asynccontextmanager
async def an_owner(folder: Path, index: int = 1, **limits: Any) -> AsyncIterator[Owner]:
    """Serve; check that at the end all is closed."""
    owner = Owner(folder, index, limits)
    await owner.relaying.serve(owner.new_session, owner.counters, lambda _: None, FakeLife())
    try:
        yield owner
    finally:
        await owner.relaying.close(2)
    assert owner.counters["connections"] == 0
    assert [peer.closed for peer in owner.peers] == [1] * len(owner.peers)
