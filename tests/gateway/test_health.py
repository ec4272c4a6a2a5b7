import itertools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.config import NodeHealthSettings
from scheduler.gateway.health import HealthMonitor, ready_services
from scheduler.protocol.node import ModelStatus, ResourceUsage
from scheduler.protocol.status import Status

GOOD = ResourceUsage(cpu_percent=10, mem_percent=20, running_jobs=0)
BAD = ResourceUsage(cpu_percent=101, mem_percent=20, running_jobs=0)
State = dict[str, ModelStatus]


def monitor(status: Status = Status.REGISTERING, **settings: int) -> HealthMonitor:
    return HealthMonitor(NodeHealthSettings(**settings), status)


def beat(watch: HealthMonitor, healthy: bool) -> str | None:
    verdict = watch.heartbeat(GOOD if healthy else BAD, ["asr"], None)
    assert verdict.healthy is healthy
    assert bool(verdict.reason) is not healthy
    return verdict.signal


def beats(watch: HealthMonitor, pattern: str) -> list[str | None]:
    return [beat(watch, mark == "H") for mark in pattern]


# --- what a healthy heartbeat is --------------------------------------------------------------


@pytest.mark.parametrize("field", ["cpu_percent", "mem_percent", "gpu_percent", "gpu_mem_percent"])
@pytest.mark.parametrize(
    ("percent", "healthy"),
    [
        (0, True),
        (100, True),
        (-0.1, False),
        (100.1, False),
        (math.nan, False),
        (math.inf, False),
        (-math.inf, False),
    ],
)
def test_usage_bounds(field: str, percent: float, healthy: bool) -> None:
    usage = msgspec.structs.replace(GOOD, **{field: percent})
    verdict = monitor().heartbeat(usage, ["asr"], None)
    assert verdict.healthy is healthy
    assert (field in verdict.reason) is not healthy


def test_missing_gpu_figures_count_as_zero() -> None:
    assert monitor().heartbeat(GOOD, ["asr"], None).healthy


@pytest.mark.parametrize("status", [Status.REGISTERING, Status.READY, Status.DEGRADED])
@pytest.mark.parametrize("state", [None, {}, {"asr": "ready"}])
def test_a_node_without_services_is_not_healthy(status: Status, state: State | None) -> None:
    assert not monitor(status).heartbeat(GOOD, [], state).healthy


STATES: list[tuple[State | None, bool, bool]] = [
    # state of installed asr and nmt, healthy while registering, healthy later
    (None, True, True),
    ({}, False, False),
    ({"asr": "ready", "nmt": "ready"}, True, True),
    ({"asr": "ready", "nmt": "downloading"}, False, True),
    ({"asr": "ready"}, False, True),
    ({"asr": "error", "nmt": "not_installed"}, False, False),
    ({"other": "ready"}, False, False),
]


@pytest.mark.parametrize(("state", "registering", "later"), STATES)
def test_services_must_be_ready(state: State | None, registering: bool, later: bool) -> None:
    installed = ["asr", "nmt"]
    assert monitor().heartbeat(GOOD, installed, state).healthy is registering
    for status in (Status.READY, Status.DEGRADED):
        assert monitor(status).heartbeat(GOOD, installed, state).healthy is later


def test_the_reason_names_what_is_not_ready() -> None:
    verdict = monitor().heartbeat(GOOD, ["asr", "nmt"], {"asr": "ready"})
    assert "nmt" in verdict.reason
    assert "asr" not in verdict.reason


def test_a_service_listed_twice_is_one() -> None:
    assert not monitor(Status.READY).heartbeat(GOOD, ["asr", "asr"], {}).healthy
    assert monitor().heartbeat(GOOD, ["asr", "asr"], {"asr": "ready"}).healthy


@pytest.mark.parametrize(
    ("state", "ready"),
    [
        (None, {"asr", "nmt"}),
        ({}, set()),
        ({"asr": "ready", "other": "ready"}, {"asr"}),
        ({"asr": "downloading", "nmt": "ready"}, {"nmt"}),
    ],
)
def test_ready_services(state: State | None, ready: set[str]) -> None:
    assert ready_services(["asr", "nmt"], state) == ready


# --- what the heartbeats say in a row ---------------------------------------------------------


def test_registering_needs_healthy_ones_in_a_row() -> None:
    watch = monitor(health_check_count=3)
    assert beats(watch, "HHUHHH") == [None, None, None, None, None, "fit"]


def test_a_signal_is_repeated_until_the_status_follows() -> None:
    watch = monitor()
    assert beats(watch, "HH") == ["fit", "fit"]
    watch.status_changed(Status.READY)
    assert beats(watch, "H") == [None]


