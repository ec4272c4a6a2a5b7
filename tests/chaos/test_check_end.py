from typing import Any

import msgspec
import pytest

from tests.chaos.check_end import (
    FDS_GROWTH_MAX,
    MUST_BE_ZERO,
    RSS_GROWTH_BYTES_MAX,
    EndFacts,
    ProcessFacts,
    check_end,
)

BEFORE = ProcessFacts({"socket": 4, "/memfd:arena": 2}, 40 << 20)
GOOD = EndFacts(
    left={},
    slots={},
    totals={"gateway 0": {"accepted": 6, "completed": 3, "failed": 2, "cancelled": 1}},
    counters=dict.fromkeys(MUST_BE_ZERO, 0),
    before={"supervisor": BEFORE},
    after={"supervisor": BEFORE},
    orphans=[],
    troubles=[],
)


def promises(**changes: Any) -> list[str]:
    return [v.promise for v in check_end(msgspec.structs.replace(GOOD, **changes))]


def after(**changes: Any) -> dict[str, ProcessFacts]:
    return {"supervisor": msgspec.structs.replace(BEFORE, **changes)}


def test_a_good_end() -> None:
    assert not promises()


def test_what_is_left() -> None:
    assert promises(left={"jobs_live": "1"}) == ["leaked"]
    assert promises(slots={"chaos-03": "in_flight 1, held 0"}) == ["leaked"]
    assert promises(orphans=["process 7"]) == ["leaked"]


@pytest.mark.parametrize("outcome", ["accepted", "completed", "failed", "cancelled"])
def test_jobs_without_an_end_or_with_two(outcome: str) -> None:
    totals = {**GOOD.totals["gateway 0"], outcome: 7}
    assert promises(totals={"gateway 0": totals}) == ["miscounted"]


@pytest.mark.parametrize("name", MUST_BE_ZERO)
def test_faults_that_were_put_right(name: str) -> None:
    assert promises(counters={name: 1}) == ["miscounted"]


def test_a_process_that_grew() -> None:
    assert promises(after=after(rss_bytes=BEFORE.rss_bytes + RSS_GROWTH_BYTES_MAX + 1)) == [
        "leaked"
    ]
    assert promises(after=after(kinds={"socket": 5 + FDS_GROWTH_MAX, "/memfd:arena": 2})) == [
        "leaked"
    ]
    assert promises(after=after(kinds={"socket": 3, "/memfd:arena": 3})) == ["leaked"]


def test_a_process_that_is_gone() -> None:
    assert promises(after={}) == ["died"]


def test_troubles() -> None:
    assert promises(troubles=["a process raised"]) == ["died"]
