"""The whole at work: a scheduler, a speech node, and a recorded sentence that is translated.

`scripts/run --demo`, or `python -m scheduler.demo`. Stays up until Ctrl-C, for a look around.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
from aiohttp import ClientError, ClientSession, ClientTimeout

from scheduler.config import ENV_PREFIX, Config, ObservabilitySettings, load
from scheduler.errors import SchedulerError
from scheduler.logs import configure_logging
from scheduler.nodes import recognizer, speech
from scheduler.nodes.synthesizer import Synthesizer
from scheduler.nodes.translator import Translator
from scheduler.protocol.session import Pipeline, TranslationResult
from scheduler.sdk.client import SessionClient
from scheduler.supervisor.runtime_dir import Endpoints, read_endpoints
from scheduler.talk import Recording, read_recording

SAMPLE = Path(__file__).parent.parent / "samples" / "goforward.wav"
SOURCE, TARGET = "en", "es"

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
POLL_SECONDS = 0.1

# Of the scheduler that is started here; what the user has set stays.
_SETTINGS = {
    f"{ENV_PREFIX}OBSERVABILITY__LOG_LEVEL": "warning",
    f"{ENV_PREFIX}STATS__REFRESH_SECONDS": "0.5",
    f"{ENV_PREFIX}MODEL_HUB__BASE_URL": "",  # there is none here to be warned about
}


class DemoError(SchedulerError):
    """A part of the demo failed; the text says which, and what to do."""


class Tools:
    """Which stages this machine can really run."""

    def __init__(self, translator: Translator, synthesizer: Synthesizer) -> None:
        self.translates = translator.supports(SOURCE, TARGET)
        self.target = TARGET if self.translates else SOURCE
        self.speaks = synthesizer.supports(self.target)

    @classmethod
    async def find(cls) -> "Tools":
        """Look for them; raise DemoError without the recogniser, which nothing goes without."""
        if not recognizer.available():
            raise DemoError(
                "the recogniser is missing; start the demo with `scripts/run --demo`, or install "
                "the extra 'speech'"
            )
        return cls(*await asyncio.gather(Translator.find(), Synthesizer.find()))

    @property
    def pipeline(self) -> Pipeline:
        """The stages that a job can have here."""
        return Pipeline(use_asr=True, use_nmt=self.translates, use_tts=self.speaks)

    def left_out(self) -> list[str]:
        """Return what the demo does without, in words."""
        return [
            *([] if self.translates else ["no translation: apertium-eng-spa is not installed"]),
            *([] if self.speaks else ["no speech output: espeak-ng is not installed"]),
        ]


@asynccontextmanager
async def running_scheduler(config_path: Path | None) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the scheduler as a command; leaving the block stops it."""
    arguments = ["--config", str(config_path)] if config_path else []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scheduler", "run", *arguments),
        env={**_SETTINGS, **os.environ},
        start_new_session=True,  # Ctrl-C is for the demo, which ends it in good order
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS_MAX)
            except TimeoutError:
                process.kill()
                await process.wait()


async def until_serving(process: asyncio.subprocess.Process, config: Config) -> Endpoints:
    """Wait until all its processes serve."""
    while True:
        endpoints = read_endpoints(config.runtime_path)
        # There may be a file of another instance, until ours fails on its lock.
        if endpoints is not None and endpoints.pid == process.pid:
            return endpoints
        await asyncio.sleep(POLL_SECONDS)


async def until_ready(endpoints: Endpoints, service_id: str) -> None:
    """Wait until a node has the service ready, as the operators' snapshot tells it."""
    url = f"http://{endpoints.operations}/api/v1/stats"
    async with ClientSession(timeout=ClientTimeout(total=5)) as http:
        while True:
            try:
                async with http.get(url) as response:
                    if response.ok:
                        snapshot = await response.json()
                        if snapshot["nodes"]["model_node_counts"].get(service_id):
                            return
            except (ClientError, TimeoutError):
                pass  # asked again; the caller has the deadline
            await asyncio.sleep(POLL_SECONDS)


