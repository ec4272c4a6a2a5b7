"""Starts one child process as the supervisor would, with everything else played by the test."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from scheduler.config import Config, LimitSettings
from scheduler.errors import ChannelClosed
from scheduler.ipc.boot import BootSpec, ChildRole
from scheduler.ipc.channel import Channel, make_pipes
from scheduler.ipc.control import Link, Message
from scheduler.memory.arena import create_arena
from scheduler.memory.layout import Dimensions
from scheduler.memory.segment import Segment
from scheduler.selection.services import distinct_classes
from scheduler.supervisor.children import COMMANDS, Child

DEADLINE_SECONDS = 30.0


@dataclass
class Site:
    """The memory and sockets that the children of one test share."""

    config: Config = field(default_factory=lambda: Config(limits=LimitSettings(nodes_max=64)))
    gateways: int = 1

    def __post_init__(self) -> None:
        dimensions = Dimensions(
            gateways=self.gateways,
            nodes=self.config.limits.nodes_max,
            sessions_per_gateway=16,
            classes=distinct_classes(self.config.scheduler),
        )
        self.config = _with_sessions(self.config)
        self.segment = Segment.create(dimensions, epoch="site", started_ms=0, started_ns=0)
        self.arena_fds = [create_arena(1 << 16) for _ in range(self.gateways)]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self._open: list[Any] = []

    def start(
        self, role: ChildRole, *, index: int = 0, incarnation: int = 0, segment_fd: int = -1
    ) -> Child:
        """Start a child; `segment_fd` puts something else in the place of the memory."""
        boot = BootSpec(
            role=role,
            index=index,
            incarnation=incarnation,
            epoch="site",
            config=self.config,
            dimensions=self.segment.dimensions,
            cores=sorted(os.sched_getaffinity(0)),
            supervisor_pid=os.getpid(),
            control_fd=-1,
            segment_fd=segment_fd if segment_fd >= 0 else self.segment.fd,
            arena_fds=self.arena_fds if role == "gateway" else [],
            public_fds=[self.listener.fileno()] if role == "gateway" else [],
        )
        child = Child(COMMANDS[role], boot)
        self._open.append(child)
        return child

    def link(self, child: Child, message: Link, inbound: Any) -> Channel[Any]:
        """Give the child pipes; return the other end."""
        theirs, ours = make_pipes()
        child.send(message, theirs)
        for fd in theirs:
            os.close(fd)
        channel: Channel[Any] = Channel(*ours, inbound, queue_bytes_max=1 << 24)
        self._open.append(channel)
        return channel

    def close(self) -> None:
        """End the children and free everything."""
        for item in self._open:
            if isinstance(item, Child):
                item.process.kill()
                item.reap()
            else:
                item.close()
        self.listener.close()
        for fd in self.arena_fds:
            os.close(fd)
        self.segment.close()


def _with_sessions(config: Config) -> Config:
    limits = msgspec.structs.replace(config.limits, sessions_per_gateway_max=16)
    return msgspec.structs.replace(config, limits=limits)


def until(condition: Callable[[], Any]) -> Any:
    """Return the first true value of `condition`; fail after a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.005)
    return value


def next_message(child: Child) -> Message:
    """Return the child's next message on its control socket."""
    messages = until(child.control.receive)
    assert len(messages) == 1
    message: Message = messages[0][0]
    return message


def until_closed(channel: Channel[Any]) -> None:
    """Wait until the other end of the pipes is gone."""

    def closed() -> bool:
        try:
            channel.receive()
        except ChannelClosed:
            return True
        return False

    until(closed)
