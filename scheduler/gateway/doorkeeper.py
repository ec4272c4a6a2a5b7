"""Who may open a session or register a node.

A peer shows a token in the handshake's Authorization header or in its first message; nodes may
need a client certificate besides. Where the settings ask for none, all are let in.

Each refusal is the same to the peer, whatever was wrong; the operator finds the reason in the log.
"""

import time
from collections.abc import Mapping
from typing import Any
from typing import Protocol as Interface

import structlog

from scheduler.config import IdentitySettings
from scheduler.errors import NotAdmitted
from scheduler.gateway.connection import Counters
from scheduler.identity.address_limit import AddressLimit
from scheduler.identity.credentials import Credentials, JwtKey
from scheduler.identity.holder import Holder, Unproven
from scheduler.identity.tokens import TokenBook
from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.node import NodeRegister
from scheduler.protocol.session import SessionInit

TOKEN_CHARS_MAX = 4_096
"""Longer ones are refused unread, so that a guess of megabytes costs no more than others."""

_REFUSAL = "not authorised; check the credential and what it is good for"

log = structlog.get_logger(__name__)


class Visitor(Interface):
    """What there is to know of a connection."""

    peer_address: str
    bearer: str | None
    """The token of the handshake's Authorization header."""

    @property
    def certificate(self) -> Mapping[str, Any]:
        """The client certificate of our CA that the peer proved; empty: none."""

    def mark_admitted(self) -> None:
        """Let it say more: it was admitted."""


class Check(Interface):
    """A kind of token."""

    def holder(self, token: str, now_s: float) -> Holder | Unproven:
        """Return whose token it is, `now_s` seconds after the epoch."""


class Doorkeeper:
    """Checks peers as the settings say, against credentials that may be changed."""

    def __init__(
        self, settings: IdentitySettings, credentials: Credentials, counters: Counters
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._limit = AddressLimit(
            settings.wrong_per_address_max, round(settings.window_seconds * 1e9)
        )
        self.change(credentials)

    def change(self, credentials: Credentials) -> None:
        """Go by these from now on; who is in already stays."""
        jwts = _jwt_check(credentials.jwt_keys or [], self._settings)
        self._nodes = TokenBook(credentials.node_tokens or [])
        self._sessions = TokenBook(credentials.session_tokens or [])
        self._jwts = jwts

    def admit_session(self, visitor: Visitor, init: SessionInit) -> str:
        """Return the session's tenant, "" for none; raise NotAdmitted."""
        shown, claimed = _shown(visitor, init), init.tenant_id or ""
        if not self._settings.sessions_need_token:
            visitor.mark_admitted()
            return claimed
        self._check_limit(visitor)
        found = _holder(shown, self._sessions, self._jwts)
        if isinstance(found, Holder) and found.tenant and claimed not in {"", found.tenant}:
            found = Unproven(f"tenant_id is not that of {found.name}")
        if isinstance(found, Unproven):
            raise self._refusal(visitor, "session", found)
        visitor.mark_admitted()
        log.debug("session admitted", holder=found.name, address=visitor.peer_address)
        return found.tenant or claimed

    def admit_node(self, visitor: Visitor, message: NodeRegister) -> None:
        """Give a node without an id that of its token; raise NotAdmitted."""
        shown = _shown(visitor, message)
        if not self._settings.nodes_need_proof:
            visitor.mark_admitted()
            return
        self._check_limit(visitor)
        found = self._node_holder(visitor, message, shown)
        if isinstance(found, Unproven):
            raise self._refusal(visitor, "node", found)
        visitor.mark_admitted()
        message.node_id = message.node_id or found.node_id or None
        log.debug("node admitted", holder=found.name, address=visitor.peer_address)

    def _node_holder(
        self, visitor: Visitor, message: NodeRegister, shown: str
    ) -> Holder | Unproven:
        found: Holder | Unproven = Holder(f"certificate of {_common_name(visitor.certificate)}")
        if self._settings.node_tokens_path:
            found = _holder(shown, self._nodes, None)
        if self._settings.nodes_need_certificate and not visitor.certificate:
            return Unproven("no client certificate")
        if isinstance(found, Unproven) or not message.node_id:
            return found
        bound = found.node_id or message.node_id in self._nodes.node_ids
        if bound and message.node_id != found.node_id:
            return Unproven(f"node_id is not for the token of {found.name}")
        return found

    def _check_limit(self, visitor: Visitor) -> None:
        wait_ns = self._limit.wait_ns(visitor.peer_address, time.monotonic_ns())
        if wait_ns:
            self._counters.add("peers_refused_total")
            wait_ms = wait_ns // 1_000_000 + 1
            raise NotAdmitted(
                ErrorCode.RATE_LIMITED,
                f"too many refusals; try again in {wait_ms} ms",
                {"retry_after_ms": wait_ms},
            )

    def _refusal(self, visitor: Visitor, kind: str, why: Unproven) -> NotAdmitted:
        self._counters.add("peers_refused_total")
        self._limit.add(visitor.peer_address, time.monotonic_ns())
        log.warning("peer refused", kind=kind, reason=why.reason, address=visitor.peer_address)
        return NotAdmitted(ErrorCode.UNAUTHORIZED, _REFUSAL)


def _common_name(certificate: Mapping[str, Any]) -> str:
    subject = certificate.get("subject", ())
    names = [text for part in subject for kind, text in part if kind == "commonName"]
    return names[0] if names else "nobody"


def _shown(visitor: Visitor, message: SessionInit | NodeRegister) -> str:
    """Return the token that a peer shows, "" for none; the header's comes first.

    It is taken out of the message, which is kept as long as the peer stays.
    """
    in_message, message.token = message.token, None
    return in_message or "" if visitor.bearer is None else visitor.bearer


def _holder(shown: str, tokens: Check, jwts: Check | None) -> Holder | Unproven:
    """Return whose token it is. One with a dot is a JWT, one without is opaque: none is tried as
    both, since a check that failed must not lead to one that is easier."""
    if not shown:
        return Unproven("no token")
    if len(shown) > TOKEN_CHARS_MAX or not shown.isascii():
        return Unproven("no token of ours by its looks")
    if "." not in shown:
        return tokens.holder(shown, time.time())
    return jwts.holder(shown, time.time()) if jwts is not None else Unproven("JWT not taken here")


def _jwt_check(keys: list[JwtKey], settings: IdentitySettings) -> Check | None:
    if not keys:
        return None
    from scheduler.identity.session_jwts import JwtCheck  # heavy, and most run without

    return JwtCheck(keys, settings)
