"""The command `top`."""

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
    "--interval",
    "interval_seconds",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.1, max=3_600),
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Print the figures of one interval and end.")
@click.option("--json", "as_json", is_flag=True, help="With --once: print one JSON object.")
def top(
    path: Path | None,
    runtime_dir: Path | None,
    interval_seconds: float,
    once: bool,
    as_json: bool,
) -> None:
    """Show a scheduler of this machine live: rates, latencies, queue, gateways, nodes.

    Reads its shared memory and asks no process, so that it works whatever state those are in. It
    must run as the scheduler's user, or as root. Where no scheduler runs, it waits for one.

    \b
    Examples:
      lingua-scheduler top
      lingua-scheduler top --runtime-dir /run/lingua-scheduler
      lingua-scheduler top --once --json | jq .frame.latency.end_to_end.p99_ms
    """
    import sys

    from scheduler.config import load
    from scheduler.top.run import print_once, run_live

    if as_json and not once:
        raise click.UsageError("--json goes with --once")
    if not once and not sys.stdout.isatty():
        raise click.UsageError("standard output is no terminal; use --once")
    folder = runtime_dir or load(path).runtime_path
    if once:
        print_once(folder, interval_seconds, as_json=as_json)
    else:
        run_live(folder, interval_seconds)
