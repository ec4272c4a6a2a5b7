"""The rows of this gateway's open sessions in shared memory, for operators to read."""

from scheduler.gateway.context import GatewayContext
from scheduler.gateway.messages import busy
from scheduler.memory.layout import LANGUAGE_BYTES_MAX
from scheduler.protocol.session import SessionInit
from scheduler.protocol.text import cut_utf8


class SessionRows:
    """Gives out the rows. A gateway that was restarted clears what its predecessor left."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._limit = context.config.limits.sessions_per_gateway_max
        first = context.index * self._limit
        rows = slice(first, first + self._limit)
        column = context.views.column
        self._open = column("sessions", "open")[rows]
        self._started_ms = column("sessions", "started_ms")[rows]
        self._two_way = column("sessions", "two_way")[rows]
        self._source = column("sessions", "source")[rows]
        self._target = column("sessions", "target")[rows]
        self._open.fill(0)
        self._free = list(range(self._limit - 1, -1, -1))

    def open(self, init: SessionInit) -> int:
        """Take a row for a session; raise PeerError SERVER_BUSY where there is no room."""
        self._context.check_memory()
        if not self._free:
            raise busy(f"{self._limit} sessions are open here (limits.sessions_per_gateway_max)")
        row = self._free.pop()
        two_way = init.mode == "two_way_auto"
        self._started_ms[row] = self._context.now_ms
        self._two_way[row] = two_way
        self._source[row] = _column_text(init.lang_a or init.src_lang if two_way else init.src_lang)
        self._target[row] = _column_text(init.lang_b or init.tgt_lang if two_way else init.tgt_lang)
        self._open[row] = 1
        self._context.counters.add("sessions_opened_total")
        self._context.counters.add("sessions")
        return row

    def close(self, row: int) -> None:
        """Give a row back."""
        self._open[row] = 0
        self._free.append(row)
        self._context.counters.add("sessions", -1)


def _column_text(language: str) -> bytes:
    return cut_utf8(language, LANGUAGE_BYTES_MAX).encode()
