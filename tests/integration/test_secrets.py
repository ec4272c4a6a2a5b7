"""No secret leaves by any way out: everything that a running scheduler emits is searched."""

import asyncio
import io
import signal
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from scheduler.identity.tokens import new_token
from tests.harness import poll
from tests.identity.certificates import Authority
from tests.identity.jwts import Ed25519Issuer, assemble, claims, hs256
from tests.integration.cluster import Cluster
from tests.integration.identified import SECRET, Files, reload, running
from tests.integration.peers import INIT, raw_node, raw_session, registration
from tests.integration.test_identity import bearer, secure, trusting

ADMIN = "the-admin-token-of-this-test"
CA = Authority()
PATHS = (
    *("/health", "/ready", "/metrics", "/openapi.json", "/dashboard"),
    *(
        f"/api/v1/{name}"
        for name in (
            *("stats", "metrics", "nodes", "history", "refusals", "capacity", "decisions"),
            "waterfall",
        )
    ),
)


async def test_no_secret_gets_out(tmp_path: Path) -> None:
    files = Files(tmp_path)
    cert, key = CA.issue("server").write(tmp_path, "server")
    settings = {
        **files.settings,
        "server.tls_cert_path": str(cert),
        "server.tls_key_path": str(key),
        "server.admin_token": ADMIN,
        "server.public_stats": True,
        "observability.log_level": "debug",
    }
    with running(tmp_path, settings) as cluster:
        shown = await show_everything(cluster, files)
        secrets = {
            "admin token": ADMIN,
            "secret of signed tokens": SECRET.decode(),
            **{f"private key, line {n}": line for n, line in enumerate(key_lines(key))},
            **{f"token {n}": token for n, token in enumerate(shown)},
            **{f"signature {n}": t.rsplit(".", 1)[1] for n, t in enumerate(shown) if "." in t},
        }
        found = 0
        for place, data in await asyncio.to_thread(lambda: list(emitted(cluster, tmp_path))):
            found += bool(data)
            for name, secret in secrets.items():
                assert secret.encode() not in data, f"{name} in {place}"
        assert found > len(PATHS) + 10
        log = cluster.scheduler.log()
        for said in (
            "session admitted",
            "node admitted",
            "peer refused",
            "resume refused",
            "child ended",
        ):
            assert said in log, "what would have told of them was not logged"
    assert all(secret not in cluster.scheduler.log() for secret in secrets.values())


async def show_everything(cluster: Cluster, files: Files) -> list[str]:
    """Have good and bad credentials shown in every place; return all of them."""
    backend = assemble({"alg": "HS256", "kid": "hs"}, claims(), hs256(SECRET))
    good = [files.session, files.acme, files.issuer.token(tenant="acme"), backend]
    wrong = [new_token(), files.expired, Ed25519Issuer("ed").token(), files.issuer.token(exp=1)]
    tls = {"ssl": trusting(CA)}
    url, node_url = secure(cluster.session_url), secure(cluster.node_url)
    for token in (*good, *wrong):
        for header in ({}, bearer(token)):
            async with raw_session(f"{url}?token={token}", **tls, **header) as session:
                await session.send("session_init", token=[token], client_version=token)
                await session.expect("error", code="INVALID_MESSAGE")
                shown = {**INIT, "token": None if header else token}
                await session.send("session_init", **shown)
                await session.expect("error" if token in wrong else "session_init_ack")
    for token, node_id in ((files.node, "n1"), (files.node_7, "n1"), (wrong[0], None)):
        async with raw_node(node_url, ssl=trusting(CA)) as node:
            await node.send("node_register", **registration(token=token, node_id=node_id))
            await node.next()
    for token in (ADMIN, wrong[0]):
        await asyncio.to_thread(
            command, f"{cluster.scheduler.ops_url}/api/v1/nodes/n1/drain", token
        )
    resume_tokens = await show_resume_tokens(url, files)
    await asyncio.to_thread(spoil_and_reload, cluster, files)
    await asyncio.to_thread(lose_a_gateway, cluster)
    return [*good, *wrong, files.node, files.node_7, *resume_tokens]


