"""Failures don't multiply load: retries are a share of fresh jobs, and a few a second."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.config import RetryBudgetSettings
from scheduler.dispatch.retries import RetryBudget
from scheduler.dispatch.settings import nanoseconds
from scheduler.protocol.records import Failed
from tests.dispatch.desk import Desk, every, settings

SETTINGS = RetryBudgetSettings(share_percent=20, retries_per_second_min=10)


class Spender:
    """A budget whose tokens are spent as soon as they are there."""

    def __init__(self, settings: RetryBudgetSettings = SETTINGS, submitted: int = 0) -> None:
        self.budget = RetryBudget(settings)
        self.seconds = 1_000.0
        self.submitted = submitted
        self.budget.refill(submitted, nanoseconds(self.seconds))

    def spend(self) -> int:
        """Return how many retries are allowed before one is denied."""
        allowed = 0
        while self.budget.withdraw():
            allowed += 1
        return allowed

    def after(self, seconds: float, jobs: int = 0) -> int:
        self.seconds += seconds
        self.submitted += jobs
        self.budget.refill(self.submitted, nanoseconds(self.seconds))
        return self.spend()


def test_a_few_are_always_allowed_and_saved_up_for_ten_seconds() -> None:
    spender = Spender()
    assert spender.spend() == 100
    assert spender.after(1.0) == 10
    assert spender.after(31.0) == 100


def test_each_fresh_job_allows_a_share_of_a_retry() -> None:
    spender = Spender(submitted=1_000_000)
    spender.spend()
    assert spender.after(0.1, jobs=1_000) == 200 + 1


def test_a_share_is_saved_up_while_as_many_jobs_come() -> None:
    spender = Spender()
    for _ in range(300):
        spender.seconds += 0.1
        spender.submitted += 100
        spender.budget.refill(spender.submitted, nanoseconds(spender.seconds))
    assert spender.spend() == 10 * (200 + 10)


def test_without_a_share_and_a_minimum_nothing_is_retried() -> None:
    nothing = RetryBudgetSettings(share_percent=0, retries_per_second_min=0)
    assert Spender(nothing).after(60.0, jobs=1_000) == 0


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 3)), max_size=30))
def test_retries_never_exceed_their_share(steps: list[tuple[int, int]]) -> None:
    spender, allowed = Spender(), 0
    for jobs, seconds in steps:
        allowed += spender.after(seconds, jobs)
        passed = spender.seconds - 1_000
        assert allowed <= 100 + 0.2 * spender.submitted + 10 * passed + 1e-6


def test_a_job_over_the_budget_fails_with_its_nodes_own_error() -> None:
    desk = Desk(
        settings(scheduler={"retry_budget": {"share_percent": 50, "retries_per_second_min": 0}})
    )
    for number in range(4):
        desk.node(f"n{number}", capacity=8)
    desk.tick(0.1)
    first = desk.place(1)
    [(_, failed)] = desk.fail(1, first, "NODE_OVERLOADED")
    assert isinstance(failed, Failed)
    assert failed.code == "NODE_OVERLOADED"
    assert desk.counts.retries_denied_total == 1
    desk.place(2)
    desk.tick(0.1)
    second = desk.place(3)
    assert every(Failed, desk.fail(3, second, "NODE_OVERLOADED")) == []
    assert (desk.counts.failovers_total, desk.counts.retries_denied_total) == (1, 1)


def test_what_was_lost_with_a_node_needs_no_budget() -> None:
    desk = Desk(
        settings(scheduler={"retry_budget": {"share_percent": 0, "retries_per_second_min": 0}})
    )
    desk.node("a")
    desk.node("b")
    first = desk.place(1)
    assert every(Failed, desk.lose(first)) == []
    assert desk.counts.failovers_total == 1
