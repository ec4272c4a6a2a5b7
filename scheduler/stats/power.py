"""What the connected nodes have left below the limits at which jobs skip them.

Per node and resource: size x max(0, limit - use) / 100, where size is cores, or GB of GPU or main
memory, and limit and use are percent. All GPUs of a node report one figure, so that the sum over
them is the sum of their memory times that figure.
"""

import numpy as np

from scheduler.config import LoadBalancerSettings
from scheduler.stats.reading import Floats, NodeRows, texts
from scheduler.stats.schema import ComputePower, NodePower

_DECIMALS = 3
"""Enough for people, and a third of the bytes of an exact figure."""


def compute_power(nodes: NodeRows, limits: LoadBalancerSettings) -> ComputePower:
    """Return the totals, and each node in the order of `nodes`."""
    cpu = _left(nodes.cpu_cores, limits.cpu_limit, nodes.cpu_percent)
    gpu = _left(nodes.gpu_memory_gb, limits.gpu_limit, nodes.gpu_percent)
    memory = _left(nodes.memory_gb, limits.memory_limit, nodes.memory_percent)
    return ComputePower(
        total_cpu_power=_total(cpu),
        total_gpu_power=_total(gpu),
        total_memory_power=_total(memory),
        node_power_details=[
            NodePower(node_id, name or node_id, *powers)
            for node_id, name, *powers in zip(
                texts(nodes.node_id),
                texts(nodes.name),
                *(np.round(power, _DECIMALS).tolist() for power in (cpu, gpu, memory)),
                strict=True,
            )
        ],
    )


def _left(size: Floats, limit: float, percent: Floats) -> Floats:
    return size * np.maximum(0.0, limit - percent) / 100.0


def _total(power: Floats) -> float:
    return round(float(power.sum()), _DECIMALS)
