import os
import resource

import psutil
import pytest

from scheduler.stats.proc import read_usage


def test_this_process() -> None:
    usage = read_usage(os.getpid())
    assert usage is not None
    seen = psutil.Process().memory_info().rss
    assert usage.resident_bytes == pytest.approx(seen, rel=0.2)
    spent = resource.getrusage(resource.RUSAGE_SELF)
    assert usage.cpu_seconds == pytest.approx(spent.ru_utime + spent.ru_stime, abs=0.5)


@pytest.mark.parametrize("pid", [0, -1, 1 << 30])
def test_no_process(pid: int) -> None:
    assert read_usage(pid) is None
