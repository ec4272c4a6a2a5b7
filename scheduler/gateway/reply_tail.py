"""The last terminal replies of a session that may resume, for those that did not arrive. Pure.

Replies are numbered from 1 in the order in which they leave. Those that were written to a socket
may be forgotten: they have arrived, most likely. Those that were not must be sent.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

SENT_MAX = 64
"""Kept of those that were sent: more than anyone says until a dead socket is noticed."""

Parts = Sequence[bytes]
Reply = Sequence[Parts]
"""A terminal reply, after the events that belong to it."""


class _Kept(NamedTuple):
    reply: Reply
    size: int


class ReplyTail:
    """The replies of one session, within a bound of bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept: deque[_Kept] = deque()
        self.bytes = 0
        """What is kept."""
        self.total = 0
        """Replies so far."""
        self._sent = 0
        """Of them: all up to this number."""
        self.is_broken = False
        """What was never sent outgrew the bound and is gone: there is no going on."""

    @property
    def _forgotten(self) -> int:
        return self.total - len(self._kept)

    def add(self, reply: Reply, *, sent: bool) -> None:
        """Keep a reply. None is `sent` after one that was not, until `resume`."""
        assert not sent or self._sent == self.total
        size = sum(len(part) for parts in reply for part in parts)
        self._kept.append(_Kept(reply, size))
        self.bytes += size
        self.total += 1
        if sent:
            self._sent = self.total
        while self._sent > self._forgotten and (
            self.bytes > self._bytes_max or self._sent - self._forgotten > SENT_MAX
        ):
            self._forget()
        if self.bytes > self._bytes_max:
            self.is_broken = True
            self._kept.clear()
            self.bytes = 0

    def resume(self, received: int) -> list[Reply] | None:
        """Return what is to be sent to a client that got the first `received` replies.

        From then on these count as sent. None where they are not known any more, or where the
        client can't have got so many.
        """
        if self.is_broken or not self._forgotten <= received <= self._sent:
            return None
        while self._forgotten < received:
            self._forget()
        self._sent = self.total
        return [kept.reply for kept in self._kept]

    def forget_sent(self) -> None:
        """Drop all that was sent."""
        while self._forgotten < self._sent:
            self._forget()

    def _forget(self) -> None:
        self.bytes -= self._kept.popleft().size


class TailSizes:
    """What the tails of many sessions take together."""

    def __init__(self) -> None:
        self._sizes: dict[ReplyTail, int] = {}
        self.bytes = 0
        """In all."""

    def count(self, tail: ReplyTail) -> None:
        """Count what `tail` takes by now; it becomes the latest."""
        self.leave(tail)
        self._sizes[tail] = tail.bytes
        self.bytes += tail.bytes

    def leave(self, tail: ReplyTail) -> None:
        """Count `tail` no longer; harmless when repeated."""
        self.bytes -= self._sizes.pop(tail, 0)


class Tails(TailSizes):
    """The tails of all sessions that have a socket, bounded together.

    Each alone is small, but all of them would be more than a machine has. Over the bound, the
    session whose last reply is longest ago is taken to have got all it was sent.
    """

    def __init__(self, bytes_max: int) -> None:
        super().__init__()
        self._bytes_max = bytes_max

    def note(self, tail: ReplyTail) -> None:
        """`tail` has got a reply, or its session a socket; others' may be forgotten for it."""
        self.count(tail)
        while self.bytes > self._bytes_max:
            oldest = next(iter(self._sizes))
            self.leave(oldest)
            oldest.forget_sent()
