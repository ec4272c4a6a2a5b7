"""The least loop that could dispatch at all: decode, argmin, reserve, encode, release.

It speaks the dispatcher's records over the same pipes and forgets everything else a dispatcher
must do: no jobs, no classes, no deadlines, no failover, no counters. What it reaches is the
limit that the full one is measured against.
"""

import select
import sys

import numpy as np

from scheduler.errors import ChannelClosed
from scheduler.ipc.channel import Channel
from scheduler.protocol.records import Assign, Deliver, Result, Submit, ToDispatcher

_TURN_BITS = 40


def serve(read_fd: int, write_fd: int, nodes: int) -> None:
    """Answer Submit with Assign and Result with Deliver until the pipe closes."""
    channel: Channel[ToDispatcher] = Channel(
        read_fd, write_fd, ToDispatcher, queue_bytes_max=1 << 30
    )
    scores = np.zeros(nodes, np.int64)
    cells = memoryview(scores)  # type: ignore[arg-type]
    one_job = 1 << _TURN_BITS
    poller = select.epoll()
    poller.register(read_fd, select.EPOLLIN)
    turn = 0
    while True:
        poller.poll()
        answers: list[Assign | Deliver] = []
        for record in channel.receive():
            if type(record) is Submit:
                slot = int(scores.argmin())
                turn += 1
                cells[slot] = (cells[slot] >> _TURN_BITS) * one_job + one_job + turn
                answers.append(Assign(record.job, 1, slot, None))
            elif type(record) is Result:
                cells[record.node] -= one_job
                answers.append(Deliver(record.job, record.attempt, record.node, None))
        channel.queue_all(answers)
        while not channel.flush():
            select.select([], [write_fd], [])


if __name__ == "__main__":
    try:
        serve(*map(int, sys.argv[1:]))
    except ChannelClosed:
        sys.exit(0)
