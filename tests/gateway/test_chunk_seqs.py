from hypothesis import given
from hypothesis import strategies as st

from scheduler.gateway.chunk_seqs import ChunkSeqs


def taken(*seqs: int, ends: bool = False) -> ChunkSeqs:
    """Chunks of one utterance, which may have ended with the last of them."""
    chunks = ChunkSeqs()
    for seq in seqs:
        chunks.follow(seq, speaking=True)
    if ends:
        chunks.end()
    return chunks


def test_nothing_is_a_repeat_before_anything_was_resumed() -> None:
    chunks = taken(7, 8)
    assert not chunks.is_repeat(7)
    assert not chunks.is_repeat(0)


def test_after_resuming_what_was_taken_is_a_repeat_until_the_first_that_was_not() -> None:
    chunks = taken(3, 4, 5)
    assert chunks.resume() == 5
    assert [chunks.is_repeat(seq) for seq in (3, 5, 4, 6, 5)] == [True, True, True, False, False]


def test_resuming_twice_asks_again() -> None:
    chunks = taken(3)
    chunks.resume()
    assert not chunks.is_repeat(4)
    chunks.follow(4, speaking=True)
    assert chunks.resume() == 4
    assert chunks.is_repeat(4)


def test_between_utterances_there_is_nothing_to_repeat() -> None:
    chunks = taken(3, 4, ends=True)
    assert (chunks.resume(), chunks.cut) == (None, 4)
    assert not chunks.is_repeat(0)


def test_an_utterance_that_ends_ends_the_repeats() -> None:
    """As one that the pause cuts, or that comes without numbers."""
    chunks = taken(3, 4)
    chunks.resume()
    chunks.end()
    assert not chunks.is_repeat(0)


def test_an_end_after_the_end_and_one_without_numbers_leave_what_was_cut() -> None:
    """The pause is looked for once more after an utterance has ended."""
    chunks = taken(3, 4, ends=True)
    chunks.end()
    assert chunks.cut == 4


def test_the_chunk_that_ends_an_utterance_is_its_last() -> None:
    chunks = taken(3)
    chunks.follow(4, speaking=False)
    assert (chunks.resume(), chunks.cut) == (None, 4)


STEPS = st.lists(
    st.sampled_from(["speak", "speak", "end", "pause", "lose"]) | st.integers(0, 5), max_size=60
)
"""What happens: a number is a resumption from so far before the first chunk that is missing."""


@given(STEPS)
def test_nothing_is_taken_twice_and_nothing_left_out(steps: list[str | int]) -> None:
    """A client numbers its chunks all through, and after resuming goes on anywhere from `cut_seq`
    to `received_seq`, as the protocol says."""
    chunks, arrived = ChunkSeqs(), list[int]()
    said = 0
    is_up = True

    def take(seq: int, *, ends: bool = False) -> None:
        if not chunks.is_repeat(seq):
            arrived.append(seq)
            chunks.follow(seq, speaking=not ends)

    finals = set[int]()
    for step in steps:
        if step in {"speak", "end"}:
            if step == "end":
                finals.add(said)
            if is_up:
                take(said, ends=step == "end")
            said += 1
        elif step == "pause":
            if is_up:
                chunks.end()
        elif step == "lose":
            is_up = False
        elif isinstance(step, int):
            received = chunks.resume()
            cut = -1 if chunks.cut is None else chunks.cut
            first = cut + 1 if received is None else received + 1
            for seq in range(max(cut + 1, first - step), said):
                take(seq, ends=seq in finals)
            is_up = True
    assert arrived == list(range(len(arrived)))
    assert not is_up or len(arrived) == said
