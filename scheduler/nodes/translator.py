"""Translation by Apertium, one process per text."""

import unicodedata

from scheduler.nodes.command import output_of, run_command
from scheduler.nodes.errors import CommandError
from scheduler.nodes.languages import three_letters

TIMEOUT_SECONDS = 10.0


class Translator:
    """The language pairs that this machine's Apertium has. Finding them is `find`'s work."""

    def __init__(self, modes: frozenset[str]) -> None:
        self.modes = modes

    @classmethod
    async def find(cls) -> "Translator":
        """Ask `apertium -l`; without Apertium there are no modes."""
        return cls(frozenset((await output_of(["apertium", "-l"]) or "").split()))

    def supports(self, src_lang: str, tgt_lang: str) -> bool:
        """Whether texts can be translated between two languages."""
        return _mode(src_lang, tgt_lang) in self.modes

    async def translate(self, text: str, src_lang: str, tgt_lang: str) -> str:
        """Translate one line of text. Raises CommandError and TimeoutError."""
        mode = _mode(src_lang, tgt_lang)
        assert mode in self.modes
        if not text.strip():
            return ""
        # "line" keeps the tool from reading the text as markup; -u leaves unknown words unmarked.
        argv = ["apertium", "-u", "-f", "line", mode]
        try:
            output = await run_command(argv, f"{_one_line(text)}\n", TIMEOUT_SECONDS)
        except FileNotFoundError as error:
            raise CommandError("apertium is no longer installed") from error
        return " ".join(output.decode(errors="replace").split())


def _mode(src_lang: str, tgt_lang: str) -> str:
    return f"{three_letters(src_lang)}-{three_letters(tgt_lang)}"


def _one_line(text: str) -> str:
    printable = (" " if unicodedata.category(char) == "Cc" else char for char in text)
    return " ".join("".join(printable).split())
