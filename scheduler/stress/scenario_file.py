"""Scenario files: found by name or path, read, checked; a wrong one says what to change."""

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Struct

from scheduler.config import load as load_config
from scheduler.errors import ConfigError
from scheduler.programs import variables
from scheduler.stress.scenario import (
    Burst,
    Feature,
    Kind,
    NodeGroup,
    Overrides,
    Ramp,
    Scenario,
    Stage,
    Steady,
    Talkers,
    overridden,
    problems,
)

FOLDER = Path(__file__).parents[2] / "configs" / "stress"
"""Scenarios that come with the program."""

_SHAPES: dict[str, type[Struct]] = {"steady": Steady, "ramp": Ramp, "burst": Burst}
_TABLES: dict[str, type[Struct]] = {
    "": Scenario,
    "nodes": NodeGroup,
    "kinds": Kind,
    "talkers": Talkers,
}

_CHOICES = {"stages": get_args(Stage), "features": get_args(Feature)}


def names() -> list[str]:
    """Return the scenarios that come with the program."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name: str) -> Path:
    """Return the file of a scenario, by name or path; raise ConfigError where there is none."""
    if name in names():
        return FOLDER / f"{name}.toml"
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    near = difflib.get_close_matches(name, names(), n=1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    raise ConfigError(
        f"{name}: no such scenario{guess}; use one of {', '.join(names())}, or a path to a file"
    )


def load(path: Path, overrides: Overrides | None = None) -> Scenario:
    """Read a scenario and lay `overrides` over it.

    Raises ConfigError that names the file, the key, the value and what is allowed.
    """
    try:
        with path.open("rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    try:
        scenario = msgspec.convert(raw, Scenario)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error), raw)}") from None
    scenario = overridden(scenario, overrides or Overrides())
    for problem in problems(scenario):
        raise ConfigError(f"{path}: {problem}")
    _check_settings(path, scenario)
    return scenario


def _check_settings(path: Path, scenario: Scenario) -> None:
    settings = scenario.scheduler
    if nested := [key for key, value in settings.items() if isinstance(value, dict)]:
        raise ConfigError(
            f"{path}: scheduler.{nested[0]} is a table; write dotted keys in quotes, "
            'as "limits.nodes_max" = 5000'
        )
    try:
        load_config(None, variables(settings))
    except ConfigError as error:
        raise ConfigError(f"{path}: [scheduler]: {error}") from None


def _explain(problem: str, raw: dict[str, Any]) -> str:
    """Turn msgspec's "Expected … - at `$.nodes[1].count`" into key, value, what is allowed."""
    what, _, where = problem.partition(" - at `$")
    key = where.rstrip("`").lstrip(".")
    value = _value_at(key, raw)
    missing = re.search(r"missing required field `(.+)`", what)
    if missing:
        return f"{_join(key, missing[1])} is missing; docs/stress.md says what it is"
    unknown = re.search(r"unknown field `(.+)`", what)
    if unknown:
        allowed = _fields_at(key, raw)
        near = difflib.get_close_matches(unknown[1], allowed, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        return f"unknown key {_join(key, unknown[1])}{guess}; allowed here: {', '.join(allowed)}"
    if key == "load.shape":
        return f"load.shape = {value!r} is not allowed: use one of {_list(_SHAPES)}"
    if what.startswith("Invalid enum value"):
        what = f"expected one of {_list(_CHOICES[key.rpartition('.')[2].partition('[')[0]])}"
    return f"{key} = {value!r} is not allowed: {what[0].lower()}{what[1:]}"


def _value_at(key: str, raw: dict[str, Any]) -> Any:
    value: Any = raw
    for part in re.findall(r"[^.\[\]]+", key):
        value = value[int(part) if isinstance(value, list) else part]
    return value


def _fields_at(key: str, raw: dict[str, Any]) -> tuple[str, ...]:
    name = key.partition("[")[0]
    if name == "load":
        return ("shape", *_SHAPES[raw["load"]["shape"]].__struct_fields__)
    return _TABLES[name].__struct_fields__


def _list(values: Iterable[str]) -> str:
    return ", ".join(repr(value) for value in values)


def _join(table: str, name: str) -> str:
    return f"{table}.{name}" if table else name
