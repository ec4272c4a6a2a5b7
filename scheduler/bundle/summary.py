"""The text that is read first: what was going on, and the last events of all processes in order.

It is made of the other parts, redacted as they are. One that couldn't be had is None.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

import msgspec

from scheduler.bundle.blocks import Document
from scheduler.config import Config

EVENTS_MAX = 80
NODE_EVENTS_MAX = 20
"""Apart from the others: when a network fails, nodes would fill the page."""

_DEFAULTS = "all others are the defaults"
_TIME = slice(11, 23)
"""The time of day, to the millisecond, of a text as 2026-01-31T03:14:15.123456Z."""


def summarise(
    manifest: Document,
    *,
    frame: Document | None,
    counters: Document | None,
    settings: Document | None,
    flight: Mapping[str, Sequence[Document] | None],
) -> str:
    """Return the text; the names of the arguments are those of the members."""
    lines = [
        f"Lingua scheduler {manifest['version']}, run {manifest['epoch']}",
        f"looked at  {manifest['when']} (all times are UTC)",
        f"because    {manifest['why']}",
        f"started    {manifest['started']}, dispatcher generation {manifest['generation']}",
        *_machine(manifest["machine"]),
        *(() if settings is None else _settings(settings)),
        "",
        *(() if frame is None else _processes(frame["processes"])),
        "",
        *(() if counters is None else _totals(counters)),
        *(() if frame is None else _moment(frame)),
        "",
        *_events(flight),
    ]
    return "\n".join(lines) + "\n"


def _machine(machine: Document) -> Iterator[str]:
    memory, load = machine["memory"], machine["load_average"]
    yield f"machine    {machine['kernel']}, {machine['python']}"
    yield (
        f"           {len(machine['cores_allowed'])} cores, load {load[0]:.1f} {load[1]:.1f} "
        f"{load[2]:.1f}, {memory.get('MemAvailable')} of {memory.get('MemTotal')} memory available"
    )
    events = machine["cgroup"].get("memory.events", ())
    killed = [event for event in events if event.startswith("oom_kill ") and event[9:] != "0"]
    if killed:
        yield f"           THE KERNEL KILLED FOR WANT OF MEMORY: {killed[0]} in this control group"


def _settings(settings: Document) -> Iterator[str]:
    defaults = dict(_flat(msgspec.to_builtins(Config())))
    changed = [
        f"{key} = {msgspec.json.encode(value).decode()}"
        for key, value in _flat(settings)
        if value != defaults.get(key)
    ]
    for head, text in zip(chain(["settings"], repeat("")), [*changed, _DEFAULTS], strict=False):
        yield f"{head:<11}{text}"


def _flat(table: Document, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _processes(processes: Sequence[Document]) -> Iterator[str]:
    heads = f"{'process':<14}{'pid':>8} {'restarts':>9} {'heartbeat':>12} {'longest cycle':>14}"
    yield f"{heads}  state"
    for one in processes:
        name = f"gateway {one['index']}" if one["role"] == "gateway" else one["role"]
        age_ms = one["heartbeat_age_ms"]
        heartbeat = "never" if age_ms is None else f"{age_ms} ms ago"
        cycle = f"{one['loop_lag_max_ms']:.0f} ms"
        yield (
            f"{name:<14}{one['pid']:>8} {one['restarts']:>9} {heartbeat:>12} {cycle:>14}  "
            f"{_state(one)}"
        )


def _state(process: Document) -> str:
    if not process["pid"]:
        return "NOT RUNNING"
    if process["heartbeat_age_ms"] is None:
        return "starting"
    if not process["fresh"]:
        return "STUCK"
    return "serving" if process["ready"] else "starting"


def _totals(counters: Document) -> Iterator[str]:
    gateways = counters["gateway_counters"]
    jobs = ", ".join(
        f"{sum(one[f'jobs_{what}_total'] for one in gateways)} {what}"
        for what in ("accepted", "completed", "failed", "cancelled", "refused")
    )
    yield f"jobs       {jobs}, since the start"
    codes = counters["gateway_codes"]
    for head, name, rows in (
        ("failed", "jobs_failed_by_code_total", codes),
        ("refused", "refusals_by_code_total", codes),
        ("no node", "excluded_total", counters["exclusions"]),
    ):
        totals: Counter[str] = Counter()
        for row in rows:
            totals.update(row[name])
        found = [f"{count} {label}" for label, count in totals.most_common() if count]
        if found:
            yield f"  {head:<9}{', '.join(found)}"


def _moment(frame: Document) -> Iterator[str]:
    rates = {name.removesuffix("_per_s"): rate for name, rate in frame["rates"].items()}
    jobs = ", ".join(
        f"{rates[f'jobs_{what}']:.1f} {what}"
        for what in ("accepted", "completed", "failed", "cancelled", "refused")
    )
    yield f"jobs/s     {jobs}, within {frame['interval_s']:.1f} s"
    yield (
        f"jobs now   {frame['jobs_live']} live: {frame['in_flight']} on nodes, {frame['queued']} "
        f"waiting, the oldest for {frame['oldest_wait_ms']} ms"
    )
    for queue in frame["queues"]:
        yield f"           {queue['queued']} wait for {', '.join(queue['services']) or 'any node'}"
    counts = frame["node_counts"].items()
    nodes = ", ".join(f"{count} {status}" for status, count in counts if count)
    yield f"nodes      {nodes or 'none'}; {frame['slots']} slots"


def _events(flight: Mapping[str, Sequence[Document] | None]) -> Iterator[str]:
    found = [(name, event) for name, events in flight.items() for event in events or ()]
    found.sort(key=_moment_of)
    of_nodes = [one for one in found if one[1]["kind"] == "node"]
    others = [one for one in found if one[1]["kind"] != "node"]
    last = sorted([*of_nodes[-NODE_EVENTS_MAX:], *others[-EVENTS_MAX:]], key=_moment_of)
    yield f"Last {len(last)} of {len(found)} events, oldest first; all of them are in flight/"
    day = ""
    for name, event in last:
        if event["time"][:10] != day:
            day = event["time"][:10]
            yield f"--- {day}"
        yield f"{event['time'][_TIME]}  {name:<11} {event['kind']:<8} {event['text']}"


def _moment_of(event: tuple[str, Document]) -> int:
    moment: int = event[1]["monotonic_ns"]
    return moment
