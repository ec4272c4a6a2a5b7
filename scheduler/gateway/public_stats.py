"""The snapshot on the public port, where dashboards in the field expect it."""

import contextlib
import os
import time
from http import HTTPStatus
from pathlib import Path

from scheduler.gateway.handshake import HttpResponse

LOOK_INTERVAL_NS = 1_000_000_000


class PublicStats:
    """Serves the stats process's file as it stands.

    It is looked at once a second at most, and read only when it was replaced: who asks more often
    gets what is in memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._body = b""
        self._look_at_ns = 0

    def respond(self) -> HttpResponse:
        """Return the snapshot, or 503 before there is one."""
        now_ns = time.monotonic_ns()
        if now_ns >= self._look_at_ns:
            self._look_at_ns = now_ns + LOOK_INTERVAL_NS
            self._look()
        if not self._body:
            return HttpResponse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "application/json",
                b'{"error":"no snapshot has been published yet"}',
            )
        return HttpResponse(HTTPStatus.OK, "application/json", self._body)

    def _look(self) -> None:
        with contextlib.suppress(OSError):  # not there yet: what was there last stays
            found = os.stat(self._path)
            version = (found.st_ino, found.st_mtime_ns)
            if version != self._version:
                self._body = self._path.read_bytes()
                self._version = version
