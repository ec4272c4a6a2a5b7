"""Why jobs were refused or failed, since the start of the program."""

import msgspec
from msgspec import Struct

from scheduler.memory.layout import EXCLUSIONS, NODES
from scheduler.memory.views import Views
from scheduler.protocol.exclusions import SAMPLES_MAX, Exclusion
from scheduler.protocol.ids import slot_of
from scheduler.protocol.status import Status
from scheduler.stats.metric_readers import code_totals, exclusion_totals


class Refusals(Struct, frozen=True):
    """Totals by exclusion reason and by error code; only those that are not 0.

    `excluded` counts nodes, once for each job that ended with NO_AVAILABLE_NODE, or for want of
    room to wait for one. `samples` names for each reason up to 5 nodes that were excluded lately,
    the latest first, while known.
    """

    excluded: dict[str, int]
    failed_by_code: dict[str, int]
    refused_by_code: dict[str, int]
    samples: dict[str, list[str]]


def refusals_json(views: Views) -> bytes:
    """Return the Refusals of this moment."""
    return msgspec.json.encode(
        Refusals(
            excluded=_counted(exclusion_totals(views)),
            failed_by_code=_counted(code_totals(views, "jobs_failed_by_code_total")),
            refused_by_code=_counted(code_totals(views, "refusals_by_code_total")),
            samples=_samples(views),
        )
    )


def _counted(totals: dict[str, int]) -> dict[str, int]:
    return {name: total for name, total in totals.items() if total}


def _samples(views: Views) -> dict[str, list[str]]:
    refs = views.column(EXCLUSIONS.name, "sample_refs").reshape(len(Exclusion), SAMPLES_MAX)
    return {
        reason.value: node_ids
        for reason, latest in zip(Exclusion, refs.tolist(), strict=True)
        if (node_ids := _ids_of(views, latest))
    }


def _ids_of(views: Views, refs: list[int]) -> list[str]:
    """Return the ids that belong to references, but for nodes that have left the table."""
    column = views.column
    held = column(NODES.name, "ref")
    status = column(NODES.name, "status")
    node_id = column(NODES.name, "node_id")
    return [
        node_id[slot].decode(errors="replace")
        for ref in dict.fromkeys(refs)  # one may stand there twice while they are written
        if held[slot := slot_of(ref)] == ref and status[slot] != Status.FREE
    ]
