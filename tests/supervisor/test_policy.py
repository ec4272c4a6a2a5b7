import itertools
import signal
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scheduler.ipc.boot import BOOT_FAILURE_EXIT, ChildId
from scheduler.supervisor.policy import (
    CRASH_LOOP_EXIT,
    SECOND_NS,
    Announce,
    BecameDrained,
    BecameReady,
    BootRefused,
    Decision,
    Event,
    Exit,
    Exited,
    HangUp,
    Hold,
    Kill,
    Limits,
    Looked,
    Phase,
    Policy,
    Restart,
    Roll,
    RollRequested,
    Signalled,
    StartDrain,
    Started,
    Stop,
)

DISPATCHER = ChildId("dispatcher")
STATS = ChildId("stats")
GATEWAYS = [ChildId("gateway", 0), ChildId("gateway", 1)]
ALL = [DISPATCHER, STATS, *GATEWAYS]
DRAIN_NS = 10 * SECOND_NS
LIMITS = Limits()


def make_policy(limits: Limits = LIMITS) -> Policy:
    policy = Policy(limits, children_total=len(ALL), drain_ns=DRAIN_NS)
    for child in ALL:
        assert policy.feed(0, Started(child)) == []
    return policy


def serving() -> Policy:
    policy = make_policy()
    decisions = [policy.feed(0, BecameReady(child)) for child in ALL]
    assert decisions == [[], [], [], [Announce()]]
    return policy


def draining() -> Policy:
    policy = serving()
    assert policy.feed(0, Signalled(signal.SIGTERM)) == [StartDrain()]
    return policy


def look(policy: Policy, now_ns: int, **beats_ns: int) -> list[Decision]:
    """Look twice, so that the second look isn't late; those not named beat just now."""
    heartbeats = {child: beats_ns.get(child.role, now_ns) for child in ALL}
    policy.feed(now_ns - SECOND_NS // 2, Looked(dict.fromkeys(ALL, now_ns)))
    return policy.feed(now_ns, Looked(heartbeats))


@pytest.mark.parametrize("child", ALL, ids=str)
@pytest.mark.parametrize("code", [0, 1, -signal.SIGKILL])
def test_a_child_that_dies_is_restarted(child: ChildId, code: int) -> None:
    policy = serving()
    assert policy.feed(1, Exited(child, code)) == [Restart(child)]
    assert policy.phase is Phase.SERVING


def test_the_fifth_death_in_the_window_ends_the_program() -> None:
    policy = serving()
    times = [0, 7, 14, 21, 29]
    for now_s, child in zip(times[:-1], itertools.cycle([DISPATCHER, *GATEWAYS]), strict=False):
        now_ns = now_s * SECOND_NS
        assert policy.feed(now_ns, Exited(child, 1)) == [Restart(child)]
        policy.feed(now_ns, Started(child))
    (stop,) = policy.feed(times[-1] * SECOND_NS, Exited(DISPATCHER, 1))
    assert stop == Stop("5 deaths of child processes within 30 s", failed=True)
    for child in ALL[1:-1]:
        assert policy.feed(30 * SECOND_NS, Exited(child, 0)) == []
    assert policy.feed(30 * SECOND_NS, Exited(ALL[-1], 0)) == [Exit(CRASH_LOOP_EXIT)]


def test_stats_that_dies_again_and_again_waits_longer_each_time() -> None:
    policy = serving()
    assert policy.feed(0, Exited(STATS, 1)) == [Restart(STATS)]
    now_ns = 0
    for wait_s in (1, 2, 4, 8, 10, 10):
        policy.feed(now_ns, Started(STATS))
        policy.feed(now_ns, BecameReady(STATS))
        assert policy.feed(now_ns, Exited(STATS, 1)) == [Hold(STATS, wait_s * SECOND_NS)]
        now_ns += wait_s * SECOND_NS
        assert look(policy, now_ns - 1) == []
        assert policy.feed(now_ns, Looked(dict.fromkeys(ALL, now_ns))) == [Restart(STATS)]
        assert look(policy, now_ns) == []
    assert policy.phase is Phase.SERVING


def test_deaths_of_stats_leave_the_others_theirs() -> None:
    policy = serving()
    for _ in range(4):
        policy.feed(0, Exited(STATS, 1))
        policy.feed(0, Started(STATS))
        assert policy.feed(0, Exited(DISPATCHER, 1)) == [Restart(DISPATCHER)]
        policy.feed(0, Started(DISPATCHER))


def test_a_late_look_starts_who_waited() -> None:
    policy = serving()
    for _ in range(2):
        policy.feed(0, Started(STATS))
        policy.feed(0, Exited(STATS, 1))
    now_ns = 10 * LIMITS.late_ns_max
    assert policy.feed(now_ns, Looked({})) == [Restart(STATS)]


def test_nobody_is_started_who_waits_when_it_drains() -> None:
    policy = serving()
    for _ in range(2):
        policy.feed(0, Started(STATS))
        policy.feed(0, Exited(STATS, 1))
    policy.feed(1, Signalled(signal.SIGTERM))
    assert look(policy, 5 * SECOND_NS) == []


def test_stats_that_keeps_dying_while_it_starts_is_a_failed_start() -> None:
    policy = make_policy()
    for _ in range(LIMITS.deaths_max - 1):
        assert policy.feed(1, Exited(STATS, 1)) == [Restart(STATS)]
        policy.feed(1, Started(STATS))
    (stop,) = policy.feed(1, Exited(STATS, 1))
    assert isinstance(stop, Stop)
    assert stop.failed


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=30))
def test_restarts_go_on_until_deaths_max_deaths_fall_into_one_window(gaps_ms: list[int]) -> None:
    policy = serving()
    deaths: list[int] = []
    for now_ms in itertools.accumulate(gaps_ms):
        deaths.append(now_ms)
        decisions = policy.feed(now_ms * 1_000_000, Exited(DISPATCHER, 1))
        recent = [at for at in deaths if at >= now_ms - 30_000]
        if len(recent) >= LIMITS.deaths_max:
            assert isinstance(decisions[0], Stop)
            return
        assert decisions == [Restart(DISPATCHER)]
        policy.feed(now_ms * 1_000_000, Started(DISPATCHER))


