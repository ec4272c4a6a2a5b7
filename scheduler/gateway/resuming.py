"""Sessions that may resume: what they show for it, and how long they wait without a socket.

    attached ──socket lost──► suspended ──session_resume──► attached
        │ session_resume              └──resume_seconds, bounds──► ended
        └──► attached to the new socket; the old one is closed

A token names the gateway that owns the session and the start of that gateway, so that whichever
gateway a new socket reaches knows where it belongs.
"""

import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple
from typing import Protocol as Interface

import structlog

from scheduler.errors import NotAdmitted, PeerError
from scheduler.gateway.chunk_seqs import ChunkSeqs
from scheduler.gateway.connection import Connection
from scheduler.gateway.context import GatewayContext
from scheduler.gateway.reply_tail import Reply, ReplyTail, Tails, TailSizes
from scheduler.identity.address_limit import AddressLimit
from scheduler.protocol.cancellations import Cancellation
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.session import SessionResume

TAILS_BYTES_MAX = 128 << 20
"""Replies kept of all sessions of a gateway that have a socket."""

WAITING_BYTES_MAX = 256 << 20
"""Replies kept of all that have none. Twice the other, so that there is room for what still comes
where all lose theirs at once."""

ENDED_MAX = 10_000
"""Sessions known to have ended, of the last."""

_SECRET_BYTES = 32
_TOKEN = re.compile(r"([0-9]{1,3})\.([0-9]{1,9})\.[A-Za-z0-9_-]+")

_REFUSAL = "no session to resume with this token and replies_received; open one with session_init"

log = structlog.get_logger(__name__)


class Owner(NamedTuple):
    """The gateway that a session belongs to, and which of its starts."""

    gateway: int
    incarnation: int


def new_token(owner: Owner) -> str:
    """Return a token that nobody can guess."""
    return f"{owner.gateway}.{owner.incarnation}.{secrets.token_urlsafe(_SECRET_BYTES)}"


def owner_of(token: str) -> Owner | None:
    """Return who issued `token`, as far as it says; None where it is no token of ours."""
    found = _TOKEN.fullmatch(token)
    return Owner(int(found[1]), int(found[2])) if found is not None else None


class Resumption:
    """What a session keeps so that it may resume."""

    def __init__(self, session_id: str, owner: Owner, bytes_max: int) -> None:
        self.session_id = session_id
        self._owner = owner
        self.token = new_token(owner)
        self._used = self.token
        self.tail = ReplyTail(bytes_max)
        self.chunks = ChunkSeqs()
        self.is_suspended = False
        self.owed: bytes | None = None
        """A message that is no reply, for when the session is back."""

    def knows(self, token: str) -> bool:
        """Return whether the client may resume with `token`, in constant time.

        The one that it used last stays good until it has shown that it got the next one, or a
        socket that dies with the answer would be the end of the session.
        """
        shown = token.encode()
        current = hmac.compare_digest(shown, self.token.encode())
        return hmac.compare_digest(shown, self._used.encode()) or current

    def renew(self, used: str) -> None:
        """The client has resumed with `used`: give it another token."""
        self._used = used
        self.token = new_token(self._owner)

    def confirm(self) -> None:
        """The client speaks: it has the token."""
        self._used = self.token


class Resumable(Interface):
    """A session that asked for it."""

    def go_on(self, connection: Connection, replies: list[Reply]) -> None:
        """Go on on another socket, with replies that its client has not got."""

    def end_suspended(self, reason: Cancellation) -> None:
        """End as a session whose socket closed."""


Refuse = Callable[[PeerError], None]
Forward = Callable[[Connection, int, Refuse], None]
"""Leads a socket to the gateway of that number, or says why it can't."""


