"""The benchmark of idle peers in small, and what its verdict rests on."""

import pytest

from native_bench.idle import (
    HeldSample,
    MemorySample,
    Samples,
    Settings,
    Split,
    make_report,
    measure,
    split,
)


def test_peers_are_held_by_as_many_processes_as_it_takes() -> None:
    settings = Settings(
        first_sessions=2,
        first_nodes=2,
        more_sessions=20,
        more_nodes=10,
        settle_seconds=0.1,
        rounds=1,
        held_sessions=200,
        held_nodes=10,
        hold_seconds=1.0,
        go_seconds=0.2,
        open_files_max=640,  # for 140 sockets each
    )
    report = measure(settings)
    [found] = report.samples
    held = found["held"]
    assert (held["gateways"], held["drivers"]) == (2, 2)
    assert (held["sessions"], held["nodes"]) == (200, 10)
    assert sum(held["connections_by_gateway"]) == 210
    assert held["jobs_afterwards"] > 0
    assert report.doubts == []
    assert report.figures["sessions_held"] == 200


@pytest.mark.parametrize(
    ("sockets", "open_files_max", "wanted"),
    [
        (1_000, 20_000, Split(gateways=1, drivers=1, addresses=1)),
        (51_000, 20_000, Split(gateways=4, drivers=3, addresses=3)),
        (51_000, 1_000_000, Split(gateways=1, drivers=1, addresses=3)),
    ],
)
def test_processes_follow_from_the_descriptors_allowed(
    sockets: int, open_files_max: int, wanted: Split
) -> None:
    assert split(sockets, open_files_max) == wanted


def held(**changed: object) -> HeldSample:
    fields: dict[str, object] = {
        "gateways": 4,
        "drivers": 3,
        "open_files_max": 20_000,
        "sessions": 50_000,
        "nodes": 1_000,
        "seconds": 60.0,
        "connections_by_gateway": [51_000],
        "cores_busy": 0.1,
        "pss_bytes": 1,
        "jobs_afterwards": 1,
        "faults": {},
    }
    return HeldSample(**{**fields, **changed})  # type: ignore[arg-type]


def test_memory_is_each_ones_share_of_what_came() -> None:
    memory = [
        *(MemorySample("session", 100, kilobytes * 1_000, 0) for kilobytes in (400, 500, 900)),
        MemorySample("node", 10, 90_000, 0),
    ]
    figures = make_report(Settings(), Samples(memory, held())).figures
    assert figures == {"session_kb": 5, "node_kb": 9, "sessions_held": 50_000}


@pytest.mark.parametrize(
    ("rounds", "says"), [(1, "one round, no median;"), (3, "medians over 3 rounds;")]
)
def test_the_table_says_how_many_rounds_it_is_from(rounds: int, says: str) -> None:
    memory = [MemorySample(kind, 1, 1, 1) for kind in ("session", "node") for _ in range(rounds)]
    table = make_report(Settings(rounds=rounds), Samples(memory, held())).tables[0]
    assert table.note.startswith(says)


def test_nodes_that_were_lost_and_faults_are_doubts() -> None:
    memory = [MemorySample(kind, 1, 1, 1) for kind in ("session", "node")]
    found = make_report(Settings(), Samples(memory, held(nodes=999, faults={"lost": 2})))
    assert found.doubts == [
        "jobs afterwards: lost 2",
        "only 999 of 1000 nodes were ready throughout",
    ]
