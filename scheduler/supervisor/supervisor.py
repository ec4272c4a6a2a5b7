"""The supervisor: a plain loop over signals, control sockets and the ends of processes.

It decides nothing (policy.py does) and does no job work. What it makes once — sockets, memory —
outlives every child; what it makes per child — control socket, pipes — goes with the child.
"""

import os
import resource
import secrets
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import msgspec
import structlog

from scheduler.config import Config
from scheduler.errors import ChannelClosed, ChannelCorrupt, ConfigError
from scheduler.identity.credentials import Credentials
from scheduler.identity.reading import read_credentials
from scheduler.ipc.boot import BootSpec, ChildId
from scheduler.ipc.control import BootFailed, Drain, Drained, Ready, SetLogging
from scheduler.ipc.runtime import Pulse
from scheduler.logs import configure_logging, keep_events
from scheduler.memory.arena import create_arena
from scheduler.memory.flight import FlightRecorder
from scheduler.memory.layout import SUPERVISOR_ROW, Dimensions
from scheduler.memory.segment import Segment, check_machine
from scheduler.selection.services import distinct_classes
from scheduler.supervisor import sockets
from scheduler.supervisor.children import (
    COMMANDS,
    Child,
    Commands,
    allowed_cores,
    cores_of,
    exit_status,
    link,
)
from scheduler.supervisor.keeper import Keeper
from scheduler.supervisor.policy import (
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
from scheduler.supervisor.reloading import (
    reread_credentials,
    spread_credentials,
    take_log_settings,
    waiting_for_restart,
)
from scheduler.supervisor.runtime_dir import Endpoints, RuntimeDir

LOOK_INTERVAL_NS = SECOND_NS // 10
"""Time between looks at the children's heartbeats and at deadlines. It adds to what a stuck process
may be silent for: with a start of half a second, its successor serves within five."""

UNUSED_ARENA_BYTES = 64 << 10
"""Payloads never leave a gateway that is alone."""

logger = structlog.get_logger(__name__)


def run(
    config: Config,
    *,
    commands: Commands = COMMANDS,
    limits: Limits | None = None,
    on_ready: Callable[[Endpoints], None] | None = None,
    reload: Callable[[], Config] | None = None,
) -> int:
    """Run the scheduler until a signal or a failure ends it; return the exit code.

    0: stopped by SIGTERM or SIGINT; 128 + signal: signalled again while draining; 70: gateways or
    dispatchers kept dying; 78: a child can't start. Raises StartError when this process can't
    start. Call it from the main thread. `on_ready` is called once, when all children serve.
    `reload` reads the configuration again, for SIGHUP; it may raise ConfigError. Raises ConfigError
    itself for a file that a setting names.
    """
    _log_by(config)
    with ExitStack() as stack:
        signals_fd = stack.enter_context(_queued_signals())
        supervisor = Supervisor(config, commands, limits or Limits(), on_ready, reload, stack)
        return supervisor.run(signals_fd)


class Supervisor:
    """All children and everything they share."""

    def __init__(
        self,
        config: Config,
        commands: Commands,
        limits: Limits,
        on_ready: Callable[[Endpoints], None] | None,
        reload: Callable[[], Config] | None,
        stack: ExitStack,
    ) -> None:
        """Make what outlives the children; `stack` releases it.

        Raises StartError, and ConfigError for a file that a setting names.
        """
        # Resolved once: a process pinned to one core would count only that one.
        gateways = config.gateways_total
        self._config = msgspec.structs.replace(config, gateways=gateways)
        self._started_with = config
        self._reload = reload
        self._commands = commands
        self._on_ready = on_ready
        self._ids = [ChildId("dispatcher"), ChildId("stats")]
        self._ids += [ChildId("gateway", index) for index in range(gateways)]
        self._policy = Policy(
            limits,
            children_total=len(self._ids),
            drain_ns=int(config.drain_seconds * SECOND_NS),
        )
        self._children: dict[ChildId, Child] = {}
        self._restarts = dict.fromkeys(self._ids, -1)
        self._exit_code: int | None = None
        self._look_ns = 0
        self._selector = stack.enter_context(selectors.DefaultSelector())

        check_machine()
        self._credentials = read_credentials(config)
        self._runtime = RuntimeDir(config.runtime_path)
        stack.callback(self._runtime.close)
        self._listen(stack)
        self._make_memory(stack)
        self._keeper = Keeper(self._selector, config.runtime_path, config.bundles_max)
        stack.callback(self._keeper.close)
        self._pin()
        _raise_open_files()
        stack.callback(self._kill_all)

    def run(self, signals_fd: int) -> int:
        """Start the children and serve; return the exit code."""
        self._selector.register(
            signals_fd, selectors.EVENT_READ, partial(self._on_signals, signals_fd)
        )
        for child_id in self._ids:
            self._start(child_id)
        while self._exit_code is None:
            self._turn()
        logger.info("ended", exit_code=self._exit_code)
        return self._exit_code

    # --- what outlives the children -----------------------------------------------------

    def _listen(self, stack: ExitStack) -> None:
        server = self._config.server
        self._public = sockets.listen(
            server.host, server.port, host_key="server.host", port_key="server.port"
        )
        stack.callback(sockets.close_all, self._public)
        self._operations = sockets.listen(
            server.ops_host, server.ops_port, host_key="server.ops_host", port_key="server.ops_port"
        )
        stack.callback(sockets.close_all, self._operations)

    def _make_memory(self, stack: ExitStack) -> None:
        limits, gateways = self._config.limits, self._config.gateways
        self._epoch = secrets.token_hex(4)
        self._dimensions = Dimensions(
            gateways=gateways,
            nodes=limits.nodes_max,
            sessions_per_gateway=limits.sessions_per_gateway_max,
            classes=distinct_classes(self._config.scheduler),
        )
        self._segment = Segment.create(
            self._dimensions,
            epoch=self._epoch,
            started_ms=time.time_ns() // 1_000_000,
            started_ns=time.monotonic_ns(),
        )
        stack.callback(self._segment.close)
        self._arena_fds: list[int] = []
        for _ in range(gateways):
            fd = create_arena(limits.arena_bytes if gateways > 1 else UNUSED_ARENA_BYTES)
            stack.callback(os.close, fd)
            self._arena_fds.append(fd)
        self._runtime.publish_memory(self._segment.fd)
        self._runtime.publish_settings(self._config)
        views = self._segment.views
        self._heartbeats = views.column("pulses", "heartbeat_ns")
        self._pulse = Pulse(views, SUPERVISOR_ROW, self._config.observability.path_warn_ms)
        self._flight = FlightRecorder(views, SUPERVISOR_ROW)
        keep_events(self._flight.note)
        self._show_process(SUPERVISOR_ROW, os.getpid(), 0)

    def _pin(self) -> None:
        self._cores = os.sched_getaffinity(0)
        affinity = self._config.cpu_affinity
        os.sched_setaffinity(0, allowed_cores("supervisor", affinity.supervisor, self._cores))

    # --- children -----------------------------------------------------------------------

    def _start(self, child_id: ChildId) -> None:
        self._restarts[child_id] += 1
        if child_id.role == "dispatcher":
            self._segment.views.counters("header", 0).add("generation")
        child = Child(self._commands[child_id.role], self._boot_spec(child_id))
        self._children[child_id] = child
        self._selector.register(
            child.control, selectors.EVENT_READ, partial(self._on_control, child)
        )
        self._selector.register(child.pidfd, selectors.EVENT_READ, partial(self._on_exit, child))
        self._show_process(child_id.row, child.process.pid, child.incarnation)
        logger.info("child started", child=str(child_id), child_pid=child.process.pid)
        self._feed(Started(child_id))
        self._link(child)

    def _boot_spec(self, child_id: ChildId) -> BootSpec:
        gateway, stats = child_id.role == "gateway", child_id.role == "stats"
        return BootSpec(
            role=child_id.role,
            index=child_id.index,
            incarnation=self._restarts[child_id],
            epoch=self._epoch,
            config=self._config,
            dimensions=self._dimensions,
            cores=cores_of(child_id, self._config.cpu_affinity, self._cores),
            supervisor_pid=os.getpid(),
            control_fd=-1,
            segment_fd=self._segment.fd,
            arena_fds=self._arena_fds if gateway else [],
            public_fds=[listener.fileno() for listener in self._public] if gateway else [],
            ops_fds=[listener.fileno() for listener in self._operations] if stats else [],
            credentials=self._credentials if gateway else Credentials(),
        )

    def _link(self, child: Child) -> None:
        """Give the child pipes to those of its peers that run; the others are given theirs."""
        if child.id.role == "dispatcher":
            for peer in self._children.values():
                if peer is not child:
                    link(peer, child)
            return
        dispatcher = self._children.get(ChildId("dispatcher"))
        if dispatcher is not None:
            link(child, dispatcher)

    def _show_process(self, row: int, pid: int, restarts: int) -> None:
        shown = self._segment.views.counters("processes", row)
        shown.set("restarts", restarts)
        shown.set("started_ns", time.monotonic_ns())
        shown.set("pid", pid)

    def _kill_all(self) -> None:
        for child in self._children.values():
            child.process.kill()
            child.reap()

    # --- events -------------------------------------------------------------------------

    def _turn(self) -> None:
        wait_ns = max(0, self._look_ns - time.monotonic_ns())
        ready = self._selector.select(wait_ns / SECOND_NS)
        woke_ns = time.monotonic_ns()
        for key, _ in ready:
            key.data()
        if woke_ns >= self._look_ns:
            self._look_ns = woke_ns + LOOK_INTERVAL_NS
            self._feed(Looked({i: int(self._heartbeats[i.row]) for i in self._children}))
            self._keeper.look(woke_ns)
        self._pulse.turn(woke_ns, time.monotonic_ns())

    def _on_signals(self, signals_fd: int) -> None:
        for number in os.read(signals_fd, 64):
            logger.info("signal received", signal=signal.Signals(number).name)
            if number == signal.SIGHUP:
                self._change_settings()
                self._change_credentials()
            elif number == signal.SIGUSR2:
                self._feed(RollRequested())
            else:
                self._feed(Signalled(number))

    def _change_settings(self) -> None:
        """Read the settings again; what is wrong with them changes nothing."""
        if self._reload is None:
            return
        try:
            wanted = self._reload()
        except ConfigError as error:
            logger.warning("settings not changed", reason=str(error))
            return
        self._config = take_log_settings(self._config, wanted)
        _log_by(self._config)
        try:
            self._runtime.publish_settings(self._config)
        except OSError as error:  # a full disk is no reason to end
            logger.warning("settings not published", reason=str(error))
        for child in self._children.values():
            child.send(SetLogging(self._config.observability))
        logger.info("log settings changed", log_level=self._config.observability.log_level)
        keys = waiting_for_restart(self._started_with, wanted)
        if keys:
            logger.warning("changed settings need a restart", keys=keys)

    def _change_credentials(self) -> None:
        """Read tokens, keys and certificates again, from where the settings at start said."""
        changed = reread_credentials(self._started_with, self._credentials)
        if changed is None:
            return
        self._credentials = changed
        gateways = [child for child in self._children.values() if child.id.role == "gateway"]
        spread_credentials(changed, gateways)

    def _on_control(self, child: Child) -> None:
        if not child.connected:  # hung up since select returned
            return
        try:
            messages = child.control.receive()
        except ChannelClosed:  # it is exiting
            self._hang_up(child)
            return
        except ChannelCorrupt as error:
            logger.warning("child killed", child=str(child.id), reason=str(error))
            self._hang_up(child)
            child.process.kill()
            return
        for message, _ in messages:
            match message:
                case Ready():
                    self._feed(BecameReady(child.id))
                case Drained():
                    self._feed(BecameDrained(child.id))
                case BootFailed(reason):
                    logger.error("child can't start", child=str(child.id), reason=reason)
                    self._feed(BootRefused(child.id, reason))

    def _on_exit(self, child: Child) -> None:
        self._on_control(child)  # its last words may say why
        self._selector.unregister(child.pidfd)
        self._hang_up(child)
        del self._children[child.id]
        code = child.reap()
        self._segment.views.counters("processes", child.id.row).set("pid", 0)
        log = logger.info if code == 0 else logger.warning
        log(
            "child ended",
            child=str(child.id),
            child_pid=child.process.pid,
            status=exit_status(code),
        )
        unasked = self._policy.phase is Phase.SERVING and code != 0
        self._feed(Exited(child.id, code))
        if unasked:  # only now: whoever takes its place comes first
            why = f"{child.id} (pid {child.process.pid}) ended: {exit_status(code)}"
            self._keeper.keep(child.id, why, time.monotonic_ns())

    def _hang_up(self, child: Child) -> None:
        if child.connected:
            self._selector.unregister(child.control)
            child.hang_up()

    # --- decisions ----------------------------------------------------------------------

    def _feed(self, event: Event) -> None:
        for decision in self._policy.feed(time.monotonic_ns(), event):
            self._carry_out(decision)

    def _carry_out(self, decision: Decision) -> None:
        match decision:
            case Announce():
                self._announce()
            case Restart(child_id):
                self._start(child_id)
            case Hold(child_id, wait_ns):
                wait_s = wait_ns / SECOND_NS
                logger.warning("restart delayed", child=str(child_id), seconds=wait_s)
            case Kill(child_id, reason):
                logger.warning("child killed", child=str(child_id), reason=reason)
                self._children[child_id].process.kill()
            case StartDrain():
                self._start_drain()
            case Roll(child_id):
                logger.info("replacing", child=str(child_id), seconds=self._config.drain_seconds)
                self._children[child_id].send(Drain(self._config.drain_seconds, replaced=True))
            case HangUp(child_id):
                self._hang_up(self._children[child_id])
            case Stop(reason, failed):
                log = logger.error if failed else logger.info
                log("stopping", reason=reason)
                for child in self._children.values():
                    self._hang_up(child)
            case Exit(code):
                self._exit_code = code

    def _start_drain(self) -> None:
        seconds = self._config.drain_seconds
        logger.info("draining; signal again to stop at once", seconds=seconds)
        # Once the gateways have closed theirs, new connections are refused instead of left waiting.
        sockets.close_all(self._public)
        for child in self._children.values():
            if child.id.role == "gateway":
                child.send(Drain(seconds))

    def _announce(self) -> None:
        endpoints = Endpoints(
            public=sockets.shown_address(self._public[0]),
            operations=sockets.shown_address(self._operations[0]),
            pid=os.getpid(),
        )
        self._runtime.publish_endpoints(endpoints)
        self._pulse.mark_ready()
        logger.info(
            "serving",
            public=[sockets.shown_address(listener) for listener in self._public],
            operations=[sockets.shown_address(listener) for listener in self._operations],
            gateways=self._config.gateways,
        )
        if self._on_ready is not None:
            self._on_ready(endpoints)


def _log_by(config: Config) -> None:
    # Few of its events are alike by chance: the policy bounds the deaths that they tell of.
    configure_logging(config.observability, "supervisor", limit_repeats=False)


@contextmanager
def _queued_signals() -> Iterator[int]:
    """Turn the signals that we obey into bytes on a descriptor for the loop."""
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    queued = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
    before = {number: signal.signal(number, lambda *_: None) for number in queued}
    wakeup_before = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    try:
        yield read_fd
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read_fd)
        os.close(write_fd)


def _raise_open_files() -> None:
    """Let children open as many sockets as the hard limit allows; they inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):  # some containers refuse even that; the soft limit then stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
