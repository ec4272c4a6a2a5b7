"""Which `audio_chunk`s a client says again after its session was resumed. Pure.

Only then is `seq` looked at: a WebSocket neither reorders nor repeats, and clients in the field
restart their numbering at different points. Dropping by it at other times would lose speech.
"""


class ChunkSeqs:
    """The numbers of the chunks of the utterance that a session is speaking."""

    def __init__(self) -> None:
        self.cut: int | None = None
        """The last one of all utterances that have ended; None: they had none."""
        self._taken: int | None = None
        self._repeats_to: int | None = None

    def follow(self, seq: int, *, speaking: bool) -> None:
        """A chunk was taken; `speaking` is false where it ended the utterance."""
        self._taken = seq
        if not speaking:
            self.end()

    def end(self) -> None:
        """The utterance has ended, or has had before."""
        if self._taken is not None:
            self.cut = self._taken
        self._taken = self._repeats_to = None

    def resume(self) -> int | None:
        """Return the last that was taken; the client may say it and those before it again.

        None: there is none in this utterance, or they came without numbers.
        """
        self._repeats_to = self._taken
        return self._taken

    def is_repeat(self, seq: int) -> bool:
        """Return whether a chunk was taken before the session was resumed.

        From the first that wasn't, none is.
        """
        if self._repeats_to is not None and seq > self._repeats_to:
            self._repeats_to = None
        return self._repeats_to is not None
