"""A real core in real memory, in a runtime folder as the supervisor leaves it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from scheduler.config import Config, without_secrets
from scheduler.dispatch.tables import Tables
from scheduler.explain.ask import Ask
from scheduler.explain.explanation import Explanation, make_explanation
from scheduler.explain.reading import Look, attach, look
from scheduler.explain.verdicts import Verdicts, judge
from scheduler.memory.layout import DISPATCHER_ROW, Dimensions
from scheduler.protocol.ids import NO_NODE
from scheduler.selection.services import distinct_classes
from tests.dispatch.desk import Desk, settings
from tests.stats.world import World
from tests.top.looks import published

WHOLE = Ask()
NODES = 16


@dataclass
class Site:
    """The writers' side, `desk`, and what `explain` makes of it."""

    folder: Path
    config: Config
    world: World
    desk: Desk

    def beat(self) -> None:
        """Show the dispatcher as alive and serving, with its gauges up to date."""
        self.desk.core.update_gauges()
        self.world.beat(DISPATCHER_ROW)
        for name in ("queued", "decisions_recorded_total", "decisions_unrecorded_total"):
            self.world.put("dispatcher_counters", 0, **{name: getattr(self.desk.counts, name)})

    def look(self, ask: Ask = WHOLE) -> Look:
        self.beat()
        with attach(self.folder) as running:
            return look(running, ask.requirement)

    def judge(self, ask: Ask = WHOLE, paired: int = NO_NODE) -> Verdicts:
        return self.judged(self.look(ask), paired)

    def judged(self, seen: Look, paired: int = NO_NODE) -> Verdicts:
        return judge(
            seen.nodes,
            self.config.scheduler.load_balancer,
            seen.words,
            turns=seen.turns,
            scores=seen.scores,
            paired=paired,
        )

    def explain(
        self, ask: Ask = WHOLE, *, paired: int = NO_NODE, nodes_max: int | None = None
    ) -> Explanation:
        seen = self.look(ask)
        verdicts = self.judged(seen, paired)
        return make_explanation(seen, verdicts, self.config, ask, "site", nodes_max)


@contextmanager
def make_site(folder: Path, config: Config | None = None, nodes: int = NODES) -> Iterator[Site]:
    config = config or settings()
    dimensions = Dimensions(
        gateways=2,
        nodes=nodes,
        sessions_per_gateway=4,
        classes=distinct_classes(config.scheduler),
    )
    with published(folder, dimensions) as world:
        path = folder / "settings.json"
        path.write_bytes(msgspec.json.encode(without_secrets(config)))
        tables = Tables(world.views.column, world.views.scores())
        desk = Desk(config, tables=tables, now_ns=time.monotonic_ns())
        yield Site(folder, config, world, desk)
        path.unlink()
