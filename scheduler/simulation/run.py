"""One run: work among faults, then rest. A seed says everything about it."""

from dataclasses import dataclass
from random import Random

from scheduler.dispatch.core import Dispatcher
from scheduler.simulation.checks import History, InvariantViolation, check
from scheduler.simulation.clock import Clock
from scheduler.simulation.dispatcher import MakeCore
from scheduler.simulation.faults import Faults
from scheduler.simulation.scenario import Scenario
from scheduler.simulation.world import World

STEPS = 4_000
_REST_NS_MAX = 60_000_000_000
"""Virtual time within which all deadlines there are have passed several times over."""


@dataclass(frozen=True)
class Report:
    """What happened in a run that broke no promise."""

    seed: int
    jobs: int
    events: int
    outcomes: dict[str, int]
    counts: dict[str, int]
    """Totals of the last dispatcher."""

    def summary(self) -> str:
        """Return the run in one line."""
        ends = ", ".join(f"{count} {how}" for how, count in sorted(self.outcomes.items()))
        return f"seed {self.seed}: {self.events} events, {self.jobs} jobs: {ends}"


def simulate(seed: int, *, steps: int = STEPS, make_core: MakeCore = Dispatcher) -> Report:
    """Run the world of `seed` for `steps` events with faults, and on without until it rests.

    Raises InvariantViolation with the seed and the last events; also where the core raised.
    """
    history = History()
    try:
        return _run(seed, steps, history, make_core)
    except Exception as error:
        raise InvariantViolation(f"seed {seed}: {error!r}\n{history}") from error


def _run(seed: int, steps: int, history: History, make_core: MakeCore) -> Report:
    rng = Random(seed)  # noqa: S311 - a run must be repeatable
    clock = Clock()
    world = World(Scenario.draw(rng), clock, rng, history, make_core)
    faults = Faults(world, clock, rng)
    world.start()
    faults.start()
    while clock.calls_total < steps:
        clock.step()
    world.traffic.stop()
    faults.stop()
    world.revive()
    deadline_ns = clock.now_ns + _REST_NS_MAX
    while not world.is_quiet:
        check(clock.now_ns < deadline_ns, "a world without faults comes to rest")
        clock.step()
    world.settle()
    world.check_rest()
    counts = world.host.core.counts
    return Report(
        seed=seed,
        jobs=world.outcomes.accepted,
        events=clock.calls_total,
        outcomes=world.outcomes.by_end(),
        counts={name: getattr(counts, name) for name in counts.__slots__},
    )
