"""What sessions and nodes do with the doorkeeper's word, message by message."""

import pytest

from scheduler.config import Config, IdentitySettings
from scheduler.identity.credentials import Credentials, TokenEntry
from scheduler.identity.tokens import digest_of
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import FakeNode, FakeSession, World

CREDENTIALS = Credentials(
    node_tokens=[
        TokenEntry("nodes", digest_of("a node's")),
        TokenEntry("n7", digest_of("node 7's"), node_id="node-7"),
    ],
    session_tokens=[
        TokenEntry("any", digest_of("a client's")),
        TokenEntry("acme", digest_of("acme's"), tenant="acme"),
    ],
)
INIT = {"type": "session_init", "client_version": "1", "platform": "web"}
LANGUAGES = {"src_lang": "en", "tgt_lang": "es"}


@pytest.fixture
def guarded(make_world: MakeWorld) -> World:
    identity = IdentitySettings(
        node_tokens_path="nodes", session_tokens_path="sessions", wrong_per_address_max=2
    )
    return make_world(Config(identity=identity), credentials=CREDENTIALS)


def tenant_of(session: FakeSession) -> str:
    identity = session.peer._identity
    assert identity is not None
    assert identity.init.token is None, "a token is not kept"
    return identity.tenant


def codes(peer: FakeSession | FakeNode) -> list[str]:
    return [message.get("code", message["type"]) for message in peer.wire.take()]


def test_the_tenant_is_the_sessions(guarded: World) -> None:
    assert tenant_of(guarded.session(token="acme's")) == "acme"  # noqa: S106
    assert tenant_of(guarded.session(token="a client's", tenant_id="globex")) == "globex"  # noqa: S106
    assert tenant_of(guarded.session(token="a client's")) == ""  # noqa: S106


def test_without_identity_the_tenant_is_what_the_session_says(world: World) -> None:
    assert tenant_of(world.session(tenant_id="any")) == "any"
    assert tenant_of(world.session(token="is not looked at")) == ""  # noqa: S106


def test_a_session_that_is_not_let_in_is_told_and_closed(guarded: World) -> None:
    session = guarded.session(token="wrong")  # noqa: S106
    assert codes(session) == ["UNAUTHORIZED"]
    assert session.wire.closed == (1008, "UNAUTHORIZED")
    assert not session.wire.identified
    assert guarded.count("peers_refused_total") == 1
    assert guarded.count("messages_refused_total") == 1
    assert guarded.count("sessions_opened_total") == 0


def test_a_node_that_is_not_let_in_is_told_and_closed(guarded: World) -> None:
    node = guarded.node(ready=False, token="a client's")  # noqa: S106
    assert codes(node) == ["UNAUTHORIZED"]
    assert node.wire.closed == (1008, "UNAUTHORIZED")
    assert guarded.core.counts.nodes_registered_total == 0


def test_too_many_are_told_so_and_closed(guarded: World) -> None:
    for _ in range(2):
        assert codes(guarded.session()) == ["UNAUTHORIZED"]
    late = guarded.session(token="a client's")  # noqa: S106
    (refusal,) = late.wire.take()
    assert refusal["code"] == "RATE_LIMITED"
    assert refusal["details"]["retry_after_ms"] > 0
    assert late.wire.closed == (1008, "RATE_LIMITED")


def test_a_node_gets_the_id_of_its_token(guarded: World) -> None:
    node = guarded.node(token="node 7's")  # noqa: S106
    assert node.node_id == "node-7"


def test_who_was_let_in_but_refused_later_may_try_again_with_the_header(guarded: World) -> None:
    """A header comes once a connection, and must last until the peer is identified."""
    first = guarded.node(token="a node's", node_id="same")  # noqa: S106
    second = FakeNode(guarded, 0)
    second.wire.bearer = "a node's"
    for expected in ("NODE_ID_CONFLICT", "node_register_ack"):
        second.register(node_id="same")
        guarded.settle()
        assert codes(second)[0] == expected
        if expected == "NODE_ID_CONFLICT":
            first.hang_up()


def test_a_wrong_pairing_code_costs_no_token(guarded: World) -> None:
    session = FakeSession(guarded, 0)
    session.wire.bearer = "acme's"
    session.say(**INIT, **LANGUAGES, pairing_code="000000")
    guarded.settle()
    assert codes(session) == ["INVALID_PAIRING_CODE"]
    assert session.wire.closed is None
    session.say(**INIT, **LANGUAGES)
    assert codes(session) == ["session_init_ack"]
    assert tenant_of(session) == "acme"


def test_a_pairing_code_is_not_asked_about_before_the_token(guarded: World) -> None:
    session = guarded.session(pairing_code="000000")
    assert codes(session) == ["UNAUTHORIZED"]
    assert guarded.core.counts.pairings_refused_total == 0
