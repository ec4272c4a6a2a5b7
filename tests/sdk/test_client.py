import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from scheduler.protocol.session import (
    AsrPartial,
    Features,
    ServerHeartbeat,
    TranslationResult,
    UiEvent,
)
from scheduler.sdk import client as client_module
from scheduler.sdk.client import SessionClient
from scheduler.sdk.errors import ConnectionLost, Refused, SessionError
from tests.sdk.scripted_peer import Link, listening_peer, run_async, until


@asynccontextmanager
async def session_and_link(**options: Any) -> AsyncGenerator[tuple[SessionClient, Link]]:
    """A session whose peer acknowledges its closing."""
    async with listening_peer() as peer:
        opening = asyncio.create_task(open_link(peer.accept))
        async with SessionClient.connect(
            peer.url, src_lang="en", tgt_lang="es", **options
        ) as session:
            link = await opening
            yield session, link
            closing = asyncio.create_task(link.close_session())
            await session.close()
            with suppress(ConnectionClosed):  # the test closed it itself
                await closing


async def open_link(accept: Callable[[], Coroutine[Any, Any, Link]]) -> Link:
    link = await accept()
    await link.welcome_session()
    return link


@run_async
async def test_opening_sends_the_session_init_of_the_protocol() -> None:
    async with listening_peer() as peer:

        async def serve() -> dict[str, Any]:
            link = await peer.accept()
            init = await link.receive("session_init")
            await link.send(
                type="session_init_ack",
                session_id="sess-7",
                assigned_node_id="node-3",
                message="",
                trace_id="t",
                something_new=1,
            )
            await link.close_session()
            return init

        served = asyncio.create_task(serve())
        async with SessionClient.connect(
            peer.url,
            src_lang="en",
            tgt_lang="es",
            pairing_code="123456",
            features=Features(emotion_detection=True),
        ) as session:
            assert session.session_id == "sess-7"
            assert session.assigned_node_id == "node-3"
        init = await served
    given = {name: value for name, value in init.items() if value is not None}
    given["features"] = {k: v for k, v in given["features"].items() if v is not None}
    assert given.pop("client_version")
    assert given == {
        "type": "session_init",
        "platform": "python",
        "src_lang": "en",
        "tgt_lang": "es",
        "pairing_code": "123456",
        "features": {"emotion_detection": True},
        "audio_format": "pcm16",
        "sample_rate": 16000,
    }


@run_async
async def test_a_refused_session_raises_its_code_and_details() -> None:
    async with listening_peer() as peer:

        async def serve() -> None:
            link = await peer.accept()
            await link.receive("session_init")
            await link.send(
                type="error", code="SERVER_BUSY", message="full", details={"retry_after_ms": 250}
            )

        served = asyncio.create_task(serve())
        with pytest.raises(Refused, match="SERVER_BUSY: full") as refusal:
            async with SessionClient.connect(peer.url, src_lang="en", tgt_lang="es"):
                pytest.fail("the session opened")
        assert refusal.value.retry_after_ms == 250
        await served


@pytest.mark.parametrize(
    ("url", "says"), [("http://x/", "is no WebSocket address"), ("ws://127.0.0.1:1/", "can't conn")]
)
def test_an_address_that_does_not_work_is_said_plainly(url: str, says: str) -> None:
    async def main() -> None:
        async with SessionClient.connect(url, src_lang="en", tgt_lang="es"):
            pytest.fail("the session opened")

    with pytest.raises(ConnectionLost, match=says):
        asyncio.run(main())


@run_async
async def test_an_utterance_gets_its_result_with_audio_as_bytes() -> None:
    async with session_and_link() as (session, link):
        index = await session.send_utterance(b"\x00\x01\xff", request_id="r-1")
        sent = await link.receive("utterance")
        assert index == sent["utterance_index"] == 0
        assert (sent["session_id"], sent["audio"], sent["request_id"]) == ("sess-1", "AAH/", "r-1")
        assert (sent["audio_format"], sent["sample_rate"]) == ("pcm16", 16000)
        assert (sent["src_lang"], sent["tgt_lang"], sent["manual_cut"]) == ("en", "es", True)
        await link.result(0, extra={"tts_sample_rate": 22050}, unknown="ignored")
        result = await session.result_for(index)
        assert (result.text_asr, result.text_translated) == ("hello", "hola")
        assert result.tts_audio == b"\x00\x01\x02"
        assert result.extra == {"tts_sample_rate": 22050}
        assert await session.result_for(index) == result


