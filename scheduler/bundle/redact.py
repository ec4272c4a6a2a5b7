"""Takes secrets out of text and documents that are about to leave this machine.

Better too much than too little: what only looks like a secret goes too. Ids of nodes, jobs,
sessions and traces stay, for without them no two lines can be brought together.

Text is anything: log lines of ours or of a proxy, JSON inside of JSON with its quotes escaped,
values cut in the middle. No pattern takes more than time linear in the text.
"""

import re
from collections import Counter
from functools import partial
from typing import Any

import msgspec

from scheduler.config import MASK

_NAMES = (
    r"token|secret(?:[_-]?(?:access[_-]?)?key)?|passw(?:or)?d|passphrase|signature|credentials?"
    r"|(?:api|access|private)[_-]?key(?:[_-]?id)?"
)
"""Ends of names whose values are secret: `admin_token`, `X-Amz-Signature`."""

# A value: up to the quote that opened it, escaped as often; or, without one, to what ends a word.
_QUOTE = r"""(?:b?(?P<quote>\\{0,8}["']))?"""
_QUOTED = r"(?:(?!(?<!\\)(?P=quote))[^\r\n])*"
_WORD = r"""[^\s"'\\,;&<>)\]}]+"""
_IS = r"""\\{0,8}["']?\s{0,8}[:=]\s{0,8}"""
_SIX_DIGITS = r"(?P<secret>\d{6})(?!\d)"

# Kind, as the report names it, and what it looks like. Earlier ones win.
_PATTERNS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE | re.DOTALL))
    for kind, pattern in (
        (
            "private_key",
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?P<secret>.*?)(?=-----END|\Z)",
        ),
        (
            "authorization",
            r"""authorization\\{0,8}["']?\s{0,8}[:=,]\s{0,8}"""
            rf"{_QUOTE}(?P<secret>(?(quote){_QUOTED}|(?:digest\s[^\r\n]*"
            rf"|(?:(?:basic|bearer|negotiate|token)\s{{1,8}})?{_WORD})))",
        ),
        ("authorization", rf"\bbearer\s{{1,8}}(?P<secret>{_WORD})"),
        ("cookie", rf"cookie{_IS}{_QUOTE}(?P<secret>(?(quote){_QUOTED}|[^\r\n]+))"),
        ("token", rf"(?:{_NAMES}){_IS}{_QUOTE}(?P<secret>(?(quote){_QUOTED}|{_WORD}))"),
        # "eyJ" is base64 of {": the header of a JWT, cut or whole.
        ("jwt", r"(?<![\w-])(?P<secret>(?-i:eyJ)[\w-]{8,}(?:\.[\w-]*){0,4})"),
        ("url_password", r"://(?P<secret>[^\s/@\"'\\]{1,512})@"),
        ("pairing_code", rf"pairing[ _-]?code[^\d\r\n]{{0,40}}?{_SIX_DIGITS}"),
        ("pairing_code", rf"(?<![A-Za-z])code{_IS}{_QUOTE}{_SIX_DIGITS}"),
    )
)
_SECRET_NAME = re.compile(rf".*(?:{_NAMES}|authorization|cookie)|pairing_code", re.IGNORECASE)
_CODE = re.compile(r"\d{6}")
_HINTS = (
    *("authorization", "bearer", "code", "cookie", "credential", "eyj", "key", "passphrase"),
    *("passw", "secret", "signature", "token", "://"),
)
"""One of them is in all that the patterns match, in lower case. Looking for them takes a tenth of
the time, and tens of thousands of rows have none."""


class Redactor:
    """Masks secrets and counts, by kind, how many."""

    def __init__(self) -> None:
        self.removed: Counter[str] = Counter()

    def text(self, text: str) -> str:
        """Return `text` with "***" for each secret."""
        if not _hints(text):
            return text
        for kind, pattern in _PATTERNS:
            text = pattern.sub(partial(self._mask, kind), text)
        return text

    def document(self, value: Any) -> Any:
        """Return what JSON is made of with secrets, in texts and under their names, masked.

        Numbers stay: a figure may bear the name of what it counts.
        """
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, list | tuple | dict):
            return value
        if not _hints(msgspec.json.encode(value).decode()):
            return value
        if isinstance(value, dict):
            return {self.text(name): self._named(name, one) for name, one in value.items()}
        return [self.document(one) for one in value]

    def _named(self, name: str, value: Any) -> Any:
        if not isinstance(value, str) or value in {"", MASK}:
            return self.document(value)
        if _SECRET_NAME.fullmatch(name):
            self.removed["pairing_code" if name == "pairing_code" else "token"] += 1
            return MASK
        if name == "code" and _CODE.fullmatch(value):
            self.removed["pairing_code"] += 1
            return MASK
        return self.text(value)

    def _mask(self, kind: str, match: re.Match[str]) -> str:
        secret = match["secret"]
        if secret in {"", MASK}:
            return match[0]
        self.removed[kind] += 1
        begin, end = (at - match.start() for at in match.span("secret"))
        return match[0][:begin] + MASK + match[0][end:]


def _hints(text: str) -> bool:
    lowered = text.lower()
    return any(hint in lowered for hint in _HINTS)
