"""What the clients receive, decoded as the protocol describes it.

Audio fields are bytes here; base64 exists only on the wire. Unknown fields are ignored.
"""

from msgspec.json import Decoder

from scheduler.protocol.node import (
    JobAssign,
    JobCancel,
    NodeControl,
    NodeRegisterAck,
    NodeStatus,
    PairingCode,
)
from scheduler.protocol.session import (
    AsrPartial,
    ErrorMessage,
    ServerHeartbeat,
    SessionCloseAck,
    SessionInitAck,
    TranslationResult,
    UiEvent,
)

SessionEvent = (
    SessionInitAck
    | AsrPartial
    | TranslationResult
    | UiEvent
    | ServerHeartbeat
    | SessionCloseAck
    | ErrorMessage
)
session_event_decoder: Decoder[SessionEvent] = Decoder(SessionEvent)

NodeOrder = (
    NodeRegisterAck | NodeStatus | JobAssign | JobCancel | NodeControl | PairingCode | ErrorMessage
)
node_order_decoder: Decoder[NodeOrder] = Decoder(NodeOrder)
