"""Scenarios: who speaks how often, to which nodes, for how long. docs/stress.md has the reference.

Durations are seconds and may be fractions; rates are jobs per second over all sessions.
"""

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from scheduler.config import CoreServicesSettings
from scheduler.protocol.session import Features

Rate = Annotated[float, Meta(gt=0, le=100_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Milliseconds = Annotated[float, Meta(ge=0, le=600_000)]
Bytes = Annotated[int, Meta(ge=2, le=4 << 20)]
Name = Annotated[str, Meta(min_length=1, max_length=40)]
Language = Annotated[str, Meta(min_length=1, max_length=16)]
Count = Annotated[int, Meta(ge=1, le=100_000)]

Stage = Literal["asr", "nmt", "tts"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Feature = Literal[
    "emotion_detection",
    "voice_style_detection",
    "speech_rate_detection",
    "speech_rate_control",
    "speaker_identification",
    "persona_adaptation",
]

_core = CoreServicesSettings()
CORE_SERVICES = (_core.asr_service_id, _core.nmt_service_id, _core.tts_service_id)


class _Table(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A TOML table."""


class Steady(_Table, frozen=True, tag_field="shape", tag="steady"):
    """The same rate all the time."""

    rate: Rate

    @property
    def highest(self) -> float:
        """The highest rate."""
        return self.rate

    def scaled(self, factor: float) -> "Steady":
        """Return the same shape with all rates multiplied."""
        return Steady(rate=self.rate * factor)


class Ramp(_Table, frozen=True, tag_field="shape", tag="ramp"):
    """From one rate to another in `steps` equal steps, each for the same time."""

    rate: Rate
    rate_max: Rate
    steps: Annotated[int, Meta(ge=2, le=100)] = 10

    @property
    def highest(self) -> float:
        """The highest rate."""
        return self.rate_max

    def scaled(self, factor: float) -> "Ramp":
        """Return the same shape with all rates multiplied."""
        return replace(self, rate=self.rate * factor, rate_max=self.rate_max * factor)


class Burst(_Table, frozen=True, tag_field="shape", tag="burst"):
    """A rate, and every so often another one for a while."""

    rate: Rate
    rate_max: Rate
    every_seconds: Seconds
    burst_seconds: Seconds

    @property
    def highest(self) -> float:
        """The highest rate."""
        return self.rate_max

    def scaled(self, factor: float) -> "Burst":
        """Return the same shape with all rates multiplied."""
        return replace(self, rate=self.rate * factor, rate_max=self.rate_max * factor)


Load = Steady | Ramp | Burst


class Kind(_Table, frozen=True):
    """A kind of jobs. `weight` is its share among those of all kinds."""

    name: Name
    weight: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    src: Language = "en"
    tgt: Language = "es"
    stages: Annotated[tuple[Stage, ...], Meta(min_length=1)] = STAGES
    features: tuple[Feature, ...] = ()


class NodeGroup(_Table, frozen=True):
    """Simulated nodes of one sort: the options of `node sim`."""

    count: Count
    name: Name = "node"
    services: tuple[str, ...] = CORE_SERVICES
    slots: Annotated[int, Meta(ge=1, le=65_536)] = 4
    delay_ms: tuple[Milliseconds, Milliseconds] = (50.0, 150.0)
    fail_rate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    fail_code: Name = "INTERNAL_ERROR"
    churn_seconds: Seconds | None = None
    partials: Annotated[int, Meta(ge=0, le=100)] = 0
    tts_bytes: Annotated[int, Meta(ge=0, le=4 << 20)] = 3_200


class Talkers(_Table, frozen=True):
    """Sessions that are silent most of the time and then stream speech in chunks, as people do."""

    sessions: Count
    chunk_ms: Annotated[int, Meta(ge=10, le=500)] = 100
    speech_seconds: Seconds = 2.0
    silence_seconds: Seconds = 20.0


class Scenario(_Table, frozen=True):
    """One run. `scheduler` holds settings by dotted key for a scheduler that is started for it."""

    title: Annotated[str, Meta(min_length=1, max_length=80)]
    load: Load
    nodes: Annotated[list[NodeGroup], Meta(max_length=16)]
    about: str = ""
    seconds: Seconds = 30.0
    warmup_seconds: Annotated[float, Meta(ge=0, le=3_600)] = 2.0
    sessions: Count = 100
    drivers: Annotated[int, Meta(ge=1, le=8)] = 1
    seed: Annotated[int, Meta(ge=0, le=2**53)] = 1
    audio_bytes: Bytes = 3_200
    reply_seconds_max: Seconds = 150.0
    kinds: Annotated[list[Kind], Meta(min_length=1, max_length=32)] = field(
        default_factory=lambda: [Kind(name="en to es")]
    )
    talkers: Talkers | None = None
    scheduler: dict[str, Any] = {}

    @property
    def nodes_total(self) -> int:
        """Nodes of all groups."""
        return sum(group.count for group in self.nodes)


class Overrides(Struct, frozen=True):
    """What the command line says instead of the file; None: nothing."""

    seconds: float | None = None
    nodes: int | None = None
    sessions: int | None = None
    rate: float | None = None
    seed: int | None = None


def overridden(scenario: Scenario, overrides: Overrides) -> Scenario:
    """Return the scenario with what was said on the command line.

    `rate` becomes the highest rate of the load, whose others follow; `nodes` are divided among
    the groups as the scenario has them, 0 is for none.
    """
    changes: dict[str, Any] = {
        name: value
        for name in ("seconds", "sessions", "seed")
        if (value := getattr(overrides, name)) is not None
    }
    if overrides.rate is not None:
        changes["load"] = scenario.load.scaled(overrides.rate / scenario.load.highest)
    if overrides.nodes is not None:
        counts = shares(overrides.nodes, [group.count for group in scenario.nodes])
        changes["nodes"] = [
            replace(group, count=count)
            for group, count in zip(scenario.nodes, counts, strict=True)
            if count
        ]
    if overrides.seconds is not None:
        # A warm-up of the file's length would leave nothing of a shorter run.
        changes["warmup_seconds"] = min(scenario.warmup_seconds, overrides.seconds / 10)
    return replace(scenario, **changes)


def problems(scenario: Scenario) -> list[str]:
    """Return what no single bound can say, each with what to change."""
    found = []
    kinds, groups = scenario.kinds, scenario.nodes
    if scenario.warmup_seconds >= scenario.seconds:
        found.append(
            f"warmup_seconds = {scenario.warmup_seconds:g} leaves nothing of "
            f"seconds = {scenario.seconds:g}; make it smaller"
        )
    least = scenario.drivers * len(kinds)
    if scenario.sessions < least:
        found.append(
            f"sessions = {scenario.sessions} are too few: each of {scenario.drivers} drivers "
            f"needs one for each of {len(kinds)} kinds; use at least {least}"
        )
    if scenario.talkers is not None and scenario.talkers.sessions < scenario.drivers:
        found.append(f"talkers.sessions must be at least drivers = {scenario.drivers}")
    found += _load_problems(scenario.load)
    for what, names in (
        ("kinds", [kind.name for kind in kinds]),
        ("nodes", [group.name for group in groups]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            found.append(f"{what} has {twice[0]!r} twice; give each a name of its own")
    for group in groups:
        if group.delay_ms[0] > group.delay_ms[1]:
            found.append(
                f"nodes {group.name!r}: delay_ms = [{group.delay_ms[0]:g}, {group.delay_ms[1]:g}] "
                "must be the least and then the greatest"
            )
    return found


def _load_problems(load: Load) -> list[str]:
    if isinstance(load, Steady):
        return []
    found = []
    if load.rate_max <= load.rate:
        found.append(
            f"load.rate_max = {load.rate_max:g} must be greater than load.rate = {load.rate:g}"
        )
    if isinstance(load, Burst) and load.burst_seconds >= load.every_seconds:
        found.append(
            f"load.burst_seconds = {load.burst_seconds:g} must be less than "
            f"load.every_seconds = {load.every_seconds:g}"
        )
    return found


def shares(total: int, weights: list[float] | list[int]) -> list[int]:
    """Return whole numbers that add up to `total`, as near to the weights as may be.

    Each is at least 1 where `total` is enough for that.
    """
    if not weights:
        return []
    least = 1 if total >= len(weights) else 0
    exact = [(total - least * len(weights)) * weight / sum(weights) for weight in weights]
    counts = [int(share) for share in exact]
    left = total - least * len(weights) - sum(counts)
    by_rest = sorted(range(len(weights)), key=lambda i: counts[i] - exact[i])
    for i in by_rest[:left]:
        counts[i] += 1
    return [count + least for count in counts]


def features_of(kind: Kind) -> Features | None:
    """Return what utterances of a kind ask for."""
    return Features(**dict.fromkeys(kind.features, True)) if kind.features else None
