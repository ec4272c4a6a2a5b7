"""Renders the settings of scheduler/config.py for people.

`scripts/generate` rewrites configs/default.toml and docs/configuration.md;
tests hold that both are up to date.
"""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.inspect import (
    BoolType,
    DictType,
    FloatType,
    IntType,
    ListType,
    LiteralType,
    Metadata,
    StrType,
    StructType,
    Type,
)

from scheduler.config import ENV_PREFIX, Config

_UNITS = {"_seconds": "seconds", "_ms": "milliseconds", "_bytes": "bytes", "_bytes_max": "bytes"}
_SELF_EVIDENT = ("text", "list of text", "true or false")
_BINARY_PREFIXES = ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB"))

_TOML_INTRO = """\
# Every setting with its default. A file needs only what differs from these.
# Written by `scripts/generate` from scheduler/config.py; don't edit it here.
"""

_MARKDOWN_INTRO = f"""\
# Configuration

Written by `scripts/generate` from `scheduler/config.py`; don't edit it here.

Settings come from a TOML file, given with `--config`, and from the environment, which wins. A
variable is `{ENV_PREFIX}`, then the upper-case path joined by `__`; text stands as it is, anything
else as in TOML:

```sh
SCHEDULER_SERVER__PORT=6010 SCHEDULER_CPU_AFFINITY__GATEWAY='[2, 3]' lingua-scheduler run
```

An unknown key, a wrong type or a value out of bounds stops the start with a message that names
the file or variable, the key, the value and what is allowed. `lingua-scheduler check-config FILE`
tells the same without a start. What is left out has its default.

| file | for |
|---|---|
| [configs/default.toml](../configs/default.toml) | all keys with their defaults |
| [configs/dev.toml](../configs/dev.toml) | a developer's machine |
| [configs/bare-metal.toml](../configs/bare-metal.toml) | a machine of its own with many cores |
| [configs/lingua-compat.toml](../configs/lingua-compat.toml) | the values that deployments of \
the Lingua scheduler run with |
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. `allowed` is text for people with the unit in it; `default` is a TOML value."""

    name: str
    help: str
    allowed: str
    default: str


@dataclass(frozen=True, slots=True)
class Table:
    """A TOML table: its dotted path, "" for the top level, and its keys."""

    path: str
    help: str
    settings: tuple[Setting, ...]


def tables() -> Iterator[Table]:
    """Yield all tables that have keys, the top level first, in the order of the file."""
    return _tables("", Config)


def render() -> str:
    """Return configs/default.toml."""
    parts = [_TOML_INTRO]
    for table in tables():
        lines = [f"\n# --- {table.help}"]
        if table.path:
            lines.append(f"[{table.path}]")
        for setting in table.settings:
            comment = setting.help
            if setting.allowed not in _SELF_EVIDENT:
                comment += f" [{setting.allowed}]"
            lines.append(textwrap.fill(comment, 100, initial_indent="# ", subsequent_indent="# "))
            lines.append(f"{setting.name} = {setting.default}")
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def render_markdown() -> str:
    """Return docs/configuration.md."""
    parts = [_MARKDOWN_INTRO]
    for table in tables():
        lines = [
            f"\n## `{table.path}`\n" if table.path else "\n## Top level\n",
            f"{table.help}\n",
            "| key | default | allowed | meaning |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{s.name}` | `{s.default}` | {s.allowed} | {_escape(s.help)} |"
            for s in table.settings
        ]
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def write(root: Path) -> None:
    """Rewrite both files in the checkout at `root`."""
    (root / "configs" / "default.toml").write_text(render())
    (root / "docs" / "configuration.md").write_text(render_markdown())


def _tables(path: str, struct: type[Struct]) -> Iterator[Table]:
    nested: list[tuple[str, type[Struct]]] = []
    settings: list[Setting] = []
    for info in msgspec.structs.fields(struct):
        if isinstance(info.type, type) and issubclass(info.type, Struct):
            nested.append((f"{path}.{info.name}".lstrip("."), info.type))
        else:
            settings.append(_setting(info))
    if settings:
        yield Table(path, _summary(struct), tuple(settings))
    for name, table in nested:
        yield from _tables(name, table)


def _setting(info: msgspec.structs.FieldInfo) -> Setting:
    kind = msgspec.inspect.type_info(info.type)
    description = ""
    if isinstance(kind, Metadata):
        description = (kind.extra_json_schema or {})["description"]
        kind = kind.type
    default = info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory()
    unit = next((u for suffix, u in _UNITS.items() if f"_{info.name}".endswith(suffix)), "")
    allowed = f"{_allowed(kind, unit)} {unit}".rstrip()
    if unit == "bytes":
        allowed = f"{_allowed(kind, unit)}; {default:,} is {_number(default, unit)}"
    return Setting(info.name, description, allowed, _toml(default))


def _summary(struct: type[Struct]) -> str:
    return " ".join((struct.__doc__ or "").split())


def _allowed(kind: Type, unit: str) -> str:
    match kind:
        case LiteralType(values):
            return " or ".join(_toml(value) for value in values)
        case BoolType():
            return "true or false"
        case IntType() | FloatType():
            return _range(kind, unit)
        case StrType():
            return f"text of at most {kind.max_length} characters" if kind.max_length else "text"
        case ListType():
            return f"list of {_allowed(kind.item_type, '')}"
        case DictType():
            most = f"at most {kind.max_length}: " if kind.max_length else ""
            return f"table of {most}{_allowed(kind.value_type, '')}"
        case StructType():
            return f"{{ {', '.join(field.name for field in kind.fields)} }}"
        case _:
            raise TypeError(f"no words for {kind}")


def _range(kind: IntType | FloatType, unit: str) -> str:
    least = f"above {_number(kind.gt, unit)}" if kind.gt is not None else _number(kind.ge, unit)
    return f"{least} to {_number(kind.le, unit)}"


def _number(value: float | None, unit: str) -> str:
    assert value is not None, "every number has both bounds"
    if unit == "bytes":
        for bits, prefix in _BINARY_PREFIXES:
            if value >= 1 << bits and value % (1 << bits) == 0:
                return f"{int(value) >> bits} {prefix}"
    return f"{value:,}"


def _toml(value: Any) -> str:
    # JSON's spelling of text, numbers, booleans and lists of them is TOML's too.
    return json.dumps(value, ensure_ascii=False)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    write(Path(__file__).parent.parent)
