"""Values that the fields of a message may not take, and those at their limits.

They are made from the types that the messages are declared with, so that a new field is tested by
being there. Values are JSON text, because much of what is hostile can't be said otherwise.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct, inspect

MARK = '"~here~"'
"""Stands in a message for the value that is put in its place."""

UNPARSABLE = (
    *("NaN", "Infinity", "-Infinity", "1.", ".5", "01", "+1", "0x10", "1_000", "1e", "-"),
    *("'x'", "undefined", "True", "nul", "[1,]", "{1:2}", '{"a":1,}', '"\\x41"', '"\t"'),
    *('"\\ud800"', '"\\udc00"', '"\\ud800\\ud800"', '"\\u12"'),
)
"""No JSON at all, or strings that are no text; messages about them can't name the field."""


class Odd(NamedTuple):
    """A message with one odd value."""

    path: str
    """Of the field, as "hardware.cpu_cores"; its last name stands in the refusal."""
    text: str
    is_json: bool = True


def message(base: dict[str, object], name: str, value: str) -> str:
    """Return `base` as JSON with that JSON text in the place of a field."""
    return json.dumps({**base, name: "~here~"}).replace(MARK, value)


def wrong_messages(kind: type[Struct], base: dict[str, object]) -> Iterator[Odd]:
    """Yield the message with each wrong value of each field, also of those inside it."""
    for field in fields(kind):
        for path, value in wrong(field.type):
            yield Odd(f"{field.name}{path}", message(base, field.name, value))
        if field.required:
            without = {name: value for name, value in base.items() if name != field.name}
            yield Odd(field.name, json.dumps(without))
        for value in UNPARSABLE:
            yield Odd(field.name, message(base, field.name, value), is_json=False)


def edge_messages(kind: type[Struct], base: dict[str, object]) -> Iterator[Odd]:
    """Yield the message with each field at its limits."""
    for field in fields(kind):
        for value in edges(field.type):
            yield Odd(field.name, message(base, field.name, value))


def plain(kind: type[Struct]) -> dict[str, object]:
    """Return a message with plain values, without its optional fields."""
    required = {f.name: json.loads(good(f.type)) for f in fields(kind) if f.required}
    return {"type": kind.__struct_config__.tag, **required}


def fields(kind: type[Struct]) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return info.fields


# --- wrong values -----------------------------------------------------------------------------


def wrong(info: inspect.Type) -> Iterator[tuple[str, str]]:
    """Yield (path below the field, value) for values that are not of the type."""
    if isinstance(info, inspect.RawType):
        return  # taken as they are; what must be text is tested by hand
    options = info.types if isinstance(info, inspect.UnionType) else (info,)
    if not any(isinstance(option, inspect.NoneType) for option in options):
        yield "", "null"
    [option] = [option for option in options if not isinstance(option, inspect.NoneType)]
    yield from ((("", value)) for value in _other_kinds(option))
    if isinstance(option, inspect.IntType):
        yield from ((("", value)) for value in _wrong_ints(option))
    elif isinstance(option, inspect.FloatType):
        yield from ((("", value)) for value in _wrong_floats(option))
    elif isinstance(option, inspect.StrType):
        yield from ((("", value)) for value in _wrong_texts(option))
    elif isinstance(option, inspect.ListType):
        yield from _wrong_lists(option)
    elif isinstance(option, inspect.DictType):
        yield from _wrong_dicts(option)
    elif isinstance(option, inspect.StructType):
        yield from _wrong_structs(option)


def _other_kinds(info: inspect.Type) -> Iterator[str]:
    samples = {
        inspect.BoolType: ("true",),
        inspect.IntType: ("1",),
        inspect.FloatType: ("1", "1.5"),
        inspect.StrType: ('"text"',),
        inspect.LiteralType: (),
        inspect.ListType: ("[]", "[1]"),
        inspect.DictType: ("{}",),
        inspect.StructType: ("{}",),
    }
    own = samples[type(info)]
    every = ("true", "false", "1", "0", "1.5", '"text"', '""', "[]", "[[]]", "{}")
    same = {"true": "false", '"text"': '""', "1": "0", "[]": "[[]]"}
    allowed = {*own, *(same[sample] for sample in own if sample in same)}
    yield from (value for value in every if value not in allowed)


