"""This gateway's end of the pipes to the dispatcher.

Records of one loop turn leave in one write. While the dispatcher is being replaced there is no
link; what must not be lost is announced to the next dispatcher by those who hold it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from scheduler.errors import ChannelClosed, ChannelCorrupt, ChannelFull
from scheduler.ipc.channel import Channel
from scheduler.protocol.records import ToDispatcher, ToGateway

log = structlog.get_logger(__name__)

QUEUE_BYTES_MAX = 32 << 20
"""Beyond this the dispatcher is taken for dead: it has not read for seconds."""

BUSY_BYTES = 4 << 20
"""Beyond this new jobs are refused."""

SLOW_BYTES = 1 << 20
"""Beyond this partial texts are dropped: a later one says it all again."""

Handler = Callable[[Any], None]


class DispatcherLink:
    """Sends records to the dispatcher and hands those it sends to their handlers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[], None]) -> None:
        """`on_lost` is called whenever a link is gone."""
        self._loop = loop
        self._on_lost = on_lost
        self._handlers: dict[type, Handler] = {}
        self._channel: Channel[ToGateway] | None = None
        self._flush_due = False
        self._writing = False

    def route(self, handlers: dict[type, Handler]) -> None:
        """Set the handler of each record type."""
        self._handlers.update(handlers)

    @property
    def is_busy(self) -> bool:
        """Whether the dispatcher is so far behind that new jobs must be refused."""
        return self._channel is not None and self._channel.queued_bytes > BUSY_BYTES

    @property
    def is_slow(self) -> bool:
        """Whether what may be lost must make room for what may not."""
        return self._channel is not None and self._channel.queued_bytes > SLOW_BYTES

    @property
    def queued_bytes(self) -> int:
        """What waits for the dispatcher to read it."""
        return self._channel.queued_bytes if self._channel is not None else 0

    def attach(self, read_fd: int, write_fd: int) -> None:
        """Use new pipes, in place of those to an earlier dispatcher."""
        self.close()
        channel: Channel[ToGateway] = Channel(
            read_fd, write_fd, ToGateway, queue_bytes_max=QUEUE_BYTES_MAX
        )
        self._channel = channel
        self._loop.add_reader(channel.read_fd, self._read)

    def send(self, record: ToDispatcher) -> None:
        """Queue a record. Without a link it is dropped: the next dispatcher is told anew."""
        if self._channel is None:
            return
        try:
            self._channel.queue(record)
        except ChannelFull:
            log.warning("dispatcher does not read", queued_bytes=self._channel.queued_bytes)
            self._lose()
            return
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        channel = self._channel
        if channel is None:
            return
        try:
            done = channel.flush()
        except ChannelClosed:
            self._lose()
            return
        if not done and not self._writing:
            self._writing = True
            self._loop.add_writer(channel.write_fd, self._flush)
        elif done and self._writing:
            self._writing = False
            self._loop.remove_writer(channel.write_fd)

    def _read(self) -> None:
        assert self._channel is not None
        try:
            records = self._channel.receive()
        except (ChannelClosed, ChannelCorrupt) as error:
            log.warning("dispatcher is gone", error=str(error))
            self._lose()
            return
        for record in records:
            try:
                self._handlers[type(record)](record)
            except Exception:  # the records behind it belong to other jobs
                log.exception("record handler failed", record=type(record).__name__)

    def _lose(self) -> None:
        self.close()
        self._on_lost()

    def close(self) -> None:
        """Close the pipes, if there are any."""
        channel, self._channel = self._channel, None
        if channel is None:
            return
        self._loop.remove_reader(channel.read_fd)
        if self._writing:
            self._writing = False
            self._loop.remove_writer(channel.write_fd)
        channel.close()
