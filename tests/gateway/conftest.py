"""A world of gateways for the tests of their parts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from scheduler.config import Config
from scheduler.identity.credentials import Credentials
from tests.gateway.world import World

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world() -> Iterator[MakeWorld]:
    """Return a maker of worlds, which are closed after the test."""
    with ExitStack() as stack:

        def make(
            config: Config | None = None,
            gateways: int = 1,
            credentials: Credentials = Credentials(),  # noqa: B008 - frozen
        ) -> World:
            world = World(config, gateways, credentials)
            stack.callback(world.close)
            return world

        yield make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """Return a world of one gateway with default settings."""
    return make_world()
