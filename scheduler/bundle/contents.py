"""What a bundle holds, and in which order: see `ABOUT`.

All of it is read from shared memory, /proc and files. No process is asked, so that it works while
any of them is stuck or dead. A part that can't be had is left out, with the reason.
"""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from scheduler import __version__
from scheduler.bundle.blocks import Document, utc_text
from scheduler.bundle.files import read_tail, read_whole
from scheduler.bundle.machine import machine, process
from scheduler.bundle.memory import Look, look, process_name
from scheduler.bundle.redact import Redactor
from scheduler.bundle.summary import summarise
from scheduler.bundle.write import Member
from scheduler.config import Config
from scheduler.errors import LayoutError
from scheduler.memory.layout import HEADER
from scheduler.supervisor.runtime_dir import CRASHES_NAME, read_settings
from scheduler.top.frame import make_frame
from scheduler.top.reading import MEMORY_NAME, Attached

FORMAT = 1
"""Of the archive; grows when a reader of the one before could go wrong."""

FRAME_SECONDS = 0.5
"""What the rates in frame.json are about."""

SNAPSHOT_BYTES_MAX = 16 << 20
LOGS_MAX = 16

ABOUT = {
    "manifest.json": "what was looked at, when, why, on which machine; what was removed",
    "summary.txt": "to be read first: processes, jobs, last events of all processes in order",
    "flight/": "last control events of each process, those before its death too",
    "decisions.jsonl": "the dispatcher's last looks for a node: chosen, runner-up, or why none",
    "counters.json": "all counters, requirement classes, services, payload rings",
    "latency.json": "latency histograms of each gateway, bucket by bucket",
    "frame.json": "figures of the moment, as the frame of `top --once --json`",
    "nodes.json": "the node table",
    "processes.json": "health of each process, and what the kernel says of it",
    "settings.json": "settings the scheduler runs with",
    "snapshot.json": "the last snapshot that was published",
    "logs/": "ends of the log files that were named",
}
"""What each member is, or all in a folder, for people."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The members of an archive; `removed` and `left_out` stand in its manifest too.

    `removed` counts secrets by kind, `left_out` has a reason for each part. `time_ns` is when the
    memory was looked at, since the epoch.
    """

    time_ns: int
    members: list[Member]
    removed: dict[str, int]
    left_out: dict[str, str]


def collect(
    runtime_dir: Path,
    *,
    why: str,
    logs: Sequence[Path] = (),
    frame_seconds: float = FRAME_SECONDS,
) -> Bundle:
    """Return what is known of the scheduler that runs in `runtime_dir`.

    Raises LayoutError where none runs, and BundleError where a log can't be read.
    """
    assert len(logs) <= LOGS_MAX
    tails = [(path, read_tail(path)) for path in logs]
    parts = _Parts()
    attached = _attach(runtime_dir)
    with closing(attached.segment):
        time_ns, first = time.time_ns(), look(attached)
        # What is overwritten soonest comes first.
        flight = {}
        for row, one in enumerate(first.sample.processes):
            name = process_name(one)
            flight[name] = parts.add(f"flight/{name}.jsonl", partial(first.flight, row), _lines)
        parts.add("decisions.jsonl", first.decisions, _lines)
        counters = parts.add("counters.json", first.counters)
        parts.add("latency.json", first.latency, msgspec.json.encode)
        passed_seconds = (time.monotonic_ns() - first.sample.now_ns) / 1e9
        time.sleep(max(0.0, frame_seconds - passed_seconds))
        then = look(attached)
    frame = parts.add("frame.json", partial(make_frame, first.sample, then.sample))
    parts.add("nodes.json", then.nodes)
    parts.add("processes.json", partial(_processes, then))
    settings = parts.add("settings.json", partial(_settings, runtime_dir))
    parts.add("snapshot.json", partial(_snapshot, runtime_dir), msgspec.json.encode)
    for number, (path, text) in enumerate(tails):
        parts.add_text(f"logs/{number}-{re.sub(r'[^A-Za-z0-9.-]', '_', path.name)}", text)
    manifest = parts.redactor.document(_head(runtime_dir, then, time_ns, why))
    summary = summarise(
        manifest, frame=frame, counters=counters, settings=settings, flight=flight
    ).encode()
    parts.members.insert(0, Member("summary.txt", summary))
    manifest |= {
        "bytes": {member.name: len(member.data) for member in parts.members},
        "about": ABOUT,
        "removed": dict(parts.redactor.removed),
        "left_out": parts.left_out,
    }
    members = [Member("manifest.json", _indented(manifest)), *parts.members]
    return Bundle(time_ns, members, dict(parts.redactor.removed), parts.left_out)


