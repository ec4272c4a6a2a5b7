"""How large the benchmarks are: small ones, so that they can't rot, unless `BENCHMARKS=full`.

Sizes are parameters, so that they stand in a benchmark's name and only like is compared with like.
"""

import os
from typing import TypeVar

RIVALS = os.environ.get("BENCHMARKS_RIVALS") != "no"
"""Who compares us with ourselves has no use for others."""

FULL = os.environ.get("BENCHMARKS") == "full"

T = TypeVar("T")


def sized(full: T, small: T) -> T:
    """Return what this run is to take."""
    return full if FULL else small
