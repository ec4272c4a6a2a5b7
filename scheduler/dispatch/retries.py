"""The retry budget: failures must not multiply the load that brought them about.

A token bucket, as Finagle's: each fresh job puts a share of a token in, each retry takes one out,
and a few a second are always allowed, so that one failure among little traffic is retried.
"""

from scheduler.config import RetryBudgetSettings
from scheduler.dispatch.settings import NS_PER_SECOND

SAVED_SECONDS_MAX = 10
"""Tokens are saved up for so long, at the present rate of jobs."""


class RetryBudget:
    """Decides whether a failed attempt may be followed by another."""

    def __init__(self, settings: RetryBudgetSettings) -> None:
        self._share = settings.share_percent / 100
        self._per_second_min = settings.retries_per_second_min
        self._tokens = float(self._per_second_min * SAVED_SECONDS_MAX)
        self._submitted_total = 0
        self._refilled_ns = 0

    def refill(self, submitted_total: int, now_ns: int) -> None:
        """Put in what the jobs since the last call allow; call it several times a second."""
        seconds = (now_ns - self._refilled_ns) / NS_PER_SECOND
        fresh = submitted_total - self._submitted_total
        # The first call only learns where time and count stand.
        if self._refilled_ns and seconds > 0:
            deposit = fresh * self._share + seconds * self._per_second_min
            saved_max = SAVED_SECONDS_MAX * deposit / seconds
            self._tokens = min(self._tokens + deposit, saved_max)
        self._submitted_total = submitted_total
        self._refilled_ns = now_ns

    def withdraw(self) -> bool:
        """Return whether one more retry is allowed now; then it counts."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
