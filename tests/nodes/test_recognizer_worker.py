import io
from itertools import pairwise
from pathlib import Path

import pytest

from scheduler.nodes.audio import read_wav
from scheduler.nodes.recognizer_worker import Hypothesis, Recognizer, read_utterance

SAMPLES = Path(__file__).parents[2] / "samples"
SENTENCES = {
    "goforward.wav": "go forward ten meters",
    "something.wav": "go somewhere and do something",
}


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer()


def heard(recognizer: Recognizer, name: str) -> list[Hypothesis]:
    samples, rate_hz = read_wav((SAMPLES / name).read_bytes())
    assert rate_hz == 16_000
    return list(recognizer.recognize(samples))


def test_results_do_not_depend_on_what_was_said_before(recognizer: Recognizer) -> None:
    first = heard(recognizer, "goforward.wav")
    assert heard(recognizer, "something.wav")[-1].text == SENTENCES["something.wav"]
    assert heard(recognizer, "goforward.wav")[-1] == first[-1]
    assert first[-1] == Hypothesis(SENTENCES["goforward.wav"], is_final=True)


def test_hypotheses_come_while_it_decodes(recognizer: Recognizer) -> None:
    *partials, final = heard(recognizer, "goforward.wav")
    assert len(partials) >= 3
    assert not any(partial.is_final for partial in partials)
    assert partials[0].text != final.text
    texts = [partial.text for partial in partials]
    assert all(before != after for before, after in pairwise(texts))


@pytest.mark.parametrize("pcm", [b"", b"\x01", bytes(2), bytes(32_000)])
def test_silence_has_an_end_too(recognizer: Recognizer, pcm: bytes) -> None:
    assert list(recognizer.recognize(pcm))[-1].is_final


def test_utterances_are_framed_and_half_ones_end_the_worker() -> None:
    stream = io.BytesIO(b"\x03\0\0\0abc\0\0\0\0\x05\0\0\0ab")
    assert [read_utterance(stream) for _ in range(3)] == [b"abc", b"", None]
    assert read_utterance(io.BytesIO(b"\x01\0")) is None
