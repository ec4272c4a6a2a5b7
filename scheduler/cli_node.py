"""The commands that run nodes. What a command needs beyond click is imported inside it."""

from typing import TYPE_CHECKING, Any

import click

from scheduler.cli_client import configure_client_logging, identity_options, run_until_stopped

if TYPE_CHECKING:
    from ssl import SSLContext

NODE_URL = "ws://127.0.0.1:5010/ws/node"
CORE_SERVICES = "node-inference,nmt-m2m100,piper-tts"


@click.group()
def node() -> None:
    """Run worker nodes: a real one (speech) or simulated ones (sim)."""


@node.command()
@click.option("--url", default=NODE_URL, show_default=True, help="The scheduler.")
@click.option(
    "--slots",
    default=2,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Jobs at a time; each has a recogniser process of its own.",
)
@click.option("--name", default="speech", show_default=True, help="Name for people.")
@click.option(
    "--asr-id",
    default="node-inference",
    show_default=True,
    help="Service id of recognition; '' = don't offer it.",
)
@click.option(
    "--nmt-id",
    default="nmt-m2m100",
    show_default=True,
    help="Service id of translation; '' = don't offer it.",
)
@click.option(
    "--tts-id",
    default="piper-tts",
    show_default=True,
    help="Service id of speech output; '' = don't offer it.",
)
@click.option(
    "--heartbeat-seconds",
    default=15.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    help="Time between heartbeats.",
)
@identity_options
def speech(
    url: str,
    slots: int,
    name: str,
    asr_id: str,
    nmt_id: str,
    tts_id: str,
    heartbeat_seconds: float,
    token: str | None,
    tls: "SSLContext | None",
) -> None:
    """Recognise English speech, translate it and speak the translation, all on this machine.

    Recognition needs the extra 'speech' (PocketSphinx), translation needs apertium with a language
    pair (see `apertium -l`), speech output needs espeak-ng. What is not installed is not offered.

    \b
    Examples:
      lingua-scheduler node speech
      lingua-scheduler node speech --url ws://scheduler:5010/ws/node --slots 4
    """
    from scheduler.nodes.speech import SpeechSettings
    from scheduler.nodes.speech import run as run_node

    settings = SpeechSettings(
        url=url,
        slots=slots,
        name=name,
        asr_service_id=asr_id,
        nmt_service_id=nmt_id,
        tts_service_id=tts_id,
        heartbeat_seconds=heartbeat_seconds,
        token=token,
        tls=tls,
    )
    configure_client_logging("node")
    run_until_stopped(run_node(settings))


@node.command()
@click.option("--url", default=NODE_URL, show_default=True, help="The scheduler.")
@click.option(
    "--count",
    default=10,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Number of nodes.",
)
@click.option(
    "--services",
    default=CORE_SERVICES,
    show_default=True,
    help="Service ids of each node, separated by commas.",
)
@click.option(
    "--delay-ms", default="100", show_default=True, help="Time a job takes: MS, or MIN-MAX."
)
@click.option(
    "--fail-rate",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of jobs that fail.",
)
@click.option("--fail-code", default="INTERNAL_ERROR", show_default=True, help="Their error code.")
@click.option(
    "--capacity",
    default=4,
    show_default=True,
    type=click.IntRange(1, 65_536),
    help="Jobs at a time, per node.",
)
@click.option(
    "--partials",
    default=0,
    show_default=True,
    type=click.IntRange(0, 100),
    help="Partial texts sent per job.",
)
@click.option(
    "--tts-bytes",
    default=3_200,
    show_default=True,
    type=click.IntRange(0, 4 << 20),
    help="Size of the speech in each result.",
)
@click.option(
    "--heartbeat-seconds",
    default=15.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    help="Time between heartbeats.",
)
@click.option(
    "--churn-seconds",
    type=click.FloatRange(min=0.01),
    help="Cut each node's connection about every so many seconds.",
)
@click.option("--name", default="sim", show_default=True, help="Names are NAME-0, NAME-1, …")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    help="The same seed gives each node the same delays and failures.",
)
@identity_options
def sim(delay_ms: str, services: str, name: str, **options: Any) -> None:
    """Run simulated nodes, all in this process; a thousand are fine.

    \b
    Examples:
      lingua-scheduler node sim --count 1000 --delay-ms 50-400
      lingua-scheduler node sim --fail-rate 0.1 --fail-code NODE_OVERLOADED --churn-seconds 30
    """
    from scheduler.nodes.sim import SimSettings
    from scheduler.nodes.sim import run as run_nodes

    settings = SimSettings(
        services=tuple(filter(None, (part.strip() for part in services.split(",")))),
        delay_ms=_parse_range(delay_ms),
        name_prefix=name,
        **options,
    )
    configure_client_logging("nodes")
    run_until_stopped(run_nodes(settings))


def _parse_range(text: str) -> tuple[float, float]:
    first, _, last = text.partition("-")
    try:
        low, high = float(first), float(last or first)
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low <= high < float("inf"):
        raise click.BadParameter(
            f"{text!r} is neither MS nor MIN-MAX, as 100 or 50-400", param_hint="--delay-ms"
        )
    return low, high