class _Parts:
    """The members so far."""

    def __init__(self) -> None:
        self.redactor = Redactor()
        self.members: list[Member] = []
        self.left_out: dict[str, str] = {}

    def add(
        self, name: str, make: Callable[[], object], encode: Callable[[Any], bytes] | None = None
    ) -> Any:
        """Add what `make` returns, redacted, and return that; None where it can't be had."""
        try:
            document = self.redactor.document(msgspec.to_builtins(make()))
            self.members.append(Member(name, (encode or _indented)(document)))
        except Exception as error:  # a report without one part is better than none
            self.left_out[name] = self.redactor.text(f"{type(error).__name__}: {error}")
            return None
        return document

    def add_text(self, name: str, text: str) -> None:
        """Add text, redacted."""
        self.members.append(Member(name, self.redactor.text(text).encode()))


def _attach(runtime_dir: Path) -> Attached:
    try:
        return Attached(runtime_dir / MEMORY_NAME)
    except LayoutError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            crashes = runtime_dir / CRASHES_NAME
            kept = f"; what was kept when processes died is in {crashes}"
            raise LayoutError(
                f"no scheduler runs in {runtime_dir}: start it, or name its folder with "
                f"--runtime-dir{kept if crashes.is_dir() else ''}"
            ) from error
        if isinstance(error.__cause__, PermissionError):
            raise LayoutError(
                f"{runtime_dir} is another user's; run this as the scheduler's user, or as root"
            ) from error
        raise LayoutError(
            f"{runtime_dir / MEMORY_NAME}: {error}; use the command of the one that runs there"
        ) from error


def _head(runtime_dir: Path, now: Look, time_ns: int, why: str) -> Document:
    sample = now.sample
    started_ms = int(now.attached.views.column(HEADER.name, "started_ms")[0])
    since_start_ms = (sample.now_ns - sample.reading.started_ns) // 1_000_000
    return {
        "format": FORMAT,
        "version": __version__,
        "when": utc_text(time_ns),
        "why": _utf8(why),
        "runtime_dir": _utf8(str(runtime_dir)),
        "epoch": sample.epoch,
        "started": utc_text(started_ms * 1_000_000),
        "generation": sample.reading.generation,
        # Other than about 0: the clock was set, or the machine slept. Times of day in here are
        # by the clock of now, so they are off by as much before that.
        "clock_stepped_ms": sample.now_ms - started_ms - since_start_ms,
        "machine": machine(sample.processes[0].pid),
    }


def _processes(now: Look) -> Document:
    return {
        process_name(one): {
            **msgspec.to_builtins(one),
            "kernel": process(one.pid) if one.pid else None,
        }
        for one in now.sample.processes
    }


def _settings(runtime_dir: Path) -> Config:
    settings = read_settings(runtime_dir)
    if settings is None:
        raise FileNotFoundError(f"{runtime_dir} has no settings")
    return settings


def _snapshot(runtime_dir: Path) -> object:
    settings = read_settings(runtime_dir)
    named = settings.stats.snapshot_path if settings else ""
    path = Path(named) if named else runtime_dir / "snapshot.json"
    return msgspec.json.decode(read_whole(path, SNAPSHOT_BYTES_MAX))


def _utf8(text: str) -> str:
    """Return `text` without what a command line may hold and JSON can't."""
    return text.encode(errors="replace").decode()


def _indented(document: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _lines(documents: list[Document]) -> bytes:
    return msgspec.json.Encoder().encode_lines(documents)
