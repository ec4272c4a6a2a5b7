"""A scheduler that asks its peers who they are, and the files it goes by."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from scheduler.identity.credentials import TokenEntry
from scheduler.identity.tokens import digest_of, line_of, new_token
from tests.harness import Overrides, RunningScheduler, poll
from tests.identity.jwts import AUDIENCE, ISSUER, Ed25519Issuer
from tests.integration.cluster import Cluster
from tests.integration.conftest import DEFAULTS

SECRET = b"a secret of the backend, long enough"


class Files:
    """Token and key files in a folder, and the tokens that are in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.issuer = Ed25519Issuer("ed")
        self.session, self.acme, self.expired = new_token(), new_token(), new_token()
        self.node, self.node_7 = new_token(), new_token()
        self.sessions_path = folder / "session-tokens"
        self.nodes_path = folder / "node-tokens"
        self.keys_path = folder / "jwt-keys"
        self.write_sessions(
            entry("any", self.session),
            entry("acme", self.acme, tenant="acme"),
            entry("old", self.expired, expires_s=1),
        )
        self.write_nodes(entry("nodes", self.node), entry("n7", self.node_7, node_id="node-7"))
        (folder / "ed.pem").write_bytes(self.issuer.public_pem)
        (folder / "hs.secret").write_bytes(SECRET + b"\n")
        self.keys_path.write_text("ed EdDSA ed.pem\nhs HS256 hs.secret\n")

    def write_sessions(self, *entries: TokenEntry) -> None:
        self.sessions_path.write_text("".join(f"{line_of(one)}\n" for one in entries))

    def write_nodes(self, *entries: TokenEntry) -> None:
        self.nodes_path.write_text("".join(f"{line_of(one)}\n" for one in entries))

    @property
    def settings(self) -> Overrides:
        return {
            "identity.session_tokens_path": str(self.sessions_path),
            "identity.node_tokens_path": str(self.nodes_path),
            "identity.jwt_keys_path": str(self.keys_path),
            "identity.jwt_issuer": ISSUER,
            "identity.jwt_audience": AUDIENCE,
            "identity.wrong_per_address_max": 1_000_000,
        }


def entry(name: str, token: str, **more: object) -> TokenEntry:
    return TokenEntry(name, digest_of(token), **more)  # type: ignore[arg-type]


@contextlib.contextmanager
def running(folder: Path, settings: Overrides) -> Iterator[Cluster]:
    """A scheduler of two gateways with these settings, stopped and checked at the end."""
    scheduler = RunningScheduler(folder, {**DEFAULTS, **settings})
    try:
        scheduler.wait_ready()
        with contextlib.closing(Cluster(scheduler)) as cluster:
            yield cluster
        if not scheduler.stopped:
            scheduler.stop()
        assert "Traceback" not in scheduler.log(), scheduler.log_tail()
    finally:
        scheduler.kill()


def said(cluster: Cluster, event: str) -> list[dict[str, object]]:
    """Return the log lines of an event."""
    return [line for line in cluster.scheduler.log_records() if line["event"] == event]


def reload(cluster: Cluster, event: str) -> dict[str, object]:
    """Send SIGHUP and return the next line of the event that answers it."""
    before = len(said(cluster, event))
    cluster.scheduler.process.send_signal(signal.SIGHUP)
    return poll(event, lambda: said(cluster, event)[before:])[0]