@pytest.mark.parametrize(
    "event",
    [BootRefused(STATS, "no such file"), Exited(STATS, BOOT_FAILURE_EXIT)],
    ids=lambda event: type(event).__name__,
)
def test_a_boot_failure_ends_the_start(event: Event) -> None:
    policy = make_policy()
    (stop,) = policy.feed(1, event)
    assert isinstance(stop, Stop)
    assert stop.failed
    assert "stats can't start" in stop.reason
    left = [DISPATCHER, *GATEWAYS] + ([STATS] if isinstance(event, BootRefused) else [])
    decisions = [policy.feed(2, Exited(child, 0)) for child in left]
    assert decisions[-1] == [Exit(BOOT_FAILURE_EXIT)]


def test_a_boot_failure_after_serving_counts_as_a_death() -> None:
    policy = serving()
    policy.feed(1, Exited(STATS, 1))
    policy.feed(1, Started(STATS))
    assert policy.feed(2, BootRefused(STATS, "out of memory")) == []
    assert policy.feed(3, Exited(STATS, BOOT_FAILURE_EXIT)) == [Hold(STATS, SECOND_NS)]


def test_a_child_that_died_while_starting_is_waited_for_again() -> None:
    policy = make_policy()
    for child in ALL[1:]:
        policy.feed(1, BecameReady(child))
    policy.feed(2, Exited(STATS, 1))
    policy.feed(2, Started(STATS))
    assert policy.feed(3, BecameReady(DISPATCHER)) == []
    assert policy.feed(4, BecameReady(STATS)) == [Announce()]


def test_a_child_without_heartbeats_is_killed_once() -> None:
    policy = serving()
    now_ns = 100 * SECOND_NS
    within, beyond = now_ns - LIMITS.silence_ns_max, now_ns - LIMITS.silence_ns_max - 1
    assert look(policy, now_ns, dispatcher=within) == []
    assert look(policy, now_ns, dispatcher=beyond) == [Kill(DISPATCHER, "not heard of within 4 s")]
    assert look(policy, now_ns + 1, dispatcher=beyond) == []
    assert policy.feed(now_ns, Exited(DISPATCHER, -signal.SIGKILL)) == [Restart(DISPATCHER)]


