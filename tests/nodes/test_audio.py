import io
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.nodes.audio import read_wav, resample, to_pcm16, write_wav
from scheduler.nodes.errors import AudioError


def wav(channels: int = 1, width: int = 2, rate_hz: int = 8_000, data: bytes = b"") -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(data)
    return out.getvalue()


@given(st.binary(max_size=64).map(lambda data: data * 2), st.integers(1, 192_000))
def test_written_wav_reads_back(samples: bytes, rate_hz: int) -> None:
    assert read_wav(write_wav(samples, rate_hz)) == (samples, rate_hz)


def test_a_header_that_promises_more_than_follows_is_read() -> None:
    streamed = bytearray(write_wav(b"\x01\x02" * 100, 22_050))
    streamed[4:8] = (0x7FFF_F024).to_bytes(4, "little")
    streamed[40:44] = (0x7FFF_F000).to_bytes(4, "little")
    assert read_wav(bytes(streamed)) == (b"\x01\x02" * 100, 22_050)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (wav(channels=2, data=b"1234"), "2 channels; one"),
        (wav(width=1, data=b"1234"), "8-bit samples; 16-bit"),
        (b"RIFX0000", "not a PCM WAV file"),
        (b"", "ends too early"),
        (wav(data=b"1234")[:30], "not a PCM WAV file"),
    ],
)
def test_what_is_wrong_with_a_wav_is_said(data: bytes, says: str) -> None:
    with pytest.raises(AudioError, match=says):
        read_wav(data)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    for hostile in (data, wav(data=b"1234")[:20] + data):
        try:
            read_wav(hostile)
        except AudioError:
            continue


@pytest.mark.parametrize(
    ("audio", "audio_format", "rate_hz", "says"),
    [
        (b"", "opus", 16_000, "'opus' is not supported; send pcm16 or wav"),
        (b"123", "pcm16", 16_000, "two bytes per sample, but 3"),
        (b"12", "pcm16", 100, "100 Hz is not supported"),
        (b"12", "pcm16", 700_000, "700000 Hz is not supported"),
    ],
)
def test_what_is_not_taken_is_said(
    audio: bytes, audio_format: str, rate_hz: int, says: str
) -> None:
    with pytest.raises(AudioError, match=says):
        to_pcm16(audio, audio_format, rate_hz, 16_000)


def test_the_rate_of_a_wav_is_its_own() -> None:
    audio = write_wav(bytes(2 * 800), 8_000)
    assert to_pcm16(audio, "wav", 48_000, 16_000) == bytes(2 * 1_600)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_a_tone_keeps_its_pitch_and_length(rate_hz: int) -> None:
    seconds, pitch_hz = 0.5, 440
    times = np.arange(int(rate_hz * seconds)) / rate_hz
    tone = (10_000 * np.sin(2 * np.pi * pitch_hz * times)).astype("<i2")
    out = np.frombuffer(resample(tone.tobytes(), rate_hz, 16_000), "<i2")
    assert abs(len(out) - 8_000) <= 1
    spectrum = np.abs(np.fft.rfft(out.astype(float)))
    assert spectrum.argmax() / seconds == pytest.approx(pitch_hz, abs=2)


def test_nothing_and_the_right_rate_are_left_alone() -> None:
    assert resample(b"", 8_000, 16_000) == b""
    assert resample(b"1234", 16_000, 16_000) == b"1234"
