"""The tree of errors this program raises.

SchedulerError
 ├── ConfigError          an operator's setting is wrong; says file, key, value, what is allowed
 ├── StartError           the scheduler can't start here: busy port, no permission, no memory
 ├── LayoutError          a memory segment is not ours, or of another layout
 ├── NotFoundError        what an operator asks about isn't there; says what is
 ├── ChannelError
 │    ├── ChannelClosed   the other end is gone
 │    ├── ChannelFull     the send queue is at its bound; nothing was queued
 │    └── ChannelCorrupt  bytes that no peer of this version writes
 ├── ArenaFull            no room for a payload now
 ├── ProgramError         a program started for a measurement failed; has the end of its log
 ├── BundleError          a bundle for a bug report can't be written there
 └── PeerError            a peer's message can't be honoured; becomes a typed `error` reply
      └── NotAdmitted     the peer isn't let in; its connection closes after the reply

What a programmer did wrong is an assert, never one of these.
"""

from typing import Any

from scheduler.protocol.codes import ErrorCode


class SchedulerError(Exception):
    """Base of all errors raised by the scheduler on purpose."""


class ConfigError(SchedulerError):
    """A setting is unknown, of the wrong type or out of range."""


class StartError(SchedulerError):
    """The scheduler can't start on this machine as configured."""


class LayoutError(SchedulerError):
    """A memory segment is not there yet, not ours, or of another layout."""


class NotFoundError(SchedulerError):
    """There is no such node or job, or nothing is known of it any more."""


class ChannelError(SchedulerError):
    """A pipe between two of our processes failed."""


class ChannelClosed(ChannelError):  # noqa: N818 - a state, not a fault
    """The process at the other end is gone."""


class ChannelFull(ChannelError):  # noqa: N818 - a state, not a fault
    """The send queue is at its bound; nothing was queued."""


class ChannelCorrupt(ChannelError):  # noqa: N818 - a state, not a fault
    """The pipe carried bytes that no peer of this version writes."""


class ArenaFull(SchedulerError):  # noqa: N818 - a state, not a fault
    """The payload arena has no room now."""


class ProgramError(SchedulerError):
    """A program that was started for a measurement failed, or took too long to start or end."""


class BundleError(SchedulerError):
    """A bundle for a bug report can't be written, or a file for it not be read."""


class PeerError(SchedulerError):
    """A session or node sent something that can't be honoured.

    Carries what the peer is told: `code`, a message that says what to change, and optional
    machine-readable `details`.
    """

    def __init__(
        self, code: ErrorCode, message: str, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class NotAdmitted(PeerError):  # noqa: N818 - a decision, not a fault
    """The peer has not shown that it may come in; after the reply its connection closes."""
