"""Simulated nodes: many in one process, each deterministic from the seed and its number.

What the k-th job of node i takes, says and whether it fails depends on the seed, i and k alone.
"""

import asyncio
import random
import resource
import ssl

import structlog
from msgspec import Struct

from scheduler.nodes.errors import TooManyNodesError
from scheduler.protocol.node import Hardware
from scheduler.sdk.backoff import Backoff
from scheduler.sdk.errors import JobFailed
from scheduler.sdk.jobs import Job, JobOutcome
from scheduler.sdk.node import NodeClient
from scheduler.sdk.usage import Usage

_STARTS_PER_SECOND = 200
"""So that a thousand handshakes don't time each other out."""

_OTHER_FILES = 64
"""Files of this process besides the nodes' sockets."""

_log = structlog.get_logger(__name__)


class SimSettings(Struct, frozen=True, kw_only=True):
    """What the simulated nodes do.

    A job takes between the two `delay_ms`, and fails with `fail_code` in a share `fail_rate`
    (0-1) of cases. `churn_seconds` is the mean time between cuts of a node's connection; None:
    none. `tts_bytes` is the size of the audio in each result.
    """

    url: str
    services: tuple[str, ...]
    count: int = 1
    delay_ms: tuple[float, float] = (100.0, 100.0)
    fail_rate: float = 0.0
    fail_code: str = "INTERNAL_ERROR"
    capacity: int = 4
    seed: int = 0
    name_prefix: str = "sim"
    partials: int = 0
    heartbeat_seconds: float = 15.0
    churn_seconds: float | None = None
    tts_bytes: int = 3_200
    token: str | None = None
    tls: ssl.SSLContext | None = None


class SimNode:
    """Node number `index` of the simulation."""

    def __init__(self, settings: SimSettings, index: int) -> None:
        self._settings = settings
        self._rng = _rng(settings.seed, index, "jobs")
        self._churn_rng = _rng(settings.seed, index, "churn")
        self._audio = bytes(settings.tts_bytes)
        self.client = NodeClient(
            settings.url,
            services=settings.services,
            handler=self.handle,
            capacity=settings.capacity,
            name=f"{settings.name_prefix}-{index}",
            platform="sim",
            hardware=Hardware(cpu_cores=8, memory_gb=16),
            heartbeat_seconds=settings.heartbeat_seconds,
            usage=self._usage,
            token=settings.token,
            tls=settings.tls,
            backoff=Backoff(rng=_rng(settings.seed, index, "backoff")),
        )

    def _usage(self) -> Usage:
        """Usage follows the jobs, below the limit that would keep further ones away."""
        return Usage(80.0 * self.client.running_jobs / self._settings.capacity, 30.0)

    async def handle(self, job: Job) -> JobOutcome:
        """Run one job."""
        settings = self._settings
        # All draws come before the first wait, so that jobs in parallel can't reorder them.
        delay_seconds = self._rng.uniform(*settings.delay_ms) / 1000
        fails = self._rng.random() < settings.fail_rate
        assign = job.assign
        text = f"utterance {assign.utterance_index}"
        for part in range(settings.partials):
            await asyncio.sleep(delay_seconds / (settings.partials + 1))
            await job.partial(text[: len(text) * (part + 1) // settings.partials])
        await asyncio.sleep(delay_seconds / (settings.partials + 1))
        if fails:
            raise JobFailed(settings.fail_code, "simulated failure")
        pipeline = assign.pipeline
        return JobOutcome(
            text_asr="" if pipeline.use_asr is False else text,
            text_translated="" if pipeline.use_nmt is False else f"[{assign.tgt_lang}] {text}",
            tts_audio=b"" if pipeline.use_tts is False else self._audio,
        )

    async def run(self) -> None:
        """Serve until cancelled."""
        if self._settings.churn_seconds is None:
            await self.client.run()
            return
        async with asyncio.TaskGroup() as group:
            churning = group.create_task(self._churn(self._settings.churn_seconds))
            await self.client.run()
            churning.cancel()

    async def _churn(self, mean_seconds: float) -> None:
        while True:
            await asyncio.sleep(self._churn_rng.expovariate(1 / mean_seconds))
            self.client.drop_connection()


async def run(settings: SimSettings, nodes: list[SimNode] | None = None) -> None:
    """Run all nodes until cancelled, or until each was shut down by an operator.

    `nodes`, where it is given, gets each as it is started.

    Raises Refused if the scheduler refuses a node for good, and TooManyNodesError.
    """
    _allow_open_files(settings.count + _OTHER_FILES)
    _log.info("simulating nodes", count=settings.count, url=settings.url, seed=settings.seed)
    try:
        async with asyncio.TaskGroup() as group:
            for index in range(settings.count):
                node = SimNode(settings, index)
                if nodes is not None:
                    nodes.append(node)
                group.create_task(node.run())
                await asyncio.sleep(1 / _STARTS_PER_SECOND)
    except ExceptionGroup as failures:
        raise _first(failures) from None


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _allow_open_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise TooManyNodesError(
            f"{wanted - _OTHER_FILES} nodes need as many open files, but `ulimit -Hn` is {hard}; "
            "run fewer, or raise it"
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _rng(seed: int, index: int, purpose: str) -> random.Random:
    return random.Random(f"{seed}/{index}/{purpose}")  # noqa: S311 - a simulation
