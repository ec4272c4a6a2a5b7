"""The tree of errors that the clients raise.

SdkError
 ├── ConnectionLost     the socket could not be opened or is gone; nothing more will arrive
 ├── Refused            the scheduler answered a request of ours with a typed `error`
 ├── SessionError       one utterance failed; the session goes on
 └── JobFailed          raised by a node's handler: the job fails with this code

What a programmer did wrong is an assert, never one of these.
"""

from typing import Any

from scheduler.errors import SchedulerError


class SdkError(SchedulerError):
    """Base of everything that the clients raise on purpose."""


class ConnectionLost(SdkError):  # noqa: N818 - a state, not a fault
    """The socket could not be opened, or it is gone. The text says which and why."""


class _CodedError(SdkError):
    """An error with one of the protocol's codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Refused(_CodedError):  # noqa: N818 - the field's term
    """The scheduler said no: `code`, a message that says what to change, and `details`."""

    def __init__(self, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(code, message)
        self.details = details or {}

    @property
    def retry_after_ms(self) -> int | None:
        """How long the scheduler asks us to wait, where it says so."""
        wait_ms = self.details.get("retry_after_ms")
        return wait_ms if isinstance(wait_ms, int) and wait_ms >= 0 else None


class SessionError(_CodedError):
    """One utterance ended without a result. `hint` is the sentence to show to people."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(code, message)
        self.hint = hint


class JobFailed(_CodedError):  # noqa: N818 - what happened to the job
    """What a handler raises to fail its job.

    With MODEL_NOT_AVAILABLE, `details["service_id"]` names the service that the node lacks: the
    scheduler then keeps jobs that need it away from the node for a while.
    """

    def __init__(self, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(code, message)
        self.details = details
