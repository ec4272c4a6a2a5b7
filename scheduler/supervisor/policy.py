"""What the supervisor decides: events in, decisions out. Pure: no clock, no process, no signal.

              all ready            signal            all drained, or deadline
    STARTING ───────────► SERVING ────────► DRAINING ────────────────────────► STOPPING ──► Exit
        └───────────────────┴──────────────────┴──────────────────────────────────▲
          boot failure (STARTING only), too many deaths, a signal (but in SERVING)

Whoever dies is started again at once, but for stats: who dies soon again waits longer each time,
since jobs go on without it and its deaths must not end what they need.

In STOPPING every control socket is closed, on which a child exits; who hasn't by the deadline is
killed, at once after one more signal. Exit follows when no child is left.

While SERVING the gateways may be replaced one after the other:

    Roll(gateway) ──drained, or deadline──► HangUp ──exited──► Restart ──ready──► the next one
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from scheduler.ipc.boot import BOOT_FAILURE_EXIT, ChildId
from scheduler.supervisor.backoff import Backoff

CRASH_LOOP_EXIT = 70
"""EX_SOFTWARE of sysexits.h: children die faster than restarts help."""

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Times and counts of the policy."""

    deaths_max: int = 5
    """So many deaths of gateways and dispatchers within the window end the program, while it starts
    also those of stats."""
    deaths_window_ns: int = 30 * SECOND_NS
    stats_wait_first_ns: int = SECOND_NS
    stats_wait_longest_ns: int = 10 * SECOND_NS
    boot_ns_max: int = 30 * SECOND_NS
    """At the start of the program: code may have to come from a cold disk."""
    reboot_ns_max: int = 10 * SECOND_NS
    """For a successor, whose code is in memory: it takes half a second, and service may wait for
    it. Not shorter, so that one that can't come up is no crash loop by itself."""
    silence_ns_max: int = 4 * SECOND_NS
    """A ready child without a heartbeat for longer is stuck; it beats ten times a second. Its
    successor serves within five."""
    late_ns_max: int = SECOND_NS
    """After a longer gap between looks it is us who stood still: the children get a round more."""
    drain_grace_ns: int = 2 * SECOND_NS
    """What a gateway gets beyond its own drain deadline."""
    stop_grace_ns: int = 2 * SECOND_NS


# --- events ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The child was started, again or for the first time."""

    child: ChildId


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The child serves."""

    child: ChildId


@dataclass(frozen=True, slots=True)
class BecameDrained:
    """The gateway has nothing in flight any more."""

    child: ChildId


@dataclass(frozen=True, slots=True)
class BootRefused:
    """The child says that it can't start here."""

    child: ChildId
    reason: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The child is gone; `code` is negative for a signal."""

    child: ChildId
    code: int


@dataclass(frozen=True, slots=True)
class Signalled:
    """SIGTERM or SIGINT came."""

    number: int


@dataclass(frozen=True, slots=True)
class RollRequested:
    """The operator wants all gateways replaced, one after the other."""


@dataclass(frozen=True, slots=True)
class Looked:
    """The regular look at the heartbeats, in ns, of the children that run."""

    heartbeats: Mapping[ChildId, int]


Event = (
    Started
    | BecameReady
    | BecameDrained
    | BootRefused
    | Exited
    | Signalled
    | RollRequested
    | Looked
)


# --- decisions ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Announce:
    """All children serve: tell the world."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Start the child again."""

    child: ChildId


@dataclass(frozen=True, slots=True)
class Hold:
    """The child is started again later."""

    child: ChildId
    wait_ns: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Send the child SIGKILL, which works on stopped processes too."""

    child: ChildId
    reason: str


@dataclass(frozen=True, slots=True)
class StartDrain:
    """Tell the gateways to drain."""


@dataclass(frozen=True, slots=True)
class Roll:
    """Tell this gateway to drain: it is to be replaced."""

    child: ChildId


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close this child's control socket, on which it exits."""

    child: ChildId


@dataclass(frozen=True, slots=True)
class Stop:
    """Close the control sockets. `failed`: the operator must see the reason."""

    reason: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """No child is left: end with this exit code."""

    code: int


Decision = Announce | Restart | Hold | Kill | StartDrain | Roll | HangUp | Stop | Exit


class Phase(Enum):
    """See the top of this file."""

    STARTING = auto()
    SERVING = auto()
    DRAINING = auto()
    STOPPING = auto()


@dataclass(slots=True)
class _Life:
    """What the policy knows of a running child."""

    started_ns: int
    ready_ns: int | None = None
    drained: bool = False
    killed: bool = False
    leaves_by_ns: int | None = None
    """When it was told to go: it is killed if it hasn't by then."""


