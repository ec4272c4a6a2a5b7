"""Clients that lose their sockets and come back on others, at a gateway of the test's choice."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.integration.cluster import Cluster
from tests.integration.peers import MESSAGE_BYTES_MAX, FakeSession, Message


class Returning(FakeSession):
    """One socket of such a client."""

    token = ""
    replies: list[int]
    """The utterances of the terminal replies that the client got on all its sockets."""

    async def init(self, **fields: Any) -> Message:
        self.replies = []
        ack = await super().init(resumable=True, **fields)
        self.token = ack.get("resume_token", "")
        return ack

    async def end(self) -> None:
        """End the session, for else it would wait to be resumed."""
        with suppress(ConnectionClosed):
            await self.send("session_close", session_id=self.session_id, reason="done")
        await self.close()

    async def ask(self, before: "Returning", **fields: Any) -> None:
        """Ask to go on where another socket was lost."""
        self.session_id, self.trace_id = before.session_id, before.trace_id
        self.replies = before.replies.copy()
        resume = {
            "session_id": before.session_id,
            "resume_token": before.token,
            "replies_received": len(before.replies),
        }
        await self.send("session_resume", **{**resume, **fields})

    async def resume_from(self, before: "Returning", **fields: Any) -> Message:
        """Go on where another socket was lost; return the ack."""
        await self.ask(before, **fields)
        ack = await self.expect("session_init_ack")
        assert ack["resumed"]
        assert (ack["session_id"], ack["trace_id"]) == (before.session_id, before.trace_id)
        self.token = ack["resume_token"]
        return ack

    async def refused(self, before: "Returning", **fields: Any) -> Message:
        """Ask in vain; return the error."""
        await self.ask(before, **fields)
        error = await self.expect("error")
        assert await self.closed() == 1008
        return error

    def _received(self, message: Message) -> None:
        details = message.get("details", {}) if message["type"] == "error" else message
        if message["type"] in {"translation_result", "error"} and "utterance_index" in details:
            self.replies.append(details["utterance_index"])


@asynccontextmanager
async def a_socket(
    cluster: Cluster, gateway: int, url: str = "", **options: Any
) -> AsyncGenerator[Returning]:
    """A socket at that gateway that has said nothing yet. Nobody else may speak meanwhile."""
    url = url or cluster.session_url
    while True:
        before = cluster.per_gateway("bytes_received_total")
        socket = await connect(url, proxy=None, max_size=MESSAGE_BYTES_MAX, **options)
        session = Returning(socket)
        try:
            after = cluster.per_gateway("bytes_received_total")
            grown = [index for index, count in enumerate(after) if count > before[index]]
            if grown == [gateway]:
                yield session
                return
        finally:
            await session.end()


@asynccontextmanager
async def a_client(cluster: Cluster, gateway: int = 0, **init: Any) -> AsyncGenerator[Returning]:
    """An open session at that gateway that may resume."""
    async with a_socket(cluster, gateway) as session:
        await session.init(**init)
        yield session
