"""The catalogue of services that nodes can install."""

import os
import stat
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from scheduler.stats.schema import CatalogueState, ServiceInfo

log = structlog.get_logger(__name__)

INDEX_NAME = "services_index.json"
INDEX_BYTES_MAX = 16 << 20

HOSTILE_JSON = (ValueError, RecursionError)
"""What msgspec raises on text from outside; msgspec.DecodeError is a ValueError."""


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


class FileCatalogue:
    """The local index: a JSON object of ServiceInfo by id, read again when it was replaced.

    What can't be read leaves the services as they were, and is tried again each time; a bad entry
    leaves out itself alone. Either is logged once.
    """

    def __init__(self, storage_path: Path) -> None:
        """`storage_path` is the folder that holds services_index.json, now or later."""
        self._path = storage_path / INDEX_NAME
        self._version: tuple[int, ...] | None = None
        self._problem = ""
        self._services: list[ServiceInfo] = []

    def services(self) -> list[ServiceInfo]:
        """Return the services of the last good index, by id."""
        try:
            found = self._path.stat()
            version = (found.st_ino, found.st_mtime_ns, found.st_size)
            if version != self._version:
                self._services = self._read(found)
                self._version = version
        except (OSError, *HOSTILE_JSON) as error:
            self._complain(str(error))
        else:
            self._problem = ""
        return self._services

    def state(self) -> CatalogueState:
        """Return the problem with the index, if there is one."""
        return CatalogueState("file", last_error=self._problem)

    def _read(self, found: os.stat_result) -> list[ServiceInfo]:
        if not stat.S_ISREG(found.st_mode):  # reading a pipe would wait for its writer
            raise ValueError("not a file")
        if found.st_size > INDEX_BYTES_MAX:
            raise ValueError(f"{found.st_size} bytes are more than {INDEX_BYTES_MAX}")
        return parse_index(self._path.read_bytes())

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            log.warning("service index not read", path=str(self._path), problem=problem)


def parse_index(data: bytes) -> list[ServiceInfo]:
    """Return the services in an index, by id, without the entries that aren't one.

    Raises ValueError or RecursionError where `data` is no JSON object.
    """
    entries = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    services = []
    for service_id, entry in sorted(entries.items()):
        try:
            service = msgspec.json.decode(entry, type=ServiceInfo)
        except HOSTILE_JSON as error:
            log.warning("bad entry in service index", service_id=service_id, problem=str(error))
            continue
        services.append(service)
    return services
