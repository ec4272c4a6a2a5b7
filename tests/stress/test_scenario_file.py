from pathlib import Path

import pytest

from scheduler.errors import ConfigError
from scheduler.stress.scenario import Overrides, Ramp, overridden
from scheduler.stress.scenario_file import find, load, names

GOOD = """
title = "A test"
seconds = 10

[load]
shape = "ramp"
rate = 10
rate_max = 100

[[nodes]]
count = 5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


@pytest.mark.parametrize("name", names())
def test_each_scenario_that_comes_along_is_valid(name: str) -> None:
    scenario = load(find(name))
    assert scenario.title
    assert scenario == overridden(scenario, Overrides())


def test_all_kinds_of_load_come_along() -> None:
    assert set(names()) >= {"ramp", "steady", "burst", "skewed", "slow-nodes", "churn", "idle"}


def test_a_file_is_read(file: Path) -> None:
    file.write_text(GOOD)
    scenario = load(find(str(file)), Overrides(rate=50))
    assert scenario.load == Ramp(rate=5, rate_max=50)
    assert scenario.nodes_total == 5


def test_a_name_that_is_none_gets_a_guess() -> None:
    with pytest.raises(ConfigError, match=r"staedy: no such scenario \(did you mean steady\?\)"):
        find("staedy")


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ('title = "A test"', "", "title is missing"),
        ("seconds = 10", "secnds = 10", r"unknown key secnds \(did you mean seconds\?\)"),
        ("seconds = 10", 'seconds = "ten"', r"seconds = 'ten' is not allowed: expected `float`"),
        ("seconds = 10", "seconds = -1", "seconds = -1 is not allowed: expected `float` > 0"),
        (
            '"ramp"',
            '"stairs"',
            r"load.shape = 'stairs' is not allowed: use one of 'steady', ",
        ),
        ('shape = "ramp"', "", "load.shape is missing"),
        ("rate_max = 100", "", "load.rate_max is missing"),
        ("rate_max = 100", "rate_mx = 100", r"unknown key load.rate_mx|load.rate_max is missing"),
        ("rate_max = 100", "rate_max = 5", r"load.rate_max = 5 must be greater"),
        ("count = 5", "count = 0", r"nodes\[0\].count = 0 is not allowed: expected `int` >= 1"),
        ("count = 5", "coutn = 5", r"nodes\[0\].coutn \(did you mean count\?\)"),
        ("count = 5", "", r"nodes\[0\].count is missing"),
        ("[[nodes]]", "[[nodes]]\ndelay_ms = [3]", r"nodes\[0\].delay_ms = \[3\] is not allowed"),
        (
            "[load]",
            '[[kinds]]\nname = "a"\nstages = ["nmt", "asd"]\n[load]',
            r"kinds\[0\].stages\[1\] = 'asd' is not allowed: expected one of 'asr', 'nmt', 'tts'",
        ),
        ("[[nodes]]", "[[nodes]]\ndelay_ms = [3, 'x']", r"delay_ms\[1\] = 'x' is not allowed"),
        ("[[nodes]]", "[[nodes]]\ndelay_ms = 3", r"nodes\[0\].delay_ms = 3 is not allowed"),
        ("[load]", "[scheduler]\ngatewys = 2\n[load]", r"\[scheduler\]: .*GATEWYS is no setting"),
        (
            "[load]",
            "[scheduler.limits]\nx = 2\n[load]",
            "scheduler.limits is a table; write",
        ),
        ("[load]", "[load", "not valid TOML"),
    ],
)
def test_a_wrong_file_says_what_to_change(file: Path, change: str, to: str, message: str) -> None:
    assert change in GOOD
    file.write_text(GOOD.replace(change, to, 1))
    with pytest.raises(ConfigError, match=message) as raised:
        load(file)
    assert str(raised.value).startswith(f"{file}: ")


def test_the_wrong_one_of_several_groups_is_named(file: Path) -> None:
    file.write_text(GOOD + '[[nodes]]\nname = "b"\ncount = "many"\n')
    with pytest.raises(ConfigError, match=r"nodes\[1\].count = 'many' is not allowed"):
        load(file)


def test_a_file_that_is_not_there_is_told(file: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        load(file)


def test_settings_of_the_scheduler_are_taken(file: Path) -> None:
    settings = '[scheduler]\ngateways = 2\n"scheduler.job_timeout_seconds" = 5\n[load]'
    file.write_text(GOOD.replace("[load]", settings))
    assert load(file).scheduler == {"gateways": 2, "scheduler.job_timeout_seconds": 5}
