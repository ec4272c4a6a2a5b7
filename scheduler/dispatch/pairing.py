"""Pairing codes: single use, short-lived, and guessing them is limited."""

from collections import OrderedDict

from scheduler.config import PairingSettings
from scheduler.dispatch.settings import nanoseconds
from scheduler.protocol.codes import ErrorCode

_ADDRESSES_MAX = 10_000


class PairingDesk:
    """Codes that nodes offered, and how often sessions guessed wrong.

    Six digits are few: what keeps them unguessable is that wrong guesses count, per address and
    in all, and that over the limit even a right code is refused until the window is over.
    """

    def __init__(self, settings: PairingSettings) -> None:
        self._ttl_ns = nanoseconds(settings.code_ttl_seconds)
        self._window_ns = nanoseconds(settings.window_seconds)
        self._per_address_max = settings.wrong_per_address_max
        self._total_max = settings.wrong_total_max
        self._codes: dict[str, tuple[int, int]] = {}
        self._code_of: dict[int, str] = {}
        self._wrong: OrderedDict[str, int] = OrderedDict()
        self._wrong_total = 0
        self._window_started_ns = 0

    def offer(self, code: str, node: int, now_ns: int) -> bool:
        """Take a code for `node` in place of its earlier one; False where another has it."""
        held = self._codes.get(code)
        if held is not None and held[0] != node:
            if held[1] > now_ns:
                return False
            self.withdraw(held[0])
        self.withdraw(node)
        self._codes[code] = (node, now_ns + self._ttl_ns)
        self._code_of[node] = code
        return True

    def withdraw(self, node: int) -> None:
        """Drop the code of `node`, if it has one."""
        code = self._code_of.pop(node, None)
        if code is not None:
            del self._codes[code]

    def claim(self, code: str, address: str, now_ns: int) -> int | ErrorCode:
        """Return the node that `code` stands for and use the code up, or the refusal's code."""
        if now_ns - self._window_started_ns >= self._window_ns:
            self._window_started_ns = now_ns
            self._wrong.clear()
            self._wrong_total = 0
        if (
            self._wrong.get(address, 0) >= self._per_address_max
            or self._wrong_total >= self._total_max
        ):
            return ErrorCode.RATE_LIMITED
        node, expires_ns = self._codes.get(code, (0, 0))
        if expires_ns <= now_ns:
            self._wrong_total += 1
            self._wrong[address] = self._wrong.get(address, 0) + 1
            if len(self._wrong) > _ADDRESSES_MAX:
                self._wrong.popitem(last=False)
            return ErrorCode.INVALID_PAIRING_CODE
        self.withdraw(node)
        return node

    def expire(self, now_ns: int) -> None:
        """Drop codes whose time is over."""
        for node in [n for n, c in self._code_of.items() if self._codes[c][1] <= now_ns]:
            self.withdraw(node)
