import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler.gateway.lease import Lease, LeaseKey, Leases, default_key, request_key

LEASE_NS = 90
A, B, C = request_key("a"), request_key("b"), request_key("c")


def acquire(table: Leases, key: LeaseKey, job: int, now_ns: int) -> Lease | None:
    """Do as a session does: return the lease there is, or give one to `job`."""
    lease = table.find(key, now_ns)
    if lease is None:
        table.add(key, job, now_ns)
    return lease


def leases(max_entries: int = 8) -> Leases:
    return Leases(LEASE_NS, max_entries)


def test_a_repeat_inside_the_lease_gives_the_same_job() -> None:
    table = leases()
    assert acquire(table, A, 1, 0) is None
    assert acquire(table, A, 2, 5) == Lease(1, 0)
    table.finish(A, False, "JOB_TIMEOUT")
    assert acquire(table, A, 3, LEASE_NS - 1) == Lease(1, 0, False, "JOB_TIMEOUT")


def test_the_lease_runs_from_acceptance() -> None:
    table = leases()
    acquire(table, A, 1, 10)
    table.finish(A, True)
    assert acquire(table, A, 2, 9 + LEASE_NS) == Lease(1, 10, True)
    assert acquire(table, A, 2, 10 + LEASE_NS) is None
    assert acquire(table, A, 3, 10 + LEASE_NS) == Lease(2, 10 + LEASE_NS)


def test_an_unfinished_job_outlives_its_lease() -> None:
    table = leases()
    acquire(table, A, 1, 0)
    table.expire(10 * LEASE_NS)
    assert acquire(table, A, 2, 10 * LEASE_NS) == Lease(1, 0)
    table.finish(A, True)
    table.expire(10 * LEASE_NS)
    assert len(table) == 0


def test_expire_passes_over_unfinished_ones() -> None:
    table = leases()
    acquire(table, A, 1, 0)
    acquire(table, B, 2, 1)
    acquire(table, C, 3, 2)
    table.finish(B, True)
    table.finish(C, True)
    table.expire(1 + LEASE_NS)
    assert len(table) == 2
    assert acquire(table, C, 4, 1 + LEASE_NS) == Lease(3, 2, True)


def test_at_the_bound_the_oldest_finished_makes_room() -> None:
    table = leases(max_entries=3)
    for job, key in enumerate((A, B, C)):
        acquire(table, key, job, job)
    table.finish(C, True)
    table.finish(B, True)
    assert acquire(table, request_key("d"), 3, 3) is None
    assert len(table) == 3
    assert acquire(table, A, 9, 3) == Lease(0, 0)
    assert acquire(table, C, 9, 3) == Lease(2, 2, True)


def test_unfinished_ones_are_never_forgotten() -> None:
    table = leases(max_entries=1)
    acquire(table, A, 1, 0)
    acquire(table, B, 2, 10 * LEASE_NS)
    assert acquire(table, A, 3, 10 * LEASE_NS) == Lease(1, 0)
    assert acquire(table, B, 3, 10 * LEASE_NS) == Lease(2, 10 * LEASE_NS)


def test_a_forgotten_request_may_be_tried_again() -> None:
    table = leases()
    acquire(table, A, 1, 0)
    table.forget(A)
    assert acquire(table, A, 2, 0) is None


def test_ending_an_unknown_request_is_a_programmer_error() -> None:
    with pytest.raises(KeyError):
        leases().finish(A, True)


texts = st.text(alphabet="ab:0", max_size=3)


@given(
    st.tuples(texts, st.integers(0, 2), texts, texts),
    st.tuples(texts, st.integers(0, 2), texts, texts),
)
def test_default_keys_differ_where_a_field_does(
    one: tuple[str, int, str, str], other: tuple[str, int, str, str]
) -> None:
    assert (default_key(*one) == default_key(*other)) == (one == other)


@given(st.text(max_size=12), st.tuples(texts, st.integers(0, 2), texts, texts))
def test_request_keys_never_meet_default_keys(
    request_id: str, fields: tuple[str, int, str, str]
) -> None:
    assert request_key(request_id) != default_key(*fields)


class AgainstModel(RuleBasedStateMachine):
    """Jobs in order of acceptance, as the rules read; only the newest per key can count."""

    MAX_ENTRIES = 4

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases(LEASE_NS, self.MAX_ENTRIES)
        self.now_ns = 0
        self.jobs = 0
        self.model: list[tuple[LeaseKey, Lease]] = []

    def drop_expired(self, only: LeaseKey | None = None) -> None:
        self.model = [
            (key, lease)
            for key, lease in self.model
            if lease.ok is None
            or self.now_ns < lease.accepted_ns + LEASE_NS
            or only not in (None, key)
        ]

    @rule(later_ns=st.integers(0, LEASE_NS))
    def wait(self, later_ns: int) -> None:
        self.now_ns += later_ns

    @rule(name=st.sampled_from("abcdef"))
    def acquire(self, name: str) -> None:
        key = request_key(name)
        self.jobs += 1
        self.drop_expired(only=key)
        known = dict(self.model).get(key)
        if known is None and len(self.model) == self.MAX_ENTRIES:
            finished = [entry for entry in self.model if entry[1].ok is not None]
            if not finished:
                return  # the session's bound on unfinished jobs is below that of the table
            self.model.remove(finished[0])
        assert acquire(self.leases, key, self.jobs, self.now_ns) == known
        if known is None:
            self.model.append((key, Lease(self.jobs, self.now_ns)))

    @precondition(lambda self: any(lease.ok is None for _, lease in self.model))
    @rule(data=st.data(), ok=st.booleans())
    def finish(self, data: st.DataObject, ok: bool) -> None:
        running = [(key, lease) for key, lease in self.model if lease.ok is None]
        key, lease = data.draw(st.sampled_from(running))
        lease.ok, lease.error_code = ok, "" if ok else "JOB_TIMEOUT"
        self.leases.finish(key, ok, lease.error_code)

    @rule()
    def expire(self) -> None:
        self.drop_expired()
        self.leases.expire(self.now_ns)

    @invariant()
    def same_size(self) -> None:
        assert len(self.leases) == len(self.model) <= self.MAX_ENTRIES


AgainstModel.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestLeasesAgainstModel = AgainstModel.TestCase
