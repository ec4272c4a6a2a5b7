"""Files of one entry a line, which operators write and rotate by hand.

    # a comment; blank lines are passed over
    NAME VALUE ... OPTION=TEXT ...     # so is what follows a word that begins with #

An error names the file, the line and what to write there.
"""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from scheduler.errors import ConfigError

FILE_BYTES_MAX = 1 << 20
"""About 8,000 tokens; who has more of them has an issuer of signed ones."""


class Entry(NamedTuple):
    """One line: where it stands, and its words."""

    source: str
    number: int
    words: list[str]

    def wrong(self, problem: str) -> ConfigError:
        """Return the error that says what is wrong with this line."""
        return ConfigError(f"{self.source}, line {self.number}: {problem}")

    def options(self, count: int, allowed: Collection[str]) -> dict[str, str]:
        """Return the words after the first `count` as options; each may stand once."""
        found: dict[str, str] = {}
        for word in self.words[count:]:
            name, _, text = word.partition("=")
            if name not in allowed or not text:
                choices = ", ".join(f"{name}=…" for name in allowed)
                # The word is not shown: it may be a token that came into the wrong place.
                raise self.wrong(f"after word {count} only options may come: {choices}")
            if name in found:
                raise self.wrong(f"{name}= stands twice")
            found[name] = text
        return found


def read_file(key: str, path: str | Path) -> bytes:
    """Return what the file of a setting holds; raise ConfigError that names `key` and the path."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # a zero byte in a name is the latter
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{key} = {str(path)!r} can't be read: {why}; name a file that this user may read"
        ) from error
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{key} = {str(path)!r} is longer than {FILE_BYTES_MAX} bytes")
    return data


def read_entries(key: str, path: str) -> list[Entry]:
    """Return the entries of the file of a setting, at least one.

    An empty file is an error: it would shut out everyone, and is what a save that failed leaves.
    """
    try:
        text = read_file(key, path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key} = {path!r} is not UTF-8 text") from error
    entries = [
        Entry(path, number, words)
        for number, line in enumerate(text.split("\n"), start=1)
        if (words := _words(line))
    ]
    if not entries:
        raise ConfigError(f"{key} = {path!r} has no entry, so nobody could connect; write one")
    return entries


def _words(line: str) -> list[str]:
    words = line.split()
    comment = next((n for n, word in enumerate(words) if word.startswith("#")), len(words))
    return words[:comment]
