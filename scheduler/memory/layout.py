"""The shared memory segment, as data: which process writes what, where.

    ┌─────────────────────┐ 0
    │ header              │ magic (written last), layout hash, dimensions, generation
    ├─────────────────────┤ each block on a 128-byte boundary
    │ nodes               │ one row per node, columns contiguous: the dispatcher's and the
    │                     │ holding gateway's columns never share a cache line
    │ scores              │ classes x nodes: what argmin runs over
    │ classes, services   │ what a class requires; which bit stands for which service
    │ sessions            │ sessions_per_gateway rows for each gateway
    │ *_counters          │ one row per process, a row's columns together
    │ *_latency           │ log-bucket histograms, one row per process
    │ decisions           │ a ring of the dispatcher's last looks for a node
    │ processes           │ supervisor, dispatcher, stats, then the gateways
    │ flight              │ a ring of the last control events for each process
    │ release_rings       │ gateways x gateways: payload blocks to be freed by their owner
    └─────────────────────┘

Sizes, views, docs and the JSON export derive from `BLOCKS`. Every column has exactly one
writing role; there is no lock. Aligned 8-byte stores don't tear on x86-64, and its total store
order makes a row's sequence column (odd while writing) a sufficient guard for readers.
"""

import hashlib
from collections.abc import Sized
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct

from scheduler.protocol.cancellations import CANCEL_LABELS
from scheduler.protocol.codes import CODE_LABELS
from scheduler.protocol.exclusions import SAMPLES_MAX, Exclusion
from scheduler.protocol.missing import MISSING_REASONS
from scheduler.protocol.requirements import SERVICE_ID_BYTES_MAX

Role = Literal["supervisor", "gateway", "dispatcher", "stats", "each"]
"""`each`: the process that the row stands for."""

# fmt: off
Rows = Literal[
    "one", "nodes", "scores", "classes", "services", "sessions", "gateways", "processes", "rings",
    "decisions", "flight",
]
# fmt: on

MAGIC = int.from_bytes(b"LINGUA01", "little")
ALIGNMENT_BYTES = 128
"""Two cache lines: x86 prefetches lines in pairs."""

SERVICES_MAX = 256
SERVICE_WORDS = SERVICES_MAX // 64
NODE_ID_BYTES_MAX = 128
NAME_BYTES_MAX = 64
LANGUAGE_BYTES_MAX = 16
RING_ENTRIES = 1024
HISTOGRAM_BUCKETS = 240
DECISIONS_MAX = 16_384
FLIGHT_ENTRIES = 512
"""Control events kept for each process: minutes of them, but for storms."""

FLIGHT_KIND_BYTES_MAX = 24
FLIGHT_TEXT_BYTES_MAX = 208

SUPERVISOR_ROW, DISPATCHER_ROW, STATS_ROW, FIRST_GATEWAY_ROW = range(4)
"""Rows of the `processes` block."""


