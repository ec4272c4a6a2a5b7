"""Operators' commands to the dispatcher, over a pipe of their own.

The dispatcher doesn't answer: whether a command makes sense is judged here by the node table, and
what came of it is seen there.
"""

from collections import Counter
from collections.abc import Callable
from typing import Annotated

import msgspec
import structlog
from aiohttp import web
from msgspec import Meta, Struct

from scheduler.errors import ChannelClosed, ChannelFull
from scheduler.ipc.channel import Channel
from scheduler.memory.layout import NODE_ID_BYTES_MAX, NODES
from scheduler.memory.views import Views
from scheduler.protocol.records import DrainNode
from scheduler.protocol.status import Status
from scheduler.stats.admin import AdminGate
from scheduler.stats.responses import problem

log = structlog.get_logger(__name__)

QUEUE_BYTES_MAX = 64 << 10
REASON_CHARS_MAX = 200
REASON_DEFAULT = "asked for by an operator"


class CommandRequest(Struct, frozen=True):
    """What may come with a command; the node is told the reason."""

    reason: Annotated[str, Meta(max_length=REASON_CHARS_MAX)] | None = None


class Accepted(Struct, frozen=True):
    """The command is on its way; the node table shows what comes of it."""

    accepted: bool = True


class CommandPipe:
    """The pipe to the dispatcher that runs now."""

    def __init__(self) -> None:
        self._channel: Channel[DrainNode] | None = None

    def attach(self, read_fd: int, write_fd: int) -> None:
        """Use new pipes: the dispatcher at the other end of the old ones is gone."""
        self.close()
        self._channel = Channel(read_fd, write_fd, DrainNode, queue_bytes_max=QUEUE_BYTES_MAX)

    def send(self, record: DrainNode) -> None:
        """Send a command. Raises ChannelClosed or ChannelFull where nobody takes it."""
        if self._channel is None:
            raise ChannelClosed("there is no dispatcher now")
        self._channel.queue(record)
        if not self._channel.flush():
            raise ChannelFull("the dispatcher is behind")

    def close(self) -> None:
        """Close the pipes, if there are any."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


class NodeCommands:
    """Drains and resumes nodes."""

    def __init__(
        self,
        gate: AdminGate,
        pipe: CommandPipe,
        views: Views,
        note: Callable[[str, str], None],
    ) -> None:
        """`note(kind, text)` keeps what was commanded for operators to see."""
        self._gate = gate
        self._pipe = pipe
        self._views = views
        self._note = note
        self.sent: Counter[str] = Counter()

    async def drain(self, request: web.Request) -> web.Response:
        """Give a node no more jobs."""
        return await self._command(request, on=True)

    async def resume(self, request: web.Request) -> web.Response:
        """Let a drained node prove its health for jobs again."""
        return await self._command(request, on=False)

    async def _command(self, request: web.Request, *, on: bool) -> web.Response:
        refusal = self._gate.refusal(request)
        if refusal is not None:
            return refusal
        try:
            asked = _decode(await request.read())
        except (ValueError, RecursionError) as error:
            return problem(400, "Bad Request", detail=str(error))
        node_id = request.match_info["id"]
        found = self._find(node_id)
        if found is None:
            return problem(404, "Not Found", detail=f"there is no node {node_id}")
        ref, status = found
        if status == Status.OFFLINE or (status == Status.DRAINING) == on:
            return problem(409, "Conflict", detail=f"the node is {status.wire}")
        return self._send(node_id, DrainNode(ref, on, asked.reason or REASON_DEFAULT))

    def _send(self, node_id: str, record: DrainNode) -> web.Response:
        try:
            self._pipe.send(record)
        except (ChannelClosed, ChannelFull) as error:
            response = problem(503, "Service Unavailable", detail=f"{error}; try again")
            response.headers["Retry-After"] = "1"
            return response
        name = "drain" if record.on else "resume"
        self.sent[name] += 1
        self._note("command", f"{name} {node_id}: {record.reason}")
        log.info("operator's command", command=name, node_id=node_id, reason=record.reason)
        return web.Response(
            status=202, body=msgspec.json.encode(Accepted()), content_type="application/json"
        )

    def _find(self, node_id: str) -> tuple[int, Status] | None:
        """Return reference and status of a node as they are now."""
        name = node_id.encode(errors="surrogateescape")
        if not name or len(name) > NODE_ID_BYTES_MAX or b"\0" in name:
            return None
        column = self._views.column
        for slot in (column(NODES.name, "node_id") == name).nonzero()[0].tolist():
            status = Status(int(column(NODES.name, "status")[slot]))
            if status != Status.FREE:
                return int(column(NODES.name, "ref")[slot]), status
        return None


def _decode(body: bytes) -> CommandRequest:
    """Raise ValueError or RecursionError for what is no CommandRequest."""
    return msgspec.json.decode(body, type=CommandRequest) if body else CommandRequest()
