"""The core's own counts, named and explained by DISPATCHER_COUNTERS in the memory layout."""

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING

from scheduler.memory.layout import DISPATCHER_COUNTERS

NAMES = tuple(column.name for column in DISPATCHER_COUNTERS.columns)


class Counts:
    """One plain integer per counter; an increment takes 30 ns where shared memory takes 100."""

    __slots__ = NAMES

    def __init__(self) -> None:
        for name in NAMES:
            setattr(self, name, 0)

    if TYPE_CHECKING:  # the attributes are made from the layout, which mypy can't see

        def __getattr__(self, name: str) -> int: ...
        def __setattr__(self, name: str, value: int) -> None: ...


values_of: Callable[[Counts], tuple[int, ...]] = attrgetter(*NAMES)
"""Returns all counts, in the order of NAMES."""
