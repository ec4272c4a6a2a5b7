"""Texts that nodes recognised so far, on their way to sessions of other gateways.

They go through the dispatcher, and each one replaces the one before. So of each job the first is
passed on at once, of those that follow only the last one between two sweeps; and while the
dispatcher is behind, none are: its queue is for records that must not be lost.
"""

from scheduler.gateway.link import DispatcherLink
from scheduler.memory.views import Counters
from scheduler.protocol.records import Partial


class TextRelay:
    """The latest text of each job that is not yet passed on."""

    def __init__(self, link: DispatcherLink, counters: Counters) -> None:
        self._link = link
        self._counters = counters
        self._latest: dict[int, Partial | None] = {}
        """Jobs of which a text was passed on since the last sweep, and what came after it."""

    def __len__(self) -> int:
        return len(self._latest)

    def pass_on(self, text: Partial) -> None:
        """Pass a text on, now or with the next sweep."""
        if text.job not in self._latest:
            self._latest[text.job] = None
            self._send(text)
            return
        if self._latest[text.job] is not None:
            self._counters.add("partials_dropped_total")
        self._latest[text.job] = text

    def finish(self, job: int) -> None:
        """Pass on what waits, for the job's result comes next."""
        text = self._latest.pop(job, None)
        if text is not None:
            self._send(text)

    def sweep(self) -> None:
        """Pass on what waits; call it several times a second."""
        latest, self._latest = self._latest, {}
        for text in latest.values():
            if text is not None:
                self.pass_on(text)

    def _send(self, text: Partial) -> None:
        if self._link.is_slow:
            self._counters.add("partials_dropped_total")
        else:
            self._link.send(text)
