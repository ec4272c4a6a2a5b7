"""Takes stock of a running scheduler: what its processes hold, what its memory says."""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.chaos.check_end import MUST_BE_ZERO, ProcessFacts
from tests.chaos.rig import process_name
from tests.integration.cluster import Cluster

SETTLE_SECONDS_MAX = 30.0
POLL_SECONDS = 0.05
STEADY_LOOKS = 10

PAYLOADS = frozenset({"arena_used_bytes", "payload_bytes"})
"""A result on its way to a gateway that died is freed only once it is surely not wanted: 180 s."""

SHOWN = (
    *MUST_BE_ZERO,
    "results_stale_total",
    "results_spoofed_total",
    "payloads_lost_total",
    "arena_full_total",
    "slow_readers_cut_total",
    "audits_total",
    "reclaimed_total",
    "failovers_total",
    "attempts_timed_out_total",
    "pending_timed_out_total",
    "ejections_total",
    "stale_results_total",
    "retries_denied_total",
    "models_marked_total",
)
"""Counters for the table, of gateways or of the dispatcher."""


def process_facts(pid: int) -> ProcessFacts:
    """Return what a process has of the machine; raises OSError where it is gone."""
    kinds: Counter[str] = Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue  # closed meanwhile
        kinds[re.sub(r":\[\d+\]$| \(deleted\)$", "", target)] += 1
    status = Path(f"/proc/{pid}/status").read_text()
    # Not shared memory, of which a process maps more the more of it was used.
    own = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    return ProcessFacts(dict(kinds), int(own[1]) << 10 if own else 0)


def all_process_facts(cluster: Cluster, rows: list[int]) -> dict[str, ProcessFacts]:
    """Return those of the supervisor and of the processes of `rows` that run."""
    pids = {"supervisor": cluster.scheduler.process.pid}
    pids |= {process_name(row): pid for row in rows if (pid := cluster.pid(row))}
    found = {}
    for name, pid in pids.items():
        try:
            found[name] = process_facts(pid)
        except OSError:  # it just ended
            continue
    return found


async def steady_process_facts(
    cluster: Cluster, rows: list[int], at_most: dict[str, ProcessFacts] | None = None
) -> dict[str, ProcessFacts]:
    """Return them once nothing has come or gone for a while, a descriptor of a link say.

    With `at_most`, once nobody has more descriptors than there. Either way not later than
    SETTLE_SECONDS_MAX.
    """
    names = {"supervisor", *map(process_name, rows)}
    found: dict[str, ProcessFacts] = {}
    since = 0
    for _ in range(round(SETTLE_SECONDS_MAX / POLL_SECONDS)):
        before, found = found, all_process_facts(cluster, rows)
        same = {n: f.kinds for n, f in before.items()} == {n: f.kinds for n, f in found.items()}
        since = since + 1 if same and all(map(cluster.serves, rows)) else 0
        fits = at_most is None or all(found[n].fds <= at_most[n].fds for n in at_most if n in found)
        if since >= STEADY_LOOKS and fits and found.keys() == names:
            break
        await asyncio.sleep(POLL_SECONDS)
    return found


def totals(cluster: Cluster) -> dict[str, dict[str, int]]:
    """Return jobs by outcome, for each gateway and for the dispatcher."""
    found = {}
    for gateway in range(cluster.gateways):
        of = cluster.totals(gateway)
        found[f"gateway {gateway}"] = {
            "accepted": of.accepted,
            "completed": of.completed,
            "failed": of.failed,
            "cancelled": of.cancelled,
        }
    ends = ("completed", "failed", "cancelled")
    found["dispatcher"] = {"accepted": cluster.dispatcher("submitted_total")}
    found["dispatcher"] |= {name: cluster.dispatcher(f"{name}_total") for name in ends}
    return found


def counters(cluster: Cluster) -> dict[str, int]:
    """Return those of SHOWN."""
    found = {}
    for name in SHOWN:
        try:
            found[name] = cluster.total(name)
        except KeyError:
            found[name] = cluster.dispatcher(name)
    return found


def slots(cluster: Cluster) -> dict[str, str]:
    """Return the connected nodes that have jobs, by the dispatcher's count or their gateway's."""
    column = cluster._views.column
    rows = zip(column("nodes", "node_id"), column("nodes", "held"), strict=True)
    held = {node_id.decode(): int(count) for node_id, count in rows}
    return {
        node.node_id: f"in_flight {node.in_flight}, held {held[node.node_id]}"
        for node in cluster.nodes().values()
        if node.gateway >= 0 and (node.in_flight or held[node.node_id])
    }


def left(cluster: Cluster) -> dict[str, str]:
    """Return the gauges that are not zero, in words."""
    found = {name: str(value) for name, value in cluster._left().items()}
    for name in ("payload_bytes", "link_queued_bytes"):
        if cluster.total(name):
            found[name] = str(cluster.total(name))
    return found


async def until_empty(
    look: Callable[[], dict[str, str]], seconds: float = SETTLE_SECONDS_MAX
) -> dict[str, str]:
    """Call `look` until it returns nothing, or time is over; return what it returned last."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while (found := look()) and loop.time() < deadline:
        await asyncio.sleep(POLL_SECONDS)
    return found
