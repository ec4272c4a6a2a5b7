"""The command line. What a command needs beyond click is imported inside it.

Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 65 unreadable audio; 69 nobody there or
nothing to serve with; 78 wrong configuration; 130 ended by Ctrl-C.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from scheduler import __version__
from scheduler.cli_bundle import bundle
from scheduler.cli_client import configure_client_logging, identity_options, run_client
from scheduler.cli_explain import explain
from scheduler.cli_node import node
from scheduler.cli_reload import reload
from scheduler.cli_stress import stress
from scheduler.cli_token import token
from scheduler.cli_top import top
from scheduler.errors import (
    ConfigError,
    LayoutError,
    ProgramError,
    SchedulerError,
    StartError,
)
from scheduler.nodes.errors import AudioError, NoToolsError, TooManyNodesError
from scheduler.sdk.errors import ConnectionLost, SdkError

if TYPE_CHECKING:
    from ssl import SSLContext

SESSION_URL = "ws://127.0.0.1:5010/ws/session"

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
EXIT_DATA, EXIT_UNAVAILABLE, EXIT_CONFIG = 65, 69, 78  # as sysexits.h has them

_UNAVAILABLE = (
    StartError,
    LayoutError,
    ProgramError,
    ConnectionLost,
    NoToolsError,
    TooManyNodesError,
)

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command and end the process with its exit code."""
    try:
        code = cli.main(argv, prog_name="lingua-scheduler", standalone_mode=False)
    except click.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SchedulerError as error:
        click.echo(f"lingua-scheduler: {error}", err=True)
        sys.exit(_exit_code(error))
    except TimeoutError as error:
        click.echo(f"lingua-scheduler: {error}", err=True)
        sys.exit(EXIT_FAILED)
    sys.exit(code or 0)


def _exit_code(error: SchedulerError) -> int:
    if isinstance(error, ConfigError):
        return EXIT_CONFIG
    if isinstance(error, _UNAVAILABLE):
        return EXIT_UNAVAILABLE
    return EXIT_DATA if isinstance(error, AudioError) else EXIT_FAILED


@click.group(context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="lingua-scheduler")
def cli() -> None:
    """Spreads real-time speech translation over worker nodes.

    \b
    Try it on one machine:
      lingua-scheduler run                                      the scheduler
      lingua-scheduler node speech                              a node that really translates
      lingua-scheduler talk samples/goforward.wav --src en --tgt es
    """


cli.add_command(bundle)
cli.add_command(explain)
cli.add_command(node)
cli.add_command(stress)
cli.add_command(token)
cli.add_command(top)
cli.add_command(reload)


@cli.command()
@click.option("--config", "path", type=click.Path(path_type=Path), help="Settings (TOML).")
def run(path: Path | None) -> int:
    """Run the scheduler until Ctrl-C or SIGTERM.

    Without --config all settings have their defaults: sessions and nodes on port 5010, operators
    on 127.0.0.1:5011. Environment variables are laid over the file: SCHEDULER_SERVER__PORT=6010
    sets server.port. SIGHUP reads the file again and changes what is logged; tokens, keys and
    certificates are read again too.

    \b
    Examples:
      lingua-scheduler run --config configs/default.toml
      SCHEDULER_GATEWAYS=2 lingua-scheduler run
    """
    from functools import partial

    from scheduler.config import load
    from scheduler.supervisor import supervisor

    return supervisor.run(load(path), reload=partial(load, path))


@cli.command("check-config")
@click.argument("path", metavar="FILE", required=False, type=click.Path(path_type=Path))
def check_config(path: Path | None) -> None:
    """Check the settings in FILE and the environment, and print what they come to.

    The files that they name, of tokens, keys and certificates, are read and checked too. The exit
    code is 78 if something is wrong; the message says which key, why, and what is allowed.

    \b
    Examples:
      lingua-scheduler check-config configs/lingua-compat.toml
      SCHEDULER_SERVER__PORT=6010 lingua-scheduler check-config
    """
    import msgspec

    from scheduler.config import load, without_secrets
    from scheduler.identity.reading import read_credentials

    config = load(path)
    read_credentials(config)
    for key, value in _flatten(msgspec.to_builtins(without_secrets(config))):
        click.echo(f"{key} = {msgspec.json.encode(value).decode()}")


def _flatten(table: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for name, value in table.items():
        if isinstance(value, dict):
            pairs += _flatten(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", value))
    return pairs


@cli.command()
@click.argument("wav", metavar="FILE.wav", type=click.Path(path_type=Path))
@click.option("--src", "src_lang", required=True, help="Language spoken, as en, or auto.")
@click.option("--tgt", "tgt_lang", required=True, help="Language wanted, as es.")
@click.option("--url", default=SESSION_URL, show_default=True, help="The scheduler.")
@click.option("--realtime", is_flag=True, help="Send as fast as one speaks, in 100 ms chunks.")
@click.option("--save-tts", type=click.Path(path_type=Path), help="Write the speech there (WAV).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option(
    "--timeout",
    "timeout_seconds",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds to wait for the result.",
)
@identity_options
def talk(
    wav: Path,
    src_lang: str,
    tgt_lang: str,
    url: str,
    realtime: bool,
    save_tts: Path | None,
    as_json: bool,
    timeout_seconds: float,
    token: str | None,
    tls: "SSLContext | None",
) -> None:
    """Say a recorded sentence and show what is heard, its translation, and the times it took.

    FILE.wav is mono with 16 bits per sample, at any usual rate.

    \b
    Examples:
      lingua-scheduler talk samples/goforward.wav --src en --tgt es
      lingua-scheduler talk me.wav --src en --tgt es --realtime --save-tts answer.wav
      lingua-scheduler talk me.wav --src en --tgt es --json | jq .translation
    """
    import msgspec
    from rich.console import Console

    from scheduler import talk as talking

    recording = talking.read_recording(wav)
    settings = talking.TalkSettings(
        url=url,
        src_lang=src_lang,
        tgt_lang=tgt_lang,
        realtime=realtime,
        timeout_seconds=timeout_seconds,
        token=token,
        tls=tls,
    )
    configure_client_logging("talk")
    console = Console(quiet=as_json, highlight=False, soft_wrap=True)

    def on_partial(text: str) -> None:
        console.print(f"…           {text}", style="dim", markup=False)

    try:
        answer, speech = run_client(talking.talk(recording, settings, on_partial))
    except SdkError as error:
        if as_json:
            click.echo(msgspec.json.encode({"error": talking.explain(error)}))
        raise
    if as_json:
        click.echo(msgspec.json.encode(answer))
    talking.show(console, answer)
    if save_tts is not None:
        talking.save_speech(save_tts, answer, speech)
        console.print(f"saved       {save_tts}", markup=False)


@cli.command()
@click.option("--seed", default=1, show_default=True, help="Seed of the first run.")
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Number of runs, with seeds counting up.",
)
@click.option(
    "--steps",
    default=4_000,
    show_default=True,
    type=click.IntRange(1),
    help="Events with faults per run.",
)
def simulate(seed: int, seeds: int, steps: int) -> None:
    """Run the dispatcher in a simulated world of crashes and lost messages, and check it.

    A broken promise ends the command with exit code 1 and the seed that shows it again.

    \b
    Examples:
      lingua-scheduler simulate --seed 42
      lingua-scheduler simulate --seeds 1000
    """
    from scheduler.simulation.run import simulate as run_simulation

    for number in range(seed, seed + seeds):
        try:
            report = run_simulation(number, steps=steps)
        except AssertionError as error:
            raise click.ClickException(str(error)) from error
        click.echo(report.summary())
