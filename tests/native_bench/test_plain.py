"""The plain scheduler over real sockets: it has to speak the protocol, or it would be no rival."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from native_bench.plain.server import SERVICES
from scheduler.programs import running

SECONDS_MAX = 20
AUDIO = "AAAA" * 30


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with running(tmp_path, "plain", "native_bench.plain", talks=True) as program:
        yield f"ws://127.0.0.1:{int(program.read_line().removeprefix(b'port '))}"


class Peer:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.id = ""

    def send(self, kind: str, **fields: object) -> None:
        self.connection.send(json.dumps({"type": kind, **fields}))

    def take(self, kind: str) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.connection.recv(SECONDS_MAX))
        assert message["type"] == kind, message
        return message

    def speak(self, index: int) -> None:
        self.send(
            "utterance",
            session_id=self.id,
            utterance_index=index,
            manual_cut=True,
            src_lang="en",
            tgt_lang="es",
            audio=AUDIO,
            audio_format="pcm16",
            sample_rate=16_000,
        )

    def answer(self, job: dict[str, Any], **fields: object) -> None:
        result = {"success": True, "text_asr": "hi", "text_translated": "hola", **fields}
        names = ("job_id", "attempt_id", "session_id", "utterance_index", "trace_id")
        self.send("job_result", node_id=self.id, **{n: job[n] for n in names}, **result)


@contextmanager
def session(url: str) -> Iterator[Peer]:
    with connect(f"{url}/ws/session", compression=None) as connection:
        peer = Peer(connection)
        peer.send("session_init", client_version="1", platform="web", src_lang="en", tgt_lang="es")
        peer.id = peer.take("session_init_ack")["session_id"]
        yield peer


@contextmanager
def node(url: str, **fields: object) -> Iterator[Peer]:
    with connect(f"{url}/ws/node", compression=None) as connection:
        peer = Peer(connection)
        register(peer, **fields)
        peer.id = peer.take("node_register_ack")["node_id"]
        usage = {"cpu_percent": 1, "mem_percent": 1, "running_jobs": 0}
        peer.send("node_heartbeat", node_id=peer.id, timestamp=0, resource_usage=usage)
        assert peer.take("node_status")["status"] == "ready"
        yield peer


def register(peer: Peer, **fields: object) -> None:
    services = [{"service_id": each, "version": "1", "platform": "linux"} for each in SERVICES]
    settings: dict[str, object] = {
        "version": "1",
        "platform": "linux",
        "hardware": {"cpu_cores": 1, "memory_gb": 1},
        "installed_models": [],
        "installed_services": services,
        "features_supported": {},
        "accept_public_jobs": True,
    }
    peer.send("node_register", **{**settings, **fields})


def test_a_job_goes_to_a_node_and_its_result_back(url: str) -> None:
    with node(url) as worker, session(url) as client:
        client.speak(0)
        job = worker.take("job_assign")
        assert (job["audio"], job["src_lang"], job["attempt_id"]) == (AUDIO, "en", 1)
        assert client.take("ui_event")["event"] == "DISPATCHED"
        worker.answer(job, tts_audio="BBBB")
        assert [client.take("ui_event")["event"] for _ in range(2)] == ["ASR_FINAL", "NMT_DONE"]
        result = client.take("translation_result")
        assert (result["job_id"], result["tts_audio"]) == (job["job_id"], "BBBB")
        worker.answer(job)  # once more, which must change nothing
        client.send("client_heartbeat", session_id=client.id, timestamp=1)
        client.take("server_heartbeat")


def test_results_come_in_the_order_of_utterances_from_the_least_loaded_nodes(url: str) -> None:
    with node(url) as first, node(url) as second, session(url) as client:
        client.speak(0)
        client.speak(1)
        jobs = {job["utterance_index"]: (peer, job) for peer, job in taken(first, second)}
        assert {client.take("ui_event")["event"] for _ in range(2)} == {"DISPATCHED"}
        for index in (1, 0):
            peer, job = jobs[index]
            peer.answer(job, text_asr=None, text_translated=None)
        assert [client.take("translation_result")["utterance_index"] for _ in range(2)] == [0, 1]


def taken(*peers: Peer) -> list[tuple[Peer, dict[str, Any]]]:
    return [(peer, peer.take("job_assign")) for peer in peers]


def test_a_nodes_failure_reaches_the_session(url: str) -> None:
    with node(url) as worker, session(url) as client:
        client.speak(0)
        job = worker.take("job_assign")
        client.take("ui_event")
        error = {"code": "NMT_TIMEOUT", "message": "too slow"}
        worker.answer(job, success=False, error=error)
        assert client.take("ui_event")["error_code"] == "NMT_TIMEOUT"
        assert client.take("error")["message"] == "too slow"


def test_without_a_free_node_it_is_busy(url: str) -> None:
    with node(url, max_concurrent_jobs=1) as worker, session(url) as client:
        client.speak(0)
        worker.take("job_assign")
        client.take("ui_event")
        client.speak(1)
        refusal = client.take("error")
        assert refusal["code"] == "SERVER_BUSY"
        assert refusal["details"]["retry_after_ms"] > 0


@pytest.mark.parametrize(
    "fields",
    [{"installed_services": []}, {"accept_public_jobs": False}],
    ids=["services", "public"],
)
def test_nodes_that_do_not_fit_get_no_job(url: str, fields: dict[str, object]) -> None:
    with node(url, **fields), session(url) as client:
        client.speak(0)
        assert client.take("error")["code"] == "SERVER_BUSY"


def test_jobs_of_a_node_that_leaves_fail(url: str) -> None:
    with session(url) as client:
        with node(url) as worker:
            client.speak(0)
            worker.take("job_assign")
            client.take("ui_event")
        assert client.take("ui_event")["error_code"] == "NODE_UNAVAILABLE"
        assert client.take("error")["code"] == "NODE_UNAVAILABLE"


def test_jobs_of_a_session_that_leaves_are_cancelled(url: str) -> None:
    with node(url, max_concurrent_jobs=1) as worker:
        with session(url) as client:
            client.speak(0)
            job = worker.take("job_assign")
            client.send("session_close", session_id=client.id, reason="done")
            client.take("ui_event")
            client.take("session_close_ack")
            with pytest.raises(ConnectionClosedOK):
                client.connection.recv(SECONDS_MAX)
        assert worker.take("job_cancel")["job_id"] == job["job_id"]
        with session(url) as client:
            client.speak(0)
            worker.take("job_assign")  # its slot is free again


def test_what_is_wrong_gets_its_code(url: str) -> None:
    with connect(f"{url}/ws/session", compression=None) as connection:
        peer = Peer(connection)
        peer.speak(0)
        assert peer.take("error")["code"] == "INVALID_SESSION"
        peer.send("nonsense")
        assert peer.take("error")["code"] == "INVALID_MESSAGE"
    with node(url, node_id="node-1"), connect(f"{url}/ws/node", compression=None) as other:
        peer = Peer(other)
        register(peer, node_id="node-1")
        assert peer.take("error")["code"] == "NODE_ID_CONFLICT"
    with pytest.raises(InvalidStatus):
        connect(f"{url}/elsewhere")
