"""What the processes of the readers' benchmark tell each other: when, how much, what came of it.

Each of the two drivers gets its task as JSON on the command line, prints READY once it is
connected, takes blocks of windows as lines of JSON on standard input, and prints its calls as
JSON after the last. Times are of the machine's monotonic clock, so that all processes mean the
same moment by them.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator

import msgspec
from msgspec import Struct

READY = b"ready\n"

NONE, AGAIN, PLAIN, GZIP, UNCHANGED, STREAMS = (
    "none",
    "none again",
    "plain",
    "gzip",
    "unchanged",
    "streams",
)
FORMS = (NONE, AGAIN, PLAIN, GZIP, UNCHANGED, STREAMS)
"""What the readers do in a window.

Nothing; nothing once more, which shows how far two windows of the same kind lie apart; ask for
plain JSON; for compressed JSON; for what has changed (If-None-Match), compressed; or hold event
streams open.
"""

ASKING = (PLAIN, GZIP, UNCHANGED)
"""Those with requests at the rate that is measured."""


class Settings(Struct, frozen=True):
    """What is measured.

    Each of `forms` has one window in each block. There are blocks until each form has `windows`
    that count, or `minutes_max` have passed. A window counts if unrelated programs used no more
    than `others_max` of one core meanwhile, and a block begins when they do so.
    """

    nodes: int = 1_000
    gateways: int = 1
    node_delay_ms: int = 5
    heartbeat_seconds: float = 5.0
    sessions: int = 100
    jobs_per_second: float = 400.0
    audio_bytes: int = 256
    connections: int = 16
    requests_per_second: float = 200.0
    forms: tuple[str, ...] = FORMS
    windows: int = 12
    minutes_max: float = 20.0
    others_max: float = 0.1
    window_seconds: float = 5.0
    settle_seconds: float = 0.5
    seed: int = 1


class Window(Struct, frozen=True):
    """A stretch of the run. What is due between `from_ns` and `until_ns` counts."""

    form: str
    begin_ns: int
    from_ns: int
    until_ns: int


class JobTask(Struct, frozen=True):
    """A load of jobs: `jobs_per_second` in all, in turns from `sessions` sessions at `url`."""

    url: str
    sessions: int
    jobs_per_second: float
    audio_bytes: int
    seed: int


class RequestTask(Struct, frozen=True):
    """A load of requests to `host`:`port`, over connections that are kept through a block."""

    host: str
    port: int
    connections: int
    requests_per_second: float
    seed: int


class Call(Struct, array_like=True):
    """One job or request: when it was due, sent and answered; `error` is "" where all is well."""

    due_ns: int
    sent_ns: int
    done_ns: int = 0
    error: str = ""
    answer_bytes: int = 0


def plan_block(settings: Settings, number: int, begin_ns: int) -> list[Window]:
    """Return the windows of a block, one after the other from `begin_ns` on, in any order."""
    draw = random.Random(f"{settings.seed}/{number}")
    windows = []
    for form in draw.sample(settings.forms, len(settings.forms)):
        from_ns = begin_ns + int(settings.settle_seconds * 1e9)
        until_ns = from_ns + int(settings.window_seconds * 1e9)
        windows.append(Window(form, begin_ns, from_ns, until_ns))
        begin_ns = until_ns
    return windows


def arrivals(seed: int, per_second: float, begin_ns: int, until_ns: int) -> Iterator[int]:
    """Yield when calls are due: at random (Poisson), as from many who don't know each other.

    At regular distances jobs and requests would meet again and again, or never.
    """
    draw = random.Random(f"{seed}/{begin_ns}")
    due_ns = float(begin_ns)
    while (due_ns := due_ns + draw.expovariate(per_second) * 1e9) < until_ns:
        yield int(due_ns)


async def sleep_until(moment_ns: int) -> None:
    """Return at that moment, or at once where it is past."""
    while (wait_ns := moment_ns - time.monotonic_ns()) > 0:
        await asyncio.sleep(wait_ns / 1e9)


async def blocks() -> AsyncIterator[list[Window]]:
    """Tell that this driver is ready; yield the windows of each block as it is told of them."""
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    # In a thread: connections are kept alive meanwhile.
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        yield msgspec.json.decode(line, type=list[Window])


def send_calls(calls: list[Call]) -> None:
    """Hand in what became of the calls."""
    sys.stdout.buffer.write(msgspec.json.encode(calls))
