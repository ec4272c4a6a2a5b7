"""What the stub tells: a made-up scheduler with thousands of nodes, the same from the same seed."""

import math
import random
from typing import Any

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
LANGUAGES = {"en": 340, "zh": 210, "es": 160, "de": 95, "fr": 82, "ja": 61, "ar": 44, "pt": 38}
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
        self.missing: list[str] = []
        self.loads_change = True
        self.nodes = [self._node(index) for index in range(nodes)]
        self.jobs = {"accepted": 1_000_000, "completed": 996_000, "failed": 2_600}
        self.points: list[Json] = []
        self.events: list[Json] = []
        self.language_usage = {
            name: {
                "as_source": count,
                "as_target": round(count * 0.8),
                "total": count + round(count * 0.8),
            }
            for name, count in LANGUAGES.items()
        }
        worst = [node["node_id"] for node in self.nodes if node["status"] != "ready"]
        self.refusal_samples = {"not_ready": worst[:5], "cpu_over_limit": worst[5:8]}

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
        size = max(1.0, len(self.nodes) / 20)
        rate = size * (3.2 + 0.9 * wave + self.rng.gauss(0, 0.12))
        noise = self.rng.gauss(0, 1)
        return {
            "t_ms": t_ms,
            "jobs_per_s": round(max(0.0, rate), 2),
            "failed_per_s": round(max(0.0, rate * (0.002 + 0.03 * burst)), 3),
            "dispatch_p50_ms": round(0.9 + 0.1 * noise**2, 3),
            "dispatch_p99_ms": round(4.2 + 1.2 * noise**2 + 30 * burst, 3),
            "end_to_end_p50_ms": round(182 + 14 * wave + 3 * noise, 1),
            "end_to_end_p99_ms": round(415 + 60 * wave + 22 * abs(noise) + 260 * burst, 1),
            "queued": round(max(0.0, 40 * burst + noise)),
            "in_flight": sum(node["in_flight"] for node in self.nodes),
            "sessions": round(size * (12 + 3 * wave)),
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
            "failed_by_code": {
                "JOB_TIMEOUT": 1_480,
                "NODE_UNAVAILABLE": 730,
                "NO_AVAILABLE_NODE": 390,
            },
            "refused_by_code": {"SERVER_BUSY": 96, "RATE_LIMITED": 12},
            "samples": self.refusal_samples,
        }

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
                    "cancelled": 900,
                    "live": last["in_flight"],
                    "queued": last["queued"],
                    "in_flight": last["in_flight"],
                },
                "queue": {"depth": last["queued"], "oldest_wait_ms": last["queued"] * 13},
                "counters": {"gateways": {}, "dispatcher": {}, "stats": {}},
                "latency": {
                    name: {"count": 9, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "p999_ms": p999}
                    for name, (p50, p90, p99, p999) in {
                        "dispatch": (0.9, 1.9, 4.4, 9.1),
                        "end_to_end": (184.0, 290.0, 431.0, 702.0),
                    }.items()
                },
                "processes": self._processes(),
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
