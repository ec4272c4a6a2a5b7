"""What changed from one reading to the next, in words for people."""

from collections import defaultdict

from msgspec import Struct

from scheduler.protocol.status import Status
from scheduler.stats.publisher import Publication
from scheduler.stats.reading import texts
from scheduler.stats.schema import ProcessHealth

NAMED_NODES_MAX = 5
"""More nodes than that with the same change at once are told by their number."""


class Happening(Struct, frozen=True):
    """Something worth a line. `kind` is "process", "node", "catalogue" or "command"."""

    t_ms: int
    kind: str
    text: str


class Watcher:
    """Compares each publication with the one before it."""

    def __init__(self) -> None:
        self._nodes: dict[str, Status] | None = None
        self._processes: dict[str, ProcessHealth] = {}
        self._hub_fails: bool | None = None

    def observe(self, publication: Publication) -> list[Happening]:
        """Return what has happened since the last call; nothing at the first."""
        t_ms = publication.snapshot.snapshot.generated_at_ms
        return [
            *(Happening(t_ms, "process", text) for text in self._process_changes(publication)),
            *(Happening(t_ms, "catalogue", text) for text in self._hub_changes(publication)),
            *(Happening(t_ms, "node", text) for text in self._node_changes(publication)),
        ]

    def _process_changes(self, publication: Publication) -> list[str]:
        processes = {_name(p): p for p in publication.snapshot.scheduler.processes}
        before, self._processes = self._processes, processes
        found = []
        for name, process in processes.items():
            last = before.get(name)
            if last is None:
                continue
            if process.restarts > last.restarts:
                found.append(f"{name} was restarted, now process {process.pid}")
            elif process.pid == 0 and last.pid:
                found.append(f"{name} is not running")
            elif last.fresh and not process.fresh and process.pid:
                found.append(f"{name} shows no life")
        return found

    def _hub_changes(self, publication: Publication) -> list[str]:
        catalogue = publication.snapshot.scheduler.catalogue
        fails = catalogue.fail_count > 0
        before, self._hub_fails = self._hub_fails, fails
        if before is None or before == fails:
            return []
        return [f"model hub: {catalogue.last_error}" if fails else "model hub answers again"]

    def _node_changes(self, publication: Publication) -> list[str]:
        table = publication.reading.table
        statuses = map(Status, table["status"].tolist())
        nodes = dict(zip(texts(table["node_id"]), statuses, strict=True))
        before, self._nodes = self._nodes, nodes
        if before is None:
            return []
        changed: defaultdict[str, list[str]] = defaultdict(list)
        for node_id, status in nodes.items():
            if before.get(node_id) != status:
                changed[f"now {status.wire}"].append(node_id)
        changed["forgotten"] = [node_id for node_id in before if node_id not in nodes]
        return [text for change, ids in changed.items() for text in _lines(change, ids)]


def _lines(change: str, node_ids: list[str]) -> list[str]:
    if len(node_ids) > NAMED_NODES_MAX:
        return [f"{len(node_ids)} nodes: {change}"]
    return [f"{node_id}: {change}" for node_id in node_ids]


def _name(process: ProcessHealth) -> str:
    return f"gateway {process.index}" if process.role == "gateway" else process.role
