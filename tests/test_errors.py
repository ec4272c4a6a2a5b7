import inspect
import re

from scheduler import errors
from scheduler.errors import PeerError, SchedulerError
from scheduler.protocol.codes import ErrorCode


def drawn_tree() -> dict[str, str]:
    """Return class -> base, as the top of scheduler/errors.py draws it."""
    bases: dict[str, str] = {}
    open_at: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([ │├└─]*)([A-Z]\w+)(?:  |$)", line)
        if not found:
            continue
        depth = len(found[1])
        while open_at and open_at[-1][0] >= depth:
            open_at.pop()
        if open_at:
            bases[found[2]] = open_at[-1][1]
        open_at.append((depth, found[2]))
    return bases


def test_the_drawn_tree_is_the_real_one() -> None:
    real = {
        name: cls.__base__.__name__
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, SchedulerError) and cls is not SchedulerError and cls.__base__
    }
    assert drawn_tree() == real


def test_a_peer_error_carries_what_the_peer_is_told() -> None:
    error = PeerError(ErrorCode.SERVER_BUSY, "try later", {"retry_after_ms": 100})
    assert (error.code, error.message, error.details) == (
        ErrorCode.SERVER_BUSY,
        "try later",
        {"retry_after_ms": 100},
    )
    assert str(error) == "try later"
