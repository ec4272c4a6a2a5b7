"""The link to the dispatcher, over real pipes and a real event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop

from scheduler.gateway import link as link_module
from scheduler.gateway.link import DispatcherLink
from scheduler.ipc.channel import Channel, make_pipes
from scheduler.protocol.records import Deliver, Submit, ToDispatcher

DEADLINE_SECONDS = 10.0


class Dispatcher:
    """The other end of the pipes."""

    def __init__(self) -> None:
        self.ours, theirs = make_pipes()
        self.channel: Channel[ToDispatcher] = Channel(
            *theirs, ToDispatcher, queue_bytes_max=1 << 24
        )

    async def receive(self, count: int) -> list[ToDispatcher]:
        """Return the next `count` records."""
        records: list[ToDispatcher] = []

        def enough() -> bool:
            records.extend(self.channel.receive())
            return len(records) >= count

        await until(enough)
        return records

    def close(self) -> None:
        self.channel.close()


@pytest.fixture
def dispatchers() -> Iterator[Callable[[], Dispatcher]]:
    made: list[Dispatcher] = []

    def make() -> Dispatcher:
        made.append(Dispatcher())
        return made[-1]

    yield make
    for dispatcher in made:
        dispatcher.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


def run(test: Callable[[DispatcherLink, list[str]], Awaitable[None]]) -> None:
    async def main() -> None:
        lost: list[str] = []
        link = DispatcherLink(asyncio.get_running_loop(), lambda: lost.append("lost"))
        try:
            await test(link, lost)
        finally:
            link.close()

    uvloop.run(main())


def test_records_go_and_come(dispatchers: Callable[[], Dispatcher]) -> None:
    async def test(link: DispatcherLink, lost: list[str]) -> None:
        dispatcher = dispatchers()
        delivered: list[Deliver] = []
        link.route({Deliver: delivered.append})
        link.attach(*dispatcher.ours)
        link.send(Submit(1, 7))
        link.send(Submit(2, 7))
        received = await dispatcher.receive(2)
        assert received == [Submit(1, 7), Submit(2, 7)]
        dispatcher.channel.queue(Deliver(1, 1, 2, None))
        dispatcher.channel.flush()
        await until(lambda: bool(delivered))
        assert delivered == [Deliver(1, 1, 2, None)]
        assert lost == []

    run(test)


def test_a_record_that_breaks_its_handler_does_not_take_others_along(
    dispatchers: Callable[[], Dispatcher],
) -> None:
    async def test(link: DispatcherLink, lost: list[str]) -> None:
        dispatcher = dispatchers()
        delivered: list[int] = []

        def deliver(record: Deliver) -> None:
            delivered.append(record.job)
            if record.job == 1:
                raise ValueError("broken")

        link.route({Deliver: deliver})
        link.attach(*dispatcher.ours)
        dispatcher.channel.queue_all([Deliver(1, 1, 2, None), Deliver(2, 1, 2, None)])
        dispatcher.channel.flush()
        await until(lambda: len(delivered) == 2)
        assert lost == []

    run(test)


def test_without_a_dispatcher_records_are_dropped(dispatchers: Callable[[], Dispatcher]) -> None:
    async def test(link: DispatcherLink, lost: list[str]) -> None:
        assert not link.is_busy
        link.send(Submit(1, 7))
        assert lost == []

    run(test)


def test_the_end_of_a_dispatcher_is_noticed_and_another_can_follow(
    dispatchers: Callable[[], Dispatcher],
) -> None:
    async def test(link: DispatcherLink, lost: list[str]) -> None:
        first, second = dispatchers(), dispatchers()
        link.attach(*first.ours)
        first.close()
        await until(lambda: lost == ["lost"])
        link.attach(*second.ours)
        link.send(Submit(3, 7))
        received = await second.receive(1)
        assert received == [Submit(3, 7)]

    run(test)


def test_a_dispatcher_that_does_not_read_makes_the_link_busy_then_lost(
    dispatchers: Callable[[], Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "QUEUE_BYTES_MAX", 4 << 20)
    monkeypatch.setattr(link_module, "BUSY_BYTES", 1 << 20)

    async def test(link: DispatcherLink, lost: list[str]) -> None:
        link.attach(*dispatchers().ours)
        busy_seen = False
        for job in range(400_000):
            link.send(Submit(job, 7))
            busy_seen |= link.is_busy
            if lost:
                break
        assert busy_seen
        assert lost == ["lost"]

    run(test)


def test_a_link_is_slow_long_before_it_is_busy(
    dispatchers: Callable[[], Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "SLOW_BYTES", 1 << 10)

    async def test(link: DispatcherLink, lost: list[str]) -> None:
        before = link.is_slow
        link.attach(*dispatchers().ours)
        attached = link.is_slow
        for job in range(100):
            link.send(Submit(job, 7))
        assert (before, attached, link.is_slow, link.is_busy) == (False, False, True, False)
        assert lost == []

    run(test)


def test_a_slow_dispatcher_gets_everything_in_the_end(
    dispatchers: Callable[[], Dispatcher],
) -> None:
    async def test(link: DispatcherLink, lost: list[str]) -> None:
        dispatcher = dispatchers()
        link.attach(*dispatcher.ours)
        total = 200_000
        for job in range(total):
            link.send(Submit(job, 7))
        received = await dispatcher.receive(total)
        assert [r.job for r in received if isinstance(r, Submit)] == list(range(total))

    run(test)
