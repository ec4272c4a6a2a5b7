"""The process at the other end of the pipes that native_bench/kernels.py measures."""

import select
import sys
from typing import Any

from scheduler.errors import ChannelClosed
from scheduler.ipc.channel import Channel
from scheduler.protocol.records import Submit

ANSWERED = 1
"""The requirement of records that are sent back; others are read and dropped."""


def flush_all(channel: Channel[Any]) -> None:
    """Flush, however often the pipe is full."""
    while not channel.flush():
        select.select([], [channel.write_fd], [])


def serve(read_fd: int, write_fd: int) -> None:
    """Answer until the pipe closes."""
    channel: Channel[Submit] = Channel(read_fd, write_fd, Submit, queue_bytes_max=1 << 30)
    with select.epoll() as poller:
        poller.register(read_fd, select.EPOLLIN)
        while True:
            poller.poll()
            channel.queue_all([r for r in channel.receive() if r.requirement == ANSWERED])
            flush_all(channel)


if __name__ == "__main__":
    try:
        serve(*map(int, sys.argv[1:]))
    except ChannelClosed:
        sys.exit(0)
