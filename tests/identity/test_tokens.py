"""Opaque tokens: their file, and who holds one."""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import ConfigError
from scheduler.identity.credentials import TokenEntry
from scheduler.identity.holder import Holder, Unproven
from scheduler.identity.tokens import (
    NODE_OPTIONS,
    PREFIX,
    SESSION_OPTIONS,
    TokenBook,
    digest_of,
    is_word,
    line_of,
    new_token,
    read_tokens,
)

DIGEST = digest_of("a token")
KEY = "identity.session_tokens_path"


def read(folder: Path, text: str, options: tuple[str, ...] = SESSION_OPTIONS) -> list[TokenEntry]:
    path = folder / "tokens"
    path.write_text(text)
    return read_tokens(KEY, str(path), options)


def test_a_token_is_random_and_its_hash_is_plain_sha_256() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    for token in made:
        assert token.startswith(PREFIX)
        assert len(bytes.fromhex(token.removeprefix(PREFIX))) == 32
    assert digest_of("abc") == hashlib.sha256(b"abc").digest()


def test_a_line_says_whose_token_it_is_and_for_how_long(tmp_path: Path) -> None:
    text = (
        f"web {DIGEST.hex().upper()} tenant=acme expires=2027-01-31\n"
        f"api {'0' * 64} expires=2027-01-31T12:00:00+02:00\n"
        f"any {'1' * 64}\n"
    )
    day = int(datetime(2027, 1, 31, tzinfo=UTC).timestamp())
    assert read(tmp_path, text) == [
        TokenEntry("web", DIGEST, tenant="acme", expires_s=day),
        TokenEntry("api", bytes(32), expires_s=day + 10 * 3600),
        TokenEntry("any", b"\x11" * 32),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("web", "after the name must come the SHA-256"),
        (f"web {'0' * 63}", "64 hex digits"),
        (f"web {'g' * 64}", "64 hex digits"),
        (f"{PREFIX}0 {'0' * 64}", "never the token itself"),
        (f"{'n' * 65} {'0' * 64}", "at most 64 characters"),
        (f"web {'0' * 64} node_id=n1", "only options may come: tenant=…, expires=…"),
        (f"web {'0' * 64} tenant={'t' * 257}", "tenant= must be printable and at most 256"),
        (f"web {'0' * 64} expires=tomorrow", "expires= must be the day"),
        (f"web {'0' * 64} expires=2027-01-31T12:00:00", "with its zone"),
        (f"web {'0' * 64} expires=2027-02-30", "expires= must be the day"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"# tokens\n{line}\n")
    message = str(caught.value)
    assert f"{tmp_path / 'tokens'}, line 2: " in message
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize("line", ["{}", "web {}", "web {} x", "{} {}", "web " + "0" * 64 + " {}"])
def test_a_token_in_a_wrong_place_is_not_repeated(tmp_path: Path, line: str) -> None:
    token = new_token()
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, line.format(token, token))
    assert token not in str(caught.value)


def test_one_token_stands_once_but_a_name_may_repeat(tmp_path: Path) -> None:
    digests = "0" * 64, "1" * 64
    old_and_new = "".join(f"web {digest}\n" for digest in digests)
    assert [entry.name for entry in read(tmp_path, old_and_new)] == ["web", "web"]
    with pytest.raises(ConfigError, match="line 3: the same token as in line 1"):
        read(tmp_path, f"{old_and_new}api {digests[0]}\n")


def test_nodes_have_other_options(tmp_path: Path) -> None:
    (entry,) = read(tmp_path, f"n {'0' * 64} node_id=node-7", NODE_OPTIONS)
    assert entry.node_id == "node-7"
    with pytest.raises(ConfigError, match="only options may come: node_id=…, expires=…"):
        read(tmp_path, f"n {'0' * 64} tenant=t", NODE_OPTIONS)


WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40).filter(
    lambda text: is_word(text, 40)
)


@given(
    WORDS.filter(lambda name: not name.startswith(PREFIX)),
    st.binary(min_size=32, max_size=32),
    st.one_of(st.just(""), WORDS),
    st.integers(0, 4_000_000_000),
)
def test_what_is_printed_reads_as_what_was_meant(
    tmp_path_factory: pytest.TempPathFactory, name: str, digest: bytes, tenant: str, expires: int
) -> None:
    entry = TokenEntry(name, digest, tenant, "", expires)
    path = tmp_path_factory.getbasetemp() / "round-trip"
    path.write_text(line_of(entry), encoding="utf-8")
    assert read_tokens(KEY, str(path), SESSION_OPTIONS) == [entry]


@given(st.binary(max_size=200) | st.text(max_size=60).map(f"w {'0' * 64} {{}}".format))
def test_whatever_a_file_holds_it_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        entries = read_tokens(KEY, str(path), SESSION_OPTIONS)
    except ConfigError as error:
        problem = str(error)
    else:
        problem = "" if entries else "no entry, and no word about it"
    assert problem.count("\n") == 0
    assert not problem or str(path) in problem


@given(st.text("0123456789-:TZ+W. ", max_size=24).map(lambda text: text.replace(" ", "")))
def test_any_expiry_is_a_moment_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_text(f"w {'0' * 64} expires={text}\n")
    with suppress(ConfigError):
        (entry,) = read_tokens(KEY, str(path), SESSION_OPTIONS)
        assert entry.expires_s > 0


BOOK = TokenBook(
    [
        TokenEntry("web", digest_of("right"), tenant="acme"),
        TokenEntry("old", digest_of("over"), node_id="n1", expires_s=100),
        TokenEntry("new", digest_of("soon over"), node_id="n1", expires_s=101),
    ]
)


def test_a_right_token_names_its_holder() -> None:
    assert BOOK.holder("right", 1e9) == Holder("web", tenant="acme")
    assert BOOK.holder("soon over", 100.9) == Holder("new", node_id="n1")


def test_an_expired_token_is_none_from_that_second_on() -> None:
    assert isinstance(BOOK.holder("over", 99.9), Holder)
    assert BOOK.holder("over", 100.0) == Unproven("token of old has expired")


def test_nodes_stay_bound_to_expired_tokens() -> None:
    assert BOOK.node_ids == {"n1"}


@given(st.text(max_size=80))
def test_anything_else_is_unknown(shown: str) -> None:
    if shown not in {"right", "over", "soon over"}:
        assert BOOK.holder(shown, 0) == Unproven("unknown token")
