"""The command `explain`."""

from pathlib import Path

import click


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), help="Settings (TOML).")
@click.option(
    "--runtime-dir",
    type=click.Path(path_type=Path),
    help="Runtime folder of the scheduler; without it, that of the settings.",
)
@click.option("--src", "src_lang", help="Language spoken; shown, but excludes no node.")
@click.option("--tgt", "tgt_lang", help="Language wanted; shown, but excludes no node.")
@click.option(
    "--feature",
    "features",
    multiple=True,
    metavar="NAME",
    help="A feature asked for, as emotion_detection; may be repeated.",
)
@click.option("--no-asr", is_flag=True, help="Without recognition.")
@click.option("--no-nmt", is_flag=True, help="Without translation.")
@click.option("--no-tts", is_flag=True, help="Without speech output.")
@click.option("--node", metavar="ID", help="Of a session that is paired with this node.")
@click.option(
    "--top",
    "nodes_max",
    type=click.IntRange(0),
    help="Nodes shown, 0 for all. Without it 40, with --json all.",
)
@click.option("--job", "job_id", metavar="JOB_ID", help="How the nodes of this job were chosen.")
@click.option(
    "--recent",
    type=click.IntRange(1),
    metavar="N",
    help="How nodes were chosen, N times up to now.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def explain(
    path: Path | None,
    runtime_dir: Path | None,
    src_lang: str | None,
    tgt_lang: str | None,
    features: tuple[str, ...],
    no_asr: bool,
    no_nmt: bool,
    no_tts: bool,
    node: str | None,
    nodes_max: int | None,
    job_id: str | None,
    recent: int | None,
    as_json: bool,
) -> None:
    """Say which node a job would get now and why, node by node; or why a past job got its node.

    Reads the shared memory of this machine's scheduler and asks no process. It must run as the
    scheduler's user, or as root.

    \b
    Examples:
      lingua-scheduler explain --src en --tgt es
      lingua-scheduler explain --no-tts --feature emotion_detection
      lingua-scheduler explain --job job-1a2b3c4d-10000000001
      lingua-scheduler explain --json | jq .excluded
    """
    from scheduler.config import load
    from scheduler.explain.ask import Ask
    from scheduler.explain.jobs import is_job_id
    from scheduler.explain.run import explain_ask, explain_job, explain_recent
    from scheduler.protocol.requirements import FEATURES, STAGES

    without = {"asr": no_asr, "nmt": no_nmt, "tts": no_tts}
    stages = tuple(stage for stage in STAGES if not without[stage])
    of_ask = (src_lang, tgt_lang, features, node, nodes_max is not None, len(stages) < len(STAGES))
    if sum((job_id is not None, recent is not None, any(of_ask))) > 1:
        raise click.UsageError("--job and --recent look back: each stands without any other")
    if not stages:
        raise click.UsageError("a job uses at least one stage; leave out one of the --no- options")
    for name in features:
        if name not in FEATURES:
            raise click.BadParameter(
                f"{name!r} is no feature; use one of {', '.join(FEATURES)}",
                param_hint="--feature",
            )
    if job_id is not None and not is_job_id(job_id):
        raise click.BadParameter(
            f"{job_id!r} is no job id; they look like job-1a2b3c4d-10000000001",
            param_hint="--job",
        )
    folder = runtime_dir or load(path).runtime_path
    if job_id is not None:
        explain_job(folder, job_id, as_json=as_json)
    elif recent is not None:
        explain_recent(folder, recent, as_json=as_json)
    else:
        ask = Ask(src_lang, tgt_lang, stages, features, node)
        explain_ask(folder, ask, nodes_max, as_json=as_json)
