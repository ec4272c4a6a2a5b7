"""Stands in for gateway, dispatcher and stats: `stand_in.py BEHAVIOURS REPORT BOOT_FD`.

BEHAVIOURS is JSON, {role: behaviour}; what isn't named behaves well. Over each link the others
say hello and the dispatcher answers; who said hello then writes a line to the file REPORT.
"""

import json
import os
import selectors
import sys
import time
from contextlib import suppress
from functools import partial

from scheduler.errors import ChannelClosed
from scheduler.ipc.boot import ChildId, read_boot
from scheduler.ipc.control import Control, Drain, Drained, Link, Ready, SetLogging
from scheduler.ipc.runtime import Pulse, enter_child, fail_boot
from scheduler.memory.segment import Segment

BEATS_PER_SECOND = 20


class StandIn:
    def __init__(self, behaviours: str, report: str, boot_fd: str) -> None:
        self.boot = read_boot(int(boot_fd))
        self.behaviour = json.loads(behaviours).get(self.boot.role, "good")
        self.report_path = report
        enter_child(self.boot)
        self.control = Control(self.boot.control_fd)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.control, selectors.EVENT_READ, self.on_control)
        self.drain_ns = 0

    def main(self) -> None:
        if self.behaviour == "refuses":
            fail_boot(self.control, "the moon is full")
        if self.behaviour == "crashes":
            sys.exit(3)
        segment = Segment.attach(self.boot.segment_fd, writable=True)
        log_level = self.boot.config.observability.log_level
        if log_level != "info":
            self.report(f"{self.name} started to log at {log_level}")
        pulse = Pulse(segment.views, self.boot.child.row, path_warn_ms=3_600_000)
        if self.behaviour != "never ready":
            self.control.send(Ready())
        while True:
            pulse.beat(time.monotonic_ns())
            for key, _ in self.selector.select(1 / BEATS_PER_SECOND):
                key.data()
            if self.drain_ns and time.monotonic_ns() >= self.drain_ns:
                self.control.send(Drained())
                self.drain_ns = 0

    def on_control(self) -> None:
        try:
            messages = self.control.receive()
        except ChannelClosed:
            if self.behaviour != "stays":
                sys.exit(0)
            self.selector.unregister(self.control)
            return
        for message, fds in messages:
            match message:
                case Link():
                    self.on_link(message, *fds)
                case Drain(seconds) if self.behaviour != "never drained":
                    self.report(f"{self.name} drains")
                    self.drain_ns = time.monotonic_ns() + int(seconds * 1e9) // 2
                case SetLogging(settings):
                    self.report(f"{self.name} logs at {settings.log_level}")
                case _:
                    pass

    @property
    def name(self) -> str:
        return f"{self.boot.child} #{self.boot.incarnation}"

    def on_link(self, link: Link, read_fd: int, write_fd: int) -> None:
        peer = ChildId(link.peer, link.index)
        on_pipe = partial(self.on_pipe, f"{peer} #{link.incarnation}", read_fd, write_fd)
        self.selector.register(read_fd, selectors.EVENT_READ, on_pipe)
        if link.peer == "dispatcher":
            say(write_fd, f"{self.name} to {peer} #{link.incarnation}")

    def on_pipe(self, peer: str, read_fd: int, write_fd: int) -> None:
        data = os.read(read_fd, 4096).decode()
        if not data:
            self.selector.unregister(read_fd)
            os.close(read_fd)
            os.close(write_fd)
        elif self.boot.role == "dispatcher":
            assert data == f"{peer} to {self.name}"
            say(write_fd, f"{self.name} answers {peer}")
        else:
            self.report(data)

    def report(self, line: str) -> None:
        with open(self.report_path, "a") as file:
            file.write(f"{line}\n")


def say(write_fd: int, text: str) -> None:
    with suppress(BrokenPipeError):  # that one died meanwhile
        os.write(write_fd, text.encode())


if __name__ == "__main__":
    StandIn(*sys.argv[1:]).main()
