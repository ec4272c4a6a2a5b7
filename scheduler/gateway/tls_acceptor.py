"""Accepts sockets that are to speak TLS, and leads each through its handshake.

`create_server(ssl=...)` could do it, but tells of a socket only once its handshake is over: those
that never finish would be bounded by nothing but open files. It also holds on to one context, so
that new certificates would need a second server on the same port.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from scheduler.gateway.connection import Connection, ConnectionContext

_ACCEPTS_PER_TURN = 64
_PAUSE_SECONDS = 1.0
"""Without a file to spare there is no use in trying at once; who waits is in the kernel's queue."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = structlog.get_logger(__name__)


class TlsAcceptor:
    """The server on one listening socket."""

    def __init__(
        self,
        context: "ConnectionContext",
        listening: socket.socket,
        make_connection: Callable[[], "Connection"],
        tls: Callable[[], ssl.SSLContext],
    ) -> None:
        """Own `listening`, which must not block; `tls` is asked anew for each socket."""
        self._context = context
        self._listening = listening
        self._make_connection = make_connection
        self._tls = tls
        self._resuming: asyncio.TimerHandle | None = None
        self._resume()

    def close(self) -> None:
        """Accept nothing more; what was accepted stays. Harmless when repeated."""
        self._pause()
        if self._resuming is not None:
            self._resuming.cancel()
        self._listening.close()

    def _resume(self) -> None:
        self._resuming = None
        self._context.loop.add_reader(self._listening.fileno(), self._accept)

    def _pause(self) -> None:
        if self._listening.fileno() >= 0:
            self._context.loop.remove_reader(self._listening.fileno())

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                accepted, address = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    log.warning("can't accept connections", reason=error.strerror)
                    self._pause()
                    self._resuming = self._context.loop.call_later(_PAUSE_SECONDS, self._resume)
                    return
                continue  # the peer's doing: it is gone already
            self._begin(accepted, str(address[0]))

    def _begin(self, accepted: socket.socket, address: str) -> None:
        context = self._context
        if not context.has_room:
            accepted.close()
            context.counters.add("handshakes_failed_total")
            return
        accepted.setblocking(False)
        context.counters.add("connections")
        connection = self._make_connection()
        connection.count_address(address)
        task = context.loop.create_task(self._shake_hands(accepted, connection))
        context.openings.add(task)
        task.add_done_callback(partial(self._ended, connection))

    async def _shake_hands(self, accepted: socket.socket, connection: "Connection") -> None:
        limits = self._context.limits
        await self._context.loop.connect_accepted_socket(
            lambda: connection,
            accepted,
            ssl=self._tls(),
            ssl_handshake_timeout=limits.handshake_timeout_seconds,
            ssl_shutdown_timeout=limits.close_timeout_seconds,
        )

    def _ended(self, connection: "Connection", task: asyncio.Task[None]) -> None:
        """The connection counts from here on, or there is none."""
        self._context.openings.discard(task)
        self._context.counters.add("connections", -1)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            self._context.counters.add("handshakes_failed_total")
            connection.discount_address()
        if error is not None and not isinstance(error, OSError):  # that is: not TLS, not time
            log.error("TLS handshake failed", exc_info=error)
