import numpy as np
import pytest

from scheduler.config import LoadBalancerSettings
from scheduler.memory.layout import SERVICE_WORDS
from scheduler.stats.power import compute_power
from scheduler.stats.reading import NodeRows
from scheduler.stats.schema import ComputePower, NodePower

LIMITS = LoadBalancerSettings(cpu_limit=90, gpu_limit=80, memory_limit=75)


def rows(*nodes: dict[str, float], names: tuple[str, ...] = ()) -> NodeRows:
    def figures(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([node.get(name, 0.0) for node in nodes], np.float64)

    services = np.zeros((len(nodes), SERVICE_WORDS), np.uint64)
    return NodeRows(
        node_id=np.array([f"node-{i}".encode() for i in range(len(nodes))], "S128"),
        name=np.array([name.encode() for name in names] or [b""] * len(nodes), "S64"),
        cpu_cores=figures("cpu_cores"),
        memory_gb=figures("memory_gb"),
        gpu_memory_gb=figures("gpu_memory_gb"),
        cpu_percent=figures("cpu_percent"),
        gpu_percent=figures("gpu_percent"),
        memory_percent=figures("memory_percent"),
        installed=services,
        ready=services,
    )


def test_power_is_what_is_left_below_the_limits() -> None:
    node = {
        "cpu_cores": 8.0,
        "cpu_percent": 40.0,
        "gpu_memory_gb": 36.0,
        "gpu_percent": 30.0,
        "memory_gb": 64.0,
        "memory_percent": 50.0,
    }
    idle = {"cpu_cores": 4.0, "memory_gb": 16.0}
    assert compute_power(rows(node, idle, names=("Büro", "")), LIMITS) == ComputePower(
        total_cpu_power=4.0 + 3.6,
        total_gpu_power=18.0,
        total_memory_power=16.0 + 12.0,
        node_power_details=[
            NodePower("node-0", "Büro", cpu_power=4.0, gpu_power=18.0, memory_power=16.0),
            NodePower("node-1", "node-1", cpu_power=3.6, gpu_power=0.0, memory_power=12.0),
        ],
    )


@pytest.mark.parametrize("cpu_percent", [90.0, 99.0, 100.0])
def test_a_node_over_a_limit_has_nothing_left(cpu_percent: float) -> None:
    power = compute_power(rows({"cpu_cores": 8.0, "cpu_percent": cpu_percent}), LIMITS)
    assert power.total_cpu_power == 0.0


def test_no_nodes_have_no_power() -> None:
    assert compute_power(rows(), LIMITS) == ComputePower(0.0, 0.0, 0.0, [])


def test_the_total_is_rounded_once() -> None:
    third = {"cpu_cores": 1 / 3 / 0.9}
    power = compute_power(rows(third, third, third), LIMITS)
    assert [node.cpu_power for node in power.node_power_details] == [0.333] * 3
    assert power.total_cpu_power == 1.0
