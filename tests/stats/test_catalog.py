import asyncio
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from scheduler.stats import catalog
from scheduler.stats.catalog import (
    BAD_TOLD_MAX,
    INDEX_BYTES_MAX,
    INDEX_ENTRIES_MAX,
    INDEX_NAME,
    PROBLEM_CHARS_MAX,
    EmptyCatalogue,
    FileCatalogue,
    Index,
    parse_index,
    read_index,
)
from scheduler.stats.schema import CatalogueState

DEADLINE_SECONDS = 10.0


def service(service_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "service_id": service_id,
        "name": service_id.upper(),
        "latest_version": "1.2.0",
        "variants": [
            {
                "version": "1.2.0",
                "platform": "linux-x64",
                "artifact": {
                    "type": "zip",
                    "url": f"http://hub/{service_id}.zip",
                    "sha256": "00ff",
                    "size_bytes": 1234,
                },
            }
        ],
        **changes,
    }


def index(*entries: dict[str, Any]) -> bytes:
    return json.dumps({entry["service_id"]: entry for entry in entries}).encode()


def put(folder: Path, data: bytes) -> None:
    """Replace the index; the clock's grain may be coarser than two writes are apart."""
    path = folder / INDEX_NAME
    draft = folder / "draft"
    draft.write_bytes(data)
    draft.replace(path)


def ids(catalogue: FileCatalogue) -> list[str]:
    return [entry.service_id for entry in catalogue.services()]


def look(catalogue: FileCatalogue) -> None:
    asyncio.run(catalogue.look())


def test_an_index_comes_back_as_it_was_written_sorted_by_id(tmp_path: Path) -> None:
    put(tmp_path, index(service("tts"), service("asr")))
    catalogue = FileCatalogue(tmp_path)
    look(catalogue)
    assert msgspec.to_builtins(catalogue.services()) == [service("asr"), service("tts")]


def test_unknown_fields_are_ignored() -> None:
    [found] = parse_index(index(service("asr", colour="blue"))).services
    assert msgspec.to_builtins(found) == service("asr")


def test_asking_reads_nothing(tmp_path: Path) -> None:
    catalogue = FileCatalogue(tmp_path)
    put(tmp_path, index(service("asr")))
    assert catalogue.services() == []
    assert catalogue.state() == CatalogueState("file")


def test_a_replaced_index_is_read_at_the_next_look(tmp_path: Path) -> None:
    catalogue = FileCatalogue(tmp_path)
    for service_id in ("asr", "nmt"):
        put(tmp_path, index(service(service_id)))
        look(catalogue)
        assert ids(catalogue) == [service_id]


def test_an_unchanged_index_is_not_read_again(tmp_path: Path) -> None:
    put(tmp_path, index(service("asr")))
    catalogue = FileCatalogue(tmp_path)
    look(catalogue)
    services = catalogue.services()
    look(catalogue)
    assert catalogue.services() is services


def test_it_looks_again_and_again(tmp_path: Path) -> None:
    catalogue = FileCatalogue(tmp_path)

    async def run() -> None:
        looking = asyncio.create_task(catalogue.run(interval_seconds=0.01))
        await catalogue.wait_looked(DEADLINE_SECONDS)
        assert ids(catalogue) == []
        put(tmp_path, index(service("asr")))
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not ids(catalogue):
                await asyncio.sleep(0.01)
        looking.cancel()
        await asyncio.wait({looking})

    asyncio.run(run())


def test_nobody_waits_long_for_the_first_look(tmp_path: Path) -> None:
    asyncio.run(FileCatalogue(tmp_path).wait_looked(0.01))


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"not json",
        b"[1, 2]",
        b"\xff\xfe\x00",
        b'{"a": "\xff"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        index(service("tts"))[:-1],
    ],
)
def test_garbage_is_read_once_and_leaves_the_services_as_they_were(
    tmp_path: Path, garbage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def reading(path: Path) -> Index:
        read.append(path)
        return read_index(path)

    monkeypatch.setattr(catalog, "read_index", reading)
    catalogue = FileCatalogue(tmp_path)
    put(tmp_path, index(service("asr")))
    look(catalogue)
    put(tmp_path, garbage)
    with capture_logs() as logs:
        for _ in range(3):
            look(catalogue)
            assert ids(catalogue) == ["asr"]
    assert len(read) == 2
    assert [entry["event"] for entry in logs] == ["service index not read"]
    assert catalogue.state().last_error == logs[0]["problem"]
    put(tmp_path, index(service("nmt")))
    look(catalogue)
    assert ids(catalogue) == ["nmt"]
    assert catalogue.state().last_error == ""


def test_a_bad_entry_leaves_out_itself_alone() -> None:
    bad = [
        service("no-list", variants="none"),
        service("no-name", name=None),
        service("negative", variants=[{**service("x")["variants"][0], "artifact": {}}]),
    ]
    found = parse_index(index(service("asr"), *bad))
    assert [entry.service_id for entry in found.services] == ["asr"]
    assert found.bad_total == 3
    assert [told.split(":")[0] for told in found.bad_first] == ["negative", "no-list", "no-name"]


def test_bad_entries_are_told_in_one_line_of_bounded_length(tmp_path: Path) -> None:
    entries = {f"{number:0200}": 0 for number in range(INDEX_ENTRIES_MAX)}
    put(tmp_path, json.dumps(entries).encode())
    catalogue = FileCatalogue(tmp_path)
    with capture_logs() as logs:
        look(catalogue)
        look(catalogue)
    [told] = logs
    assert (told["event"], told["count"]) == ("bad entries in service index", INDEX_ENTRIES_MAX)
    assert len(told["first"]) == BAD_TOLD_MAX
    assert max(map(len, told["first"])) <= PROBLEM_CHARS_MAX


def test_too_many_entries_are_no_index() -> None:
    entries = dict.fromkeys(map(str, range(INDEX_ENTRIES_MAX + 1)), 0)
    with pytest.raises(ValueError, match=str(INDEX_ENTRIES_MAX)):
        parse_index(json.dumps(entries).encode())


def test_a_vanished_index_leaves_the_services(tmp_path: Path) -> None:
    put(tmp_path, index(service("asr")))
    catalogue = FileCatalogue(tmp_path)
    look(catalogue)
    (tmp_path / INDEX_NAME).rename(tmp_path / "away")
    look(catalogue)
    assert ids(catalogue) == ["asr"]
    assert catalogue.state().last_error
    (tmp_path / "away").rename(tmp_path / INDEX_NAME)
    look(catalogue)
    assert catalogue.state().last_error == ""


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / INDEX_NAME)
    catalogue = FileCatalogue(tmp_path)
    look(catalogue)
    assert catalogue.state().last_error == "not a file"


def test_a_huge_file_is_not_taken(tmp_path: Path) -> None:
    with (tmp_path / INDEX_NAME).open("wb") as file:
        file.truncate(INDEX_BYTES_MAX + 1)
    catalogue = FileCatalogue(tmp_path)
    look(catalogue)
    assert catalogue.state().last_error == f"more than {INDEX_BYTES_MAX >> 20} MiB"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(list(service("a"))) | st.text(max_size=3), inner)
        ),
        max_leaves=12,
    )
)
def test_any_json_either_parses_or_is_refused(document: object) -> None:
    try:
        found = parse_index(json.dumps(document).encode())
    except ValueError:
        return
    assert isinstance(document, dict)
    assert len(found.services) + found.bad_total == len(document)


def test_no_catalogue_has_no_services() -> None:
    assert EmptyCatalogue().services() == []
