"""The command `stress`."""

from pathlib import Path

import click

_EXIT_BROKEN = 1


@click.command()
@click.argument("scenario", metavar="SCENARIO")
@click.option("--url", help="A running scheduler, ws://host:port; without it one is started.")
@click.option(
    "--runtime-dir",
    type=click.Path(path_type=Path),
    help="Its runtime folder, where it runs on this machine and the folder isn't the usual one.",
)
@click.option("--seconds", type=click.FloatRange(0, 86_400, min_open=True), help="How long.")
@click.option("--nodes", type=click.IntRange(0, 100_000), help="Nodes, in all; 0 starts none.")
@click.option("--sessions", type=click.IntRange(1, 100_000), help="Sessions.")
@click.option(
    "--rate", type=click.FloatRange(0, 100_000, min_open=True), help="Highest rate, jobs/s."
)
@click.option("--seed", type=click.IntRange(0, 2**53), help="Of arrivals, delays and failures.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the report; without it, a new one in ./stress-reports.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all raw samples.")
def stress(
    scenario: str,
    url: str | None,
    runtime_dir: Path | None,
    seconds: float | None,
    nodes: int | None,
    sessions: int | None,
    rate: float | None,
    seed: int | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Put a scheduler under load, check what it promises, and write a report.

    SCENARIO is a name (steady, ramp, burst, skewed, slow-nodes, churn, idle) or a path to a file;
    the other options say something else than it does. Nodes and sessions are simulated ones.
    Ctrl-C ends the run early, with a report; a second one ends at once, without.

    The exit code is 1 if a reply was lost, came twice, out of order or to somebody else. A running
    scheduler that asks for a token gets LINGUA_TOKEN from sessions and nodes.

    \b
    Examples:
      lingua-scheduler stress ramp
      lingua-scheduler stress steady --rate 500 --seconds 120 --out /tmp/steady
      lingua-scheduler stress churn --url ws://127.0.0.1:5010 --json | jq .figures.latency
    """
    from scheduler.stress.command import Order, carry_out
    from scheduler.stress.scenario import Overrides

    overrides = Overrides(seconds=seconds, nodes=nodes, sessions=sessions, rate=rate, seed=seed)
    order = Order(scenario, overrides, url, runtime_dir, out, as_json)
    return 0 if carry_out(order) else _EXIT_BROKEN
