"""Times of the configuration in the nanoseconds that the core counts in."""

from typing import NamedTuple

from scheduler.config import Config

NS_PER_SECOND = 1_000_000_000


def nanoseconds(seconds: float) -> int:
    """Return `seconds` in whole nanoseconds."""
    return round(seconds * NS_PER_SECOND)


class Deadlines(NamedTuple):
    """How long the core waits for what, in ns."""

    attempt_ns: int
    pending_ns: int
    heartbeat_ns: int
    warmup_ns: int
    forget_ns: int

    @classmethod
    def of(cls, config: Config) -> "Deadlines":
        """Return the deadlines that `config` sets."""
        scheduler = config.scheduler
        health = scheduler.node_health
        return cls(
            attempt_ns=nanoseconds(
                min(scheduler.job_timeout_seconds, scheduler.task_binding.reserved_ttl_seconds)
            ),
            pending_ns=nanoseconds(scheduler.job_timeout.pending_timeout_seconds),
            heartbeat_ns=nanoseconds(health.heartbeat_timeout_seconds),
            warmup_ns=nanoseconds(health.warmup_timeout_seconds),
            forget_ns=nanoseconds(health.forget_after_seconds),
        )