def _wrong_ints(info: inspect.IntType) -> Iterator[str]:
    yield from ("1.0", "1e3", "1e400", "-1e400", "1e-400", '"1"', "9" * 5_000)
    if info.ge is not None:
        yield str(info.ge - 1)
        yield str(-(10**40))
    if info.le is not None:
        yield str(info.le + 1)
        yield str(10**40)


def _wrong_floats(info: inspect.FloatType) -> Iterator[str]:
    yield from ("1e400", "-1e400", "9" * 400, '"1.5"')
    if info.ge is not None:
        yield str(info.ge - 0.001)
    if info.le is not None:
        yield str(info.le + 0.001)


def _wrong_texts(info: inspect.StrType) -> Iterator[str]:
    if info.max_length is not None:
        for character in ("x", "字", "\\u0000"):
            yield f'"{character * (info.max_length + 1)}"'
    if info.min_length:
        yield f'"{"x" * (info.min_length - 1)}"'


def _wrong_lists(info: inspect.ListType) -> Iterator[tuple[str, str]]:
    if info.max_length is not None:
        yield "", f"[{','.join([good(info.item_type)] * (info.max_length + 1))}]"
    for path, value in wrong(info.item_type):
        yield path, f"[{value}]"
        yield path, f"[{good(info.item_type)},{value}]"


def _wrong_dicts(info: inspect.DictType) -> Iterator[tuple[str, str]]:
    if info.max_length is not None:
        entries = (f'"{n}":{good(info.value_type)}' for n in range(info.max_length + 1))
        yield "", f"{{{','.join(entries)}}}"
    for path, value in wrong(info.value_type):
        yield path, f'{{"key":{value}}}'
    for _, key in wrong(info.key_type):
        if key.startswith('"'):
            yield "", f"{{{key}:{good(info.value_type)}}}"


def _wrong_structs(info: inspect.StructType) -> Iterator[tuple[str, str]]:
    base = {field.name: json.loads(good(field.type)) for field in info.fields if field.required}
    for field in info.fields:
        for path, value in wrong(field.type):
            yield f".{field.name}{path}", message(base, field.name, value)
        if field.required:
            yield (
                f".{field.name}",
                json.dumps({name: v for name, v in base.items() if name != field.name}),
            )


# --- good values ------------------------------------------------------------------------------


def good(info: inspect.Type) -> str:
    """Return a plain value of the type."""
    return next(edges(info))


def edges(info: inspect.Type) -> Iterator[str]:
    """Yield values at the limits of the type, a plain one first."""
    if isinstance(info, inspect.UnionType):
        for option in sorted(info.types, key=lambda t: isinstance(t, inspect.NoneType)):
            yield from edges(option)
    elif isinstance(info, inspect.BoolType):
        yield from ("true", "false")
    elif isinstance(info, inspect.IntType):
        least = -(2**63) if info.ge is None else info.ge
        yield str(max(1, least))
        if least <= 0:
            yield "-0"
        yield str(least)
        yield str(2**64 if info.le is None else info.le)
    elif isinstance(info, inspect.FloatType):
        yield from ("1", "0.5", "-0.0", "1e-400")
        yield str(1e308 if info.le is None else info.le)
    elif isinstance(info, inspect.StrType):
        yield from _edge_texts(info)
    elif isinstance(info, inspect.LiteralType):
        yield from map(json.dumps, info.values)
    elif isinstance(info, inspect.ListType):
        yield "[]"
        yield from (f"[{value}]" for value in edges(info.item_type))
        yield f"[{','.join([good(info.item_type)] * (info.max_length or 1))}]"
    elif isinstance(info, inspect.DictType):
        yield "{}"
        yield from (f'{{"key":{value}}}' for value in edges(info.value_type))
        entries = (f'"{n}":{good(info.value_type)}' for n in range(info.max_length or 1))
        yield f"{{{','.join(entries)}}}"
    elif isinstance(info, inspect.StructType):
        yield from _edge_structs(info)
    else:
        assert isinstance(info, inspect.RawType | inspect.NoneType)
        yield "null"


def _edge_texts(info: inspect.StrType) -> Iterator[str]:
    yield '"text"'
    if not info.min_length:
        yield '""'
    length = info.max_length or 10_000
    for character in ("x", "字", "\\n", "\\u0000"):
        yield f'"{character * length}"'


def _edge_structs(info: inspect.StructType) -> Iterator[str]:
    base = {field.name: json.loads(good(field.type)) for field in info.fields if field.required}
    yield json.dumps(base)
    for field in info.fields:
        yield from (message(base, field.name, value) for value in edges(field.type))
