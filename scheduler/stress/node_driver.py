"""A process with the simulated nodes of one group; says READY when all of them may get jobs.

`python -m scheduler.stress.node_driver TASK`
"""

import asyncio
import os
import sys

import msgspec
import uvloop

from scheduler.config import ObservabilitySettings
from scheduler.logs import configure_logging
from scheduler.nodes import sim
from scheduler.protocol.status import Status
from scheduler.sdk.connection import cancel_and_wait
from scheduler.stress.driver import TOKEN_VARIABLE
from scheduler.stress.messages import READY, NodesTask

_POLL_SECONDS = 0.05


def settings_of(task: NodesTask, token: str | None) -> sim.SimSettings:
    """Return what the simulated nodes do."""
    group = task.group
    return sim.SimSettings(
        url=task.url,
        services=group.services,
        count=group.count,
        delay_ms=group.delay_ms,
        fail_rate=group.fail_rate,
        fail_code=group.fail_code,
        capacity=group.slots,
        seed=task.seed,
        name_prefix=group.name,
        partials=group.partials,
        churn_seconds=group.churn_seconds,
        tts_bytes=group.tts_bytes,
        token=token,
    )


async def run(task: NodesTask) -> None:
    """Serve until the end of the input: who started this process has ended then, or wants it to."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    nodes: list[sim.SimNode] = []
    serving = asyncio.create_task(sim.run(settings_of(task, os.environ.get(TOKEN_VARIABLE)), nodes))
    telling = asyncio.create_task(_tell(nodes, task.group.count))
    ending = asyncio.create_task(orders.read())
    try:
        await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    finally:
        telling.cancel()
        await cancel_and_wait(serving)
        transport.close()


async def _tell(nodes: list[sim.SimNode], count: int) -> None:
    """Nodes that come and go are never ready all at once: each has to have been, once."""
    ready: set[int] = set()
    while len(ready) < count:
        await asyncio.sleep(_POLL_SECONDS)
        ready |= {
            number for number, node in enumerate(nodes) if node.client.status == Status.READY.wire
        }
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    configure_logging(ObservabilitySettings(log_level="error"), "nodes")
    uvloop.run(run(msgspec.json.decode(sys.argv[1], type=NodesTask)))
