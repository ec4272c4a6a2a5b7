"""How long to wait before the next attempt to connect."""

import random

FIRST_SECONDS = 0.5
MAX_SECONDS = 30.0


class Backoff:
    """Delays that double up to a bound, each shortened at random by up to a half.

    The randomness keeps a thousand nodes from coming back in the same instant.
    """

    def __init__(
        self,
        first_seconds: float = FIRST_SECONDS,
        max_seconds: float = MAX_SECONDS,
        rng: random.Random | None = None,
    ) -> None:
        self._first_seconds = first_seconds
        self._max_seconds = max_seconds
        self._next_seconds = first_seconds
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing

    def next_seconds(self) -> float:
        """Return the delay before the next attempt."""
        seconds = self._next_seconds
        self._next_seconds = min(self._max_seconds, seconds * 2)
        return seconds * (1 - self._rng.random() / 2)

    def reset(self) -> None:
        """An attempt succeeded: begin again with the first delay."""
        self._next_seconds = self._first_seconds