async def translate(
    endpoints: Endpoints, tools: Tools, recording: Recording
) -> tuple[TranslationResult, float]:
    """Send the recording as a client does; return the result and the ms it took."""
    async with SessionClient.connect(
        f"ws://{endpoints.public}/ws/session",
        src_lang=SOURCE,
        tgt_lang=tools.target,
        sample_rate=recording.rate_hz,
        pipeline=tools.pipeline,
    ) as session:
        started_ns = time.monotonic_ns()
        index = await session.send_utterance(recording.samples)
        result = await session.result_for(index)
        return result, (time.monotonic_ns() - started_ns) / 1e6


def show(result: TranslationResult, recording: Recording, whole_ms: float) -> None:
    """Print what came back, and how long it took."""
    extra = result.extra or {}
    click.echo(f"heard       {result.text_asr}")
    if result.text_translated:
        click.echo(f"translated  {result.text_translated}")
    if result.tts_audio:
        seconds = len(result.tts_audio) / 2 / extra["tts_sample_rate"]
        click.echo(f"spoken      {seconds:.1f} s of {result.tts_format}")
    stages = "".join(f", {stage} {ms:.0f} ms" for stage, ms in extra["stage_ms"].items())
    of_seconds = f"{recording.seconds:.1f} s of speech"
    click.echo(f"times       {whole_ms:.0f} ms for {of_seconds}, of which{stages[1:]}")


async def demonstrate(config_path: Path | None, stop: asyncio.Event) -> None:
    """Run the demo until `stop`. Raises SchedulerError where a part of it fails."""
    config = load(config_path)
    configure_logging(ObservabilitySettings(log_level="warning"), "demo")
    recording = read_recording(SAMPLE)
    tools = await Tools.find()
    for text in tools.left_out():
        click.echo(f"left out    {text}")
    async with running_scheduler(config_path) as process:
        work = _use(process, config, tools, recording)
        await _guarded(work, stop.wait(), _scheduler_ends(process))


async def _use(
    process: asyncio.subprocess.Process, config: Config, tools: Tools, recording: Recording
) -> None:
    async with _deadline("the scheduler did not serve"):
        endpoints = await until_serving(process, config)
    click.echo(f"sessions    ws://{endpoints.public}/ws/session")
    click.echo(f"dashboard   http://{endpoints.operations}/dashboard")
    services = config.scheduler.core_services
    node = speech.SpeechSettings(
        url=f"ws://{endpoints.public}/ws/node",
        asr_service_id=services.asr_service_id,
        nmt_service_id=services.nmt_service_id,
        tts_service_id=services.tts_service_id,
    )
    await _guarded(_converse(endpoints, node, tools, recording), _node_ends(node))


async def _converse(
    endpoints: Endpoints, node: speech.SpeechSettings, tools: Tools, recording: Recording
) -> None:
    async with _deadline("the speech node did not become ready"):
        await until_ready(endpoints, node.asr_service_id)
    result, whole_ms = await translate(endpoints, tools, recording)
    show(result, recording, whole_ms)
    click.echo("Up until Ctrl-C.")
    await asyncio.Event().wait()


async def _scheduler_ends(process: asyncio.subprocess.Process) -> None:
    code = await process.wait()
    raise DemoError(
        f"the scheduler ended (exit code {code}); its message is above. Where a port is taken, "
        f"choose others: {ENV_PREFIX}SERVER__PORT=6010 {ENV_PREFIX}SERVER__OPS_PORT=6011 "
        "scripts/run --demo"
    )


async def _node_ends(node: speech.SpeechSettings) -> None:
    await speech.run(node)
    raise DemoError("the speech node ended")


async def _guarded(work: Coroutine[Any, Any, None], *guards: Coroutine[Any, Any, object]) -> None:
    """Run `work`, beside guards that end it: quietly, or with the error they raise."""
    tasks = [asyncio.create_task(coroutine) for coroutine in (work, *guards)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _deadline(problem: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            yield
    except TimeoutError:
        raise DemoError(f"{problem} within {START_SECONDS_MAX:g} s") from None


async def _until_signalled(config_path: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not as a cancellation: a second Ctrl-C would then break into the cleaning up.
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await demonstrate(config_path, stop)


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Settings of the scheduler; see docs/configuration.md.",
)
def main(config_path: Path | None) -> None:
    """Start a scheduler and a speech node, and translate a recorded sentence."""
    try:
        asyncio.run(_until_signalled(config_path))
    except (SchedulerError, TimeoutError) as error:
        raise click.ClickException(f"demo: {error or 'no answer in time'}") from error


if __name__ == "__main__":
    main()
