"""What a seed stands for: settings, sizes and tempers of one simulated world."""

from dataclasses import dataclass
from random import Random

from msgspec.structs import replace

from scheduler.config import Config, FeatureServicesSettings

MS = 1_000_000
"""Nanoseconds."""

CORE = ("node-inference", "nmt-m2m100", "piper-tts")
EXTRA = ("emotion", "speaker")
REQUIREMENTS = (0b111, 0b111, 0b111, 0b011, 0b001, 0b110, 0b1111, 0b10000111)
"""Stages and features as scheduler/protocol/requirements.py numbers them; the whole pipeline is
asked for most."""

_NODES = ((1, 6), (3, 30), (20, 100))
_NODES_LARGE = (300, 2_000)
_LARGE_SHARE = 0.04


@dataclass(frozen=True)
class Scenario:
    """One world. Shares are probabilities; intervals are means in ns."""

    config: Config
    gateways: int
    nodes: int
    sessions: int
    tick_ns: int
    link_delay_ns_max: int
    work_ns: int
    arrival_ns: int
    heartbeat_ns: int
    fault_ns: int
    failing_share: float
    silent_share: float
    private_share: float
    gateways_die: bool
    dispatchers_die: bool

    @classmethod
    def draw(cls, rng: Random) -> "Scenario":
        """Return the world that `rng` draws."""
        sizes = _NODES_LARGE if rng.random() < _LARGE_SHARE else rng.choice(_NODES)
        nodes = rng.randint(*sizes)
        work_ns = rng.randint(20, 400) * MS
        # About 2.5 slots per node: from idle to twice what the nodes can do.
        load = rng.choice((0.1, 0.3, 0.6, 1.5))
        return cls(
            config=_draw_config(rng, nodes),
            gateways=rng.randint(1, 5),
            nodes=nodes,
            sessions=rng.randint(1, 5) * max(5, nodes),
            tick_ns=20 * MS,
            link_delay_ns_max=rng.choice((1, 5, 50)) * MS,
            work_ns=work_ns,
            arrival_ns=max(MS // 2, round(work_ns / (2.5 * nodes * load))),
            heartbeat_ns=300 * MS,
            fault_ns=max(5, rng.choice((200, 1_000, 5_000)) // nodes) * MS,
            failing_share=rng.choice((0.0, 0.1, 0.4)),
            silent_share=rng.choice((0.0, 0.05)),
            private_share=rng.choice((0.0, 0.2)),
            gateways_die=rng.random() < 0.5,
            dispatchers_die=rng.random() < 0.6,
        )


def _draw_config(rng: Random, nodes: int) -> Config:
    """Return settings with short times, so that every deadline is met in a few seconds."""
    config = Config()
    scheduler = config.scheduler
    pending_max = rng.choice((3, 50, 10_000))
    return replace(
        config,
        scheduler=replace(
            scheduler,
            job_timeout_seconds=rng.choice((0.5, 2.0)),
            job_timeout=replace(
                scheduler.job_timeout,
                pending_timeout_seconds=rng.choice((0.2, 1.0)),
                failover_max_attempts=rng.randint(1, 4),
            ),
            load_balancer=replace(
                scheduler.load_balancer,
                strategy=rng.choice(("least_connections", "least_utilization")),
                shadow_strategy=rng.choice(("", "least_connections", "least_utilization")),
            ),
            node_health=replace(
                scheduler.node_health,
                heartbeat_interval_seconds=0.3,
                heartbeat_timeout_seconds=1.0,
                warmup_timeout_seconds=1.0,
                forget_after_seconds=rng.choice((0.5, 3.0)),
            ),
            model_not_available=replace(
                scheduler.model_not_available,
                unavailable_ttl_seconds=0.5,
                debounce_window_seconds=0.1,
                node_ratelimit_window_seconds=1.0,
                node_ratelimit_max=rng.choice((1, 30)),
            ),
            outlier_ejection=replace(
                scheduler.outlier_ejection,
                consecutive_failures=rng.choice((0, 2, 5)),
                base_ejection_seconds=0.3,
                max_ejection_seconds=1.0,
                slow_start_seconds=rng.choice((0.0, 0.5)),
            ),
            retry_budget=replace(
                scheduler.retry_budget,
                share_percent=rng.choice((5.0, 50.0)),
                retries_per_second_min=rng.choice((1, 20)),
            ),
            feature_services=FeatureServicesSettings(
                emotion_detection=[EXTRA[0]], speaker_identification=[EXTRA[1]]
            ),
        ),
        pairing=replace(config.pairing, code_ttl_seconds=0.5, window_seconds=1.0),
        limits=replace(
            config.limits,
            nodes_max=max(1, round(nodes * rng.choice((0.8, 1.0, 1.5)))),
            pending_per_class_max=pending_max,
            pending_total_max=pending_max * rng.choice((1, 3)),
        ),
    )
