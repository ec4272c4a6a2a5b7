import pytest

from scheduler.nodes.languages import primary, three_letters


@pytest.mark.parametrize(
    ("code", "language", "letters"),
    [
        ("es", "es", "spa"),
        ("en-US", "en", "eng"),
        ("PT_br", "pt", "por"),
        ("spa", "spa", "spa"),
        ("tlh", "tlh", "tlh"),
    ],
)
def test_codes_of_sessions_become_codes_of_tools(code: str, language: str, letters: str) -> None:
    assert primary(code) == language
    assert three_letters(code) == letters
