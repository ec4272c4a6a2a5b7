"""The node table for operators: every row that is in use, nodes that went offline included."""

from typing import Any

import msgspec
from msgspec import Struct

from scheduler.protocol.status import Status
from scheduler.stats.publisher import Publication
from scheduler.stats.reading import NodeColumns, Words, texts
from scheduler.stats.responses import Prepared


class NodeView(Struct, frozen=True):
    """One node. Usage is 0 until its first heartbeat.

    `gateway` is null while it is offline; ages are null for what never was. Services that the
    node answered MODEL_NOT_AVAILABLE for are marked for a while.
    """

    node_id: str
    name: str
    status: str
    in_flight: int
    capacity: int
    external_jobs: int
    gateway: int | None
    public: bool
    cpu_percent: float
    gpu_percent: float
    gpu_memory_percent: float
    memory_percent: float
    heartbeat_age_ms: int | None
    status_age_ms: int | None
    cpu_cores: float
    memory_gb: float
    gpus: int
    gpu_memory_gb: float
    services_installed: list[str]
    services_ready: list[str]
    services_marked: list[str]


class NodeTable(Struct, frozen=True):
    """All nodes, in the order of their rows."""

    generated_at_ms: int
    nodes: list[NodeView]


class NodeTables:
    """The table of the last publication, made when somebody asks for it first."""

    def __init__(self) -> None:
        self._publication: Publication | None = None
        self._prepared: Prepared | None = None
        self._by_id: dict[str, NodeView] = {}

    def observe(self, publication: Publication) -> None:
        """Take what was published."""
        self._publication = publication
        self._prepared = None

    def all(self) -> Prepared | None:
        """Return the NodeTable as JSON, None before the first publication."""
        if self._prepared is None and self._publication is not None:
            publication = self._publication
            nodes = node_views(
                publication.reading.table, publication.reading.service_ids, publication.now_ns
            )
            self._by_id = {node.node_id: node for node in nodes}
            table = NodeTable(publication.snapshot.snapshot.generated_at_ms, nodes)
            self._prepared = Prepared(msgspec.json.encode(table))
        return self._prepared

    def one(self, node_id: str) -> Prepared | None:
        """Return a NodeView as JSON, None where there is no such node."""
        self.all()
        node = self._by_id.get(node_id)
        return None if node is None else Prepared(msgspec.json.encode(node))


def node_views(table: NodeColumns, service_ids: list[str], now_ns: int) -> list[NodeView]:
    """Return the rows; `now_ns` is the monotonic time of the reading."""
    services = _ServiceNames(service_ids)
    count = len(table["node_id"])
    columns: list[Any] = [
        texts(table["node_id"]),
        texts(table["name"]),
        [Status(status).wire for status in table["status"].tolist()],
        table["in_flight"].tolist(),
        table["capacity"].tolist(),
        table["external_jobs"].tolist(),
        [gateway if gateway >= 0 else None for gateway in table["gateway"].tolist()],
        (table["public"] != 0).tolist(),
        *(table[name].tolist() for name in _PERCENTAGES),
        _ages_ms(table["heartbeat_ns"].tolist(), now_ns),
        _ages_ms(table["status_since_ns"].tolist(), now_ns),
        *(table[name].tolist() for name in ("cpu_cores", "memory_gb", "gpus", "gpu_memory_gb")),
        *(services.lists(table[name]) for name in ("installed", "ready", "marked")),
    ]
    assert all(len(column) == count for column in columns)
    return [NodeView(*row) for row in zip(*columns, strict=True)]


_PERCENTAGES = ("cpu_percent", "gpu_percent", "gpu_memory_percent", "memory_percent")


def _ages_ms(times_ns: list[int], now_ns: int) -> list[int | None]:
    return [max(0, now_ns - time_ns) // 1_000_000 if time_ns else None for time_ns in times_ns]


class _ServiceNames:
    """Turns bitsets into sorted lists of ids; few nodes differ in theirs, so each is read once."""

    def __init__(self, service_ids: list[str]) -> None:
        self._service_ids = service_ids
        self._known: dict[bytes, list[str]] = {}

    def lists(self, words: Words) -> list[list[str]]:
        """Return the ids for each row of `words`, shape (nodes, SERVICE_WORDS)."""
        return [self._list(row.tobytes()) for row in words]

    def _list(self, row: bytes) -> list[str]:
        names = self._known.get(row)
        if names is None:
            mask = int.from_bytes(row, "little")
            names = sorted(
                service_id
                for bit, service_id in enumerate(self._service_ids)
                if mask >> bit & 1 and service_id
            )
            self._known[row] = names
        return names
