"""The load driver in C: what it counts, and that it notices what a scheduler does wrong.

It is built with the sanitizers of addresses and undefined behaviour, which end it where it errs.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from native_bench.build import SANITIZERS, build
from scheduler.programs import running, running_scheduler
from tests.native_bench.faulty_server import CODE, FAULTS, FaultyServer, serving

SMALL = ("--sessions", "4", "--nodes", "2", "--window", "4", "--silence-seconds", "0.5")
COUNTS = (
    *("lost", "late", "duplicated", "out_of_order", "crossed", "wrong_audio", "assigned_twice"),
    *("retried", "failed", "cancelled", "closed"),
)
STAGES = {"submit_to_assign", "assign_to_result_out", "result_to_reply", "submit_to_reply"}

Report = dict[str, Any]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("driver", tmp_path_factory.mktemp("driver"), SANITIZERS)


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("relay", tmp_path_factory.mktemp("relay"), SANITIZERS)


class Talk:
    """A running driver as its caller sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ask(self, line: str) -> Report:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        report: Report = json.loads(await self.read())
        return report

    async def read(self) -> bytes:
        assert self.process.stdout is not None
        return await asyncio.wait_for(self.process.stdout.readline(), 60)


@asynccontextmanager
async def talking(command: Path, port: int, *options: str) -> AsyncIterator[Talk]:
    """Start a driver and yield it when it is ready; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *(str(command), "--port", str(port), "--warmup-seconds", "0", *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        talk = Talk(process)
        assert await talk.read() == b"ready\n"
        yield talk
        await process.communicate(b"quit\n")
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def measure(driver: Path, server: FaultyServer, *options: str, line: str = "go 0.3") -> Report:
    async def run() -> Report:
        async with serving(server) as port, talking(driver, port, *SMALL, *options) as talk:
            return await talk.ask(line)

    return asyncio.run(run())


def faults(report: Report) -> set[str]:
    return {name for name in COUNTS if report[name]}


def check_accounts(report: Report) -> None:
    """All that was said was answered, failed or is lost, and times are of what was answered."""
    assert report["submitted"] == report["answered"] + report["failed"] + report["lost"] > 0
    assert 0 < report["jobs"] <= report["answered"]
    assert set(report["latency_ns"]) >= STAGES
    for times in report["latency_ns"].values():
        assert sum(count for _, count in times["buckets"]) == times["count"] > 0
        uppers = [upper for upper, _ in times["buckets"]]
        assert uppers == sorted(uppers)
        assert times["p50"] <= times["p90"] <= times["p99"] <= times["p999"] <= times["max"]
        assert times["p50"] in uppers or times["p50"] == times["max"] <= uppers[-1]


# --- against a server that errs ---------------------------------------------------------------


def test_nothing_is_wrong_with_a_server_that_does_nothing_wrong(driver: Path) -> None:
    report = measure(driver, FaultyServer("none"))
    assert faults(report) == set()
    assert report["errors"] == {}
    check_accounts(report)


@pytest.mark.parametrize(("fault", "count"), FAULTS.items())
def test_a_fault_is_noticed(driver: Path, fault: str, count: str) -> None:
    report = measure(driver, FaultyServer(fault))
    side_effects = {
        # Those behind a lost one should have waited for it.
        "lose": {"out_of_order"},
        "spoil audio": {"crossed"},  # the result tells what the node got
        "cross sessions": {"lost", "out_of_order"},
        "close": {"lost"},
        "reorder": {"lost"},  # the last one is held for good
    }
    assert count in faults(report)
    assert faults(report) <= {count} | side_effects.get(fault, set())
    assert (report["errors"] == {CODE: report["failed"]}) == (fault == "fail")
    check_accounts(report)


WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "with room": lambda message: json.dumps(message, indent=2),
    "backwards": lambda message: json.dumps(dict(reversed(message.items()))),
    "with more in it": lambda message: json.dumps(
        {"a": '"},\\', "b": {"type": ["}", {}]}, **message, "c": -1.5e3, "d": None, "é": "\\"}
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_json_may_be_written_in_any_way(driver: Path, writer: str) -> None:
    report = measure(driver, FaultyServer("none", WRITERS[writer]))
    assert faults(report) == set()
    check_accounts(report)


def test_an_answer_that_comes_after_all_shows_in_the_next_report(driver: Path) -> None:
    async def run() -> tuple[Report, Report]:
        server = FaultyServer("lose")
        async with serving(server) as port, talking(driver, port, *SMALL) as talk:
            first = await talk.ask("go 0.1")
            await server.answer_lost()
            return first, await talk.ask("hold 0.2")

    first, second = asyncio.run(run())
    assert first["lost"] == second["late"] > 0
    assert faults(second) == {"late"}
    assert second["jobs"] == 0


def test_a_socket_that_closes_while_it_is_held_ends_the_driver(driver: Path) -> None:
    async def run() -> tuple[int | None, bytes]:
        server = FaultyServer("none")
        async with serving(server) as port:
            process = await asyncio.create_subprocess_exec(
                *(str(driver), "--port", str(port), *SMALL),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdout.readline()
            process.stdin.write(b"hold 0.5\n")
            await server.close_one()
            _, said = await process.communicate()
            return process.returncode, said

    code, said = asyncio.run(run())
    assert code == 1
    assert b"1 connections were closed" in said


def test_a_refusal_ends_the_driver_with_its_reason(driver: Path) -> None:
    async def refuse(socket: ServerConnection) -> None:
        async for _ in socket:
            await socket.send('{"type":"error","code":"UNAUTHORIZED","message":"no token"}')

    async def run() -> bytes:
        async with serve(refuse, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            process = await asyncio.create_subprocess_exec(
                *(str(driver), "--port", str(port), *SMALL),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            return (await process.communicate())[1]

    assert b"node 0: UNAUTHORIZED: no token" in asyncio.run(run())


# --- with what carries jobs -------------------------------------------------------------------

LOADS = {
    "closed loop": ("--window", "3"),
    "open loop": ("--rate", "300", "--node-delay-us", "200", "--node-jitter-us", "800"),
    "long audio": ("--audio-bytes", "44000", "--languages", "5"),
    "12 s of speech": ("--audio-bytes", "375000", "--sessions", "2", "--window", "1"),
    "addresses": ("--source-addresses", "3", "--session-heartbeats", "--heartbeat-seconds", "0.1"),
}


@pytest.mark.parametrize("load", LOADS)
def test_the_scheduler_errs_nowhere(driver: Path, tmp_path: Path, load: str) -> None:
    async def run(port: int) -> list[Report]:
        options = ("--sessions", "20", "--nodes", "5", *LOADS[load])
        async with talking(driver, port, *options) as talk:
            return [await talk.ask(line) for line in ("go 0.3", "hold 0.3", "go 0.2")]

    settings = {"limits.messages_per_second_max": 1_000_000}
    with running_scheduler(tmp_path, settings) as endpoints:
        first, held, second = asyncio.run(run(int(endpoints.public.rpartition(":")[2])))
    for report in (first, held, second):
        assert faults(report) == set()
        assert report["errors"] == {}
    for report in (first, second):
        check_accounts(report)
        assert ("planned_to_reply" in report["latency_ns"]) == (load == "open loop")
    assert held["submitted"] == held["jobs"] == 0


@pytest.mark.parametrize("load", ["closed loop", "long audio", "12 s of speech"])
def test_a_relay_errs_nowhere(driver: Path, relay: Path, tmp_path: Path, load: str) -> None:
    async def run(port: int) -> Report:
        options = ("--target", "relay", "--sessions", "20", "--nodes", "5", *LOADS[load])
        async with talking(driver, port, *options) as talk:
            return await talk.ask("go 0.3")

    with running(tmp_path, "relay", command=[str(relay)], talks=True) as program:
        report = asyncio.run(run(int(program.read_line().removeprefix(b"port "))))
    assert faults(report) == set()
    check_accounts(report)
    assert program.process.returncode == 0


def test_buckets_are_narrow(driver: Path) -> None:
    report = measure(driver, FaultyServer("none"), "--node-jitter-us", "100000", line="go 0.5")
    uppers = [upper for upper, _ in report["latency_ns"]["assign_to_result_out"]["buckets"]]
    gaps = [(later - upper) / upper for upper, later in pairwise(uppers)]
    assert min(gaps) <= 0.02  # neighbours that are both in use


# --- the command line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--port", "1"), "--port and --sessions must be given"),
        (("--port", "0"), "--port must be a number from 1 to 65535, not '0'"),
        (("--sessions", "1.5"), "--sessions must be a whole number, not '1.5'"),
        (("--audio-bytes", "8"), "--audio-bytes must be a number from 24 to"),
        (("--target", "moon"), "--target must be scheduler or relay, not 'moon'"),
        (("--port", "1", "--sessions", "1", "--host", "localhost"), "no IPv4 address"),
        (("fast",), "'fast' is no option"),
        (("--what",), "unrecognized option '--what'"),
    ],
)
def test_wrong_options_are_named(driver: Path, options: tuple[str, ...], problem: str) -> None:
    done = subprocess.run([driver, *options], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert problem in done.stderr
