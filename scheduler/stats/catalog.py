"""The catalogue of services that nodes can install."""

import asyncio
import stat
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NamedTuple, Protocol

import msgspec
import structlog
from msgspec import Meta, Raw

from scheduler.stats.schema import CatalogueState, ServiceInfo

log = structlog.get_logger(__name__)

INDEX_NAME = "services_index.json"
INDEX_BYTES_MAX = 4 << 20
INDEX_ENTRIES_MAX = 10_000
"""Far more services than nodes can install; all of them are in each snapshot."""

BAD_TOLD_MAX = 3
ID_CHARS_MAX = 64
PROBLEM_CHARS_MAX = 200

HOSTILE_JSON = (ValueError, RecursionError)
"""What msgspec raises on text from outside; msgspec.DecodeError is a ValueError."""

FileVersion = tuple[int, ...]

_entries = msgspec.json.Decoder(Annotated[dict[str, Raw], Meta(max_length=INDEX_ENTRIES_MAX)])
_service = msgspec.json.Decoder(ServiceInfo)


class ServiceCatalogue(Protocol):
    """Knows the services, perhaps from a while ago; never blocks and never raises."""

    def services(self) -> list[ServiceInfo]:
        """Return the services as last known, by id."""

    def state(self) -> CatalogueState:
        """Return where they come from and how old they are."""


class EmptyCatalogue:
    """For a scheduler that was given no catalogue."""

    def services(self) -> list[ServiceInfo]:
        """Return nothing."""
        return []

    def state(self) -> CatalogueState:
        """Return that there is no source."""
        return CatalogueState("none")


class Index(NamedTuple):
    """The services of an index by id, and what of it is none: `bad_first` are a few of those."""

    services: list[ServiceInfo]
    bad_total: int
    bad_first: list[str]


class FileCatalogue:
    """The local index: a JSON object of ServiceInfo by id, read again when it was replaced.

    What can't be read leaves the services as they were; a bad entry leaves out itself alone. Either
    is logged once for each file. `run` reads; the rest only tells.
    """

    def __init__(self, storage_path: Path) -> None:
        """`storage_path` is the folder that holds services_index.json, now or later."""
        self._path = storage_path / INDEX_NAME
        self._version: FileVersion | None = None
        self._problem = ""
        self._services: list[ServiceInfo] = []
        self._looked = asyncio.Event()

    def services(self) -> list[ServiceInfo]:
        """Return the services of the last good index, by id."""
        return self._services

    def state(self) -> CatalogueState:
        """Return the problem with the index, if there is one."""
        return CatalogueState("file", last_error=self._problem)

    async def run(self, interval_seconds: float) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            self._looked.set()
            await asyncio.sleep(interval_seconds)

    async def wait_looked(self, timeout_seconds: float) -> None:
        """Wait for the first look of `run`, but no longer than that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._looked.wait()

    async def look(self) -> None:
        """Read the index if it is another than at the last look; a failure is told by the state."""
        version = None
        try:
            # In threads: a slow disk, or megabytes of garbage, would hold up the answers.
            version = await asyncio.to_thread(version_of, self._path)
            if version == self._version:
                return
            index = await asyncio.to_thread(read_index, self._path)
        except OSError as error:
            self._version = None  # it may pass without a change of the file
            self._complain(str(error))
        except HOSTILE_JSON as error:
            self._version = version
            self._complain(str(error))
        else:
            self._version = version
            self._problem = ""
            self._services = index.services
            self._tell_bad(index)

    def _complain(self, problem: str) -> None:
        problem = problem[:PROBLEM_CHARS_MAX]
        if problem != self._problem:
            self._problem = problem
            log.warning("service index not read", path=str(self._path), problem=problem)

    def _tell_bad(self, index: Index) -> None:
        if index.bad_total:
            log.warning(
                "bad entries in service index", count=index.bad_total, first=index.bad_first
            )


def version_of(path: Path) -> FileVersion:
    """Return what differs once a file was written to or replaced. Raises OSError, ValueError."""
    found = path.stat()
    # Also of when its rights changed: a file that can be read now is another one.
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def read_index(path: Path) -> Index:
    """Return what the file holds. Raises OSError, ValueError or RecursionError."""
    if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for its writer
        raise ValueError("not a file")
    with path.open("rb") as file:
        data = file.read(INDEX_BYTES_MAX + 1)
    if len(data) > INDEX_BYTES_MAX:
        raise ValueError(f"more than {INDEX_BYTES_MAX >> 20} MiB")
    return parse_index(data)


def parse_index(data: bytes) -> Index:
    """Return the services in an index, without the entries that aren't one.

    Raises ValueError or RecursionError where `data` is no JSON object, or has too many entries.
    """
    services, bad_total, bad_first = [], 0, []
    for service_id, entry in sorted(_entries.decode(data).items()):
        try:
            services.append(_service.decode(entry))
        except HOSTILE_JSON as error:
            bad_total += 1
            if bad_total <= BAD_TOLD_MAX:
                bad_first.append(f"{service_id[:ID_CHARS_MAX]}: {error}"[:PROBLEM_CHARS_MAX])
    return Index(services, bad_total, bad_first)