def test_a_restarted_child_is_not_judged_by_the_heartbeat_of_the_one_before() -> None:
    policy = serving()
    now_ns = 100 * SECOND_NS
    policy.feed(now_ns, Exited(STATS, 1))
    policy.feed(now_ns, Started(STATS))
    assert look(policy, now_ns + 6 * SECOND_NS, stats=now_ns) == []
    policy.feed(now_ns + 6 * SECOND_NS, BecameReady(STATS))
    assert look(policy, now_ns + 7 * SECOND_NS, stats=now_ns) == []
    assert look(policy, now_ns + 12 * SECOND_NS, stats=now_ns) != []


def test_a_late_look_judges_nobody() -> None:
    policy = serving()
    silent = dict.fromkeys(ALL, 0)
    now_ns = 100 * SECOND_NS
    assert policy.feed(now_ns, Looked(silent)) == []
    assert policy.feed(now_ns + LIMITS.late_ns_max + 1, Looked(silent)) == []
    kills = policy.feed(now_ns + LIMITS.late_ns_max + 2, Looked(silent))
    assert [kill.child for kill in kills if isinstance(kill, Kill)] == ALL


def test_a_child_that_never_gets_ready_ends_the_start() -> None:
    policy = make_policy()
    for child in ALL[1:]:
        policy.feed(1, BecameReady(child))
    (stop,) = look(policy, LIMITS.boot_ns_max + 1)
    assert stop == Stop("dispatcher can't start: not ready within 30 s", failed=True)


def test_a_restarted_child_that_never_gets_ready_is_killed() -> None:
    policy = serving()
    policy.feed(1, Exited(STATS, 1))
    policy.feed(1, Started(STATS))
    assert look(policy, LIMITS.reboot_ns_max + 1) == []
    assert look(policy, LIMITS.reboot_ns_max + 2) == [Kill(STATS, "not ready within 10 s")]


def test_a_child_that_cannot_come_up_again_is_no_crash_loop_by_itself() -> None:
    policy = serving()
    now_ns = 0
    for _ in range(20):
        assert policy.feed(now_ns, Exited(DISPATCHER, -signal.SIGKILL)) == [Restart(DISPATCHER)]
        policy.feed(now_ns, Started(DISPATCHER))
        now_ns += LIMITS.reboot_ns_max + 1
        assert [type(decision) for decision in look(policy, now_ns)] == [Kill]


def test_a_signal_before_serving_stops() -> None:
    policy = make_policy()
    assert [type(d) for d in policy.feed(1, Signalled(signal.SIGTERM))] == [Stop]
    assert [policy.feed(2, Exited(child, 0)) for child in ALL][-1] == [Exit(0)]


@pytest.mark.parametrize("how", [BecameDrained, lambda child: Exited(child, 0)])
def test_draining_ends_when_each_gateway_is_drained_or_gone(how: type[BecameDrained]) -> None:
    policy = draining()
    assert policy.feed(1, how(GATEWAYS[0])) == []
    assert policy.feed(2, how(GATEWAYS[1])) == [Stop("drained")]


def test_draining_ends_at_the_deadline() -> None:
    policy = draining()
    policy.feed(1, BecameDrained(GATEWAYS[0]))
    deadline_ns = DRAIN_NS + LIMITS.drain_grace_ns
    assert look(policy, deadline_ns - 1) == []
    assert policy.feed(deadline_ns, Looked(dict.fromkeys(ALL, 0))) == [
        Stop("drain deadline passed")
    ]