def test_ready_falls_after_consecutive_failures() -> None:
    watch = monitor(Status.READY, failure_count=99, consecutive_failure_count=3)
    assert beats(watch, "UUHUUU") == [None, None, None, None, None, "unfit"]


def test_ready_falls_after_failures_in_the_window() -> None:
    watch = monitor(Status.READY, window_size=5, failure_count=3, consecutive_failure_count=99)
    assert beats(watch, "UHHHUHUHU") == [None] * 8 + ["unfit"]


def test_a_healthy_heartbeat_never_makes_a_node_unfit() -> None:
    watch = monitor(Status.READY, failure_count=2)
    assert beats(watch, "UUH") == [None, "unfit", None]


def test_degraded_returns_on_the_first_healthy_one() -> None:
    watch = monitor(Status.DEGRADED, health_check_count=3)
    assert beats(watch, "UUH") == [None, None, "fit"]


def test_a_recovery_starts_the_window_anew() -> None:
    watch = monitor(Status.READY)
    assert beats(watch, "UUU")[-1] == "unfit"
    watch.status_changed(Status.DEGRADED)
    assert beats(watch, "H") == ["fit"]
    watch.status_changed(Status.READY)
    assert beats(watch, "UUU") == [None, None, "unfit"]


def test_warmup_timeout_is_left_with_one_healthy_heartbeat_by_the_later_rule() -> None:
    watch = monitor(health_check_count=3)
    half: State = {"asr": "ready", "nmt": "downloading"}
    assert watch.heartbeat(GOOD, ["asr", "nmt"], half).signal is None
    watch.status_changed(Status.DEGRADED)
    assert watch.heartbeat(GOOD, ["asr", "nmt"], half).signal == "fit"


def test_resume_proves_health_anew() -> None:
    watch = monitor(Status.READY, health_check_count=2)
    watch.status_changed(Status.DRAINING)
    assert beats(watch, "UUUUHH") == [None] * 6
    watch.status_changed(Status.REGISTERING)
    assert beats(watch, "HH") == [None, "fit"]


def test_being_told_the_same_status_again_forgets_nothing() -> None:
    watch = monitor(Status.READY)
    assert beats(watch, "UU") == [None, None]
    watch.status_changed(Status.READY)
    assert beats(watch, "U") == ["unfit"]


def expected_signal(settings: NodeHealthSettings, status: Status, history: str) -> str | None:
    """The node rules, read off the whole history since the status last changed."""
    if status is Status.REGISTERING:
        return "fit" if history.endswith("H" * settings.health_check_count) else None
    if status is Status.DEGRADED:
        return "fit" if history.endswith("H") else None
    if status is Status.READY and history.endswith("U"):
        in_a_row = history.endswith("U" * settings.consecutive_failure_count)
        in_window = history[-settings.window_size :].count("U") >= settings.failure_count
        return "unfit" if in_a_row or in_window else None
    return None


@pytest.mark.parametrize(
    ("checks", "window", "failures", "consecutive"),
    [(1, 5, 3, 3), (3, 5, 3, 3), (2, 4, 2, 3), (1, 3, 3, 2), (2, 1, 1, 2), (1, 2, 3, 4)],
)
def test_every_sequence_of_heartbeats_follows_the_rules(
    checks: int, window: int, failures: int, consecutive: int
) -> None:
    settings = NodeHealthSettings(
        health_check_count=checks,
        window_size=window,
        failure_count=failures,
        consecutive_failure_count=consecutive,
    )
    follows = {"fit": Status.READY, "unfit": Status.DEGRADED}
    for pattern in itertools.product("HU", repeat=9):
        watch = HealthMonitor(settings)
        status, history = Status.REGISTERING, ""
        for mark in pattern:
            history += mark
            signal = beat(watch, mark == "H")
            assert signal == expected_signal(settings, status, history), pattern
            if signal:
                status, history = follows[signal], ""
                watch.status_changed(status)


@given(
    st.builds(
        NodeHealthSettings,
        health_check_count=st.integers(1, 4),
        window_size=st.integers(1, 6),
        failure_count=st.integers(1, 4),
        consecutive_failure_count=st.integers(1, 4),
    ),
    st.lists(st.booleans() | st.sampled_from(Status), max_size=60),
)
def test_any_decision_of_the_dispatcher_is_followed(
    settings: NodeHealthSettings, events: list[bool | Status]
) -> None:
    watch = HealthMonitor(settings)
    status, history = Status.REGISTERING, ""
    for event in events:
        if isinstance(event, Status):
            watch.status_changed(event)
            history = history if event is status else ""
            status = event
        else:
            history += "H" if event else "U"
            assert beat(watch, event) == expected_signal(settings, status, history)
