"""The whole path with nothing played: recorded speech, two gateways, a speech node's process."""

import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scheduler.protocol.status import Status
from tests.integration.cluster import Cluster
from tests.integration.peers import until
from tests.integration.placed import session_at

ROOT = Path(__file__).parent.parent.parent
SAMPLE = ROOT / "samples" / "goforward.wav"
CHUNK_FRAMES = 8_000
"""Half a second."""

SETTINGS = {"gateways": 2, "scheduler.job_timeout_seconds": 30}
END_SECONDS = 20.0


@contextmanager
def speech_node(cluster: Cluster, log: Path) -> Iterator[None]:
    """Run `node speech` as its own process."""
    command = [sys.executable, "-m", "scheduler", "node", "speech", "--slots", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--url", cluster.node_url, "--heartbeat-seconds", "0.5"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=output,
        )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_SECONDS) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


async def test_speech_is_understood_from_either_gateway(cluster: Cluster, tmp_path: Path) -> None:
    with wave.open(str(SAMPLE)) as sample:
        rate = sample.getframerate()
        chunks = [
            sample.readframes(CHUNK_FRAMES) for _ in range(0, sample.getnframes(), CHUNK_FRAMES)
        ]
    said = {
        "src_lang": "en",
        "tgt_lang": "es",
        "sample_rate": rate,
        "enable_streaming_asr": True,
    }
    with speech_node(cluster, tmp_path / "node.log"):

        def is_ready() -> bool:
            return any(node.status == Status.READY for node in cluster.nodes().values())

        await until(is_ready, "the speech node is ready")
        (node,) = cluster.nodes().values()
        assert node.gateway in {0, 1}
        for gateway in (0, 1):  # one of them is not the node's
            async with session_at(cluster, gateway, **said) as session:
                for chunk in chunks:
                    await session.chunk(chunk)
                await session.chunk(None, final=True)
                await session.event("DISPATCHED", 0)
                partial = await session.expect("asr_partial")
                result = await session.result(0)
            assert "forward" in partial["text"] or "go" in partial["text"]
            assert result["text_asr"] == "go forward ten meters"
            assert result["text_translated"]
            assert len(result["tts_audio"]) > 10_000
