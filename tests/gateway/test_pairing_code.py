"""A node's pairing code: drawn until one is free, told once, told again to a new dispatcher."""

import pytest

from scheduler.config import Config, PairingSettings
from scheduler.errors import PeerError
from scheduler.gateway.pairing_code import PairingCodeDraw
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.records import PairingClaimed, PairingOffered
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import World


def make(world: World) -> tuple[PairingCodeDraw, list[str]]:
    offers: list[str] = []
    return PairingCodeDraw(world.contexts[0], offers.append), offers


def taken(code: str) -> PairingOffered:
    return PairingOffered(1, code, False)


def given(code: str) -> PairingOffered:
    return PairingOffered(1, code, True)


def test_a_code_has_six_digits_and_its_time(world: World) -> None:
    draw, offers = make(world)
    draw.start()
    message = draw.offered(given(offers[0]))
    assert len(offers[0]) == 6
    assert offers[0].isdigit()
    assert message is not None
    assert (message.code, message.expires_in_seconds) == (offers[0], 300)


def test_another_is_drawn_where_it_is_taken_but_not_for_ever(world: World) -> None:
    draw, offers = make(world)
    draw.start()
    for _ in range(9):
        assert draw.offered(taken(offers[-1])) is None
    assert len(offers) == 10
    with pytest.raises(PeerError) as caught:
        draw.offered(taken(offers[-1]))
    assert caught.value.code == ErrorCode.SERVER_BUSY
    draw.start()
    assert draw.offered(given(offers[-1])) is not None


def test_a_good_code_is_offered_to_a_new_dispatcher_and_not_told_twice(world: World) -> None:
    draw, offers = make(world)
    draw.offer_again()
    assert offers == []
    draw.start()
    draw.offered(given(offers[0]))
    draw.offer_again()
    assert offers[1] == offers[0]
    assert draw.offered(given(offers[0])) is None


def test_a_code_that_was_used_is_offered_no_more(world: World) -> None:
    draw, offers = make(world)
    draw.start()
    draw.offered(given(offers[0]))
    draw.claimed(PairingClaimed(1, "another"))
    draw.offer_again()
    assert offers == [offers[0]] * 2
    draw.claimed(PairingClaimed(1, offers[0]))
    draw.offer_again()
    assert len(offers) == 2
    assert draw.offered(given(offers[0])) is not None  # should it be drawn once more


def test_an_old_code_is_forgotten(make_world: MakeWorld) -> None:
    world = make_world(Config(pairing=PairingSettings(code_ttl_seconds=1e-9)))
    draw, offers = make(world)
    draw.start()
    draw.offered(given(offers[0]))
    draw.offer_again()
    assert len(offers) == 1
