"""What the peers of a gateway have begun and not ended yet, bounded in all.

One message has a bound and so has one utterance, but not how long they take: a peer may send half
of one and then nothing but pongs, and many such peers would hold more than a machine has. Over the
bound what has been unfinished longest is given up. Honest peers end soon, so it isn't theirs.
"""

from typing import Protocol


class Holder(Protocol):
    """Who has begun something: a connection a message, a session an utterance."""

    def give_up(self) -> None:
        """Drop it; it counts no more."""


class Unfinished:
    """Bytes by holder, longest unfinished first. Pure."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held: dict[Holder, int] = {}
        self.bytes = 0
        """In all."""

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, holder: Holder, size: int) -> None:
        """What `holder` has begun takes `size` bytes by now; others may be given up for it.

        0: it has ended. A holder may be given up for its own bytes.
        """
        self.bytes += size - self._held.get(holder, 0)
        if size:
            self._held[holder] = size  # at its old place
        else:
            self._held.pop(holder, None)
        while self.bytes > self._bytes_max:
            oldest = next(iter(self._held))
            self.bytes -= self._held.pop(oldest)
            oldest.give_up()
