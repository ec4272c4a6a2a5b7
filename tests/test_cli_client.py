"""How client commands prove who they are, run and end."""

import asyncio
import os
import signal
import ssl
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from scheduler.cli_client import identity_options, run_client, run_until_stopped
from tests.identity.certificates import Authority


def test_the_result_of_the_work_is_returned() -> None:
    async def work() -> int:
        return 7

    assert run_client(work()) == 7


def test_sigterm_ends_the_work_as_planned() -> None:
    ended: list[str] = []

    async def serve() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    run_until_stopped(serve())
    assert ended == ["cleaned up"]


def test_what_goes_wrong_in_the_work_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_until_stopped(fail())


def test_ctrl_c_interrupts() -> None:
    async def serve() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        run_client(serve())


CA = Authority()


@click.command()
@identity_options
def show(token: str | None, tls: ssl.SSLContext | None) -> None:
    """Say what a command is given."""
    certificates = len(tls.get_ca_certs()) if tls is not None else "no"
    click.echo(f"token {token}, {certificates} CAs")


def shown(*arguments: str, **environment: str) -> str:
    result = CliRunner(env={"LINGUA_TOKEN": None, **environment}).invoke(show, arguments)
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_a_token_comes_from_the_command_line_or_the_environment() -> None:
    assert shown() == "token None, no CAs"
    assert shown(LINGUA_TOKEN="mine") == "token mine, no CAs"  # noqa: S106
    assert shown("--token", "other", LINGUA_TOKEN="mine") == "token other, no CAs"  # noqa: S106


def test_files_make_a_tls_context(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(CA.pem)
    cert, key = CA.issue("node").write(tmp_path, "node")
    assert shown("--ca", str(ca)) == "token None, 1 CAs"
    arguments = ("--ca", str(ca), "--cert", str(cert), "--key", str(key))
    assert shown(*arguments) == "token None, 1 CAs"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cert", "x"], "--cert and --key belong together"),
        (["--key", "x"], "--cert and --key belong together"),
        (["--ca", "missing.pem"], "can't be used: [Errno 2]"),
        (["--cert", "missing.pem", "--key", "missing.key"], "can't be used: [Errno 2]"),
    ],
)
def test_files_that_can_not_be_used_are_refused(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(show, arguments)
    assert result.exit_code == 2
    assert says in result.output