@dataclass(frozen=True, slots=True)
class Column:
    """One value per row, or `width` values per row."""

    name: str
    dtype: str
    unit: str
    writer: Role
    help: str
    width: int = 1


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of columns: column by column, or (`by_row`) row by row, each on its own lines."""

    name: str
    rows: Rows
    help: str
    columns: tuple[Column, ...]
    by_row: bool = False


class Dimensions(Struct, frozen=True):
    """What the sizes of the blocks depend on."""

    gateways: int
    nodes: int
    sessions_per_gateway: int
    classes: int

    @property
    def processes(self) -> int:
        """The number of processes."""
        return FIRST_GATEWAY_ROW + self.gateways

    def rows(self, kind: Rows) -> int:
        """Return the number of rows of a block of that kind."""
        return {
            "one": 1,
            "nodes": self.nodes,
            "scores": self.nodes * self.classes,
            "classes": self.classes,
            "services": SERVICES_MAX,
            "sessions": self.gateways * self.sessions_per_gateway,
            "gateways": self.gateways,
            "processes": self.processes,
            "rings": self.gateways * self.gateways,
            "decisions": DECISIONS_MAX,
            "flight": self.processes * FLIGHT_ENTRIES,
        }[kind]


def _gauge(name: str, unit: str, writer: Role, text: str) -> Column:
    return Column(name, "i8", unit, writer, text)


def _total(name: str, writer: Role, text: str) -> Column:
    return Column(f"{name}_total", "i8", "total", writer, text)


def _totals(name: str, writer: Role, text: str, labels: Sized) -> Column:
    return Column(f"{name}_total", "i8", "total", writer, text, len(labels))


def _histogram(name: str, writer: Role, text: str) -> Column:
    return Column(f"{name}_ns", "i8", "buckets", writer, text, HISTOGRAM_BUCKETS)


HEADER = Block(
    "header",
    "one",
    "What the segment is. Readers believe the rest only once the magic stands here.",
    (
        Column("magic", "i8", "", "supervisor", "MAGIC, written last"),
        Column("layout_hash", "i8", "", "supervisor", "of BLOCKS and the dimensions"),
        Column("gateways", "i8", "rows", "supervisor", "dimension"),
        Column("nodes", "i8", "rows", "supervisor", "dimension"),
        Column("sessions_per_gateway", "i8", "rows", "supervisor", "dimension"),
        Column("classes", "i8", "rows", "supervisor", "dimension"),
        Column("epoch", "S16", "", "supervisor", "random per start of the program"),
        Column("started_ms", "i8", "ms since the epoch", "supervisor", "start of the program"),
        Column("started_ns", "i8", "ns monotonic", "supervisor", "start of the program"),
        Column("generation", "i8", "", "supervisor", "dispatchers started so far"),
    ),
    by_row=True,
)

NODES = Block(
    "nodes",
    "nodes",
    "The node table. A row belongs to the node whose reference stands in `ref`.",
    (
        Column("row_sequence", "i8", "", "dispatcher", "odd while the row is being written"),
        Column("ref", "i8", "", "dispatcher", "generation << 20 | slot; also while FREE"),
        Column("status", "i8", "", "dispatcher", "scheduler.protocol.status.Status"),
        Column("in_flight", "i8", "jobs", "dispatcher", "slots taken"),
        Column("capacity", "i8", "jobs", "dispatcher", "slots in all"),
        Column("gateway", "i8", "", "dispatcher", "index of the gateway that holds the socket"),
        Column("public", "i8", "bool", "dispatcher", "serves sessions not paired with it"),
        Column("drained", "i8", "bool", "dispatcher", "an operator's drain, kept while offline"),
        Column("registered_ns", "i8", "ns monotonic", "dispatcher", "last registration"),
        Column("status_since_ns", "i8", "ns monotonic", "dispatcher", "last status change"),
        Column("cpu_cores", "f8", "cores", "dispatcher", "hardware"),
        Column("memory_gb", "f8", "GB", "dispatcher", "hardware"),
        Column("gpus", "i8", "count", "dispatcher", "hardware"),
        Column("gpu_memory_gb", "f8", "GB", "dispatcher", "hardware, sum over the GPUs"),
        Column("installed", "u8", "bits", "dispatcher", "services installed", SERVICE_WORDS),
        Column("ready", "u8", "bits", "dispatcher", "services ready", SERVICE_WORDS),
        Column("marked", "u8", "bits", "dispatcher", "services marked unavailable", SERVICE_WORDS),
        Column("node_id", f"S{NODE_ID_BYTES_MAX}", "", "dispatcher", "id on the wire"),
        Column("name", f"S{NAME_BYTES_MAX}", "", "dispatcher", "name for people"),
        _total("model_missing", "dispatcher", "MODEL_NOT_AVAILABLE that the node answered"),
        _total("model_rate_limited", "dispatcher", "marks not set, for the node had too many"),
        _total("model_marked", "dispatcher", "marks set on its services, renewed ones too"),
        _total("audit_freed", "dispatcher", "slots freed, for its gateway held no such attempt"),
        Column("withheld", "i8", "jobs", "dispatcher", "slots not given out: ejected, slow start"),
        _total("ejections", "dispatcher", "times that the node was ejected"),
        Column("audit_looks", "i8", "looks", "dispatcher", "in a row that in_flight was not held"),
        Column("usage_ref", "i8", "", "gateway", "node the usage figures stand for"),
        Column("heartbeat_ns", "i8", "ns monotonic", "gateway", "last heartbeat"),
        Column("cpu_percent", "f8", "percent", "gateway", "as reported"),
        Column("gpu_percent", "f8", "percent", "gateway", "as reported, 0 where left out"),
        Column("gpu_memory_percent", "f8", "percent", "gateway", "as reported, 0 where left out"),
        Column("memory_percent", "f8", "percent", "gateway", "as reported"),
        Column("external_jobs", "i8", "jobs", "gateway", "the node's own work beside ours"),
        Column("held", "i8", "jobs", "gateway", "attempts that were sent to the node and run"),
    ),
)

SCORES = Block(
    "scores",
    "scores",
    "Row-major classes x nodes. Least is best; see scheduler/dispatch/placement.py.",
    (Column("score", "i8", "", "dispatcher", "load << 40 | last-assigned turn, or infinite"),),
)

CLASSES = Block(
    "classes",
    "classes",
    "Requirement classes now in use: sets of services that jobs ask for.",
    (
        Column("active", "i8", "bool", "dispatcher", "the row of scores is kept up to date"),
        Column("services", "u8", "bits", "dispatcher", "services required", SERVICE_WORDS),
        Column("queued", "i8", "jobs", "dispatcher", "jobs waiting for a node"),
        Column("members", "i8", "nodes", "dispatcher", "nodes that serve it, busy or not"),
        Column("retry_after_ms", "i8", "ms", "dispatcher", "what a job refused now would be told"),
    ),
)

SERVICES = Block(
    "services",
    "services",
    "Which bit of a service bitset stands for which service.",
    (
        Column(
            "service_id",
            f"S{SERVICE_ID_BYTES_MAX}",
            "",
            "dispatcher",
            "id on the wire, empty where unused",
        ),
        _total("missing", "dispatcher", "MODEL_NOT_AVAILABLE received that named the service"),
        _total("rate_limited", "dispatcher", "marks not set, for the node had too many"),
        _total("marked", "dispatcher", "marks set on nodes, renewed ones too"),
    ),
)

SESSIONS = Block(
    "sessions",
    "sessions",
    "Sessions now open, sessions_per_gateway rows for each gateway.",
    (
        Column("open", "i8", "bool", "gateway", "the row is in use"),
        Column("started_ms", "i8", "ms since the epoch", "gateway", "session_init"),
        Column("two_way", "i8", "bool", "gateway", "lang_a and lang_b both ways"),
        Column("source", f"S{LANGUAGE_BYTES_MAX}", "", "gateway", "source language, or lang_a"),
        Column("target", f"S{LANGUAGE_BYTES_MAX}", "", "gateway", "target language, or lang_b"),
    ),
)

GATEWAY_COUNTERS = Block(
    "gateway_counters",
    "gateways",
    "accepted = completed + failed + cancelled + live, at any moment a reader looks twice.",
    (
        _gauge("connections", "sockets", "gateway", "sockets now open"),
        _gauge("sessions", "sessions", "gateway", "sessions now open, suspended ones too"),
        _gauge("sessions_suspended", "sessions", "gateway", "without a socket, to be resumed"),
        _gauge("nodes", "nodes", "gateway", "nodes now connected"),
        _gauge("jobs_live", "jobs", "gateway", "accepted, without a terminal outcome yet"),
        _gauge("oldest_job_ns", "ns monotonic", "gateway", "acceptance of the oldest, or 0"),
        _total("jobs_accepted", "gateway", "jobs accepted"),
        _total("jobs_completed", "gateway", "jobs that ended with a result"),
        _total("jobs_failed", "gateway", "jobs that ended with an error"),
        _total("jobs_cancelled", "gateway", "jobs given up with their session or gateway"),
        _total("jobs_refused", "gateway", "submissions refused before they became jobs"),
        _total("jobs_overdue", "gateway", "failed, for they had no outcome after all deadlines"),
        _total("jobs_repeated", "gateway", "requests repeated inside their lease"),
        _total("sessions_opened", "gateway", "sessions opened"),
        _total("sessions_resumed", "gateway", "sessions taken up again on another socket"),
        _total("sessions_resume_refused", "gateway", "session_resume that was refused"),
        _total("utterances_cut_by_pause", "gateway", "utterances ended by a pause"),
        _total("utterances_cut_by_final", "gateway", "utterances ended by is_final"),
        _total("messages_received", "gateway", "WebSocket messages in"),
        _total("messages_sent", "gateway", "WebSocket messages out"),
        _total("bytes_received", "gateway", "bytes in"),
        _total("bytes_sent", "gateway", "bytes out"),
        _total("messages_refused", "gateway", "messages answered with an error"),
        _total("messages_rate_limited", "gateway", "messages over a connection's rate"),
        _total("slow_readers_cut", "gateway", "connections cut at the write high-water mark"),
        _total("unfinished_given_up", "gateway", "messages, utterances given up for want of room"),
        _total("handshakes_failed", "gateway", "connections that never became WebSockets"),
        _total("peers_refused", "gateway", "sessions and nodes that did not prove who they are"),
        _total("heartbeats", "gateway", "node heartbeats"),
        _total("heartbeats_unhealthy", "gateway", "node heartbeats found unhealthy"),
        _total("node_errors", "gateway", "node_error messages"),
        _total("results_stale", "gateway", "results of attempts that no longer count"),
        _total("results_spoofed", "gateway", "results for jobs the sender was never given"),
        _total("partials", "gateway", "partial texts sent to sessions"),
        _total(
            "partials_dropped",
            "gateway",
            "partial texts for other gateways, for there were later ones",
        ),
        _total("tts_play_ended", "gateway", "tts_play_ended messages"),
        _total("payloads_lost", "gateway", "payloads gone from an arena when they were read"),
        _total("arena_full", "gateway", "payloads refused for want of arena room"),
        _gauge("arena_used_bytes", "bytes", "gateway", "arena in use"),
        _gauge("payload_bytes", "bytes", "gateway", "payloads held in the process"),
        _gauge("link_queued_bytes", "bytes", "gateway", "records that wait for the dispatcher"),
        _total("attempts_dropped", "gateway", "attempts the dispatcher knew nothing of; audit"),
    ),
    by_row=True,
)

DISPATCHER_COUNTERS = Block(
    "dispatcher_counters",
    "one",
    "Written once per loop turn from the core's own counts.",
    (
        _gauge("in_flight", "jobs", "dispatcher", "slots taken over all nodes"),
        _gauge("queued", "jobs", "dispatcher", "jobs waiting for a node"),
        _gauge("link_queued_bytes", "bytes", "dispatcher", "records that wait for gateways"),
        _gauge("oldest_queued_ns", "ns monotonic", "dispatcher", "submission of the oldest, or 0"),
        _total("submitted", "dispatcher", "jobs submitted"),
        _total("assigned", "dispatcher", "attempts sent to nodes"),
        _total("completed", "dispatcher", "jobs that ended with a result"),
        _total("failed", "dispatcher", "jobs that ended with an error"),
        _total("cancelled", "dispatcher", "jobs given up by their owner"),
        _total("failovers", "dispatcher", "attempts after the first"),
        _total(
            "retries_denied", "dispatcher", "attempts not made, for the retry budget was used up"
        ),
        _total("reclaimed", "dispatcher", "attempts that a node kept over a lost connection"),
        _gauge("ejected_nodes", "nodes", "dispatcher", "nodes ejected now"),
        _total("ejections", "dispatcher", "times that a node was ejected"),
        _total("attempts_timed_out", "dispatcher", "attempts over job_timeout_seconds"),
        _total("pending_timed_out", "dispatcher", "jobs that waited too long for a node"),
        _total("refused_queue_full", "dispatcher", "jobs refused with SERVER_BUSY"),
        _total("shed", "dispatcher", "of those, that waited already and made room for others"),
        _total("stale_results", "dispatcher", "results from who no longer holds the job"),
        _total("model_not_available", "dispatcher", "MODEL_NOT_AVAILABLE received"),
        _total("models_rate_limited", "dispatcher", "marks not set, for the node had too many"),
        _total("models_marked", "dispatcher", "(node, service) marks set"),
        _total("pairings_offered", "dispatcher", "pairing codes given"),
        _total("pairings_made", "dispatcher", "sessions paired"),
        _total("pairings_refused", "dispatcher", "wrong, expired or rate-limited codes"),
        _total("nodes_registered", "dispatcher", "registrations accepted"),
        _total("nodes_refused", "dispatcher", "registrations refused"),
        _total("decisions_recorded", "dispatcher", "decisions in the ring, overwritten ones too"),
        _total("decisions_unrecorded", "dispatcher", "decisions over what may be recorded"),
        _total("shadow_compared", "dispatcher", "decisions scored by shadow_strategy too"),
        _total("shadow_differed", "dispatcher", "of those, it would have chosen another node"),
        _total("audits", "dispatcher", "nodes whose gateway was asked which attempts they hold"),
        _total("audit_freed", "dispatcher", "slots freed, for no node held the attempt"),
        _total("audit_rescored", "dispatcher", "rows whose count or score was wrong, and righted"),
        _total("partials_dropped", "dispatcher", "partial texts for gateways that were behind"),
        _total("records", "dispatcher", "records received from gateways"),
        _total("turns", "dispatcher", "loop turns"),
    ),
    by_row=True,
)

LATENCY_SUMS = ("dispatch", "end_to_end")
"""Histograms of GATEWAY_LATENCY that are no stage but a sum of some."""

GATEWAY_LATENCY = Block(
    "gateway_latency",
    "gateways",
    "Latency histograms. First the stages of a job in their order, then what they add up to.",
    (
        _histogram("receive", "gateway", "last bytes read from the socket to accepted"),
        _histogram("submit", "gateway", "accepted to taken in by the dispatcher"),
        _histogram("queue", "gateway", "taken in by the dispatcher to a slot reserved for it"),
        _histogram("assign", "gateway", "slot reserved to job_assign given to the node's socket"),
        _histogram("first_partial", "gateway", "job_assign to the first asr_partial, if any"),
        _histogram("node", "gateway", "job_assign to job_result"),
        _histogram("deliver", "gateway", "job_result to its arrival at the session's gateway"),
        _histogram("order", "gateway", "arrival to release, once no earlier utterance is open"),
        _histogram("dispatch", "gateway", "accepted to DISPATCHED"),
        _histogram("end_to_end", "gateway", "accepted to translation_result"),
    ),
    by_row=True,
)

GATEWAY_CODES = Block(
    "gateway_codes",
    "gateways",
    "Failures and refusals by error code, in the order of protocol.codes.CODE_LABELS.",
    (
        _totals("jobs_failed_by_code", "gateway", "jobs that ended with an error", CODE_LABELS),
        _totals(
            "refusals_by_code", "gateway", "messages, utterances, connections refused", CODE_LABELS
        ),
    ),
    by_row=True,
)

CANCELLATIONS = Block(
    "cancellations",
    "gateways",
    "Jobs given up, in the order of protocol.cancellations.Cancellation.",
    (_totals("jobs_cancelled_by_reason", "gateway", "jobs given up", CANCEL_LABELS),),
    by_row=True,
)

EXCLUSIONS = Block(
    "exclusions",
    "one",
    "Why jobs found no node and ended, in the order of protocol.exclusions.Exclusion.",
    (
        _totals("excluded", "dispatcher", "nodes that were out of the question", Exclusion),
        Column(
            "sample_refs",
            "i8",
            "",
            "dispatcher",
            "SAMPLES_MAX of them for each reason, the latest first, 0 where there are fewer",
            len(Exclusion) * SAMPLES_MAX,
        ),
    ),
    by_row=True,
)

STORMS = Block(
    "storms",
    "one",
    "MODEL_NOT_AVAILABLE by the reason that nodes give, as protocol.missing.MISSING_REASONS.",
    (
        _totals("model_missing_by_reason", "dispatcher", "received", MISSING_REASONS),
        _totals(
            "model_rate_limited_by_reason",
            "dispatcher",
            "marks not set, for the node had too many",
            MISSING_REASONS,
        ),
        _totals(
            "model_marked_by_reason",
            "dispatcher",
            "marks set on nodes, renewed ones too",
            MISSING_REASONS,
        ),
    ),
    by_row=True,
)

DECISIONS = Block(
    "decisions",
    "decisions",
    "A ring: decision number n stands in row n % DECISIONS_MAX. Nodes are references, -1: none.",
    (
        Column("sequence", "i8", "", "dispatcher", "n + 1, written last; 0 while being written"),
        Column("time_ns", "i8", "ns monotonic", "dispatcher", "of the decision"),
        Column("job", "i8", "", "dispatcher", "scheduler/protocol/ids.py"),
        Column("attempt", "i8", "", "dispatcher", "0 where no node was found for the first"),
        Column("outcome", "i8", "", "dispatcher", "scheduler.protocol.decisions.Outcome"),
        Column("class_index", "i8", "", "dispatcher", "row of `classes`"),
        Column("paired", "i8", "", "dispatcher", "the only node allowed"),
        Column("node", "i8", "", "dispatcher", "the one chosen"),
        Column("load", "i8", "", "dispatcher", "its load by the strategy, before this job"),
        Column("runner_up", "i8", "", "dispatcher", "the next best"),
        Column("runner_up_load", "i8", "", "dispatcher", "its load"),
        Column("shadow", "i8", "", "dispatcher", "what shadow_strategy would choose, if it is set"),
        Column("eligible", "i8", "nodes", "dispatcher", "that could take a job of the class"),
        Column("queued", "i8", "jobs", "dispatcher", "waiting for a node at that moment"),
        Column(
            "excluded",
            "i8",
            "nodes",
            "dispatcher",
            "by reason, where none was found",
            len(Exclusion),
        ),
    ),
)

PROCESSES = Block(
    "processes",
    "processes",
    "Health of each process; a stuck one stops writing its heartbeat.",
    (
        Column("pid", "i8", "", "supervisor", "0 while none runs"),
        Column("restarts", "i8", "total", "supervisor", "restarts so far"),
        Column("started_ns", "i8", "ns monotonic", "supervisor", "start of this process"),
    ),
    by_row=True,
)

PULSES = Block(
    "pulses",
    "processes",
    "What each process says of itself; written only from its own main loop.",
    (
        Column("heartbeat_ns", "i8", "ns monotonic", "each", "last turn of its loop"),
        Column("loop_lag_max_ns", "i8", "ns", "each", "longest loop cycle of the last 30 to 60 s"),
        Column("slow_paths_total", "i8", "total", "each", "cycles over path_warn_ms"),
        Column("ready", "i8", "bool", "each", "serving"),
    ),
    by_row=True,
)

FLIGHT = Block(
    "flight",
    "flight",
    "FLIGHT_ENTRIES rows for each process, a ring: event n of a process in its row n % that.",
    (
        Column("sequence", "i8", "", "each", "n + 1, written last; 0 while being written"),
        Column("time_ns", "i8", "ns monotonic", "each", "of the event"),
        Column("kind", f"S{FLIGHT_KIND_BYTES_MAX}", "", "each", "what it is about"),
        Column("text", f"S{FLIGHT_TEXT_BYTES_MAX}", "", "each", "for people, cut where it is long"),
    ),
    by_row=True,
)

RELEASE_RINGS = Block(
    "release_rings",
    "rings",
    "Row owner * gateways + reader: blocks of the owner's arena that the reader is done with.",
    (
        Column("written", "i8", "entries", "gateway", "entries ever written, by the reader"),
        Column("taken", "i8", "entries", "gateway", "entries ever taken, by the owner"),
        Column("entries", "i8", "block", "gateway", "block numbers", RING_ENTRIES),
    ),
    by_row=True,
)

BLOCKS = (
    HEADER,
    NODES,
    SCORES,
    CLASSES,
    SERVICES,
    SESSIONS,
    GATEWAY_COUNTERS,
    DISPATCHER_COUNTERS,
    GATEWAY_LATENCY,
    GATEWAY_CODES,
    CANCELLATIONS,
    EXCLUSIONS,
    STORMS,
    DECISIONS,
    PROCESSES,
    PULSES,
    FLIGHT,
    RELEASE_RINGS,
)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a column lies: bytes from the segment's start, shape (rows,) or (rows, width)."""

    offset: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Layout:
    """Offsets of all columns for given dimensions."""

    def __init__(self, dimensions: Dimensions) -> None:
        self.dimensions = dimensions
        self.placements: dict[tuple[str, str], Extent] = {}
        offset = 0
        for block in BLOCKS:
            place = self._place_rows if block.by_row else self._place_columns
            offset = place(block, dimensions.rows(block.rows), offset)
        self.total_bytes = offset

    def _place_columns(self, block: Block, rows: int, offset: int) -> int:
        for column in block.columns:
            dtype = np.dtype(column.dtype)
            stride = dtype.itemsize * column.width
            self._add(block, column, offset, rows, stride)
            offset = _align(offset + stride * rows)
        return offset

    def _place_rows(self, block: Block, rows: int, offset: int) -> int:
        sizes = [_align8(np.dtype(c.dtype).itemsize * c.width) for c in block.columns]
        stride = _align(sum(sizes))
        at = offset
        for column, size in zip(block.columns, sizes, strict=True):
            self._add(block, column, at, rows, stride)
            at += size
        return offset + stride * rows

    def _add(self, block: Block, column: Column, offset: int, rows: int, stride: int) -> None:
        dtype = np.dtype(column.dtype)
        wide = column.width > 1
        self.placements[block.name, column.name] = Extent(
            offset,
            dtype,
            (rows, column.width) if wide else (rows,),
            (stride, dtype.itemsize) if wide else (stride,),
        )

    @property
    def layout_hash(self) -> int:
        """Differs whenever a column moved; a positive int64."""
        digest = hashlib.blake2b(self.to_json(), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1

    def to_json(self) -> bytes:
        """Return the layout for tools in other languages."""
        return msgspec.json.encode(
            {
                "total_bytes": self.total_bytes,
                "columns": [
                    {
                        "block": block.name,
                        "column": column.name,
                        "dtype": column.dtype,
                        "unit": column.unit,
                        "writer": column.writer,
                        "help": column.help,
                        "offset": self.placements[block.name, column.name].offset,
                        "shape": self.placements[block.name, column.name].shape,
                        "strides": self.placements[block.name, column.name].strides,
                    }
                    for block in BLOCKS
                    for column in block.columns
                ],
            }
        )


def _align(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _align8(size: int) -> int:
    return -(-size // 8) * 8
