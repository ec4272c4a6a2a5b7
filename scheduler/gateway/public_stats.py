"""The snapshot on the public port, where dashboards in the field expect it."""

import os
from http import HTTPStatus
from pathlib import Path

from scheduler.gateway.handshake import HttpResponse


class PublicStats:
    """Serves the stats process's file as it stands, read again only when it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._body = b""

    def respond(self) -> HttpResponse:
        """Return the snapshot, or 503 before there is one."""
        try:
            found = os.stat(self._path)
            version = (found.st_ino, found.st_mtime_ns)
            if version != self._version:
                self._body = self._path.read_bytes()
                self._version = version
        except OSError:
            return HttpResponse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "application/json",
                b'{"error":"no snapshot has been published yet"}',
            )
        return HttpResponse(HTTPStatus.OK, "application/json", self._body)
