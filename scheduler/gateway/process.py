"""The gateway process: sockets, pipes, timers, and an orderly end."""

import asyncio
import os
import socket
from collections.abc import Callable
from http import HTTPStatus

import structlog
import uvloop

from scheduler.config import Config
from scheduler.errors import ChannelClosed
from scheduler.gateway.context import GatewayContext
from scheduler.gateway.gateway import Gateway
from scheduler.gateway.handshake import HttpResponse, Responder
from scheduler.gateway.link import DispatcherLink
from scheduler.gateway.listener import ConnectionSettings, Listener, Route
from scheduler.gateway.payloads import Payloads
from scheduler.gateway.public_stats import PublicStats
from scheduler.gateway.relaying import Relaying
from scheduler.gateway.tls_acceptor import TlsAcceptor
from scheduler.identity.credentials import Credentials, take_over
from scheduler.identity.tls import server_context
from scheduler.ipc.boot import BootSpec, read_boot
from scheduler.ipc.control import Control, Drain, Drained, Link, Ready, SetCredentials, SetLogging
from scheduler.ipc.runtime import (
    BEAT_INTERVAL_MS,
    Pulse,
    booting,
    enter_child,
    freeze_heap,
    resident_bytes,
)
from scheduler.logs import configure_logging, keep_events
from scheduler.memory.arena import Arena, ArenaReader
from scheduler.memory.layout import GATEWAY_COUNTERS
from scheduler.memory.rings import ReleaseRings
from scheduler.memory.segment import Segment
from scheduler.memory.views import Counters, Views

log = structlog.get_logger(__name__)

LINK_WAIT_SECONDS = 10.0
"""A gateway without a dispatcher for so long gives up, and the supervisor starts it anew."""

_SWEEP_SECONDS = 0.1
_DRAIN_POLL_SECONDS = 0.02
_GOODBYE_SECONDS = 1.0
"""For the closing handshakes of nodes at the very end."""

_GAUGES = tuple(column.name for column in GATEWAY_COUNTERS.columns if column.unit != "total")


