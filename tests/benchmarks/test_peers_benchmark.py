"""Costs of the gateway's session and node machines: a message or record in, what follows out.

Connections are doubles, so that no socket is in the figures; what lies between the steps, the
dispatcher and the codec, runs outside the time but in `test_job`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from scheduler.protocol.records import Assign, Deliver, Result, Submit
from tests.benchmarks.line import AUDIO, Line, encode
from tests.benchmarks.sizes import sized

ROUNDS = sized(2_000, 3)
CHUNK = bytes(640)
"""20 ms."""

CHUNKS_PER_UTTERANCE = 100


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.world.close()


def measure(
    benchmark: BenchmarkFixture, line: Line, step: Callable[[Any], None], make: Callable[[], Any]
) -> None:
    """Measure `step` with what `make` returns, each time with a job of its own."""

    def ready() -> tuple[tuple[Any], dict[str, Any]]:
        line.finish()
        return (make(),), {}

    pedantic: Any = benchmark.pedantic
    pedantic(step, setup=ready, rounds=ROUNDS, warmup_rounds=sized(50, 0))


def test_utterance_to_submit(benchmark: BenchmarkFixture, line: Line) -> None:
    measure(benchmark, line, line.session.peer.on_text, line.utterance)
    assert type(line.sent()) is Submit


def test_assign_to_job_assign(benchmark: BenchmarkFixture, line: Line) -> None:
    def assign() -> Assign:
        record = line.assign()
        assert type(record) is Assign
        return record

    measure(benchmark, line, line.hand, assign)
    [job] = line.node.jobs()
    assert job["audio"] == msgspec.to_builtins(AUDIO)


def test_job_result_to_result(benchmark: BenchmarkFixture, line: Line) -> None:
    measure(benchmark, line, line.node.peer.on_text, line.result)
    assert type(line.sent()) is Result


def test_deliver_to_translation_result(benchmark: BenchmarkFixture, line: Line) -> None:
    def deliver() -> Deliver:
        record = line.deliver()
        assert type(record) is Deliver
        return record

    measure(benchmark, line, line.hand, deliver)
    assert line.finish()[-1] == "translation_result"


def test_job(benchmark: BenchmarkFixture, line: Line) -> None:
    """All steps, with the dispatcher's core and the codec between them."""

    def one_job() -> list[str]:
        line.hand(line.deliver())
        return line.session.heard_types()

    line.finish()
    assert benchmark(one_job)[-1] == "translation_result"


@pytest.mark.parametrize("form", ["text", "binary"])
def test_audio_chunk(benchmark: BenchmarkFixture, line: Line, form: str) -> None:
    """20 ms of speech that end nothing, as base64 in JSON and as they are."""
    fields = {"type": "audio_chunk", "session_id": line.fields["session_id"], "seq": 1}
    message = encode(fields | {"is_final": False, "payload": CHUNK})
    final = encode(fields | {"is_final": True, "payload": CHUNK})
    chunks = 0

    def ready() -> None:
        nonlocal chunks
        chunks += 1
        if chunks % CHUNKS_PER_UTTERANCE == 0:
            line.session.peer.on_text(final)
            line.finish()

    peer = line.session.peer
    take, chunk = (peer.on_text, message) if form == "text" else (peer.on_binary, CHUNK)
    pedantic: Any = benchmark.pedantic
    pedantic(take, (chunk,), setup=ready, rounds=ROUNDS)
    peer.on_text(final)
    assert line.finish()[-1] == "translation_result"


def test_node_heartbeat(benchmark: BenchmarkFixture, line: Line) -> None:
    usage = {"cpu_percent": 5.0, "mem_percent": 7.0, "running_jobs": 0}
    fields = {"type": "node_heartbeat", "node_id": line.fields["node_id"], "timestamp": 0}
    benchmark(line.node.peer.on_text, encode(fields | {"resource_usage": usage}))
    assert 7.0 in line.world.segment.views.column("nodes", "memory_percent")


def test_session_heartbeat(benchmark: BenchmarkFixture, line: Line) -> None:
    fields = {"type": "client_heartbeat", "timestamp": 0}
    message = encode(fields | {"session_id": line.fields["session_id"]})

    def beat() -> None:
        line.session.wire.raw.clear()
        line.session.peer.on_text(message)

    benchmark(beat)
    assert line.session.heard_types() == ["server_heartbeat"]
