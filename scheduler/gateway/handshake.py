"""The opening handshake, and the few plain HTTP requests that the public port answers.

Pure: bytes in, one reply out. Every connection starts here and takes one of three ways: it is
accepted as a WebSocket, served a page such as /health, or refused; the latter two then close.
"""

import logging
import random
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from http import HTTPStatus

import msgspec
from websockets.datastructures import Headers
from websockets.exceptions import (
    HeaderLineTooLong,
    InvalidHeader,
    RequestLineTooLong,
    TooManyHeaders,
)
from websockets.http11 import Request
from websockets.server import ServerProtocol

from scheduler.protocol.codes import ErrorCode

HEAD_BYTES_MAX = 16 << 10
"""A browser's request is about 1 KiB, with large cookies 8 KiB."""

HEADERS_MAX = 64
"""Twice those of a browser behind proxies. Each takes 3 us, and who sends it need be nobody."""

RETRY_AFTER_SECONDS = range(5, 11)
"""Those that are refused for want of room at the same time are told different ones."""

_VERSION = "Sec-WebSocket-Version"
_TOO_LARGE = (RequestLineTooLong, HeaderLineTooLong, TooManyHeaders)
_PROBLEM_CHARS_MAX = 200
_LINE_FEED = ord("\n")

# At INFO the library tells of every opened connection.
library_log = logging.getLogger("websockets.server")
library_log.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A plain answer, after which the connection closes."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self, *, head_only: bool = False) -> bytes:
        """Return the response as it goes over the wire; `head_only` answers HEAD."""
        fields = [
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Connection", "close"),
            *self.headers,
        ]
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in fields]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head if head_only else head + self.body


Responder = Callable[[], HttpResponse]


class Room(Enum):
    """Whether a socket that came may become a WebSocket."""

    FREE = "free"
    FULL = "full"
    """The gateway has too many sockets."""
    ADDRESS_FULL = "address full"
    """The peer's address has too many."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """What the public port lets in."""

    paths: AbstractSet[str]
    """Paths of WebSockets."""
    responders: Mapping[str, Responder]
    """Plain GET requests by path."""
    allowed_origins: AbstractSet[str]
    """Origins of browsers; empty: any."""
    reads_tokens: bool = False
    """Whether Authorization headers are looked at."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The connection is a WebSocket from here on."""

    reply: bytes
    path: str
    rest: bytes
    """What the client sent after its request."""
    bearer: str | None = None
    """The token of its Authorization header; None: there is none, or it isn't looked at."""


@dataclass(frozen=True, slots=True)
class Served:
    """A plain request was answered."""

    reply: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The connection won't become a WebSocket; `reply` says why."""

    reply: bytes
    code: ErrorCode | None = None
    """What it is refused for, where it isn't for the request itself."""


Outcome = Accepted | Served | Refused


