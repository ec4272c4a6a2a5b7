"""Why jobs were refused or failed, since the start of the program."""

import msgspec
import numpy as np
from msgspec import Struct

from scheduler.memory.layout import EXCLUSIONS, NODES
from scheduler.memory.views import Views
from scheduler.protocol.exclusions import Exclusion
from scheduler.protocol.status import Status
from scheduler.stats.metric_readers import code_totals, exclusion_totals


class Refusals(Struct, frozen=True):
    """Totals by exclusion reason and by error code; only those that are not 0.

    `excluded` counts nodes, once for each job that ended with NO_AVAILABLE_NODE. `samples` names
    nodes that were excluded lately, while they are known.
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
    totals = views.column(EXCLUSIONS.name, "excluded_total")[0].tolist()
    refs = views.column(EXCLUSIONS.name, "sample_ref")[0].tolist()
    return {
        reason.value: node_ids
        for reason, total, ref in zip(Exclusion, totals, refs, strict=True)
        if total and (node_ids := _ids_of(views, ref))
    }


def _ids_of(views: Views, ref: int) -> list[str]:
    """Return the id that belongs to a reference, none where the node has left the table."""
    column = views.column
    held = (column(NODES.name, "ref") == ref) & (column(NODES.name, "status") != Status.FREE)
    return [
        column(NODES.name, "node_id")[slot].decode(errors="replace")
        for slot in np.flatnonzero(held).tolist()
    ]
