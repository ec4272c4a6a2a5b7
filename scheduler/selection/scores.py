"""What a score is made of.

    score = load << TURN_BITS | turn        the least wins; INFINITE: can't take a job

Load is the node's jobs, ours and its own, or their share of its capacity; `turn` is when the node
was last chosen, so that equals take turns instead of piling on the first.
"""

import numpy as np

from scheduler.selection.columns import Int64s, NodeColumns

INFINITE = int(np.iinfo(np.int64).max)
UTILIZATION_SCALE = 1 << 16
"""Either kind of load is below a capacity's bound, 65,536, and so far from the sign bit."""

TURN_BITS = 40
TURN_MASK = (1 << TURN_BITS) - 1
"""Wraps after 127 days at 100,000 jobs/s; for that moment equals are not taken in turns."""

LEAST_UTILIZATION = "least_utilization"


def load_in(scores: Int64s) -> Int64s:
    """Return the loads in scores of any shape; what INFINITE gives stands for no load."""
    return scores >> TURN_BITS


def turn_in(scores: Int64s) -> Int64s:
    """Return the turns in scores of any shape."""
    return scores & TURN_MASK


def loads(nodes: NodeColumns, strategy: str, rows: slice = slice(None)) -> Int64s:
    """Return what each row's load is by `strategy`, shape (rows,), wherever it could take a job.

    `strategy` is one of those of the setting scheduler.load_balancer.strategy.
    """
    jobs: Int64s = nodes.in_flight[rows] + nodes.external_jobs[rows] * (
        nodes.usage_ref[rows] == nodes.ref[rows]
    )
    if strategy == LEAST_UTILIZATION:
        jobs = jobs * UTILIZATION_SCALE // np.maximum(nodes.capacity[rows], 1)
    return jobs
