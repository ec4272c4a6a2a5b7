"""The stats process: reads memory, publishes snapshots, answers operators."""

import asyncio
import contextlib
import os
import socket
import time
from pathlib import Path

import uvloop
from aiohttp import web

from scheduler.errors import ChannelClosed
from scheduler.ipc.boot import BootSpec, read_boot
from scheduler.ipc.control import Control, Link, Ready, SetLogging
from scheduler.ipc.runtime import BEAT_INTERVAL_MS, Pulse, booting, enter_child, freeze_heap
from scheduler.logs import configure_logging, keep_events
from scheduler.memory.flight import FlightRecorder
from scheduler.memory.layout import STATS_ROW
from scheduler.memory.segment import Segment
from scheduler.stats.admin import AdminGate
from scheduler.stats.assets import Dashboard
from scheduler.stats.capacity import CapacityReader
from scheduler.stats.catalog import EmptyCatalogue, FileCatalogue, ServiceCatalogue
from scheduler.stats.catalog_http import HttpCatalogue
from scheduler.stats.commands import CommandPipe, NodeCommands
from scheduler.stats.connections import Door
from scheduler.stats.decisions import DecisionsReader
from scheduler.stats.events import EventStream
from scheduler.stats.health import STALE_REFRESHES, HealthReader, missing
from scheduler.stats.history import HistoryKeeper
from scheduler.stats.http import Sources, make_app
from scheduler.stats.meter import RequestMeter
from scheduler.stats.metric_readers import MetricSources
from scheduler.stats.node_table import NodeTables
from scheduler.stats.publisher import Publisher
from scheduler.stats.reading import MemoryReader
from scheduler.stats.store import FileStore, MemoryStore
from scheduler.stats.waterfall import WaterfallKeeper

_NICENESS = 5
"""Once it serves: where cores are short, jobs go before views of them. Not lower, or it would be
too slow to show life."""

_SAVE_SECONDS = 1.0
"""For the first snapshot file; a slower disk doesn't keep operators out."""

_FIRST_LOOK_SECONDS = 1.0
"""For the local index of services, so that it is in the first snapshot."""

_GOODBYE_SECONDS = 1.0
"""For requests that are being answered at the end."""


