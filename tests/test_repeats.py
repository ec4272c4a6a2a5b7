from hypothesis import given
from hypothesis import strategies as st

from scheduler.repeats import ADMITTED_MAX, KEYS_MAX, WINDOW_NS, Repeats


def test_the_first_few_are_admitted_and_the_rest_counted() -> None:
    repeats = Repeats()
    admitted = [repeats.admit("slow", now_ns) for now_ns in range(ADMITTED_MAX + 3)]
    assert admitted == [True] * ADMITTED_MAX + [False] * 3
    assert repeats.ended(WINDOW_NS - 1) == []
    assert repeats.ended(WINDOW_NS) == [("slow", 3)]
    assert repeats.ended(2 * WINDOW_NS) == []
    assert repeats.admit("slow", 2 * WINDOW_NS)


def test_keys_are_apart() -> None:
    repeats = Repeats()
    for _ in range(ADMITTED_MAX):
        repeats.admit("a", 0)
    assert not repeats.admit("a", 0)
    assert repeats.admit("b", 0)


def test_few_events_leave_nothing_to_tell() -> None:
    repeats = Repeats()
    repeats.admit("a", 0)
    assert repeats.ended(WINDOW_NS) == []


def test_at_the_end_all_windows_are_closed() -> None:
    repeats = Repeats()
    for _ in range(ADMITTED_MAX + 1):
        repeats.admit("a", 0)
    assert repeats.ended(1, all_windows=True) == [("a", 1)]


def test_more_keys_than_it_remembers_are_admitted() -> None:
    repeats = Repeats()
    for number in range(KEYS_MAX):
        repeats.admit(str(number), 0)
    assert all(repeats.admit("one more", 0) for _ in range(2 * ADMITTED_MAX))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, WINDOW_NS)), max_size=80))
def test_each_event_is_admitted_or_told_of(events: list[tuple[str, int]]) -> None:
    repeats = Repeats()
    now_ns = admitted = told = 0
    for key, later_ns in events:
        now_ns += later_ns
        told += sum(one.left_out for one in repeats.ended(now_ns))
        admitted += repeats.admit(key, now_ns)
    told += sum(one.left_out for one in repeats.ended(now_ns, all_windows=True))
    assert admitted + told == len(events)
