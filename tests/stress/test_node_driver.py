import subprocess
import sys

import msgspec

from scheduler.nodes.sim import SimSettings
from scheduler.stress.messages import NodesTask
from scheduler.stress.node_driver import settings_of
from scheduler.stress.scenario import NodeGroup


def test_a_group_becomes_simulated_nodes() -> None:
    group = NodeGroup(
        name="slow",
        count=3,
        services=("a", "b"),
        slots=2,
        delay_ms=(5, 9),
        fail_rate=0.5,
        fail_code="NODE_OVERLOADED",
        churn_seconds=7,
        partials=1,
        tts_bytes=10,
    )
    assert settings_of(NodesTask("ws://x/ws/node", group, 4), "t") == SimSettings(
        url="ws://x/ws/node",
        services=("a", "b"),
        count=3,
        delay_ms=(5, 9),
        fail_rate=0.5,
        fail_code="NODE_OVERLOADED",
        capacity=2,
        seed=4,
        name_prefix="slow",
        partials=1,
        churn_seconds=7,
        tts_bytes=10,
        token="t",  # noqa: S106 - of nobody
    )


def test_it_ends_with_its_input_though_nobody_lets_it_in() -> None:
    task = NodesTask("ws://127.0.0.1:9/ws/node", NodeGroup(count=2), 1)
    ended = subprocess.run(
        [sys.executable, "-m", "scheduler.stress.node_driver", msgspec.json.encode(task).decode()],
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
