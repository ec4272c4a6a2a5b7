from typing import Any

import msgspec

from scheduler.bundle.summary import EVENTS_MAX, NODE_EVENTS_MAX, summarise
from scheduler.config import Config

MANIFEST: dict[str, Any] = {
    "version": "1.2.3",
    "epoch": "0123abcd",
    "when": "2026-01-31T03:14:15.123456Z",
    "why": "dispatcher (pid 7) ended: SIGKILL",
    "started": "2026-01-30T00:00:00.000000Z",
    "generation": 2,
    "machine": {
        "kernel": "Linux 6",
        "python": "CPython 3.13.0",
        "cores_allowed": [0, 1],
        "load_average": [1.0, 2.0, 3.0],
        "memory": {"MemTotal": "9 kB", "MemAvailable": "4 kB"},
        "cgroup": {},
    },
}
FRAME: dict[str, Any] = {
    "processes": [
        {
            "role": role,
            "index": index,
            "pid": pid,
            "heartbeat_age_ms": age_ms,
            "fresh": fresh,
            "ready": ready,
            "restarts": 3,
            "loop_lag_max_ms": 1.5,
        }
        for role, index, pid, age_ms, fresh, ready in (
            ("supervisor", 0, 1, 10, True, True),
            ("dispatcher", 0, 8, None, False, False),
            ("stats", 0, 0, 10, False, False),
            ("gateway", 0, 9, 5_000, False, True),
            ("gateway", 1, 10, 10, True, False),
        )
    ],
    "rates": {
        f"jobs_{what}_per_s": 1.5
        for what in ("accepted", "completed", "failed", "cancelled", "refused")
    },
    "interval_s": 0.5,
    "jobs_live": 5,
    "in_flight": 2,
    "queued": 3,
    "oldest_wait_ms": 700,
    "slots": 8,
    "queues": [{"services": ["asr", "nmt"], "queued": 3}],
    "node_counts": {"ready": 2, "offline": 0},
}
COUNTERS: dict[str, Any] = {
    "gateway_counters": [
        {
            f"jobs_{what}_total": 10
            for what in ("accepted", "completed", "failed", "cancelled", "refused")
        }
    ]
    * 2,
    "gateway_codes": [
        {
            "jobs_failed_by_code_total": {"JOB_TIMEOUT": 1, "NODE_OVERLOADED": 4, "other": 0},
            "refusals_by_code_total": {"SERVER_BUSY": 0},
        }
    ]
    * 2,
    "exclusions": [{"excluded_total": {"offline": 6, "no_free_slot": 0}}],
}


def event(number: int, text: str, kind: str = "info", day: int = 31) -> dict[str, Any]:
    time = f"2026-01-{day:02}T03:14:{number % 60:02}.123456Z"
    return {"time": time, "kind": kind, "text": text, "monotonic_ns": day * 10**9 + number}


def summary(**parts: Any) -> list[str]:
    given = {"frame": FRAME, "counters": COUNTERS, "settings": None, "flight": {}, **parts}
    return summarise(MANIFEST, **given).splitlines()


def test_it_says_first_what_happened_and_where() -> None:
    lines = summary()
    assert lines[0] == "Lingua scheduler 1.2.3, run 0123abcd"
    assert "2026-01-31T03:14:15.123456Z" in lines[1]
    assert lines[2].endswith("dispatcher (pid 7) ended: SIGKILL")


def test_each_process_has_its_state() -> None:
    states = {
        line[:14].strip(): line.rpartition("  ")[2]
        for line in summary()
        if line.startswith(("supervisor", "dispatcher", "stats", "gateway"))
    }
    assert states == {
        "supervisor": "serving",
        "dispatcher": "starting",
        "stats": "NOT RUNNING",
        "gateway 0": "STUCK",
        "gateway 1": "starting",
    }


def test_figures_are_summed_over_the_gateways() -> None:
    text = "\n".join(summary())
    assert "20 accepted, 20 completed, 20 failed, 20 cancelled, 20 refused, since the start" in text
    assert "failed   8 NODE_OVERLOADED, 2 JOB_TIMEOUT\n" in text
    assert "no node  6 offline\n" in text
    assert "SERVER_BUSY" not in text
    assert "5 live: 2 on nodes, 3 waiting, the oldest for 700 ms" in text
    assert "3 wait for asr, nmt" in text
    assert "2 ready; 8 slots" in text


def test_settings_that_differ_from_the_defaults_are_shown() -> None:
    settings = msgspec.to_builtins(Config(gateways=3))
    lines = summary(settings=settings)
    at = lines.index("settings   gateways = 3")
    assert lines[at + 1] == "           all others are the defaults"
    assert "settings   all others are the defaults" in summary(
        settings=msgspec.to_builtins(Config())
    )


def test_a_killer_of_processes_is_named() -> None:
    machine = {**MANIFEST["machine"], "cgroup": {"memory.events": ["oom 1", "oom_kill 2"]}}
    parts: dict[str, Any] = {"frame": None, "counters": None, "settings": None, "flight": {}}
    text = summarise({**MANIFEST, "machine": machine}, **parts)
    assert "KILLED FOR WANT OF MEMORY: oom_kill 2" in text
    machine["cgroup"] = {"memory.events": ["oom 0", "oom_kill 0"]}
    text = summarise({**MANIFEST, "machine": machine}, **parts)
    assert "KILLED" not in text


def test_events_of_all_processes_stand_in_one_order() -> None:
    flight = {
        "supervisor": [event(1, "first"), event(4, "fourth")],
        "dispatcher": [event(2, "second", day=30), event(2, "third", kind="node")],
        "stats": None,
    }
    lines = summary(flight=flight)
    assert lines[lines.index("--- 2026-01-30") :] == [
        "--- 2026-01-30",
        "03:14:02.123  dispatcher  info     second",
        "--- 2026-01-31",
        "03:14:01.123  supervisor  info     first",
        "03:14:02.123  dispatcher  node     third",
        "03:14:04.123  supervisor  info     fourth",
    ]


def test_nodes_don_t_crowd_out_the_rest() -> None:
    flight = {
        "dispatcher": [event(n, f"gone {n}", kind="node") for n in range(500, 900)],
        "supervisor": [event(n, f"other {n}") for n in range(200)],
    }
    lines = summary(flight=flight)
    assert sum("other" in line for line in lines) == EVENTS_MAX
    assert sum("gone" in line for line in lines) == NODE_EVENTS_MAX
    assert lines[-1].endswith("gone 899")
    assert any(line.startswith(f"Last {EVENTS_MAX + NODE_EVENTS_MAX} of 600 ") for line in lines)


def test_parts_that_could_not_be_had_are_left_out() -> None:
    lines = summary(frame=None, counters=None)
    assert not any(line.startswith(("jobs", "nodes", "process ")) for line in lines)
