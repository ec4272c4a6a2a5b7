import random

from hypothesis import given
from hypothesis import strategies as st

from scheduler.sdk.backoff import Backoff


@given(st.integers(), st.integers(1, 40))
def test_delays_double_up_to_the_bound_and_lose_at_most_half(seed: int, attempts: int) -> None:
    backoff = Backoff(1.0, 30.0, random.Random(seed))
    for attempt in range(attempts):
        full = min(30.0, 2.0**attempt)
        assert full / 2 <= backoff.next_seconds() <= full
    backoff.reset()
    assert backoff.next_seconds() <= 1.0
