"""Finds out how soon after a kill a new session is taken in and has a result.

Run as `... tests.chaos.probe_worker SPEC`.

It begins a new session four times a second until one of them has its result. Its jobs ask for a
service that only nodes have that are never told to misbehave, so that it sees the scheduler's
recovery and not the nodes'.
"""

import asyncio
import base64
import sys
from collections.abc import Callable

import msgspec

from tests.chaos.history import Event, Tag, What, now_ns
from tests.chaos.orders import Order, Probe
from tests.chaos.peer_socket import TROUBLE, abort, expect, open_socket, send
from tests.chaos.worker import Worker, WorkerSpec, enter
from tests.integration.peers import INIT

AGAIN_SECONDS = 0.25
TRIES_AT_ONCE_MAX = 12
TRY_SECONDS_MAX = 6.0
SECONDS_MAX = 25.0

FEATURE = "speaker_identification"
"""Stands for the service that the anchors have."""


async def try_once(url: str, take_in: Callable[[], None]) -> bool:
    """Return whether a new session had a result; call `take_in` once it has its ack."""
    try:
        connection = await open_socket(url, pings=False)
    except TROUBLE:
        return False
    try:
        await send(connection, "session_init", **{**INIT, "features": {FEATURE: True}})
        ack = await expect(connection, "session_init_ack", TRY_SECONDS_MAX)
        take_in()
        tag = Tag(ack["session_id"], 0, "probe")
        await send(
            connection,
            "utterance",
            session_id=tag.session,
            utterance_index=0,
            manual_cut=True,
            src_lang="zh",
            tgt_lang="en",
            audio=base64.b64encode(f"{tag}\n".encode()).decode(),
            audio_format="pcm16",
            sample_rate=16_000,
        )
        await expect(connection, "translation_result", TRY_SECONDS_MAX)
    except TROUBLE:
        return False
    finally:
        abort(connection)
    return True


async def probe(worker: Worker, order: Probe) -> None:
    """Note how long it took; nothing where no try came through."""
    tries: set[asyncio.Task[bool]] = set()
    taken_in = False

    def take_in() -> None:
        nonlocal taken_in
        if not taken_in:
            taken_in = True
            note("taken in")

    def note(what: What) -> None:
        at_ns = now_ns()
        worker.note(Event(at_ns, "probe", what, index=order.number, size=at_ns - order.at_ns))

    try:
        while now_ns() - order.at_ns < SECONDS_MAX * 1e9:
            if len(tries) < TRIES_AT_ONCE_MAX:
                tries.add(asyncio.create_task(try_once(worker.spec.url, take_in)))
            done, tries = await asyncio.wait(
                tries, timeout=AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if any(task.result() for task in done):
                note("probed")
                return
            if done:  # refused at once: don't hammer
                await asyncio.sleep(AGAIN_SECONDS / 5)
    finally:
        for task in tries:
            task.cancel()
        await asyncio.gather(*tries, return_exceptions=True)


async def main(spec: WorkerSpec) -> None:
    worker = Worker(spec)

    def obey(order: Order) -> None:
        assert isinstance(order, Probe), order
        worker.start(probe(worker, order))

    await worker.run(obey)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=WorkerSpec)
    enter(given)
    asyncio.run(main(given))
