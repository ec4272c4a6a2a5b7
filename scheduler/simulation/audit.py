"""Looks inside the core: its parts must agree with each other and with the shared tables."""

# The core offers no way in, and needs none but for this.
# ruff: noqa: SLF001

from collections import Counter
from collections.abc import Iterable

from scheduler.config import Config
from scheduler.dispatch.core import Dispatcher
from scheduler.dispatch.fairness import Shares
from scheduler.dispatch.jobs import Job
from scheduler.dispatch.nodes import NOBODY, Node
from scheduler.dispatch.placement import RequirementClass
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import NO_NODE
from scheduler.protocol.status import Status
from scheduler.selection.scores import INFINITE, TURN_BITS, UTILIZATION_SCALE
from scheduler.simulation.checks import check
from scheduler.simulation.ledger import Entry, Ledger


class Audit:
    """Recomputes from scratch what the core keeps up to date step by step."""

    def __init__(self, core: Dispatcher, config: Config, tables: Tables) -> None:
        self._core = core
        self._tables = tables
        self._by_utilization = config.scheduler.load_balancer.strategy == "least_utilization"
        self._per_class_max = config.limits.pending_per_class_max
        self._total_max = config.limits.pending_total_max

    @property
    def recovering(self) -> bool:
        """Whether the core still waits for announcements."""
        return self._core._recovery is not None

    @property
    def live(self) -> int:
        """How many jobs the core has."""
        return len(self._core._flow._jobs)

    def entries(self) -> dict[int, Entry]:
        """Return the core's own view of its jobs, for a ledger to start from."""
        return {
            job.key: Entry(
                _requirement_of(self._core, job),
                job.paired,
                job.attempt,
                job.node.ref if job.node else NO_NODE,
                taken_over=True,
                failed_on=set(job.excluded),
                lost_on=job.lost_on,
            )
            for job in self._core._flow._jobs.values()
        }

    def connections(self) -> dict[int, int]:
        """Return the gateway of each connected node, by reference."""
        return {n.ref: n.gateway for n in self._core._table if n.gateway != NOBODY}

    def owners(self) -> dict[int, str]:
        """Return the id of each node with a row, by reference."""
        return {node.ref: node.node_id for node in self._core._table}

    def codes(self) -> dict[str, int]:
        """Return the node that each pairing code stands for."""
        return {code: node for code, (node, _) in self._core._pairing._codes.items()}

    def run(self, ledger: Ledger) -> None:
        """Check everything; costs time in proportion to nodes and jobs."""
        self._check_jobs(ledger)
        self._check_nodes(ledger)
        self._check_scores()
        self._check_queue()

    def _check_jobs(self, ledger: Ledger) -> None:
        flow = self._core._flow
        check(flow._jobs.keys() == ledger.jobs.keys(), "the core has the jobs that are live")
        waiting = flow._pending._jobs
        for key, job in flow._jobs.items():
            running = key in flow._running
            check(running != (key in waiting), "a job runs or waits", key)
            check(running == (job.node is not None), "who runs has a node", key)
            if job.node is not None:
                check(job.node.jobs.get(key) is job, "and the node has the job", key)
            entry = ledger.jobs[key]
            found = (job.attempt, job.node.ref if job.node else NO_NODE)
            check(found == (entry.attempt, entry.node), "attempt and node are known", key, found)
        check(len(flow._running) + len(waiting) == len(flow._jobs), "nothing is left over anywhere")

    def _check_nodes(self, ledger: Ledger) -> None:
        columns, table = self._tables.nodes, self._core._table
        occupied = 0
        for node in table:
            slot = node.slot
            occupied += 1
            check(table._slots[slot] is node, "a node has its row", node.node_id)
            check(columns.ref[slot] == node.ref, "the row has its reference", node.node_id)
            check(columns.status[slot] == node.status, "the row has its status", node.node_id)
            check(columns.row_sequence[slot] % 2 == 0, "no row stays torn", node.node_id)
            check(
                columns.in_flight[slot] == len(node.jobs) == len(ledger.jobs_on.get(node.ref, ())),
                "in-flight is what runs there",
                node.node_id,
                int(columns.in_flight[slot]),
                len(node.jobs),
                ledger.jobs_on.get(node.ref),
            )
            connected = node.status not in {Status.OFFLINE, Status.FREE}
            check(connected == (node.gateway != NOBODY), "who is connected has a gateway")
        rows = int((columns.status != Status.FREE).sum())
        check(rows == occupied == len(table), "each row in use has a node", rows, occupied)

    def _check_scores(self) -> None:
        for service_class in self._core._flow._placement.classes:
            scores = service_class.row.tolist()
            members = 0
            for slot, node in enumerate(self._core._table._slots):
                expected = INFINITE if node is None else self._score(node, service_class)
                check(scores[slot] == expected, "a score is what it would be worked out to", slot)
                if node is not None:
                    members += node.public and node.fits(service_class.mask)
            check(service_class.members == members, "a class knows its members", members)

    def _score(self, node: Node, service_class: RequirementClass) -> int:
        load = len(node.jobs) + node.external_jobs
        serves = (
            node.public
            and node.status == Status.READY
            and node.ready & ~node.marked & service_class.mask == service_class.mask
        )
        if not serves or load >= node.capacity - node.withheld or node.over_limit:
            return INFINITE
        if self._by_utilization:
            load = load * UTILIZATION_SCALE // node.capacity
        return load << TURN_BITS | node.turn

    def _check_queue(self) -> None:
        pending = self._core._flow._pending
        classes = list(self._core._flow._placement.classes)
        backlogs = [c.backlog for c in classes] + list(pending._paired.values())
        check(sum(map(len, backlogs)) == len(pending), "each waiting job stands in one backlog")
        for backlog in backlogs:
            check(len(backlog._fresh) <= self._per_class_max, "backlogs are bounded", len(backlog))
        new = sum(len(backlog._fresh) for backlog in backlogs)
        check(new <= self._total_max, "the queue is bounded", new)
        for backlog in backlogs:
            # Not the failed-over ones: a free node may miss one behind others that failed on it,
            # and then it starts with the next refresh.
            first = backlog.first()
            if first is not None:
                self._check_must_wait(first)
            self._check_shares(backlog._shares, backlog._fresh.values())
        self._check_shares(pending._shares, [j for b in backlogs for j in b._fresh.values()])

    def _check_shares(self, shares: Shares, jobs: Iterable[Job]) -> None:
        lengths = Counter((job.record.priority, job.record.flow) for job in jobs)
        for (priority, flow), length in lengths.items():
            flows = shares._flows[priority]
            check(flows.length(flow) == length, "a flow knows its jobs", flow, length)
            longest = max(n for (level, _), n in lengths.items() if level == priority)
            check(flows.longest == longest, "the longest flow is known", longest)
        check(len(shares._flows) == len({p for p, _ in lengths}), "no flow stays empty")

    def _check_must_wait(self, job: Job) -> None:
        for node in self._core._table:
            free = node.has_free_slot() and node.public
            free |= node.has_slot_for_paired() and job.paired == node.ref
            # A node whose turn ended among overdue jobs has the next one in the tick that comes.
            free &= node not in self._core._flow._unserved
            check(not (free and job.may_run_on(node)), "who waits has to", job.key, node.node_id)


def _requirement_of(core: Dispatcher, job: Job) -> int:
    """Return any requirement of the job's class: they all need the same services."""
    return core._flow._services.masks.index(job.service_class.mask)
