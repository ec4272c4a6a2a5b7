import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scheduler.demo import Tools
from scheduler.nodes.synthesizer import Synthesizer
from scheduler.nodes.translator import Translator
from tests.harness import environment, poll

END_SECONDS_MAX = 40.0


@contextmanager
def running_demo(folder: Path, **overrides: object) -> Iterator["subprocess.Popen[bytes]"]:
    settings = {
        "runtime_dir": str(folder / "runtime"),
        "gateways": 1,
        "server.host": "127.0.0.1",
        "server.port": 0,
        "server.ops_port": 0,
        **{key.replace("__", "."): value for key, value in overrides.items()},
    }
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "scheduler.demo"],
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()  # it takes its children with it
            process.wait(END_SECONDS_MAX)


def output(folder: Path) -> str:
    return (folder / "output").read_text()


def test_a_recorded_sentence_is_understood_and_all_ends_with_ctrl_c(tmp_path: Path) -> None:
    with running_demo(tmp_path) as process:

        def is_up() -> bool:
            assert process.poll() is None, output(tmp_path)
            return "Up until Ctrl-C" in output(tmp_path)

        poll("the demo is through", is_up, seconds=90)
        process.send_signal(signal.SIGINT)
        assert process.wait(END_SECONDS_MAX) == 0, output(tmp_path)
    text = output(tmp_path)
    assert "heard       go forward ten meters" in text
    assert "asr " in text, "the time it took"
    assert "Traceback" not in text


def test_a_taken_port_is_named_with_what_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running_demo(tmp_path, server__port=port) as process:
            assert process.wait(END_SECONDS_MAX) == 1
    text = output(tmp_path)
    assert "server.port" in text, "the scheduler's own message"
    assert "SCHEDULER_SERVER__PORT=6010" in text
    assert "Traceback" not in text


def test_a_wrong_config_is_named(tmp_path: Path) -> None:
    with running_demo(tmp_path, drain_seconds=-1) as process:
        assert process.wait(END_SECONDS_MAX) == 1
    assert "drain_seconds = -1" in output(tmp_path)


@pytest.mark.parametrize(
    ("modes", "languages", "stages", "target", "left_out"),
    [
        ({"eng-spa"}, {"en", "es"}, (True, True, True), "es", 0),
        ({"eng-spa"}, set(), (True, True, False), "es", 1),
        (set(), {"en", "es"}, (True, False, True), "en", 1),
        (set(), set(), (True, False, False), "en", 2),
    ],
)
def test_the_pipeline_is_what_the_machine_can_do(
    modes: set[str],
    languages: set[str],
    stages: tuple[bool, bool, bool],
    target: str,
    left_out: int,
) -> None:
    tools = Tools(Translator(frozenset(modes)), Synthesizer(frozenset(languages)))
    pipeline = tools.pipeline
    assert (pipeline.use_asr, pipeline.use_nmt, pipeline.use_tts) == stages
    assert tools.target == target
    assert len(tools.left_out()) == left_out
