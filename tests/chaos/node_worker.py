"""Nodes that answer with what they were asked: `python -m tests.chaos.node_worker SPEC`."""

import asyncio
import base64
import json
import random
import sys
from contextlib import suppress
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.chaos.history import OK, Event, What, now_ns
from tests.chaos.node_moods import MOODS
from tests.chaos.orders import Cut, Mood, Order, SetMood, Storm
from tests.chaos.peer_socket import (
    TROUBLE,
    Message,
    abort,
    cut,
    expect,
    open_socket,
    send,
    why_closed,
)
from tests.chaos.worker import Worker, WorkerSpec, enter
from tests.integration.peers import CORE_SERVICES, USAGE, registration

ANCHORS = 3
"""The first nodes are never told to misbehave: a probe needs one that is well."""

PROBE_SERVICE = "chaos-probe"
"""Installed on the anchors alone."""

HEARTBEAT_SECONDS = 0.7
ACK_SECONDS_MAX = 6.0
CLAIMED_SHARE = 0.5
"""How often a node goes on with its jobs after a lost connection."""

TTS_BYTES = (100, 20_000)
LARGE_BYTES = 200_000
LARGE_SHARE = 0.01
OTHERS_MAX = 8


class Held:
    """A job that the node works on."""

    def __init__(self, job: Message) -> None:
        self.job = job
        self.attempt: int = job["attempt_id"]
        self.task: asyncio.Task[None] | None = None
        self.over = asyncio.Event()


