"""Audio as the speech node needs it: mono PCM16 at one rate."""

import io
import wave

import numpy as np

from scheduler.nodes.errors import AudioError

RATE_HZ_MIN, RATE_HZ_MAX = 4_000, 192_000
"""Rates outside are a client's mistake; resampling them would make nonsense, or much memory."""


def to_pcm16(audio: bytes, audio_format: str, rate_hz: int, wanted_rate_hz: int) -> bytes:
    """Return `audio` as mono PCM16 at `wanted_rate_hz`.

    `audio_format` is "pcm16" (its rate is `rate_hz`) or "wav" (which says its own rate). Raises
    AudioError.
    """
    if audio_format == "wav":
        audio, rate_hz = read_wav(audio)
    elif audio_format != "pcm16":
        raise AudioError(f"audio format {audio_format!r} is not supported; send pcm16 or wav")
    if len(audio) % 2:
        raise AudioError(f"pcm16 has two bytes per sample, but {len(audio)} bytes came")
    if not RATE_HZ_MIN <= rate_hz <= RATE_HZ_MAX:
        raise AudioError(
            f"sample rate {rate_hz} Hz is not supported; send {RATE_HZ_MIN} to {RATE_HZ_MAX} Hz"
        )
    return resample(audio, rate_hz, wanted_rate_hz)


def read_wav(data: bytes) -> tuple[bytes, int]:
    """Return the samples (PCM16) and the rate (Hz) of a mono 16-bit WAV file.

    Sizes in the header may be larger than what follows, as programs write them that stream
    their output. Raises AudioError.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width, rate_hz = (
                file.getnchannels(),
                file.getsampwidth(),
                file.getframerate(),
            )
            samples = file.readframes(len(data))
    except (wave.Error, EOFError) as error:
        raise AudioError(f"not a PCM WAV file: {str(error) or 'it ends too early'}") from error
    if channels != 1:
        raise AudioError(f"{channels} channels; one (mono) is needed")
    if width != 2:
        raise AudioError(f"{8 * width}-bit samples; 16-bit ones are needed")
    return samples[: len(samples) // 2 * 2], rate_hz


def write_wav(samples: bytes, rate_hz: int) -> bytes:
    """Return a mono 16-bit WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples)
    return out.getvalue()


def resample(pcm16: bytes, rate_hz: int, wanted_rate_hz: int) -> bytes:
    """Return mono PCM16 at another rate, by linear interpolation.

    No low-pass filter: what lies above half the wanted rate folds back. For recognising speech
    recorded at 22 to 48 kHz that does no harm worth a filter.
    """
    if rate_hz == wanted_rate_hz or not pcm16:
        return pcm16
    samples = np.frombuffer(pcm16, dtype="<i2")
    wanted = np.arange(len(samples) * wanted_rate_hz // rate_hz) * (rate_hz / wanted_rate_hz)
    resampled = np.interp(wanted, np.arange(len(samples)), samples)
    return bytes(resampled.round().astype("<i2"))
