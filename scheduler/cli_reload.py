"""The command `reload`."""

from pathlib import Path

import click


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), help="Settings (TOML).")
@click.option(
    "--runtime-dir",
    type=click.Path(path_type=Path),
    help="Runtime folder of the scheduler; without it, that of the settings.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    default=300.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True, max=86_400),
    help="Seconds to wait until all are replaced.",
)
def reload(path: Path | None, runtime_dir: Path | None, timeout_seconds: float) -> None:
    """Replace the gateways of a running scheduler, one after the other.

    Each takes nothing new, lets its jobs finish within drain_seconds and closes its connections
    with 1012; clients come back on the others. No connection is refused meanwhile: the listening
    socket stays open. The same as SIGUSR2 to the scheduler's first process, but waits for the end.

    \b
    Example:
      lingua-scheduler reload --runtime-dir /run/lingua-scheduler
    """
    from scheduler.config import load
    from scheduler.supervisor.rolling import roll

    folder = runtime_dir or load(path).runtime_path
    for gateway in roll(folder, timeout_seconds):
        click.echo(f"gateway {gateway} replaced")
