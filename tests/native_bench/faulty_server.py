"""A scheduler that does one thing wrong, for checks that the load driver notices it."""

import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Message = dict[str, Any]

EVERY = 5
"""So many jobs go well before the next is spoiled."""

CODE = "NODE_OVERLOADED"


class FaultySession:
    """A session's socket, and the result that is held back."""

    def __init__(self, socket: ServerConnection, number: int) -> None:
        self.socket = socket
        self.id = f"sess-{number:08X}"
        self.held: Message | None = None


class FaultyServer:
    """Each session has its node, so that results come in order. `fault` is of FAULTS, or "none"."""

    def __init__(self, fault: str, write: Callable[[Message], str] = json.dumps) -> None:
        self._fault = fault
        self._write = write
        self._sessions: dict[str, FaultySession] = {}
        self._nodes: list[ServerConnection] = []
        self._jobs = itertools.count()
        self._results = itertools.count(1)
        self._lost: list[Message] = []
        self._done: set[str] = set()

    async def serve(self, socket: ServerConnection) -> None:
        """Serve one connection."""
        assert socket.request is not None
        is_node = socket.request.path == "/ws/node"
        try:
            async for text in socket:
                message = json.loads(text)
                await (self._node if is_node else self._session)(socket, message)
        except ConnectionClosed:
            pass  # spoiled sockets end so

    async def _send(self, socket: ServerConnection, type_: str, **fields: object) -> None:
        await socket.send(self._write({"type": type_, **fields}))

    async def _node(self, socket: ServerConnection, message: Message) -> None:
        match message["type"]:
            case "node_register":
                self._nodes.append(socket)
                node_id = f"node-{len(self._nodes)}"
                await self._send(socket, "node_register_ack", node_id=node_id, message="welcome")
            case "node_heartbeat":
                await self._send(
                    socket, "node_status", node_id=message["node_id"], status="ready", timestamp=0
                )
            case "job_result":
                await self._result(message, next(self._results))

    async def _session(self, socket: ServerConnection, message: Message) -> None:
        match message["type"]:
            case "session_init":
                session = FaultySession(socket, len(self._sessions))
                self._sessions[session.id] = session
                await self._send(socket, "session_init_ack", session_id=session.id, trace_id="t")
            case "utterance":
                await self._assign(message)
            case "session_close":
                await self._send(socket, "session_close_ack", session_id=message["session_id"])
                await socket.close()

    async def _assign(self, utterance: Message) -> None:
        job = next(self._jobs)
        spoiled = job % EVERY == EVERY - 1
        fields = {
            **{key: utterance[key] for key in ("session_id", "utterance_index", "audio")},
            "job_id": f"job-{job}",
            "attempt_id": 2 if spoiled and self._fault == "retry" else 1,
            "trace_id": "t",
        }
        if spoiled and self._fault == "spoil audio":
            fields["audio"] = fields["audio"][:-4] + "AAAA"
        number = list(self._sessions).index(utterance["session_id"])
        node = self._nodes[number % len(self._nodes)]
        for _ in range(2 if spoiled and self._fault == "assign twice" else 1):
            await self._send(node, "job_assign", **fields)

    async def _result(self, result: Message, number: int) -> None:
        if result["job_id"] in self._done:
            return
        self._done.add(result["job_id"])
        session = self._sessions[result["session_id"]]
        if number % EVERY or self._fault in ("none", "retry", "assign twice", "spoil audio"):
            await self._reply(session, result)
            if session.held is not None:
                held, session.held = session.held, None
                await self._reply(session, held)
            return
        match self._fault:
            case "duplicate":
                await self._reply(session, result)
                await self._reply(session, result)
            case "reorder":
                session.held = result
            case "cross texts":
                other = {"text_asr": result["text_asr"].replace(" said ", " said 1")}
                await self._reply(session, {**result, **other})
            case "spoil speech":
                await self._reply(session, {**result, "tts_audio": "AAAA" + result["tts_audio"]})
            case "cross sessions":
                other_id = next(id_ for id_ in self._sessions if id_ != session.id)
                await self._reply(self._sessions[other_id], result)
            case "invent":
                await self._reply(session, result)
                await self._reply(session, {**result, "utterance_index": 10**9})
            case "fail":
                details = {"job_id": "job-1", "utterance_index": result["utterance_index"]}
                await self._send(session.socket, "error", code=CODE, message="", details=details)
            case "close":
                await session.socket.close()
            case "lose":
                self._lost.append(result)

    async def answer_lost(self) -> None:
        """Send what was lost after all."""
        for result in self._lost:
            await self._reply(self._sessions[result["session_id"]], result)

    async def close_one(self) -> None:
        """Close the socket of one session."""
        await next(iter(self._sessions.values())).socket.close()

    async def close_all(self) -> None:
        """Close the sockets of all sessions."""
        for session in self._sessions.values():
            await session.socket.close()

    async def _reply(self, session: FaultySession, result: Message) -> None:
        keys = (
            *("session_id", "utterance_index", "job_id", "trace_id"),
            *("text_asr", "text_translated", "tts_audio", "tts_format"),
        )
        await self._send(session.socket, "translation_result", **{key: result[key] for key in keys})


FAULTS = {
    "duplicate": "duplicated",
    "reorder": "out_of_order",
    "cross texts": "crossed",
    "cross sessions": "crossed",
    "invent": "crossed",
    "spoil speech": "crossed",
    "spoil audio": "wrong_audio",
    "assign twice": "assigned_twice",
    "retry": "retried",
    "lose": "lost",
    "fail": "failed",
    "close": "closed",
}
"""What can be wrong, and the driver's count of it."""


@asynccontextmanager
async def serving(server: FaultyServer) -> AsyncIterator[int]:
    """Serve on a free port; yields it."""
    async with serve(server.serve, "127.0.0.1", 0, compression=None) as listening:
        yield next(iter(listening.sockets)).getsockname()[1]
        await server.close_all()
