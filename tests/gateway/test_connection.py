"""Messages, RFC 6455 and closing, over real sockets on both event loops."""

import asyncio
import gc
import weakref
from typing import Any, cast

import pytest
from structlog.testing import CapturingLogger
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.gateway.sockets import (
    BINARY,
    CLOSE,
    LOOPS,
    PING,
    PONG,
    TEXT,
    RecordingPeer,
    RunLoop,
    Scenario,
    Site,
    close_frame,
    frame,
    run_on,
    serve,
    until,
)

CONT = 0


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> RunLoop:
    def run(scenario: Scenario) -> None:
        run_on(request.param, scenario)

    return run


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    logger = CapturingLogger()
    monkeypatch.setattr("scheduler.gateway.connection._log", logger)
    return logger


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
def test_a_client_gets_its_text_back(run: RunLoop, size: int) -> None:
    async def scenario() -> None:
        async with serve() as site, connect(site.url, max_size=None) as client:
            text = "é" * (size // 2) + "x" * (size % 2)
            await client.send(text)
            assert await client.recv() == text
            peer = await site.peer()
            assert peer.connection.peer_address == "127.0.0.1"
            assert peer.connection.is_open
        await until(lambda: not peer.connection.is_open)
        assert site.counters["messages_received_total"] == 1
        assert site.counters["messages_sent_total"] == 1
        assert site.counters["bytes_received_total"] > size
        assert site.counters["bytes_sent_total"] > size
        assert site.counters["handshakes_failed_total"] == 0

    run(scenario)


def test_binary_messages_are_told_from_text(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site, connect(site.url) as client:
            await client.send(b"\xff\xfe")
            await client.send("text")
            await client.recv()
            peer = await site.peer()
            assert peer.binaries == [b"\xff\xfe"]
            assert peer.texts == [b"text"]

    run(scenario)


def test_no_compression_is_negotiated(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site, connect(site.url, compression="deflate") as client:
            assert client.response is not None
            assert "Sec-WebSocket-Extensions" not in client.response.headers

    run(scenario)


def test_a_message_in_parts_arrives_as_one(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site, connect(site.url, max_size=None) as client:
            peer = await site.peer()
            audio = b"a" * 100_000
            peer.connection.send_parts((b'{"audio":"', audio, b'"}'))
            assert await client.recv(decode=False) == b'{"audio":"' + audio + b'"}'

    run(scenario)


class CountingTransport:
    """A real transport that counts the calls that write."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("write"):
            self.writes += 1
        return getattr(self.transport, name)


def test_messages_of_one_turn_leave_in_one_write(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site:
            raw = await site.raw_websocket()
            connection = (await site.peer()).connection
            transport = CountingTransport(connection._transport)
            connection._transport = cast(asyncio.Transport, transport)
            for text in (b"one", b"two", b"three"):
                connection.send(text)
            assert transport.writes == 0, "the turn isn't over"
            data = await raw.reader.read(1 << 16)
            assert data == b"\x81\x03one\x81\x03two\x81\x05three"
            assert transport.writes == 1

    run(scenario)


# --- RFC 6455 ----------------------------------------------------------------------------


def test_fragments_make_one_message_around_control_frames(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site:
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"caf\xc3", fin=False) + frame(PING, b"between"))
            assert await raw.frame() == (PONG, b"between")
            raw.send(frame(CONT, b"\xa9", fin=False) + frame(PONG) + frame(CONT, b"!"))
            assert await raw.frame() == (TEXT, "café!".encode())
            raw.send(frame(BINARY, b"\xff", fin=False) + frame(CONT, b"\x00"))
            peer = await site.peer()
            await until(lambda: peer.binaries == [b"\xff\x00"])

    run(scenario)


def test_frames_that_arrive_byte_by_byte_are_read(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site:
            raw = await site.raw_websocket()
            for byte in frame(TEXT, b"slowly"):
                raw.send(bytes((byte,)))
                await asyncio.sleep(0)
            assert await raw.frame() == (TEXT, b"slowly")

    run(scenario)


BROKEN = {
    "opcode 3": (frame(3), 1002),
    "opcode 11": (frame(11), 1002),
    "reserved bit": (frame(TEXT, b"x", reserved=4), 1002),
    "unmasked": (frame(TEXT, b"x", masked=False), 1002),
    "long control frame": (frame(PING, b"x" * 126), 1002),
    "fragmented control frame": (frame(PING, b"x", fin=False), 1002),
    "continuation of nothing": (frame(CONT, b"x"), 1002),
    "text inside a message": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "close code 1005": (close_frame(1005), 1002),
    "close code 999": (close_frame(999), 1002),
    "close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "close inside a message": (frame(TEXT, b"x", fin=False) + close_frame(1000), 1002),
    "close reason not UTF-8": (close_frame(1000, b"\xff"), 1007),
    "text not UTF-8": (frame(TEXT, b"\xff"), 1007),
    "surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "overlong": (frame(TEXT, b"\xc0\x80"), 1007),
    "UTF-8 cut off by the end": (frame(TEXT, b"x", fin=False) + frame(CONT, b"\xc3"), 1007),
}


@pytest.mark.parametrize(("sent", "code"), BROKEN.values(), ids=BROKEN)
def test_broken_frames_close_the_connection(run: RunLoop, sent: bytes, code: int) -> None:
    async def scenario() -> None:
        async with serve() as site:
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"before") + sent + frame(TEXT, b"after"))
            assert await raw.frame() == (TEXT, b"before")
            assert await raw.close_code() == code
            peer = await site.peer()
            assert peer.texts == [b"before"]

    run(scenario)


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_the_peers_close_is_echoed(run: RunLoop, code: int) -> None:
    async def scenario() -> None:
        async with serve(close_timeout_seconds=60) as site:
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"last") + close_frame(code) + frame(TEXT, b"too late"))
            assert await raw.frame() == (TEXT, b"last")
            assert await raw.close_code() == code
            await raw.close()
            await until(lambda: len(site.listener) == 0)
            assert site.peers[0].texts == [b"last"]

    run(scenario)


def test_an_empty_close_is_echoed(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site:
            raw = await site.raw_websocket()
            raw.send(frame(CLOSE))
            assert await raw.frame() == (CLOSE, b"")

    run(scenario)


# --- closing -----------------------------------------------------------------------------


def test_close_sends_what_was_queued_and_then_its_code(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(close_timeout_seconds=60) as site, connect(site.url) as client:
            peer = await site.peer()
            peer.connection.send(b"goodbye")
            peer.connection.close(1012, "é" * 100)
            peer.connection.close(1000, "repeated")
            peer.connection.send(b"dropped")
            assert not peer.connection.is_open
            assert await client.recv() == "goodbye"
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            assert closed.value.rcvd.reason == "é" * 61
            await until(lambda: len(site.listener) == 0)

    run(scenario)


def test_a_peer_may_close_from_its_own_handler(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site, connect(site.url) as client:
            peer = await site.peer()
            closed_meanwhile = []

            def answer(message: bytes) -> None:
                peer.connection.send(message)
                peer.connection.close(1000, "done")
                closed_meanwhile.append(peer.closed)

            peer.answer = answer
            await client.send("bye")
            assert await client.recv() == "bye"
            await client.wait_closed()
            assert client.close_code == 1000
            assert closed_meanwhile == [0], "not told while it is calling"

    run(scenario)


def test_closes_may_cross(run: RunLoop, log: CapturingLogger) -> None:
    async def scenario() -> None:
        async with serve() as site:
            raw = await site.raw_websocket()
            peer = await site.peer()
            peer.answer = lambda _: peer.connection.close(4000, "crossing")
            raw.send(frame(TEXT, b"x") + close_frame(1000))
            assert await raw.close_code() == 4000
            assert log.calls == []

    run(scenario)


def test_messages_after_our_close_are_dropped(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(close_timeout_seconds=60) as site:
            raw = await site.raw_websocket()
            peer = await site.peer()
            peer.connection.close(1000, "")
            raw.send(frame(TEXT, b"late") + close_frame(1000))
            assert await raw.close_code() == 1000
            await raw.close()
            await until(lambda: len(site.listener) == 0)
            assert peer.texts == []

    run(scenario)


def test_who_does_not_answer_a_close_is_cut_off(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(close_timeout_seconds=0.1) as site:
            await site.raw_websocket()
            peer = await site.peer()
            peer.connection.close(1000, "")
            await until(lambda: peer.closed == 1)
            await until(lambda: len(site.listener) == 0)

    run(scenario)


def test_half_close_sends_what_is_queued_and_ends(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(close_timeout_seconds=60) as site:
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"last words"))
            raw.writer.write_eof()
            assert await raw.frame() == (TEXT, b"last words")
            assert await raw.rest() == b""
            await until(lambda: len(site.listener) == 0)

    run(scenario)


def test_what_is_queued_at_the_end_of_the_stream_is_sent(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site:
            raw = await site.raw_websocket()
            connection = (await site.peer()).connection
            connection.send(b"queued")
            connection.eof_received()  # as the loop does it: told first, then closed
            connection._transport.close()
            assert await raw.frame() == (TEXT, b"queued")
            assert await raw.rest() == b""

    run(scenario)


def test_half_close_in_the_middle_of_a_frame_ends(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve(close_timeout_seconds=60) as site:
            raw = await site.raw_websocket()
            raw.send(frame(TEXT, b"never whole")[:-3])
            raw.writer.write_eof()
            assert await raw.rest() == b""
            await until(lambda: site.peers[0].closed == 1)
            assert site.peers[0].texts == []

    run(scenario)


def test_a_reset_is_noticed(run: RunLoop) -> None:
    async def scenario() -> None:
        async with serve() as site:
            raw = await site.raw_websocket()
            peer = await site.peer()
            raw.writer.transport.abort()
            await until(lambda: peer.closed == 1 and len(site.listener) == 0)
            peer.connection.send(b"to nobody")
            peer.connection.close(1000, "repeated")

    run(scenario)


def test_a_failing_handler_closes_only_its_own_connection(
    run: RunLoop, log: CapturingLogger
) -> None:
    async def scenario() -> None:
        async with serve() as site, connect(site.url) as victim:
            peer = await site.peer()

            def fail(_: bytes) -> None:
                raise KeyError("bug")

            peer.answer = fail
            async with connect(site.url) as other:
                await victim.send("x")
                await victim.wait_closed()
                assert victim.close_code == 1011
                assert [call.args for call in log.calls] == [("message handler failed",)]
                await other.send("still here")
                assert await other.recv() == "still here"

    run(scenario)


def test_nothing_keeps_a_lost_connection_alive(run: RunLoop) -> None:
    async def lost_connections(site: Site) -> list[weakref.ref[object]]:
        references: list[weakref.ref[object]] = []
        async with connect(site.url) as client:
            await client.send("x")
            await client.recv()
            connection = site.peers.pop().connection
            assert connection._inbound is not None
            references.append(weakref.ref(connection._inbound.protocol))
            references.append(weakref.ref(connection))
            del connection
        raw = await site.raw_websocket()
        peer = await _newest(site)
        references.append(weakref.ref(peer.connection))
        peer.connection.close(1000, "")
        raw.writer.transport.abort()
        del peer
        site.peers.clear()
        return references

    async def scenario() -> None:
        async with serve() as site:
            gc.disable()
            try:
                references = await lost_connections(site)
                await until(lambda: all(reference() is None for reference in references))
            finally:
                gc.enable()

    run(scenario)


async def _newest(site: Site) -> RecordingPeer:
    await until(lambda: bool(site.peers))
    return site.peers[-1]
