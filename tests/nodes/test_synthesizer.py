import numpy as np
import pytest

from scheduler.nodes.errors import CommandError
from scheduler.nodes.synthesizer import Synthesizer
from tests.sdk.scripted_peer import run_async


@run_async
async def test_speech_has_sound_and_a_rate() -> None:
    synthesizer = await Synthesizer.find()
    assert synthesizer.supports("es-MX"), "install espeak-ng"
    assert synthesizer.supports("zh"), "an alias in the voice table"
    assert not synthesizer.supports("tlh-x")
    audio, rate_hz = await synthesizer.speak("-v hola, ¿qué tal?", "es-MX")
    samples = np.frombuffer(audio, "<i2")
    assert rate_hz == 22_050
    assert len(samples) > rate_hz // 2
    assert np.abs(samples).max() > 1_000


@run_async
async def test_a_voice_that_went_away_is_an_error() -> None:
    with pytest.raises(CommandError, match="voice does not exist"):
        await Synthesizer(frozenset({"xx"})).speak("hola", "xx")
