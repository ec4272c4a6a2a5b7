"""The command `bundle`."""

from pathlib import Path

import click


@click.command()
@click.option("--config", "config", type=click.Path(path_type=Path), help="Settings (TOML).")
@click.option(
    "--runtime-dir",
    type=click.Path(path_type=Path, readable=False),  # whose it is is told better than by click
    help="Runtime folder of the scheduler; without it, that of the settings.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The archive; without it, a name with the time in the current folder.",
)
@click.option("--force", is_flag=True, help="Replace the archive if it is there already.")
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A log file, of which the last MiB goes along; may be repeated.",
)
@click.option(
    "--why",
    default="asked for on the command line",
    show_default=True,
    help="What was noticed, for whoever reads it.",
)
def bundle(
    config: Path | None,
    runtime_dir: Path | None,
    output: Path | None,
    force: bool,
    logs: tuple[Path, ...],
    why: str,
) -> None:
    """Write what to send with a bug report: one archive, without secrets.

    It holds the last events of each process, those before its death too, counters, latencies,
    nodes, settings. All of it is read from shared memory and files and no process is asked, so
    that it works whatever state those are in. It must run as the scheduler's user, or as root.

    \b
    Examples:
      lingua-scheduler bundle --why "no results since 03:10"
      lingua-scheduler bundle --runtime-dir /run/lingua-scheduler --log /var/log/proxy.log
    """
    import time

    from scheduler.bundle.contents import ABOUT, LOGS_MAX, collect
    from scheduler.bundle.write import write_archive
    from scheduler.config import load

    if len(logs) > LOGS_MAX:
        raise click.UsageError(f"at most {LOGS_MAX} log files")
    made = collect(runtime_dir or load(config).runtime_path, why=why, logs=logs)
    seconds = made.time_ns // 10**9
    name = time.strftime("lingua-scheduler-bundle-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime(seconds))
    path = output or Path(name)
    size_bytes = write_archive(path, made.members, time_s=seconds, replace=force)
    click.echo(f"{path}, {_size(size_bytes)}, readable by this user alone:")
    for start, about in ABOUT.items():
        found = [len(member.data) for member in made.members if member.name.startswith(start)]
        if found:
            click.echo(f"  {start:<16}{_size(sum(found)):>12}  {about}")
    for part, reason in made.left_out.items():
        click.echo(f"left out: {part}: {reason}")
    removed = [f"{kind.replace('_', ' ')} ({count})" for kind, count in made.removed.items()]
    click.echo(f"removed as secret: {', '.join(removed) or 'nothing'}")
    click.echo("Ids and names of nodes are in it, and what the logs say: look before you send it.")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1024:,.1f} KiB"
