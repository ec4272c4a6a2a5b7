import pytest

from scheduler.dispatch.settings import Deadlines, nanoseconds
from tests.dispatch.desk import settings


@pytest.mark.parametrize(("seconds", "ns"), [(1, 10**9), (0.1, 10**8), (86_400.0, 864 * 10**11)])
def test_seconds_become_whole_nanoseconds(seconds: float, ns: int) -> None:
    assert nanoseconds(seconds) == ns


def test_deadlines_are_those_of_the_configuration() -> None:
    config = settings(
        scheduler={
            "job_timeout_seconds": 7,
            "job_timeout": {"pending_timeout_seconds": 2},
            "node_health": {
                "heartbeat_timeout_seconds": 45,
                "warmup_timeout_seconds": 60,
                "forget_after_seconds": 300,
            },
        }
    )
    assert Deadlines.of(config) == tuple(s * 10**9 for s in (7, 2, 45, 60, 300))


def test_no_slot_is_held_longer_than_its_reservation() -> None:
    config = settings(
        scheduler={"job_timeout_seconds": 30, "task_binding": {"reserved_ttl_seconds": 12}}
    )
    assert Deadlines.of(config).attempt_ns == 12 * 10**9
