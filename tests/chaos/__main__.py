"""Command line of the chaos harness: `scripts/chaos`."""

import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from tests.chaos.check_end import EndFacts
from tests.chaos.checker import check, write_excerpt
from tests.chaos.isolation import sweep, work_folder_prefix
from tests.chaos.plan import names
from tests.chaos.report import show
from tests.chaos.run import Run, Settings

EXIT_BROKEN = 1
EXIT_INTERRUPTED = 130
END_SECONDS_MAX = 480.0
"""For everything after the last fault."""

COLUMNS = 110
"""Where there is no terminal that says."""

LINE_SECONDS = 10.0
"""Between two lines of progress where there is no terminal."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--minutes", type=click.FloatRange(0.05, 600), default=1.0, show_default=True)
@click.option("--seed", type=int, help="Draws all faults; by default another one each time.")
@click.option("--gateways", type=click.IntRange(1, 16), default=2, show_default=True)
@click.option(
    "--rate",
    type=click.FloatRange(1, 600),
    default=45.0,
    show_default=True,
    help="Faults per minute; about half are kills.",
)
@click.option("--only", multiple=True, type=click.Choice(names()), help="Kinds of faults.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Keep history and log in this new folder."
)
def main(
    minutes: float,
    seed: int | None,
    gateways: int,
    rate: float,
    only: tuple[str, ...],
    keep: Path | None,
) -> None:
    """Run a whole scheduler under injected faults and check that it keeps its promises.

    The exit code is 1 if it broke one; the history around that is written to a file.

    \b
    Examples:
      scripts/chaos --minutes 10
      scripts/chaos --minutes 1 --seed 7 --only 'kill gateway' --only 'half-open link'
    """
    settings = Settings(
        minutes=minutes,
        seed=random.SystemRandom().randrange(1 << 31) if seed is None else seed,
        gateways=gateways,
        per_minute=rate,
        only=frozenset(only),
    )
    console = Console()
    if not console.is_terminal:
        console.width = COLUMNS
    for left in sweep():
        console.print(f"removed what an earlier run left: {left}")
    folder = Path(tempfile.mkdtemp(prefix=work_folder_prefix()))
    code = EXIT_BROKEN
    try:
        code = _run(console, settings, folder)
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = EXIT_INTERRUPTED
        console.print("interrupted; everything was ended and removed")
    finally:
        kept = keep or (Path(tempfile.gettempdir()) / f"chaos-{settings.seed}-{int(time.time())}")
        if keep is not None or code == EXIT_BROKEN:
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("runtime", "disk"))
            console.print(f"history, log and violations are in {kept}")
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(code)


def _run(console: Console, settings: Settings, folder: Path) -> int:
    console.print(f"seed {settings.seed}; {settings.command}", highlight=False)
    with console.status("starting") as status:
        last_line = 0.0

        def progress(text: str) -> None:
            nonlocal last_line
            status.update(text)
            if not console.is_terminal and time.monotonic() - last_line > LINE_SECONDS:
                last_line = time.monotonic()
                console.print(text, highlight=False)

        run = Run(settings, folder, progress)
        end = asyncio.run(_bounded(run))
        status.update("checking the history")
        findings = check(folder, run.epochs, end)
    show(console, run, findings, end)
    if findings.violations:
        write_excerpt(folder, folder / "violations.txt", findings.violations)
        return EXIT_BROKEN
    console.print("all promises were kept")
    return 0


async def _bounded(run: Run) -> EndFacts:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(run.settings.minutes * 60 + END_SECONDS_MAX):
        return await run.run()


if __name__ == "__main__":
    main()
