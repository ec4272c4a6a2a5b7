"""How reasons, loads and choices are put into words."""

from collections.abc import Callable, Mapping

from scheduler.config import LoadBalancerSettings
from scheduler.explain.reading import Look
from scheduler.explain.verdicts import JUST_CHANGED, REASON_NAMES
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.status import Status
from scheduler.selection.columns import Words
from scheduler.selection.scores import LEAST_UTILIZATION, UTILIZATION_SCALE
from scheduler.top.tables import duration

MEANINGS = {
    Exclusion.OFFLINE.value: "has no connection",
    Exclusion.PRIVATE.value: "serves only sessions that are paired with it",
    Exclusion.DRAINING.value: "was told to take no more jobs",
    Exclusion.NOT_READY.value: "has yet to prove its health, or has lost it",
    Exclusion.NOT_INSTALLED.value: "lacks a service",
    Exclusion.SERVICE_NOT_READY.value: "has a service that can't take work yet",
    Exclusion.MODEL_NOT_AVAILABLE.value: "answered MODEL_NOT_AVAILABLE lately",
    Exclusion.FAILED_THIS_JOB.value: "has failed this job",
    Exclusion.CPU_LIMIT.value: "is over scheduler.load_balancer.cpu_limit",
    Exclusion.GPU_LIMIT.value: "is over scheduler.load_balancer.gpu_limit",
    Exclusion.MEMORY_LIMIT.value: "is over scheduler.load_balancer.memory_limit",
    Exclusion.EJECTED.value: "failed job after job lately, and gets those of paired sessions only",
    Exclusion.FULL.value: "has all its slots taken",
    REASON_NAMES[JUST_CHANGED]: "changed while this was read",
}
"""What a node is or does that a reason excludes."""

STRATEGIES = {
    "least_connections": "fewest jobs",
    "least_utilization": "smallest share of slots taken",
}
"""What each strategy takes first."""


def load_text(load: int, strategy: str) -> str:
    """Return a load as jobs, or as a share of the slots."""
    if strategy == LEAST_UTILIZATION:
        return f"{100 * load / UTILIZATION_SCALE:.0f} %"
    return counted(load, "job")


def counted(count: int, noun: str) -> str:
    """Return a count as "1 job" or "2,000 jobs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return counts by reason, the greatest first."""
    return sorted(counts.items(), key=lambda item: -item[1])


def listed(counts: Mapping[str, int]) -> str:
    """Return counts by reason in a sentence."""
    return ", ".join(f"{count:,} {reason}" for reason, count in ranked(counts))


class Details:
    """What exactly excludes a node, beyond the reason's name."""

    def __init__(self, look: Look, balance: LoadBalancerSettings) -> None:
        self._nodes = look.nodes
        self._balance = balance
        self._services = _mask(look.words)
        self._service_ids = look.service_ids
        self._now_ns = look.now_ns
        self._of: dict[str, Callable[[int], str]] = {
            Exclusion.OFFLINE.value: self._since,
            Exclusion.DRAINING.value: self._since,
            Exclusion.NOT_READY.value: self._status,
            Exclusion.NOT_INSTALLED.value: self._not_installed,
            Exclusion.SERVICE_NOT_READY.value: self._not_ready,
            Exclusion.MODEL_NOT_AVAILABLE.value: self._marked,
            Exclusion.CPU_LIMIT.value: self._cpu,
            Exclusion.GPU_LIMIT.value: self._gpu,
            Exclusion.MEMORY_LIMIT.value: self._memory,
            Exclusion.EJECTED.value: self._ejected,
            Exclusion.FULL.value: self._full,
            "": self._eligible,
        }

    def of(self, row: int, reason: str) -> str:
        """Return what there is to say of the node in `row`, "" where the reason says it all."""
        detail = self._of.get(reason)
        return detail(row) if detail is not None else ""

    def _since(self, row: int) -> str:
        age_ns = self._now_ns - int(self._nodes.status_since_ns[row])
        return f"for {duration(max(0, age_ns) / 1e9)}"

    def _status(self, row: int) -> str:
        return f"{Status(self._nodes.status[row]).wire} {self._since(row)}"

    def _not_installed(self, row: int) -> str:
        return self._names(self._services & ~_mask(self._nodes.installed[row]))

    def _not_ready(self, row: int) -> str:
        return self._names(self._services & ~_mask(self._nodes.ready[row]))

    def _marked(self, row: int) -> str:
        return self._names(self._services & _mask(self._nodes.marked[row]))

    def _names(self, mask: int) -> str:
        return ", ".join(
            name for bit, name in enumerate(self._service_ids) if mask >> bit & 1 and name
        )

    def _cpu(self, row: int) -> str:
        return _over(float(self._nodes.cpu_percent[row]), self._balance.cpu_limit)

    def _gpu(self, row: int) -> str:
        return _over(float(self._nodes.gpu_percent[row]), self._balance.gpu_limit)

    def _memory(self, row: int) -> str:
        return _over(float(self._nodes.memory_percent[row]), self._balance.memory_limit)

    def _ejected(self, row: int) -> str:
        return f"{counted(int(self._nodes.ejections_total[row]), 'time')} so far"

    def _full(self, row: int) -> str:
        nodes = self._nodes
        ours, slots = int(nodes.in_flight[row]), int(nodes.capacity[row])
        own = int(nodes.external_jobs[row]) * bool(nodes.usage_ref[row] == nodes.ref[row])
        return ", ".join(
            (
                f"{ours} of {slots}",
                *([f"{own} by its own work"] if own else []),
                *([slow] if (slow := self._eligible(row)) else []),
            )
        )

    def _eligible(self, row: int) -> str:
        withheld = int(self._nodes.withheld[row])
        return f"{withheld} withheld in slow start" if withheld else ""


def _over(percent: float, limit: float) -> str:
    return f"{percent:g} % > {limit:g} %"


def _mask(words: Words) -> int:
    return int.from_bytes(words.tobytes(), "little")
