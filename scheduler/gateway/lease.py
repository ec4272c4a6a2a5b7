"""Remembers the requests of one session, so that a repeat gives the same job.

A lease runs from acceptance. A job that is still unfinished keeps its entry beyond it: two jobs
for one request must never be on their way at once.
"""

from dataclasses import dataclass
from typing import Literal

LeaseKey = tuple[Literal["request"], str] | tuple[Literal["utterance"], str, int, str, str]
"""A tuple, not a joined text: a language or trace id that holds the separator, or a request id
that looks like a default key, would otherwise meet another request's entry."""


def request_key(request_id: str) -> LeaseKey:
    """Return the key of a request that names itself."""
    return ("request", request_id)


def default_key(session_id: str, utterance_index: int, tgt_lang: str, trace_id: str) -> LeaseKey:
    """Return the key of an utterance without a `request_id`."""
    return ("utterance", session_id, utterance_index, tgt_lang, trace_id)


@dataclass(slots=True)
class Lease:
    """A request's job. `ok` is None until it ended; `error_code` is "" unless it failed."""

    job: int
    accepted_ns: int
    ok: bool | None = None
    error_code: str = ""


class Leases:
    """The requests of one session, oldest first."""

    def __init__(self, lease_ns: int, max_entries: int) -> None:
        assert max_entries > 0
        self._lease_ns = lease_ns
        self._max_entries = max_entries
        self._leases: dict[LeaseKey, Lease] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def find(self, key: LeaseKey, now_ns: int) -> Lease | None:
        """Return the lease that `key` has; None where its request is a new one."""
        lease = self._leases.get(key)
        return None if lease is None or self._over(lease, now_ns) else lease

    def add(self, key: LeaseKey, job: int, now_ns: int) -> None:
        """Give `key` to a new job. At the bound the oldest finished entry makes room."""
        self._leases.pop(key, None)  # one that is over: the new one is the youngest
        if len(self._leases) >= self._max_entries:
            self._make_room()
        self._leases[key] = Lease(job, now_ns)

    def finish(self, key: LeaseKey, ok: bool, error_code: str = "") -> None:
        """Note how the job of `key` ended; repeats inside the lease get this outcome."""
        lease = self._leases[key]
        lease.ok = ok
        lease.error_code = error_code

    def forget(self, key: LeaseKey) -> None:
        """Drop `key`: its request was refused before it became a job, and may be tried again."""
        del self._leases[key]

    def expire(self, now_ns: int) -> None:
        """Drop what is over. Cheap: it looks at no lease younger than the first that still runs."""
        over = []
        for key, lease in self._leases.items():
            if now_ns - lease.accepted_ns < self._lease_ns:
                break
            if lease.ok is not None:
                over.append(key)
        for key in over:
            del self._leases[key]

    def _over(self, lease: Lease, now_ns: int) -> bool:
        return lease.ok is not None and now_ns - lease.accepted_ns >= self._lease_ns

    def _make_room(self) -> None:
        """Drop the oldest finished entry; the caller bounds the unfinished ones."""
        for key, lease in self._leases.items():
            if lease.ok is not None:
                del self._leases[key]
                return