class Handshake:
    """Reads one request. To be dropped after its outcome."""

    __slots__ = ("_entrance", "_head_bytes", "_lines", "_protocol")

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._head_bytes = 0
        self._lines = 0
        self._protocol = ServerProtocol(logger=library_log)

    def receive(self, data: bytes, *, room: Room) -> Outcome | None:
        """Take bytes; return None while the request is incomplete.

        Without room WebSockets are refused. Not to be called again after an outcome.
        """
        # Line by line: the library would go on to read what follows the request as frames, and
        # answer them ahead of the handshake.
        start = 0
        while start < len(data):
            end = data.find(b"\n", start) + 1 or len(data)
            self._protocol.receive_data(data[start:end])
            self._head_bytes += end - start
            self._lines += data[end - 1] == _LINE_FEED
            start = end
            for request in self._protocol.events_received():
                assert isinstance(request, Request)
                return self._answer(request, data[end:], room)
            problem = self._protocol.handshake_exc
            is_long = self._head_bytes > HEAD_BYTES_MAX or self._lines > 1 + HEADERS_MAX
            if is_long or isinstance(problem, _TOO_LARGE):
                return _refuse(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    f"the request, a line of it or the number of its headers is too large; "
                    f"{HEAD_BYTES_MAX} bytes in all and {HEADERS_MAX} headers are allowed",
                )
            if problem is not None:
                return _refuse(HTTPStatus.BAD_REQUEST, f"bad request: {_why(self._protocol)}")
        return None

    def _answer(self, request: Request, rest: bytes, room: Room) -> Outcome:
        if request.method not in {"GET", "HEAD"}:
            return _refuse(
                HTTPStatus.METHOD_NOT_ALLOWED, "only GET is allowed", ("Allow", "GET, HEAD")
            )
        path = request.path.partition("?")[0]
        responder = self._entrance.responders.get(path)
        if responder is not None:
            return Served(responder().encode(head_only=request.method == "HEAD"))
        if path not in self._entrance.paths:
            return _refuse(HTTPStatus.NOT_FOUND, "no such path")
        if room is not Room.FREE:
            return _no_room(room)
        if not self._origin_allowed(request.headers):
            return _refuse(HTTPStatus.FORBIDDEN, "this Origin may not connect")
        return self._upgrade(request, path, rest)

    def _origin_allowed(self, headers: Headers) -> bool:
        """Only browsers send an Origin; what sends none is not a page of another site."""
        allowed = self._entrance.allowed_origins
        return not allowed or set(headers.get_all("Origin")) <= allowed

    def _upgrade(self, request: Request, path: str, rest: bytes) -> Outcome:
        if len(request.headers.get_all("Host")) != 1:  # which the library leaves to us
            return _refuse(HTTPStatus.BAD_REQUEST, "a request needs one Host header")
        response = self._protocol.accept(request)
        status = HTTPStatus(response.status_code)
        if status is HTTPStatus.SWITCHING_PROTOCOLS:
            bearer = _bearer(request.headers) if self._entrance.reads_tokens else None
            return Accepted(response.serialize(), path, rest, bearer)
        kept = [
            (name, response.headers[name])
            for name in ("Allow", "Upgrade")
            if name in response.headers
        ]
        problem = self._protocol.handshake_exc
        if isinstance(problem, InvalidHeader) and problem.name == _VERSION:
            # RFC 6455 section 4.4: a client of another version learns which one to speak.
            status = HTTPStatus.UPGRADE_REQUIRED
            kept = [("Upgrade", "websocket"), (_VERSION, "13")]
        return _refuse(status, f"not a WebSocket handshake: {_why(self._protocol)}", *kept)


def _bearer(headers: Headers) -> str | None:
    """Return the token of the Authorization header; "", which none is, where there are several.

    Other schemes are not for us: a proxy in front may have asked for them.
    """
    shown = [
        token.strip()
        for value in headers.get_all("Authorization")
        for scheme, _, token in [value.partition(" ")]
        if scheme.lower() == "bearer"
    ]
    if not shown:
        return None
    return shown[0] if len(shown) == 1 else ""


def _no_room(room: Room) -> Refused:
    if room is Room.FULL:
        code, status = ErrorCode.SERVER_BUSY, HTTPStatus.SERVICE_UNAVAILABLE
        problem = "too many connections; try again in a moment"
    else:
        code, status = ErrorCode.RATE_LIMITED, HTTPStatus.TOO_MANY_REQUESTS
        problem = "too many connections of your address; close some, or try again in a moment"
    wait = ("Retry-After", str(random.choice(RETRY_AFTER_SECONDS)))  # noqa: S311 - no secret
    return Refused(_refuse(status, problem, wait).reply, code)


def _refuse(status: HTTPStatus, problem: str, *headers: tuple[str, str]) -> Refused:
    body = msgspec.json.encode({"error": problem})
    return Refused(HttpResponse(status, "application/json", body, headers).encode())


def _why(protocol: ServerProtocol) -> str:
    """Return what the library found wrong, down to the cause."""
    texts = []
    error: BaseException | None = protocol.handshake_exc
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return "; ".join(texts)[:_PROBLEM_CHARS_MAX]
