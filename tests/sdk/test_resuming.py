"""A connection that comes back, against a peer that says what the scheduler would."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import Raw

from scheduler.protocol.session import AudioChunk, SessionClose, SessionInitAck, Utterance
from scheduler.sdk.connection import Connection, cancel_and_wait
from scheduler.sdk.errors import ConnectionLost
from scheduler.sdk.messages import SessionEvent, session_event_decoder
from scheduler.sdk.resuming import ResumingConnection
from tests.sdk.scripted_peer import Link, Peer, listening_peer, run_async, until

TOKENS = [f"token-{number}" for number in range(3)]


class Client:
    """The connection, and one task that receives."""

    def __init__(self, peer: Peer, first: Connection[SessionEvent], window_seconds: float) -> None:
        ack = SessionInitAck(
            "sess-1", None, "", "t", resume_token=TOKENS[0], resume_seconds=window_seconds
        )
        self.dials = 0
        self._peer = peer
        self.connection = ResumingConnection(first, ack, self._dial, 10)
        self.events: list[SessionEvent] = []
        self.lost: ConnectionLost | None = None
        self.reader = asyncio.create_task(self._read())

    async def _dial(self) -> Connection[SessionEvent]:
        self.dials += 1
        return await Connection.open(self._peer.url, session_event_decoder)

    async def _read(self) -> None:
        try:
            while True:
                self.events.append(await self.connection.receive())
        except ConnectionLost as error:
            self.lost = error

    async def chunk(self, seq: int, *, final: bool = False) -> None:
        await self.connection.send(AudioChunk(seq, final, "sess-1", None if final else "AAAA"))

    async def utterance(self, index: int) -> None:
        await self.connection.send(
            Utterance("sess-1", index, True, "en", "es", Raw(b'"AAAA"'), "pcm16", 16_000)
        )

    async def ended(self) -> ConnectionLost:
        await until(lambda: self.lost, "the loss")
        assert self.lost is not None
        return self.lost


@asynccontextmanager
async def connected(
    window_seconds: float = 30.0,
) -> AsyncGenerator[tuple[Peer, Client, Link]]:
    """A connection whose peer has accepted its first socket."""
    async with listening_peer() as peer:
        first: Connection[SessionEvent] = await Connection.open(peer.url, session_event_decoder)
        link = await peer.accept()
        client = Client(peer, first, window_seconds)
        try:
            yield peer, client, link
        finally:
            client.connection.abort()
            await cancel_and_wait(client.reader)
            await client.connection.close()


async def next_message(link: Link) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await link.raw())
    return message


async def welcome(link: Link, token: str, **fields: Any) -> dict[str, Any]:
    """Answer session_resume; return it."""
    resume = await next_message(link)
    assert resume.pop("type") == "session_resume"
    await link.send(
        type="session_init_ack",
        session_id="sess-1",
        assigned_node_id=None,
        message="",
        trace_id="t",
        resume_token=token,
        resume_seconds=30,
        resumed=True,
        **{"received_seq": None, "received_bytes": 0, "cut_seq": None, **fields},
    )
    return resume


async def let_through(link: Link) -> None:
    """Answer the heartbeat behind which the replies that were kept have all come."""
    assert (await next_message(link))["type"] == "client_heartbeat"
    await link.send(type="server_heartbeat", session_id="sess-1", timestamp=1)


@run_async
async def test_it_says_again_what_the_scheduler_lacks_and_goes_on() -> None:
    async with connected() as (peer, client, first):
        await client.chunk(0)
        await client.chunk(1, final=True)
        await client.chunk(2)
        await client.chunk(3)
        first.abort()
        link = await peer.accept()
        resume = await welcome(link, TOKENS[1], received_seq=2, cut_seq=1)
        assert resume == {"session_id": "sess-1", "resume_token": TOKENS[0], "replies_received": 0}
        await let_through(link)
        assert (await next_message(link))["seq"] == 3
        await client.chunk(4)
        assert (await next_message(link))["seq"] == 4
        assert client.connection.resumed == 1
        (ack,) = client.events
        assert isinstance(ack, SessionInitAck)
        assert ack.resumed


@run_async
async def test_the_next_time_it_shows_the_next_token_and_counts_its_replies() -> None:
    async with connected() as (peer, client, first):
        await first.result(0)
        await until(lambda: len(client.events) == 1)
        first.abort()
        link = await peer.accept()
        assert (await welcome(link, TOKENS[1]))["replies_received"] == 1
        await link.result(1)
        await until(lambda: len(client.events) == 3)
        link.abort()
        link = await peer.accept()
        resume = await welcome(link, TOKENS[2])
        assert (resume["resume_token"], resume["replies_received"]) == (TOKENS[1], 2)


@run_async
async def test_utterances_of_which_nothing_was_heard_are_said_again() -> None:
    async with connected() as (peer, client, first):
        for index in range(3):
            await client.utterance(index)
        await first.event("DISPATCHED", 0)
        await until(lambda: len(client.events) == 1)
        first.abort()
        link = await peer.accept()
        await welcome(link, TOKENS[1])
        await link.result(1)  # kept for it meanwhile
        await let_through(link)
        assert (await next_message(link))["utterance_index"] == 2
        await client.utterance(3)
        assert (await next_message(link))["utterance_index"] == 3


@run_async
async def test_nothing_is_said_before_the_replies_that_were_kept_have_come() -> None:
    async with connected() as (peer, client, first):
        first.abort()
        link = await peer.accept()
        sending = asyncio.create_task(client.chunk(0))
        await welcome(link, TOKENS[1])
        assert (await next_message(link))["type"] == "client_heartbeat"
        await link.result(0)
        await until(lambda: len(client.events) == 2)
        assert not sending.done()
        await link.send(type="server_heartbeat", session_id="sess-1", timestamp=1)
        assert (await next_message(link))["seq"] == 0
        await sending


@run_async
async def test_a_socket_that_is_lost_while_it_says_things_again_is_no_loss() -> None:
    async with connected() as (peer, client, first):
        await client.chunk(0)
        first.abort()
        link = await peer.accept()
        await welcome(link, TOKENS[1])
        link.abort()
        link = await peer.accept()
        assert (await welcome(link, TOKENS[2]))["resume_token"] == TOKENS[1]
        await let_through(link)
        assert (await next_message(link))["seq"] == 0
        assert client.connection.resumed == 2


@run_async
async def test_an_answer_that_is_lost_means_the_same_token_again() -> None:
    async with connected() as (peer, client, first):
        first.abort()
        link = await peer.accept()
        await next_message(link)
        link.abort()
        link = await peer.accept()
        assert (await welcome(link, TOKENS[1]))["resume_token"] == TOKENS[0]
        await let_through(link)
        assert client.dials == 2


@run_async
async def test_a_session_that_is_gone_is_given_up_and_senders_learn_of_it() -> None:
    async with connected() as (peer, client, first):
        first.abort()
        link = await peer.accept()
        sending = asyncio.create_task(client.chunk(0))
        await next_message(link)
        await link.send(type="error", code="INVALID_SESSION", message="gone")
        assert "broke off" in str(await client.ended())
        with pytest.raises(ConnectionLost):
            await sending
        with pytest.raises(ConnectionLost):
            await client.chunk(1)
        assert client.dials == 1


@pytest.mark.parametrize("code", ["SERVER_BUSY", "RATE_LIMITED", "SERVER_SHUTDOWN"])
def test_other_refusals_are_waited_out(code: str) -> None:
    @run_async
    async def scenario() -> None:
        async with connected() as (peer, client, first):
            first.abort()
            link = await peer.accept()
            await next_message(link)
            details = {"retry_after_ms": 20}
            await link.send(type="error", code=code, message="not now", details=details)
            link = await peer.accept()
            await welcome(link, TOKENS[1])
            await let_through(link)
            assert client.dials == 2

    scenario()


@run_async
async def test_after_the_window_it_is_given_up() -> None:
    async with connected(window_seconds=0.3) as (peer, client, first):
        first.abort()
        await peer.accept()  # and say nothing
        await client.ended()


@run_async
async def test_after_session_close_it_does_not_come_back() -> None:
    async with connected() as (_, client, first):
        await client.connection.send(SessionClose("sess-1", "done"))
        await next_message(first)
        first.abort()
        await client.ended()
        assert client.dials == 0


@run_async
async def test_closed_while_it_comes_back_it_leaves_no_socket() -> None:
    async with connected() as (peer, client, first):
        first.abort()
        link = await peer.accept()
        await next_message(link)
        await client.connection.close()
        await cancel_and_wait(client.reader)
        await link.closed()


@run_async
async def test_one_that_came_back_while_it_was_closed_is_closed_too() -> None:
    async with connected() as (peer, client, first):
        first.abort()
        link = await peer.accept()
        before = client.connection._connection
        closing = asyncio.create_task(client.connection.close())
        await welcome(link, TOKENS[1])
        await until(lambda: client.connection._connection is not before or closing.done())
        await closing
        await cancel_and_wait(client.reader)
        await link.closed()


@run_async
async def test_whether_it_speaks_is_known_from_what_was_said() -> None:
    async with connected() as (_, client, _):
        speaking = [client.connection.is_speaking]
        await client.chunk(0)
        speaking.append(client.connection.is_speaking)
        await client.chunk(1, final=True)
        assert [*speaking, client.connection.is_speaking] == [False, True, False]