async def show_resume_tokens(url: str, files: Files) -> list[str]:
    """Have a right and a wrong one shown; return them and the next."""
    tls = {"ssl": trusting(CA)}
    async with raw_session(url, **tls) as session:
        ack = await session.init(token=files.session, resumable=True)
    right = ack["resume_token"]
    shown = [right[:-4] + right[:3:-1][:4], right]
    resume = {"session_id": ack["session_id"], "replies_received": 0}
    for token, answer in zip(tuple(shown), ("error", "session_init_ack"), strict=True):
        async with raw_session(url, **tls) as again:
            await again.send("session_resume", resume_token=[token], **resume)
            await again.expect("error", code="INVALID_MESSAGE")
            await again.send("session_resume", resume_token=token, **resume)
            shown.append((await again.expect(answer)).get("resume_token", token))
    return shown


def command(url: str, token: str) -> None:
    request = urllib.request.Request(  # noqa: S310 - ours
        url, method="POST", headers={"Authorization": f"Bearer {token}"}
    )
    with (
        suppress(urllib.error.HTTPError),
        urllib.request.urlopen(request, timeout=5),  # noqa: S310 - ours
    ):
        pass


def spoil_and_reload(cluster: Cluster, files: Files) -> None:
    """Have the files read again with secrets in wrong places of them."""
    for path, text in (
        (files.sessions_path, files.session),
        (files.sessions_path, f"web {files.session}"),
        (files.sessions_path, f"web {'0' * 64} {files.session}"),
        (files.keys_path, f"hs HS256 {files.folder / 'short'}"),
        (files.folder / "server.key", "-----BEGIN PRIVATE KEY-----\n"),
    ):
        (files.folder / "short").write_bytes(SECRET[:20])
        before = path.read_bytes()
        path.write_text(text)
        reload(cluster, "credentials not changed")
        path.write_bytes(before)


def lose_a_gateway(cluster: Cluster) -> None:
    """Kill one, so that a bundle is kept of it."""
    gateway = cluster.scheduler.children("gateway")[0]
    gateway.send_signal(signal.SIGABRT)
    crashes = cluster.scheduler.runtime_dir / "crashes"
    poll("its bundle", lambda: [*crashes.glob("*.tar.gz")], seconds=30)


def emitted(cluster: Cluster, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield everything that there is to see, by where."""
    runtime = cluster.scheduler.runtime_dir
    poll("a snapshot of it all", lambda: cluster.get(f"{cluster.scheduler.ops_url}/api/v1/stats"))
    for path in PATHS:
        status, body = cluster.get(cluster.scheduler.ops_url + path)
        assert status in {200, 503}, f"{path}: {status}"
        yield path, body
    yield "the log", cluster.scheduler.log_path.read_bytes()
    yield "shared memory", (runtime / "memory").read_bytes()
    for file in runtime.rglob("*"):
        if file.is_file() and file.name != "memory":
            yield f"runtime folder: {file.name}", unpacked(file.read_bytes())
    for process in cluster.scheduler.children():
        yield f"command line of {process.pid}", "\0".join(process.cmdline()).encode()
    where = ("--runtime-dir", str(runtime))
    yield "top", printed("top", "--once", "--json", *where)
    archive = folder / "bundle.tar.gz"
    logged = ("--log", str(cluster.scheduler.log_path))
    yield "bundle", printed("bundle", "--why", "x", "--output", str(archive), *where, *logged)
    yield "the archive", unpacked(archive.read_bytes())


def printed(*arguments: str) -> bytes:
    command = [sys.executable, "-m", "scheduler", *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def unpacked(data: bytes) -> bytes:
    """Return what is in an archive, or the data itself."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = [archive.extractfile(member) for member in archive.getmembers()]
        return b"\n".join(file.read() for file in files if file is not None)


def key_lines(path: Path) -> list[str]:
    """Return the lines of a private key that are not alike in all of them."""
    lines = path.read_text().splitlines()
    return [line for line in lines if "PRIVATE KEY" not in line][1:]
