"""The node table's columns as arrays: shared memory in processes, plain arrays in tests.

Names, dtypes and shapes are those of scheduler/memory/layout.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler.memory.layout import NODES

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
        self.drained: Int64s = column(name, "drained")
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
        self.model_missing_total: Int64s = column(name, "model_missing_total")
        self.model_rate_limited_total: Int64s = column(name, "model_rate_limited_total")
        self.model_marked_total: Int64s = column(name, "model_marked_total")
        self.audit_freed_total: Int64s = column(name, "audit_freed_total")
        self.withheld: Int64s = column(name, "withheld")
        self.ejections_total: Int64s = column(name, "ejections_total")
        self.audit_looks: Int64s = column(name, "audit_looks")
        # Written by the gateway that holds the node, only read elsewhere.
        self.usage_ref: Int64s = column(name, "usage_ref")
        self.heartbeat_ns: Int64s = column(name, "heartbeat_ns")
        self.cpu_percent: Floats = column(name, "cpu_percent")
        self.gpu_percent: Floats = column(name, "gpu_percent")
        self.memory_percent: Floats = column(name, "memory_percent")
        self.external_jobs: Int64s = column(name, "external_jobs")
        self.held: Int64s = column(name, "held")
