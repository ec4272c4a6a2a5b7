"""Speech output by eSpeak NG, one process per text."""

from scheduler.nodes.audio import read_wav
from scheduler.nodes.command import output_of, run_command
from scheduler.nodes.errors import AudioError, CommandError
from scheduler.nodes.languages import primary

TIMEOUT_SECONDS = 10.0


class Synthesizer:
    """The languages that this machine's eSpeak NG speaks. Finding them is `find`'s work."""

    def __init__(self, languages: frozenset[str]) -> None:
        self.languages = languages

    @classmethod
    async def find(cls) -> "Synthesizer":
        """Ask `espeak-ng --voices`; without eSpeak NG there are no languages."""
        lines = (await output_of(["espeak-ng", "--voices"]) or "").splitlines()[1:]
        return cls(frozenset(language for line in lines for language in _languages_in(line)))

    def supports(self, language: str) -> bool:
        """Whether texts of a language can be spoken."""
        return primary(language) in self.languages

    async def speak(self, text: str, language: str) -> tuple[bytes, int]:
        """Return mono PCM16 samples and their rate (Hz); `text` is not empty.

        Raises CommandError and TimeoutError.
        """
        assert text
        assert self.supports(language)
        # From standard input: text as an argument could be taken for an option.
        argv = ["espeak-ng", "-v", primary(language), "--stdin", "--stdout"]
        try:
            return read_wav(await run_command(argv, text, TIMEOUT_SECONDS))
        except FileNotFoundError as error:
            raise CommandError("espeak-ng is no longer installed") from error
        except AudioError as error:
            raise CommandError(f"espeak-ng wrote something else than WAV: {error}") from error


def _languages_in(line: str) -> list[str]:
    """Return the languages of a line of the voice table, as " 5  es-419 … (es-mx 6)(es 6)"."""
    fields = line.replace("(", " ").replace(")", " ").split()
    return [primary(field) for field in [fields[1], *fields[5:]] if field[:1].isalpha()]
