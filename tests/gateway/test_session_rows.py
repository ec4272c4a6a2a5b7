"""Open sessions show in shared memory, within the gateway's own rows."""

from typing import Any

import msgspec
import pytest

from scheduler.config import Config, LimitSettings
from scheduler.errors import PeerError
from scheduler.gateway.session_rows import SessionRows
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.session import SessionInit
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import World

FEW = Config(limits=LimitSettings(sessions_per_gateway_max=2))


def init(**fields: Any) -> SessionInit:
    return SessionInit(
        **{"client_version": "1", "platform": "web", "src_lang": "en", "tgt_lang": "es", **fields}
    )


def column(world: World, name: str) -> list[Any]:
    return list(world.segment.views.column("sessions", name).tolist())


def test_a_row_shows_the_session(make_world: MakeWorld) -> None:
    world = make_world(FEW, gateways=2)
    rows = SessionRows(world.contexts[1])
    rows.open(init())
    rows.open(init(mode="two_way_auto", src_lang="auto", lang_a="de", lang_b="fr"))
    assert column(world, "open") == [0, 0, 1, 1]
    assert column(world, "source")[2:] == [b"en", b"de"]
    assert column(world, "target")[2:] == [b"es", b"fr"]
    assert column(world, "two_way")[2:] == [0, 1]
    assert world.count("sessions", 1) == world.count("sessions_opened_total", 1) == 2


def test_a_closed_row_is_used_again(make_world: MakeWorld) -> None:
    world = make_world(FEW)
    rows = SessionRows(world.contexts[0])
    first = rows.open(init())
    rows.close(first)
    assert column(world, "open") == [0, 0]
    assert rows.open(init()) == first
    assert world.count("sessions") == 1


def test_without_a_free_row_the_session_is_told_when_to_come_back(make_world: MakeWorld) -> None:
    rows = SessionRows(make_world(FEW).contexts[0])
    rows.open(init())
    rows.open(init())
    with pytest.raises(PeerError) as caught:
        rows.open(init())
    assert caught.value.code == ErrorCode.SERVER_BUSY
    assert caught.value.details is not None
    assert caught.value.details["retry_after_ms"] > 0


def test_a_restarted_gateway_clears_its_own_rows_only(make_world: MakeWorld) -> None:
    world = make_world(FEW, gateways=2)
    SessionRows(world.contexts[0]).open(init())
    SessionRows(world.contexts[1]).open(init())
    SessionRows(world.contexts[0])
    assert sum(column(world, "open")[:2]) == 0
    assert sum(column(world, "open")[2:]) == 1


def test_a_long_language_is_cut_to_whole_characters(world: World) -> None:
    SessionRows(world.contexts[0]).open(init(src_lang="語" * 9))
    source = next(value for value in column(world, "source") if value)
    assert source.decode() == "語" * 5


def test_the_struct_has_the_fields_that_are_shown() -> None:
    assert {"lang_a", "lang_b", "mode"} <= {f.name for f in msgspec.structs.fields(SessionInit)}