def test_while_draining_only_the_dispatcher_is_restarted() -> None:
    # Jobs in flight need it; a gateway's went with it, and statistics nobody needs any more.
    policy = draining()
    assert policy.feed(1, Exited(DISPATCHER, 1)) == [Restart(DISPATCHER)]
    assert policy.feed(1, Exited(STATS, 1)) == []
    assert policy.feed(1, Exited(GATEWAYS[0], 1)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_kills_at_once(number: signal.Signals) -> None:
    policy = draining()
    stop, *kills = policy.feed(1, Signalled(number))
    assert isinstance(stop, Stop)
    assert kills == [Kill(child, "signalled again") for child in ALL]
    assert [policy.feed(2, Exited(child, -9)) for child in ALL][-1] == [Exit(128 + number)]


def test_who_does_not_exit_is_killed_at_the_deadline() -> None:
    policy = draining()
    for child in GATEWAYS:
        policy.feed(0, BecameDrained(child))
    policy.feed(1, Exited(DISPATCHER, 0))
    silent = dict.fromkeys([STATS, *GATEWAYS], 0)
    assert policy.feed(LIMITS.stop_grace_ns - 1, Looked(silent)) == []
    assert policy.feed(LIMITS.stop_grace_ns, Looked(silent)) == [
        Kill(child, "deadline") for child in (STATS, *GATEWAYS)
    ]


class PolicyMachine(RuleBasedStateMachine):
    """Carry out what is decided, let anything happen, and see that it ends as it must."""

    @initialize()
    def begin(self) -> None:
        self.now_ns = 0
        self.policy = Policy(LIMITS, children_total=len(ALL), drain_ns=DRAIN_NS)
        self.running: set[ChildId] = set()
        self.killed: set[ChildId] = set()
        self.held: set[ChildId] = set()
        self.stopped = False
        self.exit_code: int | None = None
        for child in ALL:
            self.start(child)

    def start(self, child: ChildId) -> None:
        self.running.add(child)
        self.feed(Started(child))

    def end(self, child: ChildId, code: int) -> None:
        self.running.discard(child)
        self.killed.discard(child)
        self.feed(Exited(child, code))

    def feed(self, event: Event) -> None:
        for decision in self.policy.feed(self.now_ns, event):
            assert self.exit_code is None
            match decision:
                case Restart(child):
                    assert not self.stopped
                    assert child not in self.running
                    self.held.discard(child)
                    self.start(child)
                case Hold(child, _):
                    assert child == STATS
                    self.held.add(child)
                case Kill(child, _):
                    assert child in self.running
                    assert child not in self.killed
                    self.killed.add(child)
                case Stop():
                    assert not self.stopped
                    self.stopped = True
                case Exit(code):
                    assert not self.running
                    self.exit_code = code

    def look(self, silent: set[ChildId]) -> None:
        self.feed(Looked({c: 0 if c in silent else self.now_ns for c in self.running}))

    alive = precondition(lambda self: self.exit_code is None)

    @alive
    @rule(data=st.data(), kind=st.sampled_from([BecameReady, BecameDrained]))
    def tell(self, data: st.DataObject, kind: type[BecameReady]) -> None:
        self.feed(kind(data.draw(st.sampled_from(sorted(self.running, key=str)))))

    @alive
    @rule(data=st.data(), code=st.sampled_from([0, 1, BOOT_FAILURE_EXIT, -9]))
    def exits(self, data: st.DataObject, code: int) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.running, key=str))), code)

    @alive
    @rule(number=st.sampled_from([signal.SIGTERM, signal.SIGINT]))
    def signalled(self, number: int) -> None:
        self.feed(Signalled(number))

    @alive
    @rule(passed_ms=st.integers(0, 20_000), silent=st.sets(st.sampled_from(ALL)))
    def time_passes(self, passed_ms: int, silent: set[ChildId]) -> None:
        self.now_ns += passed_ms * 1_000_000
        self.look(silent)

    @precondition(lambda self: self.exit_code is not None)
    @rule()
    def begin_again(self) -> None:
        self.begin()

    @invariant()
    def nobody_is_forgotten(self) -> None:
        if self.policy.phase in {Phase.STARTING, Phase.SERVING}:
            assert self.running | self.held == set(ALL)
            assert not self.running & self.held
        assert (self.exit_code is not None) == (self.stopped and not self.running)

    def teardown(self) -> None:
        """Whatever came before: a signal ends it, even if no child does anything any more."""
        if not hasattr(self, "policy") or self.exit_code is not None:
            return
        self.feed(Signalled(signal.SIGTERM))
        for _ in range(2):  # the drain deadline, then the deadline to stop
            self.now_ns += DRAIN_NS + LIMITS.drain_grace_ns
            self.look(set())
        for child in list(self.killed):
            self.end(child, -9)
        assert self.exit_code is not None


