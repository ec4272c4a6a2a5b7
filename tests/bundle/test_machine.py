import os
import platform
import subprocess
import sys

import psutil

from scheduler.bundle.machine import machine, process


def test_the_machine_is_described_without_its_name() -> None:
    found = machine(os.getpid())
    assert platform.release() in found["kernel"]
    assert found["python"] == f"{platform.python_implementation()} {platform.python_version()}"
    assert found["packages"]["numpy"]
    assert found["cores_allowed"] == sorted(os.sched_getaffinity(0))
    assert found["memory"]["MemTotal"] == f"{psutil.virtual_memory().total >> 10} kB"
    assert found["uptime_s"] > 0
    assert len(found["limits"]["NOFILE"]) == 2
    assert platform.node() not in found["kernel"]


def test_a_process_is_described_as_the_kernel_sees_it() -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        found = process(running.pid)
        assert int(found["VmRSS"].split()[0]) > 0
        assert found["Threads"] == "1"
        assert found["open_files"] >= 3
        assert int(found["limit_open_files"]) > 0
        assert found["oom_score_adj"] is not None
        assert running.communicate()


def test_one_that_is_gone_has_nothing_to_tell() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert set(process(ended.pid).values()) == {None, ""}
    assert machine(ended.pid)["cgroup"] == {}
