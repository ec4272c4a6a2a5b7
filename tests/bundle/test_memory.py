"""What the memory says, as documents: read from a real segment that others write to."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scheduler.bundle import memory
from scheduler.bundle.memory import Look, look, process_name
from scheduler.memory.flight import FlightRecorder
from scheduler.memory.histogram import Histogram, bucket_of
from scheduler.memory.layout import DISPATCHER_ROW, HISTOGRAM_BUCKETS
from scheduler.protocol.decisions import Outcome
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.ids import NO_NODE, job_key_base, node_ref, wire_job_id
from scheduler.top.reading import Attached
from tests.stats.world import EPOCH, World
from tests.top.looks import published

JOB = job_key_base(1, 0) + 5


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with published(tmp_path) as world:
        yield world


@pytest.fixture
def now(world: World, tmp_path: Path) -> Iterator[Look]:
    """A look; what it reads itself it reads when it is asked."""
    world.add_service("asr")
    world.put_node(3, "node-a", name=b"first", ready=("asr",), in_flight=2)
    world.put_node(4, "node-b", name=b"second")
    attached = Attached(tmp_path / "memory")
    with closing(attached.segment):
        yield look(attached)


def decide(world: World, number: int, **values: Any) -> None:
    defaults = {"paired": NO_NODE, "node": NO_NODE, "runner_up": NO_NODE, "shadow": NO_NODE}
    world.put(
        "decisions",
        number,
        **{**defaults, "job": JOB, "outcome": Outcome.PLACED, "sequence": number + 1, **values},
    )


def test_processes_are_named_for_files(now: Look) -> None:
    names = [process_name(process) for process in now.sample.processes]
    assert names == ["supervisor", "dispatcher", "stats", "gateway-0", "gateway-1"]


def test_events_have_times_of_day(world: World, now: Look) -> None:
    before_ns = time.time_ns()
    FlightRecorder(world.views, DISPATCHER_ROW).note("node", "node-a ready to offline")
    after_ns = time.time_ns()
    (event,) = now.flight(DISPATCHER_ROW)
    assert next(iter(event)) == "time", "so that lines of all files can be sorted"
    assert (event["process"], event["sequence"]) == ("dispatcher", 1)
    assert (event["kind"], event["text"]) == ("node", "node-a ready to offline")
    told_ns = event["monotonic_ns"] + now.clock.offset_ns
    # The clock of day may be adjusted a little meanwhile; never by a second.
    assert before_ns - 10**9 < told_ns < after_ns + 10**9
    assert event["time"] == now.clock.text(event["monotonic_ns"])
    assert now.flight(DISPATCHER_ROW + 1) == []


def test_decisions_name_jobs_and_nodes_as_people_know_them(world: World, now: Look) -> None:
    decide(world, 0, node=node_ref(3, 1), runner_up=node_ref(4, 1), load=2, time_ns=1_000)
    decide(world, 1, node=node_ref(3, 7))  # another node has the row now
    excluded = [2 if reason is Exclusion.FULL else 0 for reason in Exclusion]
    decide(world, 2, outcome=Outcome.QUEUED, excluded=excluded)
    placed, gone, queued = now.decisions()
    assert placed["job"] == wire_job_id(EPOCH, JOB)
    assert placed["time"] == now.clock.text(1_000)
    assert (placed["node"], placed["runner_up"], placed["shadow"]) == ("node-a", "node-b", None)
    assert (placed["outcome"], placed["load"], placed["excluded"]) == ("placed", 2, {})
    assert gone["node"] == node_ref(3, 7)
    assert (queued["outcome"], queued["node"]) == ("queued", None)
    assert queued["excluded"] == {"no_free_slot": 2}
    assert [one["number"] for one in (placed, gone, queued)] == [0, 1, 2]


def test_nodes_are_told_in_full(now: Look) -> None:
    found = now.nodes()
    first, second = found["nodes"]
    assert (first["node_id"], first["name"], first["ready"]) == ("node-a", "first", ["asr"])
    assert first["in_flight"] == 2
    assert second["node_id"] == "node-b"
    assert (found["left_out"], found["torn_rows"]) == (0, 0)


def test_very_many_nodes_are_left_out_and_counted(
    now: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "NODES_LISTED_MAX", 1)
    found = now.nodes()
    assert [node["node_id"] for node in found["nodes"]] == ["node-a"]
    assert found["left_out"] == 1


def test_counters_are_those_of_all_processes(world: World, now: Look) -> None:
    world.count(1, jobs_accepted_total=7)
    world.put("dispatcher_counters", 0, failovers_total=3)
    world.put("classes", 0, active=1, queued=2)
    found = now.counters()
    assert [one["jobs_accepted_total"] for one in found["gateway_counters"]] == [0, 7]
    assert found["dispatcher_counters"][0]["failovers_total"] == 3
    assert [(one["index"], one["queued"]) for one in found["classes"]] == [(0, 2)]
    assert [one["service_id"] for one in found["services"]] == ["asr"]
    assert len(found["release_rings"]) == 4
    assert set(found["release_rings"][0]) == {"written", "taken"}


def test_histograms_are_told_bucket_by_bucket(world: World, now: Look) -> None:
    Histogram(world.views, "gateway_latency", "end_to_end_ns", 1).record(5_000_000)
    found = now.latency()
    bucket = bucket_of(5_000_000)
    counts = found["gateways"][1]["end_to_end_ns"]
    assert (len(counts), sum(counts), counts[bucket]) == (HISTOGRAM_BUCKETS, 1, 1)
    assert found["bucket_from_ns"][bucket] <= 5_000_000 < found["bucket_from_ns"][bucket + 1]
