"""What happened, as every peer and the harness itself saw it: one JSON object a line.

Each process writes a file of its own, in the order in which it saw things. Times are of the
machine's monotonic clock, which all processes share.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

HARNESS = "harness"
"""`Event.who` of what the harness itself did or saw."""

What = Literal[
    # sessions
    "opened",  # session_init_ack came: `session`
    "sent",  # an utterance: `index`, `text` is its tag
    "repeated",  # the same request again: `index`
    "lost",  # its socket, and it tries to come back: `how` as in "closed"
    "resumed",  # it came back
    "dispatched",  # ui_event DISPATCHED: `index`, `job`
    "result",  # translation_result: `index`, `job`, `text` is the tag that came back
    "error",  # `how` is its code; `index` -1 where it is of no utterance
    # nodes
    "joined",  # node_register_ack came: `size` slots, `text` the attempts that it goes on with
    "status",  # node_status: `how`
    "assigned",  # job_assign: `job`, `attempt`, `session`, `index`, `text` is the audio's tag
    "cancelled",  # job_cancel: `job`, `how` is the reason
    "answered",  # job_result: `job`, `attempt`, `how` one of ANSWERS
    "mood",  # it behaves otherwise from now on: `how`
    # both
    "closed",  # `how`: a reason of CLOSED_BY_US, or the code of the close
    "refused",  # no connection, session or registration came about: `how`; where that starts with
    # RESUME, `size` is the gateway that the session belonged to
    # the harness
    "fault",  # `how` is its kind, `index` its number, `text` what it hit
    "killed",  # `who` the process, `size` its pid, `index` the number of the kill, `how` the way
    "stopped",  # likewise, by SIGSTOP
    "continued",  # likewise; where it was replaced, after it died
    "died",  # `who` the process, `size` its pid
    "started",  # likewise
    "serves",  # likewise
    "taken in",  # a new session, likewise until its session_init_ack
    "probed",  # `index` the number of the kill, `size` the nanoseconds until there was a result
]

OK, AGAIN, LATE, WRONG, UNKNOWN = "ok", "again", "late", "wrong attempt", "unknown job"
"""How a node answers; a failure is answered with its code."""

FINISHED = "finished"
"""The session waited for all replies before it closed: who sees this may count them."""

NOT_RESUMED = "not resumed"
"""The session lost its socket and could not come back; "refused" says why."""

RESUME = "resume"

CLOSED_BY_US = frozenset({FINISHED, "left", "cut", "gave up"})


class Event(Struct, omit_defaults=True):
    """One thing that happened to `who`, on the connection `conn` of it."""

    at_ns: int
    who: str
    what: What
    conn: int = 0
    session: str = ""
    index: int = -1
    job: str = ""
    attempt: int = 0
    text: str = ""
    how: str = ""
    size: int = 0


class Tag(Struct, frozen=True):
    """What an utterance carries through its audio, and a result in its text."""

    session: str
    index: int
    nonce: str

    def __str__(self) -> str:
        return f"{self.session} {self.index} {self.nonce}"


def parse_tag(text: str) -> Tag | None:
    """Return the tag in a text, None where there is none."""
    session, _, rest = text.partition(" ")
    index, _, nonce = rest.partition(" ")
    return Tag(session, int(index), nonce) if index.isdigit() and nonce else None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


class History:
    """Writes the file of one process."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def note(self, event: Event) -> None:
        """Add an event; it reaches the file by the next `flush`."""
        self._file.write(_encoder.encode(event) + b"\n")

    def flush(self) -> None:
        """Write what is buffered."""
        self._file.flush()

    def close(self) -> None:
        """Write what is buffered, and end."""
        self._file.close()


def read_history(path: Path) -> Iterator[Event]:
    """Yield the events of a file; the last line may be cut where its writer was killed."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield _decoder.decode(line)


def now_ns() -> int:
    """Return the time of an event."""
    return time.monotonic_ns()
