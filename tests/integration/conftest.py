"""One scheduler for all tests of a module, looked over after each of them.

A module's `SETTINGS`, by dotted key, are laid over those here. Tests may be coroutines.
"""

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness import Overrides, RunningScheduler
from tests.integration.cluster import Cluster

TEST_SECONDS_MAX = 60
LOG_CHARS_SHOWN_MAX = 4_000

DEFAULTS: Overrides = {
    "gateways": 2,
    "stats.refresh_seconds": 0.2,
    "limits.arena_bytes": 32 << 20,
    "limits.nodes_max": 256,
    "limits.sessions_per_gateway_max": 256,
}


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine functions; show the scheduler's log where one fails."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def run() -> None:
        async with asyncio.timeout(TEST_SECONDS_MAX):
            await pyfuncitem.obj(**arguments)

    try:
        asyncio.run(run())
    except BaseException as error:
        for cluster in arguments.values():
            if isinstance(cluster, Cluster):
                error.add_note(f"--- the scheduler's log\n{_tail(cluster.new_log())}")
        raise
    return True


def _tail(log: str) -> str:
    return log[-LOG_CHARS_SHOWN_MAX:]


@pytest.fixture(scope="module")
def module_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """The module's scheduler."""
    settings = {**DEFAULTS, **getattr(request.module, "SETTINGS", {})}
    yield from _cluster(tmp_path_factory.mktemp("scheduler"), settings)


@pytest.fixture
def own_cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler for one test, for those that hurt it. Its parameter are further settings."""
    module = getattr(request.module, "SETTINGS", {})
    settings = {**DEFAULTS, **module, **getattr(request, "param", {})}
    yield from _cluster(tmp_path, settings)


def _cluster(folder: Path, settings: Overrides) -> Iterator[Cluster]:
    scheduler = RunningScheduler(folder, settings)
    try:
        scheduler.wait_ready()
        with closing(Cluster(scheduler)) as cluster:
            yield cluster
        if not scheduler.stopped:
            scheduler.stop()
    finally:
        scheduler.kill()


@pytest.fixture
def cluster(request: pytest.FixtureRequest, module_cluster: Cluster) -> Iterator[Cluster]:
    """The module's scheduler. After the test nothing of it may be left but its `MAY_STAY`."""
    module_cluster.start_log()
    yield module_cluster
    module_cluster.check_settled(besides=getattr(request.module, "MAY_STAY", ()))
    log = module_cluster.new_log()
    assert "Traceback" not in log, f"a process raised\n{_tail(log)}"