class ResumeDesk:
    """The sessions of one gateway that may resume."""

    def __init__(self, context: GatewayContext, forward: Forward | None = None) -> None:
        """`forward` is needed where there are several gateways."""
        limits, identity = context.config.limits, context.config.identity
        self.seconds = limits.resume_seconds
        self._window_ns = round(limits.resume_seconds * 1e9)
        self._sessions_max = limits.suspended_sessions_max
        self._bytes_max = limits.suspended_bytes_max
        self._context = context
        self._counters = context.counters
        self._forward = forward
        self._owner = Owner(context.index, context.incarnation)
        self._nobody = Resumption("", self._owner, 0)
        self._sessions: dict[str, tuple[Resumable, Resumption]] = {}
        self._suspended: OrderedDict[str, int] = OrderedDict()
        """When each session ends, the first to end first."""
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._tails = Tails(TAILS_BYTES_MAX)
        self._waiting = TailSizes()
        self._limit = AddressLimit(
            identity.wrong_per_address_max, round(identity.window_seconds * 1e9)
        )

    # --- sessions ------------------------------------------------------------------------

    def enroll(self, session_id: str, session: Resumable) -> Resumption | None:
        """Let a new session resume later; None where that is turned off."""
        if not self._window_ns:
            return None
        resumption = Resumption(session_id, self._owner, self._bytes_max)
        self._sessions[session_id] = (session, resumption)
        return resumption

    def note(self, resumption: Resumption, reply: Reply, *, sent: bool) -> None:
        """Keep a reply; not `sent` is one for which there is no socket."""
        tail = resumption.tail
        tail.add(reply, sent=sent)
        if sent:
            self._tails.note(tail)
        elif resumption.is_suspended:
            self._waiting.count(tail)
            if tail.is_broken:
                self._end_soon(resumption.session_id)

    def suspend(self, resumption: Resumption) -> None:
        """The session's socket is gone; the oldest of too many such sessions ends."""
        resumption.is_suspended = True
        self._tails.leave(resumption.tail)
        self._waiting.count(resumption.tail)
        self._suspended[resumption.session_id] = self._context.now_ns + self._window_ns
        self._show_suspended()
        if resumption.tail.is_broken:
            self._end_soon(resumption.session_id)
        if len(self._suspended) > self._sessions_max:
            self._end_first(Cancellation.TOO_MANY_SUSPENDED)

    def leave(self, resumption: Resumption) -> None:
        """The session has ended."""
        del self._sessions[resumption.session_id]
        self._ended[resumption.session_id] = None
        if len(self._ended) > ENDED_MAX:
            self._ended.popitem(last=False)
        self._tails.leave(resumption.tail)
        self._wake(resumption)

    def sweep(self, now_ns: int) -> None:
        """End the sessions that were not resumed in time, and the oldest where all that wait hold
        too much; call it several times a second."""
        while self._suspended and next(iter(self._suspended.values())) <= now_ns:
            self._end_first(Cancellation.NOT_RESUMED)
        while self._waiting.bytes > WAITING_BYTES_MAX:
            self._end_first(Cancellation.SUSPENDED_TOO_LARGE)

    def _wake(self, resumption: Resumption) -> None:
        resumption.is_suspended = False
        self._waiting.leave(resumption.tail)
        self._suspended.pop(resumption.session_id, None)
        self._show_suspended()

    def _end_soon(self, session_id: str) -> None:
        # Not now, under the feet of what is delivering a reply.
        self._suspended[session_id] = 0
        self._suspended.move_to_end(session_id, last=False)

    def _end_first(self, reason: Cancellation) -> None:
        session, _ = self._sessions[next(iter(self._suspended))]
        session.end_suspended(reason)

    def _show_suspended(self) -> None:
        self._counters.set("sessions_suspended", len(self._suspended))

    # --- sockets -------------------------------------------------------------------------

    def lead(self, connection: Connection, resume: SessionResume, refuse: Refuse) -> None:
        """Lead a socket to the session that it is to go on with, here or at another gateway.

        Raises NotAdmitted; where it is another gateway that can't be reached, `refuse` is told.
        """
        owner = owner_of(resume.resume_token)
        if owner is None or owner.gateway == self._owner.gateway or self._forward is None:
            self._take(connection, resume, owner)
            return

        def refused(error: PeerError) -> None:
            self._counters.add("sessions_resume_refused_total")
            refuse(NotAdmitted(error.code, error.message, error.details))

        self._forward(connection, owner.gateway, refused)

    def _take(self, connection: Connection, resume: SessionResume, owner: Owner | None) -> None:
        address = connection.peer_address
        if owner is not None and owner != self._owner:
            # No guess: a gateway that is gone issued it. All of its clients come at once, and
            # those behind one address must learn of it rather than be told to wait.
            raise self._refusal(address, "its gateway is gone")
        if resume.session_id in self._ended:  # likewise, after an outage that lasted too long
            raise self._refusal(address, "the session has ended")
        self._check_limit(address)
        session, resumption = self._sessions.get(resume.session_id, (None, self._nobody))
        if not resumption.knows(resume.resume_token) or session is None:
            self._limit.add(address, self._context.now_ns)
            raise self._refusal(address, "no such session, or not its token")
        replies = resumption.tail.resume(resume.replies_received)
        if replies is None:
            raise self._refusal(address, "no such number of replies")
        resumption.renew(resume.resume_token)
        self._wake(resumption)
        self._tails.note(resumption.tail)
        self._counters.add("sessions_resumed_total")
        session.go_on(connection, replies)

    def _check_limit(self, address: str) -> None:
        wait_ns = self._limit.wait_ns(address, self._context.now_ns)
        if wait_ns:
            self._counters.add("sessions_resume_refused_total")
            wait_ms = wait_ns // 1_000_000 + 1
            raise NotAdmitted(
                ErrorCode.RATE_LIMITED,
                f"too many refusals; try again in {wait_ms} ms",
                {"retry_after_ms": wait_ms},
            )

    def _refusal(self, address: str, why: str) -> NotAdmitted:
        self._counters.add("sessions_resume_refused_total")
        log.info("resume refused", reason=why, address=address)
        return gone()


def gone() -> NotAdmitted:
    """Return the refusal of every session that can't be resumed, whatever the reason."""
    return NotAdmitted(ErrorCode.INVALID_SESSION, _REFUSAL)
