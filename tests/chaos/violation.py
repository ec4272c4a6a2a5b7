"""A promise that was not kept, and where to look for it in the history."""

from typing import Literal

from msgspec import Struct

Promise = Literal[
    "lost",  # an accepted utterance without a terminal reply
    "duplicated",  # one with two, or a job that was dispatched twice
    "cross-delivered",  # speech or a result that belongs to somebody else
    "out of order",  # results
    "attempt twice",  # the same attempt at a job was given out twice
    "over capacity",  # a node has more unfinished jobs than it said
    "not ready",  # a node got a job that was draining, degraded, offline or ejected
    "closed",  # a connection was closed without a reason, or answered with an error
    "not serving",  # after a kill no new session ever had a result
    "died",  # a process ended, raised or stayed stopped by itself
    "leaked",  # something was left: jobs, slots, memory, descriptors, processes
    "miscounted",  # counters that don't add up
]
PROMISES: tuple[Promise, ...] = Promise.__args__  # type: ignore[attr-defined]


class Violation(Struct, frozen=True):
    """What happened, when and to whom; `job` and `session` where it is about one."""

    promise: Promise
    at_ns: int
    who: str
    detail: str
    session: str = ""
    job: str = ""
