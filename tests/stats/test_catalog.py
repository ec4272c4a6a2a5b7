import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from scheduler.stats.catalog import (
    INDEX_BYTES_MAX,
    INDEX_NAME,
    EmptyCatalogue,
    FileCatalogue,
    parse_index,
)


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


def test_an_index_comes_back_as_it_was_written_sorted_by_id(tmp_path: Path) -> None:
    put(tmp_path, index(service("tts"), service("asr")))
    services = FileCatalogue(tmp_path).services()
    assert msgspec.to_builtins(services) == [service("asr"), service("tts")]


def test_unknown_fields_are_ignored() -> None:
    [found] = parse_index(index(service("asr", colour="blue")))
    assert msgspec.to_builtins(found) == service("asr")


def test_a_replaced_index_is_read_again(tmp_path: Path) -> None:
    catalogue = FileCatalogue(tmp_path)
    assert ids(catalogue) == []
    put(tmp_path, index(service("asr")))
    assert ids(catalogue) == ["asr"]
    put(tmp_path, index(service("nmt")))
    assert ids(catalogue) == ["nmt"]


def test_an_unchanged_index_is_not_read_again(tmp_path: Path) -> None:
    put(tmp_path, index(service("asr")))
    catalogue = FileCatalogue(tmp_path)
    assert catalogue.services() is catalogue.services()


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
    ],
)
def test_garbage_leaves_the_services_as_they_were(tmp_path: Path, garbage: bytes) -> None:
    catalogue = FileCatalogue(tmp_path)
    put(tmp_path, index(service("asr")))
    assert ids(catalogue) == ["asr"]
    put(tmp_path, garbage)
    with capture_logs() as logs:
        assert ids(catalogue) == ["asr"]
        assert ids(catalogue) == ["asr"]
    assert [entry["event"] for entry in logs] == ["service index not read"]
    put(tmp_path, index(service("nmt")))
    assert ids(catalogue) == ["nmt"]


def test_a_bad_entry_leaves_out_itself_alone() -> None:
    bad = [
        service("no-list", variants="none"),
        service("no-name", name=None),
        service("negative", variants=[{**service("x")["variants"][0], "artifact": {}}]),
    ]
    with capture_logs() as logs:
        services = parse_index(index(service("asr"), *bad))
    assert [entry.service_id for entry in services] == ["asr"]
    assert {entry["service_id"] for entry in logs} == {"no-list", "no-name", "negative"}


def test_a_vanished_index_leaves_the_services(tmp_path: Path) -> None:
    put(tmp_path, index(service("asr")))
    catalogue = FileCatalogue(tmp_path)
    assert ids(catalogue) == ["asr"]
    (tmp_path / INDEX_NAME).unlink()
    assert ids(catalogue) == ["asr"]


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / INDEX_NAME)
    assert FileCatalogue(tmp_path).services() == []


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / INDEX_NAME).open("wb") as file:
        file.truncate(INDEX_BYTES_MAX + 1)
    with capture_logs() as logs:
        assert FileCatalogue(tmp_path).services() == []
    assert str(INDEX_BYTES_MAX) in logs[0]["problem"]


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
        services = parse_index(json.dumps(document).encode())
    except ValueError:
        return
    assert isinstance(document, dict)
    assert len(services) <= len(document)


def test_no_catalogue_has_no_services() -> None:
    assert EmptyCatalogue().services() == []
