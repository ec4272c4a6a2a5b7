"""Who gets in, by the rules; over real sockets: tests/integration/test_identity.py."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from scheduler.config import IdentitySettings
from scheduler.errors import NotAdmitted
from scheduler.gateway.doorkeeper import TOKEN_CHARS_MAX, Doorkeeper
from scheduler.identity.credentials import Credentials, JwtKey, TokenEntry
from scheduler.identity.tokens import digest_of
from scheduler.protocol.node import Hardware, NodeRegister
from scheduler.protocol.session import Features, SessionInit
from tests.gateway.sockets import CounterSink
from tests.harness import poll
from tests.identity.jwts import AUDIENCE, ISSUER, Ed25519Issuer

ISSUER_KEY = Ed25519Issuer()
PATHS = IdentitySettings(
    node_tokens_path="nodes",
    session_tokens_path="sessions",
    jwt_keys_path="keys",
    jwt_issuer=ISSUER,
    jwt_audience=AUDIENCE,
    wrong_per_address_max=1_000_000,
)


def entry(token: str, **more: Any) -> TokenEntry:
    return TokenEntry(f"{token}'s name", digest_of(token), **more)


CREDENTIALS = Credentials(
    node_tokens=[
        entry("any-node"),
        entry("node-7s", node_id="node-7"),
        entry("node-7s-next", node_id="node-7"),
        entry("node-8s", node_id="node-8", expires_s=1),
    ],
    session_tokens=[entry("open"), entry("acmes", tenant="acme"), entry("over", expires_s=1)],
    jwt_keys=[JwtKey("ed", "EdDSA", ISSUER_KEY.public_pem)],
)


@dataclass
class Visitor:
    """A connection."""

    bearer: str | None = None
    peer_address: str = "192.0.2.7"
    certificate: dict[str, Any] = field(default_factory=dict)
    is_admitted: bool = False

    def mark_admitted(self) -> None:
        self.is_admitted = True


CERTIFICATE = {"subject": ((("countryName", "DE"),), (("commonName", "rack-7"),))}


class Doors:
    """A doorkeeper and what it counts."""

    def __init__(
        self, settings: IdentitySettings = PATHS, credentials: Credentials = CREDENTIALS
    ) -> None:
        self.counters = CounterSink()
        self.keeper = Doorkeeper(settings, credentials, self.counters)
        self.visitor = Visitor()

    def session(self, token: str | None = None, tenant: str | None = None, **visitor: Any) -> str:
        """Return the tenant that a session gets."""
        init = SessionInit("1", "web", "en", "es", tenant_id=tenant, token=token)
        self.visitor = Visitor(**visitor)
        admitted = self.keeper.admit_session(self.visitor, init)
        assert init.token is None
        assert self.visitor.is_admitted
        return admitted

    def node(self, token: str | None = None, node_id: str | None = None, **visitor: Any) -> Any:
        """Return the id that a node gets, None for a new one."""
        message = NodeRegister(
            "1", "linux", Hardware(1, 1), [], Features(), True, node_id=node_id, token=token
        )
        self.visitor = Visitor(**visitor)
        self.keeper.admit_node(self.visitor, message)
        assert message.token is None
        assert self.visitor.is_admitted
        return message.node_id

    def refused(self, door: str, *shown: Any, **visitor: Any) -> NotAdmitted:
        before = self.counters["peers_refused_total"]
        with pytest.raises(NotAdmitted) as caught:
            getattr(self, door)(*shown, **visitor)
        assert self.counters["peers_refused_total"] == before + 1
        assert not self.visitor.is_admitted
        return caught.value


@pytest.fixture
def doors() -> Doors:
    return Doors()


# --- nothing asked for ----------------------------------------------------------------------


def test_where_nothing_is_asked_for_all_are_let_in() -> None:
    doors = Doors(IdentitySettings(), Credentials())
    assert doors.session() == ""
    init = SessionInit("1", "web", "en", "es", tenant_id="any", token=digest_of("").hex())
    assert doors.keeper.admit_session(Visitor("y"), init) == "any"
    assert doors.node(node_id="n") == "n"


def test_each_door_has_its_own_setting() -> None:
    sessions = Doors(IdentitySettings(session_tokens_path="sessions"))
    sessions.keeper.admit_node(
        Visitor(), NodeRegister("1", "linux", Hardware(1, 1), [], Features(), True)
    )
    assert sessions.session("open") == ""
    nodes = Doors(IdentitySettings(node_tokens_path="nodes"))
    nodes.keeper.admit_session(Visitor(), SessionInit("1", "web", "en", "es"))
    nodes.refused("node")


# --- tokens ---------------------------------------------------------------------------------


def test_a_token_may_stand_in_the_header_or_the_message(doors: Doors) -> None:
    assert doors.session("open") == ""
    assert doors.session(bearer="open") == ""
    assert doors.node("any-node") is None
    assert doors.node(bearer="any-node") is None
    assert doors.counters["peers_refused_total"] == 0


def test_the_header_counts_where_both_are_given(doors: Doors) -> None:
    assert doors.session("wrong", bearer="acmes") == "acme"
    doors.refused("session", "open", bearer="wrong")
    doors.refused("session", "open", bearer="")


WRONG: dict[str, str | None] = {
    "none": None,
    "empty": "",
    "unknown": "nobody's",
    "expired": "over",
    "a node's": "any-node",
    "the hash itself": digest_of("open").hex(),
    "another case": "OPEN",
    "with a space": " open",
    "cut": "ope",
    "not ASCII": "öpen",
    "too long": "o" * (TOKEN_CHARS_MAX + 1),
    "megabytes": "open" * 1_000_000,
    "looks signed": "a.b.c",
    "dots": "...",
    "badly signed": Ed25519Issuer().token(),
    "signed, expired": ISSUER_KEY.token(exp=int(time.time()) - 60),
    "signed for others": ISSUER_KEY.token(aud="others"),
}


@pytest.mark.parametrize("shown", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("place", ["message", "header"])
def test_whatever_is_wrong_the_answer_is_the_same(
    doors: Doors, shown: str | None, place: str
) -> None:
    where = {"bearer": shown} if place == "header" else {"token": shown}
    for door in ("session", "node"):
        if (door, shown) == ("node", "any-node"):
            continue
        refusal = doors.refused(door, **where)
        assert (refusal.code, refusal.message, refusal.details) == (
            "UNAUTHORIZED",
            "not authorised; check the credential and what it is good for",
            None,
        )


@given(st.text(max_size=100))
def test_no_guess_gets_in(guess: str) -> None:
    doors = Doors()
    if guess not in {"open", "acmes"}:
        doors.refused("session", guess)
        doors.refused("session", bearer=guess)


def test_a_token_is_opaque_or_signed_but_never_tried_as_both() -> None:
    """A dot decides. A hash in the file for the text of a JWT opens nothing, and no key is asked
    about a token without a dot."""
    signed = ISSUER_KEY.token()
    only_hashes = Doors(
        IdentitySettings(session_tokens_path="sessions"),
        Credentials(session_tokens=[entry(signed), entry("open")]),
    )
    only_hashes.refused("session", signed)
    assert only_hashes.session("open") == ""
    only_keys = Doors(credentials=Credentials(jwt_keys=CREDENTIALS.jwt_keys))
    only_keys.refused("session", "open")
    assert only_keys.session(signed) == ""


def test_nodes_show_no_signed_tokens(doors: Doors) -> None:
    doors.refused("node", ISSUER_KEY.token())


# --- tenants --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["opaque", "signed"])
def test_a_tenant_is_filled_in_and_no_other_is_let_through(doors: Doors, kind: str) -> None:
    shown = "acmes" if kind == "opaque" else ISSUER_KEY.token(tenant="acme")
    assert doors.session(shown) == "acme"
    assert doors.session(shown, "") == "acme"
    assert doors.session(shown, "acme") == "acme"
    for other in ("ACME", "acme ", "evil"):
        assert doors.refused("session", shown, other).code == "UNAUTHORIZED"


@pytest.mark.parametrize("kind", ["opaque", "signed"])
def test_who_is_bound_to_no_tenant_names_one(doors: Doors, kind: str) -> None:
    shown = "open" if kind == "opaque" else ISSUER_KEY.token()
    assert doors.session(shown) == ""
    assert doors.session(shown, "globex") == "globex"


# --- nodes ----------------------------------------------------------------------------------


def test_a_bound_token_registers_its_node_alone(doors: Doors) -> None:
    assert doors.node("node-7s") == "node-7"
    assert doors.node("node-7s", "node-7") == "node-7"
    assert doors.node("node-7s-next", "node-7") == "node-7"
    doors.refused("node", "node-7s", "node-9")
    doors.refused("node", "node-7s", "node-8")


def test_a_bound_node_is_registered_by_its_tokens_alone(doors: Doors) -> None:
    assert doors.node("any-node", "node-9") == "node-9"
    doors.refused("node", "any-node", "node-7")
    doors.refused("node", "any-node", "node-8")  # its token has expired; it isn't free by that
    doors.refused("node", "node-8s", "node-8")


def test_a_certificate_alone_may_be_what_is_asked_for() -> None:
    doors = Doors(IdentitySettings(nodes_need_certificate=True), Credentials())
    assert doors.node(None, "n", certificate=CERTIFICATE) == "n"
    assert doors.refused("node", None, "n").code == "UNAUTHORIZED"
    doors.keeper.admit_session(Visitor(), SessionInit("1", "web", "en", "es"))


@pytest.mark.parametrize(
    ("certificate", "name"), [(CERTIFICATE, "rack-7"), ({"version": 3}, "nobody")]
)
def test_the_log_names_the_certificate(certificate: dict[str, Any], name: str) -> None:
    doors = Doors(IdentitySettings(nodes_need_certificate=True), Credentials())
    with capture_logs() as logs:
        doors.node(certificate=certificate)
    assert logs[0]["holder"] == f"certificate of {name}"


def test_a_certificate_comes_on_top_of_a_token() -> None:
    doors = Doors(
        IdentitySettings(nodes_need_certificate=True, node_tokens_path="nodes"), CREDENTIALS
    )
    assert doors.node("any-node", certificate=CERTIFICATE) is None
    without, wrong = (
        doors.refused("node", "any-node"),
        doors.refused("node", "wrong", certificate=CERTIFICATE),
    )
    assert str(without) == str(wrong), "nobody is told which was missing"


# --- limits ---------------------------------------------------------------------------------


def limited(refusals_max: int = 3, window_seconds: float = 60.0) -> Doors:
    return Doors(
        IdentitySettings(
            session_tokens_path="sessions",
            node_tokens_path="nodes",
            wrong_per_address_max=refusals_max,
            window_seconds=window_seconds,
        )
    )


def test_an_address_with_too_many_refusals_is_not_listened_to() -> None:
    doors = limited()
    for door in ("session", "node", "session"):
        assert doors.refused(door, "wrong").code == "UNAUTHORIZED"
    refusal = doors.refused("session", "open")
    assert refusal.code == "RATE_LIMITED"
    assert refusal.details is not None
    assert 0 < refusal.details["retry_after_ms"] <= 60_000
    assert doors.refused("node", "any-node").code == "RATE_LIMITED"
    assert doors.session("open", peer_address="192.0.2.8") == ""


def test_what_is_right_does_not_count() -> None:
    doors = limited()
    for _ in range(10):
        assert doors.session("open") == ""
    for _ in range(3):
        assert doors.refused("session", "acmes", "evil").code == "UNAUTHORIZED"
    assert doors.refused("session", "open").code == "RATE_LIMITED"


def test_refusals_over_the_limit_do_not_prolong_it() -> None:
    doors = limited(1, window_seconds=0.05)
    doors.refused("session", "wrong")

    def admitted() -> bool:
        with suppress(NotAdmitted):
            doors.session("open")
            return True
        return False

    poll("the end of the window", admitted)


# --- changes --------------------------------------------------------------------------------


def test_changed_credentials_count_from_then_on(doors: Doors) -> None:
    assert doors.session("open") == ""
    doors.keeper.change(Credentials(node_tokens=[entry("n")], session_tokens=[entry("new")]))
    doors.refused("session", "open")
    doors.refused("session", ISSUER_KEY.token())
    assert doors.session("new") == ""
    assert doors.node("n", "node-7") == "node-7"
