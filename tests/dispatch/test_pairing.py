import pytest

from scheduler.config import PairingSettings
from scheduler.dispatch.pairing import PairingDesk
from scheduler.dispatch.settings import nanoseconds
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import NO_NODE
from scheduler.protocol.records import (
    ClaimPairing,
    OfferPairing,
    PairingAnswer,
    PairingClaimed,
    PairingOffered,
)
from tests.dispatch.desk import Desk, only

NODE, OTHER = 11, 22
HOME = "192.0.2.1"


def at(seconds: float) -> int:
    return nanoseconds(1_000 + seconds)


@pytest.fixture
def pairing() -> PairingDesk:
    return PairingDesk(
        PairingSettings(
            code_ttl_seconds=300, wrong_per_address_max=2, wrong_total_max=3, window_seconds=60
        )
    )


def test_a_code_pairs_with_the_node_that_offered_it(pairing: PairingDesk) -> None:
    assert pairing.offer("123456", NODE, at(0))
    assert pairing.claim("123456", HOME, at(1)) == NODE


def test_a_code_is_used_up(pairing: PairingDesk) -> None:
    pairing.offer("123456", NODE, at(0))
    pairing.claim("123456", HOME, at(1))
    assert pairing.claim("123456", HOME, at(2)) is ErrorCode.INVALID_PAIRING_CODE


def test_a_code_expires(pairing: PairingDesk) -> None:
    pairing.offer("123456", NODE, at(0))
    assert pairing.claim("123456", HOME, at(300)) is ErrorCode.INVALID_PAIRING_CODE
    pairing.offer("654321", NODE, at(300))
    pairing.expire(at(600))
    assert pairing.offer("654321", OTHER, at(600))


def test_a_new_code_takes_the_place_of_the_nodes_last(pairing: PairingDesk) -> None:
    pairing.offer("111111", NODE, at(0))
    pairing.offer("222222", NODE, at(1))
    assert pairing.claim("111111", HOME, at(2)) is ErrorCode.INVALID_PAIRING_CODE
    assert pairing.claim("222222", HOME, at(2)) == NODE


def test_a_code_that_another_node_holds_is_taken(pairing: PairingDesk) -> None:
    pairing.offer("123456", NODE, at(0))
    assert not pairing.offer("123456", OTHER, at(1))
    assert pairing.claim("123456", HOME, at(2)) == NODE


def test_an_expired_code_is_free_for_another(pairing: PairingDesk) -> None:
    pairing.offer("123456", NODE, at(0))
    assert pairing.offer("123456", OTHER, at(300))
    assert pairing.claim("123456", HOME, at(301)) == OTHER


def test_a_withdrawn_code_is_wrong(pairing: PairingDesk) -> None:
    pairing.offer("123456", NODE, at(0))
    pairing.withdraw(NODE)
    pairing.withdraw(OTHER)
    assert pairing.claim("123456", HOME, at(1)) is ErrorCode.INVALID_PAIRING_CODE


def test_wrong_guesses_are_limited_per_address(pairing: PairingDesk) -> None:
    pairing.offer("123456", NODE, at(0))
    for _ in range(2):
        assert pairing.claim("000000", HOME, at(1)) is ErrorCode.INVALID_PAIRING_CODE
    assert pairing.claim("123456", HOME, at(2)) is ErrorCode.RATE_LIMITED
    assert pairing.claim("123456", "192.0.2.2", at(2)) == NODE


def test_wrong_guesses_are_limited_in_all(pairing: PairingDesk) -> None:
    pairing.offer("123456", NODE, at(0))
    for number in range(3):
        pairing.claim("000000", f"192.0.2.{number}", at(1))
    assert pairing.claim("123456", "192.0.2.99", at(2)) is ErrorCode.RATE_LIMITED


def test_the_limits_end_with_their_window(pairing: PairingDesk) -> None:
    pairing.offer("123456", NODE, at(0))
    for _ in range(3):
        pairing.claim("000000", HOME, at(1))
    assert pairing.claim("123456", HOME, at(61)) == NODE


def test_addresses_that_guess_wrong_are_bounded() -> None:
    pairing = PairingDesk(PairingSettings(wrong_total_max=1_000_000, window_seconds=86_400))
    for number in range(10_050):
        pairing.claim("000000", f"address-{number}", at(1))
    assert len(pairing._wrong) == 10_000


def test_a_session_and_its_node_are_told_of_the_pairing() -> None:
    desk = Desk()
    node = desk.node("mine", gateway=1)
    offered = only(PairingOffered, desk.say(1, OfferPairing(node, "123456")))
    assert offered == PairingOffered(node, "123456", True)
    said = desk.say(0, ClaimPairing(5, "123456", HOME))
    assert said == [
        (0, PairingAnswer(5, node, "mine", "")),
        (1, PairingClaimed(node, "123456")),
    ]
    said = desk.say(0, ClaimPairing(6, "123456", HOME))
    assert said == [(0, PairingAnswer(6, NO_NODE, "", ErrorCode.INVALID_PAIRING_CODE))]
    counts = desk.counts
    assert (counts.pairings_made_total, counts.pairings_refused_total) == (1, 1)


def test_a_node_that_went_offline_pairs_with_nobody() -> None:
    desk = Desk()
    node = desk.node("mine")
    desk.say(0, OfferPairing(node, "123456"))
    desk.lose(node)
    answer = only(PairingAnswer, desk.say(0, ClaimPairing(5, "123456", HOME)))
    assert answer.code == ErrorCode.INVALID_PAIRING_CODE


def test_only_the_gateway_that_holds_the_node_offers_for_it() -> None:
    desk = Desk()
    node = desk.node("mine", gateway=0)
    assert desk.say(1, OfferPairing(node, "123456")) == []


def test_a_pairing_outlives_the_nodes_connection() -> None:
    desk = Desk()
    node = desk.node("mine", accept_public=False)
    desk.lose(node)
    assert desk.place(1, paired=node) == NO_NODE
    again = desk.node("mine", accept_public=False)
    assert again == node
    assert desk.in_flight(node) == 1
