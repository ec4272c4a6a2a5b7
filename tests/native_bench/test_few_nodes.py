"""The end-to-end benchmark with few nodes: it works, and its ratio is reported beside the other."""

from native_bench.benchmarks import BENCHMARKS
from native_bench.end_to_end import Sample, make_report
from native_bench.few_nodes import Settings, measure
from native_bench.report import page
from native_bench.sites import ONE_GATEWAY, PLAIN
from native_bench.targets import targets_of


def test_it_is_measured_with_the_plain_scheduler_beside() -> None:
    found = measure(
        Settings(
            programs=(ONE_GATEWAY, PLAIN),
            nodes=5,
            sessions=8,
            rounds=1,
            warmup_seconds=0.1,
            seconds=0.3,
        )
    )
    assert found.name == "few-nodes"
    assert found.doubts == []
    assert found.tables[0].title == "a job of 256 B, 5 nodes, 8 sessions"
    [target] = targets_of("few-nodes")
    assert target.verdict(found.figures[target.figure]) == "reported"


def test_the_nodes_have_slots_for_all_jobs_on_their_way() -> None:
    settings = BENCHMARKS["few-nodes"].settings
    assert isinstance(settings, Settings)
    assert settings.sessions * settings.window <= settings.nodes * 8


def test_the_page_has_a_row_for_it_measured_or_not() -> None:
    samples = [
        Sample(
            program=program,
            round=0,
            text_bytes=256,
            jobs=1_000,
            seconds=1.0,
            cpu_seconds={program: cost},
            driver_cpu_seconds=0.01,
            retried=0,
            faults={},
        )
        for program, cost in ((ONE_GATEWAY, 0.1), (PLAIN, 0.17))
    ]
    found = make_report(Settings(programs=(ONE_GATEWAY, PLAIN)), samples)
    marks = "{{targets}}\n{{about few-nodes}}\n{{result few-nodes}}"
    assert "| … 100 nodes, 256 B | — | 1.70x | reported |" in page(marks, {"few-nodes": found}, {})
    without = page(marks, {}, {})
    assert "| … 100 nodes, 256 B | — | not measured | open |" in without
    assert without.endswith("Not measured yet.")
