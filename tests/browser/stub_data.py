"""What the stub tells: a made-up scheduler with thousands of nodes, the same from the same seed."""

import math
import random
from typing import Any

from scheduler.protocol.exclusions import SAMPLES_MAX
from tests.browser import stub_insight as insight

Json = dict[str, Any]

HISTORY_POINTS_MAX = 720
ASR, NMT, TTS = CORE = ("node-inference", "nmt-m2m100", "piper-tts")
NAMES = {
    "node-inference": "Speech recognition",
    "nmt-m2m100": "Translation",
    "piper-tts": "Speech output",
    "emotion-wav2vec2": "Emotion",
    "speaker-ecapa": "Speaker",
    "nmt-nllb200": "Translation, large",
}
EXTRAS = ("emotion-wav2vec2", "speaker-ecapa", "rate-control")
PLACES = ("fra", "ams", "waw", "lis", "osl", "mil")
LANGUAGES = {"en": 31, "zh": 19, "es": 15, "de": 9, "fr": 8, "ja": 6, "ar": 4, "pt": 3}
"""Share of the sessions that speak it, in percent."""
JOBS_PER_S, SESSIONS = 36.0, 180.0
"""For each twenty nodes; jobs in flight are as many as come in the time that one takes."""

STATUSES = ("ready", "degraded", "draining", "registering", "offline")
STATUS_WEIGHTS = (955, 14, 12, 7, 12)


