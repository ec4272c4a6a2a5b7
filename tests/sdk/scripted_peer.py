"""A WebSocket server that says what a test tells it to say."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec

from websockets.asyncio.server import ServerConnection, serve

DEADLINE_SECONDS = 10


class Link:
    """The peer's end of one accepted socket."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket

    async def raw(self) -> str | bytes:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._socket.recv()

    async def receive(self, kind: str) -> dict[str, Any]:
        """Return the next message of type `kind`; heartbeats nobody asks for are passed over."""
        while True:
            message: dict[str, Any] = json.loads(await self.raw())
            if message["type"] == kind:
                return message
            assert message["type"] == "node_heartbeat", message

    async def result_of(self, job_id: str) -> dict[str, Any]:
        """Pass over partials and return the job's result, which must be the next one."""
        while True:
            message: dict[str, Any] = json.loads(await self.raw())
            if message["type"] == "job_result":
                assert message["job_id"] == job_id
                return message

    async def send(self, **message: Any) -> None:
        await self._socket.send(json.dumps(message))

    async def send_raw(self, text: str) -> None:
        await self._socket.send(text)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._socket.close(code, reason)

    def abort(self) -> None:
        self._socket.transport.abort()

    async def closed(self) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._socket.wait_closed()

    # --- the usual opening moves ----------------------------------------------------------

    async def welcome_session(self) -> dict[str, Any]:
        init = await self.receive("session_init")
        await self.send(
            type="session_init_ack",
            session_id="sess-1",
            assigned_node_id=None,
            message="",
            trace_id="t-1",
        )
        return init

    async def take_speech(self) -> bytes:
        """Take the audio of one streamed utterance up to its end."""
        audio = b""
        while True:
            data = await self.raw()
            if isinstance(data, bytes):
                audio += data
                continue
            chunk = json.loads(data)
            assert chunk["type"] == "audio_chunk", chunk
            audio += base64.b64decode(chunk["payload"] or "")
            if chunk["is_final"]:
                return audio

    async def partial(self, index: int, text: str) -> None:
        await self.send(
            type="asr_partial",
            session_id="sess-1",
            utterance_index=index,
            job_id=f"job-{index}",
            text=text,
            is_final=False,
            trace_id="t-1",
        )

    async def close_session(self) -> dict[str, Any]:
        """Pass over everything up to the session's end and acknowledge that."""
        while True:
            data = await self.raw()
            message: dict[str, Any] = json.loads(data) if isinstance(data, str) else {}
            if message.get("type") == "session_close":
                await self.send(type="session_close_ack", session_id="sess-1")
                return message

    async def welcome_node(self, node_id: str = "node-1") -> dict[str, Any]:
        register = await self.receive("node_register")
        await self.send(type="node_register_ack", node_id=node_id, message="", status="registering")
        return register

    async def event(self, name: str, index: int, **more: Any) -> None:
        await self.send(
            type="ui_event",
            trace_id="t-1",
            session_id="sess-1",
            job_id=f"job-{index}",
            utterance_index=index,
            event=name,
            status="error" if name == "ERROR" else "ok",
            **more,
        )

    async def result(self, index: int, **more: Any) -> None:
        fields = {"text_asr": "hello", "text_translated": "hola", "tts_audio": "AAEC"}
        await self.send(
            type="translation_result",
            session_id="sess-1",
            utterance_index=index,
            job_id=f"job-{index}",
            tts_format="pcm16",
            trace_id="t-1",
            **fields | more,
        )

    async def assign(self, job_id: str = "job-1", attempt_id: int = 1, **more: Any) -> None:
        fields = {
            "session_id": "sess-1",
            "utterance_index": 0,
            "src_lang": "en",
            "tgt_lang": "es",
            "pipeline": {"use_asr": True, "use_nmt": True, "use_tts": True},
            "audio": "AAEC",
            "audio_format": "pcm16",
            "sample_rate": 16000,
            "trace_id": "t-1",
        }
        await self.send(type="job_assign", job_id=job_id, attempt_id=attempt_id, **fields | more)


class Peer:
    """Accepts sockets at `url` and hands them to the test one by one."""

    def __init__(self) -> None:
        self.url = ""
        self._links: asyncio.Queue[Link] = asyncio.Queue()

    async def _handle(self, socket: ServerConnection) -> None:
        await self._links.put(Link(socket))
        await socket.wait_closed()

    async def accept(self) -> Link:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._links.get()


@asynccontextmanager
async def listening_peer(port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Peer]:
    peer = Peer()
    async with serve(peer._handle, "127.0.0.1", port, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        peer.url = f"{'ws' if tls is None else 'wss'}://127.0.0.1:{port}/ws"
        yield peer


async def until(condition: Any, what: str = "the condition") -> None:
    """Poll until `condition()` is true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_SECONDS
    while not condition():
        assert loop.time() < deadline, f"{what} did not come true"
        await asyncio.sleep(0.002)


Params = ParamSpec("Params")


def run_async(test: Callable[Params, Coroutine[Any, Any, None]]) -> Callable[Params, None]:
    """Make an `async def` a test."""

    @wraps(test)
    def run(*args: Params.args, **kwargs: Params.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run
