import inspect
import types
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.protocol import records
from scheduler.protocol.records import ToDispatcher, ToGateway

MEMBERS = {"ToDispatcher": typing.get_args(ToDispatcher), "ToGateway": typing.get_args(ToGateway)}
DECODERS: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "ToDispatcher": msgspec.msgpack.Decoder(list[ToDispatcher]),
    "ToGateway": msgspec.msgpack.Decoder(list[ToGateway]),
}

SCALARS: dict[object, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    bytes: st.binary(max_size=8),
    types.NoneType: st.none(),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for any value of a field's type."""
    if kind in SCALARS:
        return SCALARS[kind]
    if typing.get_origin(kind) is list:
        return st.lists(values(typing.get_args(kind)[0]), max_size=3)
    if typing.get_origin(kind) is dict:
        key, value = typing.get_args(kind)
        return st.dictionaries(values(key), values(value), max_size=3)
    if isinstance(kind, types.UnionType):
        return st.one_of([values(member) for member in typing.get_args(kind)])
    return st.builds(
        kind, **{field.name: values(field.type) for field in msgspec.structs.fields(kind)}
    )


@pytest.mark.parametrize("name", MEMBERS)
@given(data=st.data())
def test_batches_survive_the_pipe(name: str, data: st.DataObject) -> None:
    batch = data.draw(st.lists(st.one_of([values(kind) for kind in MEMBERS[name]]), max_size=5))
    assert DECODERS[name].decode(msgspec.msgpack.encode(batch)) == batch


@pytest.mark.parametrize("kind", [*MEMBERS["ToDispatcher"], *MEMBERS["ToGateway"]])
@settings(max_examples=10)
@given(data=st.data())
def test_each_record_is_an_array_with_its_tag_first(kind: Any, data: st.DataObject) -> None:
    record = data.draw(values(kind))
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(record))
    assert isinstance(fields, list)
    assert fields[0] == kind.__struct_config__.tag
    assert len(fields) == 1 + len(kind.__struct_fields__)


@pytest.mark.parametrize("name", MEMBERS)
def test_tags_of_a_direction_are_unique_and_without_gaps(name: str) -> None:
    tags = [kind.__struct_config__.tag for kind in MEMBERS[name]]
    assert sorted(tags) == list(range(1, len(tags) + 1))


def test_each_tagged_record_belongs_to_one_direction() -> None:
    tagged = {
        kind
        for _, kind in inspect.getmembers(records, inspect.isclass)
        if issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag is not None
    }
    members = [*MEMBERS["ToDispatcher"], *MEMBERS["ToGateway"]]
    assert set(members) == tagged
    assert len(members) == len(tagged)


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("batch", [[[99]], [[0, 1]], [[1]], [["x"]], [1], [[1, "x", "y", "z"]]])
def test_what_no_peer_writes_is_refused(name: str, batch: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        DECODERS[name].decode(msgspec.msgpack.encode(batch))
