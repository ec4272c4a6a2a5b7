"""The dispatcher process: gives the core its records, its clock and its memory.

A plain epoll loop, because there is nothing to wait for but pipes: read all there is, let the
core work, write each gateway's records at once. No thread, no lock, no other I/O.
"""

import contextlib
import os
import select
import time

import structlog

from scheduler.dispatch.core import Dispatcher
from scheduler.dispatch.counts import NAMES, values_of
from scheduler.dispatch.nodes import NOBODY
from scheduler.dispatch.tables import Tables
from scheduler.errors import ChannelClosed, ChannelCorrupt, ChannelFull
from scheduler.ipc.boot import BootSpec, read_boot
from scheduler.ipc.channel import Channel
from scheduler.ipc.control import Control, Link, Ready, SetLogging
from scheduler.ipc.runtime import Pulse, booting, enter_child, freeze_heap
from scheduler.logs import configure_logging, keep_events
from scheduler.memory.flight import FlightRecorder
from scheduler.memory.layout import DISPATCHER_ROW
from scheduler.memory.segment import Segment
from scheduler.protocol.records import DrainNode, PartialText, ToDispatcher, ToGateway

log = structlog.get_logger(__name__)

TURN_SECONDS_MAX = 0.02
"""Longest sleep: how exactly deadlines are met."""

QUEUE_BYTES_MAX = 64 << 20
"""Unread records at which a gateway is taken for dead. It is stuck for seconds by then, and the
supervisor is about to replace it."""

SLOW_BYTES = 1 << 20
"""Unread records beyond which a gateway gets no partial texts: a later one says it all again."""

COMMAND_QUEUE_BYTES_MAX = 1 << 10
"""Operators are answered nothing over their pipe: what comes of a command shows in memory."""


