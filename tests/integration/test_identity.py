"""Who gets in: every rule, with real processes and sockets."""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from scheduler.sdk.client import SessionClient
from scheduler.sdk.errors import ConnectionLost, Refused
from scheduler.sdk.jobs import Job, JobOutcome
from scheduler.sdk.node import NodeClient
from tests.identity.certificates import Authority
from tests.identity.jwts import Ed25519Issuer, assemble, claims, hs256, unsigned
from tests.integration.cluster import Cluster
from tests.integration.identified import SECRET, Files, reload, running
from tests.integration.peers import (
    DEADLINE_SECONDS,
    INIT,
    FakeNode,
    FakeSession,
    Message,
    a_node,
    raw_node,
    raw_session,
    registration,
    until,
)

ROOT = Path(__file__).parents[2]
REFUSAL = "not authorised; check the credential and what it is good for"


class Guarded(NamedTuple):
    """A scheduler that asks, and what is good there."""

    cluster: Cluster
    files: Files


@pytest.fixture(scope="module")
def module_guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    files = Files(folder)
    with running(folder, files.settings) as cluster:
        yield Guarded(cluster, files)


@pytest.fixture
def guarded(module_guarded: Guarded) -> Iterator[Guarded]:
    yield module_guarded
    module_guarded.cluster.check_settled()


