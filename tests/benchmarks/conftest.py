"""Keeps the small benchmarks short and silent: they show that they work, not how fast."""

from typing import Any

import pytest

from tests.benchmarks.sizes import FULL


def pytest_itemcollected(item: pytest.Item) -> None:
    if not FULL:
        item.add_marker(pytest.mark.benchmark(max_time=0.01, min_rounds=1, min_time=0))


def pytest_benchmark_group_stats() -> list[Any] | None:
    """Show no table of small ones."""
    return None if FULL else []
