"""A job and all nodes: the structs that are shown, and printed as JSON."""

from msgspec import Struct

from scheduler import __version__
from scheduler.config import Config
from scheduler.explain.ask import Ask
from scheduler.explain.outlook import Outlook, notes_of, outlook_of
from scheduler.explain.reading import Look
from scheduler.explain.verdicts import JUST_CHANGED, REASON_NAMES, Verdicts
from scheduler.explain.words import Details
from scheduler.protocol.status import Status
from scheduler.selection.capacity import room
from scheduler.selection.columns import Int64s
from scheduler.selection.exclusions import ELIGIBLE
from scheduler.stats.reading import texts


class NodeVerdict(Struct, frozen=True):
    """One node. `rank` counts from 1 on those that may have the job, null for the others.

    `reason` is the first that excludes the node, "" where none does; `detail` is what there is to
    add. `load` is by the strategy, as scores have it. `turn` says when the node was last
    chosen, 0 for never: the less, the longer ago; null where that isn't known.
    """

    rank: int | None
    node_id: str
    name: str
    status: str
    reason: str
    detail: str
    load: int
    turn: int | None
    in_flight: int
    external_jobs: int
    capacity: int
    cpu_percent: float
    gpu_percent: float
    memory_percent: float


class Excluded(Struct, frozen=True):
    """Nodes that a reason is the first to exclude, and the slots they would have without it."""

    nodes: int
    slots: int


class Explanation(Struct, frozen=True):
    """Everything about one job.

    `class_in_use`: a job has asked for these services before, so that the dispatcher's own scores
    were read. `unsettled` nodes changed while they were read. `nodes` may be only the first ones.
    """

    version: str
    epoch: str
    at_ms: int
    asked: Ask
    services: list[str]
    strategy: str
    outlook: Outlook
    chosen: NodeVerdict | None
    runner_up: NodeVerdict | None
    nodes_total: int
    eligible: int
    free_slots: int
    excluded: dict[str, Excluded]
    queued: int
    queued_total: int
    class_in_use: bool
    unsettled: int
    notes: list[str]
    nodes: list[NodeVerdict]


def make_explanation(
    look: Look, verdicts: Verdicts, config: Config, ask: Ask, epoch: str, nodes_max: int | None
) -> Explanation:
    """Put it all together; `nodes_max` bounds the nodes listed, None for all of them."""
    space = room(look.nodes, verdicts.found)
    excluded = {reason: Excluded(*counts) for reason, counts in space.blocked.items()}
    changed = int((verdicts.found == JUST_CHANGED).sum())
    if changed:
        excluded[REASON_NAMES[JUST_CHANGED]] = Excluded(changed, 0)
    counts = {reason: one.nodes for reason, one in excluded.items()}
    best = node_verdicts(look, verdicts, config, verdicts.order[: min(2, verdicts.eligible)])
    return Explanation(
        version=__version__,
        epoch=epoch,
        at_ms=look.now_ms,
        asked=ask,
        services=look.services,
        strategy=config.scheduler.load_balancer.strategy,
        outlook=outlook_of(look, verdicts, config, ask, counts),
        chosen=best[0] if best else None,
        runner_up=best[1] if len(best) > 1 else None,
        nodes_total=len(verdicts.order),
        eligible=verdicts.eligible,
        free_slots=space.free_slots if ask.node is None else _free_slots(look, verdicts),
        excluded=excluded,
        queued=look.queued,
        queued_total=look.queued_total,
        class_in_use=look.scores is not None,
        unsettled=verdicts.unsettled,
        notes=list(notes_of(look, verdicts, config, ask)),
        nodes=node_verdicts(look, verdicts, config, verdicts.order[:nodes_max]),
    )


def _free_slots(look: Look, verdicts: Verdicts) -> int:
    """Return those of the nodes that may have the job, withheld ones too: pairing gives those."""
    nodes, rows = look.nodes, verdicts.order[: verdicts.eligible]
    own = nodes.external_jobs[rows] * (nodes.usage_ref[rows] == nodes.ref[rows])
    return int((nodes.capacity[rows] - nodes.in_flight[rows] - own).sum())


def node_verdicts(
    look: Look, verdicts: Verdicts, config: Config, rows: Int64s
) -> list[NodeVerdict]:
    """Return those rows of the node table, which are the first of the verdicts' order."""
    nodes = look.nodes
    details = Details(look, config.scheduler.load_balancer)
    known = nodes.usage_ref[rows] == nodes.ref[rows]
    reasons = [REASON_NAMES[index] for index in verdicts.found[rows].tolist()]
    columns = (
        texts(nodes.node_id[rows]),
        texts(nodes.name[rows]),
        [Status(value).wire for value in nodes.status[rows].tolist()],
        reasons,
        [details.of(*pair) for pair in zip(rows.tolist(), reasons, strict=True)],
        verdicts.load[rows].tolist(),
        [turn if turn >= 0 else None for turn in verdicts.turn[rows].tolist()],
        nodes.in_flight[rows].tolist(),
        (nodes.external_jobs[rows] * known).tolist(),
        nodes.capacity[rows].tolist(),
        # What is not known of a row's usage stands for the node before it.
        (nodes.cpu_percent[rows] * known).tolist(),
        (nodes.gpu_percent[rows] * known).tolist(),
        (nodes.memory_percent[rows] * known).tolist(),
    )
    eligible = (verdicts.found[rows] == ELIGIBLE).tolist()
    return [
        NodeVerdict(number if may else None, *values)
        for number, may, *values in zip(range(1, len(rows) + 1), eligible, *columns, strict=True)
    ]