TestPolicyMachine = PolicyMachine.TestCase


# --- replacing the gateways ------------------------------------------------------------------


def rolling() -> Policy:
    policy = serving()
    assert policy.feed(0, RollRequested()) == [Roll(GATEWAYS[0])]
    return policy


def replace_first(policy: Policy) -> list[Decision]:
    first = GATEWAYS[0]
    assert policy.feed(1, BecameDrained(first)) == [HangUp(first)]
    assert policy.feed(2, Exited(first, 0)) == [Restart(first)]
    assert policy.feed(3, Started(first)) == []
    return policy.feed(4, BecameReady(first))


def test_gateways_are_replaced_one_after_the_other() -> None:
    policy = rolling()
    assert replace_first(policy) == [Roll(GATEWAYS[1])]
    assert policy.feed(5, BecameDrained(GATEWAYS[1])) == [HangUp(GATEWAYS[1])]
    policy.feed(6, Exited(GATEWAYS[1], 0))
    policy.feed(7, Started(GATEWAYS[1]))
    assert policy.feed(8, BecameReady(GATEWAYS[1])) == []
    assert policy.phase is Phase.SERVING


def test_a_replacement_is_no_death() -> None:
    limits = Limits(deaths_max=1)
    policy = make_policy(limits)
    for child in ALL:
        policy.feed(0, BecameReady(child))
    policy.feed(0, RollRequested())
    assert replace_first(policy) == [Roll(GATEWAYS[1])]


def test_a_gateway_that_does_not_drain_is_hung_up_on_at_its_deadline() -> None:
    policy = rolling()
    deadline = DRAIN_NS + LIMITS.drain_grace_ns
    assert look(policy, deadline - 1) == []
    assert look(policy, deadline) == [HangUp(GATEWAYS[0])]
    assert policy.feed(deadline, BecameDrained(GATEWAYS[0])) == []


def test_a_gateway_that_does_not_go_is_killed() -> None:
    policy = rolling()
    policy.feed(0, BecameDrained(GATEWAYS[0]))
    assert look(policy, LIMITS.stop_grace_ns - 1) == []
    assert look(policy, LIMITS.stop_grace_ns) == [Kill(GATEWAYS[0], "not gone in time")]
    assert policy.feed(LIMITS.stop_grace_ns, Exited(GATEWAYS[0], -9)) == [Restart(GATEWAYS[0])]


def test_a_gateway_that_dies_while_it_drains_counts_and_the_next_one_follows() -> None:
    policy = rolling()
    assert policy.feed(1, Exited(GATEWAYS[0], -11)) == [Restart(GATEWAYS[0])]
    policy.feed(2, Started(GATEWAYS[0]))
    assert policy.feed(3, BecameReady(GATEWAYS[0])) == [Roll(GATEWAYS[1])]


def test_a_second_request_while_one_is_under_way_changes_nothing() -> None:
    policy = rolling()
    assert policy.feed(1, RollRequested()) == []
    assert replace_first(policy) == [Roll(GATEWAYS[1])]


@pytest.mark.parametrize("make", [make_policy, draining], ids=["starting", "draining"])
def test_only_a_serving_scheduler_replaces_gateways(make: Callable[[], Policy]) -> None:
    assert make().feed(1, RollRequested()) == []


def test_a_signal_to_stop_ends_the_replacing() -> None:
    policy = rolling()
    assert policy.feed(1, Signalled(signal.SIGTERM)) == [StartDrain()]
    assert policy.feed(2, BecameDrained(GATEWAYS[0])) == []
    stop = policy.feed(3, BecameDrained(GATEWAYS[1]))
    assert [type(decision) for decision in stop] == [Stop]
