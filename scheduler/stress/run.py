"""One run from start to end: starts all, waits, collects, ends all."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import scheduler
from scheduler.errors import ProgramError
from scheduler.origin import commit, machine
from scheduler.stress.live import Show
from scheduler.stress.progress import Collected
from scheduler.stress.raw import Look, Run
from scheduler.stress.scenario import Scenario
from scheduler.stress.site import Site, running_site

_TICK_SECONDS = 0.25
_LOOK_NS = 1_000_000_000
_LEAD_NS = 300_000_000
"""For the drivers to learn when to begin."""

_LATE_SECONDS_MAX = 60.0
"""For drivers to end, after all that they wait for is over."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """What Ctrl-C means: while jobs are measured, the first one ends the run early.

    Any other, and one before or after, raises KeyboardInterrupt. SIGTERM and SIGHUP are the same.
    """

    def __init__(self) -> None:
        self.measuring = False
        self.asked = False

    def take(self, _number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        if self.measuring and not self.asked:
            self.asked = True
            return
        for number in _ENDING:  # nothing may break into the ending
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Take signals; leaving the block leaves them as they were."""
    taker = Interrupts()
    before = {number: signal.signal(number, taker.take) for number in _ENDING}
    try:
        yield taker
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    scenario: Scenario, name: str, show: Show, url: str | None, runtime_dir: Path | None
) -> Run:
    """Run a scenario and return what was measured; all that was started is ended by then.

    `url` and `runtime_dir` are those of a scheduler that runs already; without `url` one is
    started. Raises ProgramError where a program fails, and KeyboardInterrupt.
    """
    with interrupts() as taker:
        show.tell(f"starting {_what_starts(scenario, url)}")
        with running_site(scenario, url, runtime_dir) as site:
            try:
                measured = _measure(site, scenario, name, show, url or "", taker)
            except KeyboardInterrupt:
                site.kill()
                raise
            show.tell("ending what was started")
        return measured


def _what_starts(scenario: Scenario, url: str | None) -> str:
    talkers = scenario.talkers.sessions if scenario.talkers else 0
    parts = [
        *([] if url else ["a scheduler"]),
        f"{scenario.nodes_total:,} nodes",
        f"{scenario.sessions + talkers:,} sessions",
    ]
    return ", ".join(parts)


def _measure(
    site: Site, scenario: Scenario, name: str, show: Show, target: str, taker: Interrupts
) -> Run:
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    collected = Collected(scenario.seconds)
    begin_ns = time.monotonic_ns() + _LEAD_NS
    until_ns = begin_ns + int(scenario.seconds * 1e9)
    late_ns = until_ns + int((scenario.reply_seconds_max + _LATE_SECONDS_MAX) * 1e9)
    taker.measuring = True
    site.watch.begin()
    site.begin(begin_ns)
    looks: list[Look] = [site.watch.look()]
    stopped = False
    while not all(feed.ended for feed in site.feeds):
        time.sleep(_TICK_SECONDS)
        now_ns = time.monotonic_ns()
        if now_ns > late_ns:
            raise ProgramError("the drivers did not end in time")
        if taker.asked and not stopped:
            stopped = True
            until_ns = min(until_ns, now_ns)
            site.stop()
        for number, feed in enumerate(site.feeds):
            for batch in feed.batches():
                collected.take(number, batch)
        if now_ns - looks[-1].time_ns >= _LOOK_NS:
            looks.append(site.watch.look())
        show.update(collected.progress(begin_ns, now_ns, looks, stopping=stopped))
    taker.measuring = False
    return Run(
        scenario=scenario,
        name=name,
        version=scheduler.__version__,
        commit=commit(),
        machine=machine(),
        started_at=started_at,
        target=target,
        begin_ns=begin_ns,
        until_ns=until_ns,
        ended_ns=time.monotonic_ns(),
        interrupted=stopped,
        calls=collected.calls,
        violations=collected.violations,
        troubles=dict(collected.troubles),
        looks=looks,
        inside=site.watch.inside(),
    )
