"""The stats process as a real child: memory, control socket and port are inherited."""

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from scheduler.config import (
    Config,
    ModelHubSettings,
    ObservabilitySettings,
    ServerSettings,
    StatsSettings,
)
from scheduler.errors import ChannelClosed
from scheduler.ipc.boot import BootSpec, write_boot
from scheduler.ipc.channel import Channel, make_pipes
from scheduler.ipc.control import Link, Ready, make_control
from scheduler.memory.layout import (
    DISPATCHER_ROW,
    FIRST_GATEWAY_ROW,
    STATS_ROW,
    SUPERVISOR_ROW,
)
from scheduler.protocol.records import DrainNode
from scheduler.stats.catalog import INDEX_ENTRIES_MAX, INDEX_NAME
from tests.harness import poll
from tests.stats.world import DIMENSIONS, EPOCH, World, make_world

DEADLINE_SECONDS = 30.0
OTHERS = (SUPERVISOR_ROW, DISPATCHER_ROW, FIRST_GATEWAY_ROW, FIRST_GATEWAY_ROW + 1)


class StatsChild:
    """A running stats process, and the supervisor's end of its control socket."""

    def __init__(
        self,
        world: World,
        folder: Path,
        *,
        refresh_seconds: float = 0.05,
        admin_token: str = "",
    ) -> None:
        self.snapshot_path = folder / "run" / "snapshot.json"
        self.log_path = folder / "log"
        self.control, theirs = make_control()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        boot = BootSpec(
            role="stats",
            index=0,
            incarnation=0,
            epoch=EPOCH,
            config=Config(
                server=ServerSettings(admin_token=admin_token),
                stats=StatsSettings(
                    refresh_seconds=refresh_seconds, snapshot_path=str(self.snapshot_path)
                ),
                model_hub=ModelHubSettings(storage_path=str(folder), base_url=""),
                observability=ObservabilitySettings(log_format="json"),
            ),
            dimensions=DIMENSIONS,
            cores=sorted(os.sched_getaffinity(0)),
            supervisor_pid=os.getpid(),
            control_fd=theirs.fileno(),
            segment_fd=world.segment.fd,
            ops_fds=[listener.fileno()],
        )
        boot_fd = write_boot(boot)
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "scheduler.stats", str(boot_fd)],
                pass_fds=[boot_fd, *boot.inherited_fds],
                stderr=log,
            )
        os.close(boot_fd)
        theirs.close()
        listener.close()
        world.put("processes", STATS_ROW, pid=self.process.pid)

    def mappings(self) -> list[str]:
        """Return the access that its mappings of the segment allow, as "r--s"."""
        maps = Path(f"/proc/{self.process.pid}/maps").read_text()
        return sorted(line.split()[1] for line in maps.splitlines() if "memfd:scheduler" in line)

    def wait_ready(self) -> None:
        """Return once it says that it serves."""
        assert select.select([self.control], [], [], DEADLINE_SECONDS)[0], self.log()
        assert self.control.receive() == [(Ready(), [])], self.log()

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def post(self, path: str) -> int:
        """Return the status of a command that shows the token."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        try:
            connection.request("POST", path, headers={"Authorization": "Bearer secret"})
            return connection.getresponse().status
        finally:
            connection.close()

    def stats(self) -> dict[str, Any]:
        status, body = self.get("/api/v1/stats")
        assert status == 200
        found: dict[str, Any] = json.loads(body)
        return found

    def log(self) -> str:
        return self.log_path.read_text()

    def end(self) -> None:
        """End it as the supervisor does, and check that it went in order."""
        self.control.close()
        assert self.process.wait(DEADLINE_SECONDS) == 0, self.log()
        assert "Traceback" not in self.log()

    def kill(self) -> None:
        self.control.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def world() -> Iterator[World]:
    with make_world() as world:
        yield world


@pytest.fixture
def child(world: World, tmp_path: Path) -> Iterator[StatsChild]:
    (tmp_path / "run").mkdir()
    child = StatsChild(world, tmp_path)
    try:
        yield child
    finally:
        child.kill()


def test_it_serves_and_saves_what_the_memory_says(world: World, child: StatsChild) -> None:
    child.wait_ready()
    assert child.get("/health") == (200, b"OK")
    assert child.snapshot_path.exists()
    first = child.stats()
    assert first["web_clients"]["active_users"] == 0
    assert first["snapshot"]["source"] == f"{EPOCH}-0"
    world.open_session(0, "zh", "en")

    def shown() -> dict[str, Any] | None:
        stats = child.stats()
        return stats if stats["web_clients"]["active_users"] else None

    later = poll("the session is shown", shown)
    assert later["snapshot"]["sequence"] > first["snapshot"]["sequence"]
    poll(
        "the session is saved",
        lambda: json.loads(child.snapshot_path.read_bytes())["web_clients"]["active_users"],
    )
    child.end()


def test_what_is_served_is_what_was_saved(world: World, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    child = StatsChild(world, tmp_path, refresh_seconds=3_600)
    try:
        child.wait_ready()
        assert child.get("/api/v1/stats") == (200, child.snapshot_path.read_bytes())
        child.end()
    finally:
        child.kill()


def test_it_is_ready_when_everybody_is(world: World, child: StatsChild) -> None:
    child.wait_ready()
    status, body = child.get("/ready")
    assert status == 503
    # On a busy machine the snapshot may be late too.
    assert set(json.loads(body)["missing"]) >= {
        "supervisor: not running",
        "dispatcher: not running",
        "gateway 0: not running",
        "gateway 1: not running",
    }

    def ready() -> bool:
        for row in OTHERS:
            world.beat(row)
        return child.get("/ready")[0] == 200

    poll("all are ready", ready)
    world.put("pulses", DISPATCHER_ROW, heartbeat_ns=1)
    status, body = child.get("/ready")
    assert status == 503
    missing = json.loads(body)["missing"]
    assert any(each.startswith("dispatcher: no heartbeat for ") for each in missing)
    child.end()


def test_it_writes_nothing_but_its_own_pulse(world: World, child: StatsChild) -> None:
    world.put_node(0, "node")
    child.wait_ready()
    assert child.mappings() == ["r--s", "rw-s"]
    pulses = world.views.column("pulses", "heartbeat_ns")
    place = world.segment.layout.placements["pulses", "heartbeat_ns"]
    start = place.offset + STATS_ROW * place.strides[0]
    end = start + place.strides[0]

    def others() -> bytes:
        memory = os.pread(world.segment.fd, world.segment.layout.total_bytes, 0)
        return memory[:start] + memory[end:]

    before, beat, sequence = others(), int(pulses[STATS_ROW]), child.stats()["snapshot"]["sequence"]
    poll("it beats", lambda: int(pulses[STATS_ROW]) > beat)
    poll("it publishes", lambda: child.stats()["snapshot"]["sequence"] > sequence)
    assert others() == before
    child.end()


def test_without_a_folder_to_save_in_it_still_serves(world: World, tmp_path: Path) -> None:
    child = StatsChild(world, tmp_path)
    try:
        child.wait_ready()
        poll(
            "failures are counted",
            lambda: (
                child.stats()["scheduler"]["counters"]["stats"]["snapshot_writes_failed_total"] > 1
            ),
        )
        assert child.get("/health")[0] == 200
        assert child.log().count("snapshot not saved") == 1
        child.end()
    finally:
        child.kill()


def test_a_supervisor_that_is_gone_at_once_ends_it(world: World, child: StatsChild) -> None:
    child.end()


def test_the_port_is_closed_at_its_end(world: World, child: StatsChild) -> None:
    child.wait_ready()
    with socket.create_connection(("127.0.0.1", child.port), timeout=DEADLINE_SECONDS):
        child.end()
    with pytest.raises(ConnectionRefusedError):
        child.get("/health")


def test_open_streams_do_not_hold_it_up_at_its_end(world: World, child: StatsChild) -> None:
    child.wait_ready()
    with socket.create_connection(("127.0.0.1", child.port), timeout=DEADLINE_SECONDS) as stream:
        stream.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        file = stream.makefile("rb")
        assert file.readline().split()[1] == b"200"
        child.end()
        assert file.read().endswith(b"0\r\n\r\n")
        file.close()


def test_a_link_to_the_dispatcher_carries_commands(world: World, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    world.put_node(0, "node")
    child = StatsChild(world, tmp_path, admin_token="secret")  # noqa: S106
    theirs, ours = make_pipes()
    try:
        child.wait_ready()
        child.control.send(Link("dispatcher", 0, 0), theirs)
        for fd in theirs:
            os.close(fd)
        dispatcher: Channel[DrainNode] = Channel(*ours, DrainNode, queue_bytes_max=1)
        with closing(dispatcher):
            assert poll("the link is there", lambda: child.post("/api/v1/nodes/node/drain") == 202)
            assert [record.on for record in dispatcher.receive()] == [True]
            child.end()
            with pytest.raises(ChannelClosed):
                dispatcher.receive()
    finally:
        child.kill()


def test_garbage_as_its_index_of_services_does_not_hold_it_up(world: World, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    index = tmp_path / INDEX_NAME
    index.write_bytes(b"{" + b",".join(b'"%d":0' % number for number in range(1_000_000)))
    child = StatsChild(world, tmp_path)

    def put(entries: dict[str, Any]) -> None:
        draft = tmp_path / "draft"
        draft.write_text(json.dumps(entries))
        draft.replace(index)

    def told(event: str) -> int:
        return child.log().count(event)

    try:
        child.wait_ready()
        poll("it is told", lambda: told("service index not read"))
        assert child.get("/metrics")[0] == 200
        put(dict.fromkeys(map(str, range(INDEX_ENTRIES_MAX)), 0))
        poll("bad entries are told", lambda: told("bad entries in service index"))
        service = {"service_id": "asr", "name": "ASR", "latest_version": "1", "variants": []}
        put({"asr": service})
        poll("the services are shown", lambda: child.stats()["nodes"]["total_services"] == 1)
        assert told("service index not read") == told("bad entries in service index") == 1
        child.end()
    finally:
        child.kill()
