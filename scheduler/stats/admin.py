"""Who may give commands: whoever shows the admin token."""

import hmac
import time
from collections import Counter
from collections.abc import Callable

from aiohttp import web

from scheduler.stats.responses import problem

WINDOW_SECONDS = 60
WRONG_PER_ADDRESS_MAX = 5
WRONG_TOTAL_MAX = 100

REFUSAL_REASONS = ("disabled", "limited", "missing", "wrong")

_SCHEME = "bearer"


class AdminGate:
    """Compares tokens in constant time and bounds how many wrong ones are tried."""

    def __init__(self, token: str, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """`token` "" lets nobody in."""
        self._token = token.encode()
        self._clock_ns = clock_ns
        self._window_ns = 0
        self._wrong: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """Refused requests by reason."""

    def refusal(self, request: web.Request) -> web.Response | None:
        """Return the answer to a request that may give no command, None to one that may."""
        if not self._token:
            return self._refuse(
                403, "Forbidden", "disabled", "no commands here; set server.admin_token"
            )
        address = request.remote or ""
        if self._is_limited(address):
            response = self._refuse(
                429, "Too Many Requests", "limited", "too many wrong tokens; try again later"
            )
            response.headers["Retry-After"] = str(WINDOW_SECONDS)
            return response
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == _SCHEME and hmac.compare_digest(_bytes_of(shown), self._token):
            return None
        reason = "missing"
        if shown:
            reason = "wrong"
            self._wrong[address] += 1
        response = self._refuse(
            401, "Unauthorized", reason, "show server.admin_token: Authorization: Bearer <token>"
        )
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    def _is_limited(self, address: str) -> bool:
        now_ns = self._clock_ns()
        if now_ns - self._window_ns >= WINDOW_SECONDS * 1_000_000_000:
            self._window_ns = now_ns
            self._wrong.clear()
        return (
            self._wrong[address] >= WRONG_PER_ADDRESS_MAX or self._wrong.total() >= WRONG_TOTAL_MAX
        )

    def _refuse(self, status: int, title: str, reason: str, detail: str) -> web.Response:
        self.refused[reason] += 1
        return problem(status, title, detail=detail)


def _bytes_of(shown: str) -> bytes:
    # Header bytes that are no UTF-8 come as lone surrogates, which can't be encoded otherwise.
    return shown.strip().encode(errors="surrogateescape")
