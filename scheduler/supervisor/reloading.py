"""What SIGHUP changes: log settings take effect at once, all else needs a restart."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from scheduler.config import Config

_TABLE = "observability"
_LIVE = ("log_level", "log_format", "levels")


def take_log_settings(running: Config, wanted: Config) -> Config:
    """Return the running configuration with the log settings of the one just read."""
    new = {name: getattr(wanted.observability, name) for name in _LIVE}
    changed = msgspec.structs.replace(running.observability, **new)
    return msgspec.structs.replace(running, observability=changed)


def waiting_for_restart(started_with: Config, wanted: Config) -> list[str]:
    """Return the keys that differ and have no effect yet; never values, some are secret."""
    live = {f"{_TABLE}.{name}" for name in _LIVE}
    return [key for key in _differing("", started_with, wanted) if key not in live]


def _differing(prefix: str, one: Struct, other: Struct) -> Iterator[str]:
    for name in one.__struct_fields__:
        ours, theirs = getattr(one, name), getattr(other, name)
        if isinstance(ours, Struct):
            yield from _differing(f"{prefix}{name}.", ours, theirs)
        elif ours != theirs:
            yield f"{prefix}{name}"