class StubData:
    """The state of the scheduler that is made up; tests change its fields."""

    def __init__(self, nodes: int, *, seed: int = 1, interval_s: float = 5.0) -> None:
        self.rng = random.Random(seed)
        self.interval_s = interval_s
        self.source = "a1b2c3d4-0"
        self.sequence = 0
        self.generation = 1
        self.uptime_s = 93_784.0
        self.size = max(1.0, nodes / 20)
        self.jobs_per_s = JOBS_PER_S * self.size
        self.missing: list[str] = []
        self.loads_change = True
        self.nodes = [self._node(index) for index in range(nodes)]
        completed = round(self.uptime_s * self.jobs_per_s)
        self.failed_by_code = {
            "JOB_TIMEOUT": completed // 900,
            "NODE_UNAVAILABLE": completed // 1_800,
            "NO_AVAILABLE_NODE": completed // 3_400,
        }
        self.jobs = {"completed": completed, "failed": sum(self.failed_by_code.values())}
        self.points: list[Json] = []
        self.events: list[Json] = []
        speakers = {
            name: round(share * SESSIONS * self.size / 100) for name, share in LANGUAGES.items()
        }
        self.language_usage = {
            name: {
                "as_source": count,
                "as_target": round(count * 0.8),
                "total": count + round(count * 0.8),
            }
            for name, count in speakers.items()
        }
        worst = [node["node_id"] for node in self.nodes if node["status"] != "ready"]
        self.refusal_samples = {"not_ready": worst[:5], "cpu_over_limit": worst[5:8]}
        self.stage_p50_ms = dict(insight.P50_MS)
        self.classes: list[tuple[str, ...]] = [CORE, (ASR, NMT), (*CORE, EXTRAS[0])]
        self.queued: int | None = None
        """Jobs that wait; None: as the last point has it."""
        self.dispatcher = {"shadow_compared_total": 6_204_118, "shadow_differed_total": 428_084}
        self.audit = insight.no_audit()
        self.missing_models: Json = {}
        self.last_decisions: list[Json] | None = None
        """Latest first; None: made up."""
        self._make_history_of_trouble()

    def _make_history_of_trouble(self) -> None:
        """Let some things have gone wrong that are over."""
        named = [node["node_id"] for node in self.nodes[3::7]]
        self.audit |= {
            "slots_freed_total": 3,
            "righted": [
                {"node_id": node_id, "slots": slots}
                for node_id, slots in zip(named[4:], (2, 1), strict=False)
            ],
        }
        by_node = dict(zip(named, (171, 64, 38, 21, 9, 4), strict=False))
        self.set_missing_models(
            by_service={EXTRAS[0]: 204, NMT: 91, "other": 12},
            by_reason={"loading": 163, "not_installed": 88, "version_mismatch": 41, "error": 15},
            by_node=by_node,
        )

    def set_missing_models(
        self, *, by_service: dict[str, int], by_reason: dict[str, int], by_node: dict[str, int]
    ) -> None:
        """Let nodes have answered MODEL_NOT_AVAILABLE."""
        received = sum(by_service.values())
        by_node = {**by_node, "other": max(0, received - sum(by_node.values()))}
        limited = {name: total // 12 for name, total in by_service.items() if name != "other"}
        marked = {name: total - limited.get(name, 0) for name, total in by_service.items()}
        del marked["other"]
        self.missing_models = {
            "model_not_available_missing_total": {"service": by_service},
            "model_not_available_rate_limited_total": {"service": limited},
            "model_not_available_marked_total": {"service": marked},
            "model_not_available_by_reason_total": {"reason": {**by_reason, "other": 0}},
            "node_model_missing_total": {"node": by_node},
        }
        self.dispatcher |= {
            "model_not_available_total": received,
            "models_marked_total": sum(marked.values()),
            "models_rate_limited_total": sum(limited.values()),
        }

    def _node(self, index: int) -> Json:
        rng = self.rng
        status = rng.choices(STATUSES, STATUS_WEIGHTS)[0]
        capacity = rng.choice((2, 4, 4, 4, 8))
        busy = min(1.0, max(0.0, rng.gauss(0.55, 0.25)))
        extras = tuple(name for name in EXTRAS if rng.random() < 0.35)
        installed = [*CORE, *extras]
        works = status in {"ready", "draining"}
        late_ms = rng.randrange(46_000, 290_000) if status == "offline" else rng.randrange(15_000)
        gpus = rng.choice((0, 1, 1, 2))
        return {
            "node_id": f"node-{rng.getrandbits(32):08x}",
            "name": f"{PLACES[index % len(PLACES)]}-{index // len(PLACES):04d}",
            "status": status,
            "in_flight": round(capacity * busy) if works else 0,
            "capacity": capacity,
            "external_jobs": int(busy < 0.5 and rng.random() < 0.1),
            "gateway": index % 2,
            "public": rng.random() < 0.97,
            "cpu_percent": round(busy * 85 + rng.random() * 10, 1) if works else 0.0,
            "gpu_percent": round(busy * 90 + rng.random() * 8, 1) if works and gpus else 0.0,
            "gpu_memory_percent": round(35 + busy * 40, 1) if works and gpus else 0.0,
            "memory_percent": round(30 + busy * 45, 1) if works else 0.0,
            "heartbeat_age_ms": late_ms,
            "status_age_ms": rng.randrange(1_000, 86_400_000),
            "cpu_cores": rng.choice((8.0, 16.0, 32.0)),
            "memory_gb": rng.choice((16.0, 32.0, 64.0)),
            "gpus": gpus,
            "gpu_memory_gb": gpus * 16.0,
            "services_installed": installed,
            "services_ready": installed if status == "ready" else list(CORE[:2]),
            "services_marked": [NMT] if rng.random() < 0.006 else [],
        }

    def connected(self) -> list[Json]:
        return [node for node in self.nodes if node["status"] != "offline"]

    def find(self, node_id: str) -> Json | None:
        return next((node for node in self.nodes if node["node_id"] == node_id), None)

    def advance(self, now_ms: int) -> None:
        """Let one interval pass, which ends now."""
        self.sequence += 1
        self.uptime_s += self.interval_s
        self.points = [*self.points, self._point(now_ms)][-HISTORY_POINTS_MAX:]
        self.jobs["completed"] += round(self.points[-1]["jobs_per_s"] * self.interval_s)
        if not self.loads_change:
            return
        for node in self.rng.sample(self.nodes, len(self.nodes) // 8):
            if node["status"] == "ready":
                moved = node["in_flight"] + self.rng.choice((-1, 0, 1))
                node["in_flight"] = min(node["capacity"] - node["external_jobs"], max(0, moved))

    def fill_history(self, now_ms: int, points: int = HISTORY_POINTS_MAX) -> None:
        """Let an hour have passed before now, and one thing have gone wrong in it."""
        self.points = []
        for back in range(points, 0, -1):
            self.advance(round(now_ms - back * self.interval_s * 1000))
        texts = (
            (2_900, "node", "node-1f0c22b7: now offline"),
            (1_510, "process", "dispatcher was restarted, now process 4812"),
            (1_490, "node", "14 nodes: now degraded"),
            (820, "command", "drain node-9a31c0de: kernel update"),
            (95, "catalogue", "the model hub does not answer: connection refused"),
        )
        self.events = [
            {"t_ms": now_ms - back_s * 1000, "kind": kind, "text": text}
            for back_s, kind, text in texts
        ]

    def _point(self, t_ms: int) -> Json:
        wave = math.sin(t_ms / 900_000) + 0.35 * math.sin(t_ms / 131_000)
        burst = 1.0 if (t_ms // 1000) % 3600 in range(1500, 1620) else 0.0
        rate = self.jobs_per_s * (1 + 0.11 * wave + self.rng.gauss(0, 0.02))
        noise = self.rng.gauss(0, 1)
        return {
            "t_ms": t_ms,
            "jobs_per_s": round(max(0.0, rate), 2),
            "failed_per_s": round(max(0.0, rate * (0.002 + 0.03 * burst)), 3),
            "dispatch_p50_ms": round(0.9 + 0.1 * noise**2, 3),
            "dispatch_p99_ms": round(4.2 + 1.2 * noise**2 + 30 * burst, 3),
            "end_to_end_p50_ms": round(1_120 + 60 * wave + 14 * noise, 1),
            "end_to_end_p99_ms": round(2_450 + 240 * wave + 90 * abs(noise) + 1_700 * burst, 1),
            "queued": round(burst * (self.size * 6 + noise)),
            "in_flight": sum(node["in_flight"] for node in self.nodes),
            "sessions": round(self.size * SESSIONS * (1 + 0.08 * wave)),
            "nodes": len(self.connected()),
        }

    def history(self) -> Json:
        names = [name for name in self.points[0] if name != "t_ms"] if self.points else []
        columns = {name: [point[name] for point in self.points] for name in ["t_ms", *names]}
        return {"interval_s": self.interval_s, **columns, "events": self.events}

    def refusals(self) -> Json:
        return {
            "excluded": {
                "no_free_slot": 18_204,
                "cpu_over_limit": 7_530,
                "service_not_installed": 2_911,
                "not_ready": 1_240,
                "model_not_available": 310,
            },
            "failed_by_code": self.failed_by_code,
            "refused_by_code": {"SERVER_BUSY": 96, "RATE_LIMITED": 12},
            "samples": {reason: ids[:SAMPLES_MAX] for reason, ids in self.refusal_samples.items()},
        }

    def waterfall(self, now_ms: int) -> Json:
        last = self.points[-1]
        return insight.waterfall(
            self.stage_p50_ms,
            interval_s=self.interval_s,
            jobs=self.jobs["completed"],
            interval_jobs=round(last["jobs_per_s"] * self.interval_s),
            swing=last["end_to_end_p50_ms"] / insight.P50_MS["end_to_end"],
            now_ms=now_ms,
        )

    def capacity(self, now_ms: int) -> Json:
        queued = self.points[-1]["queued"] if self.queued is None else self.queued
        return insight.capacity(self.nodes, self.classes, queued=queued, now_ms=now_ms)

    def decisions(self, now_ms: int, limit: int) -> Json:
        if self.last_decisions is not None:
            return {
                "generated_at_ms": now_ms,
                "recorded_total": len(self.last_decisions),
                "unrecorded_total": 0,
                "decisions": self.last_decisions[:limit],
            }
        recorded = self.dispatcher["shadow_compared_total"] + 40 * self.sequence
        return insight.decisions(
            self.nodes,
            jobs_per_s=max(1.0, self.points[-1]["jobs_per_s"]),
            recorded=recorded,
            limit=limit,
            now_ms=now_ms,
        )

    def metrics(self, now_ms: int) -> Json:
        return insight.metrics(self.missing_models, now_ms)

    def snapshot(self, now_ms: int) -> Json:
        last = self.points[-1]
        return {
            "web_clients": self._web_clients(last["sessions"]),
            "nodes": self._nodes(),
            "scheduler": {
                "version": "0.1.0",
                "uptime_s": self.uptime_s,
                "generation": self.generation,
                "jobs": {
                    **self.jobs,
                    "accepted": sum(self.jobs.values()) + 900 + last["in_flight"],
                    "cancelled": 900,
                    "live": last["in_flight"],
                    "queued": last["queued"],
                    "in_flight": last["in_flight"],
                },
                "queue": {"depth": last["queued"], "oldest_wait_ms": last["queued"] * 13},
                "counters": {"gateways": {}, "dispatcher": self.dispatcher, "stats": {}},
                "latency": {
                    name: {"count": 9, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "p999_ms": p999}
                    for name, (p50, p90, p99, p999) in {
                        "dispatch": (0.9, 1.9, 4.4, 9.1),
                        "end_to_end": (1_130.0, 1_620.0, 2_480.0, 4_020.0),
                    }.items()
                },
                "processes": self._processes(),
                "audit": self.audit,
            },
            "snapshot": {
                "generated_at_ms": now_ms,
                "sequence": self.sequence,
                "source": self.source,
            },
        }

    def _web_clients(self, sessions: int) -> Json:
        top = [
            {"language": name, "count": usage["total"]}
            for name, usage in self.language_usage.items()
        ]
        return {
            "active_users": sessions,
            "top_languages": top,
            "language_usage": self.language_usage,
        }

    def _nodes(self) -> Json:
        connected = self.connected()
        installed: dict[str, int] = {}
        ready: dict[str, int] = {}
        for node in connected:
            for name in node["services_installed"]:
                installed[name] = installed.get(name, 0) + 1
            for name in node["services_ready"]:
                ready[name] = ready.get(name, 0) + 1
        catalogue = [*CORE, *EXTRAS[:2], "nmt-nllb200"]
        return {
            "connected_nodes": len(connected),
            "model_node_counts": ready,
            "available_services": [
                {
                    "service_id": name,
                    "name": NAMES[name],
                    "latest_version": "1.4.0",
                    "variants": [],
                }
                for name in catalogue
            ],
            "total_services": len(catalogue),
            "service_node_counts": installed,
            "compute_power": self._power(connected),
        }

    def _power(self, connected: list[Json]) -> Json:
        details = [
            {
                "node_id": node["node_id"],
                "node_name": node["name"],
                "cpu_power": node["cpu_cores"] * max(0.0, 90 - node["cpu_percent"]) / 100,
                "gpu_power": node["gpu_memory_gb"] * max(0.0, 90 - node["gpu_percent"]) / 100,
                "memory_power": node["memory_gb"] * max(0.0, 90 - node["memory_percent"]) / 100,
            }
            for node in connected
        ]
        totals = {
            f"total_{kind}_power": sum(detail[f"{kind}_power"] for detail in details)
            for kind in ("cpu", "gpu", "memory")
        }
        return {**totals, "node_power_details": details}

    def _processes(self) -> list[Json]:
        roles = [("supervisor", 0), ("dispatcher", 0), ("stats", 0), ("gateway", 0), ("gateway", 1)]
        return [
            {
                "role": role,
                "index": index,
                "pid": 4_100 + number,
                "fresh": True,
                "ready": True,
                "restarts": self.generation - 1 if role == "dispatcher" else 0,
                "heartbeat_age_ms": self.rng.randrange(100),
                "loop_lag_max_ms": round(2.1 + 3.7 * number, 2),
                "slow_paths_total": number // 3,
            }
            for number, (role, index) in enumerate(roles)
        ]
