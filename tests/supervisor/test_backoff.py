from scheduler.supervisor.backoff import Backoff


def test_waits_grow_up_to_a_bound() -> None:
    backoff = Backoff(1, 10)
    assert [backoff.wait_ns(3) for _ in range(8)] == [0, 1, 2, 4, 8, 10, 10, 10]


def test_who_served_for_long_comes_back_at_once() -> None:
    backoff = Backoff(1, 10)
    assert [backoff.wait_ns(served) for served in (0, 0, 10, 11, 0)] == [0, 1, 2, 0, 1]
