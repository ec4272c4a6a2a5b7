"""All targets by name."""

from collections.abc import Callable

from tests.fuzz.channel import ChannelTarget
from tests.fuzz.decoder import DecoderTarget
from tests.fuzz.peers import NodeTarget, SessionTarget
from tests.fuzz.segment import SegmentTarget
from tests.fuzz.target import Target
from tests.fuzz.websocket import WebSocketTarget

TARGETS: dict[str, Callable[[], Target]] = {
    "decoder": DecoderTarget,
    "session": SessionTarget,
    "node": NodeTarget,
    "channel": ChannelTarget,
    "segment": SegmentTarget,
    "websocket": WebSocketTarget,
}

SHARES = {
    "decoder": 0.30,
    "session": 0.05,
    "node": 0.05,
    "channel": 0.20,
    "segment": 0.15,
    "websocket": 0.25,
}
"""Of the inputs where no target is named: a conversation costs as much as a hundred texts."""
