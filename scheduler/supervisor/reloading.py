"""What SIGHUP changes: log settings and the contents of identity's files; all else waits."""

import os
from collections.abc import Iterable, Iterator

import msgspec
import structlog
from msgspec import Struct

from scheduler.config import Config
from scheduler.errors import ConfigError
from scheduler.identity.credentials import Credentials, hand_over
from scheduler.identity.reading import read_credentials
from scheduler.ipc.control import SetCredentials
from scheduler.supervisor.children import Child

_TABLE = "observability"
_LIVE = ("log_level", "log_format", "levels")

logger = structlog.get_logger(__name__)


def take_log_settings(running: Config, wanted: Config) -> Config:
    """Return the running configuration with the log settings of the one just read."""
    new = {name: getattr(wanted.observability, name) for name in _LIVE}
    changed = msgspec.structs.replace(running.observability, **new)
    return msgspec.structs.replace(running, observability=changed)


def waiting_for_restart(started_with: Config, wanted: Config) -> list[str]:
    """Return the keys that differ and have no effect yet; never values, some are secret."""
    live = {f"{_TABLE}.{name}" for name in _LIVE}
    return [key for key in _differing("", started_with, wanted) if key not in live]


def reread_credentials(started_with: Config, before: Credentials) -> Credentials | None:
    """Return what the files hold now; None, once it is said why, where that changes nothing."""
    try:
        found = read_credentials(started_with)
    except ConfigError as error:
        logger.warning("credentials not changed", reason=str(error))
        return None
    if found == before:
        return None
    logger.info(
        "credentials changed",
        node_tokens=len(found.node_tokens or ()),
        session_tokens=len(found.session_tokens or ()),
        jwt_keys=len(found.jwt_keys or ()),
        certificate="changed" if found.tls != before.tls else "as before",
    )
    return found


def spread_credentials(credentials: Credentials, gateways: Iterable[Child]) -> None:
    """Have the gateways go by these from now on."""
    fd = hand_over(credentials)
    for gateway in gateways:
        gateway.send(SetCredentials(), (fd,))
    os.close(fd)


def _differing(prefix: str, one: Struct, other: Struct) -> Iterator[str]:
    for name in one.__struct_fields__:
        ours, theirs = getattr(one, name), getattr(other, name)
        if isinstance(ours, Struct):
            yield from _differing(f"{prefix}{name}.", ours, theirs)
        elif ours != theirs:
            yield f"{prefix}{name}"
