"""Sessions and nodes as those in the field are: raw WebSockets that speak JSON.

They share nothing with the SDK, so that a misunderstanding there can't hide one in the server.
"""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

DEADLINE_SECONDS = 15.0
MESSAGE_BYTES_MAX = 64 << 20

ASR, NMT, TTS = "node-inference", "nmt-m2m100", "piper-tts"
CORE_SERVICES = (ASR, NMT, TTS)

Message = dict[str, Any]


class Peer:
    """One WebSocket. Messages stay unread until they are asked for, in any order."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.unread: list[Message] = []
        self._news = asyncio.Event()
        self._ended = False
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for data in self._socket:
                message: Message = json.loads(data)
                self.unread.append(message)
                self._news.set()
                self._received(message)
        self._ended = True
        self._news.set()

    def _received(self, message: Message) -> None:
        """Look at a message when it comes."""

    async def send(self, kind: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def send_raw(self, data: str | bytes, *, text: bool | None = None) -> None:
        await self._socket.send(data, text=text)

    async def expect(self, kind: str, **fields: Any) -> Message:
        """Return the first unread message of that type and those fields, and wait for one."""
        wanted = {"type": kind, **fields}
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while True:
                    for position, message in enumerate(self.unread):
                        if all(message.get(name) == value for name, value in wanted.items()):
                            return self.unread.pop(position)
                    assert not self._ended, self._failure(wanted)
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(self._failure(wanted)) from None

    async def next(self) -> Message | None:
        """Return the oldest unread message, and wait for one; None once the socket is closed."""
        while not self.unread:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        return self.unread.pop(0)

    def _failure(self, wanted: Message) -> str:
        state = f"closed with {self._socket.close_code}" if self._ended else "open"
        return f"{wanted} did not come; {state}; unread: {json.dumps(self.unread)[:4_000]}"

    def take_unread(self) -> list[Message]:
        """Return all unread messages and have none."""
        taken, self.unread = self.unread, []
        return taken

    @property
    def is_closed(self) -> bool:
        return self._ended

    async def closed(self) -> int | None:
        """Wait until the server closed the socket; return the code."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.shield(self._reader)
        return self._socket.close_code

    def pause(self) -> None:
        """Stop reading from the socket, as a peer that hangs."""
        self._socket.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._socket.transport.resume_reading()

    async def close(self) -> None:
        # Else the server has begun to close. websockets would then abort the transport, which
        # asyncio of Python 3.11 can't do once it was closed with data that was sent afterwards.
        if self._socket.state is State.OPEN:
            await self._socket.close()
        await self.closed()

    async def abort(self) -> None:
        """Be gone without a goodbye, as a peer whose process was killed."""
        self._socket.transport.abort()
        await self._reader


