"""The arrays the core works on: shared memory in the dispatcher process, plain arrays in tests.

Names, dtypes and shapes are those of scheduler/memory/layout.py.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.memory.layout import (
    CLASSES,
    DECISIONS,
    DECISIONS_MAX,
    EXCLUSIONS,
    NODES,
    SERVICES,
    SERVICES_MAX,
    STORMS,
    Block,
)
from scheduler.protocol.exclusions import SAMPLES_MAX, Exclusion
from scheduler.selection.columns import ColumnOf, Int64s, NodeColumns, Texts, Words


class DecisionColumns:
    """Columns of the `decisions` ring as cells; storing one takes 18 ns, through numpy 28 ns."""

    def __init__(self, column: ColumnOf) -> None:
        def cells(name: str) -> memoryview:
            return memoryview(column(DECISIONS.name, name))  # type: ignore[arg-type]

        self.sequence = cells("sequence")
        self.time_ns = cells("time_ns")
        self.job = cells("job")
        self.attempt = cells("attempt")
        self.outcome = cells("outcome")
        self.class_index = cells("class_index")
        self.paired = cells("paired")
        self.node = cells("node")
        self.load = cells("load")
        self.runner_up = cells("runner_up")
        self.runner_up_load = cells("runner_up_load")
        self.shadow = cells("shadow")
        self.eligible = cells("eligible")
        self.queued = cells("queued")
        self.excluded: Int64s = column(DECISIONS.name, "excluded")


class Tables:
    """All arrays of the core. `scores` has shape (classes, nodes)."""

    def __init__(self, column: ColumnOf, scores: Int64s) -> None:
        def storms(name: str) -> Int64s:
            totals: Int64s = column(STORMS.name, name)[0]
            return totals

        self.nodes = NodeColumns(column)
        self.scores = scores
        self.class_active: Int64s = column(CLASSES.name, "active")
        self.class_services: Words = column(CLASSES.name, "services")
        self.class_queued: Int64s = column(CLASSES.name, "queued")
        self.class_members: Int64s = column(CLASSES.name, "members")
        self.class_retry_after_ms: Int64s = column(CLASSES.name, "retry_after_ms")
        self.service_ids: Texts = column(SERVICES.name, "service_id")
        # Only counted into: what stands there from an earlier dispatcher goes on.
        self.service_missing_total: Int64s = column(SERVICES.name, "missing_total")
        self.service_rate_limited_total: Int64s = column(SERVICES.name, "rate_limited_total")
        self.service_marked_total: Int64s = column(SERVICES.name, "marked_total")
        self.excluded_total: Int64s = column(EXCLUSIONS.name, "excluded_total")[0]
        self.excluded_samples: Int64s = column(EXCLUSIONS.name, "sample_refs")[0].reshape(
            len(Exclusion), SAMPLES_MAX
        )
        self.missing_by_reason_total = storms("model_missing_by_reason_total")
        self.rate_limited_by_reason_total = storms("model_rate_limited_by_reason_total")
        self.marked_by_reason_total = storms("model_marked_by_reason_total")
        self.decisions = DecisionColumns(column)

    @classmethod
    def allocate(cls, nodes: int, classes: int) -> "Tables":
        """Return tables in private memory."""
        rows = {
            NODES.name: nodes,
            CLASSES.name: classes,
            SERVICES.name: SERVICES_MAX,
            EXCLUSIONS.name: 1,
            STORMS.name: 1,
            DECISIONS.name: DECISIONS_MAX,
        }
        blocks: dict[str, Block] = {
            block.name: block for block in (NODES, CLASSES, SERVICES, EXCLUSIONS, STORMS, DECISIONS)
        }

        def column(block: str, name: str) -> NDArray[Any]:
            declared = next(c for c in blocks[block].columns if c.name == name)
            shape = (rows[block], declared.width) if declared.width > 1 else (rows[block],)
            return np.zeros(shape, declared.dtype)

        return cls(column, np.zeros((classes, nodes), np.int64))
