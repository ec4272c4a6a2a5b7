"""The process in which Atheris fuzzes one target, guided by the lines that inputs reach.

    python -m tests.fuzz.guided TARGET FOLDER LIBFUZZER-OPTION…

Atheris ends the process itself: with 0 after all runs, otherwise after a finding, whose input it
leaves in FOLDER.
"""

import logging
import sys
from pathlib import Path

import structlog

_INSTRUMENTED = ("scheduler", "websockets", "tests.fuzz")


def main(name: str, folder: Path, options: list[str]) -> None:
    """Fuzz; doesn't return."""
    import atheris

    with atheris.instrument_imports(include=[*_INSTRUMENTED]):
        from tests.fuzz.targets import TARGETS
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    target = TARGETS[name]()
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = folder / "dictionary"
    words.write_text("".join(f'"{_escaped(token)}"\n' for token in target.tokens()))
    atheris.Setup([sys.argv[0], f"-dict={words}", *options, str(corpus)], target.run)
    atheris.Fuzz()


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
