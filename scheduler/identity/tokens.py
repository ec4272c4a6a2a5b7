"""Opaque tokens, of which a file holds the hashes.

# name     SHA-256 of the token   options
web-app    9f86d081…              tenant=acme  expires=2027-01-31
node-7     60303ae2…              node_id=node-7
"""

import hashlib
import re
import secrets
from datetime import UTC, date, datetime, time

from scheduler.identity.credentials import TokenEntry
from scheduler.identity.entries import Entry, read_entries
from scheduler.identity.holder import Holder, Unproven

PREFIX = "lingua_"
"""So that people and secret scanners know one when they see it."""

NAME_CHARS_MAX = 64
TENANT_CHARS_MAX = 256
"""As for `tenant_id` in session_init."""
NODE_ID_CHARS_MAX = 64

SESSION_OPTIONS = ("tenant", "expires")
NODE_OPTIONS = ("node_id", "expires")

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHARS_MAX = {"tenant": TENANT_CHARS_MAX, "node_id": NODE_ID_CHARS_MAX}


class TokenBook:
    """The tokens that are good at one door."""

    def __init__(self, entries: list[TokenEntry]) -> None:
        # A lookup by hash, not compare_digest over all entries. What its time could tell is how
        # much of a stored hash the shown token's hash matches, and whoever learns a whole hash
        # that way still needs a token that has it: a preimage of SHA-256. In return a guess costs
        # us the same however many tokens there are.
        self._entries = {entry.digest: entry for entry in entries}
        self.node_ids = frozenset(entry.node_id for entry in entries if entry.node_id)
        """Nodes that only their own tokens may register, expired ones included."""

    def holder(self, token: str, now_s: float) -> Holder | Unproven:
        """Return whose token it is."""
        entry = self._entries.get(digest_of(token))
        if entry is None:
            return Unproven("unknown token")
        if entry.expires_s and now_s >= entry.expires_s:
            return Unproven(f"token of {entry.name} has expired")
        return Holder(entry.name, entry.tenant, entry.node_id)


def new_token() -> str:
    """Return a token that nobody can guess: 256 random bits."""
    return PREFIX + secrets.token_hex(32)


def digest_of(token: str) -> bytes:
    """Return what a file holds in a token's place.

    A plain hash is enough. Salt and a slow hash are for secrets that people think up, which can be
    tried out one by one; 2^256 tokens can't.
    """
    return hashlib.sha256(token.encode()).digest()


def is_word(text: str, chars_max: int) -> bool:
    """Return whether `text` can stand in a line."""
    one = text.split() == [text] and not text.startswith("#")
    return one and text.isprintable() and len(text) <= chars_max


def line_of(entry: TokenEntry) -> str:
    """Return the line of a file that reads as `entry`."""
    expires = datetime.fromtimestamp(entry.expires_s, UTC).isoformat() if entry.expires_s else ""
    options = {"tenant": entry.tenant, "node_id": entry.node_id, "expires": expires}
    words = [f"{name}={text}" for name, text in options.items() if text]
    return " ".join([entry.name, entry.digest.hex(), *words])


def read_tokens(key: str, path: str, options: tuple[str, ...]) -> list[TokenEntry]:
    """Return the entries of a file; raise ConfigError that names the line and what is wrong."""
    entries: list[TokenEntry] = []
    seen: dict[bytes, int] = {}
    for line in read_entries(key, path):
        entry = _entry(line, options)
        if entry.digest in seen:
            raise line.wrong(f"the same token as in line {seen[entry.digest]}")
        seen[entry.digest] = line.number
        entries.append(entry)
    return entries


def _entry(line: Entry, options: tuple[str, ...]) -> TokenEntry:
    name, *rest = line.words
    # What stands in a wrong place is not shown: it may be the token itself.
    if not is_word(name, NAME_CHARS_MAX) or name.startswith(PREFIX):
        raise line.wrong(
            f"a name comes first, printable, of at most {NAME_CHARS_MAX} characters; never the "
            "token itself"
        )
    if not rest or not _DIGEST.fullmatch(rest[0].lower()):
        raise line.wrong(
            "after the name must come the SHA-256 of a token, 64 hex digits; "
            "`lingua-scheduler token new` prints such a line"
        )
    found = line.options(2, options)
    for option, chars_max in _CHARS_MAX.items():
        if option in found and not is_word(found[option], chars_max):
            raise line.wrong(f"{option}= must be printable and at most {chars_max} characters")
    return TokenEntry(
        name,
        bytes.fromhex(rest[0]),
        found.get("tenant", ""),
        found.get("node_id", ""),
        _expiry(line, found["expires"]) if "expires" in found else 0,
    )


def _expiry(line: Entry, text: str) -> int:
    moment = _moment(text)
    if moment is None:
        raise line.wrong(
            "expires= must be the day from which on the token is refused, as 2027-01-31, or a "
            "moment with its zone, as 2027-01-31T12:00:00Z"
        )
    return max(1, int(moment.timestamp()))


def _moment(text: str) -> datetime | None:
    try:
        return datetime.combine(date.fromisoformat(text), time.min, UTC)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
