"""Recognises English speech in a process of its own: `python -m scheduler.nodes.recognizer_worker`.

A process, because recognition holds the interpreter lock for a second at a time and must be
killable when its job is cancelled.

    stdin    u32 little-endian length, then that many bytes of mono PCM16 at RATE_HZ; repeated
    stdout   {"ready":true}, then per utterance any number of {"text":…,"is_final":false} and one
             {"text":…,"is_final":true}; one line each

It ends when its input does.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from msgspec import Struct
from msgspec.json import encode

RATE_HZ = 16_000
CHUNK_BYTES = RATE_HZ * 2 // 10
"""A tenth of a second between looks at the hypothesis."""


class Ready(Struct, tag="ready"):
    """The model is loaded."""


class Hypothesis(Struct, tag="hypothesis"):
    """Text recognised so far, or in all."""

    text: str
    is_final: bool


class Recognizer:
    """A decoder whose results do not depend on the utterances before."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self._decoder: Any = Decoder(loglevel="FATAL")
        self._search = self._decoder.current_search()
        # A grammar of one word: what it decodes is of no interest, but it costs next to nothing.
        self._decoder.add_jsgf_string("level", "#JSGF V1.0; grammar level; public <level> = a;")
        self._initial_means = self._decoder.get_cmn(False)

    def recognize(self, pcm: bytes) -> Iterator[Hypothesis]:
        """Yield hypotheses as they change, then the final one. `pcm`: mono PCM16 at RATE_HZ."""
        pcm = pcm[: len(pcm) // 2 * 2]
        if not pcm:
            yield Hypothesis("", is_final=True)
            return
        self._measure_means(pcm)
        decoder, text = self._decoder, ""
        decoder.start_utt()
        for start in range(0, len(pcm), CHUNK_BYTES):
            decoder.process_raw(pcm[start : start + CHUNK_BYTES], False, False)
            previous, text = text, self._text()
            if text != previous:
                yield Hypothesis(text, is_final=False)
        decoder.end_utt()
        yield Hypothesis(self._text(), is_final=True)

    def _measure_means(self, pcm: bytes) -> None:
        """Set the cepstral means of this utterance before it is decoded.

        The decoder estimates them as it goes, from those of the utterance before: its first words
        are then often wrong, and depend on who spoke last. All the audio is here already, so the
        means are taken from it in a first pass without a real search (12 ms for 3 s of speech).
        """
        decoder = self._decoder
        decoder.set_cmn(self._initial_means)
        decoder.activate_search("level")
        decoder.start_utt()
        decoder.process_raw(pcm, True, True)
        means = decoder.get_cmn(True)
        decoder.end_utt()
        decoder.activate_search(self._search)
        decoder.set_cmn(means)

    def _text(self) -> str:
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""


def read_utterance(source: BinaryIO) -> bytes | None:
    """Return the next utterance, or None at the end."""
    header = source.read(4)
    if len(header) < 4:
        return None
    size = int.from_bytes(header, "little")
    pcm = source.read(size)
    return pcm if len(pcm) == size else None


def main() -> None:
    """Serve utterances until the input ends."""

    def say(message: Struct) -> None:
        sys.stdout.buffer.write(encode(message) + b"\n")
        sys.stdout.buffer.flush()

    recognizer = Recognizer()
    say(Ready())
    with suppress(BrokenPipeError):  # the node is gone
        while (pcm := read_utterance(sys.stdin.buffer)) is not None:
            for hypothesis in recognizer.recognize(pcm):
                say(hypothesis)


if __name__ == "__main__":
    main()