class SimNode:
    """One node over all its connections."""

    def __init__(self, worker: Worker, number: int, seen: dict[str, str]) -> None:
        """`seen` is the latest job of each node of this worker."""
        self._worker = worker
        self._seen = seen
        self.draw = random.Random(f"{worker.spec.seed} node {number}")
        self.epoch = worker.spec.epoch
        self.node_id = f"chaos-{number:02}"
        self.is_anchor = number < ANCHORS
        self._capacity = 6 if self.is_anchor else self.draw.randint(1, 5)
        self._work_seconds = 0.02 if self.is_anchor else self.draw.uniform(0.01, 0.15)
        self._connections = 0
        self._socket: ClientConnection | None = None
        self._member = asyncio.Event()
        self._held: dict[str, Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._mood: Mood = "normal"
        self._mood_ends = 0.0
        self._flapping: asyncio.Task[None] | None = None
        self._noted_end = True

    def note(self, what: What, **fields: Any) -> None:
        """Add an event of this node."""
        self._worker.note(Event(now_ns(), self.node_id, what, self._connections, **fields))

    # --- connections ---------------------------------------------------------------------

    async def live(self) -> None:
        """Be connected until it is over, as far as faults let us."""
        while not self._worker.over.is_set():
            await self._serve()
            await asyncio.sleep(self.draw.uniform(0.02, 0.2))
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self) -> None:
        self._connections += 1
        if self.draw.random() > CLAIMED_SHARE:
            self._drop_all()
        try:
            connection = await open_socket(self._worker.spec.url)
        except TROUBLE as error:
            self.note("refused", how=type(error).__name__)
            return
        try:
            await self._register(connection)
        except TROUBLE as error:
            self.note("refused", how=str(error) or type(error).__name__)
            abort(connection)
            return
        beating = asyncio.create_task(self._beat(connection))
        leaving = asyncio.create_task(self._leave(connection))
        try:
            while True:
                self._hear(json.loads(await connection.recv()))
        except ConnectionClosed as error:
            self._note_end(why_closed(error))
        finally:
            self._member.clear()
            self._socket = None
            for task in (beating, leaving):
                task.cancel()
            await asyncio.gather(beating, leaving, return_exceptions=True)

    async def _register(self, connection: ClientConnection) -> None:
        services = (*CORE_SERVICES, PROBE_SERVICE) if self.is_anchor else CORE_SERVICES
        # Only those that are held now: what ends while the ack is on its way was not claimed.
        claimed = {job_id: held.attempt for job_id, held in self._held.items()}
        running = [{"job_id": job_id, "attempt_id": claimed[job_id]} for job_id in claimed]
        await send(
            connection,
            "node_register",
            **registration(
                services,
                node_id=self.node_id,
                max_concurrent_jobs=self._capacity,
                running_jobs=running,
            ),
        )
        await expect(connection, "node_register_ack", ACK_SECONDS_MAX)
        claims = " ".join(f"{job_id}.{attempt}" for job_id, attempt in claimed.items())
        self._noted_end = False
        self.note("joined", size=self._capacity, text=claims)
        self._socket = connection
        self._member.set()

    async def _beat(self, connection: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                if self.mood != "silent":
                    await send(
                        connection,
                        "node_heartbeat",
                        node_id=self.node_id,
                        timestamp=1,
                        resource_usage={**USAGE, "running_jobs": len(self._held)},
                    )
                await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _leave(self, connection: ClientConnection) -> None:
        await self._worker.over.wait()
        self._note_end("left")
        await connection.close()

    def _note_end(self, how: str) -> None:
        if not self._noted_end:
            self._noted_end = True
            self.note("closed", how=how)

    def cut(self, how: str) -> None:
        """Cut the connection, if there is one."""
        if self._socket is not None:
            self._note_end("cut")
            cut(self._socket, how)

    # --- messages ------------------------------------------------------------------------

    def _hear(self, message: Message) -> None:
        match message["type"]:
            case "job_assign":
                self._assigned(message)
            case "job_cancel":
                self.note("cancelled", job=message["job_id"], how=message.get("reason", ""))
                held = self._held.pop(message["job_id"], None)
                if held is not None:
                    self._give_up(held)
            case "node_status":
                self.note("status", how=message["status"])
            case "error":
                self.note("error", how=message["code"], text=message["message"])

    def _assigned(self, job: Message) -> None:
        tag = _tag_of(base64.b64decode(job["audio"]))
        self.note(
            "assigned",
            job=job["job_id"],
            attempt=job["attempt_id"],
            session=job["session_id"],
            index=job["utterance_index"],
            text=tag,
        )
        self._seen[self.node_id] = job["job_id"]
        held = self._held[job["job_id"]] = Held({**job, "audio": tag})
        held.task = asyncio.create_task(self._work_on(held))
        self._tasks.add(held.task)
        held.task.add_done_callback(self._tasks.discard)

    async def _work_on(self, held: Held) -> None:
        with suppress(ConnectionClosed):
            await MOODS[self.mood](self, held)

    def _drop_all(self) -> None:
        for held in self._held.values():
            self._give_up(held)
        self._held.clear()

    def _give_up(self, held: Held) -> None:
        held.over.set()
        if held.task is not None and self.mood != "late":
            held.task.cancel()

    # --- what moods do -------------------------------------------------------------------

    @property
    def mood(self) -> Mood:
        """How it behaves now."""
        return self._mood if asyncio.get_running_loop().time() < self._mood_ends else "normal"

    def set_mood(self, mood: Mood, seconds: float) -> None:
        """Behave so for a while."""
        self._mood = mood
        self._mood_ends = asyncio.get_running_loop().time() + seconds
        self.note("mood", how=mood)
        if mood == "flapping":
            task = asyncio.create_task(self._flap())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _flap(self) -> None:
        while self.mood == "flapping":
            await asyncio.sleep(self.draw.uniform(0.05, 0.5))
            self.cut(self.draw.choice(("RST", "FIN")))

    async def work(self) -> None:
        """Take the time that a job takes here."""
        await asyncio.sleep(self.draw.uniform(0.3, 1.7) * self._work_seconds)

    async def given_up(self, held: Held, seconds: float) -> bool:
        """Return whether the job was taken away within that time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await held.over.wait()
        return held.over.is_set()

    async def answer(self, held: Held, how: str, service: str | None = None) -> None:
        """End the job, once there is a connection; OK, or fail with a code."""
        while True:
            await self._member.wait()
            if self._held.get(held.job["job_id"]) is not held:
                return
            try:
                await self.send_result(held.job, held.attempt, how, service)
            except ConnectionClosed:
                await asyncio.sleep(0.01)
                continue
            if self._held.get(held.job["job_id"]) is held:
                del self._held[held.job["job_id"]]
            return

    async def send_result(
        self, job: Message, attempt: int, how: str, service: str | None = None
    ) -> None:
        """Send a `job_result`, of whatever job; raises ConnectionClosed."""
        socket = self._socket
        if socket is None:
            return
        self.note("answered", job=job["job_id"], attempt=attempt, how=how)
        names = ("job_id", "session_id", "utterance_index", "trace_id")
        about = {"node_id": self.node_id, "attempt_id": attempt, **{n: job[n] for n in names}}
        if how.isupper():
            details = {"service_id": service} if service is not None else None
            error = {"code": how, "message": "as it was told to", "details": details}
            await send(socket, "job_result", **about, success=False, error=error)
            return
        # Answers that must not count say so: a session that hears one shows it.
        text = job["audio"] if how == OK else f"{how} {self.node_id}"
        size = LARGE_BYTES if self.draw.random() < LARGE_SHARE else self.draw.randint(*TTS_BYTES)
        speech = f"{text}\n".encode().ljust(size, b"~")
        await send(
            socket,
            "job_result",
            **about,
            success=True,
            text_asr=text,
            text_translated=text,
            tts_audio=base64.b64encode(speech).decode(),
            tts_format="pcm16",
        )

    async def partial(self, held: Held) -> None:
        """Send text of a job that goes on."""
        if self._socket is not None:
            names = ("job_id", "session_id", "utterance_index", "trace_id")
            about = {"node_id": self.node_id, **{name: held.job[name] for name in names}}
            await send(self._socket, "asr_partial", **about, text="so far", is_final=False)

    def others_jobs(self) -> list[str]:
        """Return jobs that other nodes were given lately."""
        ids = [job_id for node_id, job_id in self._seen.items() if node_id != self.node_id]
        return self.draw.sample(ids, min(len(ids), OTHERS_MAX))

    def not_held(self, job_ids: list[str]) -> list[str]:
        """Return those that are no jobs of this node."""
        return [job_id for job_id in job_ids if job_id not in self._held]


def _tag_of(audio: bytes) -> str:
    return audio.partition(b"\n")[0].decode(errors="replace")


class Nodes:
    """All nodes of this worker."""

    def __init__(self, worker: Worker) -> None:
        spec = worker.spec
        seen: dict[str, str] = {}
        self._nodes = {
            n: SimNode(worker, n, seen) for n in range(spec.first, spec.first + spec.count)
        }
        for node in self._nodes.values():
            worker.start(node.live())

    def obey(self, order: Order) -> None:
        """Do what the harness says."""
        others = [node for node in self._nodes.values() if not node.is_anchor]
        match order:
            case Cut(how, share, pick):
                count = max(1, round(share * len(others)))
                for node in random.Random(pick).sample(others, count):
                    node.cut(how)
            case Storm():
                for node in self._nodes.values():
                    node.cut("RST")
            case SetMood(number, mood, seconds):
                for node in others if number < 0 else [self._nodes[number]]:
                    node.set_mood(mood, seconds)
            case _:
                raise AssertionError(order)


async def main(spec: WorkerSpec) -> None:
    worker = Worker(spec)
    await worker.run(Nodes(worker).obey)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=WorkerSpec)
    enter(given)
    asyncio.run(main(given))