def encoded(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


# --- sessions ------------------------------------------------------------------------------

INIT: Message = {
    # As the web client in the field sends it, nulls included.
    "client_version": "1.0.0",
    "platform": "web",
    "src_lang": "zh",
    "tgt_lang": "en",
    "dialect": None,
    "features": None,
    "pairing_code": None,
    "tenant_id": None,
    "mode": None,
    "lang_a": None,
    "lang_b": None,
    "auto_langs": None,
    "trace_id": None,
}


class FakeSession(Peer):
    """A web client."""

    session_id = ""
    trace_id = ""

    async def init(self, **fields: Any) -> Message:
        """Open the session; return the ack."""
        await self.send("session_init", **{**INIT, **fields})
        ack = await self.expect("session_init_ack")
        self.session_id = ack["session_id"]
        self.trace_id = ack["trace_id"]
        return ack

    async def speak(self, index: int = 0, audio: bytes = b"speech", **fields: Any) -> None:
        """Send a whole utterance."""
        message = {
            "session_id": self.session_id,
            "utterance_index": index,
            "manual_cut": True,
            "src_lang": "zh",
            "tgt_lang": "en",
            "dialect": None,
            "features": None,
            "audio": encoded(audio),
            "audio_format": "pcm16",
            "sample_rate": 16_000,
        }
        await self.send("utterance", **{**message, **fields})

    async def chunk(
        self, audio: bytes | None, *, final: bool = False, seq: int = 0, **fields: Any
    ) -> None:
        """Send streamed audio, as existing web clients do: without a session_id."""
        payload = None if audio is None else encoded(audio)
        await self.send("audio_chunk", seq=seq, is_final=final, payload=payload, **fields)

    async def event(self, name: str, index: int = 0) -> Message:
        return await self.expect("ui_event", event=name, utterance_index=index)

    async def result(self, index: int = 0) -> Message:
        return await self.expect("translation_result", utterance_index=index)

    async def fence(self) -> None:
        """Return when everything sent so far has been handled by the gateway."""
        await self.send("client_heartbeat", session_id=self.session_id, timestamp=1)
        await self.expect("server_heartbeat")


@asynccontextmanager
async def raw_session(url: str, **options: Any) -> AsyncGenerator[FakeSession]:
    """A socket at /ws/session that has said nothing yet."""
    socket = await connect(url, proxy=None, max_size=MESSAGE_BYTES_MAX, **options)
    session = FakeSession(socket)
    try:
        yield session
    finally:
        await session.close()


@asynccontextmanager
async def a_session(url: str, **init: Any) -> AsyncGenerator[FakeSession]:
    """An open session."""
    async with raw_session(url) as session:
        await session.init(**init)
        yield session


# --- nodes ---------------------------------------------------------------------------------

USAGE: Message = {
    "cpu_percent": 10.0,
    "gpu_percent": None,
    "gpu_mem_percent": None,
    "mem_percent": 20.0,
    "running_jobs": 0,
}


def registration(services: tuple[str, ...] = CORE_SERVICES, **fields: Any) -> Message:
    """Return a `node_register` as agents in the field send it, nulls included."""
    message = {
        "node_id": None,
        "version": "2.0.0",
        "capability_schema_version": "1.0",
        "platform": "linux",
        "hardware": {
            "cpu_cores": 8,
            "memory_gb": 32,
            "gpus": [{"name": "test", "memory_gb": 8}],
        },
        "installed_models": [],
        "installed_services": installed(*services),
        "features_supported": {"emotion_detection": None},
        "advanced_features": None,
        "accept_public_jobs": True,
        "capability_state": None,
    }
    return {**message, **fields}


def installed(*services: str) -> list[Message]:
    return [{"service_id": name, "version": "1.0.0", "platform": "linux"} for name in services]


class FakeNode(Peer):
    """A worker. What it does with a job is its behaviour's business."""

    node_id = ""

    def __init__(self, socket: ClientConnection, behaviour: "Behaviour") -> None:
        self.behaviour = behaviour
        self.assigned: list[Message] = []
        """All `job_assign`s so far."""
        self._tasks: set[asyncio.Future[None]] = set()
        super().__init__(socket)

    def _received(self, message: Message) -> None:
        if message["type"] == "job_assign":
            self.assigned.append(message)
            task = asyncio.ensure_future(self.behaviour(self, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def register(self, services: tuple[str, ...] = CORE_SERVICES, **fields: Any) -> Message:
        """Join; return the ack."""
        await self.send("node_register", **registration(services, **fields))
        ack = await self.expect("node_register_ack")
        self.node_id = ack["node_id"]
        return ack

    async def heartbeat(self, usage: Message | None = None, **fields: Any) -> None:
        await self.send(
            "node_heartbeat",
            node_id=self.node_id,
            timestamp=1,
            resource_usage={**USAGE, **(usage or {})},
            **fields,
        )

    async def status(self, name: str) -> Message:
        return await self.expect("node_status", status=name)

    async def become_ready(self, beats: int = 1) -> None:
        for _ in range(beats):
            await self.heartbeat()
        await self.status("ready")

    async def job(self, index: int | None = None) -> Message:
        """Return the next job that has not been asked for yet."""
        fields = {} if index is None else {"utterance_index": index}
        return await self.expect("job_assign", **fields)

    async def complete(self, job: Message, **fields: Any) -> None:
        """Send a successful result."""
        result = {
            "success": True,
            "text_asr": "asr",
            "text_translated": "translated",
            "tts_audio": encoded(b"tts"),
            "tts_format": "pcm16",
            "extra": None,
            "processing_time_ms": 5,
            "error": None,
        }
        await self.send("job_result", **{**self._about(job), **result, **fields})

    async def fail(self, job: Message, code: str, message: str = "no", **error: Any) -> None:
        """Send a failed result."""
        await self.send(
            "job_result",
            **self._about(job),
            success=False,
            error={"code": code, "message": message, **error},
        )

    def _about(self, job: Message) -> Message:
        names = ("job_id", "attempt_id", "session_id", "utterance_index", "trace_id")
        return {"node_id": self.node_id, **{name: job[name] for name in names}}

    async def partial(self, job: Message, text: str, *, final: bool = False) -> None:
        about = self._about(job)
        del about["attempt_id"]
        await self.send("asr_partial", **about, text=text, is_final=final)

    async def pairing_code(self) -> str:
        await self.send("request_pairing_code")
        code: str = (await self.expect("pairing_code"))["code"]
        return code

    async def fence(self) -> None:
        """Return when everything sent so far has been to the dispatcher and back."""
        await self.pairing_code()

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await super().close()


Behaviour = Callable[[FakeNode, Message], Awaitable[None]]


async def answer(node: FakeNode, job: Message) -> None:
    """Complete the job at once."""
    with suppress(ConnectionClosed):
        await node.complete(job)


async def hold(node: FakeNode, job: Message) -> None:
    """Leave the job to the test, or for ever."""


def failing(code: str, **error: Any) -> Behaviour:
    """Fail the job at once."""

    async def fail(node: FakeNode, job: Message) -> None:
        with suppress(ConnectionClosed):
            await node.fail(job, code, **error)

    return fail


def answer_after(seconds: float) -> Behaviour:
    """Complete the job a little later."""

    async def work(node: FakeNode, job: Message) -> None:
        await asyncio.sleep(seconds)
        await answer(node, job)

    return work


async def echo(node: FakeNode, job: Message) -> None:
    """Send the audio back as speech."""
    with suppress(ConnectionClosed):
        await node.complete(job, tts_audio=job["audio"], text_asr=job["trace_id"])


@asynccontextmanager
async def raw_node(
    url: str, behaviour: Behaviour = answer, **options: Any
) -> AsyncGenerator[FakeNode]:
    """A socket at /ws/node that has said nothing yet."""
    socket = await connect(url, proxy=None, max_size=MESSAGE_BYTES_MAX, **options)
    node = FakeNode(socket, behaviour)
    try:
        yield node
    finally:
        await node.close()


@asynccontextmanager
async def a_node(
    url: str,
    behaviour: Behaviour = answer,
    services: tuple[str, ...] = CORE_SERVICES,
    *,
    beats: int = 1,
    **register: Any,
) -> AsyncGenerator[FakeNode]:
    """A node that is ready for jobs after `beats` heartbeats."""
    async with raw_node(url, behaviour) as node:
        await node.register(services, **register)
        await node.become_ready(beats)
        yield node


async def until(condition: Callable[[], object], what: str) -> None:
    """Poll until `condition()` is true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_SECONDS
    while not condition():
        assert loop.time() < deadline, f"did not come true: {what}"
        await asyncio.sleep(0.005)
