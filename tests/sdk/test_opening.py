import asyncio
from typing import Any

import pytest
from msgspec import Struct

from scheduler.protocol.session import SessionInit, SessionInitAck, SessionResume
from scheduler.sdk.connection import Connection
from scheduler.sdk.errors import ConnectionLost, Refused
from scheduler.sdk.messages import SessionEvent, session_event_decoder
from scheduler.sdk.opening import introduce
from tests.sdk.scripted_peer import Link, listening_peer, run_async

INIT = SessionInit(client_version="1", platform="python", src_lang="en", tgt_lang="es")
RESUME = SessionResume("sess-1", "0.0.secret", 3)
ACK: dict[str, Any] = {
    "type": "session_init_ack",
    "session_id": "sess-1",
    "assigned_node_id": None,
    "message": "",
    "trace_id": "t-1",
}


async def answered(
    first: SessionInit | SessionResume, *answers: dict[str, Any], seconds: float = 10
) -> tuple[SessionInitAck, dict[str, Any]]:
    """Return the ack, and what the peer was sent before it gave these answers."""

    async def serve(link: Link) -> dict[str, Any]:
        struct: Struct = first
        message = await link.receive(str(struct.__struct_config__.tag))
        for answer in answers:
            await link.send(**answer)
        return message

    async with listening_peer() as peer:
        connection: Connection[SessionEvent] = await Connection.open(
            peer.url, session_event_decoder
        )
        serving = asyncio.create_task(serve(await peer.accept()))
        try:
            return await introduce(connection, first, seconds), await serving
        finally:
            connection.abort()
            await asyncio.gather(serving, return_exceptions=True)


@run_async
async def test_the_answer_to_session_init_is_returned() -> None:
    ack, sent = await answered(INIT, ACK)
    assert (ack.session_id, ack.trace_id) == ("sess-1", "t-1")
    assert (sent["src_lang"], sent["tgt_lang"]) == ("en", "es")


@run_async
async def test_so_is_that_to_session_resume() -> None:
    ack, sent = await answered(RESUME, {**ACK, "resumed": True, "received_seq": None})
    assert (ack.resumed, ack.received_seq) == (True, None)
    assert sent == {
        "type": "session_resume",
        "session_id": "sess-1",
        "resume_token": "0.0.secret",
        "replies_received": 3,
    }


@run_async
async def test_a_refusal_is_raised_with_its_code_and_time() -> None:
    details = {"retry_after_ms": 250}
    error = {"type": "error", "code": "SERVER_BUSY", "message": "full", "details": details}
    with pytest.raises(Refused) as caught:
        await answered(RESUME, error)
    assert (caught.value.code, caught.value.retry_after_ms) == ("SERVER_BUSY", 250)


@run_async
async def test_something_else_is_no_answer() -> None:
    with pytest.raises(ConnectionLost, match="SessionCloseAck came instead of session_init_ack"):
        await answered(INIT, {"type": "session_close_ack", "session_id": "sess-1"})


@run_async
async def test_no_answer_is_not_waited_for_without_end() -> None:
    with pytest.raises(ConnectionLost, match=r"no answer to session_resume in 0\.01 s"):
        await answered(RESUME, seconds=0.01)


@run_async
async def test_a_socket_that_closes_is_lost() -> None:
    async with listening_peer() as peer:
        connection: Connection[SessionEvent] = await Connection.open(
            peer.url, session_event_decoder
        )
        await (await peer.accept()).close(1012, "service restart")
        with pytest.raises(ConnectionLost, match="1012 service restart"):
            await introduce(connection, INIT, 10)