class DispatcherProcess:
    """The loop around the core."""

    def __init__(self, boot: BootSpec, control: Control) -> None:
        """Raises LayoutError where the memory is not what this version expects."""
        self._control = control
        segment = Segment.attach(boot.segment_fd, writable=True)
        views = segment.views
        self._flight = FlightRecorder(views, DISPATCHER_ROW)
        keep_events(self._flight.note)
        self._counters = views.counters("dispatcher_counters", 0)
        self._pulse = Pulse(views, DISPATCHER_ROW, boot.config.observability.path_warn_ms)
        self._core = Dispatcher(
            boot.config,
            Tables(views.column, views.scores()),
            boot.dimensions.gateways,
            note=self._note,
        )
        for name in NAMES:  # totals go on counting where an earlier dispatcher stopped
            setattr(self._core.counts, name, self._counters.get(name))
        self._flight.note("start", f"dispatcher {boot.incarnation}")
        if boot.incarnation > 0:
            self._core.start_recovery(time.monotonic_ns())
        self._epoll = select.epoll()
        self._epoll.register(self._control.fileno(), select.EPOLLIN)
        self._channels: dict[int, Channel[ToDispatcher]] = {}
        self._gateway_of_fd: dict[int, int] = {}
        self._writing: set[int] = set()
        self._commands: Channel[DrainNode] | None = None
        self._published: tuple[int | None, ...] = (None,) * len(NAMES)

    def _note(self, kind: str, text: str) -> None:
        if kind == "audit":  # something went wrong that was put right: operators should see it
            log.warning("load audit", found=text)
        else:
            self._flight.note(kind, text)

    def run(self) -> None:
        """Work until the supervisor closes the control socket."""
        self._control.send(Ready())
        self._pulse.mark_ready()
        freeze_heap()
        with contextlib.suppress(ChannelClosed):
            while True:
                events = self._epoll.poll(0 if self._core.is_behind else TURN_SECONDS_MAX)
                woke_ns = time.monotonic_ns()
                for fd, _ in events:
                    if fd == self._control.fileno():
                        self._obey()
                    elif fd in self._gateway_of_fd:
                        self._read(self._gateway_of_fd[fd])
                    elif self._commands is not None and fd == self._commands.read_fd:
                        self._read_commands(self._commands)
                self._core.tick(time.monotonic_ns())
                self._publish()  # first: whoever is told of something finds it counted
                self._write_all()
                self._pulse.turn(woke_ns, time.monotonic_ns())

    def _obey(self) -> None:
        """Take the supervisor's messages; raise ChannelClosed when it wants us to end."""
        for message, fds in self._control.receive():
            if isinstance(message, Link) and message.peer == "stats":
                self._attach_commands(*fds)
            elif isinstance(message, Link):
                self._attach(message.index, *fds)
            elif isinstance(message, SetLogging):
                configure_logging(message.settings, "dispatcher")
            else:
                for fd in fds:
                    os.close(fd)

    def _attach(self, gateway: int, read_fd: int, write_fd: int) -> None:
        """Use new pipes to a gateway: the one at the other end of the old ones is gone."""
        if gateway in self._channels:
            self._lose(gateway)
        self._channels[gateway] = Channel(
            read_fd, write_fd, ToDispatcher, queue_bytes_max=QUEUE_BYTES_MAX
        )
        self._gateway_of_fd[read_fd] = gateway
        self._epoll.register(read_fd, select.EPOLLIN)
        self._flight.note("link", f"gateway {gateway} attached")

    def _read(self, gateway: int) -> None:
        try:
            records = self._channels[gateway].receive()
        except (ChannelClosed, ChannelCorrupt) as error:
            log.warning("gateway is gone", gateway=gateway, error=str(error))
            self._lose(gateway)
            return
        self._core.receive_all(gateway, records, time.monotonic_ns())

    def _attach_commands(self, read_fd: int, write_fd: int) -> None:
        """Take operators' commands from new pipes; no other records are accepted there."""
        self._drop_commands()
        self._commands = Channel(
            read_fd, write_fd, DrainNode, queue_bytes_max=COMMAND_QUEUE_BYTES_MAX
        )
        self._epoll.register(read_fd, select.EPOLLIN)

    def _read_commands(self, commands: Channel[DrainNode]) -> None:
        try:
            records = commands.receive()
        except (ChannelClosed, ChannelCorrupt) as error:
            log.info("no commands until stats is back", error=str(error))
            self._drop_commands()
            return
        self._core.receive_all(NOBODY, [*records], time.monotonic_ns())

    def _drop_commands(self) -> None:
        if self._commands is not None:
            self._epoll.unregister(self._commands.read_fd)
            self._commands.close()
            self._commands = None

    def _write_all(self) -> None:
        for gateway, records in enumerate(self._core.outbox):
            if records or gateway in self._writing:
                self._write(gateway)

    def _write(self, gateway: int) -> None:
        channel = self._channels.get(gateway)
        records = self._core.outbox[gateway]
        if channel is None:
            records.clear()  # its nodes and jobs are gone; nobody is there to be told
            return
        if channel.queued_bytes > SLOW_BYTES:
            self._drop_texts(records)
        try:
            channel.queue_all(records)
            done = channel.flush()
        except (ChannelClosed, ChannelFull) as error:
            log.warning("gateway is gone", gateway=gateway, error=str(error))
            self._lose(gateway)
            return
        records.clear()
        if done:
            self._writing.discard(gateway)
        else:  # tried again each turn; a gateway that stays behind meets the bound
            self._writing.add(gateway)

    def _drop_texts(self, records: list[ToGateway]) -> None:
        kept = [record for record in records if type(record) is not PartialText]
        self._core.counts.partials_dropped_total += len(records) - len(kept)
        records[:] = kept

    def _lose(self, gateway: int) -> None:
        channel = self._channels.pop(gateway)
        del self._gateway_of_fd[channel.read_fd]
        self._epoll.unregister(channel.read_fd)
        self._writing.discard(gateway)
        channel.close()
        self._core.lose_gateway(gateway, time.monotonic_ns())

    def _publish(self) -> None:
        self._core.counts.turns_total += 1
        self._core.update_gauges()
        self._core.counts.link_queued_bytes = sum(
            self._channels[gateway].queued_bytes for gateway in self._writing
        )
        before, self._published = self._published, values_of(self._core.counts)
        for name, value, old in zip(NAMES, self._published, before, strict=True):
            if value is not old:  # of fifty few have changed in a turn
                self._counters.set(name, value)


def main(boot_fd: int) -> None:
    """Run the dispatcher described by the boot document at `boot_fd`."""
    boot = read_boot(boot_fd)
    enter_child(boot)
    control = Control(boot.control_fd)
    with booting(control):
        process = DispatcherProcess(boot, control)
    process.run()
