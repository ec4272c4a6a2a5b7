"""Costs of encoding and decoding records, each kind, beside msgspec's JSON and pickle."""

import pickle
from typing import Any

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.ids import job_key_base, node_ref
from scheduler.protocol.records import (
    Announce,
    AnnounceDone,
    ArenaRef,
    Assign,
    AttemptLost,
    AuditNode,
    CancelAttempt,
    CancelJob,
    ClaimPairing,
    Deliver,
    Discard,
    Dispatched,
    DrainNode,
    DrainRequested,
    Failed,
    Failure,
    NodeAccepted,
    NodeGone,
    NodeHealth,
    NodeRefused,
    NodeServices,
    NodeStatusChanged,
    OfferPairing,
    PairingAnswer,
    PairingClaimed,
    PairingOffered,
    Partial,
    PartialText,
    RegisterNode,
    Result,
    RunningAttempt,
    Submit,
    ToDispatcher,
    ToGateway,
)
from scheduler.protocol.status import Status
from tests.benchmarks.cores import CORE
from tests.benchmarks.rivals import beside
from tests.benchmarks.sizes import sized

BATCHES = sized([1, 64], [1, 3])
JOB = job_key_base(3, 1)
NODE = node_ref(1_000, 7)
PAYLOAD = ArenaRef(3, 1 << 20, 44_000, (1 << 40) + 9)
RUNNING = [RunningAttempt(JOB + n, 1) for n in range(4)]
NOW_NS = 10**15
WHY = "the node's connection closed"
TEXT = b'{"text":"good morning","is_final":false}'
ERROR = b'{"code":"MODEL_NOT_AVAILABLE","message":"no such model","details":null}'

TO_DISPATCHER: list[Any] = [
    Submit(JOB, 0b111, flow=77),
    Result(JOB, 1, NODE, PAYLOAD, NOW_NS),
    Failure(JOB, 1, NODE, ErrorCode.MODEL_NOT_AVAILABLE, CORE[0], ERROR),
    CancelJob(JOB, WHY),
    Partial(JOB, NODE, TEXT),
    RegisterNode(1, "node-0123456789AB", "", 4, True, CORE, CORE, 8.0, 32.0, 1, 24.0),
    NodeServices(NODE, CORE, CORE),
    NodeHealth(NODE, True, ""),
    NodeGone(NODE, WHY),
    OfferPairing(NODE, "123456"),
    ClaimPairing(1, "123456", "192.0.2.7"),
    Announce(JOB, 0b111, NODE, NODE, PAYLOAD, 1, NODE),
    AnnounceDone(),
    DrainNode(NODE, True, WHY),
    AttemptLost(JOB, 1, NODE),
]
TO_GATEWAY: list[Any] = [
    Assign(JOB, 1, NODE, PAYLOAD, NOW_NS, NOW_NS),
    Dispatched(JOB, 1, NODE, NOW_NS, NOW_NS),
    Deliver(JOB, 1, NODE, PAYLOAD, NOW_NS),
    Failed(JOB, ErrorCode.NO_AVAILABLE_NODE, WHY, 1_000, {"no_free_slot": 1_000}, b""),
    CancelAttempt(JOB, 1, NODE, "timeout"),
    Discard(JOB, 1, NODE),
    PartialText(JOB, TEXT),
    NodeAccepted(1, NODE),
    NodeRefused(1, ErrorCode.NODE_ID_CONFLICT, WHY),
    NodeStatusChanged(NODE, Status.READY, ""),
    PairingOffered(NODE, "123456", True),
    PairingAnswer(1, NODE, "node-0123456789AB", ""),
    DrainRequested(NODE, "drain", WHY),
    AuditNode(NODE, RUNNING),
    PairingClaimed(NODE, "123456"),
]
RECORDS = [
    *((record, ToDispatcher) for record in TO_DISPATCHER),
    *((record, ToGateway) for record in TO_GATEWAY),
]

each_kind = pytest.mark.parametrize(
    ("record", "union"), RECORDS, ids=[type(record).__name__ for record, _ in RECORDS]
)
each_batch = pytest.mark.parametrize("batch", BATCHES)


def copies(record: Any, union: Any, batch: int) -> list[Any]:
    """Return equal records that share nothing: pickle would write what they share down once."""
    encoded = msgspec.msgpack.encode([record] * batch)
    decoded: list[Any] = msgspec.msgpack.decode(encoded, type=list[union])
    return decoded


def test_all_kinds_are_measured() -> None:
    kinds = {*ToDispatcher.__args__, *ToGateway.__args__}
    assert kinds == {type(record) for record, _ in RECORDS}


@each_batch
@each_kind
def test_encode(benchmark: BenchmarkFixture, record: Any, union: Any, batch: int) -> None:
    """As a channel does: into a buffer that is there."""
    records = copies(record, union, batch)
    encoder, json = msgspec.msgpack.Encoder(), msgspec.json.Encoder()
    buffer, json_buffer = bytearray(1 << 20), bytearray(1 << 20)
    beside(
        benchmark,
        lambda: encoder.encode_into(records, buffer, 4),
        json=lambda: json.encode_into(records, json_buffer, 4),
        pickle=lambda: pickle.dumps(records, pickle.HIGHEST_PROTOCOL),
    )
    sizes = {
        "bytes": len(buffer) - 4,
        "json_bytes": len(json_buffer) - 4,
        "pickle_bytes": len(pickle.dumps(records, pickle.HIGHEST_PROTOCOL)),
    }
    benchmark.extra_info |= sizes
    assert msgspec.msgpack.decode(buffer[4:], type=list[union]) == records
    assert sizes["bytes"] < min(sizes["json_bytes"], sizes["pickle_bytes"])


@each_batch
@each_kind
def test_decode(benchmark: BenchmarkFixture, record: Any, union: Any, batch: int) -> None:
    records = copies(record, union, batch)
    encoded = msgspec.msgpack.encode(records)
    as_json = msgspec.json.encode(records)
    pickled = pickle.dumps(records, pickle.HIGHEST_PROTOCOL)
    decoder, json = msgspec.msgpack.Decoder(list[union]), msgspec.json.Decoder(list[union])
    decoded = beside(
        benchmark,
        lambda: decoder.decode(encoded),
        json=lambda: json.decode(as_json),
        pickle=lambda: pickle.loads(pickled),  # noqa: S301 - ours
    )
    assert decoded == json.decode(as_json) == pickle.loads(pickled) == records  # noqa: S301