@run_async
async def test_indices_count_up_and_follow_explicit_ones() -> None:
    async with session_and_link() as (session, link):
        assert await session.send_utterance(b"a") == 0
        assert await session.send_utterance(b"b", utterance_index=7) == 7
        assert await session.send_utterance(b"c") == 8
        assert await session.send_utterance(b"d", utterance_index=3) == 3
        assert await session.send_utterance(b"e") == 9
        for index in (0, 7, 8, 3, 9):
            assert (await link.receive("utterance"))["utterance_index"] == index


@run_async
async def test_a_failure_carries_code_message_and_hint() -> None:
    async with session_and_link() as (session, link):
        await session.send_utterance(b"a")
        await link.receive("utterance")
        await link.event("ERROR", 0, error_code="MODEL_NOT_AVAILABLE", hint="Please try later.")
        await link.send(
            type="error", code="MY_CODE", message="no es", details={"utterance_index": 0}
        )
        with pytest.raises(SessionError) as failure:
            await session.result_for(0)
        assert failure.value.code == "MY_CODE"
        assert failure.value.message == "no es"
        assert failure.value.hint == "Please try later."


@run_async
async def test_waiters_end_when_the_connection_breaks() -> None:
    async with listening_peer() as peer:
        opening = asyncio.create_task(open_link(peer.accept))
        async with SessionClient.connect(peer.url, src_lang="en", tgt_lang="es") as session:
            link = await opening
            await session.send_utterance(b"a")
            waiting = asyncio.create_task(session.result_for(0))
            await link.receive("utterance")
            await link.close(1012, "service restart")
            with pytest.raises(ConnectionLost, match="1012 service restart"):
                await waiting
            with pytest.raises(ConnectionLost):
                await session.result_for(5)
            with pytest.raises(ConnectionLost):
                async for _ in session.events():
                    pass
            with pytest.raises(ConnectionLost):
                await session.send_utterance(b"b")


@run_async
async def test_events_arrive_typed_and_in_order_and_end_with_the_session() -> None:
    async with session_and_link() as (session, link):
        await link.event("DISPATCHED", 0, elapsed_ms=3)
        await link.send(
            type="asr_partial",
            session_id="sess-1",
            utterance_index=0,
            job_id="job-0",
            text="he",
            is_final=False,
            trace_id="t-1",
        )
        await link.send(type="of_another_version", session_id="sess-1")
        await link.result(0)
        await session.heartbeat()
        beat = await link.receive("client_heartbeat")
        assert beat["session_id"] == "sess-1"
        assert beat["timestamp"] > 1_600_000_000_000
        await link.send(type="server_heartbeat", session_id="sess-1", timestamp=5)
        kinds = []
        async for event in session.events():
            kinds.append(type(event))
            if isinstance(event, ServerHeartbeat):
                break
        assert kinds == [UiEvent, AsrPartial, TranslationResult, ServerHeartbeat]
        closing = asyncio.create_task(link.close_session())
        await session.close("bye")
        assert (await closing)["reason"] == "bye"
        assert [event.__class__.__name__ async for event in session.events()] == ["SessionCloseAck"]


@run_async
async def test_a_reader_that_is_behind_loses_old_events_but_no_outcome() -> None:
    async with session_and_link() as (session, link):
        await link.result(0)
        for index in range(client_module.EVENTS_MAX):
            await link.event("DISPATCHED", index)
        await until(lambda: session.events_dropped_total == 1, "the drop")
        assert (await session.result_for(0)).text_asr == "hello"
        async for event in session.events():
            assert isinstance(event, UiEvent)
            assert event.utterance_index == 0
            break