class Policy:
    """Decides over all children together."""

    def __init__(self, limits: Limits, *, children_total: int, drain_ns: int) -> None:
        """`drain_ns` is what gateways are given to finish their jobs."""
        self.phase = Phase.STARTING
        self._limits = limits
        self._children_total = children_total
        self._drain_ns = drain_ns
        self._lives: dict[ChildId, _Life] = {}
        self._deaths: deque[int] = deque()
        self._backoff = Backoff(limits.stats_wait_first_ns, limits.stats_wait_longest_ns)
        self._held: dict[ChildId, int] = {}
        """When to start again who waits."""
        self._looked_ns = 0
        self._deadline_ns = 0
        self._exit_code = 0
        self._to_roll: deque[ChildId] = deque()
        self._rolling: ChildId | None = None
        self._roll_deadline_ns = 0

    def feed(self, now_ns: int, event: Event) -> list[Decision]:
        """Take an event; return what is to be done, in this order."""
        match event:
            case Started(child):
                self._lives[child] = _Life(now_ns)
                return []
            case BecameReady(child):
                return self._became_ready(child, now_ns)
            case BecameDrained(child):
                self._lives[child].drained = True
                if child == self._rolling:
                    return self._hang_up_rolling(now_ns)
                return self._stop_if_drained(now_ns)
            case BootRefused(child, reason):
                return self._boot_refused(child, reason, now_ns)
            case Exited(child, code):
                return self._exited(child, code, now_ns)
            case Signalled(number):
                return self._signalled(number, now_ns)
            case RollRequested():
                return self._start_rolling(now_ns)
            case Looked(heartbeats):
                return self._looked(heartbeats, now_ns)

    def _became_ready(self, child: ChildId, now_ns: int) -> list[Decision]:
        self._lives[child].ready_ns = now_ns
        ready = sum(life.ready_ns is not None for life in self._lives.values())
        if child == self._rolling:
            return self._roll_next(now_ns)
        if self.phase is not Phase.STARTING or ready < self._children_total:
            return []
        self.phase = Phase.SERVING
        return [Announce()]

    def _boot_refused(self, child: ChildId, reason: str, now_ns: int) -> list[Decision]:
        if self.phase is not Phase.STARTING:
            return []  # it served before, so a restart may help: its exit counts as a death
        return self._stop(f"{child} can't start: {reason}", BOOT_FAILURE_EXIT, now_ns)

    def _exited(self, child: ChildId, code: int, now_ns: int) -> list[Decision]:
        life = self._lives.pop(child)
        if self.phase is Phase.STOPPING:
            return self._exit_if_alone()
        if self.phase is Phase.STARTING and code == BOOT_FAILURE_EXIT:
            return self._boot_refused(child, "its own log says why", now_ns)
        if self.phase is Phase.DRAINING and child.role != "dispatcher":
            return self._stop_if_drained(now_ns)
        if life.leaves_by_ns is not None:
            return [Restart(child)]
        if self.phase is Phase.SERVING and child.role == "stats":
            return self._hold(child, life, now_ns)
        self._deaths.append(now_ns)
        while self._deaths[0] < now_ns - self._limits.deaths_window_ns:
            self._deaths.popleft()
        if len(self._deaths) < self._limits.deaths_max:
            return [Restart(child)]
        seconds = self._limits.deaths_window_ns / SECOND_NS
        return self._stop(
            f"{len(self._deaths)} deaths of child processes within {seconds:g} s",
            CRASH_LOOP_EXIT,
            now_ns,
        )

    def _hold(self, child: ChildId, life: _Life, now_ns: int) -> list[Decision]:
        served_ns = now_ns - life.ready_ns if life.ready_ns is not None else 0
        wait_ns = self._backoff.wait_ns(served_ns)
        if not wait_ns:
            return [Restart(child)]
        self._held[child] = now_ns + wait_ns
        return [Hold(child, wait_ns)]

    def _start_held(self, now_ns: int) -> list[Decision]:
        due = [child for child, at_ns in self._held.items() if now_ns >= at_ns]
        for child in due:
            del self._held[child]
        return [Restart(child) for child in due]

    def _signalled(self, number: int, now_ns: int) -> list[Decision]:
        match self.phase:
            case Phase.STARTING:
                return self._stop("stopped before it served", 0, now_ns)
            case Phase.SERVING:
                self.phase = Phase.DRAINING
                self._held.clear()
                self._to_roll.clear()
                self._rolling = None
                self._deadline_ns = now_ns + self._drain_ns + self._limits.drain_grace_ns
                return [StartDrain(), *self._stop_if_drained(now_ns)]
            case Phase.DRAINING:
                stop = self._stop("signalled again, not waiting for jobs", 128 + number, now_ns)
                return [*stop, *self._kill_all("signalled again")]
            case Phase.STOPPING:
                return self._kill_all("signalled again")

    def _looked(self, heartbeats: Mapping[ChildId, int], now_ns: int) -> list[Decision]:
        late = now_ns - self._looked_ns > self._limits.late_ns_max
        self._looked_ns = now_ns
        if self.phase is Phase.STOPPING:
            return self._kill_all("deadline") if now_ns >= self._deadline_ns else []
        if self.phase is Phase.DRAINING and now_ns >= self._deadline_ns:
            return self._stop("drain deadline passed", 0, now_ns)
        held = self._start_held(now_ns)
        if late:
            return held
        return [*held, *self._follow_roll(now_ns), *self._judge(heartbeats, now_ns)]

    # --- replacing the gateways ----------------------------------------------------------

    def _start_rolling(self, now_ns: int) -> list[Decision]:
        if self.phase is not Phase.SERVING or self._rolling is not None:
            return []
        self._to_roll.extend(child for child in self._lives if child.role == "gateway")
        return self._roll_next(now_ns)

    def _roll_next(self, now_ns: int) -> list[Decision]:
        self._rolling = None
        while self._to_roll:
            child = self._to_roll.popleft()
            life = self._lives.get(child)
            if life is not None and life.ready_ns is not None:
                self._rolling = child
                self._roll_deadline_ns = now_ns + self._drain_ns + self._limits.drain_grace_ns
                return [Roll(child)]
        return []

    def _hang_up_rolling(self, now_ns: int) -> list[Decision]:
        assert self._rolling is not None
        life = self._lives[self._rolling]
        if life.leaves_by_ns is not None:
            return []
        life.leaves_by_ns = now_ns + self._limits.stop_grace_ns
        return [HangUp(self._rolling)]

    def _follow_roll(self, now_ns: int) -> list[Decision]:
        life = self._lives.get(self._rolling) if self._rolling is not None else None
        if life is None or self._rolling is None:
            return []
        if life.leaves_by_ns is not None:
            overdue = now_ns >= life.leaves_by_ns
            return self._kill(self._rolling, "not gone in time") if overdue else []
        # One that died meanwhile and is back has been replaced without our help.
        waits = life.ready_ns is not None and now_ns >= self._roll_deadline_ns
        return self._hang_up_rolling(now_ns) if waits else []

    def _judge(self, heartbeats: Mapping[ChildId, int], now_ns: int) -> list[Decision]:
        stuck = [
            (child, reason)
            for child, life in self._lives.items()
            if (reason := self._stuck(life, heartbeats[child], now_ns))
        ]
        if self.phase is Phase.STARTING:
            for child, reason in stuck:
                if self._lives[child].ready_ns is None:
                    return self._boot_refused(child, reason, now_ns)
        return [kill for child, reason in stuck for kill in self._kill(child, reason)]

    def _stuck(self, life: _Life, heartbeat_ns: int, now_ns: int) -> str:
        """Return why the child counts as stuck, "" where it doesn't."""
        if life.ready_ns is None:
            limits = self._limits
            first = self.phase is Phase.STARTING
            limit_ns = limits.boot_ns_max if first else limits.reboot_ns_max
            waited_ns, what = now_ns - life.started_ns, "ready"
        else:
            # Until its first beat the row still shows the last one of the process before it.
            last_ns = max(heartbeat_ns, life.ready_ns)
            waited_ns, limit_ns, what = now_ns - last_ns, self._limits.silence_ns_max, "heard of"
        return f"not {what} within {limit_ns / SECOND_NS:g} s" if waited_ns > limit_ns else ""

    def _stop_if_drained(self, now_ns: int) -> list[Decision]:
        if self.phase is not Phase.DRAINING:
            return []
        if any(not life.drained for child, life in self._lives.items() if child.role == "gateway"):
            return []
        return self._stop("drained", 0, now_ns)

    def _stop(self, reason: str, exit_code: int, now_ns: int) -> list[Decision]:
        self.phase = Phase.STOPPING
        self._exit_code = exit_code
        self._deadline_ns = now_ns + self._limits.stop_grace_ns
        failed = exit_code in {BOOT_FAILURE_EXIT, CRASH_LOOP_EXIT}
        return [Stop(reason, failed), *self._exit_if_alone()]

    def _exit_if_alone(self) -> list[Decision]:
        return [] if self._lives else [Exit(self._exit_code)]

    def _kill(self, child: ChildId, reason: str) -> list[Decision]:
        life = self._lives[child]
        if life.killed:
            return []
        life.killed = True
        return [Kill(child, reason)]

    def _kill_all(self, reason: str) -> list[Decision]:
        return [kill for child in self._lives for kill in self._kill(child, reason)]
