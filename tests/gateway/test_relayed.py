"""What another gateway says first of a socket that it leads here."""

import pytest

from scheduler.gateway.messages import encode
from scheduler.gateway.relayed import Introduction, RelayedPeer
from tests.gateway.world import Wire


class Client:
    """A session's peer that is only made."""

    def __init__(self, wire: Wire) -> None:
        self.address = wire.peer_address


def relayed() -> tuple[Wire, RelayedPeer]:
    wire = Wire()
    return wire, RelayedPeer(wire, Client)  # type: ignore[arg-type]


def test_after_the_introduction_the_socket_is_a_sessions() -> None:
    wire, peer = relayed()
    peer.on_text(encode(Introduction("2001:db8::7")))
    assert isinstance(wire.peer, Client)
    assert wire.peer.address == "2001:db8::7"
    assert wire.closed is None
    peer.on_closed()


@pytest.mark.parametrize(
    "text", [b"{}", b"no json", b'{"type":"introduction"}', b'"\xff"', b"[" * 9_999]
)
def test_another_beginning_is_refused(text: bytes) -> None:
    wire, peer = relayed()
    peer.on_text(text)
    assert wire.closed == (1008, "no introduction of a gateway")
    assert wire.peer is None


def test_so_is_a_binary_message() -> None:
    wire, peer = relayed()
    peer.on_binary(b"audio")
    assert wire.closed == (1008, "no introduction of a gateway")
