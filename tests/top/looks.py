"""A runtime folder as the supervisor leaves it, over the segment of tests/stats/world.py."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scheduler.memory.layout import Dimensions
from tests.stats.world import DIMENSIONS, World, make_world


def publish(world: World, folder: Path) -> Path:
    """Let tools find the segment in `folder`, as the supervisor does; return the link."""
    link = folder / "memory"
    link.unlink(missing_ok=True)
    link.symlink_to(f"/proc/{os.getpid()}/fd/{world.segment.fd}")
    return link


@contextmanager
def published(folder: Path, dimensions: Dimensions = DIMENSIONS) -> Iterator[World]:
    with make_world(dimensions) as world:
        link = publish(world, folder)
        yield world
        link.unlink(missing_ok=True)
