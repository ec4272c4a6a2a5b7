"""The arrays the core works on: shared memory in the dispatcher process, plain arrays in tests.

Names, dtypes and shapes are those of scheduler/memory/layout.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.memory.layout import CLASSES, EXCLUSIONS, NODES, SERVICES, SERVICES_MAX, Block

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
Texts = NDArray[np.bytes_]

ColumnOf = Callable[[str, str], NDArray[Any]]
"""Returns the array of (block name, column name)."""


class NodeColumns:
    """Columns of the `nodes` block, shape (nodes,); service bitsets (nodes, SERVICE_WORDS)."""

    def __init__(self, column: ColumnOf) -> None:
        name = NODES.name
        self.row_sequence: Int64s = column(name, "row_sequence")
        self.ref: Int64s = column(name, "ref")
        self.status: Int64s = column(name, "status")
        self.in_flight: Int64s = column(name, "in_flight")
        self.capacity: Int64s = column(name, "capacity")
        self.gateway: Int64s = column(name, "gateway")
        self.public: Int64s = column(name, "public")
        self.registered_ns: Int64s = column(name, "registered_ns")
        self.status_since_ns: Int64s = column(name, "status_since_ns")
        self.cpu_cores: Floats = column(name, "cpu_cores")
        self.memory_gb: Floats = column(name, "memory_gb")
        self.gpus: Int64s = column(name, "gpus")
        self.gpu_memory_gb: Floats = column(name, "gpu_memory_gb")
        self.installed: Words = column(name, "installed")
        self.ready: Words = column(name, "ready")
        self.marked: Words = column(name, "marked")
        self.node_id: Texts = column(name, "node_id")
        self.name: Texts = column(name, "name")
        # Written by the gateway that holds the node, only read here.
        self.usage_ref: Int64s = column(name, "usage_ref")
        self.heartbeat_ns: Int64s = column(name, "heartbeat_ns")
        self.cpu_percent: Floats = column(name, "cpu_percent")
        self.gpu_percent: Floats = column(name, "gpu_percent")
        self.memory_percent: Floats = column(name, "memory_percent")
        self.external_jobs: Int64s = column(name, "external_jobs")


class Tables:
    """All arrays of the core. `scores` has shape (classes, nodes)."""

    def __init__(self, column: ColumnOf, scores: Int64s) -> None:
        self.nodes = NodeColumns(column)
        self.scores = scores
        self.class_active: Int64s = column(CLASSES.name, "active")
        self.class_services: Words = column(CLASSES.name, "services")
        self.class_queued: Int64s = column(CLASSES.name, "queued")
        self.service_ids: Texts = column(SERVICES.name, "service_id")
        # Only counted into: what stands there from an earlier dispatcher goes on.
        self.service_missing_total: Int64s = column(SERVICES.name, "missing_total")
        self.service_rate_limited_total: Int64s = column(SERVICES.name, "rate_limited_total")
        self.service_marked_total: Int64s = column(SERVICES.name, "marked_total")
        self.excluded_total: Int64s = column(EXCLUSIONS.name, "excluded_total")[0]
        self.excluded_sample: Int64s = column(EXCLUSIONS.name, "sample_ref")[0]

    @classmethod
    def allocate(cls, nodes: int, classes: int) -> "Tables":
        """Return tables in private memory."""
        rows = {
            NODES.name: nodes,
            CLASSES.name: classes,
            SERVICES.name: SERVICES_MAX,
            EXCLUSIONS.name: 1,
        }
        blocks: dict[str, Block] = {
            block.name: block for block in (NODES, CLASSES, SERVICES, EXCLUSIONS)
        }

        def column(block: str, name: str) -> NDArray[Any]:
            declared = next(c for c in blocks[block].columns if c.name == name)
            shape = (rows[block], declared.width) if declared.width > 1 else (rows[block],)
            return np.zeros(shape, declared.dtype)

        return cls(column, np.zeros((classes, nodes), np.int64))
