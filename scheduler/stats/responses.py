"""What all answers have in common: problems, tags and compression."""

import gzip
import hashlib
import time
from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from typing import Generic, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

_GZIP_BYTES_MIN = 1_024
"""Below it the headers are longer than what compression saves."""

_GZIP_LEVEL = 1
"""Halves the time of level 6 and costs a tenth more bytes on snapshots."""


RECENT_SECONDS = 0.25
"""Far less than anybody waits between two looks."""

RECENT_MAX = 8
"""Answers kept; those who ask may not choose how many there are."""

Answer = TypeVar("Answer")


class Problem(Struct, frozen=True):
    """An error, in the form of RFC 9457; some have further members."""

    title: str
    status: int
    detail: str = ""


def problem(status: int, title: str, **details: object) -> web.Response:
    """Return an error in the form of RFC 9457."""
    return web.Response(
        status=status,
        body=msgspec.json.encode({"title": title, "status": status, **details}),
        content_type=PROBLEM_JSON,
    )


class Prepared:
    """Bytes that many requests get: tagged and compressed at most once."""

    def __init__(self, data: bytes, content_type: str = JSON) -> None:
        self.data = data
        self.content_type = content_type

    @cached_property
    def etag(self) -> str:
        """The tag of the plain form."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    @cached_property
    def gzipped(self) -> bytes:
        """The compressed form; the same bytes for the same data."""
        return gzip.compress(self.data, _GZIP_LEVEL, mtime=0)

    def respond(
        self, request: web.Request, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        """Return the bytes in a form that the client takes, or 304 where it has them."""
        compressed = len(self.data) >= _GZIP_BYTES_MIN and _takes_gzip(request)
        etag = f"{self.etag}-gzip" if compressed else self.etag
        known = request.if_none_match or ()
        if any(tag.value in {etag, "*"} for tag in known):
            response = web.Response(status=304)
        else:
            response = web.Response(
                body=self.gzipped if compressed else self.data, content_type=self.content_type
            )
            if compressed:
                response.headers["Content-Encoding"] = "gzip"
            if self.content_type.startswith("text/"):
                response.charset = "utf-8"
        response.etag = etag
        # Kept, but asked about each time: it changes with every refresh or upgrade.
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Vary"] = "Accept-Encoding"
        response.headers.update(headers or {})
        return response


class Recent(Generic[Answer]):
    """What was worked out a moment ago, so that all who ask at once cost as much as one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        self._made: dict[Hashable, tuple[float, Answer]] = {}

    def get(self, key: Hashable, make: Callable[[], Answer]) -> Answer:
        """Return what `make` returns, or has just returned for that key.

        Of more than RECENT_MAX keys, those made longest ago are forgotten.
        """
        now = self._clock()
        made = self._made.get(key)
        if made is None or now - made[0] >= RECENT_SECONDS:
            made = (now, make())
            self._made.pop(key, None)
            self._made[key] = made
            if len(self._made) > RECENT_MAX:
                del self._made[next(iter(self._made))]
        return made[1]


def _takes_gzip(request: web.Request) -> bool:
    for choice in request.headers.get("Accept-Encoding", "").split(","):
        name, _, quality = choice.partition(";")
        if name.strip().lower() == "gzip":
            return quality.replace(" ", "").rstrip("0.") != "q="
    return False
