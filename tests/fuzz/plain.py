"""Mutates seeds without looking at what they reach; needs nothing but Python.

For tests, and for machines without Atheris.
"""

import random
from typing import NamedTuple

from tests.fuzz.target import Target

INPUT_BYTES_MAX = 4_096
_MUTATIONS_MAX = 4


class Finding(NamedTuple):
    """An input that broke a promise."""

    data: bytes
    error: BaseException


class Mutator:
    """Makes inputs out of seeds; the same ones for the same seed."""

    def __init__(self, seeds: list[bytes], tokens: list[bytes], seed: int) -> None:
        self._seeds = seeds
        self._tokens = tokens
        self._random = random.Random(seed)
        self._mutations = (
            self._flip,
            self._overwrite,
            self._insert_token,
            self._delete,
            self._repeat,
            self._splice,
            self._truncate,
        )

    def next(self) -> bytes:
        """Return another input."""
        data = bytearray(self._random.choice(self._seeds))
        for _ in range(self._random.randint(1, _MUTATIONS_MAX)):
            self._random.choice(self._mutations)(data)
        return bytes(data[:INPUT_BYTES_MAX])

    def _place(self, data: bytearray) -> int:
        return self._random.randint(0, len(data))

    def _range(self, data: bytearray) -> slice:
        start = self._place(data)
        return slice(start, start + 2 ** self._random.randint(0, 7))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)

    def _overwrite(self, data: bytearray) -> None:
        count = 2 ** self._random.randint(0, 4)
        at = self._place(data)
        data[at : at + count] = self._random.randbytes(count)

    def _insert_token(self, data: bytearray) -> None:
        at = self._place(data)
        data[at:at] = self._random.choice(self._tokens)

    def _delete(self, data: bytearray) -> None:
        del data[self._range(data)]

    def _repeat(self, data: bytearray) -> None:
        at = self._place(data)
        data[at:at] = data[self._range(data)] * self._random.randint(1, 8)

    def _splice(self, data: bytearray) -> None:
        other = bytearray(self._random.choice(self._seeds))
        data[self._place(data) :] = other[self._place(other) :]

    def _truncate(self, data: bytearray) -> None:
        del data[self._place(data) :]


def fuzz(target: Target, inputs: int, seed: int) -> tuple[int, Finding | None]:
    """Run the seeds and then mutations of them; return how many, and what was found."""
    seeds = target.seeds()
    mutator = Mutator(seeds, target.tokens(), seed)
    for count in range(inputs):
        data = seeds[count] if count < len(seeds) else mutator.next()
        try:
            target.run(data)
        except Exception as error:
            return count + 1, Finding(data, error)
    return inputs, None
