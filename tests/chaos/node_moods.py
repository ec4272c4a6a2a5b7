"""How a node treats a job, by its mood.

Each is a coroutine that runs from `job_assign` on and is cancelled by `job_cancel`, but for late
answers, or when the node gives the job up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from scheduler.protocol.ids import wire_job_id
from tests.chaos.history import AGAIN, LATE, OK, UNKNOWN, WRONG
from tests.chaos.orders import Mood
from tests.integration.peers import CORE_SERVICES

if TYPE_CHECKING:
    from tests.chaos.node_worker import Held, SimNode

LATE_SECONDS_MAX = 5.0
FAILURES = ("INTERNAL_ERROR", "NODE_OVERLOADED", "TTS_TIMEOUT", "NODE_UNAVAILABLE", "OWN_TROUBLE")


async def normal(node: "SimNode", held: "Held") -> None:
    """Answer after the node's usual time, sometimes with text on the way."""
    await node.work()
    if node.draw.random() < 0.1:
        await node.partial(held)
        await node.work()
    await node.answer(held, OK)


async def slow(node: "SimNode", held: "Held") -> None:
    """Answer after a time around the deadline of an attempt."""
    await asyncio.sleep(node.draw.uniform(0.3, 2.5))
    await node.answer(held, OK)


async def mute(node: "SimNode", held: "Held") -> None:
    """Never answer."""


async def twice(node: "SimNode", held: "Held") -> None:
    """Answer, and answer again, at once and later."""
    await normal(node, held)
    for _ in range(node.draw.randint(1, 3)):
        if node.draw.random() < 0.5:
            await node.work()
        await node.send_result(held.job, held.attempt, AGAIN)


async def late(node: "SimNode", held: "Held") -> None:
    """Answer once nobody waits for it."""
    if await node.given_up(held, LATE_SECONDS_MAX):
        await node.send_result(held.job, held.attempt, LATE)
    else:  # it is still waited for
        await node.answer(held, OK)


async def wrong(node: "SimNode", held: "Held") -> None:
    """Answer for attempts that are not this one, and at times for this one too."""
    await node.work()
    for attempt in (held.attempt - 1, held.attempt + 1, held.attempt + 1_000):
        if attempt >= 0:
            await node.send_result(held.job, attempt, WRONG)
    if node.draw.random() < 0.5:
        await node.answer(held, OK)


async def unknown(node: "SimNode", held: "Held") -> None:
    """Answer for jobs of others, of nobody and of an earlier run, and for its own."""
    epoch, mine = node.epoch, held.job["job_id"]
    keys = (node.draw.getrandbits(62), node.draw.getrandbits(20))
    ids = [wire_job_id(epoch, key) for key in keys]
    ids += [wire_job_id("0badf00d", keys[1]), "job-", f"job-{epoch}-", f"{mine}x", f" {mine}"]
    for job_id in node.not_held([*ids, *node.others_jobs()]):
        await node.send_result({**held.job, "job_id": job_id}, held.attempt, UNKNOWN)
    await normal(node, held)


async def failing(node: "SimNode", held: "Held") -> None:
    """Fail the job."""
    await node.answer(held, node.draw.choice(FAILURES))


async def missing(node: "SimNode", held: "Held") -> None:
    """Say that a model is not there."""
    service = node.draw.choice((*CORE_SERVICES, None))
    await node.answer(held, "MODEL_NOT_AVAILABLE", service)


MOODS: dict[Mood, Callable[["SimNode", "Held"], Awaitable[None]]] = {
    "normal": normal,
    "slow": slow,
    "mute": mute,
    "silent": mute,
    "twice": twice,
    "late": late,
    "wrong": wrong,
    "unknown": unknown,
    "failing": failing,
    "flapping": normal,
    "missing": missing,
}
