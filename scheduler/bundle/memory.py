"""What the shared memory of a running scheduler says, as documents."""

import time
from dataclasses import dataclass
from typing import Any

import msgspec

from scheduler.bundle.blocks import Describer, Document, WallClock
from scheduler.memory.decisions import NodeLabel, node_labels, read_decisions
from scheduler.memory.flight import read_flight
from scheduler.memory.histogram import bounds_ns
from scheduler.memory.layout import (
    CANCELLATIONS,
    CLASSES,
    DISPATCHER_COUNTERS,
    EXCLUSIONS,
    GATEWAY_CODES,
    GATEWAY_COUNTERS,
    GATEWAY_LATENCY,
    HISTOGRAM_BUCKETS,
    NODES,
    RELEASE_RINGS,
    SERVICES,
    STORMS,
)
from scheduler.protocol.ids import NO_NODE, wire_job_id
from scheduler.stats.schema import ProcessHealth
from scheduler.top.reading import Attached, Sample

NODES_LISTED_MAX = 10_000
"""Bounds the archive, and the memory that it takes to make it."""

_NODE_FIELDS = ("node", "runner_up", "shadow", "paired")


def process_name(process: ProcessHealth) -> str:
    """Return the name of a process's files."""
    return f"gateway-{process.index}" if process.role == "gateway" else process.role


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the memory; what is read of it later is read then."""

    attached: Attached
    sample: Sample
    clock: WallClock
    describer: Describer

    def flight(self, row: int) -> list[Document]:
        """Return the last control events of the process in a row, oldest first."""
        name = process_name(self.sample.processes[row])
        return [
            {
                "time": self.clock.text(event.time_ns),
                "process": name,
                "kind": event.kind,
                "text": event.text,
                "sequence": event.sequence,
                "monotonic_ns": event.time_ns,
            }
            for event in read_flight(self.attached.views, row)
        ]

    def decisions(self) -> list[Document]:
        """Return the dispatcher's last looks for a node, oldest first."""
        decisions = read_decisions(self.attached.views)
        labels = node_labels(
            self.attached.views,
            (getattr(decision, name) for decision in decisions for name in _NODE_FIELDS),
        )
        found = []
        for decision in decisions:
            document = {"time": self.clock.text(decision.time_ns), **msgspec.to_builtins(decision)}
            document["monotonic_ns"] = document.pop("time_ns")
            document["outcome"] = decision.outcome.name.lower()
            document["job"] = wire_job_id(self.sample.epoch, decision.job)
            document |= {name: _node(document[name], labels) for name in _NODE_FIELDS}
            found.append(document)
        return found

    def nodes(self) -> Document:
        """Return the rows of the node table that are in use, bounded by NODES_LISTED_MAX."""
        table = self.sample.reading.table
        shown = {name: values[:NODES_LISTED_MAX] for name, values in table.items()}
        return {
            "left_out": max(0, len(table["status"]) - NODES_LISTED_MAX),
            "torn_rows": self.sample.reading.torn_rows,
            "nodes": self.describer.describe(NODES, shown),
        }

    def counters(self) -> Document:
        """Return all blocks that count, and what is in use of those that numbers refer to."""
        rows = self.describer.rows
        return {
            GATEWAY_COUNTERS.name: rows(GATEWAY_COUNTERS),
            DISPATCHER_COUNTERS.name: rows(DISPATCHER_COUNTERS),
            GATEWAY_CODES.name: rows(GATEWAY_CODES),
            CANCELLATIONS.name: rows(CANCELLATIONS),
            EXCLUSIONS.name: rows(EXCLUSIONS),
            STORMS.name: rows(STORMS),
            CLASSES.name: [
                {"index": index, **row} for index, row in enumerate(rows(CLASSES)) if row["active"]
            ],
            SERVICES.name: [row for row in rows(SERVICES) if row["service_id"]],
            RELEASE_RINGS.name: rows(RELEASE_RINGS, without=("entries",)),
        }

    def latency(self) -> Document:
        """Return the buckets of all latency histograms, a list of counts for each."""
        return {
            "bucket_from_ns": [bounds_ns(bucket)[0] for bucket in range(HISTOGRAM_BUCKETS)],
            "gateways": self.describer.rows(GATEWAY_LATENCY),
        }


def look(attached: Attached) -> Look:
    """Look now."""
    sample = attached.sample()
    clock = WallClock(time.time_ns() - time.monotonic_ns())
    return Look(
        attached, sample, clock, Describer(attached.views, clock, sample.reading.service_ids)
    )


def _node(ref: int, labels: dict[int, NodeLabel | None]) -> Any:
    """Return a node's id; its reference where it is gone, None where there was none."""
    if ref == NO_NODE:
        return None
    label = labels[ref]
    return ref if label is None else label.node_id
