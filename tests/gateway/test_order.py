import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler.gateway.order import Orderer


def test_results_leave_in_index_order() -> None:
    order: Orderer[str] = Orderer()
    for key in (0, 1, 2):
        order.open(key, key)
    assert order.close(2, ["c"]) == []
    assert order.close(1, ["b1", "b2"]) == []
    assert len(order) == 3
    assert order.close(0, ["a"]) == ["a", "b1", "b2", "c"]
    assert len(order) == 0


@pytest.mark.parametrize("nothing", [None, []])
def test_a_failed_utterance_releases_what_it_held_back(nothing: list[str] | None) -> None:
    order: Orderer[str] = Orderer()
    order.open(0, 10)
    order.open(1, 11)
    assert order.close(11, ["b"]) == []
    assert order.close(10, nothing) == ["b"]


def test_a_later_failure_does_not_overtake() -> None:
    order: Orderer[str] = Orderer()
    for key in (0, 1, 2):
        order.open(key, key)
    assert order.close(1, None) == []
    assert order.close(2, ["c"]) == []
    assert order.close(0, ["a"]) == ["a", "c"]


def test_an_index_never_sent_holds_nothing_back() -> None:
    order: Orderer[str] = Orderer()
    order.open(5, 1)
    assert order.close(1, ["f"]) == ["f"]


def test_an_index_below_a_delivered_one_is_delivered_when_done() -> None:
    order: Orderer[str] = Orderer()
    order.open(7, 1)
    assert order.close(1, ["h"]) == ["h"]
    order.open(3, 2)
    order.open(8, 3)
    assert order.close(3, ["i"]) == []
    assert order.close(2, ["d"]) == ["d", "i"]


def test_jobs_of_one_index_leave_in_order_of_arrival() -> None:
    order: Orderer[str] = Orderer()
    order.open(0, 9)
    order.open(0, 4)
    assert order.close(4, ["second"]) == []
    assert order.close(9, ["first"]) == ["first", "second"]


def test_misuse_is_a_programmer_error() -> None:
    order: Orderer[str] = Orderer()
    order.open(0, 1)
    with pytest.raises(AssertionError):
        order.open(1, 1)
    with pytest.raises(KeyError):
        order.close(2, None)


class AgainstModel(RuleBasedStateMachine):
    """The rule as it is written: a result leaves once no open utterance stands before it."""

    def __init__(self) -> None:
        super().__init__()
        self.order: Orderer[str] = Orderer()
        self.opened: list[tuple[int, int]] = []
        self.open: set[tuple[int, int]] = set()
        self.waiting: dict[tuple[int, int], list[str]] = {}

    @rule(index=st.integers(0, 6))
    def accept(self, index: int) -> None:
        key = len(self.opened)
        self.opened.append((index, key))
        self.open.add((index, key))
        self.order.open(index, key)

    @precondition(lambda self: bool(self.open))
    @rule(data=st.data(), results=st.none() | st.integers(0, 2))
    def finish(self, data: st.DataObject, results: int | None) -> None:
        place = data.draw(st.sampled_from(sorted(self.open)))
        items = None if results is None else [f"{place[1]}.{part}" for part in range(results)]
        self.open.remove(place)
        self.waiting[place] = items or []
        free = sorted(
            place for place in self.waiting if not any(other < place for other in self.open)
        )
        expected = [item for place in free for item in self.waiting.pop(place)]
        assert self.order.close(place[1], items) == expected

    @invariant()
    def counts(self) -> None:
        assert len(self.order) == len(self.waiting) + len(self.open)


AgainstModel.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestOrdererAgainstModel = AgainstModel.TestCase