class GatewayProcess:
    """Everything of one gateway that has to do with the machine."""

    def __init__(self, boot: BootSpec, control: Control, loop: asyncio.AbstractEventLoop) -> None:
        """Raises LayoutError where the memory is not what this version expects."""
        self._boot = boot
        self._control = control
        self._loop = loop
        views = Segment.attach(boot.segment_fd, writable=True).views
        counters = views.counters("gateway_counters", boot.index)
        _take_over(counters)
        self._context = GatewayContext(
            config=boot.config,
            index=boot.index,
            incarnation=boot.incarnation,
            epoch=boot.epoch,
            loop=loop,
            views=views,
            counters=counters,
            credentials=boot.credentials,
        )
        self._context.codes.settle_cancelled(counters.get("jobs_cancelled_total"))
        self._flight = self._context.flight
        keep_events(self._flight.note)
        self._flight.note("start", f"{boot.child}, start {boot.incarnation}")
        self._pulse = Pulse(views, boot.child.row, boot.config.observability.path_warn_ms)
        self._link = DispatcherLink(loop, self._wait_for_link)
        self._link_timer: asyncio.TimerHandle | None = None
        self._relaying = _relaying(boot, loop)
        self._gateway = Gateway(
            self._context,
            self._link,
            _payloads(boot, views, counters),
            self._relaying.lead if self._relaying is not None else None,
        )
        self._listener = Listener(
            loop,
            ConnectionSettings.of(boot.config),
            routes=[
                Route("/ws/session", self._gateway.new_session),
                Route("/ws/node", self._gateway.new_node),
            ],
            responders=_responders(boot.config),
            counters=counters,
            count_refusal=self._context.codes.add_refused,
            life=self._pulse,
        )
        self._secure(boot.credentials)
        self._servers: list[asyncio.Server | TlsAcceptor] = []
        self._ended = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until the supervisor closes the control socket."""
        self._loop.add_reader(self._control.fileno(), self._obey)
        self._wait_for_link()
        for fd in self._boot.public_fds:
            self._servers.append(await self._listener.serve(socket.socket(fileno=fd)))
        if self._relaying is not None:
            await self._relaying.serve(
                self._gateway.relayed_session,
                self._context.counters,
                self._context.codes.add_refused,
                self._pulse,
            )
        self._beat()
        self._sweep()
        freeze_heap()
        self._control.send(Ready())
        self._pulse.mark_ready()
        await self._ended.wait()
        self._stop_accepting()
        self._gateway.close_sessions()
        self._gateway.close_nodes()
        await self._listener.wait_closed(_GOODBYE_SECONDS)
        if self._relaying is not None:
            await self._relaying.close(_GOODBYE_SECONDS)

    def _obey(self) -> None:
        try:
            messages = self._control.receive()
        except ChannelClosed:
            self._loop.remove_reader(self._control.fileno())
            self._ended.set()
            return
        for message, fds in messages:
            if isinstance(message, Link):
                self._attach(*fds)
                continue
            if isinstance(message, SetCredentials):
                self._change_credentials(take_over(fds[0]))
            for fd in fds:
                os.close(fd)
            if isinstance(message, SetLogging):
                configure_logging(message.settings, str(self._boot.child))
            elif isinstance(message, Drain):
                self._draining = self._loop.create_task(self._drain(message))

    def _change_credentials(self, credentials: Credentials) -> None:
        self._flight.note("credentials", "changed")
        self._context.doorkeeper.change(credentials)
        self._secure(credentials)

    def _secure(self, credentials: Credentials) -> None:
        """Have sockets that are accepted from now on speak TLS, if it is set up."""
        if credentials.tls is not None:
            self._listener.tls = server_context(credentials.tls)

    def _attach(self, read_fd: int, write_fd: int) -> None:
        if self._link_timer is not None:
            self._link_timer.cancel()
            self._link_timer = None
        self._flight.note("link", "dispatcher attached")
        self._link.attach(read_fd, write_fd)
        self._gateway.announce()

    def _wait_for_link(self) -> None:
        self._flight.note("link", "waiting for a dispatcher")
        if self._link_timer is None:
            self._link_timer = self._loop.call_later(LINK_WAIT_SECONDS, self._give_up)

    def _give_up(self) -> None:
        log.error("no dispatcher", waited_seconds=LINK_WAIT_SECONDS)
        os._exit(1)

    async def _drain(self, order: Drain) -> None:
        self._flight.note("drain", f"within {order.deadline_seconds:g} s")
        deadline = self._loop.time() + order.deadline_seconds
        self._stop_accepting()
        self._gateway.drain()
        await self._wait_until(lambda: not self._gateway.has_sessions, deadline)
        self._gateway.close_sessions()
        if order.replaced:
            self._gateway.retire_nodes()
            await self._wait_until(lambda: not self._gateway.has_attempts, deadline)
        self._control.send(Drained())

    async def _wait_until(self, condition: Callable[[], bool], deadline: float) -> None:
        while not condition() and self._loop.time() < deadline:
            await asyncio.sleep(_DRAIN_POLL_SECONDS)

    def _stop_accepting(self) -> None:
        for server in self._servers:
            server.close()

    def _beat(self) -> None:
        self._pulse.beat(self._context.now_ns)
        self._context.counters.set("link_queued_bytes", self._link.queued_bytes)
        self._look_at_memory()
        self._loop.call_later(BEAT_INTERVAL_MS / 1000, self._beat)

    def _look_at_memory(self) -> None:
        limit = self._context.config.limits.memory_bytes_max
        if limit:
            short = resident_bytes() > limit
            if short != self._context.is_short_of_memory:
                log.warning("short of memory" if short else "memory is free again", limit=limit)
            self._context.is_short_of_memory = short

    def _sweep(self) -> None:
        self._gateway.sweep()
        self._loop.call_later(_SWEEP_SECONDS, self._sweep)


def _take_over(counters: Counters) -> None:
    """Settle what a gateway before this one left: its jobs died with it."""
    ended = counters.get("jobs_completed_total") + counters.get("jobs_failed_total")
    counters.set("jobs_cancelled_total", counters.get("jobs_accepted_total") - ended)
    for gauge in _GAUGES:
        counters.set(gauge, 0)


def _payloads(boot: BootSpec, views: Views, counters: Counters) -> Payloads:
    return Payloads(
        Arena(boot.arena_fds[boot.index], boot.index, boot.incarnation),
        [ArenaReader(fd) for fd in boot.arena_fds],
        ReleaseRings(views, boot.dimensions.gateways, boot.index),
        counters,
        boot.config.limits.arena_bytes,
    )


def _relaying(boot: BootSpec, loop: asyncio.AbstractEventLoop) -> Relaying | None:
    """Return what leads sessions to their gateways, None where they are with the only one."""
    if boot.dimensions.gateways == 1 or not boot.config.limits.resume_seconds:
        return None
    return Relaying(loop, boot.config, boot.index)


def _responders(config: Config) -> dict[str, Responder]:
    """Return what the public port answers besides WebSockets."""
    responders: dict[str, Responder] = {
        "/health": lambda: HttpResponse(HTTPStatus.OK, "text/plain", b"OK")
    }
    if config.server.public_stats:
        responders["/api/v1/stats"] = PublicStats(config.snapshot_path).respond
    return responders


async def _serve(boot: BootSpec) -> None:
    control = Control(boot.control_fd)
    with booting(control):
        process = GatewayProcess(boot, control, asyncio.get_running_loop())
    await process.run()


def main(boot_fd: int) -> None:
    """Run the gateway described by the boot document at `boot_fd`."""
    boot = read_boot(boot_fd)
    enter_child(boot)
    uvloop.run(_serve(boot))
