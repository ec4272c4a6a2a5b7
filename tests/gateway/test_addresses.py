"""How many sockets one address may have open."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.gateway.addresses import Addresses
from tests.gateway.sockets import (
    LOOPS,
    TEXT,
    RawSocket,
    RunLoop,
    Scenario,
    Site,
    frame,
    handshake,
    run_on,
    serve,
    until,
)

LIMIT = 2
OTHER = "127.0.0.2"


# --- counting ---------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60))
def test_it_counts_what_has_entered_and_not_left(steps: list[tuple[bool, str]]) -> None:
    addresses, inside = Addresses(LIMIT), Counter[str]()
    for enters, address in steps:
        if enters:
            assert addresses.enter(address) == address
            inside[address] += 1
        elif inside[address]:
            addresses.leave(address)
            inside[address] -= 1
        assert {a: addresses.is_over(a) for a in "abc"} == {a: inside[a] > LIMIT for a in "abc"}
        assert len(addresses) == len(+inside), "nothing is kept of who is gone"


def test_ipv6_counts_by_the_64_bits_that_a_subscriber_has() -> None:
    addresses = Addresses(1)
    first, second, other = map(addresses.enter, ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"))
    assert first == second != other
    assert addresses.is_over(first)
    assert not addresses.is_over(other)


def test_sockets_of_this_machine_have_no_address_and_do_not_count() -> None:
    addresses = Addresses(1)
    keys = [addresses.enter("") for _ in range(5)]
    assert keys == [""] * 5
    assert not addresses.is_over("")
    addresses.leave("")
    assert len(addresses) == 0


def test_without_a_limit_nothing_is_counted() -> None:
    addresses = Addresses(0)
    keys = [addresses.enter("192.0.2.1") for _ in range(5)]
    assert len(addresses) == 0
    assert not any(map(addresses.is_over, keys))


# --- over sockets -----------------------------------------------------------------------------


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> RunLoop:
    def run(scenario: Scenario) -> None:
        run_on(request.param, scenario)

    return run


@asynccontextmanager
async def limited() -> AsyncIterator[Site]:
    """Serve with the limit; at the end nothing may be counted any more."""
    async with serve(connections_per_address_max=LIMIT) as site:
        yield site
    assert len(site.listener._context.addresses) == 0


async def check_refused(raw: RawSocket) -> None:
    raw.send(handshake())
    head, _, body = (await raw.rest()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nRetry-After: " in head
    assert b"\r\nContent-Type: application/json" in head
    assert "address" in json.loads(body)["error"]


def test_a_socket_above_the_limit_gets_429_and_those_before_it_stay(run: RunLoop) -> None:
    async def scenario() -> None:
        async with limited() as site:
            first, second = await site.raw_websocket(), await site.raw_websocket()
            await check_refused(await site.raw())
            assert site.refusals == ["RATE_LIMITED"]
            await until(lambda: site.counters["handshakes_failed_total"] == 1)
            for raw in (first, second):
                raw.send(frame(TEXT, b"still here"))
                assert await raw.frame() == (TEXT, b"still here")

    run(scenario)


def test_another_address_has_its_own_count(run: RunLoop) -> None:
    async def scenario() -> None:
        async with limited() as site:
            for host in ("127.0.0.1", OTHER):
                for _ in range(LIMIT):
                    raw = await site.raw(host)
                    raw.send(handshake())
                    assert (await raw.response()).startswith(b"HTTP/1.1 101 ")
            for host in ("127.0.0.1", OTHER):
                await check_refused(await site.raw(host))

    run(scenario)


async def hang_up(site: Site, raw: RawSocket) -> None:
    await raw.close()


async def be_closed(site: Site, raw: RawSocket) -> None:
    site.peers[0].connection.close(1000, "")
    await raw.close_code()


async def be_cut(site: Site, raw: RawSocket) -> None:
    site.peers[0].connection.abort()


@pytest.mark.parametrize("leave", [hang_up, be_closed, be_cut])
def test_there_is_room_again_when_one_has_gone(
    run: RunLoop, leave: Callable[[Site, RawSocket], Awaitable[None]]
) -> None:
    async def scenario() -> None:
        async with limited() as site:
            raws = [await site.raw_websocket() for _ in range(LIMIT)]
            await check_refused(await site.raw())
            await leave(site, raws[0])
            await raws[0].close()
            await until(lambda: len(site.listener) == LIMIT - 1)
            await site.raw_websocket()
            await check_refused(await site.raw())

    run(scenario)


def test_sockets_that_have_said_nothing_yet_count(run: RunLoop) -> None:
    async def scenario() -> None:
        async with limited() as site:
            for _ in range(LIMIT):
                await site.raw()
            await until(lambda: len(site.listener) == LIMIT)
            await check_refused(await site.raw())

    run(scenario)


def test_plain_requests_are_answered_above_the_limit(run: RunLoop) -> None:
    async def scenario() -> None:
        async with limited() as site:
            for _ in range(LIMIT):
                await site.raw_websocket()
            raw = await site.raw()
            raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await raw.response()).startswith(b"HTTP/1.1 200 ")

    run(scenario)


class Keeper(asyncio.Protocol):
    """Takes a socket over and does nothing with it."""

    transport: asyncio.Transport
    on_gone: Callable[[], None]

    def take_over(
        self,
        transport: asyncio.Transport,
        early: bytes,  # noqa: ARG002
        on_gone: Callable[[], None],
    ) -> None:
        self.transport, self.on_gone = transport, on_gone
        transport.set_protocol(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.on_gone()

    def close(self, code: int, reason: str) -> None:  # noqa: ARG002
        self.abort()

    def abort(self) -> None:
        self.transport.abort()


def test_a_socket_that_was_handed_over_counts_until_its_successor_is_done(run: RunLoop) -> None:
    async def scenario() -> None:
        async with limited() as site:
            raws = [await site.raw_websocket() for _ in range(LIMIT)]
            keeper, connection = Keeper(), site.peers[0].connection
            connection.keep_early()
            connection.hand_over(keeper)
            await check_refused(await site.raw())
            await raws[0].close()
            await until(lambda: len(site.listener) == LIMIT - 1)
            await site.raw_websocket()
            await check_refused(await site.raw())

    run(scenario)