class StatsProcess:
    """Everything of the stats process that has to do with the machine."""

    def __init__(self, boot: BootSpec, control: Control, loop: asyncio.AbstractEventLoop) -> None:
        """Raises LayoutError where the memory is not what this version expects."""
        config = boot.config
        self._boot = boot
        self._loop = loop
        self._control = control
        # Two mappings: a mistake in what reads for operators must not be able to write what
        # others work with. The writable one serves this process's own signs of life alone.
        own = Segment.attach(boot.segment_fd, writable=True).views
        self._pulse = Pulse(own, STATS_ROW, config.observability.path_warn_ms)
        flight = FlightRecorder(own, STATS_ROW)
        keep_events(flight.note)
        flight.note("start", f"stats {boot.incarnation}")
        views = Segment.attach(boot.segment_fd, writable=False).views
        self._health = HealthReader(views, boot.dimensions.gateways)
        folder = config.model_hub.storage_path
        self._index = FileCatalogue(Path(folder)) if folder else None
        self._catalogue: ServiceCatalogue = self._index or EmptyCatalogue()
        self._hub: HttpCatalogue | None = None
        if config.model_hub.base_url:
            self._catalogue = self._hub = HttpCatalogue(config.model_hub, self._catalogue, _now_ms)
        self._served = MemoryStore()
        self._nodes = NodeTables()
        self._history = HistoryKeeper(config.stats.refresh_seconds, _now_ms)
        self._waterfall = WaterfallKeeper()
        self._stream = EventStream()
        self._publisher = Publisher(
            config,
            MemoryReader(views),
            self._health,
            self._catalogue,
            served=self._served,
            saved=FileStore(config.snapshot_path),
            source=f"{boot.epoch}-{boot.incarnation}",
            observers=(
                self._nodes.observe,
                self._history.observe,
                self._waterfall.observe,
                self._stream.observe,
            ),
        )
        self._refresh_seconds = config.stats.refresh_seconds
        self._ended = asyncio.Event()
        meter = RequestMeter(self._is_stale)
        gate = AdminGate(config.server.admin_token)
        self._pipe = CommandPipe()
        commands = NodeCommands(gate, self._pipe, views, self._history.note)
        self._sources = Sources(
            store=self._served,
            missing=self._missing,
            nodes=self._nodes,
            history=self._history,
            stream=self._stream,
            dashboard=Dashboard(),
            meter=meter,
            metrics=MetricSources(
                views=views,
                catalogue=self._catalogue,
                health=self._health,
                publisher=self._publisher,
                meter=meter,
                stream=self._stream,
                gate=gate,
                commands=commands,
                clock_ns=time.monotonic_ns,
            ),
            commands=commands,
            capacity=CapacityReader(views, config.scheduler),
            decisions=DecisionsReader(views, boot.epoch, config.scheduler.load_balancer.strategy),
            waterfall=self._waterfall,
        )

    async def run(self) -> None:
        """Serve until the supervisor closes the control socket."""
        self._loop.add_reader(self._control.fileno(), self._obey)
        self._beat()
        background: list[asyncio.Task[None]] = []
        if self._index is not None:
            background.append(asyncio.create_task(self._index.run(self._refresh_seconds)))
            await self._index.wait_looked(_FIRST_LOOK_SECONDS)
        self._publisher.publish()
        await self._publisher.wait_saved(_SAVE_SECONDS)
        runner = web.AppRunner(
            make_app(self._sources),
            access_log=None,
            shutdown_timeout=_GOODBYE_SECONDS,
        )
        await runner.setup()
        assert runner.server is not None
        door = Door(runner.server, self._sources.meter)
        servers = [
            await self._loop.create_server(door.new_connection, sock=socket.socket(fileno=fd))
            for fd in self._boot.ops_fds
        ]
        freeze_heap()
        os.nice(_NICENESS)
        self._pulse.mark_ready()
        with contextlib.suppress(ChannelClosed):  # then `_obey` ends this process
            self._control.send(Ready())
        if self._hub is not None:
            background.append(asyncio.create_task(self._hub.run()))
        await self._refresh_until_end()
        await _cancel(background)
        for server in servers:
            server.close()
        await runner.cleanup()
        self._pipe.close()

    async def _refresh_until_end(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._ended.wait(), self._refresh_seconds)
            except TimeoutError:
                self._publisher.publish()
            else:
                return

    def _is_stale(self) -> bool:
        return self._publisher.age_ns() >= STALE_REFRESHES * self._refresh_seconds * 1e9

    def _missing(self) -> list[str]:
        processes = self._health.read(time.monotonic_ns())
        return missing(processes, self._publisher.age_ns(), self._refresh_seconds)

    def _obey(self) -> None:
        try:
            for message, fds in self._control.receive():
                if isinstance(message, Link):
                    self._pipe.attach(*fds)
                elif isinstance(message, SetLogging):
                    configure_logging(message.settings, str(self._boot.child))
                else:
                    for fd in fds:
                        os.close(fd)
        except ChannelClosed:
            self._loop.remove_reader(self._control.fileno())
            self._ended.set()

    def _beat(self) -> None:
        self._pulse.beat(time.monotonic_ns())
        self._loop.call_later(BEAT_INTERVAL_MS / 1000, self._beat)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def _serve(boot: BootSpec) -> None:
    control = Control(boot.control_fd)
    with booting(control):
        process = StatsProcess(boot, control, asyncio.get_running_loop())
    await process.run()


def main(boot_fd: int) -> None:
    """Run the stats process described by the boot document at `boot_fd`."""
    boot = read_boot(boot_fd)
    enter_child(boot)
    uvloop.run(_serve(boot))
