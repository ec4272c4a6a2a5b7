"""Keeps a session's results in the order of their utterances.

Only an utterance that was accepted and is still open holds back the results of later ones.
Utterances that share an index stand in the order in which they were accepted.
"""

from bisect import insort
from collections.abc import Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Entry(Generic[Item]):
    """An utterance that is open, or whose results wait for an open one before it."""

    __slots__ = ("index", "items")

    def __init__(self, index: int) -> None:
        self.index = index
        self.items: Sequence[Item] | None = None


class Orderer(Generic[Item]):
    """The utterances of one session that are open or held back.

    It holds whatever was opened; the caller bounds it by `len(orderer)`, open and held together,
    because a single slow utterance can hold back any number of finished ones.
    """

    def __init__(self) -> None:
        self._entries: dict[int, _Entry[Item]] = {}
        self._queue: list[_Entry[Item]] = []

    def __len__(self) -> int:
        return len(self._queue)

    def open(self, index: int, key: int) -> None:
        """Register an accepted utterance under its job's key."""
        assert key not in self._entries
        entry: _Entry[Item] = _Entry(index)
        self._entries[key] = entry
        # Goes after its equals, which keeps the order of arrival.
        insort(self._queue, entry, key=lambda queued: queued.index)

    def close(self, key: int, items: Sequence[Item] | None) -> list[Item]:
        """End an utterance; return what may leave now, in order.

        `items` are its results; None where it failed, was cancelled or expired.
        """
        self._entries.pop(key).items = items or ()
        released: list[Item] = []
        done = 0
        for entry in self._queue:
            if entry.items is None:
                break
            released.extend(entry.items)
            done += 1
        del self._queue[:done]
        return released