def bearer(token: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


async def refused(peer: FakeSession | FakeNode, code: str = "UNAUTHORIZED") -> Message:
    """Return the error that the peer is told before it is closed with 1008."""
    error = await peer.expect("error")
    assert error["code"] == code
    assert await peer.closed() == 1008
    assert peer.take_unread() == []
    return error


async def refused_session(url: str, connection: dict[str, Any] | None = None, **init: Any) -> str:
    async with raw_session(url, **(connection or {})) as session:
        await session.send("session_init", **{**INIT, **init})
        error = await refused(session)
        assert "details" not in error
        return str(error["message"])


async def refused_node(url: str, connection: dict[str, Any] | None = None, **fields: Any) -> str:
    async with raw_node(url, **(connection or {})) as node:
        await node.send("node_register", **registration(**fields))
        return str((await refused(node))["message"])


# --- tokens ---------------------------------------------------------------------------------


async def test_a_job_goes_through_with_tokens_in_messages(guarded: Guarded) -> None:
    cluster, files = guarded
    async with (
        a_node(cluster.node_url, token=files.node),
        raw_session(cluster.session_url) as session,
    ):
        await session.init(token=files.session)
        await session.speak(0)
        await session.result(0)


async def test_a_job_goes_through_with_tokens_in_headers(guarded: Guarded) -> None:
    cluster, files = guarded
    async with (
        raw_node(cluster.node_url, **bearer(files.node)) as node,
        raw_session(cluster.session_url, **bearer(files.session)) as session,
    ):
        await node.register()
        await node.become_ready()
        await session.init()
        await session.speak(0)
        await session.result(0)


@pytest.mark.parametrize("kind", ["missing", "empty", "wrong", "expired", "of a node", "its hash"])
async def test_whatever_is_wrong_is_refused_alike(guarded: Guarded, kind: str) -> None:
    cluster, files = guarded
    shown = {
        "missing": None,
        "empty": "",
        "wrong": files.session[:-1] + ("0" if files.session[-1] != "0" else "1"),
        "expired": files.expired,
        "of a node": files.node,
        "its hash": files.sessions_path.read_text().split()[1],
    }[kind]
    before = cluster.total("peers_refused_total")
    assert await refused_session(cluster.session_url, token=shown) == REFUSAL
    assert cluster.total("peers_refused_total") == before + 1
    if shown is not None:
        header = bearer(shown)
        assert await refused_session(cluster.session_url, header) == REFUSAL
        assert await refused_session(cluster.session_url, header, token=files.session) == REFUSAL


@pytest.mark.parametrize("kind", ["missing", "wrong", "of a session"])
async def test_nodes_are_refused_alike(guarded: Guarded, kind: str) -> None:
    cluster, files = guarded
    shown = {"missing": None, "wrong": "x", "of a session": files.session}[kind]
    assert await refused_node(cluster.node_url, token=shown, node_id="intruder") == REFUSAL
    assert "intruder" not in cluster.nodes()


async def test_refusals_are_counted_by_code(guarded: Guarded) -> None:
    cluster, _ = guarded

    def unauthorized() -> int:
        _, body = cluster.get(f"{cluster.scheduler.ops_url}/api/v1/refusals")
        codes = json.loads(body)["refused_by_code"]
        return int(codes.get("UNAUTHORIZED", 0))

    before = unauthorized()
    await refused_session(cluster.session_url)
    await until(lambda: unauthorized() == before + 1, "the count")


async def test_before_the_token_nothing_else_is_heard(guarded: Guarded) -> None:
    cluster, _ = guarded
    async with raw_session(cluster.session_url) as session:
        await session.speak(0)
        assert (await session.expect("error"))["code"] == "INVALID_SESSION"
        await session.send("session_init", **INIT)
        await refused(session)
    assert cluster.total("jobs_accepted_total") == cluster.total("jobs_completed_total")


async def test_a_peer_that_says_nothing_has_the_usual_deadline(tmp_path: Path) -> None:
    files = Files(tmp_path)
    settings = {**files.settings, "limits.first_message_timeout_seconds": 0.2}
    with running(tmp_path, settings) as cluster:
        async with raw_session(cluster.session_url, **bearer(files.session)) as session:
            assert await session.closed() == 1008


# --- tenants and node ids -------------------------------------------------------------------


async def test_a_token_with_a_tenant_is_for_that_tenant_alone(guarded: Guarded) -> None:
    cluster, files = guarded
    for tenant in (None, "", "acme"):
        async with raw_session(cluster.session_url) as session:
            await session.init(token=files.acme, tenant_id=tenant)
    for tenant in ("globex", "ACME"):
        message = await refused_session(cluster.session_url, token=files.acme, tenant_id=tenant)
        assert message == REFUSAL
    async with raw_session(cluster.session_url) as session:
        await session.init(token=files.session, tenant_id="globex")


async def test_a_token_with_a_node_id_is_for_that_node_alone(guarded: Guarded) -> None:
    cluster, files = guarded
    async with raw_node(cluster.node_url) as node:
        assert (await node.register(token=files.node_7))["node_id"] == "node-7"
    for token, node_id in ((files.node_7, "node-8"), (files.node, "node-7")):
        assert await refused_node(cluster.node_url, token=token, node_id=node_id) == REFUSAL
    async with raw_node(cluster.node_url) as node:
        assert (await node.register(token=files.node, node_id="n1"))["node_id"] == "n1"


async def test_a_node_that_must_try_again_keeps_its_header(guarded: Guarded) -> None:
    cluster, files = guarded
    async with (
        raw_node(cluster.node_url, **bearer(files.node)) as second,
        raw_node(cluster.node_url) as first,
    ):
        await first.register(token=files.node, node_id="same")
        await second.send("node_register", **registration(node_id="same"))
        assert (await second.expect("error"))["code"] == "NODE_ID_CONFLICT"
        await first.close()
        await until(lambda: cluster.total("nodes") == 1, "the end of the first")
        await second.register(node_id="same")


# --- signed tokens --------------------------------------------------------------------------


async def test_signed_tokens_open_sessions(guarded: Guarded) -> None:
    cluster, files = guarded
    backend = assemble({"alg": "HS256", "kid": "hs"}, claims(), hs256(SECRET))
    for token in (files.issuer.token(), files.issuer.token(tenant="acme"), backend):
        async with raw_session(cluster.session_url) as session:
            await session.init(token=token)
        async with raw_session(cluster.session_url, **bearer(token)) as session:
            await session.init()
    acme = files.issuer.token(tenant="acme")
    assert await refused_session(cluster.session_url, token=acme, tenant_id="x") == REFUSAL


def forgeries(files: Files) -> dict[str, str]:
    public = files.issuer.public_pem
    now = int(time.time())
    return {
        "none": assemble({"alg": "none", "kid": "ed"}, claims(), unsigned),
        "a public key as secret": assemble({"alg": "HS256", "kid": "ed"}, claims(), hs256(public)),
        "a public key as the secret of another kid": assemble(
            {"alg": "HS256", "kid": "hs"}, claims(), hs256(public)
        ),
        "another algorithm": assemble({"alg": "HS512", "kid": "hs"}, claims(), hs256(SECRET)),
        "another key": Ed25519Issuer("ed").token(),
        "unknown kid": files.issuer.token({"kid": "x"}),
        "expired": files.issuer.token(exp=now - 60),
        "for ever": files.issuer.token(exp=now + 10**9),
        "no exp": files.issuer.token(exp=None),
        "not yet": files.issuer.token(nbf=now + 600),
        "another issuer": files.issuer.token(iss="https://evil.example"),
        "for another audience": files.issuer.token(aud="billing"),
        "no tenant that is one": files.issuer.token(tenant=["acme"]),
        "no JSON": assemble(b"[" * 2_500, b"", unsigned),
        "dots": "..",
    }


async def test_forged_tokens_open_nothing(guarded: Guarded) -> None:
    cluster, files = guarded
    for token in forgeries(files).values():
        assert await refused_session(cluster.session_url, token=token) == REFUSAL
    assert await refused_node(cluster.node_url, token=files.issuer.token()) == REFUSAL


# --- limits ---------------------------------------------------------------------------------


async def test_an_address_that_guesses_is_not_listened_to(tmp_path: Path) -> None:
    files = Files(tmp_path)
    settings = {
        **files.settings,
        "gateways": 1,
        "identity.wrong_per_address_max": 3,
        "identity.window_seconds": 3_600,
    }
    with running(tmp_path, settings) as cluster:
        for _ in range(3):
            await refused_session(cluster.session_url, token="guess")  # noqa: S106
        async with raw_session(cluster.session_url) as session:
            await session.send("session_init", **{**INIT, "token": files.session})
            error = await refused(session, "RATE_LIMITED")
            assert 0 < error["details"]["retry_after_ms"] <= 3_600_000
        async with raw_node(cluster.node_url) as node:
            await node.send("node_register", **registration(token=files.node))
            await refused(node, "RATE_LIMITED")
        elsewhere = {"local_addr": ("127.0.0.2", 0)}
        async with raw_session(cluster.session_url, **elsewhere) as session:
            await session.init(token=files.session)
        assert cluster.total("peers_refused_total") == 5


# --- rotation -------------------------------------------------------------------------------


async def test_tokens_and_keys_change_without_a_restart(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with running(tmp_path, files.settings) as cluster:
        async with (
            a_node(cluster.node_url, token=files.node),
            raw_session(cluster.session_url) as old,
            raw_session(cluster.session_url) as signed,
        ):
            await old.init(token=files.session)
            await signed.init(token=files.issuer.token())

            before = files.session, files.node, files.issuer
            files = Files(tmp_path)  # all of them new
            answer = await asyncio.to_thread(reload, cluster, "credentials changed")
            assert (answer["session_tokens"], answer["node_tokens"], answer["jwt_keys"]) == (
                3,
                2,
                2,
            )
            for _ in range(4):  # both gateways
                async with raw_session(cluster.session_url) as session:
                    await session.init(token=files.session)
                async with raw_session(cluster.session_url) as session:
                    await session.init(token=files.issuer.token())
                assert await refused_session(cluster.session_url, token=before[0]) == REFUSAL
                assert await refused_node(cluster.node_url, token=before[1]) == REFUSAL
                token = before[2].token()
                assert await refused_session(cluster.session_url, token=token) == REFUSAL

            for session in (old, signed):  # who is in stays in
                await session.speak(0)
                await session.result(0)


async def test_what_is_wrong_in_new_files_changes_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with running(tmp_path, {**files.settings, "gateways": 1}) as cluster:
        good = files.sessions_path.read_text()
        files.sessions_path.write_text(f"{good}web {files.session}\n")
        answer = await asyncio.to_thread(reload, cluster, "credentials not changed")
        assert str(answer["reason"]).startswith(f"{files.sessions_path}, line 4: after the name")
        (gateway,) = cluster.scheduler.children("gateway")
        gateway.kill()
        await until(lambda: cluster.serves(3) and cluster.pid(3) != gateway.pid, "its successor")
        async with raw_session(cluster.session_url) as session:
            await session.init(token=files.session)

        other = Files(tmp_path)
        await asyncio.to_thread(reload, cluster, "credentials changed")
        async with raw_session(cluster.session_url) as session:
            await session.init(token=other.session)


# --- at the start ---------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "check-config"])
async def test_a_wrong_file_ends_the_start_with_one_line(tmp_path: Path, command: str) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# one a line\nweb\n")
    config = tmp_path / "settings.toml"
    config.write_text(f"[identity]\nsession_tokens_path = {json.dumps(str(tokens))}\n")
    arguments = ["--config", str(config)] if command == "run" else [str(config)]
    code, out, err = await lingua(command, *arguments)
    assert (code, out) == (78, "")
    assert err == (
        f"lingua-scheduler: {tokens}, line 2: after the name must come the SHA-256 of a token, 64 "
        "hex digits; `lingua-scheduler token new` prints such a line\n"
    )


# --- SDK and command line -------------------------------------------------------------------


async def lingua(*arguments: str) -> tuple[int | None, str, str]:
    """Run a command; return its exit code, standard output and error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scheduler", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS * 2):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), err.decode()


async def work(job: Job) -> JobOutcome:
    return JobOutcome("heard", "translated", job.assign.audio)


async def test_the_sdk_shows_tokens(guarded: Guarded) -> None:
    cluster, files = guarded
    services = ["node-inference", "nmt-m2m100", "piper-tts"]
    node = NodeClient(cluster.node_url, services=services, handler=work, token=files.node)
    serving = asyncio.create_task(node.run())
    try:
        async with SessionClient.connect(
            cluster.session_url, src_lang="en", tgt_lang="es", token=files.issuer.token()
        ) as session:
            result = await session.result_for(await session.send_utterance(b"12"))
            assert result.text_translated == "translated"
        with pytest.raises(Refused, match="UNAUTHORIZED"):
            async with SessionClient.connect(cluster.session_url, src_lang="en", tgt_lang="es"):
                pass
        refused = NodeClient(cluster.node_url, services=services, handler=work)
        with pytest.raises(Refused, match="UNAUTHORIZED"):
            await asyncio.wait_for(refused.run(), DEADLINE_SECONDS)
    finally:
        await node.stop()
        await serving


async def test_the_commands_show_tokens(guarded: Guarded) -> None:
    cluster, files = guarded
    sample = str(ROOT / "samples" / "goforward.wav")
    talk = ("talk", sample, "--src", "en", "--tgt", "es", "--url", cluster.session_url, "--json")
    nodes = ("node", "sim", "--count", "1", "--delay-ms", "1", "--url", cluster.node_url)
    node = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scheduler", *nodes, "--token", files.node),
        cwd=ROOT,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        code, out, err = await lingua(*talk, "--token", files.session)
        assert code == 0, err
        assert json.loads(out)["translation"] == "[es] utterance 0"
        code, out, _ = await lingua(*talk)
        assert code == 1
        assert json.loads(out)["error"]["code"] == "UNAUTHORIZED"
    finally:
        node.terminate()
        await node.wait()


async def test_a_token_from_the_command_line_works(tmp_path: Path) -> None:
    files = Files(tmp_path)
    code, out, err = await lingua(
        "token", "new", "--name", "web", "--tenant", "acme", "--days", "1"
    )
    assert code == 0
    token, line = out.splitlines()
    assert token not in err
    files.sessions_path.write_text(f"{line}\n")
    with running(tmp_path, files.settings) as cluster:
        async with raw_session(cluster.session_url) as session:
            await session.init(token=token, tenant_id="acme")
        assert await refused_session(cluster.session_url, token=token, tenant_id="x") == REFUSAL


# --- TLS ------------------------------------------------------------------------------------

CA, OTHER_CA = Authority(), Authority("another CA")


def trusting(authority: Authority = CA) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


def with_certificate(folder: Path, authority: Authority) -> ssl.SSLContext:
    context = trusting()
    context.load_cert_chain(*authority.issue("node-7").write(folder, f"node-{id(authority)}"))
    return context


def tls_settings(folder: Path, authority: Authority = CA) -> dict[str, str]:
    cert, key = authority.issue("server").write(folder, "server")
    ca = folder / "client-ca.pem"
    ca.write_bytes(CA.pem)
    return {
        "server.tls_cert_path": str(cert),
        "server.tls_key_path": str(key),
        "server.tls_client_ca_path": str(ca),
    }


def secure(url: str) -> str:
    return url.replace("ws://", "wss://")


async def test_sessions_and_nodes_over_tls(tmp_path: Path) -> None:
    files = Files(tmp_path)
    settings = tls_settings(tmp_path)
    del settings["server.tls_client_ca_path"]
    with running(tmp_path, {**files.settings, **settings}) as cluster:
        node_url, session_url = secure(cluster.node_url), secure(cluster.session_url)
        async with (
            raw_node(node_url, ssl=trusting(), **bearer(files.node)) as node,
            raw_session(session_url, ssl=trusting()) as session,
        ):
            await node.register()
            await node.become_ready()
            await session.init(token=files.session)
            audio = bytes(range(256)) * 4_000
            await session.speak(0, audio)
            await session.result(0)
            assert await refused_session(session_url, {"ssl": trusting()}) == REFUSAL
        with pytest.raises((OSError, InvalidHandshake)):
            await connect(cluster.session_url, proxy=None)
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(session_url, proxy=None, ssl=trusting(OTHER_CA))
        await until(lambda: cluster.total("handshakes_failed_total") == 2, "the count")
        await asyncio.to_thread(cluster.check_settled)


async def test_nodes_need_a_certificate_and_sessions_do_not(tmp_path: Path) -> None:
    settings = {**tls_settings(tmp_path), "identity.nodes_need_certificate": True}
    with running(tmp_path, settings) as cluster:
        node_url, session_url = secure(cluster.node_url), secure(cluster.session_url)
        ours, stranger = with_certificate(tmp_path, CA), with_certificate(tmp_path, OTHER_CA)
        async with (
            raw_node(node_url, ssl=ours) as node,
            raw_session(session_url, ssl=trusting()) as session,
        ):
            await node.register()
            await node.become_ready()
            await session.init()
            await session.speak(0)
            await session.result(0)
        assert await refused_node(node_url, {"ssl": trusting()}) == REFUSAL
        for url in (node_url, session_url):
            with pytest.raises((OSError, InvalidHandshake)):
                await connect(url, proxy=None, ssl=stranger)
        await asyncio.to_thread(cluster.check_settled)


async def test_the_sdk_speaks_tls(tmp_path: Path) -> None:
    settings = {**tls_settings(tmp_path), "identity.nodes_need_certificate": True}
    with running(tmp_path, settings) as cluster:
        node_url, session_url = secure(cluster.node_url), secure(cluster.session_url)
        services = ["node-inference", "nmt-m2m100", "piper-tts"]
        tls = with_certificate(tmp_path, CA)
        node = NodeClient(node_url, services=services, handler=work, tls=tls)
        serving = asyncio.create_task(node.run())
        try:
            async with SessionClient.connect(
                session_url, src_lang="en", tgt_lang="es", tls=trusting()
            ) as session:
                result = await session.result_for(await session.send_utterance(b"12"))
                assert result.tts_audio == b"12"
            for url, context in ((session_url, trusting(OTHER_CA)), (cluster.session_url, None)):
                with pytest.raises(ConnectionLost):
                    async with SessionClient.connect(
                        url, src_lang="en", tgt_lang="es", tls=context
                    ):
                        pass
        finally:
            await node.stop()
            await serving
        await asyncio.to_thread(cluster.check_settled)


async def test_certificates_change_without_a_restart(tmp_path: Path) -> None:
    settings = {**tls_settings(tmp_path), "identity.nodes_need_certificate": True}
    with running(tmp_path, settings) as cluster:
        node_url, session_url = secure(cluster.node_url), secure(cluster.session_url)
        ours = with_certificate(tmp_path, CA)
        async with (
            raw_node(node_url, ssl=ours) as node,
            raw_session(session_url, ssl=trusting()) as old,
        ):
            await node.register()
            await node.become_ready()
            await old.init()

            tls_settings(tmp_path, OTHER_CA)
            (tmp_path / "client-ca.pem").write_bytes(OTHER_CA.pem)
            answer = await asyncio.to_thread(reload, cluster, "credentials changed")
            assert answer["certificate"] == "changed"
            theirs = trusting(OTHER_CA)
            theirs.load_cert_chain(*OTHER_CA.issue("node-8").write(tmp_path, "node-8"))
            for _ in range(4):  # both gateways
                async with raw_session(session_url, ssl=trusting(OTHER_CA)) as session:
                    await session.init()
                async with raw_node(node_url, ssl=theirs) as next_node:
                    await next_node.register()
                with pytest.raises(ssl.SSLCertVerificationError):
                    await connect(session_url, proxy=None, ssl=trusting())
                ours_for_new = trusting(OTHER_CA)
                ours_for_new.load_cert_chain(*CA.issue("node-7").write(tmp_path, "late"))
                with pytest.raises((OSError, InvalidHandshake)):
                    await connect(node_url, proxy=None, ssl=ours_for_new)
            await old.speak(0)
            await old.result(0)

            tls_settings(tmp_path, CA)
            (tmp_path / "server.key").write_bytes(b"")
            answer = await asyncio.to_thread(reload, cluster, "credentials not changed")
            assert "server.tls_key_path" in str(answer["reason"])
            async with raw_session(session_url, ssl=trusting(OTHER_CA)) as session:
                await session.init()


async def test_tokens_come_on_top_of_certificates(tmp_path: Path) -> None:
    files = Files(tmp_path)
    settings = {
        **files.settings,
        **tls_settings(tmp_path),
        "identity.nodes_need_certificate": True,
    }
    with running(tmp_path, settings) as cluster:
        url, ours = secure(cluster.node_url), with_certificate(tmp_path, CA)
        async with raw_node(url, ssl=ours) as node:
            assert (await node.register(token=files.node_7))["node_id"] == "node-7"
        assert await refused_node(url, {"ssl": ours}, token="wrong") == REFUSAL  # noqa: S106
        assert await refused_node(url, {"ssl": trusting()}, token=files.node) == REFUSAL


# --- everything unused where it is off ------------------------------------------------------


async def test_without_settings_nothing_is_asked_for(tmp_path: Path) -> None:
    with running(tmp_path, {}) as cluster:
        async with (
            a_node(cluster.node_url, token="any"),  # noqa: S106
            raw_session(cluster.session_url, **bearer("any")) as session,
        ):
            await session.init(token="other", tenant_id="any")  # noqa: S106
            await session.speak(0)
            await session.result(0)
        assert cluster.total("peers_refused_total") == 0
