"""Real runs, small ones."""

import io
import signal

import psutil
import pytest
from rich.console import Console

from scheduler.stress import run as running
from scheduler.stress.figures import make_figures
from scheduler.stress.live import Lines
from scheduler.stress.messages import UNFINISHED
from scheduler.stress.progress import Progress
from scheduler.stress.raw import Run
from scheduler.stress.scenario import Kind, NodeGroup, Ramp, Scenario, Steady, Talkers
from tests.harness import RunScheduler, runs
from tests.stress.samples import steady

NODES = [NodeGroup(count=20, delay_ms=(5, 10))]


def run(scenario: Scenario, show: Lines | None = None, url: str | None = None) -> Run:
    quiet = Lines(Console(file=io.StringIO()))
    return running.run(scenario, "small", show or quiet, url, None)


class Ending(Lines):
    """Sends signals as soon as there are results."""

    def __init__(self, numbers: list[signal.Signals]) -> None:
        super().__init__(Console(file=io.StringIO()))
        self._numbers = numbers

    def update(self, progress: Progress) -> None:
        if progress.results and self._numbers:
            signal.raise_signal(self._numbers.pop(0))


def test_a_ramp_with_talkers_and_kinds_keeps_all_promises() -> None:
    scenario = steady(
        load=Ramp(rate=20, rate_max=60, steps=3),
        seconds=3.0,
        sessions=10,
        drivers=2,
        nodes=[*NODES, NodeGroup(name="hearing", count=2, services=("node-inference",))],
        kinds=[Kind(name="spoken", weight=3), Kind(name="text", stages=("asr",))],
        talkers=Talkers(sessions=4, chunk_ms=50, speech_seconds=0.3, silence_seconds=0.5),
        scheduler={"gateways": 2},
    )
    measured = run(scenario)
    figures = make_figures(measured)
    assert figures.kept
    assert figures.sent == figures.results > 50
    assert all(kind.sent == kind.latency.count > 0 for kind in figures.kinds)
    assert [step.rate for step in figures.steps] == [20, 40, 60]
    assert {call.driver for call in measured.calls} == {0, 1}
    assert measured.inside is not None
    assert measured.inside.counters["jobs_completed"] == figures.results
    assert sum(measured.inside.stages["end_to_end"]) == figures.results
    assert len(measured.inside.node_busy) == 22
    used = {use.name for use in figures.cpu}
    assert {"dispatcher", "gateway 0", "gateway 1", "load: sessions 1"} <= used
    assert all(call.done_ns > call.sent_ns >= call.due_ns for call in measured.calls)


def test_jobs_that_fail_are_no_broken_promise() -> None:
    nodes = [NodeGroup(count=2, delay_ms=(1, 2), fail_rate=1.0, fail_code="TTS_TIMEOUT")]
    measured = run(steady(load=Steady(rate=20), seconds=1.5, sessions=2, nodes=nodes))
    figures = make_figures(measured)
    assert figures.kept
    assert figures.results == 0
    assert sum(figures.errors.values()) == figures.sent > 0


def test_a_running_scheduler_is_only_borrowed(run_scheduler: RunScheduler) -> None:
    scheduler = run_scheduler()
    url = scheduler.session_url.removesuffix("/ws/session")
    scenario = steady(load=Steady(rate=20), seconds=1.5, sessions=2, nodes=NODES)
    quiet = Lines(Console(file=io.StringIO()))
    near = running.run(scenario, "small", quiet, url, scheduler.runtime_dir)
    far = run(scenario, url=url)
    assert near.inside is not None
    assert far.inside is None
    for measured in (near, far):
        assert measured.target == url
        assert make_figures(measured).results == len(measured.calls) > 0
    assert scheduler.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_early_with_what_was_measured(number: signal.Signals) -> None:
    # Jobs that take longer than an interrupted run waits for.
    nodes = [
        NodeGroup(count=2, delay_ms=(5, 5)),
        NodeGroup(name="slow", count=2, delay_ms=(60_000, 60_000)),
    ]
    scenario = steady(load=Steady(rate=20), seconds=600.0, sessions=10, nodes=nodes)
    measured = run(scenario, Ending([number]))
    figures = make_figures(measured)
    assert measured.interrupted
    assert figures.kept
    assert figures.results > 0
    assert figures.seconds < 600
    assert figures.unfinished == sum(call.code == UNFINISHED for call in measured.calls) > 0


def test_a_second_ctrl_c_ends_at_once_and_leaves_nothing() -> None:
    nodes = [
        NodeGroup(count=2, delay_ms=(5, 5)),
        NodeGroup(name="slow", count=2, delay_ms=(60_000, 60_000)),
    ]
    scenario = steady(load=Steady(rate=20), seconds=600.0, sessions=10, nodes=nodes)
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt):
        run(scenario, Ending([signal.SIGINT, signal.SIGINT]))
    left = set(psutil.Process().children(recursive=True)) - before
    assert [child for child in left if runs(child)] == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_before_jobs_are_measured_the_first_ctrl_c_ends_it() -> None:
    with running.interrupts() as taker:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert not taker.asked


def test_signals_are_left_as_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with running.interrupts() as taker:
        taker.measuring = True
        signal.raise_signal(signal.SIGTERM)
        assert taker.asked
    assert signal.getsignal(signal.SIGTERM) is before
