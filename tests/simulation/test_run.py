"""Hundreds of worlds, and proof that a broken core would not get through them."""

import re

import pytest

from scheduler.simulation.checks import InvariantViolation
from scheduler.simulation.run import simulate
from tests.simulation.broken import FAULTS, Fault

CHUNK = 10
CHUNKS = 24
# These once broke a promise each.
OLD_SEEDS = (5, 675, 1017, 1311, 1333, 1389, 1621, 1746, 1938, 3383)


@pytest.mark.parametrize("first_seed", range(0, CHUNK * CHUNKS, CHUNK))
def test_no_promise_is_broken(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + CHUNK):
        report = simulate(seed)
        assert report.jobs == sum(report.outcomes.values())


@pytest.mark.parametrize("seed", OLD_SEEDS)
def test_no_promise_is_broken_again(seed: int) -> None:
    simulate(seed)


def test_a_seed_replays_its_run() -> None:
    assert simulate(11, steps=1_500) == simulate(11, steps=1_500)
    assert simulate(11, steps=1_500) != simulate(12, steps=1_500)


def test_the_worlds_see_everything_that_can_happen() -> None:
    seen: dict[str, int] = {}
    for seed in range(60):
        report = simulate(seed, steps=1_500)
        for name, count in (report.counts | report.outcomes).items():
            seen[name] = seen.get(name, 0) + count
    gauges = {"in_flight", "queued", "oldest_queued_ns", "turns_total", "link_queued_bytes"}
    # A budget that no world is busy enough for, a repair that there is no need for, and what
    # the core's process does.
    absent = {"decisions_unrecorded_total", "audit_rescored_total", "partials_dropped_total"}
    never = [name for name, count in seen.items() if not count and name not in gauges | absent]
    assert never == []
    assert seen["audit_rescored_total"] == 0
    assert {"completed", "failed", "cancelled", "orphaned"} <= seen.keys()


def test_a_report_sums_up_its_run() -> None:
    report = simulate(3, steps=1_000)
    assert report.summary().startswith(f"seed 3: {report.events} events, {report.jobs} jobs: ")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_broken_core_is_found_out(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.make(monkeypatch)
    found = []
    for seed in range(60):
        try:
            simulate(seed, steps=2_000)
        except InvariantViolation as violation:
            found.append((seed, str(violation)))
            break
    assert found, "no world noticed"
    seed, text = found[0]
    headline, *events = text.splitlines()
    assert headline.startswith(f"seed {seed}: ")
    assert re.search(fault.promise, headline)
    assert events, "the last events are shown"


def test_a_core_that_raises_is_reported_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("scheduler.dispatch.flow.JobFlow.finish", fail)
    with pytest.raises(InvariantViolation, match=r"seed 34: ZeroDivisionError"):
        simulate(34)
