import pytest

from scheduler.protocol.missing import (
    MISSING_REASONS,
    REASON_OTHER,
    REASON_UNSPECIFIED,
    missing_reason,
    missing_reason_index,
)


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ("downloading", "downloading"),
        ("the dog ate it", REASON_OTHER),
        ("", REASON_UNSPECIFIED),
        (None, REASON_UNSPECIFIED),
    ],
)
def test_what_nodes_make_up_counts_under_one_label(given: str | None, counted: str) -> None:
    assert missing_reason(given) == counted


def test_each_reason_has_a_place_of_its_own() -> None:
    places = [missing_reason_index(reason) for reason in MISSING_REASONS]
    assert places == list(range(len(MISSING_REASONS)))
    assert MISSING_REASONS[missing_reason_index("unheard of")] == REASON_OTHER
