"""The pinned dependencies hold what pyproject.toml asks for, and install anywhere."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("runtime", "dev", "fuzz")


def text(lock: str) -> str:
    return (ROOT / "requirements" / f"{lock}.txt").read_text()


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text(lock), re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~ ]", requirement)[0] for requirement in requirements}


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def asked() -> list[str]:
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    return [
        *project["dependencies"],
        *project["optional-dependencies"]["report"],
        *project["optional-dependencies"]["speech"],
        *groups["build"],
        *groups["dev"],
        *groups["fuzz"],
    ]


@pytest.mark.parametrize("requirement", asked())
def test_each_dependency_is_pinned_high_enough(requirement: str) -> None:
    name, least = requirement.split(">=")
    assert numbers(pins("fuzz")[name]) >= numbers(least)


def test_the_build_group_is_what_building_needs() -> None:
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]


def test_each_lock_has_all_of_the_one_before_it() -> None:
    assert pins("runtime").items() <= pins("dev").items() <= pins("fuzz").items()


def test_runtime_has_nothing_for_tests() -> None:
    assert not names(PROJECT["dependency-groups"]["dev"]) & pins("runtime").keys()


@pytest.mark.parametrize("lock", LOCKS)
def test_each_pin_has_a_hash(lock: str) -> None:
    entries = re.split(r"^(?=[a-z])", text(lock), flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins(lock))
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_or_path(lock: str) -> None:
    assert not re.search(r"://|index-url|find-links|^-e|file:|@ ", text(lock), re.MULTILINE)
