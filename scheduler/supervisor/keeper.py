"""Has a bundle of what was known written when a child died, by a process of its own.

The supervisor starts that process, reaps it, and kills it when it takes too long or the
scheduler ends. It never waits for it, and nothing that goes wrong with it is more than a line in
the log.
"""

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from scheduler.ipc.boot import ChildId
from scheduler.supervisor.children import exit_status
from scheduler.supervisor.policy import SECOND_NS
from scheduler.supervisor.runtime_dir import CRASHES_NAME

COMMAND = (sys.executable, "-m", "scheduler.bundle")

INTERVAL_NS = 10 * SECOND_NS
"""Between two starts: children that die one after the other have the same story to tell."""

RUN_NS_MAX = 30 * SECOND_NS
NICENESS = 19
_REASON_BYTES_MAX = 4_096

logger = structlog.get_logger(__name__)


class Keeper:
    """Starts that process, one at a time."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        runtime_dir: Path,
        bundles_max: int,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Keep the newest `bundles_max`, 0 for none; `selector` calls the data of its keys."""
        self._selector = selector
        self._runtime_dir = runtime_dir
        self._bundles_max = bundles_max
        self._command = command
        self._writer: _Writer | None = None
        self._started_ns = -INTERVAL_NS

    def keep(self, child: ChildId, why: str, now_ns: int) -> None:
        """Start writing about the death of `child`, unless that is too soon after another."""
        soon = now_ns - self._started_ns < INTERVAL_NS
        if not self._bundles_max or self._writer is not None or soon:
            return
        self._started_ns = now_ns
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        name = f"{moment}-{str(child).replace(' ', '-')}.tar.gz"
        # The last argument tells it whose end it must not outlive.
        arguments = (str(self._runtime_dir), name, why, str(self._bundles_max), str(os.getpid()))
        try:
            self._writer = _Writer((*self._command, *arguments), name)
        except OSError as error:
            logger.warning("bundle not kept", name=name, reason=str(error))
            return
        self._selector.register(self._writer.pidfd, selectors.EVENT_READ, self._on_exit)

    def look(self, now_ns: int) -> None:
        """Kill a process that takes too long; to be called now and then."""
        if self._writer is not None and now_ns - self._started_ns > RUN_NS_MAX:
            self._writer.process.kill()

    def close(self) -> None:
        """End what runs."""
        if self._writer is not None:
            self._writer.process.kill()
            self._reap(self._writer)

    def _on_exit(self) -> None:
        assert self._writer is not None
        name = self._writer.name
        code, reason = self._reap(self._writer)
        if code == 0:
            logger.info("bundle kept", path=str(self._runtime_dir / CRASHES_NAME / name))
        else:
            status = exit_status(code)
            logger.warning("bundle not kept", name=name, status=status, reason=reason)

    def _reap(self, writer: "_Writer") -> tuple[int, str]:
        self._selector.unregister(writer.pidfd)
        self._writer = None
        return writer.reap()


class _Writer:
    """The process that writes a bundle."""

    def __init__(self, command: Sequence[str], name: str) -> None:
        """Start it; raises OSError."""
        self.name = name
        self.process = subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # as the children: Ctrl-C is for the supervisor
        )
        with suppress(OSError):  # some sandboxes refuse it
            # From outside, so that it holds before the interpreter has started.
            os.setpriority(os.PRIO_PROCESS, self.process.pid, NICENESS)
        try:
            self.pidfd = os.pidfd_open(self.process.pid)
        except OSError:
            self.process.kill()
            self._wait()
            raise

    def reap(self) -> tuple[int, str]:
        """Return exit code and last words of the process, which has ended or was killed."""
        os.close(self.pidfd)
        return self._wait()

    def _wait(self) -> tuple[int, str]:
        code = self.process.wait()
        assert self.process.stderr is not None
        with self.process.stderr as stderr, suppress(BlockingIOError):
            # Whoever else may hold the other end: it is not waited for.
            os.set_blocking(stderr.fileno(), False)
            said = os.read(stderr.fileno(), _REASON_BYTES_MAX).decode(errors="replace")
            return code, said.strip().rpartition("\n")[2]
        return code, ""
