import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import scheduler
from scheduler.cli import cli, main
from scheduler.nodes.audio import read_wav, write_wav
from tests.sdk.scripted_peer import listening_peer, run_async

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples" / "goforward.wav"
DEADLINE_SECONDS = 30


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def ended(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code, standard output and error."""
    with pytest.raises(SystemExit) as ending:
        main(argv)
    code = ending.value.code
    assert isinstance(code, int)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert "lingua-scheduler" in result.output or path == ("node",), "an example"
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, f"{option.name} has no help"


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ended(capsys, "--version")
    assert code == 0
    assert scheduler.__version__ in out


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["dance"], 2, "No such command 'dance'"),
        (["talk", str(SAMPLE), "--src", "en"], 2, "Missing option '--tgt'"),
        (["node", "sim", "--delay-ms", "fast"], 2, "'fast' is neither MS nor MIN-MAX"),
        (["node", "sim", "--delay-ms", "9-3"], 2, "'9-3' is neither MS nor MIN-MAX"),
        (["node", "sim", "--delay-ms", "nan"], 2, "'nan' is neither MS nor MIN-MAX"),
        (["node", "sim", "--fail-rate", "2"], 2, "2.0 is not in the range"),
        (["talk", "none.wav", "--src", "en", "--tgt", "es"], 65, "none.wav: can't be read"),
        (["run", "--config", "none.toml"], 78, "none.toml: can't be read"),
        (["check-config", "none.toml"], 78, "none.toml: can't be read"),
    ],
)
def test_mistakes_are_said_on_one_line_with_an_exit_code(
    capsys: pytest.CaptureFixture[str], argv: list[str], code: int, says: str
) -> None:
    got, out, err = ended(capsys, *argv)
    assert got == code
    assert out == ""
    assert says in err
    assert "Traceback" not in err


def test_settings_are_printed_as_they_come_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.toml"
    path.write_text("gateways = 3\n[server]\nport = 1\n")
    monkeypatch.setenv("SCHEDULER_SERVER__PORT", "6010")
    code, out, _ = ended(capsys, "check-config", str(path))
    assert code == 0
    assert "gateways = 3" in out.splitlines()
    assert "server.port = 6010" in out.splitlines()
    assert 'scheduler.core_services.asr_service_id = "node-inference"' in out.splitlines()


def test_the_admin_token_is_not_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHEDULER_SERVER__ADMIN_TOKEN", "secret")
    code, out, _ = ended(capsys, "check-config")
    assert code == 0
    assert "secret" not in out
    assert 'server.admin_token = "***"' in out.splitlines()


def test_a_wrong_setting_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[server]\nprot = 1\n")
    code, _, err = ended(capsys, "check-config", str(path))
    assert code == 78
    assert "server.prot" in err
    assert "did you mean port?" in err


def test_simulations_say_their_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ended(capsys, "simulate", "--seed", "1", "--seeds", "2", "--steps", "500")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["seed 1", "seed 2"]


async def start(*argv: str) -> asyncio.subprocess.Process:
    pipe = subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scheduler", *argv, cwd=ROOT, stdout=pipe, stderr=pipe
    )


async def finish(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("as_json", [False, True])
def test_talking_shows_the_answer(tmp_path: Path, as_json: bool) -> None:
    saved = tmp_path / "out.wav"

    async def talk() -> tuple[int | None, str, str]:
        async with listening_peer() as peer:
            options = ["--url", peer.url, "--save-tts", str(saved), *["--json"] * as_json]
            process = await start("talk", str(SAMPLE), "--src", "en", "--tgt", "es", *options)
            try:
                link = await peer.accept()
                await link.welcome_session()
                await link.take_speech()
                await link.partial(0, "go [for")
                await link.result(0, tts_audio="AAECAw==", extra={"tts_sample_rate": 8_000})
                await link.close_session()
            finally:
                ending = await finish(process)
            return ending

    code, out, err = asyncio.run(talk())
    assert (code, err) == (0, "")
    assert read_wav(saved.read_bytes()) == (b"\x00\x01\x02\x03", 8_000)
    if as_json:
        answer = json.loads(out)
        assert (answer["transcript"], answer["partials"]) == ("hello", ["go [for"])
    else:
        assert [line.split()[0] for line in out.splitlines()] == [
            "…",
            "heard",
            "translated",
            "speech",
            "times",
            "saved",
        ]
        assert "go [for" in out


@run_async
async def test_a_scheduler_that_is_not_there_is_said_on_one_line() -> None:
    url = "ws://127.0.0.1:1/"
    process = await start("talk", str(SAMPLE), "--src", "en", "--tgt", "es", "--url", url)
    code, out, err = await finish(process)
    assert (code, out) == (69, "")
    assert err.startswith(f"lingua-scheduler: can't connect to {url}")
    assert len(err.splitlines()) == 1


@run_async
async def test_a_failed_utterance_is_data_for_machines_too(tmp_path: Path) -> None:
    wav = tmp_path / "me.wav"
    wav.write_bytes(write_wav(bytes(3_200), 16_000))
    async with listening_peer() as peer:
        process = await start(
            "talk", str(wav), "--src", "en", "--tgt", "es", "--url", peer.url, "--json"
        )
        try:
            link = await peer.accept()
            await link.welcome_session()
            await link.take_speech()
            await link.event("ERROR", 0, error_code="NO_AVAILABLE_NODE", hint="Try again.")
            details = {"utterance_index": 0}
            await link.send(type="error", code="NO_AVAILABLE_NODE", message="0", details=details)
            await link.close_session()
        finally:
            code, out, err = await finish(process)
    assert code == 1
    assert json.loads(out)["error"]["code"] == "NO_AVAILABLE_NODE"
    assert "NO_AVAILABLE_NODE: 0" in err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)], ids=["ctrl-c", "term"]
)
@pytest.mark.parametrize("kind", ["sim", "speech"])
def test_nodes_end_quietly(kind: str, number: int, code: int) -> None:
    async def stop() -> tuple[int | None, str, str]:
        async with listening_peer() as peer:
            options = ["--count", "1"] if kind == "sim" else ["--slots", "1"]
            process = await start("node", kind, "--url", peer.url, *options)
            try:
                await (await peer.accept()).welcome_node()
                os.kill(process.pid, number)
            finally:
                ending = await finish(process)
            return ending

    got, out, err = asyncio.run(stop())
    assert got == code
    assert out == ""
    assert "Traceback" not in err


@run_async
async def test_ctrl_c_ends_talking_quietly() -> None:
    async with listening_peer() as peer:
        process = await start("talk", str(SAMPLE), "--src", "en", "--tgt", "es", "--url", peer.url)
        try:
            link = await peer.accept()
            await link.welcome_session()
            await link.take_speech()
            os.kill(process.pid, signal.SIGINT)
            assert (await link.close_session())["reason"] == "done"
        finally:
            code, out, err = await finish(process)
    assert code == 130
    assert (out, err.strip()) == ("", "")


@run_async
async def test_nodes_that_are_refused_say_why() -> None:
    async with listening_peer() as peer:
        process = await start("node", "sim", "--count", "2", "--url", peer.url)
        try:
            link = await peer.accept()
            await link.receive("node_register")
            await link.send(type="error", code="NO_GPU_AVAILABLE", message="no GPU here")
        finally:
            code, _, err = await finish(process)
    assert code == 1
    assert "NO_GPU_AVAILABLE: no GPU here" in err
    assert "Traceback" not in err
