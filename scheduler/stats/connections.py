"""The connections of operators: how many there may be, and how long each may keep us.

aiohttp bounds what it reads ahead of a connection, and how long one may take for a request. What
it leaves open is kept here: the number of connections, the size of a head as a whole, peers that
don't read what they asked for, and a log that anybody could fill with what is no HTTP.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web

from scheduler.stats.meter import RequestMeter
from scheduler.stats.responses import problem


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of the operators' port."""

    in_all: int = 256
    per_address: int = 128
    """All behind a proxy are one address, and so is all of this machine."""
    idle_seconds: float = 75.0
    """For the first request, its head, and between two: longer than proxies keep connections
    (nginx: 60 s), which would otherwise now and then use one that is just being closed."""
    body_seconds: float = 5.0
    """For a body, which nobody asks for, once the answer is sent."""
    look_seconds: float = 15.0
    look_bytes_min: int = 64 << 10
    """Who has not read so much of what waits for it, nor all of it, from look to look is cut."""


_HEADERS_MAX = 64
_HEAD_BYTES_MAX = 32 << 10
"""Of a request's line and headers: as much as nginx takes by default (4 buffers of 8 KiB)."""
_HEAD_END = b"\r\n\r\n"

_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n"
    b"Retry-After: 5\r\n\r\n"
)


class Door:
    """Lets connections in while there is room."""

    def __init__(
        self,
        server: web.Server,
        meter: RequestMeter,
        limits: ConnectionLimits = ConnectionLimits(),
    ) -> None:
        self.server = server
        self.meter = meter
        self.limits = limits
        self._by_address: Counter[str] = Counter()

    def new_connection(self) -> "OperatorConnection":
        """Return the protocol of a socket just accepted: the factory for `loop.create_server`."""
        return OperatorConnection(self)

    def enter(self, address: str) -> bool:
        """Return whether there is room for one more from `address`, and count it if so."""
        full = self.meter.connections >= self.limits.in_all
        if full or self._by_address[address] >= self.limits.per_address:
            self.meter.connections_refused_total += 1
            return False
        self.meter.connections += 1
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one less."""
        self.meter.connections -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


class OperatorConnection(web.RequestHandler):
    """aiohttp's connection, with an end to waiting for its peer."""

    __slots__ = ("_address", "_door", "_head_bytes", "_look", "_unread_bytes")

    def __init__(self, door: Door) -> None:
        options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": door.limits.idle_seconds,
            "lingering_time": door.limits.body_seconds,
            "max_headers": _HEADERS_MAX,
            "auto_decompress": False,
        }
        super().__init__(door.server, loop=asyncio.get_running_loop(), **options)
        self._door = door
        self._address: str | None = None
        self._head_bytes = 0
        """What has come of a head that is not whole."""
        self._look: asyncio.TimerHandle | None = None
        self._unread_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted."""
        transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        if not self._door.enter(address):
            transport.write(_BUSY)
            transport.close()
            return
        self._address = address
        # So that it is told of every unread byte, not only of more than fit a buffer.
        transport.set_write_buffer_limits(0)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The socket is gone."""
        self._stop_looking()
        if self._address is not None:
            self._door.leave(self._address)
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.transport is None or self.transport.is_closing():
            return
        room = _HEAD_BYTES_MAX - self._head_bytes
        if self._current_request is None and len(data) > room and data.find(_HEAD_END, 0, room) < 0:
            self._door.meter.bad_requests_total += 1
            self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()
            return
        requests = self._request_count
        super().data_received(data)
        is_head = self._current_request is None and self._request_count == requests
        self._head_bytes = self._head_bytes + len(data) if is_head else 0

    def pause_writing(self) -> None:
        """The peer doesn't read as fast as it is sent: don't wait for it without end."""
        super().pause_writing()
        if self.transport is not None:
            self._watch(self.transport)

    def resume_writing(self) -> None:
        """The peer has read everything."""
        self._stop_looking()
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP, without a word in the log."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        self._door.meter.bad_requests_total += 1
        response = problem(status, HTTPStatus(status).phrase, detail="this is no HTTP request")
        response.force_close()
        return response

    def _watch(self, transport: asyncio.Transport) -> None:
        # Not self.transport, which aiohttp forgets as soon as it closes it; but a socket is gone
        # only when its peer has read everything.
        self._unread_bytes = transport.get_write_buffer_size()
        self._look = self._loop.call_later(
            self._door.limits.look_seconds, self._cut_if_stuck, transport
        )

    def _cut_if_stuck(self, transport: asyncio.Transport) -> None:
        read = self._unread_bytes - transport.get_write_buffer_size()
        if read < self._door.limits.look_bytes_min:
            self._door.meter.slow_readers_cut_total += 1
            transport.abort()
        else:
            self._watch(transport)

    def _stop_looking(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
