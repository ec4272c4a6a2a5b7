from hypothesis import given
from hypothesis import strategies as st

from scheduler.protocol.text import cut_utf8


@given(st.text(), st.integers(0, 40))
def test_what_is_left_fits_and_is_a_beginning_in_whole_characters(text: str, size: int) -> None:
    cut = cut_utf8(text, size)
    assert text.startswith(cut)
    assert len(cut.encode()) <= size
    assert cut == text or len(text[: len(cut) + 1].encode()) > size


def test_what_has_no_utf_8_is_no_reason_to_fail() -> None:
    assert cut_utf8("a\udc80b", 8) == "a?b"
