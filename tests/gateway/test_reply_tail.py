import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler.gateway.reply_tail import SENT_MAX, Reply, ReplyTail, Tails, TailSizes


def reply(text: bytes) -> Reply:
    """An event and a result in two pieces, ten bytes in all besides `text`."""
    return ((b"event",), (b"head", b"t" + text))


def tail_of(*texts: bytes, sent: bool = True, bytes_max: int = 1_000) -> ReplyTail:
    tail = ReplyTail(bytes_max)
    for text in texts:
        tail.add(reply(text), sent=sent)
    return tail


def test_what_did_not_arrive_is_sent_again_whole() -> None:
    tail = tail_of(b"a", b"b", b"c")
    assert tail.bytes == 33
    assert tail.resume(1) == [reply(b"b"), reply(b"c")]
    assert tail.bytes == 22
    assert tail.resume(3) == []
    assert tail.bytes == 0


def test_what_was_never_sent_counts_as_sent_from_then_on() -> None:
    tail = tail_of(b"a")
    tail.add(reply(b"b"), sent=False)
    assert tail.resume(2) is None
    assert tail.resume(1) == [reply(b"b")]
    tail.add(reply(b"c"), sent=True)
    assert tail.resume(2) == [reply(b"c")]


@pytest.mark.parametrize("received", [3, 99])
def test_more_than_was_sent_is_refused_and_changes_nothing(received: int) -> None:
    tail = tail_of(b"a", b"b")
    assert tail.resume(received) is None
    assert tail.resume(0) == [reply(b"a"), reply(b"b")]


def test_what_was_said_to_have_arrived_can_not_be_had_again() -> None:
    tail = tail_of(b"a", b"b")
    tail.resume(1)
    assert tail.resume(0) is None


def test_of_the_sent_the_last_ones_are_kept() -> None:
    tail = tail_of(*[b"x"] * (SENT_MAX + 2))
    assert tail.resume(1) is None
    again = tail.resume(2)
    assert again is not None
    assert len(again) == SENT_MAX


def test_the_sent_make_room_for_the_unsent() -> None:
    tail = tail_of(b"a", b"b", bytes_max=25)
    tail.add(reply(b"c"), sent=False)
    assert tail.resume(0) is None
    assert tail.resume(1) == [reply(b"b"), reply(b"c")]


def test_unsent_beyond_the_bound_are_the_end() -> None:
    tail = tail_of(b"a", b"b", sent=False, bytes_max=22)
    assert tail.bytes == 22
    tail.add(reply(b"c"), sent=False)
    assert tail.is_broken
    assert tail.bytes == 0
    assert tail.resume(0) is None


def test_a_sent_one_beyond_the_bound_is_only_not_kept() -> None:
    tail = tail_of(bytes(100), bytes_max=50)
    assert not tail.is_broken
    assert tail.resume(0) is None
    assert tail.resume(1) == []


def test_a_sent_one_after_one_that_was_not_is_a_programmer_error() -> None:
    tail = tail_of(b"a", sent=False)
    with pytest.raises(AssertionError):
        tail.add(reply(b"b"), sent=True)


BYTES_MAX = 200


class AgainstModel(RuleBasedStateMachine):
    """A client that is sent replies and loses sockets gets each once, in order, or is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = ReplyTail(BYTES_MAX)
        self.all: list[Reply] = []
        self.sent = 0
        self.got = 0
        self.is_up = True

    @rule(size=st.integers(0, 60))
    def reply(self, size: int) -> None:
        self.all.append(((b"%d" % len(self.all), bytes(size)),))
        self.tail.add(self.all[-1], sent=self.is_up)
        if self.is_up:
            self.sent = len(self.all)

    @precondition(lambda self: self.is_up)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """Of what is on its way a part arrives."""
        self.got = data.draw(st.integers(self.got, self.sent))
        self.is_up = False

    @precondition(lambda self: not self.is_up)
    @rule()
    def resume(self) -> None:
        unsent_bytes = sum(len(part) for one in self.all[self.sent :] for part in one[0])
        again = self.tail.resume(self.got)
        if again is None:
            missing = [len(part) for one in self.all[self.got :] for part in one[0]]
            assert sum(missing) > BYTES_MAX or len(self.all) - self.got > SENT_MAX
            assert self.tail.is_broken == (unsent_bytes > BYTES_MAX)
            self.__init__()  # type: ignore[misc]  # the session is over
            return
        assert again == self.all[self.got :]
        self.sent = len(self.all)
        self.is_up = True

    @precondition(lambda self: self.is_up)
    @rule()
    def forget(self) -> None:
        """Others need the room; then what is on its way had better arrive."""
        self.tail.forget_sent()
        self.got = self.sent

    @invariant()
    def keeps_its_bounds(self) -> None:
        assert 0 <= self.tail.bytes <= BYTES_MAX
        assert self.tail.total == len(self.all)


AgainstModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestReplyTailAgainstModel = AgainstModel.TestCase


# --- of many sessions ----------------------------------------------------------------------


def test_sizes_add_up() -> None:
    sizes, first, second = TailSizes(), tail_of(b"a"), tail_of(b"b", b"c")
    sizes.count(first)
    sizes.count(second)
    assert sizes.bytes == 33
    first.add(reply(b"d"), sent=True)
    sizes.count(first)
    assert sizes.bytes == 44
    sizes.leave(second)
    sizes.leave(second)
    assert sizes.bytes == 22


def test_over_the_bound_the_sent_of_the_quietest_session_are_forgotten() -> None:
    tails, quiet, busy, last = Tails(40), tail_of(b"a"), tail_of(b"b"), tail_of(b"c", b"d")
    tails.note(quiet)
    tails.note(busy)
    tails.note(quiet)
    tails.note(last)
    assert tails.bytes == 33
    assert busy.bytes == 0
    assert quiet.resume(0) == [reply(b"a")]


def test_one_alone_over_the_bound_is_forgotten_too() -> None:
    tails, tail = Tails(20), tail_of(b"a", b"b")
    tails.note(tail)
    assert tails.bytes == 0
    assert tail.bytes == 0