@run_async
async def test_streamed_audio_is_json_chunks_by_default_and_binary_on_demand() -> None:
    async with session_and_link() as (session, link):
        await session.send_audio(b"\x00\x01")
        await session.send_audio(b"\x02\x03", binary=True)
        assert await session.end_utterance() == 0
        first = await link.receive("audio_chunk")
        assert (first["seq"], first["is_final"], first["payload"]) == (0, False, "AAE=")
        assert await link.raw() == b"\x02\x03"
        last = await link.receive("audio_chunk")
        assert (last["seq"], last["is_final"], last["payload"]) == (1, True, None)
        await session.send_audio(b"\x04")
        assert await session.end_utterance() == 1


@run_async
async def test_an_utterance_cut_by_a_pause_is_counted() -> None:
    async with session_and_link() as (session, link):
        await session.send_audio(b"\x00\x01")
        pausing = asyncio.create_task(session.pause())
        await link.receive("audio_chunk")
        await link.event("DISPATCHED", 0)
        assert await pausing == 0
        assert await session.end_utterance() == 0, "nothing was said since the cut"
        await session.send_audio(b"\x02\x03")
        assert await session.end_utterance() == 1


@run_async
async def test_a_pause_ends_with_the_connection() -> None:
    async with listening_peer() as peer:
        opening = asyncio.create_task(open_link(peer.accept))
        async with SessionClient.connect(peer.url, src_lang="en", tgt_lang="es") as session:
            pausing = asyncio.create_task(session.pause())
            (await opening).abort()
            with pytest.raises(ConnectionLost, match="broke off"):
                await pausing


@run_async
async def test_tts_play_ended_names_the_group() -> None:
    async with session_and_link() as (session, link):
        await session.tts_play_ended("g-1", ts_end_ms=12)
        sent = await link.receive("tts_play_ended")
        assert sent == {
            "type": "tts_play_ended",
            "session_id": "sess-1",
            "trace_id": "t-1",
            "group_id": "g-1",
            "ts_end_ms": 12,
        }


@run_async
async def test_a_peer_that_speaks_no_json_ends_the_session() -> None:
    async with listening_peer() as peer:
        opening = asyncio.create_task(open_link(peer.accept))
        async with SessionClient.connect(peer.url, src_lang="en", tgt_lang="es") as session:
            await (await opening).send_raw("{not json")
            with pytest.raises(ConnectionLost, match="speaks no JSON"):
                await session.result_for(0)


@run_async
async def test_utterances_are_counted_right_though_their_parts_wait_for_the_next_socket() -> None:
    async def welcome(link: Link, asked: str, **fields: Any) -> None:
        await link.receive(asked)
        await link.send(
            type="session_init_ack",
            session_id="sess-1",
            assigned_node_id=None,
            message="",
            trace_id="t-1",
            resume_token="secret",  # noqa: S106 - of a peer that checks none
            resume_seconds=30,
            **fields,
        )

    async def come_back(link: Link, **fields: Any) -> None:
        await welcome(link, "session_resume", resumed=True, **fields)
        await link.receive("client_heartbeat")
        await link.send(type="server_heartbeat", session_id="sess-1", timestamp=1)

    async with listening_peer() as peer:
        opening = asyncio.create_task(peer.accept())
        connecting = SessionClient.connect(peer.url, src_lang="en", tgt_lang="es", resumable=True)
        entering = asyncio.create_task(connecting.__aenter__())
        link = await opening
        await welcome(link, "session_init")
        session = await entering
        await session.send_audio(b"one")
        await link.receive("audio_chunk")
        link.abort()
        link = await peer.accept()
        ending = asyncio.create_task(session.end_utterance())
        await come_back(link, received_seq=0, cut_seq=None, next_utterance_index=0)
        assert await ending == 0
        assert (await link.receive("audio_chunk"))["is_final"]
        link.abort()
        link = await peer.accept()
        speaking = asyncio.create_task(session.send_audio(b"two"))
        await come_back(link, received_seq=None, cut_seq=1, next_utterance_index=1)
        await speaking
        assert await session.end_utterance() == 1
        closing = asyncio.create_task(link.close_session())
        await connecting.__aexit__(None, None, None)
        await closing
