import numpy as np
import pytest

from scheduler.dispatch.tables import Tables
from scheduler.selection.scores import (
    LEAST_UTILIZATION,
    TURN_BITS,
    UTILIZATION_SCALE,
    load_in,
    loads,
    turn_in,
)


def test_a_score_is_taken_apart() -> None:
    scores = np.array([7 << TURN_BITS | 5, 0], np.int64)
    assert load_in(scores).tolist() == [7, 0]
    assert turn_in(scores).tolist() == [5, 0]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("least_connections", [3, 1, 0]),
        (LEAST_UTILIZATION, [3 * UTILIZATION_SCALE // 4, UTILIZATION_SCALE // 2, 0]),
    ],
)
def test_loads_count_the_jobs_or_their_share(strategy: str, expected: list[int]) -> None:
    nodes = Tables.allocate(3, 1).nodes
    nodes.ref[:] = nodes.usage_ref[:] = 5
    nodes.in_flight[:] = [2, 1, 0]
    nodes.external_jobs[:] = [1, 0, 0]
    nodes.capacity[:] = [4, 2, 0]
    assert loads(nodes, strategy).tolist() == expected
    assert loads(nodes, strategy, slice(1, 2)).tolist() == expected[1:2]


def test_what_a_node_before_it_reported_is_no_load_of_this_one() -> None:
    nodes = Tables.allocate(1, 1).nodes
    nodes.ref[:], nodes.usage_ref[:] = 5, 4
    nodes.external_jobs[:] = 9
    assert loads(nodes, "least_connections").tolist() == [0]
