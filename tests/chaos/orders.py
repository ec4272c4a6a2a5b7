"""What the harness tells its workers, one JSON object a line on their standard input."""

from typing import Literal

import msgspec
from msgspec import Struct

Mood = Literal[
    "normal", "slow", "mute", "silent", "twice", "late", "wrong", "unknown", "failing", "flapping",
    "missing",
]  # fmt: skip
"""How a node treats its jobs; node_moods.py says what each means."""


class Cut(Struct, frozen=True, tag=True):
    """Cut so large a share of the connections, one at least. `how` is RST or FIN."""

    how: str
    share: float
    pick: float


class Storm(Struct, frozen=True, tag=True):
    """Cut all connections and come back at once, with so many `guests` besides."""

    guests: int


class SetMood(Struct, frozen=True, tag=True):
    """Let the node with this number, -1 for all, behave so for a while."""

    node: int
    mood: Mood
    seconds: float


class Probe(Struct, frozen=True, tag=True):
    """Find out when a new session has a result: the kill `number` was at `at_ns`."""

    number: int
    at_ns: int


class Finish(Struct, frozen=True, tag=True):
    """Begin nothing new, wait for what is due, close in good order and exit."""


Order = Cut | Storm | SetMood | Probe | Finish

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


def encode_order(order: Order) -> bytes:
    """Return an order as a line."""
    return _encoder.encode(order) + b"\n"


def decode_order(line: bytes) -> Order:
    """Return the order in a line."""
    return _decoder.decode(line)
