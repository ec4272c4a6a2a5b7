"""Fuzzes: `scripts/fuzz`, or `python -m tests.fuzz`."""

import importlib.util
import logging
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import click
import structlog
from rich.console import Console
from rich.table import Table

from tests.fuzz.plain import INPUT_BYTES_MAX, fuzz
from tests.fuzz.targets import SHARES, TARGETS

INPUTS_DEFAULT = 100_000
HANG_SECONDS = 20
MEMORY_MIB_MAX = 2_048
EXIT_FOUND = 1

_EXECUTED = re.compile(rb"stat::number_of_executed_units:\s*(\d+)")
_ARTIFACT = re.compile(rb"Test unit written to (\S+)")
_SHOWN_LINES = 40


class Outcome(NamedTuple):
    """What became of one target."""

    target: str
    inputs: int
    seconds: float
    reproducer: Path | None
    shown: str
    """Why the reproducer is one."""


@click.command()
@click.option(
    "--target", "names", multiple=True, type=click.Choice([*TARGETS]), help="default: all"
)
@click.option("--inputs", type=click.IntRange(1), default=INPUTS_DEFAULT, help="in all")
@click.option("--seed", type=click.IntRange(1, (1 << 31) - 1), help="default: a random one, shown")
@click.option(
    "--engine",
    type=click.Choice(["auto", "guided", "plain"]),
    default="auto",
    help="guided: Atheris, by coverage; plain: mutations only; auto: guided where it is installed",
)
@click.option(
    "--findings",
    type=click.Path(file_okay=False, path_type=Path),
    help="folder for reproducers; default: a new one",
)
@click.option(
    "--reproduce",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="run one input on one target, and nothing else",
)
def main(
    names: tuple[str, ...],
    inputs: int,
    seed: int | None,
    engine: str,
    findings: Path | None,
    reproduce: Path | None,
) -> None:
    """Feed targets with inputs that nobody would send.

    Exits with 1 after a finding, and says how to see it again.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if reproduce is not None:
        if len(names) != 1:
            raise click.UsageError("--reproduce needs one --target")
        _reproduce(names[0], reproduce)
        return
    if engine == "auto":
        engine = "guided" if importlib.util.find_spec("atheris") else "plain"
    folder = findings or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    seed = seed or random.randrange(1, 1 << 31)
    outcomes = []
    run = _run_guided if engine == "guided" else _run_plain
    for name in names or TARGETS:
        share = SHARES[name] if not names else 1 / len(names)
        outcomes.append(run(name, max(1, round(inputs * share)), seed, folder))
    _show(outcomes, engine, seed)
    if findings is None and not any(folder.iterdir()):
        folder.rmdir()
    if any(outcome.reproducer for outcome in outcomes):
        sys.exit(EXIT_FOUND)


def _reproduce(name: str, path: Path) -> None:
    target = TARGETS[name]()
    try:
        target.run(path.read_bytes())
    except Exception:
        click.echo(traceback.format_exc(), err=True)
        sys.exit(EXIT_FOUND)
    finally:
        target.close()
    click.echo("nothing is raised")


def _run_plain(name: str, inputs: int, seed: int, folder: Path) -> Outcome:
    target = TARGETS[name]()
    started = time.monotonic()
    try:
        count, finding = fuzz(target, inputs, seed)
    finally:
        target.close()
    seconds = time.monotonic() - started
    if finding is None:
        return Outcome(name, count, seconds, None, "")
    path = folder / f"{name}-{seed}-{count}"
    path.write_bytes(finding.data)
    shown = "".join(traceback.format_exception(finding.error))
    return Outcome(name, count, seconds, path, shown)


def _run_guided(name: str, inputs: int, seed: int, folder: Path) -> Outcome:
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as work:
        started = time.monotonic()
        child = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.guided", name, work),
                f"-runs={inputs}",
                f"-seed={seed}",
                f"-max_len={INPUT_BYTES_MAX}",
                f"-timeout={HANG_SECONDS}",
                f"-rss_limit_mb={MEMORY_MIB_MAX}",
                f"-artifact_prefix={folder.absolute()}/{name}-",
                "-print_final_stats=1",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        seconds = time.monotonic() - started
    executed = _EXECUTED.search(child.stdout)
    count = int(executed[1]) if executed else 0
    shown = b"\n".join(child.stdout.splitlines()[-_SHOWN_LINES:]).decode(errors="replace")
    artifact = _ARTIFACT.search(child.stdout)
    if artifact:
        return Outcome(name, count, seconds, Path(artifact[1].decode()), shown)
    if child.returncode or count < inputs:
        raise click.ClickException(f"{name}: the fuzzer itself failed\n{shown}")
    return Outcome(name, count, seconds, None, "")


def _show(outcomes: list[Outcome], engine: str, seed: int) -> None:
    console = Console()
    table = Table(title=f"{engine} engine, seed {seed}")
    for title in ("target", "inputs", "seconds", "per second", "finding"):
        table.add_column(title, justify="left" if title in {"target", "finding"} else "right")
    for outcome in outcomes:
        rate = outcome.inputs / max(outcome.seconds, 1e-9)
        found = str(outcome.reproducer or "none")
        table.add_row(
            outcome.target, f"{outcome.inputs:,}", f"{outcome.seconds:.1f}", f"{rate:,.0f}", found
        )
    total = sum(outcome.inputs for outcome in outcomes)
    table.add_row("all", f"{total:,}", f"{sum(o.seconds for o in outcomes):.1f}", "", "")
    console.print(table)
    for outcome in outcomes:
        if outcome.reproducer is not None:
            again = f"--target {outcome.target} --reproduce {outcome.reproducer}"
            console.print(f"{outcome.shown}\nagain: scripts/fuzz {again}", markup=False)


if __name__ == "__main__":
    main()
